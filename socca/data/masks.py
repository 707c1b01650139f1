"""Masks of pixels, from FITS files, region files and region objects."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from socca.data.bit_planes import bit_mask, good_pixels
from socca.data.cutout import part_like
from socca.data.fits import PartOf, PlainInput, Plane, read_image
from socca.data.hdus import HduIndex, one_of, split_hdu
from socca.data.pixels import MAX_PIXELS, Window
from socca.data.region_files import HEAD, REGION_FILES, RegionFile, begins_like_regions
from socca.data.reprojection import SAME_PIXEL, PlacedImage, pixels_apart, reprojected, same_place
from socca.data.wcs import celestial_wcs, shifted_header, shifted_tables
from socca.errors import DataError
from socca.utils.files import is_file

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger(__name__)

#: A mask that leaves less than this share of its pixels may be the wrong way round.
FEW = 0.05


class MaskableImage(PlacedImage, Protocol):
    """What masks ask of the image that they are laid on; see `socca.data.Image`."""

    hdu: Any

    def matching(self, plane: np.ndarray, what: str) -> np.ndarray:
        """Return an array on the image's pixels; `what` is for the error if it has another shape."""


def read_mask(
    path: str | Path, idx: HduIndex | None = None, *, part: PartOf | None = None, max_pixels: int | None = MAX_PIXELS
) -> Plane | RegionFile:
    """Read a file that excludes pixels, opening it once.

    Parameters
    ----------
    path : str or Path
        A FITS mask, or a region file: by its ending, or by how it begins.
    idx : int, str or tuple, optional
        Which HDU of a FITS mask.
    part : callable, optional
        Chooses the part of a FITS mask that is read, as `mask_part` returns it.
    max_pixels : int or None
        The most pixels that are read of a FITS mask.

    Returns
    -------
    Plane or RegionFile
        What `Image.addmask` takes instead of the path.

    Raises
    ------
    DataError
        If it is missing, or no FITS file though it looks like no region file.
    """
    path, named = split_hdu(path)
    idx = one_of(named, idx, f"mask: {path}")
    if path.suffix.lower() in REGION_FILES:
        return RegionFile.read(path)
    if not is_file(path):
        raise DataError(f"mask: no such file: {path}")
    with path.open("rb") as stream:
        head = stream.read(HEAD)
        if begins_like_regions(head):
            return RegionFile(path, head + stream.read())
        stream.seek(0)
        return read_image(stream, idx, "mask", part=part, max_pixels=max_pixels)


def mask_part(wcs: WCS | None, whole: tuple[int, int], window: Window) -> PartOf:
    """Return what chooses the part of a mask that an image was cut to; all of one that lies elsewhere on the sky.

    Parameters
    ----------
    wcs : WCS or None
        The celestial WCS of the image as it is now.
    whole : tuple of int
        Rows and columns of the image as it was read.
    window : tuple of slice
        Those that it has now.

    Returns
    -------
    callable
        As `read_mask` takes it.
    """
    like = part_like(whole, window)

    def part(shape: tuple[int, int], header: Any, tables: Any) -> Window | None:
        chosen = like(shape, header, tables)
        if chosen is None or wcs is None:
            return chosen
        own = celestial_wcs(shifted_header(header, chosen), "mask", shifted_tables(tables, chosen), warn=False)
        rows, cols = chosen
        here = (rows.stop - rows.start, cols.stop - cols.start)
        return chosen if own is None or pixels_apart(wcs, own, here, (0, 0)) < SAME_PIXEL else None

    return part


