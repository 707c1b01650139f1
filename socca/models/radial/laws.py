"""Radial laws. A new one is a class here: its parameters and `profile`."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from socca.models.radial.base import Radial
from socca.parametrised import param

#: Range of ns of the series below: beyond the limits of `Sersic`, so that arccos stays differentiable at them.
_NS_RANGE = (0.2, 11.0)


@functools.cache
def _sersic_series() -> np.ndarray:
    """Return Chebyshev coefficients of b(ns) - 2 ns, in ln(ns) over `_NS_RANGE`."""
    from scipy.special import gammaincinv

    low, high = np.log(_NS_RANGE)

    def excess(t: np.ndarray) -> np.ndarray:
        ns = np.exp(low + (high - low) * (t + 1) / 2)
        return gammaincinv(2 * ns, 0.5) - 2 * ns

    return np.polynomial.chebyshev.chebinterpolate(excess, 40)


def sersic_b(ns: Any) -> Any:
    """Return b of the Sersic law, from Gamma(2 ns) = 2 gamma(2 ns, b).

    Parameters
    ----------
    ns : scalar
        Sersic index, 0.25 to 10.

    Returns
    -------
    scalar
        b, by a Chebyshev series that agrees with the inverse incomplete gamma function to 1e-10.
    """
    low, high = np.log(_NS_RANGE)
    series = _sersic_series()
    t = 2 * (jnp.log(ns) - low) / (high - low) - 1
    # As cosines and one sum: a recurrence would be inlined, many times over, into the loop over pixels.
    return 2 * ns + (series * jnp.cos(np.arange(len(series)) * jnp.arccos(t))).sum()


class Sersic(Radial):
    """Sersic (1968) profile, ``Ie exp(-b [(r/re)^(1/ns) - 1])``."""

    re = param("deg", "radius of half the light, along the major axis", lower=0.0)
    Ie = param("image", "brightness at re")
    ns = param("", "Sersic index", 0.5, lower=0.25, upper=10.0)

    @staticmethod
    def profile(r: Any, *, re: Any, Ie: Any, ns: Any) -> Any:  # noqa: D102, N803
        return Ie * jnp.exp(-sersic_b(ns) * (jnp.exp(jnp.log(r / re) / ns) - 1))


class Gaussian(Radial):
    """Gaussian profile, ``Is exp(-(r/rs)^2 / 2)``."""

    rs = param("deg", "standard deviation along the major axis", lower=0.0)
    Is = param("image", "central brightness")

    @staticmethod
    def profile(r: Any, *, rs: Any, Is: Any) -> Any:  # noqa: D102, N803
        return Is * jnp.exp(-0.5 * (r / rs) ** 2)


class Exponential(Radial):
    """Exponential profile, ``Is exp(-r/rs)``."""

    rs = param("deg", "scale length along the major axis", lower=0.0)
    Is = param("image", "central brightness")

    @staticmethod
    def profile(r: Any, *, rs: Any, Is: Any) -> Any:  # noqa: D102, N803
        return Is * jnp.exp(-r / rs)
