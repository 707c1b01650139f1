"""Point-spread functions, from files, arrays and functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from socca.data.fits import PlainInput, read_plane
from socca.data.hdus import HduIndex
from socca.errors import DataError
from socca.utils.numbers import whole_number

#: Models of photutils whose value at a pixel's centre is the integral over the pixel already.
PIXEL_INTEGRATED = frozenset(
    {
        "CircularGaussianPRF",
        "CircularGaussianSigmaPRF",
        "GaussianPRF",
        "GriddedPSFModel",
        "ImagePSF",
        "IntegratedGaussianPRF",
    }
)
#: How much of a function's flux may lie outside the array that it is turned into, unless its shape is given.
LOST_FLUX = 1e-4
#: Share of a PSF's transform that may be left at the Nyquist frequency of its pixels: that of a Gaussian of 2 pixels
#: full width at half maximum, sampled at pixels' centres, is 0.057.
UNDERSAMPLED = 0.06
#: Gauss-Legendre points across a pixel; even, so that none is at the centre, where many a formula is 0 / 0.
_POINTS = 8


class UndersampledPsfWarning(UserWarning):
    """A PSF is narrower than its pixels can tell."""


#: A PSF as a function of x and y, in pixels of the image from its centre.
Profile = Callable[[np.ndarray, np.ndarray], Any]


def read_psf(
    img: PlainInput | Profile,
    image_shape: tuple[int, int],
    *,
    normalize: bool = True,
    idx: HduIndex | None = None,
    center: str | None = None,
    oversample: int = 1,
    shape: int | tuple[int, int] | None = None,
    includes_pixel: bool | None = None,
) -> tuple[np.ndarray, bool]:
    """Return a point-spread function as an array, and whether that holds the image's pixel.

    Parameters
    ----------
    img : path, HDU, HDUList, array, callable or astropy model
        The PSF, as `Image.addpsf`.
    image_shape : tuple of int
        Rows and columns of the image.
    normalize : bool
        Divide by the sum.
    idx : int, str or tuple, optional
        Which HDU.
    center : {'centroid', 'peak'}, optional
        Shift this point of the PSF to the centre of its array.
    oversample : int
        How many times finer than the image's the pixels of the PSF are, on each axis.
    shape : int or pair of int, optional
        Of the array that a function is turned into.
    includes_pixel : bool, optional
        Whether `img` holds the image's pixel; by default, arrays do and functions do not.

    Returns
    -------
    psf : ndarray
        Rows and columns of the PSF.
    includes_pixel : bool
        Whether it holds the image's pixel: that of a function always does.

    Raises
    ------
    DataError
        If it cannot be read or used.
    """
    limit = (image_shape[0] * oversample, image_shape[1] * oversample)
    if not isinstance(includes_pixel, bool | None):
        raise DataError(f"psf: includes_pixel must be True or False, got {includes_pixel!r}")
    if callable(img):
        integrated = any(kind.__name__ in PIXEL_INTEGRATED for kind in type(img).__mro__)
        if integrated and includes_pixel is False:
            raise DataError(
                f"psf: {type(img).__name__} is integrated over the image's pixels: leave out includes_pixel=False"
            )
        psf = _sampled(img, limit, oversample, shape, 1 if integrated or includes_pixel else _POINTS)
        includes_pixel = True
    elif shape is not None:
        raise DataError("psf: shape is for functions; that of an array is never altered")
    else:
        psf = read_plane(img, "psf", idx)
    if psf.ndim != 2 or psf.size == 0:
        raise DataError(f"psf: expected a two-dimensional image, got shape {psf.shape}")
    check_size((psf.shape[0], psf.shape[1]), image_shape, oversample)
    if not np.all(np.isfinite(psf)):
        raise DataError(f"psf: {int(np.sum(~np.isfinite(psf)))} value(s) are not finite")
    if not psf.any():
        raise DataError("psf: its sum is 0, and all its values are zero")
    if center is not None:
        psf = _recentred(psf, center)
    if normalize:
        psf = psf / _positive_sum(psf, "normalise it")
        _warn_if_undersampled(psf, includes_pixel is not False)
    return psf, includes_pixel is not False


def _warn_if_undersampled(psf: np.ndarray, includes_pixel: bool) -> None:
    """Warn of a PSF, of unit sum, whose pixels cannot tell what it is between them."""
    # The transform at the Nyquist frequency of each axis: alternating sums.
    signs = [(-1.0) ** np.arange(n) for n in psf.shape]
    left = [abs(float(part)) for part in ((psf.sum(1) * signs[0]).sum(), (psf.sum(0) * signs[1]).sum())]
    if not includes_pixel:
        left = [part * np.sinc(0.5) for part in left]
    if max(left) > UNDERSAMPLED:
        warnings.warn(
            f"psf: it is narrower than its pixels can tell: {max(left):.2g} of its transform is left at their Nyquist"
            " frequency, as of a Gaussian of less than two pixels full width at half maximum. Sources that are as"
            " compact are wrong by up to as much of their peak. Give an oversampled PSF (oversample=)",
            UndersampledPsfWarning,
            stacklevel=4,
        )


def convolved(plane: Any, psf: np.ndarray, oversample: int = 1) -> np.ndarray:
    """Return an image convolved with a PSF.

    Parameters
    ----------
    plane : array_like, shape (ny, nx)
        The image; beyond its edges it is zero.
    psf : ndarray
        The PSF, on the image's pixels; its reference point is the centre of its array.
    oversample : int
        How many times finer its pixels are.

    Returns
    -------
    ndarray, shape (ny, nx)
        The convolution, without wrapping.

    Raises
    ------
    DataError
        If the PSF is sampled more finely than the image, or the image has not two axes.

    Notes
    -----
    Light that is finer than a pixel is wrong after a convolution on pixels: models are convolved in another way, by
    ``getmap(img, convolve=True)``.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    plane = np.asarray(plane, float)
    if plane.ndim != 2:
        raise DataError(f"convolve: expected a two-dimensional image, got shape {plane.shape}")
    if oversample > 1:
        raise DataError(
            f"convolve: the pixels of the PSF are {oversample} times finer than the image's; draw the model with "
            "getmap(img, convolve=True)"
        )
    full = [next_fast_len(n + m, real=True) for n, m in zip(plane.shape, psf.shape, strict=True)]
    phases = []
    for axis, (n, m) in enumerate(zip(full, psf.shape, strict=True)):
        frequency = np.fft.rfftfreq(n) if axis else np.fft.fftfreq(n)
        phase = np.exp(1j * np.pi * frequency * (m - 1))
        # Between pixels, the highest frequency has no phase: it is its own opposite.
        phases.append(np.where(np.abs(frequency) == 0.5, phase.real, phase))
    transform = rfft2(plane, full) * rfft2(psf, full) * phases[0][:, None] * phases[1]
    return irfft2(transform, full)[: plane.shape[0], : plane.shape[1]]


