"""Planes of numbers and their headers, from FITS files and arrays."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data import streams
from socca.data.fits_headers import check_counts, is_plain, unreadable_cards
from socca.data.hdus import HduIndex, one_of, select_hdu, split_hdu
from socca.data.nddata import NDPixels, nd_pixels
from socca.data.pixels import MAX_PIXELS, Window, refuse_asinh, stored_pixels, values_in_memory, values_of
from socca.data.wcs import celestial_wcs, distortion_tables, is_of_wcs, shifted_header, shifted_tables
from socca.errors import DataError, SoccaError
from socca.utils.files import is_file

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

log = logging.getLogger(__name__)

#: What a plane of numbers may be given as: a number, an array, a FITS HDU or list of them, a path, NDData, a `Plane`.
PlainInput = Any

#: Chooses the rows and columns that are read of a file, by the image's shape, header and `Plane.tables`; None for all.
PartOf = Callable[[tuple[int, int], Any, Any], Window | None]

#: Keywords that say what the stored numbers mean.
_STORED = ("BSCALE", "BZERO", "BLANK", "BSOFTEN")

#: The most bytes that a compressed file may expand to, for each pixel that may be read.
_EXPANDED = 16
#: What to do about a compressed file that expands to more.
_REMEDY = "decompress it, or raise max_pixels (in a config image.max_pixels)"


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of numbers as it was read; whatever takes a path or an array takes it too, and copies nothing.

    Parameters
    ----------
    data : ndarray
        Native float64; two axes, or none for a number.
    header : astropy.io.fits.Header
        What its file says of it; empty if it comes from an array. Of a part, the WCS is that of the part.
    tables : astropy.io.fits.HDUList, optional
        The HDUs that hold the distortion of its WCS.
    window : tuple of slice, optional
        Which rows and columns of the file's image it holds, if not all.
    whole : tuple of int, optional
        Shape of the file's image, if it holds a part.
    path : str
        The file, for messages; empty if it comes from memory.
    beside : NDPixels, optional
        What NDData holds beside its pixels.
    """

    data: np.ndarray
    header: fits.Header
    tables: fits.HDUList | None = None
    window: Window | None = None
    whole: tuple[int, int] | None = None
    path: str = ""
    beside: NDPixels | None = None

    def called(self, what: str) -> str:
        """Return what it is for, and its file, for messages."""
        return f"{what}: {self.path}" if self.path else what

    @functools.cached_property
    def wcs(self) -> WCS | None:
        """The celestial WCS of an image, read when it is first asked for; see `celestial_wcs`."""
        return celestial_wcs(self.header, self.called("image"), self.tables)


