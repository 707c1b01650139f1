"""Locks: one process at a time fits a target, or a chunk."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from socca.errors import PoolError
from socca.utils.machine import machine_fault

log = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Keep other processes from the same work within this block.

    The lock goes with the process that holds it, however that ends.

    Parameters
    ----------
    path : Path
        The file that is locked; it is there as long as the block lasts.
    what : str
        Named in the error.

    Raises
    ------
    PoolError
        If another process is at it, with its number and machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        while True:
            lock = stack.enter_context(path.open("a+", encoding="utf-8", errors="replace"))
            if not _locked(lock.fileno(), path):
                lock.seek(0)
                holder = lock.read(200).strip() or "another process"
                raise PoolError(f"{what}: {holder} is fitting this now. Wait until it has ended, or end it")
            if _is_still(lock.fileno(), path):
                break
            lock.close()  # its last holder has deleted it meanwhile: what is locked is no file any more
        try:
            with contextlib.suppress(OSError):  # a full disk: the holder has no name
                os.ftruncate(lock.fileno(), 0)
                os.write(lock.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(handle: int, path: Path) -> bool:
    """Lock a file, and tell whether that was possible. On a file system without locks, it is taken to be."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.info("%s cannot be locked (%s): start no second run on the same results", path, machine_fault(error))
    return True


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
