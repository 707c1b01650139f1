"""Faults of the machine: what the disk, the memory or a limit refused. No file's content is to blame for them."""

from __future__ import annotations

import errno
import os
import re

from socca.errors import MachineError

#: What a system call refuses for the machine's sake. A file that is missing, or no file, is not among them.
_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG"),  # no room
        *("EIO", "EROFS", "ESTALE", "EREMOTEIO", "ENXIO", "ENODEV", "ENOTCONN", "EHOSTDOWN", "ETIMEDOUT"),  # the disk
        *("EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EBUSY"),  # a limit
        *("ENOLCK", "EACCES", "EPERM"),  # locks and rights
    )
    if hasattr(errno, name)
)
#: How HDF5 quotes the system call that failed.
_QUOTED, _QUOTED_FILE = re.compile(r"errno = (\d+)"), re.compile(r"name = ('[^']*')")


def machine_fault(error: BaseException) -> str:
    """Return what the machine refused, if that is why an error was raised.

    Parameters
    ----------
    error : BaseException
        Any error; those that it was raised from are looked at too.

    Returns
    -------
    str
        One line; empty if the machine is not at fault.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if _of_the_machine(one):
            return _line(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return ""


def _of_the_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError | MachineError):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    # HDF5 raises its errors as several classes, and XLA as a RuntimeError.
    if not isinstance(error, OSError | RuntimeError | ValueError | KeyError):
        return False
    quoted = _QUOTED.search(str(error))
    return (quoted is not None and int(quoted[1]) in _ERRNOS) or str(error).startswith("RESOURCE_EXHAUSTED")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    quoted, file = _QUOTED.search(text), _QUOTED_FILE.search(text)
    if quoted is not None and not isinstance(error, MachineError):
        where = f": {file[1]}" if file is not None else ""
        return f"[Errno {quoted[1]}] {os.strerror(int(quoted[1]))}{where}"
    return f"out of memory: {text}" if isinstance(error, MemoryError) else text


def raise_if_machine(error: BaseException) -> None:
    """Raise a `MachineError` in place of an error that the machine is to blame for; do nothing otherwise."""
    fault = machine_fault(error)
    if fault:
        raise MachineError(fault) from error
