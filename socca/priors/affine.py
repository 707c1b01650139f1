"""Priors of a linear function of a quantity that has a prior: of an ellipticity, from that of an axis ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from socca.priors.base import Family, Prior, Support
from socca.priors.gaussians import normal
from socca.priors.powers import uniform
from socca.utils.tags import tagged

#: An offset that is none.
_NOTHING = 1e-12


@tagged("prior/affine")
@dataclass(frozen=True)
class AffineFamily:
    """The static part: that of the quantity's prior, and the function ``scale x + offset``.

    Parameters
    ----------
    inner : Family
        Of the quantity.
    scale, offset : float
        Of the function; the scale is not zero.
    """

    inner: Family
    scale: float
    offset: float

    @property
    def name(self) -> str:
        """All that makes the family, in words."""
        return f"{self.scale:g} * {self.inner.name} + {self.offset:g}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its numbers are called: those of the quantity's prior."""
        return self.inner.arguments

    def _log_prob(self, x: Any, *values: Any, xp: Any) -> Any:
        return self.inner._log_prob((x - self.offset) / self.scale, *values, xp=xp) - math.log(abs(self.scale))

    def _cdf(self, x: Any, *values: Any, xp: Any) -> Any:
        below = self.inner._cdf((x - self.offset) / self.scale, *values, xp=xp)
        return below if self.scale > 0 else 1 - below

    def _icdf(self, u: Any, *values: Any, xp: Any) -> Any:
        return self.scale * self.inner._icdf(u if self.scale > 0 else 1 - u, *values, xp=xp) + self.offset


class Affine(Prior):
    """The prior of ``scale x + offset``, where x has a prior; made by `affine`.

    Parameters
    ----------
    inner : Prior
        Of x.
    scale, offset : float
        Of the function.
    """

    def __init__(self, inner: Prior, scale: float, offset: float) -> None:
        self.__dict__["inner"] = inner
        self._family = AffineFamily(inner.family, scale, offset)
        self.values = inner.values

    def __repr__(self) -> str:
        return f"{self._family.scale:g} * {self.inner!r} + {self._family.offset:g}"

    @property
    def family(self) -> AffineFamily:
        """The static part: what a compiled program is made for."""
        return self._family

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        scale, offset = self._family.scale, self._family.offset
        return Support(*sorted(scale * end + offset for end in self.inner.support))


def affine(prior: Prior, scale: float, offset: float) -> Prior:
    """Return the prior of ``scale x + offset``, where x has a prior.

    Parameters
    ----------
    prior : Prior
        Of x.
    scale, offset : float
        Of the function; the scale is not zero.

    Returns
    -------
    Prior
        Of the same kind, where a uniform or a normal prior is given.
    """
    if isinstance(prior, Affine):
        within = prior.family
        prior, scale, offset = prior.inner, scale * within.scale, scale * within.offset + offset
    if math.isclose(scale, 1) and abs(offset) < _NOTHING:
        return prior
    if isinstance(prior, uniform):
        return uniform(*sorted(scale * end + offset for end in prior.values))
    if isinstance(prior, normal):
        loc, width = prior.values
        return normal(scale * loc + offset, abs(scale) * width)
    return Affine(prior, scale, offset)