@contextlib.contextmanager
def open_fits(
    source: str | Path | io.BufferedReader, what: str, *, stored: bool = False, limit: int = _EXPANDED * MAX_PIXELS
) -> Iterator[fits.HDUList]:
    """Open a FITS file; whatever is wrong with it becomes a `DataError` that names it.

    Parameters
    ----------
    source : str, Path or binary file
        The file, or one that is open already, at its beginning. Files that are compressed (gzip, bzip2,
        xz, zip) or have compressed tiles are read as they are.
    what : str
        What the file is for, in the error: ``image``, ``psf``, …
    stored : bool
        Leave numbers as they are stored, without BSCALE, BZERO and BLANK.
    limit : int
        The most bytes that a compressed file may expand to.

    Yields
    ------
    astropy.io.fits.HDUList
        The open file. Its data must be copied before the block ends.

    Raises
    ------
    DataError
        If the file is missing, truncated or no FITS, or a compressed one is too large.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    path = _path_of(source)
    if not is_file(path):
        raise DataError(f"{what}: no such file: {path}")
    with warnings.catch_warnings():
        # A truncated file is only a warning to astropy; here it is an error, before half an image is fitted.
        warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
        try:
            # Astropy leaves a file that it opened and cannot read open, so it is given one that is open already.
            opened = path.open("rb") if isinstance(source, (str, Path)) else contextlib.nullcontext(source)
            with (
                opened as stream,
                streams.expanded(stream, limit, f"{what}: {path}", _REMEDY) as plain,
            ):
                check_counts(plain, f"{what}: {path}")
                with fits.open(plain, memmap=False, lazy_load_hdus=False, do_not_scale_image_data=stored) as hdus:
                    yield hdus
        except SoccaError:
            raise
        except Exception as error:
            # A damaged file raises whatever astropy, CFITSIO and zlib raise where they stumble.
            raise DataError(f"{what}: cannot read {path}: {error}") from error


def _path_of(source: str | Path | io.BufferedReader) -> Path:
    return Path(source if isinstance(source, (str, Path)) else source.name)


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


def read_image(
    source: PlainInput,
    hdu: HduIndex | None = None,
    what: str = "image",
    *,
    part: PartOf | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Plane:
    """Read one plane of numbers and its header.

    Parameters
    ----------
    source : number, array, HDU, HDUList, NDData, str, Path, open binary file or Plane
        Where it comes from. A `Plane` is returned as it is; all else is copied. Behind a path there may be an HDU in
        brackets: ``file.fits[3]``, ``file.fits[SCI]``, ``file.fits[SCI,2]``.
    hdu : int, str or tuple, optional
        Which HDU of a file or list; by default the first with an image.
    what : str
        What it is for, in errors.
    part : callable, optional
        Chooses the part of a file that is read. What is in memory already is returned whole.
    max_pixels : int or None
        The most pixels that are read of a file; None for no limit.

    Returns
    -------
    Plane
        With the keywords that its header inherits from the primary one.

    Raises
    ------
    DataError
        If it cannot be read, or is too large.
    """
    from astropy.io import fits

    if isinstance(source, Plane):
        return source
    if isinstance(source, (str, Path)):
        path, named = split_hdu(source)
        source, hdu = path, one_of(named, hdu, f"{what}: {path}")
    if isinstance(source, (Path, io.BufferedReader)):
        return _read_file(source, hdu, what, part, max_pixels)
    if isinstance(source, list) and source and hasattr(source[0], "header"):
        found = select_hdu(source, hdu, what, "the HDU list")
        return _in_memory(found, _inherit(found, source[0], what), what, distortion_tables(found.header, source))
    beside = nd_pixels(source, what)
    if beside is not None:
        return Plane(to_plane(beside.data, what), beside.header, beside.tables, beside=beside)
    if hasattr(source, "data") and hasattr(source, "header"):
        return _in_memory(source, _readable(source.header, what), what, None)
    return Plane(to_plane(source, what), fits.Header())


def _in_memory(hdu: Any, header: fits.Header, what: str, tables: fits.HDUList | None) -> Plane:
    """Return an HDU that the user has opened or made."""
    try:
        data = hdu.data
    except (ValueError, TypeError, OSError) as error:  # astropy stumbles over BLANK of signed bytes
        raise DataError(f"{what}: the HDU cannot be read: {error}. Give the path of its file") from error
    refuse_asinh(header, what)
    return Plane(to_plane(values_in_memory(data, header), what), header, tables)


def _read_file(
    source: Path | io.BufferedReader, hdu: HduIndex | None, what: str, part: PartOf | None, max_pixels: int | None
) -> Plane:
    limit = _EXPANDED * max(max_pixels or 0, MAX_PIXELS)
    with open_fits(source, what, stored=True, limit=limit) as hdus:
        path = _path_of(source)
        found = select_hdu(hdus, hdu, what, str(path))
        where = f"{what}: {path}, HDU {hdus.index_of(found)}" if len(hdus) > 1 else f"{what}: {path}"
        place = found.fileinfo()
        header = _inherit(found, hdus[0], where, plain=place is not None and is_plain(streams.header_of(place)))
        refuse_asinh(header, where)
        tables, window = distortion_tables(header, hdus), None
        shape = (int(found.shape[-2]), int(found.shape[-1]))
        if part is not None and all(n == 1 for n in found.shape[:-2]):
            window = part(shape, header, tables)
        values = values_of(stored_pixels(found, window, max_pixels, where), header, where)
        plane = to_plane(values, what, f" ({path})")
        # Of a part, the rest would have to be read for it.
        if window is None and place is not None:
            for key in streams.wrong_sums(place["file"], place):
                log.warning("%s: it does not fit its %s: it was changed or damaged after that was written", where, key)
    for key in ("BSCALE", "BZERO", "BLANK"):
        header.remove(key, ignore_missing=True)
    if window is None:
        return Plane(plane, header, tables, path=str(path))
    return Plane(plane, shifted_header(header, window), shifted_tables(tables, window), window, shape, str(path))


def _inherit(hdu: Any, primary: Any, where: str, *, plain: bool = False) -> fits.Header:
    header = hdu.header.copy() if plain else _readable(hdu.header, where)
    if header.get("INHERIT"):
        header.extend(_readable(primary.header, where), unique=True)
    return header


def _readable(header: fits.Header, where: str) -> fits.Header:
    """Return a copy of a header without cards whose value cannot be read.

    Those of a WCS stay: what reads the WCS refuses them, and an image may be fitted without it. Those that say what the
    stored numbers mean are refused.
    """
    header = header.copy()
    left_out = set()
    for card in unreadable_cards(header):
        if card.keyword in _STORED:
            raise DataError(f"{where}: {card.keyword} of its header has a value that cannot be read: correct it")
        if not is_of_wcs(card.keyword):
            log.info("%s: %s of its header has a value that cannot be read: left out", where, card.keyword)
            left_out.add(id(card))
    return type(header)([card for card in header.cards if id(card) not in left_out]) if left_out else header


def read_plane(
    source: PlainInput,
    what: str,
    hdu: HduIndex | None = None,
    *,
    part: PartOf | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> np.ndarray:
    """Read one plane of numbers, as `read_image` does, without its header.

    Parameters
    ----------
    source : number, array, HDU, HDUList, NDData, str or Path
        Where it comes from.
    what : str
        What it is for, in errors.
    hdu : int, str or tuple, optional
        Which HDU of a file or list; by default the first with an image.
    part : callable, optional
        Chooses the part of a file that is read.
    max_pixels : int or None
        The most pixels that are read of a file; None for no limit.

    Returns
    -------
    ndarray
        Native float64; two axes, or none for a number.

    Raises
    ------
    DataError
        If it cannot be read, or is too large.
    """
    return read_image(source, hdu, what, part=part, max_pixels=max_pixels).data


def read_cube(source: PlainInput, hdu: HduIndex | None = None) -> np.ndarray:
    """Read realisations of the noise.

    Parameters
    ----------
    source : array, HDU, HDUList, str or Path
        Three axes: realisation, row, column.
    hdu : int, str or tuple, optional
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
        path, named = split_hdu(source)
        with open_fits(path, "cube", stored=True) as hdus:
            found = select_hdu(hdus, one_of(named, hdu, f"cube: {path}"), "cube", str(path))
            return read_cube(values_of(stored_pixels(found, None, None, str(path)), found.header, f"cube: {path}"))
    if isinstance(source, list) and source and hasattr(source[0], "header"):
        source = select_hdu(source, hdu, "cube", "the HDU list")
    if hasattr(source, "header"):
        source = values_in_memory(source.data, source.header)
    try:
        cube = np.array(source, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"cube: expected numbers, got {type(source).__name__}") from None
    if cube.ndim != 3 or not cube.size:
        raise DataError(f"cube: expected realisations of the image, shape (n, ny, nx), got {cube.shape}")
    return cube
