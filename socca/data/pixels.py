"""Pixels of HDUs: which part is read, what the stored numbers mean, and which have no value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from socca.errors import DataError, TooLargeError

#: Rows and columns, as slices of an array.
Window = tuple[slice, slice]

#: The most pixels that are read of an image, unless more are allowed.
MAX_PIXELS = 100_000_000

#: BITPIX -> BZERO by which FITS stores unsigned integers (and, of 8 bits, signed ones).
_OFFSETS = {8: -128, 16: 1 << 15, 32: 1 << 31, 64: 1 << 63}


def stored_pixels(hdu: Any, window: Window | None, max_pixels: int | None, where: str) -> np.ndarray:
    """Read the pixels of an HDU as they are stored.

    Parameters
    ----------
    hdu : astropy.io.fits HDU
        Of a file that was opened with ``do_not_scale_image_data``.
    window : tuple of slice or None
        Rows and columns that are read, of an image whose other axes have one pixel; None for all.
    max_pixels : int or None
        The most that are read; None for no limit.
    where : str
        File and HDU, for the error.

    Returns
    -------
    ndarray
        Of the type in the file.

    Raises
    ------
    TooLargeError
        If there are too many. No memory was taken then.
    """
    shape = tuple(int(n) for n in hdu.shape)
    count = math.prod(shape) if window is None else _read_for(hdu, shape, window)
    if max_pixels is not None and count > max_pixels:
        part = " x ".join(str(n) for n in reversed(shape))
        tiles = "" if window is None else f", of which {count:.3g} have to be read for the cutout"
        raise TooLargeError(
            f"{where} has {part} pixels{tiles}, and the limit is {max_pixels:.3g}: fit a cutout, or raise max_pixels "
            "(in a config image.max_pixels)"
        )
    if window is None:
        return np.asarray(hdu.data)
    return np.asarray(hdu.section[(0,) * (len(shape) - 2) + window])


def _read_for(hdu: Any, shape: tuple[int, ...], window: Window) -> int:
    """Return how many pixels are in memory while a window is read: of a tile-compressed image, whole tiles."""
    tile = getattr(hdu, "tile_shape", None)
    if tile is None:
        return math.prod(part.stop - part.start for part in window)
    rows, cols = (
        min(math.ceil(part.stop / side) * side, length) - part.start // side * side
        for part, side, length in zip(window, tile[-2:], shape[-2:], strict=True)
    )
    return int(rows) * int(cols)


def values_of(stored: np.ndarray, header: Any, where: str) -> np.ndarray:
    """Turn stored numbers into values, by BSCALE, BZERO and BLANK.

    Parameters
    ----------
    stored : ndarray
        As `stored_pixels` returns them.
    header : astropy.io.fits.Header
        Of the HDU.
    where : str
        File and HDU, for the error.

    Returns
    -------
    ndarray
        Floats, NaN where an integer is BLANK. Integers without BSCALE, BZERO and BLANK are returned as they are.
        Scaled integers of 8 and 16 bits are in single precision, as astropy reads them.

    Raises
    ------
    DataError
        If BSCALE or BZERO is no number.
    """
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    for key, value in (("BSCALE", scale), ("BZERO", zero)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{where}: {key} must be a number, got {value!r}")
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if stored.dtype.kind == "f":
        if scale == 1 and zero == 0:
            return stored
        return stored * stored.dtype.type(scale) + stored.dtype.type(zero)
    blank = header.get("BLANK")
    hidden = stored == blank if isinstance(blank, int) and not isinstance(blank, bool) else np.zeros((), bool)
    bits = 8 * stored.dtype.itemsize
    if scale == 1 and zero == _OFFSETS[bits]:
        values = _shifted(stored, bits)
    elif scale == 1 and zero == 0:
        values = stored
    else:
        values = stored.astype(np.float32 if bits <= 16 else np.float64)
        values *= scale
        values += zero
    return np.where(hidden, np.nan, values) if hidden.any() else values


def is_hidden_now(header: Any) -> bool:
    """Tell whether a header has a BLANK that counts, and did not in versions that left it to astropy.

    That ignores BLANK of unsigned integers (of signed bytes), and a BLANK of zero.
    """
    blank, bits = header.get("BLANK"), header.get("BITPIX", 0)
    if not isinstance(blank, int) or isinstance(blank, bool) or bits not in _OFFSETS:
        return False
    return blank == 0 or (header.get("BSCALE", 1) == 1 and header.get("BZERO", 0) == _OFFSETS[bits])


def _shifted(stored: np.ndarray, bits: int) -> np.ndarray:
    """Return integers plus their offset, exactly: the highest bit is turned round."""
    if bits == 8:
        return stored.astype(np.int16) - 128
    unsigned = np.dtype(f"u{bits // 8}")
    return stored.view(unsigned) ^ unsigned.type(1 << (bits - 1))


def values_in_memory(data: Any, header: Any) -> Any:
    """Return the pixels of an HDU that astropy has read, NaN where an integer is BLANK.

    Parameters
    ----------
    data : array_like
        Its `data`.
    header : astropy.io.fits.Header
        Its header: BLANK counts before the offset of unsigned integers, which astropy leaves as they are.

    Returns
    -------
    array_like
        The pixels.
    """
    kind, blank = getattr(data, "dtype", np.dtype(float)), header.get("BLANK")
    if not isinstance(blank, int) or isinstance(blank, bool):
        return data
    if kind.kind == "f" and blank == 0 and header.get("BITPIX", 0) > 0:
        # Of scaled integers astropy masks all that is BLANK, unless that is zero.
        return np.where(data == kind.type(header.get("BZERO", 0)), np.nan, data)
    if kind.kind not in "iu":
        return data
    bits = 8 * kind.itemsize
    offset = _OFFSETS[bits] if (kind.kind == "u") == (bits > 8) else 0
    limits = np.iinfo(kind)
    if not limits.min <= blank + offset <= limits.max:
        return data
    hidden = data == kind.type(blank + offset)
    return np.where(hidden, np.nan, data) if hidden.any() else data


def refuse_asinh(header: Any, where: str) -> None:
    """Raise `DataError` if a header says that its pixels are asinh magnitudes, as those of Pan-STARRS stacks.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the image.
    where : str
        File and HDU, for the error.
    """
    if "BSOFTEN" in header:
        raise DataError(
            f"{where}: its pixels are scaled by asinh (BSOFTEN, BOFFSET), and are no fluxes: write them as "
            "BOFFSET + 2 BSOFTEN sinh(v ln(10) / 2.5), without these keywords"
        )
