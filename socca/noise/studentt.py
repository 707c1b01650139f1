"""Independent noise with heavy tails in every pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.noise.base import LOWEST_SCALE, IndependentNoise
from socca.noise.levels import LevelArrays, Levels, level_of
from socca.parameters.parameterised import Spec, param
from socca.utils.lazy import jnp, special

if TYPE_CHECKING:
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

#: The degrees of freedom that `StudentT.sigma_at` takes at least: with two or fewer there is no standard deviation.
_LOWEST_NU_OF_SIGMA = 3.0


class StudentT(Levels, IndependentNoise[LevelArrays]):
    """Independent noise that follows Student's t distribution.

    For images with more outliers than a Gaussian has (cosmic rays, neighbours that nobody masked): a pixel far from
    the model pulls on it with a force that falls with its distance. With large ``nu`` it is the Gaussian of width
    ``scale sigma``; with ``nu = 1`` it is Cauchy's (Lange, Little & Taylor 1989, J. Am. Stat. Assoc. 84, 881).

    Parameters
    ----------
    **given : object
        At most one level, in the forms of `Normal`: the scale of the distribution (not its standard deviation, which
        is ``sqrt(nu / (nu - 2))`` times as large). And values of ``nu`` and ``scale``: numbers, priors or ties.

    Raises
    ------
    DataError
        If two levels are given, or something unknown.
    """

    name = "studentt"
    padded = True

    # Beyond the upper bound the logarithms of the gamma functions cancel badly, and the distribution is Gaussian.
    nu = param("", "degrees of freedom", 4.0, lower=0.1, upper=1e6)
    scale = param("", "factor on the given scales", 1.0, lower=LOWEST_SCALE, neutral=1.0)

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return the sum over the used pixels of the log density of t at ``z = (d - m) / (scale sigma)``.

        ``ln G((nu + 1)/2) - ln G(nu/2) - 1/2 ln(pi nu) - ln(scale sigma) - (nu + 1)/2 ln(1 + z^2/nu)``
        """
        nu, weight = values["nu"], arrays.weight
        each = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * (math.log(math.pi) + jnp.log(nu))
        if "scale" not in spec.neutral:
            weight = weight / values["scale"] ** 2
            each = each - jnp.log(values["scale"])
        residual = arrays.data - drawn.total
        tails = jnp.log1p(weight * residual * residual / nu).sum()  # zero where the weight is
        return arrays.norm + arrays.n_data * each - 0.5 * (nu + 1) * tails

    @staticmethod
    def pointwise(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return the log density of t of each pixel, as in `log_likelihood`."""
        nu, weight = values["nu"], arrays.weight / values["scale"] ** 2
        each = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * (math.log(math.pi) + jnp.log(nu))
        residual = arrays.data - drawn.total
        return each + 0.5 * jnp.log(weight) - 0.5 * (nu + 1) * jnp.log1p(weight * residual * residual / nu)

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any]) -> np.ndarray:
        """Return ``scale sigma sqrt(nu / (nu - 2))``, the standard deviation, with nu taken as 3 or more.

        With two degrees of freedom or fewer there is none.
        """
        nu = max(values["nu"], _LOWEST_NU_OF_SIGMA)
        return values["scale"] * math.sqrt(nu / (nu - 2)) * level_of(arrays.weight)
