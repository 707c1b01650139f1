"""From the vector that a sampler moves to the value of every parameter of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from socca.errors import ModelError, nearest
from socca.expressions import Node, evaluate
from socca.models.base import Component, Tie
from socca.priors import Prior


@dataclass(frozen=True)
class ComponentSpec:
    """The static part of one component: its class, and what compiles away.

    Parameters
    ----------
    kind : type
        The class of the component.
    neutral : frozenset of str
        Parameters fixed at their neutral value.
    positive : bool
        Whether negative brightness is ruled out.
    """

    kind: type[Component]
    neutral: frozenset[str]
    positive: bool


@dataclass(frozen=True)
class ModelSpec:
    """The static part of a model. Equal specs share one compiled program.

    Parameters
    ----------
    components : tuple of ComponentSpec
        In the order of the model.
    names : tuple of str
        Full names of all parameters.
    free : tuple of int
        Which of them are free: position in the sampler's vector -> position in `names`.
    fixed : tuple of int
        Which are fixed.
    tied : tuple of (int, tuple of str, callable or Node)
        Which are tied, to what and how, in an order in which they can be computed.
    priors : tuple of type
        Family of each free parameter's prior.
    """

    components: tuple[ComponentSpec, ...]
    names: tuple[str, ...]
    free: tuple[int, ...]
    fixed: tuple[int, ...]
    tied: tuple[tuple[int, tuple[str, ...], Any], ...]
    priors: tuple[type[Prior], ...]


def compile_model(components: Sequence[Component]) -> tuple[ModelSpec, dict[str, Any]]:
    """Freeze a model.

    Parameters
    ----------
    components : sequence of Component
        Components that have their `id`.

    Returns
    -------
    spec : ModelSpec
        What is static.
    arrays : dict
        What may differ between targets: ``fixed`` values, numbers of the ``priors``, ``constants`` of the ties.

    Raises
    ------
    ModelError
        If a parameter has no value, or a tie refers to an unknown parameter or, in the end, to itself.
    """
    values: dict[str, Any] = {}
    specs = []
    for component in components:
        for name in component.fields:
            values[f"{component.id}_{name}"] = getattr(component, name)
        neutral = frozenset(
            name
            for name, field in component.fields.items()
            if field.neutral is not None and _is_number(getattr(component, name), field.neutral)
        )
        specs.append(ComponentSpec(type(component), neutral, bool(component.positive)))
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ModelError(f"no value for {', '.join(missing)}")
    names = tuple(values)
    ties = {name: as_tie(name, value) for name, value in values.items() if _is_tie(value)}
    order = _evaluation_order(ties, names)
    free = tuple(i for i, name in enumerate(names) if isinstance(values[name], Prior))
    fixed = tuple(i for i, name in enumerate(names) if isinstance(values[name], float))
    spec = ModelSpec(
        components=tuple(specs),
        names=names,
        free=free,
        fixed=fixed,
        tied=tuple((names.index(name), ties[name].names, ties[name].function) for name in order),
        priors=tuple(type(values[names[i]]) for i in free),
    )
    arrays = {
        "fixed": np.array([values[names[i]] for i in fixed], dtype=float),
        "priors": tuple(np.array(values[names[i]].values) for i in free),
        "constants": tuple(np.array(ties[name].constants, dtype=float) for name in order),
    }
    return spec, arrays


def _is_number(value: Any, wanted: float) -> bool:
    return isinstance(value, float) and value == wanted


def _is_tie(value: Any) -> bool:
    return isinstance(value, Tie) or (callable(value) and not isinstance(value, Prior))


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
    import inspect

    try:
        arguments = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        raise ModelError(f"{name}: cannot tell the arguments of {value!r}") from None
    if not arguments or any(a.kind is not a.POSITIONAL_OR_KEYWORD for a in arguments):
        raise ModelError(f"{name}: a tie's arguments must be names of parameters, like comp_00_re")
    return Tie(tuple(a.name for a in arguments), value)


def _evaluation_order(ties: Mapping[str, Tie], names: Sequence[str]) -> list[str]:
    from graphlib import CycleError, TopologicalSorter

    graph: dict[str, set[str]] = {}
    for name, tie in ties.items():
        for other in tie.names:
            if other not in names:
                raise ModelError(f"{name} is tied to {other!r}, which is no parameter{nearest(other, names)}")
        graph[name] = {other for other in tie.names if other in ties}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ModelError("ties go in a circle: " + " -> ".join(error.args[1])) from None


def all_values(spec: ModelSpec, arrays: dict[str, Any], theta: Any) -> dict[str, Any]:
    """Compute every parameter from the free ones.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    arrays : dict
        From `compile_model`.
    theta : array, shape (ndim,)
        The free parameters.

    Returns
    -------
    dict
        Full name -> value, all scalars.
    """
    values: dict[str, Any] = {}
    for k, index in enumerate(spec.free):
        values[spec.names[index]] = theta[k]
    for k, index in enumerate(spec.fixed):
        values[spec.names[index]] = arrays["fixed"][k]
    for (index, names, function), constants in zip(spec.tied, arrays["constants"], strict=True):
        values[spec.names[index]] = _tied_value(function, {n: values[n] for n in names}, constants)
    return values


def _tied_value(function: Any, arguments: dict[str, Any], constants: Any) -> Any:
    if isinstance(function, Node):
        return evaluate(function, jnp, name=arguments.__getitem__, constants=constants)
    return function(**arguments)


def out_of_range(spec: ModelSpec, values: dict[str, Any]) -> Any:
    """Tell whether a parameter left the range in which its component is defined.

    Fixed parameters were checked when they were set. Tied ones can only be checked as they are computed, and free ones
    too: a prior without bounds, such as a normal one, may reach further than the component.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    values : dict
        From `all_values`.

    Returns
    -------
    bool array, shape ()
        True where the model has no meaning.
    """
    outside = jnp.asarray(False)
    fields = [field for component in spec.components for field in component.kind.fields.values()]
    for index in [*spec.free, *(index for index, _, _ in spec.tied)]:
        value = values[spec.names[index]]
        outside = outside | ~((value >= fields[index].lower) & (value <= fields[index].upper))
    return outside


def transform(spec: ModelSpec, arrays: dict[str, Any], u: Any) -> Any:
    """Map the unit cube to the free parameters, shape (..., ndim)."""
    columns = [
        family._icdf(u[..., k], *[arrays["priors"][k][j] for j in range(len(family.arguments))], xp=jnp)
        for k, family in enumerate(spec.priors)
    ]
    return jnp.stack(columns, axis=-1) if columns else u


def log_prior(spec: ModelSpec, arrays: dict[str, Any], theta: Any) -> Any:
    """Return the log prior density of free parameters of shape (..., ndim)."""
    total = jnp.zeros(theta.shape[:-1])
    for k, family in enumerate(spec.priors):
        numbers = [arrays["priors"][k][j] for j in range(len(family.arguments))]
        total = total + family._log_prob(theta[..., k], *numbers, xp=jnp)
    return total
