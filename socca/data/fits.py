"""Planes of numbers and their headers, from FITS files and arrays."""

from __future__ import annotations

import contextlib
import gzip
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from socca.data.fits_headers import check_counts
from socca.errors import DataError, SoccaError

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

#: What a plane of numbers may be given as: a number, an array, a FITS HDU or list of them, a path, or a `Plane`.
PlainInput = Any


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of numbers as it was read; whatever takes a path or an array takes it too, and copies nothing.

    Parameters
    ----------
    data : ndarray
        Native float64; two axes, or none for a number.
    header : astropy.io.fits.Header
        What its file says of it; empty if it comes from an array.
    """

    data: np.ndarray
    header: fits.Header


def select_hdu(hdus: fits.HDUList, index: int | str | None, what: str, where: str) -> Any:
    """Return one image HDU of a list: the one asked for, or the first that holds an image.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        An open file.
    index : int, str or None
        Number or name of the HDU.
    what, where : str
        For the error: what is read, and from which file.

    Returns
    -------
    astropy.io.fits HDU
        An HDU with an image of at least two axes.

    Raises
    ------
    DataError
        If there is none.
    """
    if index is not None:
        try:
            hdu = hdus[index]
        except (KeyError, IndexError):
            raise DataError(f"{what}: {where} has no HDU {index!r} (it has {len(hdus)})") from None
        if not hdu.is_image or hdu.data is None or hdu.data.ndim < 2:
            raise DataError(f"{what}: HDU {index!r} of {where} holds no image")
        return hdu
    for hdu in hdus:
        if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2 and hdu.data is not None:
            return hdu
    raise DataError(f"{what}: no HDU of {where} holds an image")


@contextlib.contextmanager
def open_fits(source: str | Path | io.BufferedReader, what: str) -> Iterator[fits.HDUList]:
    """Open a FITS file; whatever is wrong with it becomes a `DataError` that names it.

    Parameters
    ----------
    source : str, Path or binary file
        The file, or one that is open already, at its beginning; gzipped and tile-compressed files are read as they are.
    what : str
        What the file is for, in the error: ``image``, ``psf``, …

    Yields
    ------
    astropy.io.fits.HDUList
        The open file. Its data must be copied before the block ends.

    Raises
    ------
    DataError
        If the file is missing, truncated or no FITS.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    path = _path_of(source)
    if not path.is_file():
        raise DataError(f"{what}: no such file: {path}")
    with warnings.catch_warnings():
        # A truncated file is only a warning to astropy; here it is an error, before half an image is fitted.
        warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
        try:
            # Astropy leaves a file that it opened and cannot read open, so it is given one that is open already.
            opened = path.open("rb") if isinstance(source, (str, Path)) else contextlib.nullcontext(source)
            with opened as stream:
                plain = _plain(stream)
                check_counts(plain, f"{what}: {path}")
                with fits.open(plain, memmap=False, lazy_load_hdus=False) as hdus:
                    yield hdus
        except SoccaError:
            raise
        except Exception as error:
            # A damaged file raises whatever astropy, CFITSIO and zlib raise where they stumble.
            raise DataError(f"{what}: cannot read {path}: {error}") from error


def _path_of(source: str | Path | io.BufferedReader) -> Path:
    return Path(source if isinstance(source, (str, Path)) else source.name)


def _plain(stream: BinaryIO) -> BinaryIO:
    """Return a file as it is, or decompressed; of a gzipped one all is read, since its checksum is at its end."""
    gzipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return io.BytesIO(gzip.decompress(stream.read())) if gzipped else stream


def to_plane(data: Any, what: str, where: str = "") -> np.ndarray:
    """Turn an array into a native float64 plane, dropping degenerate axes.

    Parameters
    ----------
    data : array_like
        Numbers in any byte order; a masked array's masked values become NaN.
    what, where : str
        For the error.

    Returns
    -------
    ndarray
        Two axes, or none for a single number.

    Raises
    ------
    DataError
        If there are more than two axes longer than one, or the values are no numbers.
    """
    try:
        if isinstance(data, np.ma.MaskedArray):
            data = np.ma.filled(data.astype(float), np.nan)
        plane = np.array(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what}{where}: expected numbers, got {type(data).__name__}") from None
    while plane.ndim > 2 and plane.shape[0] == 1:
        plane = plane[0]
    if plane.ndim not in (0, 2):
        raise DataError(f"{what}{where}: expected a two-dimensional image, got shape {plane.shape}")
    return plane


