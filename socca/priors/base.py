"""Base class and interface of priors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from socca.errors import ConfigError, nearest
from socca.utils.registry import Registry
from socca.utils.tags import tag_member, tagged

#: Name in a config -> family.
REGISTRY: Registry[Prior] = Registry("prior")


class Family(Protocol):
    """The static, hashable part of a prior: pure functions of a value and of as many numbers as it has arguments.

    The functions take the numbers as scalars, or as arrays that broadcast with the value, and work in the array
    namespace `xp` (`numpy` or `jax.numpy`).
    """

    @property
    def name(self) -> str:
        """The family's name; equal names, equal functions."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its numbers are called."""

    def _log_prob(self, x: Any, *values: Any, xp: Any) -> Any: ...

    def _cdf(self, x: Any, *values: Any, xp: Any) -> Any: ...

    def _icdf(self, u: Any, *values: Any, xp: Any) -> Any: ...


class Support(NamedTuple):
    """Lowest and highest value with non-zero density, infinite where there is no bound.

    It has the attributes of numpyro's constraints too, and can be called as they are.
    """

    low: float
    high: float

    @property
    def lower_bound(self) -> float:
        """The lowest value."""
        return self.low

    @property
    def upper_bound(self) -> float:
        """The highest value."""
        return self.high

    def __call__(self, x: Any) -> Any:
        """Tell which values lie within, the bounds included."""
        x = np.asarray(x)
        return (x >= self.low) & (x <= self.high)


@tagged("prior/Prior")
class Prior:
    """A one-dimensional prior distribution.

    Subclasses name their `arguments` and give `log_prob`, `cdf` and `icdf` as static functions of a value, the
    distribution's numbers and an array namespace (`numpy` or `jax.numpy`). One with a `name` of its own can be used in
    configs. Arguments with `defaults` come last; those in `unbounded` may be infinite.

    The numbers are attributes of an instance: ``uniform(0, 2).high`` is 2.

    Attributes
    ----------
    values : tuple of float
        The numbers, in the order of `arguments`.
    """

    name: ClassVar[str]
    #: The numbers, in the order in which configs list them.
    arguments: ClassVar[tuple[str, ...]] = ()
    #: The order of positional arguments in Python, where it is another one.
    positional: ClassVar[tuple[str, ...] | None] = None
    #: Second name of an argument -> the argument.
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})
    defaults: ClassVar[Mapping[str, float]] = MappingProxyType({})
    unbounded: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            REGISTRY.add(cls.name, cls)
        else:
            tag_member(cls, REGISTRY.family, cls.__name__)

    def __init__(self, *args: float, **kwargs: float) -> None:
        order = self.positional or self.arguments
        if len(args) > len(order):
            raise ConfigError(f"{self.name} takes {', '.join(order)}; {len(args)} values were given")
        values = {self.aliases.get(key, key): value for key, value in zip(order, args, strict=False)}
        for given, value in kwargs.items():
            key = self.aliases.get(given, given)
            if key not in self.arguments or key in values:
                raise ConfigError(f"{self.name} takes {', '.join(order)}, each once; not {given!r}")
            values[key] = value
        values = {**self.defaults, **values}
        missing = [key for key in order if self.aliases.get(key, key) not in values]
        if missing:
            raise ConfigError(f"{self.name} needs {', '.join(missing)}")
        self.values: tuple[float, ...] = tuple(float(values[key]) for key in self.arguments)
        for key, value in zip(self.arguments, self.values, strict=True):
            if math.isnan(value) or (math.isinf(value) and key not in self.unbounded):
                raise ConfigError(f"{self!r}: {key} must be finite")
        self.validate(*self.values)

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v:g}" for k, v in zip(self.family.arguments, self.values, strict=True))
        return f"{self.name}({inner})"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and "values" in self.__dict__:
            names, wanted = self.family.arguments, self.aliases.get(name, name)
            if wanted in names:
                return self.values[names.index(wanted)]
            raise AttributeError(f"{self!r} has no {name!r}{nearest(name, names)}")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prior) and self.family == other.family and self.values == other.values

    def __hash__(self) -> int:
        return hash((self.family, self.values))

    def validate(self, *values: float) -> None:
        """Raise `ConfigError` if the numbers make no distribution."""

    @property
    def family(self) -> Family:
        """The static part: what a compiled program is made for."""
        return type(self)

    @property
    def support(self) -> Support:
        """Lowest and highest value with non-zero density."""
        return Support(-math.inf, math.inf)

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
        with np.errstate(all="ignore"):
            return self.family._log_prob(np.asarray(x, float), *self.values, xp=np)

    def cdf(self, x: Any) -> Any:
        """Return the probability below `x`."""
        with np.errstate(all="ignore"):
            return self.family._cdf(np.asarray(x, float), *self.values, xp=np)

    def icdf(self, u: Any) -> Any:
        """Return the value below which the probability is `u` (0 to 1)."""
        with np.errstate(all="ignore"):
            return self.family._icdf(np.asarray(u, float), *self.values, xp=np)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...] | None = None) -> Any:
        """Draw values with the generator `rng`."""
        return self.icdf(rng.random(size))
