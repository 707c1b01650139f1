"""Truncations of radial profiles at a radius ``rt``."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from socca.errors import ModelError, nearest
from socca.models.numbers import for_numbers
from socca.parameters.parameterised import Parameter
from socca.utils.lazy import jnp
from socca.utils.registry import Registry
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array

#: Name -> truncation.
REGISTRY: Registry[Truncation] = Registry("truncation")


class _Kind(ABCMeta):
    """The class of truncations, which are kinds, and have no values of their own."""

    def __setattr__(cls, name: str, value: Any) -> None:
        if name in ("rt", "wt"):
            raise ModelError(f"{name} is a parameter of the component that is truncated: write component.{name} = ...")
        super().__setattr__(name, value)


@tagged("truncation/Truncation")
class Truncation(metaclass=_Kind):
    """A factor that is 1 at the centre and 0 far beyond ``rt``.

    Parameters
    ----------
    rt, wt : number, Prior, Tie or callable, optional
        Values for the parameters of the profile that it is given to.
    """

    fields: ClassVar[dict[str, Parameter]] = {
        "rt": Parameter("deg", "radius of the truncation", lower=0.0),
        "wt": Parameter("deg", "width of the truncation", 0.01, lower=1e-12, open_ends=(0.0,)),
    }

    def __init__(self, rt: Any = None, wt: Any = None) -> None:
        self.values = {name: value for name, value in (("rt", rt), ("wt", wt)) if value is not None}

    def __init_subclass__(cls) -> None:
        REGISTRY.add(cls.__name__, cls)

    @staticmethod
    @abstractmethod
    def factor(r: Array, rt: Array, wt: Array) -> Array:
        """Return the factor at radius `r`; all lengths in degrees."""


class Exponential(Truncation):
    """``max(0, (1 - exp((r - rt)/wt)) / (1 - exp(-rt/wt)))``."""

    @staticmethod
    @for_numbers
    def factor(r: Array, rt: Array, wt: Array) -> Array:
        """Return the factor at radius `r`; all lengths in degrees."""
        return jnp.expm1(jnp.minimum((r - rt) * (1 / wt), 0.0)) * (1 / jnp.expm1(-rt / wt))


class HyperTangent(Truncation):
    """``(1 - tanh((r - rt)/wt)) / (1 - tanh(-rt/wt))``."""

    @staticmethod
    @for_numbers
    def factor(r: Array, rt: Array, wt: Array) -> Array:
        """Return the factor at radius `r`; all lengths in degrees."""
        return (1 - jnp.tanh((r - rt) * (1 / wt))) * (1 / (1 - jnp.tanh(-rt / wt)))


def as_truncation(wanted: bool | str | Truncation | type[Truncation] | None) -> type[Truncation] | None:
    """Return the kind of truncation that is meant: True is `HyperTangent`, None and False are none.

    Raises
    ------
    ModelError
        If there is no such truncation.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True:
        return HyperTangent
    if isinstance(wanted, Truncation):
        return type(wanted)
    if isinstance(wanted, type) and issubclass(wanted, Truncation):
        return wanted
    if wanted not in REGISTRY:
        raise ModelError(f"no truncation {wanted!r}{nearest(str(wanted), REGISTRY)}")
    return REGISTRY[str(wanted)]
