"""Records of results, which say what these were made from."""

from __future__ import annotations

import logging
from pathlib import Path

from socca.errors import PosteriorError
from socca.posterior.record import FitRecord
from socca.posterior.storage import check_result, open_result
from socca.utils.machine import raise_if_machine

log = logging.getLogger(__name__)


def read_record(path: Path) -> FitRecord | None:
    """Return the record of a result in a file of its own; None if there is none, or a damaged one.

    Raises
    ------
    MachineError
        If the machine does not let it be read: it may be whole.
    """
    try:
        if not path.exists():
            return None
        with open_result(path) as group:
            return check_result(group).record
    except (PosteriorError, OSError) as error:
        raise_if_machine(error)
        log.warning("%s is left out: %s", path, error)
        return None
