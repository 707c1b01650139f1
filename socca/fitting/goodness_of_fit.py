"""Goodness of fit, and the description of the fitted image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from socca.posterior.record import FitQuality, ImageDescription

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.posterior.protocols import WeightedSamples

#: Outer part of a prior's probability, on each side, that counts as its edge.
_EDGE = 0.01


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
        such a pixel. `edge_probability`: see there.
    """
    best = posterior.best
    drawn = problem.render(best, raw=problem.spec.noise.kind.needs_sky)
    expected, sigma = problem.predict(best)
    used = np.isfinite(sigma)
    residual = np.where(used, (image.data - expected) / sigma, 0.0)
    source = used & (drawn.smoothed > sigma)
    n_used, n_source = int(used.sum()), int(source.sum())
    return FitQuality(
        chi2_red=float((residual**2).sum() / max(n_used - problem.ndim, 1)),
        chi2_source=float((residual[source] ** 2).mean()) if n_source else None,
        n_source=n_source,
        n_used=n_used,
        max_log_likelihood=float(posterior.log_likelihood.max()),
        edge_probability=edge_probability(problem, posterior),
    )


def edge_probability(problem: Problem, posterior: WeightedSamples) -> float:
    """Return how much of the posterior lies in the outer percent of a prior, on either side.

    Parameters
    ----------
    problem : Problem
        Its priors.
    posterior : Posterior
        The result.

    Returns
    -------
    float
        The probability of the parameter for which it is highest; unbounded priors, and angles that may take any
        value, have no edge.
    """
    weights = posterior.weights
    found = 0.0
    for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True)):
        if not prior.is_flat_over(period) and np.all(np.isfinite(prior.support)):
            u = prior.cdf(posterior.samples[:, k])
            found = max(found, float(weights[(u < _EDGE) | (u > 1 - _EDGE)].sum()))
    return found


def describe_image(image: Image, n_pixels: int | None) -> ImageDescription:
    """Return what a record says of the image that was fitted, `n_pixels` of which were used."""
    return ImageDescription(
        frame="sky" if image.frame.on_sky else "pixel",
        bunit=str(image.hdu.header.get("BUNIT", "")),
        n_pixels=n_pixels,
        pixel_scale=image.frame.pixel_scale,
        shape=tuple(image.shape),
    )
