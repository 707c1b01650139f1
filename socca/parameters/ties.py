"""Ties: parameters that are functions of other parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from socca.errors import ModelError, nearest
from socca.parameters.expressions import Node


class HasParameters(Protocol):
    """What others can be tied to; see `socca.parameters.parameterised.Parameterised`."""

    id: str | None

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its parameters, by name."""


@dataclass(frozen=True)
class Tie:
    """A parameter that is a function of others.

    Parameters
    ----------
    names : tuple of str
        Full names (``comp_00_re``) of the parameters that it depends on.
    function : Node or callable
        A parsed expression over these names, or a JAX-traceable function with these arguments.
    constants : tuple of float
        Numbers in the expression that may differ between targets.
    """

    names: tuple[str, ...]
    function: Node | Callable[..., Any]
    constants: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class EqualTo:
    """A parameter that is equal to another one, which is named once the model is used; made by `boundto`.

    Parameters
    ----------
    component : HasParameters
        What has the other parameter.
    parameter : str
        Its name.
    """

    component: HasParameters
    parameter: str

    def named(self) -> Tie:
        """Return the tie to the parameter's full name of now."""
        name = f"{self.component.id}_{self.parameter}"
        return Tie((name,), Node("name", name))


def as_tie(name: str, value: Any) -> Tie:
    """Turn a function of named arguments into a `Tie`.

    Parameters
    ----------
    name : str
        The parameter that is tied, for the error.
    value : Tie, EqualTo or callable
        The tie, or a function whose arguments are full names of parameters.

    Returns
    -------
    Tie
        The tie.

    Raises
    ------
    ModelError
        If the function's arguments cannot be known.
    """
    if isinstance(value, Tie):
        return value
    if isinstance(value, EqualTo):
        return value.named()
    try:
        arguments = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        raise ModelError(f"{name}: cannot tell the arguments of {value!r}") from None
    if not arguments or any(a.kind is not a.POSITIONAL_OR_KEYWORD for a in arguments):
        raise ModelError(f"{name}: a tie's arguments must be names of parameters, like comp_00_re")
    return Tie(tuple(a.name for a in arguments), value)


def boundto(comp: HasParameters, var: str) -> EqualTo:
    """Tie a parameter to be equal to another component's.

    Parameters
    ----------
    comp : HasParameters
        A component, or a part of one, such as the radial profile of a disk. It may become part of the model later.
    var : str
        Its parameter.

    Returns
    -------
    EqualTo
        The value to assign.

    Raises
    ------
    ModelError
        If the component has no such parameter.
    """
    if var not in comp.fields:
        raise ModelError(f"boundto: {type(comp).__name__} has no parameter {var!r}{nearest(var, comp.fields)}")
    return EqualTo(comp, var)
