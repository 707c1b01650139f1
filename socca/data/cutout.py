"""Cutouts: the window of an image that a centre and a size select, and its header."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.fits import PartOf
from socca.data.frames import Frame, frame_of
from socca.data.pixels import Window
from socca.data.wcs import celestial_wcs
from socca.errors import DataError
from socca.utils.numbers import whole_number

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger(__name__)


def find_window(shape: tuple[int, int], frame: Frame, wcs: WCS | None, center: Any, csize: Any) -> Window:
    """Return the rows and columns of a cutout, trimmed to the image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    frame : Frame
        Where its pixels lie.
    wcs : WCS or None
        Its celestial WCS.
    center : tuple of float, SkyCoord or None
        As `Image.cutout`.
    csize : int, Quantity or pair of them
        As `Image.cutout`.

    Returns
    -------
    tuple of slice
        Rows and columns, at least three of each.

    Raises
    ------
    DataError
        If centre or size make no sense, or the cutout does not lie on the image.
    """
    middle = _pixel(shape, wcs, center)
    size = _size(frame, middle, csize)
    window = []
    for length, place, wanted in zip(shape, middle, size, strict=True):
        # The same rounding as astropy.nddata.Cutout2D, but not at the mercy of the last digit of a sky position.
        first = math.ceil(place - wanted / 2 - 1e-6)
        window.append(slice(max(first, 0), min(first + wanted, length)))
    rows, cols = window
    where = f"cutout: {size[0]} x {size[1]} pixels about (x, y) = ({middle[1]:.6g}, {middle[0]:.6g})"
    if rows.stop <= rows.start or cols.stop <= cols.start:
        raise DataError(f"{where} do not overlap with the image, shape {shape}")
    found = (rows.stop - rows.start, cols.stop - cols.start)
    if min(found) < 3:
        raise DataError(f"{where}: {found} of them lie on the image, shape {shape}; at least 3 x 3 are needed")
    if found != size:
        log.warning("%s reach beyond the image, shape %s: trimmed to %s", where, shape, found)
    return rows, cols


def refuse_masked(mask: np.ndarray, window: Window) -> None:
    """Raise `DataError` if a cutout holds no used pixel.

    Parameters
    ----------
    mask : ndarray, shape (ny, nx)
        Of the cutout, 0 where a pixel is not used.
    window : tuple of slice
        Its rows and columns, for the error.
    """
    rows, cols = window
    if not mask.any():
        raise DataError(
            f"cutout: all pixels of rows {rows.start}:{rows.stop}, columns {cols.start}:{cols.stop} are masked"
        )


def _pixel(shape: tuple[int, int], wcs: WCS | None, center: Any) -> tuple[float, float]:
    """Return the row and column of a cutout's centre."""
    if center is None:
        return (shape[0] - 1) / 2, (shape[1] - 1) / 2
    if hasattr(center, "spherical"):
        if wcs is None:
            raise DataError("cutout: the image has no celestial WCS; give its centre as pixels (x, y)")
        if not center.isscalar:
            raise DataError(f"cutout: its centre must be one position, got {center.size}")
        from astropy.wcs import NoConvergence
        from astropy.wcs.utils import skycoord_to_pixel

        try:
            with warnings.catch_warnings():
                # Where all is NaN, as on the other side of the sky.
                warnings.simplefilter("ignore", RuntimeWarning)
                col, row = skycoord_to_pixel(center, wcs, origin=0, mode="all")
        except (NoConvergence, ValueError) as error:
            raise DataError(f"cutout: the image's WCS gives no pixel for {_shown(center)}: {error}") from error
    else:
        try:
            col, row = (float(part) for part in center)
        except (TypeError, ValueError):
            raise DataError(f"cutout: its centre must be pixels (x, y) or a SkyCoord, got {center!r}") from None
    if not (np.isfinite(row) and np.isfinite(col)):
        raise DataError(f"cutout: its centre {_shown(center)} is at no pixel of the image")
    return float(row), float(col)


def _shown(center: Any) -> str:
    return center.to_string("decimal") if hasattr(center, "spherical") else repr(center)


def _size(frame: Frame, middle: tuple[float, float], csize: Any) -> tuple[int, int]:
    """Return the rows and columns of a cutout."""
    if csize is None:
        raise DataError("cutout: its size is needed: csize")
    several = isinstance(csize, (list, tuple)) or getattr(csize, "ndim", 0) == 1
    sides = list(csize) if several else [csize, csize]
    if len(sides) != 2:
        raise DataError(f"cutout: its size must be one number or two, rows and columns, got {csize!r}")
    return _side(frame, middle, 0, sides[0]), _side(frame, middle, 1, sides[1])


def _side(frame: Frame, middle: tuple[float, float], axis: int, side: Any) -> int:
    """Return the length of one side in pixels; an angle counts in pixels of that axis at the cutout's centre."""
    if hasattr(side, "unit"):
        import astropy.units as u

        if side.unit.physical_type == "angle":
            step = np.eye(2)[axis] / 2
            x, y = frame.plane(middle[0] + np.array([-1, 1]) * step[0], middle[1] + np.array([-1, 1]) * step[1])
            count = float(side.to_value(u.deg)) / math.hypot(x[1] - x[0], y[1] - y[0])
            side = round(count) if np.isfinite(count) else count
        elif side.unit == u.pix:
            side = side.value
        else:
            raise DataError(f"cutout: its size must be pixels or an angle, got {side}")
    return whole_number(side, "cutout: its size in pixels (csize; an angle needs a unit, as in 9 * u.arcsec)", 1)


def cutout_part(
    place: Callable[[Frame], tuple[Any, Any]], pixel_scale: Callable[[WCS | None], float | None], *, sky: bool = True
) -> PartOf:
    """Return what chooses the part of a file that a centre and a size select.

    Parameters
    ----------
    place : callable
        Returns ``center`` and ``csize``, as `Image.cutout` takes them, in a frame.
    pixel_scale : callable
        Returns the size of a pixel in arcsec for a celestial WCS, or None for one: None if the WCS gives it.
    sky : bool
        Whether the WCS of the file is looked at.

    Returns
    -------
    callable
        As `read_image` takes it.
    """

    def part(shape: tuple[int, int], header: Any, tables: Any) -> Window:
        wcs = celestial_wcs(header, tables=tables, warn=False) if sky else None
        frame = frame_of(wcs, shape, pixel_scale(wcs))
        return find_window(shape, frame, wcs, *place(frame))

    return part


def part_like(whole: tuple[int, int], window: Window) -> PartOf:
    """Return what chooses, of a file with the shape of a whole image, the part that the image was cut to.

    Parameters
    ----------
    whole : tuple of int
        Rows and columns of the whole image.
    window : tuple of slice
        Those that the image has.

    Returns
    -------
    callable
        As `read_image` takes it.
    """
    cut = any(part.stop - part.start < length for part, length in zip(window, whole, strict=True))

    def part(shape: tuple[int, int], header: Any, tables: Any) -> Window | None:
        return window if cut and shape == whole else None

    return part
