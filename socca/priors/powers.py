"""Priors that are powers of the value between two bounds: uniform, log-uniform and power laws."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

from socca.errors import ConfigError
from socca.priors.base import Prior, Support


class uniform(Prior):  # noqa: N801  (public name, as in the field)
    """Flat between `low` and `high`.

    Parameters
    ----------
    low, high : float
        Bounds.

    Notes
    -----
    ``p(x) = 1 / (high - low)``.
    """

    name = "uniform"
    arguments = ("low", "high")

    def validate(self, *values: float) -> None:
        """Require ``low < high``."""
        low, high = values
        if not low < high:
            raise ConfigError(f"{self!r}: low must lie below high")

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(self.values[0], self.values[1])

    def is_flat_over(self, period: float | None) -> bool:
        """Tell whether the prior covers one whole period."""
        return period is not None and math.isclose(self.values[1] - self.values[0], period, rel_tol=1e-5)

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        low, high = values
        return xp.where((x >= low) & (x <= high), -xp.log(high - low), -xp.inf)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        low, high = values
        return xp.clip((x - low) / (high - low), 0.0, 1.0)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        low, high = values
        # Rounding must not carry a value beyond the bounds, where its density is zero.
        return xp.clip(low + u * (high - low), low, high)


class _positive(Prior):  # noqa: N801
    """A family between two positive bounds."""

    def validate(self, *values: float) -> None:
        """Require ``0 < low < high``."""
        low, high = values[:2]
        if not 0 < low < high:
            raise ConfigError(f"{self!r}: 0 < low < high is needed")

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(self.values[0], self.values[1])


class loguniform(_positive):  # noqa: N801
    """Flat in the logarithm between `low` and `high`, both positive.

    Parameters
    ----------
    low, high : float
        Bounds, positive.

    Notes
    -----
    ``p(x) = 1 / (x ln(high / low))``.
    """

    name = "loguniform"
    arguments = ("low", "high")

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        low, high = values
        inside = (x >= low) & (x <= high)
        safe = xp.where(inside, x, low)
        return xp.where(inside, -xp.log(safe) - xp.log(xp.log(high / low)), -xp.inf)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        low, high = values
        return xp.log(xp.clip(x, low, high) / low) / xp.log(high / low)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        low, high = values
        return xp.clip(low * xp.exp(u * xp.log(high / low)), low, high)  # as for `uniform`


# In t = ln(x / low), from 0 to L = ln(high / low), a power law is exp(k t). It is written with m = |k|, falling from
# whichever end is the denser, so that nothing overflows; the ratios of expm1 have the flat limit k = 0 built in.
def _log_interval(x: Any, low: Any, xp: Any) -> Any:
    return xp.log1p((x - low) / low)  # sharper than log(x / low) for close bounds


def _rate(slope: Any, xp: Any) -> Any:
    return xp.maximum(xp.abs(slope), 1e-30)  # only zero itself would be a division of zeros


def _tilted_log_prob(x: Any, low: Any, high: Any, slope: Any, xp: Any) -> Any:
    inside = (x >= low) & (x <= high)
    safe = xp.where(inside, x, low)
    length, m = _log_interval(high, low, xp), _rate(slope, xp)
    t = _log_interval(safe, low, xp)
    density = -m * xp.where(slope > 0, length - t, t) + xp.log(m / -xp.expm1(-m * length))
    return xp.where(inside, density - xp.log(safe), -xp.inf)


def _tilted_cdf(x: Any, low: Any, high: Any, slope: Any, xp: Any) -> Any:
    length, m = _log_interval(high, low, xp), _rate(slope, xp)
    t = _log_interval(xp.clip(x, low, high), low, xp)
    part = xp.expm1(-m * t) / xp.expm1(-m * length)
    return xp.where(slope > 0, xp.exp(-m * (length - t)), 1.0) * part


def _tilted_icdf(u: Any, low: Any, high: Any, slope: Any, xp: Any) -> Any:
    length, m = _log_interval(high, low, xp), _rate(slope, xp)
    rising = slope > 0
    distance = -xp.log1p(xp.where(rising, 1 - u, u) * xp.expm1(-m * length)) / m
    return xp.clip(low + low * xp.expm1(xp.where(rising, length - distance, distance)), low, high)


class powerlaw(_positive):  # noqa: N801
    """Density in proportion to ``x**index`` between `low` and `high`, both positive.

    Parameters
    ----------
    alpha : float
        The index: exponent of the density per unit of `x`; any number. Its name in configs, `index`, will do too.
    low, high : float
        Bounds, positive.

    Notes
    -----
    With ``k = alpha + 1``, ``p(x) = k x**alpha / (high**k - low**k)``; for ``alpha = -1`` its limit,
    ``1 / (x ln(high / low))``.

    Python and configs list the numbers in different orders: ``powerlaw(alpha, low, high)`` and
    ``{powerlaw: [low, high, index]}``.

    See Also
    --------
    logpowerlaw : The same per unit of ln x.
    """

    name = "powerlaw"
    arguments = ("low", "high", "index")
    positional = ("alpha", "low", "high")
    aliases = MappingProxyType({"alpha": "index"})

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        low, high, index = values
        return _tilted_log_prob(x, low, high, index + 1, xp)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        low, high, index = values
        return _tilted_cdf(x, low, high, index + 1, xp)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        low, high, index = values
        return _tilted_icdf(u, low, high, index + 1, xp)


class logpowerlaw(_positive):  # noqa: N801
    """Density per unit of ln x in proportion to ``x**index`` between `low` and `high`, both positive.

    Parameters
    ----------
    alpha : float
        The index: exponent of the density per unit of ``ln x``; any number. Zero is `loguniform`. Its name in configs,
        `index`, will do too.
    low, high : float
        Bounds, positive.

    Notes
    -----
    ``p(ln x) = alpha x**alpha / (high**alpha - low**alpha)``, which is ``p(x) = p(ln x) / x``, in proportion to
    ``x**(alpha - 1)``: a `powerlaw` whose exponent is smaller by one.

    Python and configs list the numbers in different orders, as for `powerlaw`.
    """

    name = "logpowerlaw"
    arguments = ("low", "high", "index")
    positional = ("alpha", "low", "high")
    aliases = MappingProxyType({"alpha": "index"})

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        low, high, index = values
        return _tilted_log_prob(x, low, high, index, xp)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        low, high, index = values
        return _tilted_cdf(x, low, high, index, xp)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        low, high, index = values
        return _tilted_icdf(u, low, high, index, xp)
