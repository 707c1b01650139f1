"""What is fuzzed: the roles that files have."""

import os
import signal
import time

from socca.errors import CheckpointError
from tests.fuzz.fits_roles import ROLES as FITS_ROLES
from tests.fuzz.fits_roles import FitsRole
from tests.fuzz.state_roles import CheckpointRole, ContainerRole, ResultRole
from tests.fuzz.text_roles import ConfigRole, HeartbeatRole, TableRole

#: Role -> what makes a case of it. A case mutates a file and reads it: an error of socca's own, or nothing, is right.
ROLES = {
    **{role: (lambda role=role: FitsRole(role)) for role in FITS_ROLES},
    "config": ConfigRole,
    "table": TableRole,
    "heartbeat": HeartbeatRole,
    "result": ResultRole,
    "container": ContainerRole,
    "checkpoint": CheckpointRole,
}


class FaultyRole:
    """Not fuzzed: each case goes wrong in its own way, to see that this is noticed."""

    def prepare(self, folder):
        self.count = 0

    def __call__(self, rng):
        self.count += 1
        if self.count == 1:
            raise KeyError("not socca's own")
        if self.count == 2:
            time.sleep(600)
        if self.count == 3:
            bytearray(2**33)
        if self.count == 4:
            os.kill(os.getpid(), signal.SIGSEGV)
        raise CheckpointError("as it should be")