def check_size(shape: tuple[int, int], image_shape: tuple[int, int], oversample: int) -> None:
    """Raise `DataError` if a PSF is larger than the image.

    Parameters
    ----------
    shape, image_shape : tuple of int
        Rows and columns of the PSF and of the image.
    oversample : int
        How many times finer the PSF is sampled.
    """
    if shape[0] > oversample * image_shape[0] or shape[1] > oversample * image_shape[1]:
        finer = "" if oversample == 1 else f" with each pixel divided by {oversample}"
        raise DataError(f"psf: its shape {shape} is larger than the image's {image_shape}{finer}: trim it")


def _positive_sum(psf: np.ndarray, purpose: str) -> float:
    total = float(psf.sum())
    if not total > 1e-12 * np.abs(psf).sum():
        raise DataError(f"psf: its sum is {total:g}; a positive sum is needed to {purpose}")
    return total


def _recentred(psf: np.ndarray, center: str) -> np.ndarray:
    """Shift a PSF so that its centroid or peak comes to the centre of its array (cubic spline)."""
    from scipy import ndimage

    if center == "centroid":
        _positive_sum(psf, "find its centroid")
        point = ndimage.center_of_mass(psf)
    elif center == "peak":
        point = np.unravel_index(np.argmax(psf), psf.shape)
    else:
        raise DataError(f"psf: center must be 'centroid' or 'peak', not {center!r}")
    offset = [(n - 1) / 2 - float(p) for n, p in zip(psf.shape, point, strict=True)]
    return ndimage.shift(psf, offset, order=3, mode="constant")


