"""Images to be fitted: data, mask, PSF, noise, and their place on the sky."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.cutout import cutout_part, find_window, refuse_masked
from socca.data.fits import PlainInput, read_image
from socca.data.fluxes import zero_point_of
from socca.data.frames import Frame, PixelGrid, frame_of
from socca.data.hdus import HduIndex
from socca.data.maps import matching, read_map, throughput
from socca.data.pixels import MAX_PIXELS
from socca.data.wcs import celestial_wcs, shifted_header, shifted_tables
from socca.errors import DataError
from socca.utils.numbers import whole_number

if TYPE_CHECKING:
    from socca.noise.base import NoiseModel

__all__ = ["Image", "PixelGrid"]


class Image:
    """An image to be fitted.

    Parameters
    ----------
    img : str, Path, HDU, HDUList, NDData, CCDData or array
        The image. Non-finite pixels are masked. Degenerate third and fourth axes are dropped. Here and below, a path
        may end with an HDU in brackets (``file.fits[3]``, ``file.fits[SCI]``, ``file.fits[SCI,2]``), and what is read
        already is taken as a `socca.data.fits.Plane`, without a copy. Mask, uncertainty and PSF of NDData are used,
        the latter two unless `noise` and `addpsf` are given.
    response, exposure : str, Path, HDU, HDUList or array, optional
        Maps of the image's shape, finite and not negative: the response multiplies the model before the PSF, the
        exposure after it. Where a map is not finite the pixel is masked, and the map zero.
    noise : NoiseModel, optional
        How the pixels scatter; by default `socca.noise.Normal`, its level estimated from the image.
    subgrid : int
        How many points per pixel and axis the model is evaluated at, where there is no PSF. With one it has no effect:
        the light is sampled as finely as need be.
    img_idx, exp_idx, resp_idx : int, str or tuple, optional
        Which HDU of image, exposure and response; by default the first that holds an image.
    center, csize : optional
        Arguments of `cutout`; it comes before masks and PSF. A size alone cuts about the centre of the array. Of a
        file, no more than that part is read, here and of its maps and masks.
    addmask : dict, optional
        Arguments of `addmask`.
    addpsf : dict, optional
        Arguments of `addpsf`.
    pixel_scale : float, optional
        Size of a pixel in arcsec. Needed without a celestial WCS, refused with one.
    max_pixels : int
        The most pixels that are read of one file.
    zero_point : float or str, optional
        For magnitudes: that of a source whose pixels sum to one. ``AB``, where the unit of the image is one of flux
        density; or ``header:KEY``, a card of the header that holds it. It changes no fit.

    Attributes
    ----------
    data : ndarray, shape (ny, nx)
        Native float64, in the image's own unit; zero where it was not finite.
    mask : ndarray, shape (ny, nx)
        1 where a pixel is used, 0 where not.
    response, exposure : ndarray, shape (ny, nx), or None
        Native float64.
    subgrid : int
        Points per pixel and axis, where there is no PSF.
    psf : ndarray or None
        The point-spread function.
    psf_oversample : int
        How many times finer than the image's the pixels of the PSF are.
    psf_header : astropy.io.fits.Header or None
        What the PSF's file says of it; empty if it comes from an array.
    wcs : astropy.wcs.WCS or None
        The celestial WCS.
    frame : Frame
        Converts between pixels and sky.
    hdu : PrimaryHDU
        Data and header of the image.
    original_shape : tuple of int
        Rows and columns before any cutout.
    window : tuple of slice
        The rows and columns of those that the image has now.

    Raises
    ------
    DataError
        If the image cannot be read or used.
    """

    def __init__(
        self,
        img: PlainInput,
        response: PlainInput = None,
        exposure: PlainInput = None,
        noise: NoiseModel | None = None,
        subgrid: int = 1,
        img_idx: HduIndex | None = None,
        exp_idx: HduIndex | None = None,
        resp_idx: HduIndex | None = None,
        center: Any = None,
        csize: Any = None,
        addmask: dict[str, Any] | None = None,
        addpsf: dict[str, Any] | None = None,
        *,
        pixel_scale: float | None = None,
        max_pixels: int = MAX_PIXELS,
        zero_point: float | str | None = None,
    ) -> None:
        from astropy.io import fits

        self.max_pixels = whole_number(max_pixels, "image: max_pixels", 1)
        wanted = None
        if center is not None or csize is not None:
            wanted = cutout_part(lambda frame: (center, csize), lambda wcs: pixel_scale)
        read = read_image(img, img_idx, part=wanted, max_pixels=self.max_pixels)
        plane, header = read.data, read.header
        if plane.ndim != 2 or min(plane.shape) < 3:
            raise DataError(f"image: at least 3 x 3 pixels are needed, got shape {plane.shape}")
        self.subgrid = whole_number(subgrid, "image: subgrid", 1)
        self._finite = np.isfinite(plane)
        self.data = np.where(self._finite, plane, 0.0)
        self.mask = self._finite.astype(np.uint8)
        self.psf: np.ndarray | None = None
        self.psf_oversample = 1
        self.psf_header: Any = None
        self.psf_includes_pixel = True
        self.psf_averaged = False
        self.response: np.ndarray | None = None
        self.exposure: np.ndarray | None = None
        if noise is None:
            noise = _default_noise(**({} if read.beside is None else read.beside.level()))
        self.noise: NoiseModel = noise
        self.wcs = read.wcs
        self._tables = read.tables
        self.hdu = fits.PrimaryHDU(plane, header)
        self.original_shape = read.whole or self.shape
        self.window = read.window or (slice(0, self.shape[0]), slice(0, self.shape[1]))
        self._pixel_scale = pixel_scale
        self.frame: Frame = frame_of(self.wcs, self.shape, pixel_scale)
        self.zero_point = zero_point_of(zero_point, header, self.frame.pixel_scale)
        if read.window is not None:
            refuse_masked(self.mask, read.window)
        elif wanted is not None:
            self.cutout(center, csize)
        self.response = self._map(response, "response", resp_idx)
        self.exposure = self._map(exposure, "exposure", exp_idx)
        if addmask:
            self.addmask(**addmask)
        if addpsf:
            self.addpsf(**addpsf)
        elif read.beside is not None and read.beside.psf is not None:
            self.addpsf(read.beside.psf)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def grid(self) -> PixelGrid:
        """Where the centres of the pixels are: ``x``, ``y`` in the coordinates of ``xc``, ``yc`` (degrees)."""
        return PixelGrid(*self.frame.coordinates(*np.indices(self.shape)))

    @property
    def convolve(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """The function that convolves an array of the image's shape with its PSF; None without a PSF."""
        from socca.data.psf import convolved

        if self.psf is None:
            return None
        return functools.partial(convolved, psf=self.psf, oversample=self.psf_oversample)

    def read(self, source: PlainInput, what: str, index: HduIndex | None = None) -> np.ndarray:
        """Read a number, or a map on the image's pixels: see `socca.data.maps.read_map`."""
        return read_map(self, source, what, index)

    def matching(self, plane: np.ndarray, what: str) -> np.ndarray:
        """Return an array on the image's pixels, cut like the image if need be: see `socca.data.maps.matching`."""
        return matching(self, plane, what)

    def _map(self, source: PlainInput, what: str, index: HduIndex | None) -> np.ndarray | None:
        """Read the response or the exposure, and mask the pixels where it is unknown."""
        if source is None:
            return None
        plane, known = throughput(self.matching(self.read(source, what, index), what), what)
        self._finite &= known
        self.mask[~known] = 0
        return plane

    def cutout(self, center: Any, csize: Any) -> None:
        """Keep a part of the image, in place: pixels, mask, WCS and header, response and exposure.

        The PSF stays as it is. What is attached later (masks, segmentation and noise maps) may have the shape of the
        cutout, or that of the image as it was read. A part that reaches beyond the image is trimmed. In the pixel
        frame, the offsets ``xc, yc`` count from the centre of the array that is left.

        Parameters
        ----------
        center : tuple of float, SkyCoord or None
            Pixel ``(x, y)``, zero-based as in `astropy.nddata.Cutout2D`, or a position on the sky; None for the centre
            of the array.
        csize : int, Quantity or pair of them
            Size in pixels or as an angle; two of them are rows and columns, ``(ny, nx)``.

        Raises
        ------
        DataError
            If centre or size make no sense, the cutout does not lie on the image, holds no used pixel, or is smaller
            than the PSF. The image is then unchanged.
        """
        from astropy.io import fits

        from socca.data.psf import check_size

        window = find_window(self.shape, self.frame, self.wcs, center, csize)
        rows, cols = window
        mask = self.mask[window].copy()
        refuse_masked(mask, window)
        if self.psf is not None:
            check_size((self.psf.shape[0], self.psf.shape[1]), (mask.shape[0], mask.shape[1]), self.psf_oversample)
        header = shifted_header(self.hdu.header, window)
        tables = shifted_tables(self._tables, window)
        wcs = None if self.wcs is None else celestial_wcs(header, tables=tables, warn=False)
        frame = frame_of(wcs, (mask.shape[0], mask.shape[1]), self._pixel_scale)
        self.data, self.mask, self._finite = self.data[window].copy(), mask, self._finite[window].copy()
        self.hdu = fits.PrimaryHDU(self.hdu.data[window].copy(), header)
        self.wcs, self.frame, self._tables = wcs, frame, tables
        if self.response is not None:
            self.response = self.response[window].copy()
        if self.exposure is not None:
            self.exposure = self.exposure[window].copy()
        first, left = (part.start for part in self.window)
        self.window = (slice(first + rows.start, first + rows.stop), slice(left + cols.start, left + cols.stop))

    def addpsf(
        self,
        img: PlainInput | Callable[[np.ndarray, np.ndarray], Any],
        normalize: bool = True,
        idx: HduIndex | None = None,
        center: str | None = None,
        oversample: int = 1,
        shape: int | tuple[int, int] | None = None,
        includes_pixel: bool | None = None,
    ) -> None:
        """Attach the point-spread function.

        Its reference point is the centre of its array, ``(n - 1) / 2`` on each axis. The shape of an array is never
        altered.

        An array is taken as the image of a star: atmosphere, optics and the pixel (``includes_pixel=True``). That is
        what a PSF measured on stars is, an effective PSF (ePSF) included. Of the optics alone, as they are computed
        without the detector, say ``includes_pixel=False``; the pixel is then added. Either way, point sources and
        extended ones are imaged by optics and pixel, once each.

        A function is taken as it is on the sky, without the pixel, unless you say otherwise. It is turned into an
        array: its mean over a pixel of the image about each pixel's centre, by Gauss-Legendre quadrature. It is called
        with ``x`` (columns) and ``y`` (rows), arrays of distances from the PSF's centre in pixels of the image, and
        returns an array of their shape. A two-dimensional model of astropy or photutils is evaluated about its own
        centre (``x_0, y_0`` or ``x_mean, y_mean``). Those models of photutils that are integrated over pixels already
        (`socca.data.psf.PIXEL_INTEGRATED`) include the pixel.

        Parameters
        ----------
        img : path, HDU, HDUList, array, callable or astropy model
            The PSF, on the image's pixels.
        normalize : bool
            Divide by the sum, so that flux is kept. Otherwise any sum will do, as for the beam of an interferometer.
        idx : int, str or tuple, optional
            Which HDU.
        center : {'centroid', 'peak'}, optional
            Take this point of the PSF as its reference point instead, by a shift.
        oversample : int
            How many times finer than the image's the pixels of the PSF are, on each axis.
        shape : int or pair of int, optional
            Rows and columns of the array that a function is turned into, in pixels of the PSF. By default the smallest
            odd square that holds all but 1e-4 of the flux that falls on the image, and no larger than the image.
        includes_pixel : bool, optional
            Whether the PSF holds the image's pixel: by default True for arrays and files, and False for functions.

        Raises
        ------
        DataError
            If the PSF is larger than the image, is not finite, all zero, or cannot be normalised.
        """
        from socca.data.psf import read_psf

        finer = whole_number(oversample, "psf: oversample", 1)
        plane = None if callable(img) else read_image(img, idx, "psf")
        self.psf, self.psf_includes_pixel = read_psf(
            img if plane is None else plane,
            self.shape,
            normalize=normalize,
            idx=idx,
            center=center,
            oversample=finer,
            shape=shape,
            includes_pixel=includes_pixel,
        )
        self.psf_oversample = finer
        self.psf_header = None if plane is None else plane.header
        #: Whether a function was averaged over pixels to make it.
        self.psf_averaged = callable(img) and not includes_pixel

    def addmask(
        self,
        regions: Any,
        combine: bool = True,
        *,
        good: str | None = None,
        bits: Sequence[int] | None = None,
        idx: HduIndex | None = None,
    ) -> None:
        """Exclude pixels.

        A *mask* has a value per pixel. Without a celestial WCS, or with the image's own, it must have the shape of the
        image (or that from before a cutout). With a WCS of its own it is laid on the image by the nearest pixel; where
        it does not reach, pixels stay used.

        *Regions* exclude the pixels whose centres lie inside. One that is marked as excluded (``-circle(…)`` in DS9,
        ``include`` in the meta data of an object) frees its pixels from the others of its file, or of the objects that
        are given together; what is masked otherwise stays masked. In a file, pixel coordinates are those of the image
        as it was read; those of an object are those of the image as it is now, should it have been cut.

        Parameters
        ----------
        regions : path, HDU, HDUList, array, region object, or a list of them
            Masks, in FITS files or in memory; DS9 or CRTF region files (``.reg``, ``.ds9``, ``.crtf``, or text that
            begins like one); objects of the package `regions`.
        combine : bool
            Keep the pixels excluded so far; otherwise only those stay excluded where the image, its response or its
            exposure are not finite.
        good : {'nonzero', 'zero'}, optional
            Which values of a mask mark a used pixel. socca's own convention is ``nonzero``, the default. NaN never
            does.
        bits : sequence of int, optional
            Instead, of a mask of bit planes (data quality), which bits are bad: 0 is the lowest, of value 1, and 5 has
            the value 32. All other bits are harmless.
        idx : int, str or tuple, optional
            Which HDU of a FITS mask.

        Raises
        ------
        DataError
            If one of them cannot be read or placed on the image, or no pixel is left.
        """
        from socca.data.masks import used_pixels

        before = (self.mask > 0) if combine else self._finite
        left = before & used_pixels(regions, self, good, idx, bits)
        if not left.any():
            raise DataError("mask: it leaves nothing, all pixels are masked")
        self.mask = left.astype(np.uint8)

    def keep_segment(self, segmentation: PlainInput, segment: int, idx: HduIndex | None = None) -> np.ndarray:
        """Mask every object of a segmentation map but one; the sky between them stays.

        Parameters
        ----------
        segmentation : path, HDU or array
            0 for sky, one whole number per object.
        segment : int
            The number of the object to keep, from 1 on.
        idx : int, str or tuple, optional
            Which HDU.

        Returns
        -------
        ndarray of bool, shape (ny, nx)
            The pixels of the object that is kept.

        Raises
        ------
        DataError
            If the map has another shape (that from before a cutout will do) or does not hold the object, or if the
            number is that of the sky, 0.
        """
        from socca.data.segments import pixels_of_segment

        plane = self.matching(self.read(segmentation, "segmentation", idx), "segmentation")
        mine = pixels_of_segment(plane, segment)
        self.addmask((plane == 0) | mine)
        return mine

    def check_mask(self) -> None:
        """Raise `DataError` if no pixel is left."""
        if not self.mask.any():
            raise DataError("image: all pixels are masked")


def _default_noise(**level: np.ndarray) -> NoiseModel:
    from socca.noise import Normal  # which is built upon images

    return Normal(**level)
