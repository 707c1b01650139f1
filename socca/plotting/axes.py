"""Parameters of a posterior as figures show them, and their choice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError, nearest
from socca.posterior.exports import image_unit
from socca.utils.statistics import weighted_quantiles

if TYPE_CHECKING:
    from socca.posterior.posterior import Posterior

#: Values that vary by less than this share of their size are shown as differences from their median.
_NARROW = 1e-4


@dataclass(frozen=True)
class Axis:
    """A parameter as figures show it.

    Parameters
    ----------
    label : str
        With its unit.
    origin : str
        What the values count from, if that is not zero.
    values : ndarray, shape (n,)
        In that unit.
    factor, zero : float
        ``values = factor * (value - zero)``.
    period : float or None
        In the parameter's own unit.
    """

    label: str
    origin: str
    values: np.ndarray
    factor: float
    zero: float
    period: float | None = None

    def shown(self, value: float) -> float:
        """Return a value of the parameter as the figure shows it; an angle within half a period of the samples."""
        if self.period is not None:
            middle = self.zero + float(np.median(self.values)) / self.factor
            value = middle + (value - middle + self.period / 2) % self.period - self.period / 2
        return self.factor * (value - self.zero)


def axes_of(posterior: Posterior, parameters: list[str] | None = None) -> dict[str, Axis]:
    """Return the parameters of a posterior in units that read well.

    Parameters
    ----------
    posterior : Posterior
        Its samples; angles are already unwrapped around their mean.
    parameters : list of str, optional
        Labels or full names of those that are wanted; by default all free ones.

    Returns
    -------
    dict of Axis
        By label. Degrees on the sky become arcsec, radians degrees; positions, and whatever else varies little for its
        size, become differences from their median, `Axis.origin`.

    Raises
    ------
    PosteriorError
        If a parameter is unknown.
    """
    columns = {label: (unit, values) for label, unit, values in posterior.columns()}
    full = dict(zip(posterior.names, posterior.labels, strict=True))
    periods = dict(zip(posterior.labels, posterior.periods or [None] * len(posterior.labels), strict=True))
    periods |= posterior.derived_periods
    found = {}
    for name in posterior.labels if parameters is None else parameters:
        label = full.get(name, name)
        if label not in columns:
            raise PosteriorError(f"the posterior has no parameter {name!r}{nearest(name, columns)}")
        unit, values = columns[label]
        factor, shown = {
            "deg": (3600.0, "arcsec"),
            "rad": (180 / math.pi, "deg"),
            "image": (1.0, image_unit(posterior) or "image unit"),
        }.get(unit, (1.0, unit))
        low, median, high = weighted_quantiles(values, posterior.weights, [0.16, 0.5, 0.84])
        # Rounded well within the width, so that a figure can give it whole.
        zero, origin = 0.0, ""
        if 0 < high - low < _NARROW * abs(median):
            digits = 1 - math.floor(math.log10(high - low))
            zero = round(median, digits)
            origin = f"{zero:.{max(digits, 0)}f} {unit}".rstrip()
        text = f"Δ {label}" if origin else label
        text = f"{text} [{shown}]" if shown else text
        found[label] = Axis(text, origin, factor * (values - zero), factor, zero, periods.get(label))
    return found


def parameters_of(posterior: Posterior, component: Any, parameters: list[str] | None = None) -> list[str] | None:
    """Return the labels of the free parameters of components.

    Parameters
    ----------
    posterior : Posterior
        Its parameters.
    component : str, int, Component or list of these, or None
        Ids or labels of components, numbers, or the components themselves.
    parameters : list of str, optional
        Of these parameters alone.

    Returns
    -------
    list of str or None
        Labels; `parameters` itself without a component.

    Raises
    ------
    PosteriorError
        If a component is unknown, or has none of the parameters.
    """
    if component is None:
        return parameters
    owners = {}
    for name, label in zip(posterior.names, posterior.labels, strict=True):
        owner = "_".join(name.split("_")[:2])  # comp_00_re, noise_scale
        owners[label] = {owner, label.partition(".")[0]} if "." in label else {owner}
    known = sorted(set().union(*owners.values()))
    found: list[str] = []
    for one in component if isinstance(component, list | tuple) else [component]:
        number = isinstance(one, int | np.integer) and not isinstance(one, bool)
        wanted = f"comp_{int(one):02d}" if number else getattr(one, "id", one)
        named = [label for label, names in owners.items() if wanted in names]
        if not named:
            raise PosteriorError(f"no free parameter is of component {wanted!r}; known: {', '.join(known)}")
        found += [label for label in named if label not in found]
    full = dict(zip(posterior.names, posterior.labels, strict=True))
    chosen = [label for label in found if parameters is None or label in {full.get(name, name) for name in parameters}]
    if not chosen:
        raise PosteriorError(f"none of the parameters {parameters} is of component {component!r}")
    return chosen


def labelled(posterior: Posterior, axes: Mapping[str, Axis], what: str, given: Any) -> dict[str, Any]:
    """Return values by the labels of the parameters that are drawn, from values by name or in their order.

    Raises
    ------
    PosteriorError
        If a parameter is not drawn, or their number is another.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(given) != len(axes):
            raise PosteriorError(f"{what}: expected {len(axes)} values, one for each parameter, got {len(given)}")
        return dict(zip(axes, given, strict=True))
    full = dict(zip(posterior.names, posterior.labels, strict=True))
    found = {str(full.get(key, key)): value for key, value in given.items()}
    for key in found:
        if key not in axes:
            raise PosteriorError(f"{what}: no parameter {key!r} is drawn{nearest(key, axes)}")
    return found
