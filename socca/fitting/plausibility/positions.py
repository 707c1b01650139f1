"""Positions: whether a model's sources are on the image, and on pixels that are used."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from socca.fitting.plausibility.doubts import Doubt
from socca.fitting.plausibility.parts import Part, quantiles

if TYPE_CHECKING:
    from socca.data.frames import Frame
    from socca.data.image import Image

#: Shares of a prior at which a position is looked at, on each axis: the central 98 per cent.
_SHARES = tuple(np.linspace(0.01, 0.99, 21).tolist())
#: A prior with less than this share on the image is off it.
LEAST_ON_IMAGE = 0.5
#: A prior, on the image, with less than this share on used pixels is masked.
LEAST_USED = 0.1


@dataclass(frozen=True)
class _Place:
    """Where a prior puts a component.

    Parameters
    ----------
    label : str
        The component.
    on_image : float
        Share of the prior that is on the image.
    used : float
        Of that, the share on used pixels.
    away : float
        Pixels from the edge of the image to the nearest point of the prior; infinite on the other side of the sky.
    wide : bool
        Whether the prior is wider than the image: on both axes, or on one, and then mostly off the image.
    """

    label: str
    on_image: float
    used: float
    away: float
    wide: bool


def position_doubts(image: Image, parts: Sequence[Part]) -> list[Doubt]:
    """Return what is implausible about the positions of components.

    Those that are tied to others are left out.

    Parameters
    ----------
    image : Image
        Frame and mask.
    parts : sequence of Part
        The components.

    Returns
    -------
    list of Doubt
        A component off the image is none if another one is on it and it is no further off than the image is long: its
        light may reach the image. If no component is on the image, and all are further off, a fit is nonsense.
    """
    to_pixel, places = _PlaneToPixel(image.frame, image.shape), []
    for part in parts:
        position = [value for name in part.position_names if (value := part.values[name]) is not None]
        if len(position) == 2:
            xc, yc = (quantiles(value, _SHARES) for value in position)
            places.append(_place(part.label, xc, yc, image, to_pixel))
    side = max(image.shape)
    anywhere = any(place.on_image >= LEAST_ON_IMAGE or place.wide for place in places)
    nowhere = bool(places) and all(place.on_image == 0 and place.away > side for place in places)
    found = []
    for place in places:
        if place.wide:
            found.append(
                Doubt(
                    "wide_position",
                    f"{place.label}: its position prior is wider than the image of {image.shape[1]} x {image.shape[0]}"
                    " pixels: is its unit meant? A number without one is in degrees",
                )
            )
        elif place.on_image < LEAST_ON_IMAGE:
            if not anywhere or place.away > side:
                found.append(Doubt("off_image", _off_image(place, image.frame), nowhere))
        elif place.used < LEAST_USED:
            found.append(
                Doubt(
                    "target_masked",
                    f"{place.label}: {100 * (1 - place.used):.0f} % of its position prior is on masked pixels: does a"
                    " mask, or a segmentation map, cover the source itself?",
                )
            )
    return found


def _off_image(place: _Place, frame: Frame) -> str:
    if place.on_image > 0:
        where = f"only {100 * place.on_image:.0f} % of its position prior is on the image"
    elif np.isinf(place.away):
        where = "its position prior is 90 degrees from the image or more"
    else:
        angle = place.away * frame.pixel_scale * 3600
        where = f"its position prior begins {place.away:.4g} pixels ({angle:.4g} arcsec) off the image"
    meant = (
        f"RA and Dec of the image's centre are {frame.center[0]:.6f}, {frame.center[1]:.6f}: is it the image of this"
        " target, and is its WCS right?"
        if frame.on_sky
        else "without a WCS, positions are offsets from the centre of the image, in degrees, and no RA and Dec"
    )
    return f"{place.label}: {where}; {meant}"


class _PlaneToPixel:
    """Linear map from the field plane to pixels, about the centre of an image; distortions are left out of it."""

    def __init__(self, frame: Frame, shape: tuple[int, int]) -> None:
        self._middle = np.array([(n - 1) / 2 for n in shape])
        rows, cols = self._middle[0] + np.array([0, 0.5, -0.5, 0, 0]), self._middle[1] + np.array([0, 0, 0, 0.5, -0.5])
        plane = np.stack(frame.plane(rows, cols))
        jacobian = np.stack([plane[:, 1] - plane[:, 2], plane[:, 3] - plane[:, 4]], axis=1)
        self._origin, self._inverse = plane[:, 0], np.linalg.inv(jacobian)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return rows and columns, shape (2, n), of points of the plane, each of shape (n,)."""
        return self._middle[:, None] + self._inverse @ (np.stack([x, y]) - self._origin[:, None])


def _place(label: str, xc: np.ndarray, yc: np.ndarray, image: Image, to_pixel: _PlaneToPixel) -> _Place:
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # beyond the horizon there is no plane
        x, y = image.frame.to_plane(*(axis.ravel() for axis in np.meshgrid(xc, yc)))
    seen = np.isfinite(x) & np.isfinite(y)
    if not seen.any():
        return _Place(label, 0.0, 0.0, np.inf, False)
    pixels = to_pixel(x[seen], y[seen])
    last = np.array(image.shape)[:, None] - 0.5
    inside = np.all((pixels >= -0.5) & (pixels < last), axis=0)
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    on_image = float(inside.sum() / x.size)
    covers = bool(np.all(high >= -0.5) and np.all(low < last[:, 0]))
    around = bool(np.any((low < -0.5) & (high > last[:, 0]))) and on_image < LEAST_ON_IMAGE
    wide = covers and (not seen.all() or around or bool(np.all(high - low > image.shape)))
    away = float(np.maximum(np.maximum(-0.5 - pixels, pixels - last), 0).max(axis=0).min())
    rows, cols = np.rint(pixels[:, inside]).astype(int).clip(0, last.astype(int))
    used = float(np.mean(image.mask[rows, cols] > 0)) if inside.any() else 0.0
    return _Place(label, on_image, used, away, wide)
