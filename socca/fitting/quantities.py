"""Physical quantities of a posterior, from its samples: fluxes, magnitudes, radii, shapes, shares of the light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from socca.data.fluxes import flux_unit_of
from socca.likelihood.quantities import component_quantities
from socca.models.quantity import FURTHER, NAMES, QUANTITIES, Quantity
from socca.posterior.quantities import QuantitySamples

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.posterior.record import ImageDescription

#: The whole model, where no component is called so.
_WHOLE = ("model", "whole", "whole_model")


def quantities_of(
    problem: Problem,
    samples: np.ndarray,
    image: ImageDescription,
    wanted: Sequence[str] | None = None,
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

    Returns
    -------
    dict of QuantitySamples
        By labels such as ``bulge.flux``, and ``model.flux`` of all components together. Magnitudes and surface
        brightnesses are there if the image has a zero point, fractions of the flux if there are several sources.
    """
    scale = image.pixel_scale
    if scale is None:
        return {}
    factor, unit = flux_unit_of(image.bunit, scale)
    labels = component_labels(problem)
    owns = component_quantities(problem, samples, scale**2)
    fluxes = {label: factor * own["flux"] for label, own in zip(labels, owns, strict=True) if "flux" in own}
    units = {"flux": unit, "brightness": "image"}
    found: dict[str, QuantitySamples] = {}
    whole = next(name for name in _WHOLE if name not in labels)
    total = np.sum(list(fluxes.values()), axis=0)
    for label, own in zip(labels, owns, strict=True):
        values = {**own, **({"flux": fluxes[label]} if label in fluxes else {})}
        if label in fluxes and len(fluxes) > 1:
            with np.errstate(divide="ignore", invalid="ignore"):
                values["flux_fraction"] = fluxes[label] / total
        if image.zero_point is not None:
            values |= _magnitudes(values, image.zero_point, factor / (3600 * scale) ** 2)
        for name in NAMES:
            if name in values and (wanted is None or name in wanted):
                about = {**QUANTITIES, **FURTHER}[name]
                unit_of = units.get(about.unit, about.unit)
                found[f"{label}.{name}"] = _as_stored(values[name], about, unit_of)
    if fluxes and len(labels) > 1:
        about = Quantity("flux", "total flux of all components", "phot.flux.density")
        found[f"{whole}.flux"] = _as_stored(total, about, unit)
        if image.zero_point is not None:
            about = Quantity("mag", "total magnitude of all components", "phot.mag")
            found[f"{whole}.mag"] = _as_stored(_magnitude(total, image.zero_point), about, "mag")
    # One that exists nowhere, such as an infinite flux, says nothing.
    return {name: one for name, one in found.items() if np.isfinite(one.values).any()}


def _as_stored(values: np.ndarray, about: Quantity, unit: str) -> QuantitySamples:
    """Return a quantity in the precision of files, so that a result that is read equals the one that was written."""
    rounded = np.asarray(values, np.float32).astype(float)
    return QuantitySamples(rounded, unit, about.description, about.ucd, about.period)


def component_labels(problem: Problem) -> list[str]:
    """Return the user's names of the components."""
    found = []
    for number, part in enumerate(problem.spec.model.parts[:-1]):
        name = part.fields[0][0]
        found.append(problem.all_labels[f"comp_{number:02d}_{name}"].removesuffix(name)[:-1])
    return found


def _magnitudes(own: Mapping[str, np.ndarray], zero_point: float, per_area: float) -> dict[str, np.ndarray]:
    """Return magnitudes; `per_area` turns a brightness in a pixel into that of a square arcsecond."""
    scales = {"mag": ("flux", 1.0), "mu_r50": ("sb_r50", per_area), "mu_within_r50": ("sb_within_r50", per_area)}
    return {
        name: _magnitude(scale * own[source], zero_point) for name, (source, scale) in scales.items() if source in own
    }


def _magnitude(flux: np.ndarray, zero_point: float) -> np.ndarray:
    """Return magnitudes, NaN where the flux is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)
