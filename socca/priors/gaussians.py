"""Gaussian priors: normal, truncated, half and split."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from socca.errors import ConfigError
from socca.priors.base import Prior, Support
from socca.priors.numerics import bisect, log_ndtr, special, with_slope

_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)
#: Nodes from 0 to 1, and weights.
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(8)[0] + 1) / 2, np.polynomial.legendre.leggauss(8)[1] / 2
#: Scales beyond which a Gaussian's tail is below every double.
_REACH = 40.0


class normal(Prior):  # noqa: N801  (public name, as in the field)
    """Gaussian of mean `loc` and standard deviation `scale`.

    Parameters
    ----------
    loc : float
        Mean.
    scale : float
        Standard deviation, positive.

    Notes
    -----
    ``p(x) = exp(-z**2 / 2) / (scale sqrt(2 pi))`` with ``z = (x - loc) / scale``.
    """

    name = "normal"
    arguments = ("loc", "scale")

    def validate(self, *values: float) -> None:
        """Require a positive scale."""
        if not values[1] > 0:
            raise ConfigError(f"{self!r}: scale must be positive")

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale = values
        return -0.5 * ((x - loc) / scale) ** 2 - xp.log(scale) - _LOG_ROOT_TWO_PI

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale = values
        return special(xp).ndtr((x - loc) / scale)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        loc, scale = values
        return loc + scale * special(xp).ndtri(u)


class splitnormal(Prior):  # noqa: N801
    """Two half Gaussians of widths `losig` and `hisig` that meet, without a step, at the mode `loc`.

    Parameters
    ----------
    loc : float
        Mode.
    losig, hisig : float
        Widths below and above it, positive.

    Notes
    -----
    ``p(x) = sqrt(2 / pi) / (losig + hisig) exp(-z**2 / 2)`` with ``z = (x - loc) / losig`` below `loc` and
    ``(x - loc) / hisig`` above. The probability below `loc` is ``losig / (losig + hisig)``.
    """

    name = "splitnormal"
    arguments = ("loc", "losig", "hisig")

    def validate(self, *values: float) -> None:
        """Require positive widths."""
        if not (values[1] > 0 and values[2] > 0):
            raise ConfigError(f"{self!r}: losig and hisig must be positive")

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        loc, losig, hisig = values
        z = (x - loc) / xp.where(x < loc, losig, hisig)
        return -0.5 * z**2 + 0.5 * math.log(2 / math.pi) - xp.log(losig + hisig)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        loc, losig, hisig = values
        ndtr = special(xp).ndtr
        below = losig * ndtr(xp.minimum(x - loc, 0.0) / losig)
        above = hisig * ndtr(-xp.maximum(x - loc, 0.0) / hisig)
        return xp.where(x < loc, 2 * below, losig + hisig - 2 * above) / (losig + hisig)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        loc, losig, hisig = values
        ndtri = special(xp).ndtri
        low, high = losig / (losig + hisig), hisig / (losig + hisig)
        below = losig * ndtri(xp.minimum(0.5 * u / low, 0.5))
        above = -hisig * ndtri(xp.minimum(0.5 * (1 - u) / high, 0.5))
        return loc + xp.where(u < low, below, above)


class halfnormal(Prior):  # noqa: N801
    """The upper half of a Gaussian about zero, of width `scale`.

    Parameters
    ----------
    scale : float
        Standard deviation of the whole Gaussian, positive.

    Notes
    -----
    ``p(x) = sqrt(2 / pi) / scale exp(-(x / scale)**2 / 2)`` for ``x >= 0``.
    """

    name = "halfnormal"
    arguments = ("scale",)

    def validate(self, *values: float) -> None:
        """Require a positive scale."""
        if not values[0] > 0:
            raise ConfigError(f"{self!r}: scale must be positive")

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(0.0, math.inf)

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        (scale,) = values
        density = -0.5 * (x / scale) ** 2 + 0.5 * math.log(2 / math.pi) - xp.log(scale)
        return xp.where(x >= 0, density, -xp.inf)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        (scale,) = values
        return special(xp).erf(xp.maximum(x, 0.0) / (scale * math.sqrt(2)))

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        (scale,) = values
        return scale * math.sqrt(2) * special(xp).erfinv(u)


def log_mass(low: Any, high: Any, loc: Any, scale: Any, xp: Any) -> Any:
    """Return the logarithm of a Gaussian's probability between two values, either of which may be infinite."""
    width = (high - low) / scale
    # Mirrored, if need be, so that the denser end is `near`: a difference of two cdfs close to one has no digits left.
    mirrored = low - loc > loc - high
    near = xp.where(mirrored, loc - low, high - loc) / scale
    far = xp.where(mirrored, loc - high, low - loc) / scale
    # Where the density hardly varies, the cdfs themselves are too close. Eight nodes are exact to a rounding there.
    narrow = width * (1 + xp.abs(far)) < 1
    short = xp.where(narrow, width, 1.0)
    edge = xp.where(narrow, near, 0.0)
    total = sum(
        weight * xp.exp(short * node * (edge - 0.5 * short * node))
        for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True)
    )
    smooth = xp.log(short * total) - 0.5 * edge**2 - _LOG_ROOT_TWO_PI
    upper = log_ndtr(xp.where(narrow, 0.0, near), xp)
    lower = log_ndtr(xp.where(narrow, -1.0, far), xp)
    return xp.where(narrow, smooth, upper + xp.log1p(-xp.exp(lower - upper)))


