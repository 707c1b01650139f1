"""Priors made of numpyro distributions, which load numpyro and JAX only when one is given."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from socca.errors import ConfigError
from socca.priors.base import Prior, Support
from socca.priors.numerics import invert_ray, invert_unit, with_slope
from socca.priors.recipes import MISSING, Recipe, Splitter, is_distribution
from socca.utils.tags import tagged


@tagged("prior/numpyro")
@dataclass(frozen=True)
class WrappedFamily:
    """The static part of a numpyro distribution.

    Parameters
    ----------
    recipe : Recipe
        How to make the distribution of its numbers; hashable.
    arguments : tuple of str
        What the numbers are called.
    bounded : (bool, bool)
        Whether the support has a lower, an upper bound.
    inverse : bool
        Whether the distribution has its own `icdf`.
    """

    recipe: Recipe
    arguments: tuple[str, ...]
    bounded: tuple[bool, bool]
    inverse: bool

    @property
    def name(self) -> str:
        """All that makes the family, in words."""
        return f"numpyro {self.recipe.show(None)}"

    def build(self, *values: Any) -> Any:
        """Return the distribution with these numbers."""
        return self.recipe.build(iter(values))

    def bounds(self, distribution: Any) -> tuple[Any, Any]:
        """Return the bounds of the distribution's support; None where it has none."""
        low, high = _bounds(distribution)
        return (low if self.bounded[0] else None, high if self.bounded[1] else None)

    def _log_prob(self, x: Any, *values: Any, xp: Any) -> Any:
        if xp is np:
            return _in_doubles(self, "_log_prob", x, values)
        distribution = self.build(*values)
        # Outside, numpyro's densities are unchecked and their slopes may be NaN.
        low, high = self.bounds(distribution)
        inside = distribution.support(x)
        inside = inside if low is None else inside & (x >= low)
        inside = inside if high is None else inside & (x <= high)
        safe = xp.where(inside, x, _inner_point(low, high))
        density = distribution.log_prob(safe)
        # At a bound itself, a transform may give a difference of infinities.
        return xp.where(inside & ~xp.isnan(density), density, -xp.inf)

    def _cdf(self, x: Any, *values: Any, xp: Any) -> Any:
        if xp is np:
            return _in_doubles(self, "_cdf", x, values)
        distribution = self.build(*values)
        low, high = self.bounds(distribution)
        below = x <= low if low is not None else x < -xp.inf
        above = x >= high if high is not None else x > xp.inf
        part = distribution.cdf(xp.where(below | above, _inner_point(low, high), x))
        return xp.where(below, 0.0, xp.where(above, 1.0, part))

    def _icdf(self, u: Any, *values: Any, xp: Any) -> Any:
        if xp is np:
            return _in_doubles(self, "_icdf", u, values)
        distribution = self.build(*values)
        low, high = self.bounds(distribution)
        x = distribution.icdf(u) if self.inverse else self._inverted(u, values, low, high, xp)
        return xp.clip(x, low, high)

    def _inverted(self, u: Any, values: tuple[Any, ...], low: Any, high: Any, xp: Any) -> Any:
        def cdf(x: Any) -> Any:
            return self._cdf(x, *values, xp=xp)

        if low is not None and high is not None:
            x = low + (high - low) * invert_unit(lambda t: cdf(low + (high - low) * t), u, xp)
        else:
            # On the logarithm of the distance from the bound or, with none, from zero.
            base = low if low is not None else high if high is not None else 0.0
            upwards = xp.asarray(u >= cdf(xp.zeros_like(u)) if low is None and high is None else low is not None)
            sign = xp.where(upwards, 1.0, -1.0)
            x = base + sign * invert_ray(lambda d: sign * cdf(base + sign * d), sign * u, xp)
        return with_slope(x, u, cdf, lambda x: self._log_prob(x, *values, xp=xp), xp)


def _bounds(distribution: Any) -> tuple[Any, Any]:
    """Return the bounds of the support, infinite where there are none."""
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is None and high is None and hasattr(distribution, "transforms"):
        # numpyro says only where the last transform can lead, not where it leads from the support before.
        import jax.numpy as jnp

        low, high = _bounds(distribution.base_dist)
        for transform in distribution.transforms:
            ends = transform(jnp.asarray(low)), transform(jnp.asarray(high))
            low, high = jnp.minimum(*ends), jnp.maximum(*ends)
    return -math.inf if low is None else low, math.inf if high is None else high


def _inner_point(low: Any, high: Any) -> Any:
    if low is not None and high is not None:
        return 0.5 * (low + high)
    return low + 1.0 if low is not None else high - 1.0 if high is not None else 0.0


@functools.lru_cache(maxsize=256)
def _compiled(family: WrappedFamily, method: str) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    return jax.jit(functools.partial(getattr(family, method), xp=jnp))


