"""Fits whose own files cannot be read, though the machine is well otherwise: one file without rights, a bad sector."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from socca.survey.freshness.input_files import described
from socca.survey.jobs.fit_targets import record_failure
from socca.survey.outputs import Outputs

if TYPE_CHECKING:
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)

#: What a single file may be refused with. A stale mount or a lack of memory is never one file's own.
_OF_ONE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ENXIO, errno.ENODEV})
_BLOCK = 1 << 20


def unreadable_file(files: Mapping[str, Path]) -> str:
    """Say which of a fit's files cannot be read, though the folder that it lies in can.

    Parameters
    ----------
    files : mapping of str to Path
        By what they are to the fit. All are read to their ends.

    Returns
    -------
    str
        One line; empty if all can be read, or if more than a file is out of reach.
    """
    for role, path in files.items():
        try:
            _read(path)
        except OSError as error:
            if error.errno in _OF_ONE_FILE and _is_listed(path.parent):
                return f"{role}: cannot read {path}: [Errno {error.errno}] {os.strerror(error.errno)}"
    return ""


def record_unreadable(survey: Survey, target: str, model: str, outputs: Outputs, seconds: float = 0.0) -> str:
    """Record a fit as failed if a file of its row, and of no other, cannot be read.

    It is tried again whenever its job runs.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    outputs : Outputs
        Where it writes.
    seconds : float
        Wall time until now.

    Returns
    -------
    str
        What is recorded; empty if nothing is.
    """
    # A file that others need too is not its own: then the machine has to be put right first.
    others = {path for name, one in survey.targets.items() if name != target for path in one.files.values()}
    own = {role: path for role, path in survey.target(target).files.items() if path not in others}
    message = unreadable_file(own)
    if message:
        message += ". Make it readable, or take its target out of the table; it is tried again whenever its job runs"
        files = described(survey.files(target), digests=False)
        record_failure(survey, target, model, outputs, files, message, seconds, unreadable=True)
        log.error("%s %s failed: %s", target, model, message)
    return message


def _read(path: Path) -> None:
    """Read a file to its end; one that is no regular file is opened, and keeps nobody waiting."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            while os.read(handle, _BLOCK):
                pass
    finally:
        os.close(handle)


def _is_listed(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError:
        return False
    return True
