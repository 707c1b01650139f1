"""What a fit leaves behind besides its posterior: goodness of fit, and model images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.plotting.image_record import ModelImages, single
from socca.posterior.pixelwise import median_and_std
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.models import Model
    from socca.posterior.posterior import Posterior

#: Outer part of a prior's probability, on each side, that counts as its edge.
_EDGE = 0.01


def goodness_of_fit(problem: Problem, image: Image, posterior: Posterior) -> dict[str, Any]:
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
    dict
        ``chi2_red``: chi-square over the used pixels, per degree of freedom; the noise is the fitted one, correlations
        between pixels are left out. ``chi2_source``: mean squared residual, in units of the noise, of the ``n_source``
        pixels where the model's light is above the noise; the sky's pixels, always many, do not dilute it; None without
        such a pixel. ``edge_probability``: see there.
    """
    drawn = problem.render(posterior.best)
    expected, sigma = problem.predict(posterior.best)
    used = np.isfinite(sigma)
    residual = np.where(used, (image.data - expected) / sigma, 0.0)
    source = used & (drawn.smoothed > sigma)
    n_used, n_source = int(used.sum()), int(source.sum())
    return {
        "chi2_red": float((residual**2).sum() / max(n_used - problem.ndim, 1)),
        "chi2_source": float((residual[source] ** 2).mean()) if n_source else None,
        "n_source": n_source,
        "n_used": n_used,
        "max_log_likelihood": float(posterior.log_likelihood.max()),
        "edge_probability": edge_probability(problem, posterior),
    }


def edge_probability(problem: Problem, posterior: Posterior) -> float:
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


def describe_image(image: Image, n_pixels: int) -> dict[str, Any]:
    """Return what a posterior's ``meta`` says about the image that was fitted."""
    return {
        "frame": "sky" if image.frame.on_sky else "pixel",
        "bunit": str(image.hdu.header.get("BUNIT", "")),
        "n_pixels": n_pixels,
        "pixel_scale": image.frame.pixel_scale,
        "shape": list(image.shape),
    }


def draw_model_images(
    problem: Problem,
    image: Image,
    model: Model,
    theta: np.ndarray,
    header: dict[str, Any],
    rows: np.ndarray | None = None,
) -> ModelImages:
    """Draw model and components, and compare them with the data.

    Parameters
    ----------
    problem : Problem
        Draws the model.
    image : Image
        Data, mask and WCS.
    model : Model
        Names of the components.
    theta : ndarray, shape (ndim,)
        The free parameters.
    header : dict
        What is said of the fit; None and what is not finite is left out.
    rows : ndarray, shape (n, ndim), optional
        Samples: model and components are then their medians, pixel by pixel, and a further image the deviation of the
        model. The noise is that at `theta`.

    Returns
    -------
    ModelImages
        In the unit of the image.
    """
    from astropy.io import fits

    total, sigma = problem.predict(theta)
    deviation = None
    if rows is not None:
        (total,), (spread,) = median_and_std(problem, rows, ("expected",))
        deviation = single(spread)
    plane_header = image.wcs.to_header(relax=True) if image.wcs is not None else fits.Header()
    unit = image.hdu.header.get("BUNIT")
    if unit:
        plane_header["BUNIT"] = unit
    components = []
    for k, label in enumerate(model.component_labels):
        if rows is None:
            plane = problem.render(theta, only=(k,), raw=False).total
        else:
            plane = median_and_std(problem, rows, ("total",), only=(k,))[0][0]
        components.append((label, single(plane)))
    return ModelImages(
        {key: value for key, value in header.items() if _can_be_said(value)},
        plane_header,
        single(image.hdu.data),
        single(total),
        single(image.hdu.data - total),
        single(sigma),
        image.mask.astype(np.uint8),
        components,
        deviation,
    )


def _can_be_said(value: Any) -> bool:
    return isinstance(value, str) or (value is not None and math.isfinite(value))


def write_model_images(
    path: str | Path,
    problem: Problem,
    image: Image,
    model: Model,
    theta: np.ndarray,
    header: dict[str, Any],
    rows: np.ndarray | None = None,
) -> None:
    """Draw model images and write them to a FITS file; arguments as those of `draw_model_images`."""
    draw_model_images(problem, image, model, theta, header, rows).write(path)


def image_header(posterior: Posterior) -> dict[str, Any]:
    """Return what the primary header of a fit's model images says of it."""
    meta = posterior.meta
    return {
        "STATUS": "done",
        "TARGET": meta["target"],
        "MODELNAM": meta["model"],
        "FINISHED": meta["finished"],
        "LOGZ": posterior.logz,
        "PIXSCALE": meta["image"]["pixel_scale"] * 3600,
        "CHI2RED": meta["fit"]["chi2_red"],
        "CHI2SRC": meta["fit"]["chi2_source"],
    }


def write_failed_images(path: str | Path, header: dict[str, Any]) -> None:
    """Write, where the model images would be, a FITS file that says why there are none."""
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for key, value in header.items():
        # FITS headers hold printable ASCII only.
        primary.header[key] = (
            value.encode("ascii", "replace").decode().replace("\n", " ") if isinstance(value, str) else value
        )
    with atomic_path(path) as temporary:
        primary.writeto(temporary, overwrite=True)
