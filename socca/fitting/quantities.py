"""Physical quantities of a posterior, from its samples: fluxes, magnitudes, radii, shapes, shares of the light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from socca.data.fluxes import flux_unit_of
from socca.errors import ConfigError, nearest
from socca.likelihood.quantities import component_quantities, total_flux
from socca.models.quantity import FURTHER, NAMES, QUANTITIES, Quantity
from socca.parameters.expressions import Node, evaluate
from socca.posterior.quantities import QuantitySamples

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.posterior.record import ImageDescription


class Expression(NamedTuple):
    """A quantity of the user's own.

    Attributes
    ----------
    node : Node
        An expression of parameters (in degrees, radians and the unit of the image) and quantities, by label.
    unit, description : str
        What a catalogue says of it.
    """

    node: Node
    unit: str
    description: str


#: The whole model, where no component is called so.
WHOLE = ("model", "whole", "whole_model")


def quantities_of(
    problem: Problem,
    samples: np.ndarray,
    image: ImageDescription,
    wanted: Sequence[str] | None = None,
    expressions: Mapping[str, Expression] | None = None,
) -> dict[str, QuantitySamples]:
    """Return the physical quantities of samples.

    Parameters
    ----------
    problem : Problem
        Of the components.
    samples : ndarray, shape (n, ndim)
        Free parameters.
    image : ImageDescription
        Unit and size of its pixels, and its zero point.
    wanted : sequence of str, optional
        Names of quantities; by default all.
    expressions : mapping of Expression, optional
        Further quantities, by name.

    Returns
    -------
    dict of QuantitySamples
        By labels such as ``bulge.flux``. Magnitudes and surface brightnesses are there if the image has a zero point;
        ``model.flux`` of all sources together and their fractions of it, if there are several with a flux each.

    Raises
    ------
    ConfigError
        If an expression names what is neither a parameter nor a quantity.
    """
    scale = image.pixel_scale
    if scale is None:
        return {}
    factor, unit = flux_unit_of(image.bunit, scale)
    labels = problem.component_labels
    owns = component_quantities(problem, samples, scale**2)
    sums = {label: own["flux"] for label, own in zip(labels, owns, strict=True) if "flux" in own}
    total = total_flux(problem, owns) if len(sums) > 1 else None
    units = {"flux": unit, "brightness": "image"}
    found: dict[str, QuantitySamples] = {}
    for label, own in zip(labels, owns, strict=True):
        values = dict(own)
        if label in sums and total is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                values["flux_fraction"] = sums[label] / total
        if image.zero_point is not None:
            values |= _magnitudes(values, image.zero_point, (3600 * scale) ** 2)
        if label in sums:
            values["flux"] = factor * sums[label]
        for name in NAMES:
            if name in values:
                about = {**QUANTITIES, **FURTHER}[name]
                unit_of = units.get(about.unit, about.unit)
                found[f"{label}.{name}"] = _as_stored(values[name], about, unit_of)
    if total is not None:
        whole = next((name for name in WHOLE if name not in labels), "")
        about = Quantity("flux", "total flux of all components", "phot.flux.density")
        found[f"{whole}.flux"] = _as_stored(factor * total, about, unit)
        if image.zero_point is not None:
            about = Quantity("mag", "total magnitude of all components", "phot.mag")
            found[f"{whole}.mag"] = _as_stored(_magnitude(total, image.zero_point), about, "mag")
    further = _evaluated(expressions, problem, samples, found) if expressions else {}
    if wanted is not None:
        found = {label: one for label, one in found.items() if label.rsplit(".", 1)[1] in wanted}
    # One that exists nowhere, such as an infinite flux, says nothing.
    return {label: one for label, one in {**found, **further}.items() if np.isfinite(one.values).any()}


def check_expressions(expressions: Mapping[str, Expression], problem: Problem) -> None:
    """Raise `ConfigError` if an expression names what a component of this model does not have."""
    known, labels = _names(problem)
    for name, expression in expressions.items():
        for unknown in sorted(expression.node.names() - known):
            if unknown.split(".", 1)[0] in labels:
                raise ConfigError(f"derived.extra.{name}: there is no {unknown!r}{nearest(unknown, known)}")


def _names(problem: Problem) -> tuple[set[str], set[str]]:
    """Return what expressions may name, and the components."""
    labels = {*problem.component_labels, *WHOLE}
    return {*problem.all_labels.values(), *(f"{label}.{name}" for label in labels for name in NAMES)}, labels


def _evaluated(
    expressions: Mapping[str, Expression],
    problem: Problem,
    samples: np.ndarray,
    found: Mapping[str, QuantitySamples],
) -> dict[str, QuantitySamples]:
    check_expressions(expressions, problem)
    known, _ = _names(problem)
    values = {problem.all_labels[name]: value for name, value in problem.values(samples).items()}
    values |= {label: one.values for label, one in found.items()}
    nothing = np.full(len(samples), np.nan)
    results = {}
    for name, expression in expressions.items():
        if not expression.node.names() <= known:
            continue  # of another model
        with np.errstate(all="ignore"):
            # What this fit lacks, such as magnitudes without a zero point, has no value.
            result = evaluate(expression.node, np, name=lambda label: values.get(label, nothing))
        about = Quantity("", expression.description, "stat.fit.param")
        results[name] = _as_stored(np.broadcast_to(result, len(samples)), about, expression.unit)
    return results


def _as_stored(values: np.ndarray, about: Quantity, unit: str) -> QuantitySamples:
    """Return a quantity in the precision of files, so that a result that is read equals the one that was written."""
    rounded = np.asarray(values, np.float32).astype(float)
    return QuantitySamples(rounded, unit, about.description, about.ucd, about.period)


def _magnitudes(own: Mapping[str, np.ndarray], zero_point: float, pixel_area: float) -> dict[str, np.ndarray]:
    """Return magnitudes of sums over pixels, and those of a brightness in a pixel of an area, per square arcsecond."""
    areas = {"mag": ("flux", 1.0), "mu_r50": ("sb_r50", pixel_area), "mu_within_r50": ("sb_within_r50", pixel_area)}
    return {name: _magnitude(own[source] / area, zero_point) for name, (source, area) in areas.items() if source in own}


def _magnitude(flux: np.ndarray, zero_point: float) -> np.ndarray:
    """Return magnitudes, NaN where the flux is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)
