"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: How the system says that there is no file of a name, or that there can be none.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP, errno.ENAMETOOLONG)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block succeeds.

    The content is on the disk before the name is: after a crash of the machine, `path` is the old file or the new one.

    Parameters
    ----------
    path : str or Path
        Where the file is to appear. Missing folders are made.

    Yields
    ------
    Path
        A path with the same ending, to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; results are for the group, as the umask says.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _synchronise(temporary)
        temporary.replace(path)
        _synchronise(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)  # writing fails without saying where
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot do this for folders
            raise
    finally:
        os.close(handle)


def exists(path: str | Path) -> bool:
    """Tell whether there is a file or folder; a path that no file can have is that of none."""
    return _mode(path) is not None


def is_file(path: str | Path) -> bool:
    """Tell whether there is a regular file; a path that no file can have is that of none."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def _mode(path: str | Path) -> int | None:
    """Return the mode of a file; None if there is none. An `OSError` if the machine does not tell."""
    try:
        return Path(path).stat().st_mode
    except ValueError:
        return None
    except OSError as error:
        if error.errno not in _NO_SUCH_FILE:
            raise
        return None


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def open_regular(path: str | Path) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading.

    Parameters
    ----------
    path : str or Path
        The file. A pipe, a device or a socket in its place is refused, and keeps nobody waiting.

    Yields
    ------
    binary file
        The open file.

    Raises
    ------
    OSError
        If it is not there, cannot be opened, or is no regular file.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError("it is no regular file")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which waits for nobody, if it is a pipe by now
    with os.fdopen(handle, "rb") as stream:
        yield stream


def read_json(path: str | Path, largest: int = 2**24) -> Any:
    """Read a small file of JSON.

    Parameters
    ----------
    path : str or Path
        The file.
    largest : int
        Bytes that it may have.

    Returns
    -------
    object
        What it holds, of any shape.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no JSON, or too large.
    """
    with open_regular(path) as stream:
        text = stream.read(largest + 1)
    if len(text) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
