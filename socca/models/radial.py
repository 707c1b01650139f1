"""Elliptical sources whose brightness depends on the elliptical radius alone.

A new profile is one class here: its parameters and `profile`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from socca.models.base import Component, param


class Radial(Component, abstract=True):
    """A source of elliptical isophotes around ``xc, yc``."""

    role = "extended"

    xc = param("deg", "RA, or offset to the east in a pixel frame", period_on_sky=360.0)
    yc = param("deg", "Dec, or offset to the north in a pixel frame")
    theta = param("rad", "position angle of the major axis, from north through east", 0.0, period=math.pi)
    e = param("", "ellipticity, 1 - b/a", 0.0, lower=0.0, upper=1 - 1e-6)
    cbox = param("", "boxiness: 0 elliptical, > 0 boxy, < 0 disky", 0.0, lower=-2 + 1e-6, neutral=0.0)

    #: ``profile(r, **parameters)``: the brightness at elliptical radius `r` (degrees, along the major axis).
    profile: ClassVar[Callable[..., Any]]

    @classmethod
    def brightness(cls, dx: Any, dy: Any, values: dict[str, Any], neutral: frozenset[str]) -> Any:
        """Return the brightness at an offset from the centre.

        Parameters
        ----------
        dx, dy : array
            Offsets to the east and north, degrees.
        values : dict
            Values of the parameters.
        neutral : frozenset of str
            Parameters that are fixed at their neutral value.

        Returns
        -------
        array
            In the unit of the image.
        """
        sin, cos = jnp.sin(values["theta"]), jnp.cos(values["theta"])
        major = dx * sin + dy * cos
        minor = (dx * cos - dy * sin) / (1 - values["e"])
        # A floor far below a pixel: the gradient at the very centre stays finite.
        tiny = 1e-20
        if "cbox" in neutral:
            r = jnp.sqrt(major**2 + minor**2 + tiny)
        else:
            power = 2 + values["cbox"]
            r = ((major**2 + tiny) ** (power / 2) + (minor**2 + tiny) ** (power / 2)) ** (1 / power)
        return cls.profile(r, **{name: values[name] for name in cls.fields if name not in Radial.fields})


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
