"""Vertical profiles of disks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from socca.models.numbers import for_numbers
from socca.parameters.parameterised import Parameterised, param
from socca.priors import as_prior
from socca.utils.lazy import fastmath, jnp, special
from socca.utils.registry import Registry
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array

#: Name -> vertical profile.
REGISTRY: Registry[Vertical] = Registry("vertical")


@tagged("vertical/Vertical")
class Vertical(Parameterised, ABC):
    """A vertical profile, which is 1 in the plane; also holds the inclination, and how the disk is integrated.

    A subclass gives `profile` and `thickness`.

    Parameters
    ----------
    losdepth : float
        See `Disk`, degrees.
    losbins : int
        See `Disk`.
    **values : number, Prior, Tie or callable
        Values of the parameters.
    """

    as_prior = staticmethod(as_prior)
    attributes: ClassVar[tuple[str, ...]] = ("id", "losdepth", "losbins")
    inc = param("rad", "inclination: 0 is face-on", 0.0, lower=0.0, upper=math.pi / 2, usual=(0.0, math.pi / 2))
    zs = param("deg", "scale height", lower=0.0)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        REGISTRY.add(cls.__name__, cls)

    def __init__(self, *, losdepth: float = 10 / 3600, losbins: int = 200, **values: Any) -> None:
        super().__init__()
        self.losdepth, self.losbins = losdepth, losbins
        self._assign(values)

    @staticmethod
    @abstractmethod
    def profile(z: Array, values: dict[str, Any]) -> Array:
        """Return the profile at height `z` (degrees)."""

    @staticmethod
    @abstractmethod
    def thickness(values: dict[str, Any]) -> Array:
        """Return the integral of the profile over all heights, degrees."""


class HyperSecantHeight(Vertical):
    """Hyperbolic secant, ``sech(|z|/zs)^alpha``; alpha = 2 is an isothermal sheet (van der Kruit & Searle 1981)."""

    alpha = param("", "exponent", 2.0, lower=1e-3)

    @staticmethod
    @for_numbers
    def profile(z: Array, values: dict[str, Any]) -> Array:
        """Return the profile at height `z` (degrees)."""
        x = jnp.abs(z) * (1 / values["zs"])
        # ln sech x = ln 2 - x - ln(1 + exp(-2x)), which neither overflows nor loses digits.
        return jnp.exp(values["alpha"] * (math.log(2) - x - fastmath.log(1 + jnp.exp(-2 * x))))

    @staticmethod
    def thickness(values: dict[str, Any]) -> Array:
        """Return ``zs B(1/2, alpha/2)``."""
        half = values["alpha"] / 2
        return values["zs"] * math.sqrt(math.pi) * jnp.exp(special.gammaln(half) - special.gammaln(half + 0.5))


class ExponentialHeight(Vertical):
    """Exponential, ``exp(-|z|/zs)``."""

    @staticmethod
    @for_numbers
    def profile(z: Array, values: dict[str, Any]) -> Array:
        """Return the profile at height `z` (degrees)."""
        return jnp.exp(-jnp.abs(z) * (1 / values["zs"]))

    @staticmethod
    def thickness(values: dict[str, Any]) -> Array:
        """Return ``2 zs``."""
        return 2 * values["zs"]
