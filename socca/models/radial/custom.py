"""A radial profile of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from socca.errors import ConfigError, ModelError, nearest
from socca.models.numbers import for_numbers
from socca.models.radial.base import Radial, RadialStructure
from socca.models.radial.truncation import Truncation
from socca.parameters.expressions import Node, evaluate, parse
from socca.parameters.parameterised import Parameter
from socca.parameters.units import factor
from socca.utils.lazy import jax, jnp

if TYPE_CHECKING:
    from socca.utils.array_types import Array


@dataclass(frozen=True)
class _Law:
    """A profile as a function; equal ones share what is compiled."""

    kind: type[CustomProfile]
    form: RadialStructure

    def __call__(self, r: Array, **arguments: Any) -> Array:
        return self.kind.evaluate(self.form, r, arguments)


_KEYS = ("name", "unit", "units", "description", "default", "value")


class CustomProfile(Radial):
    """Radial profile of your own: a function of the radius, or an expression.

    Parameters
    ----------
    parameters : mapping or list
        The parameters of the profile: names, mappings of ``name``, ``unit``, ``description`` and ``value``, or one
        mapping from names to units or to mappings of the rest. Units are ``deg``, ``rad``, ``image`` or empty.
    profile : callable or str
        ``profile(r, **parameters)``, which JAX can trace, with `r` in degrees along the major axis; or an expression
        such as ``"I0 * exp(-r / rs)"``, in which a number with a unit (``2 arcsec``) is in degrees. In parameters of
        the unit ``image`` it must be linear, as all components are: the sum of the images of two amplitudes is the
        image of their sum.
    positive, truncation
        See `Radial`.
    **values : number, Prior, Tie or callable
        Values of the parameters.

    Raises
    ------
    ModelError
        If a parameter cannot be called so, or the profile does not return an array of the shape of `r`.

    Notes
    -----
    Two components with the same expression share compiled programs; of functions, that holds for the same function.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any] | Iterable[str | Mapping[str, Any]] = (),
        profile: Callable[..., Any] | str | None = None,
        positive: bool | None = None,
        truncation: bool | str | Truncation | type[Truncation] | None = None,
        **values: Any,
    ) -> None:
        super().__init__(truncation, positive)
        described = [_described(entry) for entry in _entries(parameters)]
        for name, field, _ in described:
            taken = name in ("r", "pi", *self.fields) or (hasattr(self, name) and name not in self.alternatives)
            if not name.isidentifier() or taken:
                raise ModelError(f"CustomProfile: {name!r} cannot be the name of a parameter")
            self._extend({name: field})
        self.__dict__["_own"] = tuple(name for name, _, _ in described)
        self.__dict__["_profile"] = _parsed(profile, self._own)
        self._try()
        self._assign({name: value for name, _, value in described if value is not None} | values)

    @property
    def profile(self) -> Callable[..., Any]:  # type: ignore[override]
        """The profile as a function of numbers or arrays, ``profile(r, **parameters)``, without the truncation."""
        return for_numbers(_Law(type(self), self.structure()))

    def law_fields(self) -> list[str]:
        """Return the names of the parameters that the profile itself takes."""
        return list(self._own)

    def structure(self) -> RadialStructure:
        """Return the truncation, what the profile takes, and the profile."""
        return RadialStructure(self.truncation, self._own, self._profile)

    @classmethod
    def evaluate(cls, form: RadialStructure, r: Array, arguments: dict[str, Any]) -> Array:
        """Return the profile at radius `r` (degrees), without the truncation."""
        if not isinstance(form.profile, Node):
            return form.profile(r, **arguments)  # type: ignore[operator]
        names = {"r": r, **arguments}
        return evaluate(form.profile, jnp, name=names.__getitem__, unit=lambda unit: factor(unit, "deg")) + 0 * r

    def _try(self) -> None:
        """Trace the profile, without computing anything."""
        r, number = jax.ShapeDtypeStruct((5,), float), jax.ShapeDtypeStruct((), float)
        try:
            found = jax.eval_shape(
                lambda r, arguments: self.evaluate(self.structure(), r, arguments), r, dict.fromkeys(self._own, number)
            )
            shape, kind = found.shape, found.dtype.kind
        except ConfigError as error:
            raise ModelError(f"CustomProfile: {error}") from error
        except Exception as error:  # whatever the user's function raises
            raise ModelError(f"CustomProfile: JAX cannot trace profile(r, {', '.join(self._own)}): {error}") from error
        if shape != r.shape or kind != "f":
            raise ModelError(
                f"CustomProfile: profile(r, {', '.join(self._own)}) must return real numbers in the shape of r; for r "
                f"of shape {r.shape} it returned {found.dtype} of shape {shape}"
            )


def _entries(parameters: Any) -> list[Any]:
    if isinstance(parameters, Mapping):
        return [
            {"name": name, **(about if isinstance(about, Mapping) else {"unit": about})}
            for name, about in parameters.items()
        ]
    if isinstance(parameters, str):
        raise ModelError(f"CustomProfile: parameters must be a list or a mapping, got {parameters!r}")
    return list(parameters)


def _described(entry: Any) -> tuple[str, Parameter, Any]:
    """Return name, description and value of a parameter."""
    about = {"name": entry} if isinstance(entry, str) else dict(entry)
    for key in about:
        if key not in _KEYS:
            raise ModelError(f"CustomProfile: a parameter has no {key!r}{nearest(str(key), _KEYS)}")
    for key, other in (("unit", "units"), ("value", "default")):
        if about.get(key) is not None and about.get(other) is not None:
            raise ModelError(f"CustomProfile: give {key} or {other}, not both")
    name = str(about.get("name", ""))
    unit = about.get("unit") or about.get("units") or ""
    value = about["value"] if about.get("value") is not None else about.get("default")
    try:
        return name, Parameter(str(unit), str(about.get("description") or "")), value
    except ModelError as error:
        raise ModelError(f"CustomProfile: {name}: {error}") from None


def _parsed(profile: Any, own: tuple[str, ...]) -> Hashable:
    """Return the expression, checked, or the function."""
    if profile is None:
        raise ModelError("CustomProfile: give a profile, a function of r or an expression")
    if not isinstance(profile, str):
        if not callable(profile):
            raise ModelError(f"CustomProfile: profile must be a function or an expression, got {profile!r}")
        return profile
    try:
        node = parse(profile)
    except ConfigError as error:
        raise ModelError(f"CustomProfile: {error}") from error
    for name in sorted(node.names() - {"r", *own}):
        raise ModelError(f"CustomProfile: {profile!r} has no parameter {name!r}{nearest(name, ['r', *own])}")
    for name in sorted(node.columns()):
        raise ModelError(f"CustomProfile: make ${name} the value of a parameter, not a part of the profile")
    return node
