"""Goodness of fit, and the description of the fitted image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from socca.likelihood.quantities import component_quantities, total_flux
from socca.posterior.record import FitQuality, ImageDescription

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.posterior.protocols import WeightedSamples

#: Outer part of a prior's probability, on each side, that counts as its edge.
_EDGE = 0.01
#: A PSF whose sum is as near to one keeps the flux.
_UNIT_SUM = 0.01
#: Fewest pairs of neighbouring pixels of which a correlation says anything.
_FEWEST_PAIRS = 12


def goodness_of_fit(problem: Problem, image: Image, posterior: WeightedSamples) -> FitQuality:
    """Compare data and model at the posterior's best sample.

    Parameters
    ----------
    problem : Problem
        Draws the model.
    image : Image
        The data.
    posterior : Posterior
        The result.

    Returns
    -------
    FitQuality
        `chi2_red`: chi-square over the used pixels, per degree of freedom; the noise is the fitted one, correlations
        between pixels are left out. `chi2_source`: mean squared residual, in units of the noise, of the `n_source`
        pixels where the model's light is above the noise; the sky's pixels, always many, do not dilute it; None without
        such a pixel. `n_source` is None for a model of the background alone. `edge_probability`: see there. For the
        others see `FitQuality`.
    """
    best = posterior.best
    drawn = problem.render(best, raw=problem.spec.noise.kind.needs_sky)
    expected, sigma = problem.predict(best)
    used = np.isfinite(sigma)
    independent = problem.spec.noise.kind.padded and not problem.spec.noise.kind.needs_sky
    edge, parameter = edge_probability(problem, posterior)
    residual = np.where(used, (image.data - expected) / sigma, 0.0)
    source = used & (drawn.smoothed > sigma)
    n_used, n_source = int(used.sum()), int(source.sum())
    return FitQuality(
        chi2_red=float((residual**2).sum() / max(n_used - problem.ndim, 1)),
        chi2_source=float((residual[source] ** 2).mean()) if n_source else None,
        n_source=n_source if any(part.kind.role != "background" for part in problem.spec.scene.components) else None,
        n_used=n_used,
        max_log_likelihood=float(posterior.log_likelihood.max()),
        edge_probability=edge,
        edge_parameter=parameter,
        residual_correlation=_neighbours_correlation(residual, source) if independent else None,
        light_outside=_light_outside(problem, image, best, np.asarray(drawn.smoothed)),
    )


def _neighbours_correlation(residual: np.ndarray, source: np.ndarray) -> float | None:
    """Return the correlation of residuals of pixels of the source that have a side in common; None with few of them."""
    pairs = [
        (residual[1:][both], residual[:-1][both]) if axis == 0 else (residual[:, 1:][both], residual[:, :-1][both])
        for axis, both in ((0, source[1:] & source[:-1]), (1, source[:, 1:] & source[:, :-1]))
    ]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    if len(first) < _FEWEST_PAIRS:
        return None
    return float(np.mean(first * second) / max(float(np.mean(residual[source] ** 2)), 1e-300))


def _light_outside(problem: Problem, image: Image, best: np.ndarray, drawn: np.ndarray) -> float | None:
    """Return the share of the light of all sources that lies outside of the image; None if it has no total."""
    if image.response is not None or image.exposure is not None or problem.spec.noise.kind.needs_sky:
        return None
    if image.psf is not None and abs(float(image.psf.sum()) - 1) > _UNIT_SUM:
        return None
    total = total_flux(problem, component_quantities(problem, best[None], image.frame.pixel_scale**2))
    if total is None or not np.isfinite(total).all() or not total.any():
        return None
    return float(1 - drawn.sum() / total.item())


def edge_probability(problem: Problem, posterior: WeightedSamples) -> tuple[float, str | None]:
    """Return how much of the posterior lies in the outer percent of a prior, on either side.

    Parameters
    ----------
    problem : Problem
        Its priors.
    posterior : Posterior
        The result.

    Returns
    -------
    probability : float
        Of the parameter for which it is highest; unbounded priors, and angles that may take any value, have no edge.
    parameter : str or None
        Its label; None if no probability lies there.
    """
    weights = posterior.weights
    found: tuple[float, str | None] = (0.0, None)
    for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True)):
        if not prior.is_flat_over(period) and np.all(np.isfinite(prior.support)):
            u = prior.cdf(posterior.samples[:, k])
            probability = float(weights[(u < _EDGE) | (u > 1 - _EDGE)].sum())
            if probability > found[0]:
                found = (probability, problem.labels[k])
    return found


def describe_image(image: Image, n_pixels: int | None) -> ImageDescription:
    """Return what a record says of the image that was fitted, `n_pixels` of which were used."""
    return ImageDescription(
        frame="sky" if image.frame.on_sky else "pixel",
        bunit=str(image.hdu.header.get("BUNIT", "")),
        n_pixels=n_pixels,
        pixel_scale=image.frame.pixel_scale,
        shape=tuple(image.shape),
        zero_point=image.zero_point,
    )
