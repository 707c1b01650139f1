"""Priors that an image suggests, for parameters that were given no value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from socca.data.light import Light, measure_light
from socca.priors import Prior, loguniform, normal, uniform

if TYPE_CHECKING:
    from socca.data.frames import Frame
    from socca.data.image import Image
    from socca.models import Component, Model

#: How many times smaller or larger than on the image a length may be; shortest length, in pixels.
LENGTHS, SHORTEST = 30.0, 0.05
#: How many times fainter or brighter than on the image an intensity may be.
INTENSITIES = 1e4
#: Half-width of a position: half-light radii, and pixels at least.
RADII, PIXELS = 2.0, 3.0
#: Standard deviation of a background, in those of its pixels.
SKY = 3.0


def auto_priors(img: Image, mod: Model) -> dict[str, Prior]:
    """Give a prior to each parameter that has no value, and to each shape that is still at its default.

    The priors depend on the image: its source is measured first (`socca.data.light.measure_light`). They are wide:

    =============================  ======================================================================
    parameter                      prior
    =============================  ======================================================================
    position                       flat, two half-light radii (3 pixels at least) around the centroid
    position angle                 flat, over its period
    ellipticity, index and so on   flat, over the usual range of the parameter
    radius, scale length           log-flat, from 1/30 to 30 times the half-light radius
    intensity                      log-flat, from 1/10,000 to 10,000 times the mean within that radius;
                                   of a point source, times the flux
    background                     normal, around the median, three times as wide as the noise
    =============================  ======================================================================

    Evidences depend on the width of priors. For one image, those of two models can be compared if both have these
    priors; a further component is charged for the width of its own.

    Parameters
    ----------
    img : Image
        The image.
    mod : Model
        The model. Numbers, priors and ties stay, but for shapes (ellipticity, position angle, Sersic index) that are
        still the numbers of their defaults.

    Returns
    -------
    dict of Prior
        What was given, by the user's names of the parameters.
    """
    light = measure_light(img)
    found: dict[str, Prior] = {}
    labels = mod.labels
    for component in mod.components:
        values = component.values
        unset = [name for name, field in component.fields.items() if values[name] == field.default]
        for name, prior in priors_for(component, unset, light, img).items():
            setattr(component, name, prior)
            found[labels[f"{component.id}_{name}"]] = prior
    return found


def priors_for(component: Component, unset: Iterable[str], light: Light, img: Image) -> dict[str, Prior]:
    """Return priors for some parameters of a component: all that have no default, and shapes.

    Parameters
    ----------
    component : Component
        The component.
    unset : iterable of str
        Names of those of its parameters that may be given a prior.
    light : Light
        What was seen on the image.
    img : Image
        The image.

    Returns
    -------
    dict of Prior
        By name; without those for which no prior is known.
    """
    found = {}
    for name in unset:
        if name not in component.shapes_left_alone and (prior := _prior(component, name, light, img)) is not None:
            found[name] = prior
    return found


def flat_position(center: Sequence[float], half: float, frame: Frame) -> tuple[Prior, Prior]:
    """Return flat priors of a position.

    Parameters
    ----------
    center : sequence of float
        Their middle, ``xc, yc`` (degrees).
    half : float
        Half of their width, degrees: as far on the sky to the east as to the north, at every declination.
    frame : Frame
        Of the image.

    Returns
    -------
    tuple of Prior
        Of ``xc`` and ``yc``.
    """
    stretch = 1 / math.cos(math.radians(center[1])) if frame.on_sky else 1.0
    wide = min(half * stretch, 180.0)  # near a pole: all around it, and no more than once
    return uniform(center[0] - wide, center[0] + wide), uniform(center[1] - half, center[1] + half)


def _prior(component: Component, name: str, light: Light, img: Image) -> Prior | None:
    field = component.fields[name]
    if name in component.position_names:
        half = max(RADII * light.radius, PIXELS * img.frame.pixel_scale)
        return flat_position(light.center, half, img.frame)[component.position_names.index(name)]
    if field.usual is not None:
        return uniform(*field.usual)
    if field.period is not None:
        return uniform(0.0, field.period)
    if component.role == "background":
        is_level = field.unit == "image" and field.neutral is None
        return normal(light.sky, SKY * light.noise) if is_level else None
    if field.default is not None:
        return None
    if field.is_length:
        pixel = img.frame.pixel_scale
        largest = float(np.hypot(*img.shape)) * pixel
        return loguniform(max(light.radius / LENGTHS, SHORTEST * pixel), min(light.radius * LENGTHS, largest))
    if field.unit == "image":
        area = 2 * math.pi * (light.radius / img.frame.pixel_scale) ** 2
        level = light.flux / (1.0 if component.role == "point" else area)
        return loguniform(level / INTENSITIES, level * INTENSITIES)
    return None
