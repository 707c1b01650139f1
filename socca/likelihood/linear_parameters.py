"""Parameters that the image is linear in, found without drawing it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from socca import priors
from socca.errors import ModelError
from socca.likelihood.parameter_vector import all_values
from socca.likelihood.problem import Problem
from socca.parameters.expressions import Node

#: By how much brightness may depart from being linear, relative to the brightest.
_LINEAR = 1e-9


@dataclass(frozen=True)
class Amplitudes:
    """The amplitudes of a problem.

    Parameters
    ----------
    free : tuple of int
        Their positions among the free parameters.
    idle : frozenset of int
        Positions, among all parameters, of those that are tied to an amplitude and that nothing drawn depends on.
    acts_on : tuple of tuple of int
        For each of `free`: numbers of the components whose light depends on it.
    lit : tuple of int
        Numbers of the components that have light where all amplitudes are zero.
    """

    free: tuple[int, ...]
    idle: frozenset[int]
    acts_on: tuple[tuple[int, ...], ...]
    lit: tuple[int, ...]


def find_amplitudes(problem: Problem, any_prior: bool = False) -> Amplitudes:
    """Find the free intensities of components that have a normal or a uniform prior.

    Nothing is compiled.

    Parameters
    ----------
    problem : Problem
        The problem.
    any_prior : bool
        Whether all free intensities are meant, whatever their prior.

    Returns
    -------
    Amplitudes
        At least one.

    Raises
    ------
    ModelError
        If there is none or nothing else is free; one was added to its component, or belongs to one that must be
        positive; or something is tied to one by which the image is not linear in it.
    """
    model, labels = problem.spec.model, problem.all_labels
    owners = [(part, name) for part in model.parts for name, _ in part.fields]
    units = [field.unit for field in model.fields()]

    def intensity(index: int) -> bool:
        return units[index] == "image" and owners[index][0] is not problem.spec.noise

    free = [
        k
        for k, index in enumerate(model.free)
        if intensity(index) and (any_prior or isinstance(problem.priors[k], priors.normal | priors.uniform))
    ]
    if not free:
        raise ModelError("marginalize: no intensity of a component has a normal or a uniform prior")
    for k in free:
        part, name = owners[model.free[k]]
        if name in part.added:
            raise ModelError(
                f"marginalize: {problem.labels[k]} was added to its component, whose brightness does not know it: give "
                "it another prior, such as truncnormal, and it is sampled"
            )
    linear = {problem.names[k] for k in free}
    idle: set[str] = set()
    for index, meant, function in model.tied:
        known = {argument for argument, full in meant if full in linear}
        through = sorted(full for _, full in meant if full in linear | idle)
        if not through:
            continue
        part, name = owners[index]
        if name in part.added:
            idle.add(model.names[index])
            continue
        proportional = not isinstance(function, Node) or _degree(function, known) <= 1
        if not intensity(index) or any(full in idle for full in through) or not proportional:
            raise ModelError(
                f"marginalize: {labels[model.names[index]]} is tied to {', '.join(labels[full] for full in through)} "
                "and is no intensity in proportion to it: the likelihood is then no Gaussian of it. Give that a prior "
                "other than normal and uniform, such as truncnormal, and it is sampled"
            )
        linear.add(model.names[index])
    for name, (part, _) in zip(model.names, owners, strict=True):
        if name in linear and part.positive:
            raise ModelError(f"marginalize: {labels[name]} belongs to a component that must be positive")
    if len(free) == problem.ndim:
        raise ModelError(
            f"marginalize: {', '.join(problem.labels)} would all be integrated out, and nothing is left to sample: "
            "leave marginalize out, or give one of them another prior, such as truncnormal"
        )
    # What depends on each of them, directly or by ties to what does.
    numbers = [number for number, part in enumerate(model.parts) for _ in part.fields]
    acts_on = []
    for k in free:
        reached = {problem.names[k]}
        for index, meant, _ in model.tied:
            if model.names[index] in linear and reached.intersection(full for _, full in meant):
                reached.add(model.names[index])
        found = {number for name, number in zip(model.names, numbers, strict=True) if name in reached}
        acts_on.append(tuple(sorted(found)))
    lit = set(_lit_of_linear(problem, free))
    # A component without an amplitude of its own may shine where nobody looks, and so may one whose intensity is a
    # function of the user's.
    lit.update(set(range(len(model.parts) - 1)).difference(*acts_on))
    opaque = [index for index, _, function in model.tied if not isinstance(function, Node) and intensity(index)]
    lit.update(numbers[index] for index in opaque)
    idle_places = frozenset(model.names.index(name) for name in idle)
    return Amplitudes(tuple(free), idle_places, tuple(acts_on), tuple(sorted(lit)))


def _degree(node: Node, linear: Collection[str]) -> int:
    """Return the degree of an expression in some of its names: 0, 1, or anything above where it is not linear."""
    if node.kind == "name":
        return int(node.value in linear)
    degrees = [_degree(arg, linear) for arg in node.args]
    if node.value in ("add", "subtract", "negative"):
        return max(degrees)
    if node.value == "multiply":
        return sum(degrees)
    if node.value == "true_divide":
        return degrees[0] + 2 * degrees[1]
    return 2 * max(degrees, default=0)


def _lit_of_linear(problem: Problem, free: list[int]) -> list[int]:
    """Return the numbers of the components that have light where all amplitudes are zero.

    Raises `ModelError` if the brightness is not linear along a line through all the amplitudes' priors: functions of
    the user's may do anything.
    """
    ends = np.array([problem.priors[k].icdf([0.001, 0.999]) for k in free])
    along = np.linspace(0, 1, 5)
    rows = []
    for u in np.random.default_rng(1).uniform(0.1, 0.9, (2, problem.ndim)):
        line = np.tile([float(prior.icdf(x)) for prior, x in zip(problem.priors, u, strict=True)], (len(along), 1))
        line[:, free] = ends[:, 0] + along[:, None] * np.ptp(ends, axis=1)
        rows.append(line)
    dark = np.stack([row[0] for row in rows])
    dark[:, free] = 0.0
    with jax.enable_x64(True):
        found = jax.vmap(lambda theta: _brightness(problem, theta))(jnp.asarray(np.concatenate([*rows, dark])))
    for number, part in enumerate(found):
        values = np.asarray(part)[: -len(rows)].reshape(len(rows), len(along), -1)
        values = np.where(np.isfinite(values), values, 0.0)
        straight = values[:, :1] + along[:, None] * (values[:, -1:] - values[:, :1])
        if np.abs(values - straight).max() > _LINEAR * np.abs(values).max():
            names = ", ".join(problem.labels[k] for k in free)
            raise ModelError(f"marginalize: the brightness of comp_{number:02d} is not linear in {names}")
    return [number for number, part in enumerate(found) if np.asarray(part)[-len(rows) :].any()]


def _brightness(problem: Problem, theta: Any) -> list[Any]:
    """Return the brightness of each component at a few distances from its centre, from a pixel's to the frame's."""
    model, scene = problem.spec.model, problem.arrays["scene"]
    pixel = 1 / np.sqrt(np.abs(np.linalg.det(scene["inverse"])))
    angle = np.arange(12.0)  # radians, and so in no order
    radius = pixel * np.geomspace(0.3, max(problem.spec.scene.grid.grid), len(angle))
    x, y = jnp.asarray(radius * np.cos(angle)), jnp.asarray(radius * np.sin(angle))
    values = all_values(model, problem.arrays["model"], theta)
    found = []
    for number, part in enumerate(model.parts[:-1]):
        own = {name: jnp.asarray(values[f"comp_{number:02d}_{name}"]) for name, _ in part.fields}
        if part.kind.role == "extended":
            found.append(part.kind.brightness(x, y, own, part, jnp.asarray(pixel * np.eye(2))))
        elif part.kind.role == "background":
            found.append(part.kind.surface(x, y, own, part))
        else:
            found.append(own["Ic"])
    return found
