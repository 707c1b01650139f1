"""Images: what is fitted, where it lies on the sky, and which of its pixels count."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca import noise as noise_models
from socca.errors import DataError
from socca.fits import PlainInput, open_fits, read_plane, select_hdu, to_plane
from socca.grid import Frame, PixelFrame, SkyFrame

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

__all__ = ["Image"]


class Image:
    """An image to be fitted.

    Parameters
    ----------
    img : str, Path, HDU, HDUList or array
        The image. Non-finite pixels are masked. Degenerate third and fourth axes are dropped.
    noise : NoiseModel, optional
        How the pixels scatter; by default `socca.noise.Normal`, its level estimated from the image.
    img_idx : int or str, optional
        Which HDU; by default the first that holds an image.
    addpsf : dict, optional
        Arguments of `addpsf`.
    addmask : dict, optional
        Arguments of `addmask`.
    pixel_scale : float, optional
        Size of a pixel in arcsec. Needed without a celestial WCS, refused with one.

    Attributes
    ----------
    data : ndarray, shape (ny, nx)
        Native float64, in the image's own unit; zero where it was not finite.
    mask : ndarray, shape (ny, nx)
        1 where a pixel is used, 0 where not.
    psf : ndarray or None
        The point-spread function.
    wcs : astropy.wcs.WCS or None
        The celestial WCS.
    frame : Frame
        Converts between pixels and sky.
    hdu : PrimaryHDU
        Data and header of the image.

    Raises
    ------
    DataError
        If the image cannot be read or used.
    """

    def __init__(
        self,
        img: PlainInput,
        *,
        noise: noise_models.NoiseModel | None = None,
        img_idx: int | str | None = None,
        addpsf: dict[str, Any] | None = None,
        addmask: dict[str, Any] | None = None,
        pixel_scale: float | None = None,
    ) -> None:
        from astropy.io import fits

        plane, header = read_image(img, img_idx)
        if plane.ndim != 2 or min(plane.shape) < 3:
            raise DataError(f"image: at least 3 x 3 pixels are needed, got shape {plane.shape}")
        finite = np.isfinite(plane)
        self.data = np.where(finite, plane, 0.0)
        self.mask = finite.astype(np.uint8)
        self.psf: np.ndarray | None = None
        self.noise: noise_models.NoiseModel = noise if noise is not None else noise_models.Normal()
        self.wcs = celestial_wcs(header)
        self.hdu = fits.PrimaryHDU(plane, header)
        self.frame: Frame = _make_frame(self.wcs, self.shape, pixel_scale)
        if addmask:
            self.addmask(**addmask)
        if addpsf:
            self.addpsf(**addpsf)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    def addpsf(
        self,
        img: PlainInput,
        normalize: bool = True,
        idx: int | str | None = None,
        center: str | None = None,
    ) -> None:
        """Attach the point-spread function.

        Its reference point is the centre of its array, ``(n - 1) / 2`` on each axis. Its shape is never altered.

        Parameters
        ----------
        img : path, HDU, HDUList or array
            The PSF, on the image's pixels.
        normalize : bool
            Divide by the sum, so that flux is kept.
        idx : int or str, optional
            Which HDU.
        center : {'centroid', 'peak'}, optional
            Take this point of the PSF as its reference point instead, by a shift.

        Raises
        ------
        DataError
            If the PSF is larger than the image, is not finite, or cannot be normalised.
        """
        psf = read_plane(img, "psf", idx)
        if psf.ndim != 2:
            raise DataError(f"psf: expected a two-dimensional image, got shape {psf.shape}")
        if psf.shape[0] > self.shape[0] or psf.shape[1] > self.shape[1]:
            raise DataError(f"psf: its shape {psf.shape} is larger than the image's {self.shape}")
        if not np.all(np.isfinite(psf)):
            raise DataError(f"psf: {int(np.sum(~np.isfinite(psf)))} value(s) are not finite")
        total = float(psf.sum())
        if normalize:
            if not total > 1e-12 * np.abs(psf).sum():
                raise DataError(f"psf: its sum is {total:g}; a positive sum is needed to normalise it")
            psf = psf / total
        self.psf = psf if center is None else _recentred(psf, center)

    def addmask(self, regions: PlainInput, combine: bool = True, *, good: str = "nonzero") -> None:
        """Exclude pixels.

        Parameters
        ----------
        regions : path, HDU, array, or a list of them
            Masks of the shape of the image.
        combine : bool
            Keep the pixels excluded so far; otherwise only non-finite pixels stay excluded.
        good : {'nonzero', 'zero'}
            Which values mark a used pixel. socca's own convention is ``nonzero``. NaN never does.

        Raises
        ------
        DataError
            If a mask has another shape, or no pixel is left.
        """
        if good not in ("nonzero", "zero"):
            raise DataError(f"mask: good must be 'nonzero' or 'zero', not {good!r}")
        mask = self.mask > 0
        if not combine:
            mask = np.isfinite(to_plane(self.hdu.data, "image"))
        several = isinstance(regions, (list, tuple)) and not hasattr(regions, "info")
        for source in regions if several else [regions]:
            plane = read_plane(source, "mask")
            if plane.shape != self.shape:
                raise DataError(f"mask: its shape is {plane.shape}, the image's {self.shape}")
            mask &= ((plane != 0) == (good == "nonzero")) & ~np.isnan(plane)
        self.mask = mask.astype(np.uint8)
        self.check_mask()

    def keep_segment(self, segmentation: PlainInput, segment: int) -> np.ndarray:
        """Mask every object of a segmentation map but one; the sky between them stays.

        Parameters
        ----------
        segmentation : path, HDU or array
            0 for sky, one whole number per object.
        segment : int
            The number of the object to keep.

        Returns
        -------
        ndarray of bool, shape (ny, nx)
            The pixels of the object that is kept.

        Raises
        ------
        DataError
            If the map has another shape or does not hold the object.
        """
        plane = read_plane(segmentation, "segmentation")
        if plane.shape != self.shape:
            raise DataError(f"segmentation: its shape is {plane.shape}, the image's {self.shape}")
        mine = plane == segment
        if not mine.any():
            raise DataError(f"segmentation: no pixel belongs to segment {segment}")
        self.addmask((plane == 0) | mine)
        return mine

    def check_mask(self) -> None:
        """Raise `DataError` if no pixel is left."""
        if not self.mask.any():
            raise DataError("image: all pixels are masked")


def read_image(img: PlainInput, index: int | str | None) -> tuple[np.ndarray, fits.Header]:
    """Return the pixels of an image, native float64, and its header; `index` is the HDU, None for the first image."""
    from astropy.io import fits

    if isinstance(img, (str, Path)):
        with open_fits(img, "image") as hdus:
            hdu = select_hdu(hdus, index, "image", str(img))
            return to_plane(hdu.data, "image", f" ({img})"), _inherit(hdu, hdus[0])
    if isinstance(img, list) and img and hasattr(img[0], "header"):
        hdu = select_hdu(img, index, "image", "the HDU list")
        return to_plane(hdu.data, "image"), _inherit(hdu, img[0])
    if hasattr(img, "header"):
        return to_plane(img.data, "image"), img.header.copy()
    return to_plane(img, "image"), fits.Header()


def _inherit(hdu: Any, primary: Any) -> fits.Header:
    header = hdu.header.copy()
    if header.get("INHERIT"):
        header.extend(primary.header, unique=True)
    return header


def celestial_wcs(header: fits.Header) -> WCS | None:
    """Return the celestial part of a header's WCS, or None; an unreadable one is a `DataError`."""
    from astropy.wcs import WCS, FITSFixedWarning

    try:
        with warnings.catch_warnings():
            # Dates and other repairs to a header that the celestial axes do not depend on.
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
            return wcs.celestial if wcs.has_celestial else None
    except (ValueError, KeyError, TypeError, MemoryError, AttributeError) as error:
        raise DataError(f"image: cannot read its WCS: {error}") from error


