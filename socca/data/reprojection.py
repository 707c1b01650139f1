"""Masks with a WCS of their own, laid on the pixels of an image."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from socca.data.maps import MappedImage
from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger(__name__)

#: How far apart, in pixels, a mask's and an image's WCS may put the same pixel and still be called the same.
SAME_PIXEL = 0.1


class PlacedImage(MappedImage, Protocol):
    """What a mask with a WCS asks of the image that it is laid on; see `socca.data.Image`."""

    wcs: WCS | None


def same_place(wcs: WCS, shape: tuple[int, ...], image: PlacedImage) -> bool:
    """Tell whether a mask has the image's pixels, or those that it was cut out of.

    Parameters
    ----------
    wcs : WCS
        Of the mask.
    shape : tuple of int
        Its shape.
    image : PlacedImage
        What it is laid on.

    Returns
    -------
    bool
        Whether it is of that shape, and its WCS agrees to `SAME_PIXEL`.
    """
    if shape not in (image.shape, image.original_shape):
        return False
    start = (0, 0) if shape == image.shape else (image.window[0].start, image.window[1].start)
    return pixels_apart(image.wcs, wcs, image.shape, start) < SAME_PIXEL


def pixels_apart(one: WCS | None, other: WCS, shape: tuple[int, int], start: tuple[int, int]) -> float:
    """Return how far apart two WCS put the same pixels at most, in pixels of the second; inf where one has none.

    Parameters
    ----------
    one, other : WCS
        Celestial.
    shape : tuple of int
        Rows and columns of the first.
    start : tuple of int
        Row and column, in the second, of the first pixel of the first.

    Returns
    -------
    float
        From a few places that spread over the first.
    """
    rows, cols = _grid(shape)
    there = _pixel_to_pixel(one, other, rows, cols)
    apart = np.hypot(there[0] - rows - start[0], there[1] - cols - start[1])
    return float(np.max(apart)) if np.all(np.isfinite(apart)) else np.inf


def _grid(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of a few places that spread over an array, its corners among them."""
    rows, cols = np.meshgrid(*(np.linspace(0, n - 1, 5) for n in shape), indexing="ij")
    return rows.ravel(), cols.ravel()


def _meets(wcs: WCS, shape: tuple[int, ...], image: PlacedImage) -> bool:
    """Tell whether a mask covers part of the image as it was before it was cut, or lies within it."""
    first, whole = [part.start for part in image.window], image.original_shape
    rows, cols = _grid(whole)
    here = _pixel_to_pixel(image.wcs, wcs, rows - first[0], cols - first[1])
    back = _pixel_to_pixel(wcs, image.wcs, *_grid(shape))
    return _any_on(here, shape) or _any_on((back[0] + first[0], back[1] + first[1]), whole)


def _any_on(places: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...]) -> bool:
    on = [(place >= -0.5) & (place <= n - 0.5) for place, n in zip(places, shape, strict=True)]
    return bool(np.any(on[0] & on[1]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of places that a distortion does not reach, or of those on the other side of the sky: NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*all_world2pix.*", category=UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _pixel_to_pixel(one: Any, other: WCS, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where pixels of one WCS lie in another, through their sky frames."""
    from astropy.wcs.utils import pixel_to_pixel

    with _quiet():
        try:
            x, y = pixel_to_pixel(one, other, cols, rows)
        except (ValueError, TypeError, AttributeError) as error:  # what astropy stumbles over, of another kind of sky
            raise DataError(f"mask: its WCS cannot be compared with the image's: {error}") from error
    return np.asarray(y), np.asarray(x)


def reprojected(used: np.ndarray, wcs: WCS, image: PlacedImage, what: str) -> np.ndarray:
    """Lay a mask with another WCS on the image, by the nearest pixel; where it does not reach, pixels stay used.

    Parameters
    ----------
    used : ndarray of bool
        The pixels that the mask leaves.
    wcs : WCS
        Of the mask.
    image : PlacedImage
        What it is laid on.
    what : str
        What it is, and its file, for messages.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        The pixels of the image that it leaves.

    Raises
    ------
    DataError
        If it has the shape of the image, and lies elsewhere on the sky, or if its sky is not that of the image.
    """
    from reproject import reproject_interp

    log.info("%s: its WCS or shape %s differs from the image's %s: reprojected", what, used.shape, image.shape)
    meets = _meets(wcs, used.shape, image)
    with _quiet():
        found, footprint = reproject_interp(
            (used.astype(float), wcs), image.wcs, shape_out=image.shape, order="nearest-neighbor"
        )
    if not footprint.any() and not meets and used.shape in (image.shape, image.original_shape):
        raise DataError(
            f"{what}: it has the shape of the image, and its WCS puts it elsewhere on the sky, where it covers no "
            "pixel of the image: correct its WCS, or remove it (CTYPE1, CTYPE2) if the pixels are those of the image"
        )
    if not footprint.any():
        log.warning("%s: it covers no pixel of the image", what)
    return ~((footprint > 0) & (found == 0))
