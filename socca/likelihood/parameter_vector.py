"""Values of all parameters of a model, from the vector of the free ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from socca.errors import ModelError, nearest
from socca.parameters.expressions import Node, evaluate
from socca.parameters.parameterised import Parameter, Parameterised, Spec
from socca.parameters.ties import EqualTo, Tie, as_tie
from socca.priors import Family, Prior
from socca.utils.digest import digest
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array


class ComponentOrderWarning(UserWarning):
    """Components were added to a model in another order than they were made, and functions name them by number."""


@tagged("spec/ModelSpec")
@dataclass(frozen=True)
class ModelSpec:
    """Static part of a model. Equal specs share one compiled program.

    Parameters
    ----------
    parts : tuple of Spec
        The components, in the order of the model, and the noise.
    names : tuple of str
        Full names of all parameters.
    free : tuple of int
        Which of them are free: position in the sampler's vector -> position in `names`.
    fixed : tuple of int
        Which are fixed.
    tied : tuple of (int, tuple of (str, str), callable or Node)
        Which are tied, to what (name of the function's argument, full name of the parameter) and how, in an order in
        which they can be computed.
    priors : tuple
        Family of each free parameter's prior.
    functions : str
        Digest of what the ties and the parts do. A function that is the same object as before, but refers to something
        that has changed since (a variable that it closes over, a global), must not find its old program.
    """

    parts: tuple[Spec, ...]
    names: tuple[str, ...]
    free: tuple[int, ...]
    fixed: tuple[int, ...]
    tied: tuple[tuple[int, tuple[tuple[str, str], ...], Any], ...]
    priors: tuple[Family, ...]
    functions: str

    def fields(self) -> list[Parameter]:
        """Return what is known of each parameter, in the order of `names`."""
        return [field for part in self.parts for _, field in part.fields]


def compile_model(parts: Sequence[Parameterised]) -> tuple[ModelSpec, dict[str, Any]]:
    """Return the static part and the arrays of a model.

    Parameters
    ----------
    parts : sequence of Parameterised
        Components, and perhaps the noise, that have their `id`.

    Returns
    -------
    spec : ModelSpec
        What is static.
    arrays : dict
        What may differ between targets: ``fixed`` values, numbers of the ``priors``, ``constants`` of the ties.

    Raises
    ------
    ModelError
        If two parts have one name, a parameter has no value, a length is zero, or a tie refers to an unknown
        parameter or, in the end, to itself.
    """
    values, ties, meant, order = _checked(parts)
    names = tuple(values)
    free = tuple(i for i, name in enumerate(names) if isinstance(values[name], Prior))
    fixed = tuple(i for i, name in enumerate(names) if isinstance(values[name], float))
    described = tuple(part.spec() for part in parts)
    tied = tuple((names.index(name), meant[name], ties[name].function) for name in order)
    spec = ModelSpec(
        parts=described,
        names=names,
        free=free,
        fixed=fixed,
        tied=tied,
        priors=tuple(values[names[i]].family for i in free),
        functions=digest(described, tied),
    )
    arrays = {
        "fixed": np.array([values[names[i]] for i in fixed], dtype=float),
        "priors": tuple(np.array(values[names[i]].values) for i in free),
        "constants": tuple(np.array(ties[name].constants, dtype=float) for name in order),
    }
    return spec, arrays


def check_parts(parts: Sequence[Parameterised]) -> None:
    """Raise `ModelError` for what `compile_model` refuses, at a tenth of the time: nothing is described or digested.

    Parameters
    ----------
    parts : sequence of Parameterised
        As of `compile_model`.
    """
    _checked(parts)


def _checked(
    parts: Sequence[Parameterised],
) -> tuple[dict[str, Any], dict[str, Tie], dict[str, tuple[tuple[str, str], ...]], list[str]]:
    """Return values, ties, what the ties mean and the order in which they can be computed, of a model that is whole."""
    ids = [part.id for part in parts]
    for twice in sorted({str(name) for name in ids if ids.count(name) > 1}):
        raise ModelError(f"two components are called {twice}: one of them was added to another model since")
    values = {f"{part.id}_{name}": value for part in parts for name, value in part.values.items()}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ModelError(f"no value for {', '.join(missing)}")
    for part in parts:
        for name, field in part.fields.items():
            if field.is_length and values[f"{part.id}_{name}"] == 0:
                raise ModelError(f"{part.id}_{name} = 0: {field.description or 'a length'} must be positive")
    for part in parts:
        for name, (limit, reason) in type(part).upper_limits.items():
            value = values[f"{part.id}_{name}"]
            highest = value.support[1] if isinstance(value, Prior) else value
            if isinstance(highest, float) and (highest > limit or (highest == limit and value == limit)):
                raise ModelError(f"{part.id}_{name} must stay below {limit:g}, got {value!r}: from there on {reason}")
    _refuse_foreign_ties(parts, values)
    _warn_of_order(parts, values)
    ties = {name: as_tie(name, value) for name, value in values.items() if _is_tie(value)}
    meant = _meant_by(ties, tuple(values))
    order = _evaluation_order({name: [full for _, full in arguments] for name, arguments in meant.items()})
    return values, ties, meant, order


def _is_tie(value: Any) -> bool:
    return isinstance(value, Tie | EqualTo) or (callable(value) and not isinstance(value, Prior))


def _refuse_foreign_ties(parts: Sequence[Parameterised], values: Mapping[str, Any]) -> None:
    """Raise `ModelError` if a parameter is tied to a component of no or of another model, whose name means another."""
    present = [thing for part in parts for thing in (part, *part.parts.values())]
    for name, value in values.items():
        if isinstance(value, EqualTo) and not any(value.component is thing for thing in present):
            raise ModelError(
                f"{name} is bound to {value.parameter} of a {type(value.component).__name__} that is not part of this "
                "model: add that component too, or bind it to one that is"
            )


def _warn_of_order(parts: Sequence[Parameterised], values: Mapping[str, Any]) -> None:
    """Warn of functions whose arguments may name components in the order in which they were made."""
    made = [part.creation_number for part in parts if part.creation_number is not None]
    functions = [name for name, value in values.items() if _is_tie(value) and not isinstance(value, Tie | EqualTo)]
    if functions and made != sorted(made):
        warnings.warn(
            f"{', '.join(functions)}: components are numbered in the order in which they were added to the model, not "
            "in that in which they were made: check which components the arguments name, or add them in the order in "
            "which they are made",
            ComponentOrderWarning,
            stacklevel=4,
        )


def _meant_by(ties: Mapping[str, Tie], names: Sequence[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the arguments of each tie and the full names of the parameters that they mean."""
    # No argument of a function can be called comp_00_radial.re, so that comp_00_radial_re will do.
    known = {name.replace(".", "_"): name for name in names} | {name: name for name in names}
    found = {}
    for name, tie in ties.items():
        for other in tie.names:
            if other not in known:
                raise ModelError(f"{name} is tied to {other!r}, which is no parameter{nearest(other, names)}")
        found[name] = tuple((other, known[other]) for other in tie.names)
    return found


def _evaluation_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    from graphlib import CycleError, TopologicalSorter

    # Lists: of sets, the order would be another one in each process.
    graph = {name: [other for other in others if other in needs] for name, others in needs.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ModelError("ties go in a circle: " + " -> ".join(error.args[1])) from None


def all_values(spec: ModelSpec, arrays: dict[str, Any], theta: Array | Sequence[Array]) -> dict[str, Any]:
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
    for (index, meant, function), constants in zip(spec.tied, arrays["constants"], strict=True):
        arguments = {argument: values[name] for argument, name in meant}
        values[spec.names[index]] = _tied_value(function, arguments, constants)
    return values


def _tied_value(function: Any, arguments: dict[str, Any], constants: Any) -> Any:
    if isinstance(function, Node):
        return evaluate(function, jnp, name=arguments.__getitem__, constants=constants)
    return function(**arguments)


def out_of_range(spec: ModelSpec, values: dict[str, Any]) -> Array:
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
    fields = spec.fields()
    for index in [*spec.free, *(index for index, _, _ in spec.tied)]:
        value = values[spec.names[index]]
        outside = outside | ~((value >= fields[index].lower) & (value <= fields[index].upper))
    owners = [(part.kind, name) for part in spec.parts for name, _ in part.fields]
    for full, (kind, name) in zip(spec.names, owners, strict=True):
        if name in kind.upper_limits:
            outside = outside | ~(values[full] < kind.upper_limits[name][0])
    return outside


def transform(spec: ModelSpec, arrays: dict[str, Any], u: Array) -> Array:
    """Map the unit cube to the free parameters, shape (..., ndim)."""
    columns = [
        family._icdf(u[..., k], *[arrays["priors"][k][j] for j in range(len(family.arguments))], xp=jnp)
        for k, family in enumerate(spec.priors)
    ]
    return jnp.stack(columns, axis=-1) if columns else u


def log_prior(spec: ModelSpec, arrays: dict[str, Any], theta: Array) -> Array:
    """Return the log prior density of free parameters of shape (..., ndim)."""
    total = jnp.zeros(theta.shape[:-1])
    for k, family in enumerate(spec.priors):
        numbers = [arrays["priors"][k][j] for j in range(len(family.arguments))]
        total = total + family._log_prob(theta[..., k], *numbers, xp=jnp)
    return total
