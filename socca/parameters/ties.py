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


def as_tie(name: str, value: Any) -> Tie:
    """Turn a function of named arguments into a `Tie`.

    Parameters
    ----------
    name : str
        The parameter that is tied, for the error.
    value : Tie or callable
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
    try:
        arguments = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        raise ModelError(f"{name}: cannot tell the arguments of {value!r}") from None
    if not arguments or any(a.kind is not a.POSITIONAL_OR_KEYWORD for a in arguments):
        raise ModelError(f"{name}: a tie's arguments must be names of parameters, like comp_00_re")
    return Tie(tuple(a.name for a in arguments), value)


def boundto(comp: HasParameters, var: str) -> Tie:
    """Tie a parameter to be equal to another component's.

    Parameters
    ----------
    comp : HasParameters
        A component that is already part of a model, or a part of one, such as the radial profile of a disk.
    var : str
        Its parameter.

    Returns
    -------
    Tie
        The value to assign.

    Raises
    ------
    ModelError
        If the component is in no model yet, or has no such parameter.
    """
    if comp.id is None:
        raise ModelError("boundto: add the component to a model first")
    if var not in comp.fields:
        raise ModelError(f"boundto: {type(comp).__name__} has no parameter {var!r}{nearest(var, comp.fields)}")
    name = f"{comp.id}_{var}"
    return Tie((name,), Node("name", name))
