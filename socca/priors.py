"""Prior distributions: one family a class, all of them in the parameter's own (linear) space.

A family is a set of pure functions of the value and of the distribution's numbers. The family is part of a compiled
problem's structure; its numbers are arguments, so that targets with other numbers share one program.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from socca.errors import ConfigError

#: Name in a config -> family.
REGISTRY: dict[str, type[Prior]] = {}


class Prior:
    """A one-dimensional prior distribution.

    Subclasses name their `arguments` and give `log_prob`, `cdf` and `icdf` as static functions of a value, the
    distribution's numbers and an array namespace (`numpy` or `jax.numpy`).
    """

    name: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        REGISTRY[cls.name] = cls

    def __init__(self, *args: float, **kwargs: float) -> None:
        if len(args) > len(self.arguments):
            raise ConfigError(f"{self.name} takes {', '.join(self.arguments)}; {len(args)} values were given")
        values = dict(zip(self.arguments, args, strict=False))
        for key, value in kwargs.items():
            if key not in self.arguments or key in values:
                raise ConfigError(f"{self.name} takes {', '.join(self.arguments)}, each once; not {key!r}")
            values[key] = value
        missing = [key for key in self.arguments if key not in values]
        if missing:
            raise ConfigError(f"{self.name} needs {', '.join(missing)}")
        self.values: tuple[float, ...] = tuple(float(values[key]) for key in self.arguments)
        if not all(math.isfinite(value) for value in self.values):
            raise ConfigError(f"{self!r}: every value must be finite")
        self.validate(*self.values)

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v:g}" for k, v in zip(self.arguments, self.values, strict=True))
        return f"{self.name}({inner})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.values == other.values

    def __hash__(self) -> int:
        return hash((self.name, self.values))

    def validate(self, *values: float) -> None:
        """Raise `ConfigError` if the numbers make no distribution."""

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value with non-zero density."""
        return (-math.inf, math.inf)

    def is_flat_over(self, period: float | None) -> bool:
        """Tell whether the prior is flat over one whole period of an angle, and so has no edge; None is no period."""
        return False

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        raise NotImplementedError

    def log_prob(self, x: Any) -> Any:
        """Return the log density at `x`; -inf outside the support."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._log_prob(np.asarray(x, float), *self.values, xp=np)

    def cdf(self, x: Any) -> Any:
        """Return the probability below `x`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._cdf(np.asarray(x, float), *self.values, xp=np)

    def icdf(self, u: Any) -> Any:
        """Return the value below which the probability is `u` (0 to 1)."""
        return self._icdf(np.asarray(u, float), *self.values, xp=np)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...] | None = None) -> Any:
        """Draw values with the generator `rng`."""
        return self.icdf(rng.random(size))


def _normal_functions(xp: Any) -> tuple[Any, Any]:
    """Return the standard normal's cdf and its inverse for an array namespace."""
    if xp is np:
        from scipy.special import ndtr, ndtri
    else:
        from jax.scipy.special import ndtr, ndtri
    return ndtr, ndtri


class uniform(Prior):  # noqa: N801  (public name, as in the field)
    """Flat between `low` and `high`."""

    name = "uniform"
    arguments = ("low", "high")

    def validate(self, *values: float) -> None:
        """Require ``low < high``."""
        low, high = values
        if not low < high:
            raise ConfigError(f"{self!r}: low must lie below high")

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value with non-zero density."""
        return self.values[0], self.values[1]

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


class loguniform(Prior):  # noqa: N801
    """Flat in the logarithm between `low` and `high`, both positive."""

    name = "loguniform"
    arguments = ("low", "high")

    def validate(self, *values: float) -> None:
        """Require ``0 < low < high``."""
        low, high = values
        if not 0 < low < high:
            raise ConfigError(f"{self!r}: 0 < low < high is needed")

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value with non-zero density."""
        return self.values[0], self.values[1]

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


class normal(Prior):  # noqa: N801
    """Gaussian of mean `loc` and standard deviation `scale`."""

    name = "normal"
    arguments = ("loc", "scale")

    def validate(self, *values: float) -> None:
        """Require a positive scale."""
        if not values[1] > 0:
            raise ConfigError(f"{self!r}: scale must be positive")

    @staticmethod
    def _log_prob(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale = values
        return -0.5 * ((x - loc) / scale) ** 2 - xp.log(scale) - 0.5 * math.log(2 * math.pi)

    @staticmethod
    def _cdf(x: Any, *values: Any, xp: Any) -> Any:
        loc, scale = values
        return _normal_functions(xp)[0]((x - loc) / scale)

    @staticmethod
    def _icdf(u: Any, *values: Any, xp: Any) -> Any:
        loc, scale = values
        return loc + scale * _normal_functions(xp)[1](u)
