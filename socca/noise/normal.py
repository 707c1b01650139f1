"""Independent Gaussian noise in every pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.noise.base import LOWEST_SCALE, GaussianNoise, IndependentNoise
from socca.noise.levels import FORMS, LevelArrays, Levels, level_of
from socca.parameters.parameterised import Spec, param
from socca.utils.lazy import fastmath, jnp

if TYPE_CHECKING:
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

__all__ = ["FORMS", "Normal"]


class Normal(Levels, GaussianNoise[LevelArrays], IndependentNoise[LevelArrays]):
    """Independent Gaussian noise.

    The variance of a pixel is ``(scale sigma)^2 + floor^2``. Both parameters are left out of the compiled formula
    unless they are given.

    Parameters
    ----------
    **given : object
        At most one level (number, array, HDU or path): ``sigma`` (also ``sig``, ``std``, ``rms``, ``stddev``),
        ``variance`` (``var``) or ``weight`` (``wht``, ``wgt``, ``weights``, ``invvar``: the inverse variance); without
        any, the level is estimated from the median absolute deviation of the used pixels, and logged. ``idx``: which
        HDU of the level's file (number or name). And values of ``scale`` and ``floor``: numbers, priors or ties.

    Raises
    ------
    DataError
        If two levels are given, or something unknown.
    """

    name = "normal"
    padded = True

    scale = param("", "factor on the given standard deviations", 1.0, lower=LOWEST_SCALE, neutral=1.0)
    floor = param("image", "standard deviation added in quadrature", 0.0, lower=0.0, neutral=0.0)

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return ``-1/2 sum((d - m)^2 / V + ln(2 pi V))`` over the used pixels, V being the variance."""
        norm = arrays.norm - 0.5 * math.log(2 * math.pi) * arrays.n_data
        # What is added to the normalisation is zero where the weight is, as it is in a pixel that is not used.
        if "scale" not in spec.neutral:
            norm = norm - arrays.n_data * jnp.log(values["scale"])
        if "floor" not in spec.neutral:
            widened = values["floor"] ** 2 * arrays.weight / values["scale"] ** 2
            norm = norm - 0.5 * fastmath.total(jnp.log1p(widened))
        residual = arrays.data - drawn.total
        return norm - 0.5 * fastmath.total(_weight(arrays, values, spec) * residual * residual)

    @staticmethod
    def pointwise(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return ``-1/2 ((d - m)^2 / V + ln(2 pi V))`` of each pixel."""
        weight = _weight(arrays, values, spec)
        residual = arrays.data - drawn.total
        return -0.5 * (weight * residual * residual + math.log(2 * math.pi) - jnp.log(weight))

    @staticmethod
    def whiten(plane: Array, arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return the image in units of the standard deviation."""
        return plane * jnp.sqrt(_weight(arrays, values, spec))

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any]) -> np.ndarray:
        """Return ``sqrt((scale sigma)^2 + floor^2)``."""
        return np.hypot(values["scale"] * level_of(arrays.weight), values["floor"])


def _weight(arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
    """Return the inverse variance of each pixel; zero where it is not used."""
    weight = arrays.weight
    if "scale" not in spec.neutral:
        weight = weight / values["scale"] ** 2
    if "floor" not in spec.neutral:
        weight = weight / (1 + values["floor"] ** 2 * weight)
    return weight
