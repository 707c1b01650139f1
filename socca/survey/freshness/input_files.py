"""Input files of fits, as the file system has them and as results record them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from socca.data.rereading import READER_REVISION
from socca.posterior.record import InputFile
from socca.utils.files import file_digest
from socca.utils.machine import machine_fault


class FileState(NamedTuple):
    """A file as the file system describes it, without its content.

    Parameters
    ----------
    size : int
        In bytes.
    mtime_ns : int
        Time of the last change of its content, nanoseconds. Copying may keep it, and anyone may set it.
    ctime_ns : int
        Time of the last change of its entry in the file system. It cannot be set: another file has another one.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


def file_state(path: Path, *, strict: bool = False) -> FileState | None:
    """Return the state of a file; None if there is no such file.

    Nor if the machine does not tell (a folder that may not be entered, a stale mount), unless that is to be an error.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  (half the time of Path.stat, and there are many)
    except OSError as error:
        if strict and machine_fault(error):
            raise
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def content_digest(path: Path) -> str:
    """Return the digest of a file; empty, which is that of no file, if it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return ""


def described(files: Mapping[str, Path], *, digests: bool = True) -> dict[str, InputFile]:
    """Describe the files that a fit reads, as its result records them.

    Parameters
    ----------
    files : mapping of str to Path
        By what they are to the fit, such as ``image``. Those that do not exist are left out.
    digests : bool
        Whether to read them; without a digest, another time alone is taken for another content.

    Returns
    -------
    dict of InputFile
        Each as it is now.

    Raises
    ------
    OSError
        If they are to be read, and the machine does not tell whether one is there.
    """
    found = {}
    for role, path in files.items():
        state = file_state(path, strict=digests)
        if state is not None:
            digest = content_digest(path) if digests else ""
            found[role] = InputFile(str(path), digest, **state._asdict(), reading=READER_REVISION)
    return found
