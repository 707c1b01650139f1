"""Opening of HDF5 files that may be damaged or hostile.

Anything but a regular file could keep the reader waiting for ever, and a pickle could run any code: both are refused.
Texts of variable length, as in files of earlier versions, lie in heaps without a checksum, and a damaged heap can keep
HDF5 busy for ever: these heaps are looked through first.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from socca.errors import PosteriorError
from socca.utils.files import open_regular

#: First bytes of the file, and after them the version of its format; from which one on it has checksums.
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK, _CHECKED = len(_SIGNATURE), 2
#: First bytes of a pickle: a mark, and the version of its format.
_PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))
#: First bytes of a heap, of version 1; bytes before its objects, and before what an object holds.
_HEAP = b"GCOL\x01\0\0\0"
_HEAD = 16


def check_file(path: str | Path) -> None:
    """Refuse what would keep HDF5 waiting or busy for ever.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    PosteriorError
        If it is missing, no regular file, a pickle, no HDF5, or has a damaged heap.
    """
    try:
        with open_regular(path) as stream:
            head = stream.read(_SUPERBLOCK + 1)
            if head.startswith(_PICKLES):
                raise PosteriorError(
                    f"{path}: is a pickle, such as the published package dumps. It is not opened, as it could run any "
                    "code: run the fit again, and dump it"
                )
            if head and head[:_SUPERBLOCK] != _SIGNATURE:
                raise PosteriorError(f"{path}: cannot be read: it is no HDF5 file, or a damaged one")
            if head[_SUPERBLOCK:] < bytes([_CHECKED]):
                _check_heaps(stream)
    except FileNotFoundError:
        raise PosteriorError(f"{path}: no such file") from None
    except PosteriorError:
        raise
    except (OSError, ValueError) as error:
        raise PosteriorError(f"{path}: cannot be read: {error}") from error


@contextlib.contextmanager
def open_file(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    path : str or Path
        A regular file: anything else (a pipe, a device) could keep the reader waiting for ever.

    Yields
    ------
    h5py.File
        The open file.

    Raises
    ------
    PosteriorError
        If it is missing, or no HDF5.
    """
    import h5py

    check_file(path)
    try:
        file = h5py.File(path, "r", locking=False)  # files are replaced whole: nothing to lock
    except FileNotFoundError:
        raise PosteriorError(f"{path}: no such file") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise PosteriorError(f"{path}: cannot be read: {error}") from error
    with file:
        yield file


def has_old_texts(file: Any) -> bool:
    """Tell whether an open file is of an earlier version, whose texts may have any length.

    Parameters
    ----------
    file : h5py.h5f.FileID
        The file, after `check_file`, which looks through the heaps of such a one.

    Returns
    -------
    bool
        Whether they may.
    """
    return bool(file.get_create_plist().get_version()[0] < _CHECKED)


def _check_heaps(stream: io.BufferedReader) -> None:
    """Raise `ValueError` if a heap has an object after which there is no next one.

    Heaps do not overlap, so that the file has room for as many objects as are looked at; a file that was made so that
    they do is refused as well, before it takes long.
    """
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start, left = content.find(_HEAP), len(content) // _HEAD
        while start >= 0:
            (size,) = struct.unpack_from("<Q", content, start + 8) if start + _HEAD <= len(content) else (0,)
            place, end = start + _HEAD, min(start + size, len(content))
            while place + _HEAD <= end:
                index, _, _, held = struct.unpack_from("<HHIQ", content, place)
                step = _HEAD + -(-held // 8) * 8 if index else held
                if not _HEAD <= step <= end - place or not left:
                    raise ValueError("a heap of its texts is damaged")
                place, left = place + step, left - 1
            start = content.find(_HEAP, start + 1)
