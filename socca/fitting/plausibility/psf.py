"""PSF: whether an array looks like one, is centred, and has the pixels that it is used with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.frames import frame_of
from socca.data.wcs import celestial_wcs
from socca.errors import DataError
from socca.fitting.plausibility.doubts import Doubt

if TYPE_CHECKING:
    from socca.data.image import Image

#: How far a centroid may lie off the centre of the array, in pixels of the image.
OFF_CENTER = 0.3
#: Pixels below this share of the peak are left out of a centroid: noise in the wings would move it.
_CORE = 0.05
#: How negative a PSF may be, as a share of its peak: beams of interferometers reach a third.
MOST_NEGATIVE = 0.5
#: A PSF whose neighbouring pixels are correlated less, while its peak holds less of the light, looks like noise.
LEAST_CORRELATION, LEAST_PEAK = 0.3, 0.05
#: By how much two sizes of pixels may differ: distortion changes them by some per cent over a camera.
SAME_SCALE = 0.1


def psf_doubts(image: Image) -> list[Doubt]:
    """Return what is implausible about the PSF of an image.

    Parameters
    ----------
    image : Image
        With or without a PSF.

    Returns
    -------
    list of Doubt
        Empty without a PSF.
    """
    if image.psf is None:
        return []
    psf, found = np.asarray(image.psf, float), []
    odd = _odd_shape(psf)
    if odd:
        found.append(Doubt("psf_shape", f"psf: {odd}: is it the file, and the HDU, that is meant?", about="psf"))
    else:
        off = _centroid(psf) / image.psf_oversample
        if np.hypot(*off) > OFF_CENTER:
            even = " An even array has its centre between pixels." if any(n % 2 == 0 for n in psf.shape) else ""
            found.append(
                Doubt(
                    "psf_center",
                    f"psf: its centroid is ({off[1]:.2f}, {off[0]:.2f}) pixels of the image (x, y) off the centre of"
                    f" its array, ((nx - 1)/2, (ny - 1)/2), and so will be all positions.{even} Set image.psf.center to"
                    " centroid or peak to have it shifted",
                    about="psf",
                )
            )
    scale, used = header_pixel_scale(image.psf_header, psf.shape), image.frame.pixel_scale * 3600 / image.psf_oversample
    if scale is not None and abs(np.log(scale / used)) > SAME_SCALE:
        whole = round(image.frame.pixel_scale * 3600 / scale)
        finer = whole > 1 and abs(np.log(scale * whole / (image.frame.pixel_scale * 3600))) < SAME_SCALE
        advice = f"set image.psf.oversample to {whole}" if finer else "resample it to the image's pixels"
        found.append(
            Doubt(
                "psf_scale",
                f"psf: its header gives pixels of {scale:.4g} arcsec, and it is used with pixels of {used:.4g} arcsec:"
                f" {advice}, or correct the header",
                about="psf",
            )
        )
    return found


def _odd_shape(psf: np.ndarray) -> str:
    """Return why an array hardly is a PSF; empty if it may be one."""
    peak, lowest = psf.max(), psf.min()
    if -lowest > MOST_NEGATIVE * peak:
        return f"its lowest value is {lowest / peak if peak > 0 else -np.inf:.2g} of its highest"
    share = peak / np.abs(psf).sum()
    if share < LEAST_PEAK:
        off = psf - psf.mean()
        power = float((off**2).sum())
        if not power > 1e-20 * float((psf**2).sum()):
            return "all its values are the same"
        neighbours = [(off[1:] * off[:-1]).sum(), (off[:, 1:] * off[:, :-1]).sum()]
        if min(neighbours) < LEAST_CORRELATION * power:
            return "it looks like noise: its neighbouring pixels have little to do with each other"
    return ""


def _centroid(psf: np.ndarray) -> np.ndarray:
    """Return row and column of the centroid of the core, from the centre of the array, in pixels of the PSF."""
    weight = np.where(psf > _CORE * psf.max(), psf, 0.0)
    return np.array(
        [(weight.sum(axis=1 - axis) @ np.arange(n)) / weight.sum() - (n - 1) / 2 for axis, n in enumerate(psf.shape)]
    )


def header_pixel_scale(header: Any, shape: tuple[int, ...]) -> float | None:
    """Return the size of a pixel, arcsec, that a FITS header gives.

    Parameters
    ----------
    header : astropy.io.fits.Header or None
        Of a PSF.
    shape : tuple of int
        Its rows and columns.

    Returns
    -------
    float or None
        ``PIXELSCL`` or ``PIXSCALE``, or else the geometric mean of both sides in the middle of a celestial WCS. None if
        there is neither, or the WCS cannot be used.
    """
    if header is None or not len(header):
        return None
    for key in ("PIXELSCL", "PIXSCALE"):
        if (value := _number(header.get(key))) is not None and value > 0:
            return value
    try:
        wcs = celestial_wcs(header, "psf", warn=False)
        return None if wcs is None else frame_of(wcs, (shape[0], shape[1]), None).pixel_scale * 3600
    except DataError:
        return None  # the PSF's place on the sky is of no use, and not worth an error


def _number(value: Any) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) else None
    )