def _sampled(
    psf: Any, limit: tuple[int, int], oversample: int, shape: int | tuple[int, int] | None, points: int
) -> np.ndarray:
    """Turn a function into an array: its mean over a pixel of the image about the centre of each of its own pixels.

    With one point, its value there.
    """
    profile = _profile(psf)
    nodes, weights = np.polynomial.legendre.leggauss(points)

    def sample(rows: int, cols: int) -> np.ndarray:
        y, x = ((np.arange(n) - (n - 1) / 2) / oversample for n in (rows, cols))
        total = np.zeros((rows, cols))
        for dy, wy in zip(nodes / 2, weights / 2, strict=True):
            for dx, wx in zip(nodes / 2, weights / 2, strict=True):
                total += wy * wx * _values(profile, *np.meshgrid(x + dx, y + dy))
        return total

    if shape is None:
        return _enough(sample, limit, 8 * oversample)
    sides = [shape, shape] if np.ndim(shape) == 0 else list(shape)  # type: ignore[arg-type]
    if len(sides) != 2:
        raise DataError(f"psf: shape must be one number or two, rows and columns, got {shape!r}")
    rows, cols = (whole_number(side, "psf: shape", 1) for side in sides)
    check_size((rows, cols), (limit[0] // oversample, limit[1] // oversample), oversample)
    return sample(rows, cols)


def _profile(psf: Any) -> Profile:
    """Return a function of the distances from the centre; that of an astropy model is where its parameters say."""
    names = getattr(psf, "param_names", ())
    for x, y in (("x_0", "y_0"), ("x_mean", "y_mean")):
        if x in names and y in names:
            x0, y0 = float(getattr(psf, x).value), float(getattr(psf, y).value)
            return lambda x, y: psf(x + x0, y + y0)
    return psf


def _values(profile: Profile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    try:
        values = np.asarray(profile(x, y))
    except Exception as error:  # whatever the user's function raises
        raise DataError(f"psf: the function cannot be evaluated: {type(error).__name__}: {error}") from error
    if values.shape != x.shape or values.dtype.kind not in "biuf":
        raise DataError(
            f"psf: the function must return real numbers, one for each point: for points of shape {x.shape} it"
            f" returned shape {values.shape}, dtype {values.dtype}"
        )
    if not np.all(np.isfinite(values)):
        raise DataError(f"psf: the function is not finite at {int(np.sum(~np.isfinite(values)))} of {x.size} points")
    return values


def _enough(sample: Callable[[int, int], np.ndarray], limit: tuple[int, int], half: int) -> np.ndarray:
    """Sample a function on the smallest array, of odd sides and square, that holds its flux within `limit`."""
    most = [(n - 1) // 2 for n in limit]
    before = np.inf
    while True:
        halves = [min(half, h) for h in most]
        values = sample(2 * halves[0] + 1, 2 * halves[1] + 1)
        total = float(values.sum())
        if halves == most or abs(total - before) <= 0.1 * LOST_FLUX * abs(total):
            break
        before, half = total, 2 * half
    row, col = (np.abs(np.arange(-h, h + 1)) for h in halves)
    rings = np.bincount(np.maximum.outer(row, col).ravel(), weights=values.ravel())
    missing = np.flatnonzero(np.abs(np.cumsum(rings) - total) > LOST_FLUX * abs(total))
    keep = missing[-1] + 1 if missing.size else 0
    rows, cols = (slice(max(h - keep, 0), h + keep + 1) for h in halves)
    return values[rows, cols]
