"""Reading of HDF5 files that may be damaged or hostile.

What is read lies in the file itself, and has the type and the size that are asked for. HDF5 would also follow links to
other files, read data that lie outside of the file, and set memory aside for numbers that nobody wrote: all this is
refused before anything is read.
"""

from __future__ import annotations

import contextlib
import math
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from socca.errors import PosteriorError

#: Largest array that is read, bytes.
LARGEST = 2**33
#: Bytes of data for one byte in the file: gzip compresses nothing further.
_STRONGEST = 1100
#: Bytes that are read whatever they take in the file.
_SMALL = 2**16
#: Filters of HDF5 that are used: gzip, shuffle and Fletcher's checksum. Others may be plug-ins.
_FILTERS = {1, 2, 3}


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

    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            raise PosteriorError(f"{path}: cannot be read: it is no regular file")
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise PosteriorError(f"{path}: no such file") from None
    except PosteriorError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise PosteriorError(f"{path}: cannot be read: {error}") from error
    with file:
        yield file


@contextlib.contextmanager
def reading(where: str, remedy: str) -> Iterator[None]:
    """Within this block, whatever stumbles over what a file holds becomes an error that names it.

    Parameters
    ----------
    where : str
        The file, and which part of it.
    remedy : str
        What to do.

    Raises
    ------
    PosteriorError
        If anything in the block fails but for want of memory.
    """
    try:
        yield
    except (KeyError, OSError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise PosteriorError(f"{where}: is damaged: {what}; {remedy}") from error


def member(group: Any, name: str, kind: type) -> Any:
    """Return a member of a group.

    Parameters
    ----------
    group : h5py.Group
        The group.
    name : str
        A single name, and no path.
    kind : type
        Of h5py: a group or a dataset.

    Returns
    -------
    h5py.Group or h5py.Dataset
        It lies in the same file.

    Raises
    ------
    KeyError
        If it is not there.
    ValueError
        If it is of another kind, or a link.
    """
    import h5py

    link = None if "/" in name or name in ("", ".") else group.get(name, getlink=True)
    if link is None:
        raise KeyError(name)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name!r} is a link, which is not followed")
    found = group[name]
    if not isinstance(found, kind):
        raise ValueError(f"{name!r} is no {kind.__name__.lower()}")
    return found


def read_array(group: Any, name: str, shape: Sequence[int | None] = (None,), kinds: str = "fiu") -> np.ndarray:
    """Read a dataset of numbers.

    Parameters
    ----------
    group : h5py.Group
        The group.
    name : str
        Of the dataset.
    shape : sequence of int or None
        What its shape must be; None for any length.
    kinds : str
        Kinds of NumPy's types that it may have.

    Returns
    -------
    ndarray
        As it was written.

    Raises
    ------
    KeyError, ValueError, OSError
        If it is not there, of another type or shape, larger than the file can hold, or damaged.
    """
    found = _dataset(group, name, shape)
    if found.dtype.kind not in kinds or found.dtype.itemsize > 8:
        raise ValueError(f"{name!r} holds no numbers, but {found.dtype}")
    return np.asarray(found[()])


def read_texts(group: Any, name: str, length: int | None = None) -> list[str]:
    """Read a dataset of texts, shape (length,); it raises what `read_array` does."""
    import h5py

    found = _dataset(group, name, (length,))
    if h5py.check_string_dtype(found.dtype) is None:
        raise ValueError(f"{name!r} holds no texts, but {found.dtype}")
    return [str(text) for text in found.asstr()[()]]


def _dataset(group: Any, name: str, shape: Sequence[int | None]) -> Any:
    """Return a dataset that can be read, of that shape."""
    import h5py

    found = member(group, name, h5py.Dataset)
    check_dataset(found, name)
    fits = len(found.shape) == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if one is None else str(one) for one in shape)
        raise ValueError(f"{name!r} has the shape {found.shape}, expected ({wanted})")
    return found


def check_dataset(found: Any, name: str) -> None:
    """Check, before anything of it is read, that a dataset lies in the file and is no larger than what was written.

    Parameters
    ----------
    found : h5py.Dataset
        The dataset.
    name : str
        For the error.

    Raises
    ------
    ValueError
        If it is not so.
    """
    if found.external or found.is_virtual:
        raise ValueError(f"{name!r} lies in another file, which is not read")
    if found.shape is None:
        raise ValueError(f"{name!r} is empty")
    settings = found.id.get_create_plist()
    filters = [settings.get_filter(k)[0] for k in range(settings.get_nfilters())]
    if not set(filters) <= _FILTERS or len(set(filters)) < len(filters):
        raise ValueError(f"{name!r} has unknown filters: {filters}")
    size = math.prod(found.shape) * found.dtype.itemsize
    chunk = math.prod(found.chunks or ()) * found.dtype.itemsize
    room = min(LARGEST, max(_SMALL, found.id.get_storage_size() * (_STRONGEST if filters else 1)))
    if size > room or chunk > max(_SMALL, size):
        raise ValueError(f"{name!r} says that it has the shape {found.shape}, which is more than the file holds")


def read_text(holder: Any, name: str) -> str:
    """Return an attribute that is a text.

    Parameters
    ----------
    holder : h5py.Group or h5py.Dataset
        What has the attribute.
    name : str
        Of the attribute.

    Returns
    -------
    str
        The text.

    Raises
    ------
    KeyError, ValueError, OSError
        If it is not there, something else, or damaged.
    """
    import h5py

    value = _single(holder, name, lambda dtype: h5py.check_string_dtype(dtype) is not None, "text")
    return value.decode() if isinstance(value, bytes) else str(value)


def read_number(holder: Any, name: str) -> float:
    """Return an attribute that is a number; it raises what `read_text` does."""
    return float(_single(holder, name, lambda dtype: dtype.kind in "fiu", "number"))


def _single(holder: Any, name: str, fits: Any, wanted: str) -> Any:
    if name not in holder.attrs:
        raise KeyError(name)
    attribute = holder.attrs.get_id(name)
    if attribute.shape != () or not fits(attribute.dtype):
        raise ValueError(f"{name!r} is no {wanted}, but {attribute.dtype} of shape {attribute.shape}")
    return holder.attrs[name]
