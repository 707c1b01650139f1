"""Beta, gamma and Student priors."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np

from socca.errors import ConfigError
from socca.priors.base import Prior, Support
from socca.priors.numerics import invert_ray, invert_unit, special, tiny, with_slope


class beta(Prior):  # noqa: N801  (public name, as in the field)
    """Beta distribution of shapes `a` and `b`, stretched from `low` to `high`.

    Parameters
    ----------
    a, b : float
        Shapes, positive.
    low, high : float, optional
        Bounds; by default 0 and 1.

    Notes
    -----
    ``p(x) = t**(a - 1) (1 - t)**(b - 1) / (B(a, b) (high - low))`` with ``t = (x - low) / (high - low)``. Where it
    diverges or vanishes at a bound, the bound itself has the finite density of the closest number inside.
    """

    name = "beta"
    arguments = ("a", "b", "low", "high")
    defaults = MappingProxyType({"low": 0.0, "high": 1.0})

    def validate(self, *values: float) -> None:
        """Require positive shapes, and ``low < high``."""
        a, b, low, high = values
        if not (a > 0 and b > 0):
            raise ConfigError(f"{self!r}: a and b must be positive")
        if not low < high:
            raise ConfigError(f"{self!r}: low must lie below high")

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(self.values[2], self.values[3])

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        a, b, low, high = values
        inside = (x >= low) & (x <= high)
        safe = xp.where(inside, x, 0.5 * (low + high))
        from_low, from_high = _distance(safe - low, low, xp), _distance(high - safe, high, xp)
        width = xp.log(high - low)
        density = (a - 1) * (xp.log(from_low) - width) + (b - 1) * (xp.log(from_high) - width)
        return xp.where(inside, density - special(xp).betaln(a, b) - width, -xp.inf)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        a, b, low, high = values
        return special(xp).betainc(a, b, xp.clip((x - low) / (high - low), 0.0, 1.0))

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        a, b, low, high = values
        if xp is np:
            t = special(np).betaincinv(a, b, u)
            # Below 1e-100 or so scipy may have none; there, the first term of the series is all there is.
            t = np.where(np.isnan(t), np.exp((np.log(a * u) + special(np).betaln(a, b)) / a), t)
        else:
            t = with_slope(
                invert_unit(lambda t: beta._cdf(t, a, b, 0.0, 1.0, xp=xp), u, xp),
                u,
                lambda t: beta._cdf(t, a, b, 0.0, 1.0, xp=xp),
                lambda t: beta._log_prob(t, a, b, 0.0, 1.0, xp=xp),
                xp,
            )
        return xp.clip(low + t * (high - low), low, high)


def _distance(distance: Any, edge: Any, xp: Any) -> Any:
    """Return a distance to an edge, but no less than that of the closest number."""
    closest = 0.5 * xp.finfo(xp.result_type(distance)).eps * xp.abs(edge)
    return xp.maximum(distance, xp.maximum(closest, tiny(distance, xp)))


class gamma(Prior):  # noqa: N801
    """Gamma distribution of shape `a` and width `scale`, for positive values.

    Parameters
    ----------
    a : float
        Shape, positive.
    scale : float
        Width, positive: the mean is ``a scale``.

    Notes
    -----
    ``p(x) = t**(a - 1) exp(-t) / (Gamma(a) scale)`` with ``t = x / scale``. Zero itself has the finite density of the
    closest positive number.
    """

    name = "gamma"
    arguments = ("a", "scale")

    def validate(self, *values: float) -> None:
        """Require a positive shape and scale."""
        if not (values[0] > 0 and values[1] > 0):
            raise ConfigError(f"{self!r}: a and scale must be positive")

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(0.0, math.inf)

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        a, scale = values
        t = xp.where(x >= 0, x, scale) / scale
        density = (a - 1) * xp.log(xp.maximum(t, tiny(t, xp))) - t - special(xp).gammaln(a) - xp.log(scale)
        return xp.where(x >= 0, density, -xp.inf)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        a, scale = values
        return special(xp).gammainc(a, xp.maximum(x, 0.0) / scale)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        a, scale = values
        if xp is np:
            return scale * special(np).gammaincinv(a, u)
        return scale * with_slope(
            invert_ray(lambda t: gamma._cdf(t, a, 1.0, xp=xp), u, xp),
            u,
            lambda t: gamma._cdf(t, a, 1.0, xp=xp),
            lambda t: gamma._log_prob(t, a, 1.0, xp=xp),
            xp,
        )


class studentt(Prior):  # noqa: N801
    """Student's t about `loc`, of width `scale` and `df` degrees of freedom: a Gaussian with heavier tails.

    Parameters
    ----------
    loc : float
        Centre.
    scale : float
        Width, positive.
    df : float
        Degrees of freedom, positive; one is a Cauchy distribution.

    Notes
    -----
    ``p(x) = (1 + z**2 / df)**(-(df + 1) / 2) / (scale sqrt(df) B(1/2, df/2))`` with ``z = (x - loc) / scale``.
    """

    name = "studentt"
    arguments = ("loc", "scale", "df")

    def validate(self, *values: float) -> None:
        """Require a positive scale and degrees of freedom."""
        if not (values[1] > 0 and values[2] > 0):
            raise ConfigError(f"{self!r}: scale and df must be positive")

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale, df = values
        z = xp.abs((x - loc) / scale) / xp.sqrt(df)
        # The square of a value far in the tail of few degrees of freedom is beyond doubles.
        far = z > 1e8
        log = xp.where(far, 2 * xp.log(xp.where(far, z, 1.0)), xp.log1p(xp.where(far, 0.0, z) ** 2))
        norm = special(xp).betaln(0.5, 0.5 * df) + 0.5 * xp.log(df) + xp.log(scale)
        return -0.5 * (df + 1) * log - norm

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale, df = values
        z = (x - loc) / scale
        tail = _upper_tail(xp.abs(z), df, xp)
        return xp.where(z < 0, tail, 1 - tail)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        loc, scale, df = values
        # A tail at a time, on the logarithm of the distance: as sharp far out, where scipy's stdtrit gives up, as in
        # the middle.
        z = invert_ray(lambda z: -_upper_tail(z, df, xp), -xp.minimum(u, 1 - u), xp)
        return loc + scale * with_slope(
            xp.where(u < 0.5, -z, z),
            u,
            lambda z: studentt._cdf(z, 0.0, 1.0, df, xp=xp),
            lambda z: studentt._log_prob(z, 0.0, 1.0, df, xp=xp),
            xp,
        )


def _upper_tail(z: Any, df: Any, xp: Any) -> Any:
    betainc = special(xp).betainc
    # Whichever argument is below one half has all its digits. Dividing by z before squaring keeps far tails finite.
    central = z * z < df
    inner = xp.where(central, z, 0.0) ** 2
    outer = df / xp.where(central, 1.0, z) / xp.where(central, 1.0, z)
    near = 0.5 - 0.5 * betainc(0.5, 0.5 * df, inner / (df + inner))
    far = 0.5 * betainc(0.5 * df, 0.5, outer / (1 + outer))
    return xp.where(central, near, far)
