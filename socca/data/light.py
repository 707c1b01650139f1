"""First look at the light of an image's source: where it is, how large, and how bright."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from socca.errors import DataError

if TYPE_CHECKING:
    from socca.data.image import Image

#: Pixels: Gaussian that smooths the image before its brightest place is looked for; smallest radius of half the light.
_SMOOTH, _LEAST = 1.5, 0.5
#: Part of the image's shorter side within which the source is expected, and radius of a source that is not seen.
_EXPECTED, _UNSEEN = 0.25, 0.1
#: Part of the highest response at which a pixel says nothing of a source.
_LEAST_RESPONSE = 0.1
#: Signal-to-noise ratio within the growth curve from which the source is seen.
_SEEN = 5.0


class Light(NamedTuple):
    """What a first look says of a source.

    Attributes
    ----------
    center : tuple of float
        Its position as a model has it, ``xc, yc`` (degrees).
    radius : float
        Radius of half its light, as the PSF shows it, degrees.
    flux : float
        Sum over the pixels; of a source that is not seen, what would be seen of one.
    sky : float
        Median of the pixels away from sources.
    noise : float
        Standard deviation of these pixels.
    """

    center: tuple[float, float]
    radius: float
    flux: float
    sky: float
    noise: float


def measure_light(image: Image) -> Light:
    """Measure the source in the middle of an image, by its brightest place, centroid and growth curve.

    Masked pixels are taken to be as bright as the others at their radius; a ring that is masked wholly, as the rings
    beside it. The exposure is divided out; and the response, of the source but not of the sky. Pixels of a tenth of the
    highest response or less are left out.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    Light
        Meant for priors and starting points, not for science: it knows no model.

    Raises
    ------
    DataError
        If no used pixel has response and exposure.
    """
    from astropy.stats import sigma_clipped_stats

    used, data = image.mask > 0, image.data
    if image.exposure is not None:
        used = used & (image.exposure > 0)
        data = data / np.where(image.exposure > 0, image.exposure, 1.0)
    response = image.response
    if response is not None:
        used = used & (response > _LEAST_RESPONSE * np.max(response, where=used, initial=0.0))
    if not used.any():
        raise DataError("image: no pixel that is used has response and exposure")
    _, sky, noise = (float(value) for value in sigma_clipped_stats(data[used], sigma=3, maxiters=20))
    noise = noise if noise > 0 else float(np.std(data[used])) or 1.0
    off, scatter = np.where(used, data - sky, 0.0), noise
    if response is not None:
        off = off / np.where(used, response, 1.0)
        scatter = noise / float(np.median(response[used]))
    at = _brightest(off, used)
    radius, flux, error = _grown(off, used, at, scatter)
    rows, cols = np.indices(off.shape)
    for _ in range(3):
        near = used & (np.hypot(rows - at[0], cols - at[1]) < 2 * radius + 1) & (off > 0)
        total = float(np.sum(off, where=near))
        if total > 0:
            at = (float(np.sum(rows * off, where=near)) / total, float(np.sum(cols * off, where=near)) / total)
        radius, flux, error = _grown(off, used, at, scatter)
    pixel = image.frame.pixel_scale
    if not flux > _SEEN * error:
        radius = _UNSEEN * min(off.shape)
        flux = _SEEN * scatter * float(np.sqrt(np.pi)) * radius
        middle = tuple(float(value) for value in image.frame.center)
        return Light((middle[0], middle[1]), radius * pixel, flux, sky, noise)
    x, y = image.frame.coordinates(*at)
    return Light((float(x), float(y)), radius * pixel, flux, sky, noise)


def _brightest(off: np.ndarray, used: np.ndarray) -> tuple[float, float]:
    """Return row and column of the brightest place of a smoothed image; the middle counts for more than the edges."""
    from scipy.ndimage import gaussian_filter

    weight = np.maximum(gaussian_filter(used.astype(float), _SMOOTH, mode="constant"), 1e-3)
    height = np.where(used, gaussian_filter(off, _SMOOTH, mode="constant") / weight, -np.inf)
    rows, cols = (np.arange(length) - (length - 1) / 2 for length in off.shape)
    expected = np.exp(-(rows[:, None] ** 2 + cols**2) / (2 * (_EXPECTED * min(off.shape)) ** 2))
    place = int(np.argmax(np.where(height > 0, height * expected, height)))
    return float(place // off.shape[1]), float(place % off.shape[1])


def _grown(off: np.ndarray, used: np.ndarray, at: tuple[float, float], noise: float) -> tuple[float, float, float]:
    """Return half-light radius (pixels), flux and its error by the growth curve about a place.

    It ends at the first ring whose mean is not above its error.
    """
    rows, cols = np.indices(off.shape)
    ring = np.hypot(rows - at[0], cols - at[1])[used].astype(int)
    number = np.bincount(ring)
    mean = np.bincount(ring, off[used]) / np.maximum(number, 1)
    mean = np.interp(np.arange(len(mean)), np.flatnonzero(number), mean[number > 0])
    faint = (mean <= noise / np.sqrt(np.maximum(number, 1))) & (number > 0)
    faint[:2] = False
    end = int(np.argmax(faint)) if faint.any() else len(mean)
    edges = np.arange(end + 1)
    area = np.pi * np.diff(edges**2)
    light = mean[:end] * area
    grown = np.concatenate([[0.0], np.cumsum(light)])
    flux = float(grown[-1])
    error = noise * float(np.sqrt(np.sum(area**2 / np.maximum(number[:end], 1))))
    if not flux > 0:
        return _LEAST, 0.0, error
    return max(float(np.interp(0.5 * flux, np.maximum.accumulate(grown), edges)), _LEAST), flux, error
