"""What is known of a parameter before any data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from socca.errors import ModelError
from socca.parameters.units import PARAMETER_UNITS
from socca.utils.tags import tagged

#: A prior with less probability than this in a parameter's range is taken for a mistake.
LEAST_PROBABILITY = 1e-6


@runtime_checkable
class PriorLike(Protocol):
    """What a parameter asks of its prior; see `socca.priors.Prior`."""

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value with non-zero density."""

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers of the distribution."""

    @property
    def family(self) -> Any:
        """The distribution's static part."""

    def cdf(self, x: Any) -> Any:
        """Return the probability below `x`."""


@tagged("spec/Parameter")
@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter before any data.

    Parameters
    ----------
    unit : str
        ``deg``, ``rad``, ``image`` (the unit of the image) or empty. A component's brightness is linear in its
        parameters of the unit ``image``.
    description : str
        One line.
    default : float or None
        None: it must be given.
    lower, upper : float
        The range in which it has a meaning.
    period : float or None
        The parameter is an angle that comes back to itself after this.
    neutral : float or None
        Fixed at this value, the parameter drops out of the formula, and is compiled away.
    period_on_sky : float or None
        As `period`, but in sky frames alone.
    open_ends : tuple of float
        Values just beyond the range that a prior may have as a bound, since no draw is ever equal to it.
    usual : tuple of float or None
        Range that a prior has by default, where one is asked for.
    other_unit : str
        What tables show as its unit, where that is none of the above. Nothing is computed with it.

    Raises
    ------
    ModelError
        If the unit is none of these.
    """

    unit: str
    description: str = field(compare=False)  # whose wording is no part of what it is
    default: float | None = None
    lower: float = -math.inf
    upper: float = math.inf
    period: float | None = None
    neutral: float | None = None
    period_on_sky: float | None = None
    # None of these changes what is computed, and so none is a part of digests.
    open_ends: tuple[float, ...] = field(default=(), compare=False)
    usual: tuple[float, float] | None = field(default=None, compare=False)
    other_unit: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.unit not in PARAMETER_UNITS:
            # Only these are known to ties, priors, catalogue and marginalisation.
            raise ModelError(
                f"unit {self.unit!r}: a parameter is held in deg, rad, image (the unit of the image) or '' (a number); "
                "other units belong to its value"
            )

    @property
    def shown_unit(self) -> str:
        """The unit as tables show it."""
        return self.other_unit or self.unit

    @property
    def is_length(self) -> bool:
        """Whether it is a length, which may come near zero but not be it: other lengths are measured in it."""
        return self.unit == "deg" and self.lower == 0

    def check(self, value: float, where: str) -> None:
        """Raise `ModelError` if a value lies outside the range; `where` names the parameter."""
        if not self.lower <= value <= self.upper:
            raise ModelError(f"{where} = {value:g} lies outside [{self.lower:g}, {self.upper:g}]")

    def check_prior(self, prior: PriorLike, where: str) -> None:
        """Raise `ModelError` if a prior has a bound outside the range, or next to no probability within it."""
        for edge in prior.support:
            if math.isfinite(edge) and edge not in self.open_ends:
                self.check(edge, f"{where} ~ {prior!r}: bound")
        if math.isinf(self.lower) and math.isinf(self.upper):
            return
        below = prior.cdf(self.lower) if math.isfinite(self.lower) else 0.0
        up_to = prior.cdf(self.upper) if math.isfinite(self.upper) else 1.0
        if not up_to - below >= LEAST_PROBABILITY:
            raise ModelError(
                f"{where} ~ {prior!r}: next to none of it (a probability below {LEAST_PROBABILITY:g}) lies within "
                f"[{self.lower:g}, {self.upper:g}]"
            )


def param(
    unit: str,
    description: str,
    default: float | None = None,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    period: float | None = None,
    neutral: float | None = None,
    period_on_sky: float | None = None,
    open_ends: tuple[float, ...] = (),
    usual: tuple[float, float] | None = None,
) -> Any:
    """Declare a parameter in the body of a component; see `Parameter`."""
    return Parameter(unit, description, default, lower, upper, period, neutral, period_on_sky, open_ends, usual)
