"""Values: pixels, frame and noise level of an image, and priors against them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.fitting.plausibility.doubts import Doubt
from socca.fitting.plausibility.parts import Part, quantiles
from socca.noise.levels import LevelArrays, Levels, level_of
from socca.priors import Prior

if TYPE_CHECKING:
    from socca.data.frames import Frame
    from socca.data.image import Image
    from socca.noise.base import NoiseArrays

#: Pixels of an image that are larger than this, degrees, hardly are.
LARGEST_PIXEL = 0.1
#: Half of a length's prior may reach this many diagonals of the image.
LARGEST_SIZE = 2.0
#: A noise map and the scatter of the pixels may differ by this factor.
NOISE_FACTOR = 3.0
#: Least number of pixels that a scatter is taken from.
_LEAST_PIXELS = 25
#: How far above the brightest pixel an intensity may be, and how far below the noise: a steep profile is much brighter
#: at its centre than its parameter says.
TOO_BRIGHT, TOO_FAINT = 1e3, 1e-5


def data_doubts(image: Image) -> Iterator[Doubt]:
    """Yield a doubt if the used pixels all have one value."""
    used = image.data[image.mask > 0]
    if used.size and used.min() == used.max():
        yield Doubt("constant_image", f"image: all {used.size} used pixels have the value {used[0]:g}", nonsense=True)


def frame_doubts(frame: Frame, wcs: Any) -> Iterator[Doubt]:
    """Yield doubts about the size of the pixels, and about the system of RA and Dec."""
    if frame.pixel_scale > LARGEST_PIXEL:
        where = "CD, CDELT and PC of its header" if frame.on_sky else "image.pixel_scale"
        yield Doubt("pixel_scale", f"image: its pixels are {frame.pixel_scale:.4g} degrees large: check {where}")
    if wcs is None:
        return
    system, equinox = wcs.wcs.radesys.strip().upper(), wcs.wcs.equinox
    if system.startswith("FK4") or (math.isfinite(equinox) and equinox != 2000 and system in ("FK5", "")):
        yield Doubt(
            "frame_not_icrs",
            f"image: its RA and Dec are {_system(system, equinox)}, and so will be those of the fit. Those of the table"
            " are taken to be the same, and must not be ICRS",
        )


def _system(name: str, equinox: float) -> str:
    old = name.startswith("FK4") or (not name and equinox < 1984)
    year = equinox if math.isfinite(equinox) else 1950.0 if old else 2000.0
    return f"{name or ('FK4' if old else 'FK5')} of {year:.1f}"


def prior_doubts(image: Image, parts: Sequence[Part]) -> Iterator[Doubt]:
    """Yield doubts about lengths, angles and intensities.

    Parameters
    ----------
    image : Image
        The data.
    parts : sequence of Part
        The components.

    Yields
    ------
    Doubt
        One for each parameter whose prior, or value, the image cannot have to do with.
    """
    diagonal = math.hypot(*image.shape) * image.frame.pixel_scale
    brightness = None
    for part in parts:
        for name, field in part.fields.items():
            value, where = part.values[name], f"{part.label}.{name}"
            if value is None or part.role == "noise" or value == field.default:
                continue
            if field.is_length and part.role != "background":
                (median,) = quantiles(value, (0.5,))
                if median > LARGEST_SIZE * diagonal:
                    yield Doubt(
                        "size_prior",
                        f"{where} ~ {_shown(value)}: half of it lies above {median * 3600:.4g} arcsec, and the image"
                        f" has a diagonal of {diagonal * 3600:.4g} arcsec. A number without a unit is in degrees",
                    )
            elif field.unit == "rad":
                yield from _angle(value, field.period or 2 * math.pi, where)
            elif field.unit == "image" and isinstance(value, Prior):
                brightness = brightness or _brightness(image)
                yield from _intensity(value, part.role, where, image, *brightness)


def _shown(value: float | Prior) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _angle(value: float | Prior, period: float, where: str) -> Iterator[Doubt]:
    low, high = value.support if isinstance(value, Prior) else (value, value)
    wide = math.isfinite(high - low) and high - low > period * (1 + 1e-6)
    if wide or (not isinstance(value, Prior) and abs(value) > 2 * math.pi):
        yield Doubt(
            "angle_prior",
            f"{where} ~ {_shown(value)}: angles are in radians where they have no unit, and this one repeats itself"
            f" after {period:.4g}: write deg after the numbers, or a narrower range",
        )


def _brightness(image: Image) -> tuple[float, float]:
    """Return the highest absolute value of the used pixels, and the scatter; those of the model before its maps."""
    used = image.mask > 0
    gain = np.ones(()) if image.exposure is None else image.exposure[used]
    gain = gain if image.response is None else gain * image.response[used]
    gain = float(np.median(gain[gain > 0])) if np.any(gain > 0) else 1.0
    data = image.data[used]
    return float(np.abs(data).max()) / gain, scatter(data) / gain


def _intensity(value: Prior, role: str, where: str, image: Image, highest: float, noise: float) -> Iterator[Doubt]:
    low, high = quantiles(value, (0.01, 0.99))
    least, most = 0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))
    # A point's intensity is its flux, of which the pixel at the peak has a share.
    share = abs(float(image.psf.max())) if role == "point" and image.psf is not None else 1.0
    said = ""
    if 0 < highest < math.inf and least * share > TOO_BRIGHT * highest:
        said = f"it begins a factor {least * share / highest:.0e} above the highest pixel, {highest:.3g}"
    elif role != "background" and most * share < TOO_FAINT * noise:
        said = f"it ends a factor {noise / (most * share) if most else math.inf:.0e} below the scatter, {noise:.3g}"
    if said:
        yield Doubt("intensity_prior", f"{where} ~ {_shown(value)}: {said}: it is in the unit of the image, per pixel")


def scatter(values: np.ndarray) -> float:
    """Return the standard deviation of noise in pixels that may hold a source; rather too much than too little.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Pixels.

    Returns
    -------
    float
        From the quantiles of the fainter or of the brighter half, whichever has less; where that is zero (most pixels
        are the same), the standard deviation of all.
    """
    at = [round(share * (values.size - 1)) for share in (0.15866, 0.5, 0.84134)]
    low, middle, high = np.partition(values, at)[at]
    return float(min(middle - low, high - middle) or values.std())


def noise_doubts(image: Image, parts: Sequence[Part], arrays: NoiseArrays) -> Iterator[Doubt]:
    """Yield a doubt if a noise map and the scatter of the pixels differ.

    A map is too high if it is far above the scatter of all pixels, to which a source can only add. It is too low if it
    is far below what is not smooth in the fainter half of the image, to which a source hardly adds.

    Parameters
    ----------
    image : Image
        Data and noise.
    parts : sequence of Part
        Among them, the noise: one whose scale or floor is not as given is left out.
    arrays : NoiseArrays
        What the noise model made of the image, perhaps enlarged.

    Yields
    ------
    Doubt
        At most one. A fit is nonsense if no two pixels differ by as much as the noise of one.
    """
    noise = image.noise
    own = next((part.values for part in parts if part.role == "noise"), {})
    if not (isinstance(noise, Levels) and isinstance(arrays, LevelArrays)) or noise.level is None or _rescaled(own):
        return
    sigma = level_of(arrays.weight)[: image.shape[0], : image.shape[1]]
    used = np.isfinite(sigma)
    data, level = image.data[used], sigma[used]
    if data.size < _LEAST_PIXELS or data.min() == data.max():
        return
    typical, seen = float(np.median(level)), scatter(data)
    high = 1 / max(scatter(data / level), 1e-300)
    low = _unsmooth(np.where(used, image.data, np.nan), sigma, float(np.median(data)))
    form = noise.form or "sigma"
    if high > NOISE_FACTOR and typical > NOISE_FACTOR * seen:
        said, factor = "above", typical / seen
    elif low > NOISE_FACTOR:
        said, factor, seen = "below", low, low * typical
    else:
        return
    yield Doubt(
        "noise_level",
        f"{form}: the noise of a pixel, {typical:.3g}, is a factor {factor:.3g} {said} the scatter of the image, about"
        f" {seen:.3g}{_better_form(form, typical, seen)}",
        nonsense=bool(typical > np.ptp(data)),
        about=form,
    )


def _rescaled(values: Any) -> bool:
    return any(values.get(name, neutral) != neutral for name, neutral in (("scale", 1.0), ("floor", 0.0)))


def _better_form(form: str, sigma: float, seen: float) -> str:
    """Say which other kind of map would agree with the scatter, if one does."""
    given = {"sigma": sigma, "variance": sigma**2, "weight": sigma**-2.0}[form]
    for other, meant in (("sigma", given), ("variance", math.sqrt(given)), ("weight", 1 / math.sqrt(given))):
        if other != form and 0.5 < meant / seen < 2:
            return f": as a {other} it would agree"
    return ": is it a map of the standard deviation, the variance or the weight, in the unit of the image?"


def _unsmooth(data: np.ndarray, sigma: np.ndarray, middle: float) -> float:
    """Return the scatter of what is not smooth in an image, in units of the noise.

    The mask of second differences along both axes leaves out what is linear along either (Immerkaer 1996, Computer
    Vision and Image Understanding 64, 300).

    Parameters
    ----------
    data, sigma : ndarray, shape (ny, nx)
        Pixels, NaN where not used, and their noise.
    middle : float
        Only pixels up to this value are looked at.

    Returns
    -------
    float
        1 for white noise, less for correlated noise; 0 if there are too few pixels.
    """

    def along(plane: np.ndarray, outer: float, inner: float) -> np.ndarray:
        rows = outer * (plane[:-2] + plane[2:]) + inner * plane[1:-1]
        return outer * (rows[:, :-2] + rows[:, 2:]) + inner * rows[:, 1:-1]

    with np.errstate(invalid="ignore"):
        change = along(data, 1, -2) / np.sqrt(along(sigma**2, 1, 4))
        change = change[np.isfinite(change) & (data[1:-1, 1:-1] <= middle)]
    return 1.4826 * float(np.median(np.abs(change))) if change.size >= _LEAST_PIXELS else 0.0
