"""Radial profiles. A new one is a class here: its parameters and `profile`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from socca.models.numbers import for_numbers
from socca.models.radial.base import Radial, RadialStructure
from socca.parameters.parameterised import Spec, param
from socca.utils.lazy import fastmath, jnp

if TYPE_CHECKING:
    from socca.utils.array_types import Array

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


def sersic_b(ns: Array) -> Array:
    """Return b of the Sersic profile, from Gamma(2 ns) = 2 gamma(2 ns, b).

    Parameters
    ----------
    ns : scalar
        Sersic index, 0.25 to 10.

    Returns
    -------
    scalar
        b, by a Chebyshev series that agrees with the inverse incomplete gamma function to 1e-10.
    """
    low, high = (float(edge) for edge in np.log(_NS_RANGE))
    series = _sersic_series().astype(ns.dtype)
    t = 2 * (jnp.log(ns) - low) / (high - low) - 1
    # As cosines and one sum: a recurrence would be inlined, many times over, into the loop over pixels.
    return 2 * ns + (series * jnp.cos(np.arange(len(series)).astype(ns.dtype) * jnp.arccos(t))).sum()


class Sersic(Radial):
    """Sersic (1968) profile, ``Ie exp(-b [(r/re)^(1/ns) - 1])``."""

    re = param("deg", "radius of half the light, along the major axis", lower=0.0)
    Ie = param("image", "brightness at re")
    ns = param("", "Sersic index", 0.5, lower=0.25, upper=10.0, usual=(0.5, 8.0))

    @staticmethod
    @for_numbers
    def profile(r: Array, Ie: Array, re: Array, ns: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        b = sersic_b(ns)
        return Ie * fastmath.exp(b - b * fastmath.power(r * (1 / re), 1 / ns))


class Gaussian(Radial):
    """Gaussian profile, ``Is exp(-(r/rs)^2 / 2)``."""

    rs = param("deg", "standard deviation along the major axis", lower=0.0)
    Is = param("image", "central brightness")

    @staticmethod
    @for_numbers
    def profile(r: Array, Is: Array, rs: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        return Is * fastmath.exp(-0.5 * (r / rs) ** 2)


class Exponential(Radial):
    """Exponential profile, ``Is exp(-r/rs)``."""

    rs = param("deg", "scale length along the major axis", lower=0.0)
    Is = param("image", "central brightness")

    @staticmethod
    @for_numbers
    def profile(r: Array, Is: Array, rs: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        return Is * fastmath.exp(-r / rs)


class ModExponential(Radial):
    """Exponential profile modified by a power law, ``Is exp(-r/rs) (1 + r/rm)^alpha``."""

    rs = param("deg", "scale length along the major axis", lower=0.0)
    Is = param("image", "central brightness")
    rm = param("deg", "radius from which the power law matters", lower=0.0)
    alpha = param("", "exponent of the power law")

    @staticmethod
    @for_numbers
    def profile(r: Array, Is: Array, rs: Array, rm: Array, alpha: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        return Is * fastmath.exp(alpha * fastmath.log(1 + r * (1 / rm)) - r * (1 / rs))


class Beta(Radial):
    """Beta profile (Cavaliere & Fusco-Femiano 1976 for alpha = 2), ``Ic [1 + (r/rc)^alpha]^(-beta)``."""

    rc = param("deg", "core radius along the major axis", lower=0.0)
    Ic = param("image", "central brightness")
    alpha = param("", "how sharply it turns over at rc", 2.0, lower=0.0)
    beta = param("", "slope far outside, in units of alpha", 0.55)

    @staticmethod
    @for_numbers
    def profile(r: Array, Ic: Array, rc: Array, alpha: Array, beta: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        return Ic * fastmath.exp(-beta * softplus(alpha * fastmath.log(r * (1 / rc))))


class Power(Radial):
    """Power law, ``Ic (r/rc)^(-alpha)``, with ``alpha < 2``: from 2 on the light around the centre is infinite."""

    rc = param("deg", "radius at which the brightness is Ic, along the major axis", lower=0.0)
    Ic = param("image", "brightness at rc")
    alpha = param("", "slope", 2.0, lower=0.0, upper=30.0)

    #: Not as a part of a bridge, whose other profile holds it back.
    upper_limits: ClassVar[dict[str, tuple[float, str]]] = {
        "alpha": (2.0, "the light around the centre is infinite; Beta has a core"),
    }

    @staticmethod
    @for_numbers
    def profile(r: Array, Ic: Array, rc: Array, alpha: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        # Of zero, `fastmath` makes a huge number.
        return jnp.where(r > 0, Ic * fastmath.power(r * (1 / rc), -alpha), Ic * jnp.where(alpha > 0, jnp.inf, 1.0))

    @classmethod
    def evaluate(cls, form: RadialStructure, r: Array, arguments: dict[str, Any]) -> Array:
        """Return the profile at a radius `r` (degrees) above zero."""
        return arguments["Ic"] * fastmath.power(r * (1 / arguments["rc"]), -arguments["alpha"])

    @classmethod
    def cusp(cls, values: dict[str, Any], spec: Spec) -> Any:
        """Return the slope."""
        return values["alpha"]


class TopHat(Radial):
    """Constant brightness ``Ic`` inside ``rc``, nothing outside.

    A pixel on the edge has its share of the light, as if the edge were straight within it, so that the image changes
    smoothly with every parameter.
    """

    rc = param("deg", "radius along the major axis", lower=0.0)
    Ic = param("image", "brightness inside")

    edge = "rc"

    @staticmethod
    @for_numbers
    def profile(r: Array, Ic: Array, rc: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        return jnp.where(r < rc, Ic, 0.0)

    @classmethod
    def evaluate(cls, form: RadialStructure, r: Array, arguments: dict[str, Any]) -> Array:
        """Return `Ic` at any radius: pixels are cut at the edge by their area, see `edge`."""
        return jnp.broadcast_to(arguments["Ic"], jnp.shape(r))


def softplus(t: Array) -> Array:
    """Return ``ln(1 + e^t)``, for any `t`."""
    return jnp.maximum(t, 0.0) + fastmath.log(1 + fastmath.exp(-jnp.abs(t)))
