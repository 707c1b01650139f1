"""Plausibility of a fit's inputs: what can be fitted, and is hardly meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from socca.fitting.plausibility.doubts import Doubt
from socca.fitting.plausibility.parts import Part
from socca.fitting.plausibility.positions import position_doubts
from socca.fitting.plausibility.psf import psf_doubts
from socca.fitting.plausibility.values import data_doubts, frame_doubts, noise_doubts, prior_doubts

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.noise.base import NoiseArrays

__all__ = ["find_doubts", "image_doubts", "model_doubts"]


def find_doubts(image: Image, parts: Sequence[Part], noise: NoiseArrays) -> list[Doubt]:
    """Return all that is implausible about an image and a model of it.

    Parameters
    ----------
    image : Image
        With its noise.
    parts : sequence of Part
        The components and the noise.
    noise : NoiseArrays
        What the noise model made of the image.

    Returns
    -------
    list of Doubt
        The most serious first of each subject; empty if all is plausible.
    """
    return [*image_doubts(image), *model_doubts(image, parts, noise)]


def image_doubts(image: Image) -> list[Doubt]:
    """Return what is implausible about an image, whatever is fitted to it."""
    return [*data_doubts(image), *frame_doubts(image.frame, image.wcs), *psf_doubts(image)]


def model_doubts(image: Image, parts: Sequence[Part], noise: NoiseArrays) -> list[Doubt]:
    """Return what is implausible about a model of an image, and about the noise that it is fitted with."""
    return [*position_doubts(image, parts), *prior_doubts(image, parts), *noise_doubts(image, parts, noise)]