def _make_frame(wcs: WCS | None, shape: tuple[int, int], pixel_scale: float | None) -> Frame:
    if wcs is None:
        if pixel_scale is None:
            raise DataError("image: it has no celestial WCS, so pixel_scale (arcsec) is needed")
        if not (np.isfinite(pixel_scale) and pixel_scale > 0):
            raise DataError(f"image: pixel_scale must be positive, got {pixel_scale}")
        return PixelFrame(shape, pixel_scale / 3600)
    if pixel_scale is not None:
        raise DataError("image: it has a celestial WCS; pixel_scale is only for images without one")
    return SkyFrame(shape, wcs)


def _recentred(psf: np.ndarray, center: str) -> np.ndarray:
    """Shift a PSF so that its centroid or peak comes to the centre of its array (cubic spline)."""
    from scipy import ndimage

    if center == "centroid":
        point = ndimage.center_of_mass(psf)
    elif center == "peak":
        point = np.unravel_index(np.argmax(psf), psf.shape)
    else:
        raise DataError(f"psf: center must be 'centroid' or 'peak', not {center!r}")
    offset = [(n - 1) / 2 - float(p) for n, p in zip(psf.shape, point, strict=True)]
    shifted = ndimage.shift(psf, offset, order=3, mode="constant")
    return shifted * (psf.sum() / shifted.sum())
