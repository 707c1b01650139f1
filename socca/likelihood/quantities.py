"""What follows from the parameters of each component, for rows of parameters, by one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from socca.likelihood.compiled import in_batches
from socca.likelihood.parameter_vector import ModelSpec, all_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from socca.likelihood.problem import Problem
    from socca.utils.array_types import Array

#: Rows that are computed at once: each needs the brightness at a thousand radii.
_AT_ONCE = 16


def component_quantities(problem: Problem, theta: ArrayLike, pixel_area: float) -> list[dict[str, np.ndarray]]:
    """Return what follows from the parameters of each component.

    Parameters
    ----------
    problem : Problem
        Of the components.
    theta : array_like, shape (n, ndim)
        Free parameters.
    pixel_area : float
        Area of a pixel, square degrees.

    Returns
    -------
    list of dict of ndarray, shape (n,)
        Of each component, by names of `socca.models.quantity.QUANTITIES`.
    """
    program = _program(problem.spec.model)
    with jax.enable_x64(True):
        arguments = problem.on_device["model"], np.float64(pixel_area)
        found: list[dict[str, np.ndarray]] = in_batches(
            functools.partial(program, *arguments), theta, problem.ndim, "component_quantities"
        )
    return found


def total_flux(problem: Problem, found: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray | None:
    """Return the flux of all sources together, as the sum over pixels; None without the flux of every one.

    Parameters
    ----------
    problem : Problem
        Of the components.
    found : sequence of mapping
        Of each component, from `component_quantities`.
    """
    for own, part in zip(found, problem.spec.model.parts[:-1], strict=True):
        if "flux" not in own and part.kind.role != "background":
            return None
    return np.asarray(sum(own["flux"] for own in found if "flux" in own))


@functools.lru_cache(maxsize=64)
def _program(model: ModelSpec) -> Any:
    """Return the compiled function of a model: the same one for an equal spec."""

    def one(arrays: dict[str, Any], pixel_area: Array, theta: Array) -> list[dict[str, Array]]:
        values = all_values(model, arrays, theta)
        found = []
        for number, part in enumerate(model.parts[:-1]):
            own = {name: values[f"comp_{number:02d}_{name}"] for name, _ in part.fields}
            found.append(part.kind.quantities(own, part, pixel_area))
        return found

    def batched(arrays: dict[str, Any], pixel_area: Array, theta: Array, count: Array) -> Any:
        # Of a shorter batch the rest is computed too: several rows at once take half as long as one after the other.
        del count
        return jax.lax.map(functools.partial(one, arrays, pixel_area), theta, batch_size=_AT_ONCE)

    return jax.jit(batched)
