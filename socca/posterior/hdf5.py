"""Groups, arrays and texts of HDF5 files that may be damaged or hostile.

What is read lies in the file itself, and has the type and the size that are asked for. HDF5 would also follow links to
other files, read data that lie outside of the file, and set memory aside for numbers that nobody wrote: all this is
refused before anything is read. `socca.posterior.hdf5_files` says which files are opened.

Texts are written with a fixed length. Those of variable length are read in files of earlier versions only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.hdf5_files import has_old_texts

#: Largest array that is read, bytes.
LARGEST = 2**33
#: Bytes of data for one byte in the file: gzip compresses nothing further.
_STRONGEST = 1100
#: Bytes that are read whatever they take in the file.
_SMALL = 2**16
#: Filters of HDF5 that are used: gzip, shuffle and Fletcher's checksum. Others may be plug-ins.
_FILTERS = {1, 2, 3}


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
        what = str(error) or type(error).__name__
        if isinstance(error, KeyError):  # a name, or a sentence of h5py's
            what = str(error.args[0]) if " " in str(error.args[0]) else f"lacks {error}"
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


def is_plain(dtype: np.dtype, kinds: str) -> bool:
    """Tell whether arrays of a type can be kept: numbers of up to eight bytes (complex: of sixteen), or fixed texts.

    Parameters
    ----------
    dtype : dtype
        The type.
    kinds : str
        Kinds of NumPy's types that it may have.

    Returns
    -------
    bool
        Whether `read_array` reads it.
    """
    return dtype.kind in kinds and (dtype.kind in "SU" or dtype.itemsize <= (16 if dtype.kind == "c" else 8))


def read_array(group: Any, name: str, shape: Sequence[int | None] | None = (None,), kinds: str = "fiu") -> np.ndarray:
    """Read a dataset of numbers, or of texts of fixed length as bytes.

    Parameters
    ----------
    group : h5py.Group
        The group.
    name : str
        Of the dataset.
    shape : sequence of int or None, or None
        What its shape must be; None for any length, or for any shape.
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
    if not is_plain(found.dtype, kinds):
        raise ValueError(f"{name!r} holds no numbers, but {found.dtype}")
    return np.asarray(found[()])


def read_texts(group: Any, name: str, length: int | None = None) -> list[str]:
    """Read a dataset of texts, shape (length,); it raises what `read_array` does."""
    found = _dataset(group, name, (length,))
    if not _is_text(found.dtype, group):
        raise ValueError(f"{name!r} holds no texts, but {found.dtype}")
    return [str(text) for text in found.asstr()[()]]


def write_texts(group: Any, name: str, texts: Sequence[str]) -> None:
    """Write a dataset of texts, for `read_texts`."""
    import h5py

    encoded = [_encoded(text) for text in texts]
    kind = h5py.string_dtype(length=max((len(text) for text in encoded), default=1))
    group.create_dataset(name, data=np.array(encoded, kind))


def write_text(holder: Any, name: str, text: str) -> None:
    """Write an attribute that is a text, for `read_text`."""
    import h5py

    encoded = _encoded(text)
    holder.attrs.create(name, encoded, dtype=h5py.string_dtype(length=len(encoded)))


def copy_group(source: Any, target: Any, name: str) -> None:
    """Copy a group into another file, with its texts of fixed length there.

    Parameters
    ----------
    source : h5py.Group
        What is copied: without links, and no loop.
    target : h5py.Group
        Of the other file.
    name : str
        Of the copy, which is not there yet.
    """
    target.copy(source, name)
    _fix_texts(source, target[name])


def _fix_texts(source: Any, copy: Any) -> None:
    import h5py

    for name in source.attrs:
        if _is_text(source.attrs.get_id(name).dtype, source):
            write_text(copy, name, read_text(source, name))
    for name in source if isinstance(source, h5py.Group) else ():
        _fix_texts(source[name], copy[name])
        if isinstance(source[name], h5py.Dataset) and _is_text(source[name].dtype, source):
            texts = read_texts(source, name)
            del copy[name]
            write_texts(copy, name, texts)


def _encoded(text: str) -> bytes:
    """Return a text as it is kept: at least one byte long."""
    return text.encode("utf-8", "backslashreplace").rstrip(b"\0") or b"\0"


def _is_text(dtype: np.dtype, holder: Any) -> bool:
    """Tell whether a type is that of texts which can be read: see `has_old_texts` about those of variable length."""
    import h5py

    found = h5py.check_string_dtype(dtype)
    return found is not None and (found.length is not None or has_old_texts(holder.file.id))


def _dataset(group: Any, name: str, shape: Sequence[int | None] | None) -> Any:
    """Return a dataset that can be read, of that shape."""
    import h5py

    found = member(group, name, h5py.Dataset)
    check_dataset(found, name)
    if shape is None:
        return found
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
    value = _single(holder, name, lambda dtype: _is_text(dtype, holder), "text")
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