class truncnormal(Prior):  # noqa: N801
    """Gaussian of mean `loc` and standard deviation `scale`, cut at `low` and `high`.

    Parameters
    ----------
    loc, scale : float
        Mean and standard deviation, positive, before the cut.
    low, high : float
        Bounds. In Python, infinite ones leave a side open.

    Notes
    -----
    ``p(x) = exp(-z**2 / 2) / (scale sqrt(2 pi) (Phi(b) - Phi(a)))`` with ``z = (x - loc) / scale``, the same of the
    bounds ``a`` and ``b``, and ``Phi`` the standard normal's cdf. It is accurate with `loc` far outside the bounds too.
    """

    name = "truncnormal"
    arguments = ("loc", "scale", "low", "high")
    unbounded = frozenset({"low", "high"})

    def validate(self, *values: float) -> None:
        """Require a positive scale, and ``low < high``."""
        _, scale, low, high = values
        if not scale > 0:
            raise ConfigError(f"{self!r}: scale must be positive")
        if not low < high:
            raise ConfigError(f"{self!r}: low must lie below high")

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(self.values[2], self.values[3])

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale, low, high = values
        density = -0.5 * ((x - loc) / scale) ** 2 - xp.log(scale) - _LOG_ROOT_TWO_PI
        return xp.where((x >= low) & (x <= high), density - log_mass(low, high, loc, scale, xp), -xp.inf)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale, low, high = values
        safe = xp.where((x > low) & (x < high), x, xp.clip(loc, low, high))
        part = xp.exp(log_mass(low, safe, loc, scale, xp) - log_mass(low, high, loc, scale, xp))
        return xp.where(x <= low, 0.0, xp.where(x >= high, 1.0, xp.minimum(part, 1.0)))

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        loc, scale, low, high = values

        def cdf(x: Any) -> Any:
            return truncnormal._cdf(x, loc, scale, low, high, xp=xp)

        def log_prob(x: Any) -> Any:
            return truncnormal._log_prob(x, loc, scale, low, high, xp=xp)

        lowest = xp.maximum(low, xp.minimum(high, loc) - _REACH * scale)
        highest = xp.minimum(high, xp.maximum(low, loc) + _REACH * scale)
        x = with_slope(bisect(cdf, u, lowest, highest, xp), u, cdf, log_prob, xp)
        return xp.clip(x, low, high)