def used_pixels(
    regions: Any,
    image: MaskableImage,
    good: str | None = None,
    idx: HduIndex | None = None,
    bits: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the pixels that masks and regions leave.

    Parameters
    ----------
    regions : mask, region, or a list of them
        As `Image.addmask`.
    image : MaskableImage
        What they are laid on.
    good : {'nonzero', 'zero'}, optional
        Which values of a mask mark a used pixel; by default ``nonzero``.
    idx : int, str or tuple, optional
        Which HDU of a FITS mask.
    bits : sequence of int, optional
        Instead, which bits of a mask are bad.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where a pixel is used.

    Raises
    ------
    DataError
        If one of them cannot be read or placed on the image.
    """
    if good not in ("nonzero", "zero", None):
        raise DataError(f"mask: good must be 'nonzero' or 'zero', not {good!r}")
    if bits is not None and good is not None:
        raise DataError("mask: give good or bits, not both")
    bad = None if bits is None else bit_mask(bits)
    several = isinstance(regions, (list, tuple)) and not hasattr(regions, "info")
    used, objects = np.ones(image.shape, bool), []
    for given in regions if several else [regions]:
        source = given
        if isinstance(given, (str, Path)):
            part = mask_part(image.wcs, image.original_shape, image.window)
            source = read_mask(given, idx, part=part, max_pixels=image.max_pixels)
        if _is_region(source):
            objects += list(_unpacked(source))
        elif isinstance(source, RegionFile):
            # A file's pixels are those of the image file that it was drawn on.
            start = (image.window[0].start, image.window[1].start)
            physical = not any(key in image.hdu.header for key in ("LTV1", "LTV2", "LTM1_1", "LTM2_2"))
            used &= ~_inside(source.regions(physical=physical), image, start, str(source.path))
        else:
            used &= _plane_leaves(source, image, good or "nonzero", idx, bad)
    if objects:
        used &= ~_inside(objects, image, (0, 0), "the given regions")
    return used


def _is_region(source: Any) -> bool:
    # Whoever has an object of that package has imported it.
    package = sys.modules.get("regions")
    return package is not None and isinstance(source, (package.Region, package.Regions))


def _unpacked(source: Any) -> Iterator[Any]:
    return iter(source) if hasattr(source, "regions") else iter([source])


def _inside(regions: Iterable[Any], image: MaskableImage, start: tuple[int, int], where: str) -> np.ndarray:
    """Return the pixels whose centres lie in regions, and not in any that is marked as excluded.

    Parameters
    ----------
    regions : iterable of regions.Region
        On the sky, or in pixels.
    image : MaskableImage
        Its shape, and its WCS for regions on the sky.
    start : tuple of int
        Row and column of the image's first pixel, as pixel regions count.
    where : str
        Where the regions come from, in messages.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True inside.
    """
    from regions import PixelRegion, SkyRegion

    inside, freed = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    plane = None if image.wcs is None else _undistorted(image.wcs, image.shape)
    number = idle = 0
    for region in regions:
        kind = type(region).__name__
        if isinstance(region, SkyRegion):
            if plane is None:
                raise DataError(
                    f"regions: {where} holds a {kind}, and the image has no celestial WCS to place it by: give regions"
                    " in pixels"
                )
            wcs, points = plane
            covered = _covered(_to_pixel(region, wcs, where), image.shape, (0, 0), points)
        elif isinstance(region, PixelRegion):
            covered = _covered(region, image.shape, start)
        else:
            raise DataError(f"regions: {where} holds a {kind}; only pixel and (flat) sky regions can be used")
        target = inside if region.meta.get("include", True) else freed
        target |= covered
        number, idle = number + 1, idle + (not covered.any())
    if not number:
        log.warning("regions: there is none in %s", where)
    elif idle:
        log.warning("regions: %d of the %d in %s cover no pixel of the image", idle, number, where)
    return inside & ~freed


def _undistorted(wcs: WCS, shape: tuple[int, int]) -> tuple[WCS, tuple[np.ndarray, np.ndarray] | None]:
    """Return a WCS without distortion, and the (x, y) of an image's pixels in it; None where they are as they were.

    In the tangent plane a region keeps its shape, and nothing has to be inverted: far off the image, where regions of a
    whole survey lie, a distortion has no inverse.
    """
    if not wcs.has_distortion:
        return wcs, None
    plain = wcs.deepcopy()
    for distortion in ("sip", "cpdis1", "cpdis2", "det2im1", "det2im2"):
        setattr(plain, distortion, None)
    y, x = np.indices(shape)
    return plain, tuple(plain.wcs_world2pix(*wcs.all_pix2world(x, y, 0), 0))


def _to_pixel(region: Any, wcs: WCS, where: str) -> Any:
    with warnings.catch_warnings():
        # What is on the other side of the sky is at no pixel: NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return region.to_pixel(wcs)
        except Exception as error:
            raise DataError(f"regions: {where}: cannot place a {type(region).__name__}: {error}") from error


def _covered(
    region: Any,
    shape: tuple[int, int],
    start: tuple[int, int],
    points: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Return the pixels whose centres lie in a pixel region, whether it is marked as excluded or not.

    Parameters
    ----------
    region : regions.PixelRegion
        The region.
    shape : tuple of int
        Rows and columns of the image.
    start : tuple of int
        Row and column of the image's first pixel, as the region counts.
    points : tuple of ndarray, optional
        The (x, y) of all pixels, as the region counts; they take the place of `start`.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True inside.
    """
    from regions import CompoundPixelRegion, PixCoord, RegionMeta

    found = np.zeros(shape, bool)
    low, high = np.array([-np.inf, -np.inf]), np.array([np.inf, np.inf])
    if not isinstance(region, CompoundPixelRegion):
        try:
            box = region.bounding_box
        except (ValueError, OverflowError):  # not finite: at no pixel
            return found
        low, high = np.array([box.iymin, box.ixmin]) - 1, np.array([box.iymax, box.ixmax]) + 1
    # Some versions of the package turn the answer round for a region that is marked as excluded.
    plain = region.copy(meta=RegionMeta())
    if points is not None:
        x, y = points
        near = (y >= low[0]) & (y <= high[0]) & (x >= low[1]) & (x <= high[1])
        found[near] = plain.contains(PixCoord(x[near], y[near]))
        return found
    first = np.clip(low - start, 0, shape).astype(int)
    last = np.clip(high - start, 0, shape).astype(int)
    y, x = np.mgrid[first[0] : last[0], first[1] : last[1]]
    if x.size:
        found[first[0] : last[0], first[1] : last[1]] = plain.contains(PixCoord(x + start[1], y + start[0]))
    return found


def _plane_leaves(
    source: PlainInput, image: MaskableImage, good: str, idx: HduIndex | None, bad: int | None
) -> np.ndarray:
    """Return the pixels that a mask of numbers leaves."""
    read = read_image(source, idx, "mask")
    plane = read.data
    used = good_pixels(plane, bad) if bad else ((plane != 0) == (good == "nonzero")) & ~np.isnan(plane)
    if used.mean() < FEW:
        taken = f"values without the bits {bad:#x}" if bad else {"nonzero": "non-zero"}.get(good, good) + " values"
        log.warning(
            "mask: it leaves %d of %d pixels, %s being taken for good (good= and bits=, in a config image.mask)",
            used.sum(), used.size, taken,
        )  # fmt: skip
    if image.wcs is None or plane.ndim != 2:
        return image.matching(used, "mask")
    wcs = celestial_wcs(read.header, read.called("mask"), read.tables)
    if wcs is not None and np.linalg.cond(wcs.pixel_scale_matrix) > 1e10:
        raise DataError("mask: its WCS gives pixels of no area")
    if wcs is None or same_place(wcs, plane.shape, image):
        return image.matching(used, "mask")
    return reprojected(used, wcs, image, read.called("mask"))