def read_image(source: PlainInput, hdu: int | str | None = None, what: str = "image") -> Plane:
    """Read one plane of numbers and its header.

    Parameters
    ----------
    source : number, array, HDU, HDUList, str, Path, open binary file or Plane
        Where it comes from. A `Plane` is returned as it is; all else is copied.
    hdu : int or str, optional
        Which HDU of a file or list; by default the first with an image.
    what : str
        What it is for, in errors.

    Returns
    -------
    Plane
        With the keywords that its header inherits from the primary one.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    from astropy.io import fits

    if isinstance(source, Plane):
        return source
    if isinstance(source, (str, Path, io.BufferedReader)):
        with open_fits(source, what) as hdus:
            where = str(_path_of(source))
            found = select_hdu(hdus, hdu, what, where)
            return Plane(to_plane(found.data, what, f" ({where})"), _inherit(found, hdus[0]))
    if isinstance(source, list) and source and hasattr(source[0], "header"):
        found = select_hdu(source, hdu, what, "the HDU list")
        return Plane(to_plane(found.data, what), _inherit(found, source[0]))
    if hasattr(source, "data") and hasattr(source, "header"):
        return Plane(to_plane(source.data, what), source.header.copy())
    return Plane(to_plane(source, what), fits.Header())


def _inherit(hdu: Any, primary: Any) -> fits.Header:
    header = hdu.header.copy()
    if header.get("INHERIT"):
        header.extend(primary.header, unique=True)
    return header


def read_plane(source: PlainInput, what: str, hdu: int | str | None = None) -> np.ndarray:
    """Read one plane of numbers, as `read_image` does, without its header.

    Parameters
    ----------
    source : number, array, HDU, HDUList, str or Path
        Where it comes from.
    what : str
        What it is for, in errors.
    hdu : int or str, optional
        Which HDU of a file or list; by default the first with an image.

    Returns
    -------
    ndarray
        Native float64; two axes, or none for a number.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    return read_image(source, hdu, what).data


def read_cube(source: PlainInput, hdu: int | str | None = None) -> np.ndarray:
    """Read realisations of the noise.

    Parameters
    ----------
    source : array, HDU, HDUList, str or Path
        Three axes: realisation, row, column.
    hdu : int or str, optional
        Which HDU of a file or list; by default the first with an image.

    Returns
    -------
    ndarray, shape (n, ny, nx)
        Native float64.

    Raises
    ------
    DataError
        If it cannot be read, or has another number of axes.
    """
    if isinstance(source, (str, Path)):
        with open_fits(source, "cube") as hdus:
            return read_cube(select_hdu(hdus, hdu, "cube", str(source)))
    if isinstance(source, list) and source and hasattr(source[0], "header"):
        source = select_hdu(source, hdu, "cube", "the HDU list")
    try:
        cube = np.array(source.data if hasattr(source, "header") else source, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"cube: expected numbers, got {type(source).__name__}") from None
    if cube.ndim != 3 or not cube.size:
        raise DataError(f"cube: expected realisations of the image, shape (n, ny, nx), got {cube.shape}")
    return cube


def celestial_wcs(header: fits.Header, what: str = "image") -> WCS | None:
    """Return the celestial part of a header's WCS.

    Parameters
    ----------
    header : Header
        Of a FITS image.
    what : str
        What the image is for, in the error.

    Returns
    -------
    WCS or None
        None if the header has no celestial axes.

    Raises
    ------
    DataError
        If the WCS cannot be read.
    """
    from astropy.wcs import WCS, FITSFixedWarning

    if not any(key.startswith("CTYPE") for key in header):
        return None  # as it would be, a millisecond later
    try:
        with warnings.catch_warnings():
            # Dates and other repairs to a header that the celestial axes do not depend on.
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
            return wcs.celestial if wcs.has_celestial else None
    except (ValueError, KeyError, TypeError, MemoryError, AttributeError) as error:
        raise DataError(f"{what}: cannot read its WCS: {error}") from error


def whole_number(value: Any, what: str, least: int) -> int:
    """Return a number as an int; a `DataError` that names it if it is not whole, or below `least`.

    Parameters
    ----------
    value : number
        Of any type.
    what : str
        What it is for, in the error.
    least : int
        The smallest that will do.

    Returns
    -------
    int
        The number.
    """
    try:
        whole = int(value)
        good = not isinstance(value, (bool, str)) and whole == value and whole >= least
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise DataError(f"{what} must be a whole number of at least {least}, got {value!r}")
    return whole