def _in_doubles(family: WrappedFamily, method: str, x: Any, values: tuple[Any, ...]) -> np.ndarray:
    """Call a method of a family with doubles, whatever JAX's precision is elsewhere."""
    import jax

    x = np.asarray(x, float)
    # Padded, so that there are few shapes to compile for.
    padded = np.full(max(64, 1 << (x.size - 1).bit_length()), 0.5)
    padded[: x.size] = x.ravel()
    with jax.enable_x64(True):
        found = _compiled(family, method)(padded, *[np.asarray(value, float) for value in values])
        return np.asarray(found)[: x.size].reshape(x.shape)


class Distribution(Prior):
    """A prior made of a numpyro distribution; made by `from_numpyro`.

    Parameters
    ----------
    family : WrappedFamily
        Its static part.
    values : sequence of float
        Its numbers.

    Notes
    -----
    The density and the cdf are numpyro's, with numpyro's accuracy.
    """

    def __init__(self, family: WrappedFamily, values: tuple[float, ...]) -> None:
        self._family = family
        self.values = values

    def __repr__(self) -> str:
        return f"numpyro {self._family.recipe.show(iter(self.values))}"

    @property
    def family(self) -> WrappedFamily:
        """The static part: what a compiled program is made for."""
        return self._family

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        import jax

        with jax.enable_x64(True):
            low, high = self._family.bounds(self._family.build(*np.asarray(self.values)))
            return Support(-math.inf if low is None else float(low), math.inf if high is None else float(high))


def as_prior(value: Any) -> Prior | None:
    """Take a value for a prior.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    Prior or None
        A prior as it is, a numpyro distribution by `from_numpyro`, None for anything else.

    Raises
    ------
    ConfigError
        If it is a numpyro distribution that cannot be a prior.
    """
    if isinstance(value, Prior):
        return value
    return from_numpyro(value) if is_distribution(value) else None


def from_numpyro(distribution: Any) -> Distribution:
    """Make a prior of a numpyro distribution.

    Parameters
    ----------
    distribution : numpyro.distributions.Distribution
        Continuous, scalar, proper, and with a formula for its cdf. Without one for the inverse, that is computed by
        halving intervals.

    Returns
    -------
    Distribution
        The prior. Those of distributions that differ only in numbers share their family, and so a compiled program.

    Raises
    ------
    ConfigError
        If the distribution cannot be a prior.
    """
    if not is_distribution(distribution):
        raise ConfigError(f"not a numpyro distribution: {distribution!r}")
    import jax

    label = f"numpyro's {type(distribution).__name__}"
    if distribution.batch_shape or distribution.event_shape:
        shape = (*distribution.batch_shape, *distribution.event_shape)
        raise ConfigError(f"{label} has shape {shape}: the prior of a parameter is a scalar distribution")
    _refuse_kinds(distribution, label)
    with jax.enable_x64(True):
        try:
            distribution.validate_args()
            parts = Splitter(distribution)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{label} cannot be a prior: {error}") from error
        if any(math.isnan(number) for number in parts.numbers):
            raise ConfigError(f"{label} has a number that is NaN")
        low, high = (float(bound) for bound in _bounds(parts.recipe.build(iter(np.asarray(parts.numbers)))))
    if not low < high:
        raise ConfigError(f"{label}: its lower bound, {low:g}, must lie below its upper one, {high:g}")
    for inverse in (True, False):
        family = WrappedFamily(
            parts.recipe, tuple(parts.names), (math.isfinite(low), math.isfinite(high)), inverse=inverse
        )
        prior = Distribution(family, tuple(parts.numbers))
        try:
            prior.cdf(0.0)
        except MISSING as error:
            raise ConfigError(f"{label} cannot be a prior: numpyro has no formula for its cdf") from error
        if _is_consistent(prior):
            return prior
    raise ConfigError(f"{prior!r} cannot be a prior: its density or its cdf is no number")


def _refuse_kinds(distribution: Any, label: str) -> None:
    if type(distribution).__name__ == "ImproperUniform":
        raise ConfigError(f"{label} is improper: a prior must integrate to one")
    if distribution.support.is_discrete:
        raise ConfigError(f"{label} is discrete: the prior of a parameter is continuous")


def _is_consistent(prior: Distribution) -> bool:
    """Tell whether the inverse exists and inverts the cdf, with a density, as is not so of every transformed one."""
    u = np.array([0.1, 0.5, 0.9])
    try:
        x = prior.icdf(u)
        # Loose: a distribution far from zero may have few digits of its own width.
        return bool(np.all(np.isfinite(prior.log_prob(x))) and np.allclose(prior.cdf(x), u, atol=1e-3))
    except MISSING:
        return False
