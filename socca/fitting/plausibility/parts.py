"""Components and noise as plausibility sees them: what is known of each parameter, and its value or prior."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.parameters.parameterised import Parameter
from socca.priors import Prior

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.models.model import Model
    from socca.noise import NoiseModel

#: What a parameter may be; None where it is tied to others.
Value = float | Prior | None


@dataclass(frozen=True)
class Part:
    """A component of a model, or the noise.

    Parameters
    ----------
    label : str
        The user's name for it.
    role : str
        How it is drawn, as `socca.models.base.Component.role`; ``noise`` for the noise.
    position_names : tuple of str
        The parameters that say where it is.
    fields : mapping of Parameter
        What is known of each parameter.
    values : mapping
        Its number or prior; None where it is tied to others.
    """

    label: str
    role: str
    position_names: tuple[str, ...]
    fields: Mapping[str, Parameter]
    values: Mapping[str, Value]


def parts_of_model(model: Model, noise: NoiseModel[Any]) -> list[Part]:
    """Return the parts of a model, and of the noise that it is fitted with."""
    found = [
        Part(label, part.role, part.position_names, part.fields, _untied(part.values))
        for part, label in zip(model.components, model.component_labels, strict=True)
    ]
    return [*found, Part("noise", "noise", (), noise.fields, _untied(noise.values))]


def parts_of_problem(problem: Problem) -> list[Part]:
    """Return the parts of a problem, which knows what its model was when it was compiled."""
    spec = problem.spec.model
    values: dict[str, Value] = dict.fromkeys(spec.names)
    values |= {spec.names[i]: float(v) for i, v in zip(spec.fixed, problem.arrays["model"]["fixed"], strict=True)}
    values |= dict(zip(problem.names, problem.priors, strict=True))
    labels = problem.component_labels
    found, start = [], 0
    for number, part in enumerate(spec.parts):
        fields = dict(part.fields)
        names = spec.names[start : start + len(fields)]
        start += len(fields)
        own = {name: values[full] for name, full in zip(fields, names, strict=True)}
        if number == len(spec.parts) - 1:
            found.append(Part("noise", "noise", (), fields, own))
            continue
        found.append(Part(labels[number], part.kind.role, part.kind.position_names, fields, own))
    return found


def _untied(values: Mapping[str, Any]) -> dict[str, Value]:
    return {name: value if isinstance(value, float | Prior) else None for name, value in values.items()}


@functools.lru_cache(maxsize=1024)
def quantiles(value: float | Prior, shares: tuple[float, ...]) -> np.ndarray:
    """Return the values below which these shares of a prior lie; all the same for a number.

    Most targets of a survey have the same priors.

    Parameters
    ----------
    value : float or Prior
        What a parameter may be.
    shares : tuple of float
        Probabilities.

    Returns
    -------
    ndarray, shape (len(shares),)
        In the unit of the parameter; not to be written to.
    """
    found = np.asarray(value.icdf(shares)) if isinstance(value, Prior) else np.full(len(shares), value)
    found.flags.writeable = False
    return found
