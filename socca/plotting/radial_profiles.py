"""Radial profiles of a fit, in the elliptical annuli of its brightest source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ModelError
from socca.plotting.comparison import COLOURS, DATA, MODEL, annuli
from socca.plotting.output import NewFigure
from socca.posterior.pixelwise import cropped, drawing, in_chunks
from socca.utils.statistics import INTERVAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.models import Model
    from socca.posterior.posterior import Posterior

__all__ = ["Profiles", "draw_profile", "radial_profiles"]


@dataclass(frozen=True)
class Profiles:
    """Means over the used pixels of annuli.

    Parameters
    ----------
    radius : ndarray, shape (n,)
        Mean semi-major axis of the pixels, arcsec.
    data, error : ndarray, shape (n,)
        Mean of the data and its standard error, from the noise of the pixels taken as independent.
    model, lower, upper : ndarray, shape (n,)
        At the best sample, and the central 68 per cent of the posterior.
    components : dict of ndarray, shape (n,)
        At the best sample, by label, after the PSF.
    center : str
        Label of the component whose centre and ellipse are those of the annuli.
    theta, q : float
        Its position angle (rad) and axis ratio.
    """

    radius: np.ndarray
    data: np.ndarray
    error: np.ndarray
    model: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    components: dict[str, np.ndarray]
    center: str
    theta: float
    q: float


def radial_profiles(
    problem: Problem, image: Image, model: Model, posterior: Posterior, *, n_draws: int = 200, seed: int = 1
) -> Profiles:
    """Average data, model and components over elliptical annuli.

    Parameters
    ----------
    problem : Problem
        Draws the model.
    image : Image
        The data.
    model : Model
        Its components.
    posterior : Posterior
        The result.
    n_draws : int
        Samples of equal weight for the band.
    seed : int
        Of their draw.

    Returns
    -------
    Profiles
        In annuli that are one pixel wide along the major axis at first, then wider by a seventh each.

    Raises
    ------
    ModelError
        If no component has a position.
    """
    best = posterior.best
    labels = model.component_labels
    parts = [problem.render(best, only=(k,), raw=False).total for k in range(len(labels))]
    flux = [float(part.sum()) if spec.kind.role != "background" else -math.inf
            for part, spec in zip(parts, problem.spec.scene.components, strict=True)]  # fmt: skip
    main = int(np.argmax(flux))
    if flux[main] == -math.inf:
        raise ModelError("profile: no component has a position, around which annuli could lie")
    expected, sigma = problem.predict(best)
    used = np.isfinite(sigma)
    major, theta, q = _semi_major(problem, image, best, main)
    edges = annuli(min(float(major.max()), max(image.shape) / 2))
    bins = np.where(used, np.digitize(major, edges) - 1, -1)
    chosen = [k for k in range(len(edges) - 1) if np.any(bins == k)]
    # Rows: the mean over one annulus each.
    mean = np.stack([(bins == k).ravel() / np.sum(bins == k) for k in chosen])
    rows = posterior.equal_weights(n_draws, np.random.default_rng([int(seed), 6]))
    levels = [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2]
    lower, upper = np.quantile(_means(problem, rows, mean), levels, axis=0)
    return Profiles(
        radius=mean @ major.ravel() * image.frame.pixel_scale * 3600,
        data=mean @ np.where(used, image.data, 0.0).ravel(),
        error=np.sqrt((mean**2) @ np.where(used, sigma, 0.0).ravel() ** 2),
        model=mean @ expected.ravel(),
        lower=lower,
        upper=upper,
        components={label: mean @ part.ravel() for label, part in zip(labels, parts, strict=True)},
        center=labels[main],
        theta=theta,
        q=q,
    )


def _semi_major(problem: Problem, image: Image, best: np.ndarray, number: int) -> tuple[np.ndarray, float, float]:
    """Return the semi-major axis (pixels) of the component's ellipse through each pixel, its angle and axis ratio."""
    spec = problem.spec.scene.components[number]
    every = problem.values(best)
    values = {name: float(every[f"comp_{number:02d}_{name}"][0]) for name, _ in spec.fields}
    theta, q = spec.kind.isophote_shape(values, spec) if spec.kind.role == "extended" else (0.0, 1.0)
    x0, y0 = image.frame.to_plane(*spec.kind.center(values))
    x, y = image.frame.plane(*np.indices(image.shape))
    dx, dy = (x - x0) / image.frame.pixel_scale, (y - y0) / image.frame.pixel_scale
    theta, q = float(theta), max(float(q), 1e-3)
    along = dx * math.sin(theta) + dy * math.cos(theta)
    across = dx * math.cos(theta) - dy * math.sin(theta)
    return np.hypot(along, across / q), theta, q


def _means(problem: Problem, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the annuli's means of the model of each row, shape (rows, annuli)."""
    arrays, program = drawing(problem, "expected")
    chunks = in_chunks(program, arrays, rows, math.prod(problem.spec.scene.grid.image))
    return np.concatenate([cropped(problem, planes).reshape(len(planes), -1) @ mean.T for planes in chunks])


def draw_profile(
    problem: Problem,
    image: Image,
    model: Model,
    posterior: Posterior,
    new_figure: NewFigure,
    *,
    n_draws: int = 200,
    seed: int = 1,
) -> Figure:
    """Draw the radial profiles of a fit, and below them the residuals in units of their errors.

    Parameters
    ----------
    problem, image, model, posterior, n_draws, seed
        See `radial_profiles`.
    new_figure : callable
        Makes a figure of a size, width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ModelError
        If no component has a position.
    """
    found = radial_profiles(problem, image, model, posterior, n_draws=n_draws, seed=seed)
    figure = new_figure((6.4, 5.6))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_profiles(top, found, str(image.hdu.header.get("BUNIT", "")))
    bottom.axhline(0, color=MODEL, linewidth=1.5)
    spread = (found.lower - found.model) / found.error, (found.upper - found.model) / found.error
    bottom.fill_between(found.radius, *spread, color=MODEL, alpha=0.3, linewidth=0)
    pulls = (found.data - found.model) / found.error
    bottom.errorbar(found.radius, pulls, yerr=1.0, **_points())
    limit = max(3.5, 1.15 * (float(np.abs(pulls).max()) + 1))
    bottom.set_ylim(-limit, limit)
    bottom.set_ylabel("residual / σ", fontsize=11)
    shape = "radius" if found.q > 1 - 1e-9 else f"semi-major axis of {found.center}"
    bottom.set_xlabel(f"{shape} [arcsec]", fontsize=11, parse_math=False)
    for axes in (top, bottom):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.tick_params(labelsize=9.5, direction="in", which="both")
    figure.align_ylabels([top, bottom])
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.1, top=0.97, hspace=0.06)
    return figure


def _points() -> dict[str, Any]:
    return {"fmt": "o", "color": DATA, "ecolor": "0.45", "markersize": 3.5, "elinewidth": 1, "capsize": 0, "zorder": 4}


def _draw_profiles(axes: Axes, found: Profiles, unit: str) -> None:
    x = found.radius
    axes.errorbar(x, found.data, yerr=found.error, label="data", **_points())
    axes.plot(x, found.model, color=MODEL, linewidth=1.8, label="model", zorder=3)
    axes.fill_between(x, found.lower, found.upper, color=MODEL, alpha=0.3, linewidth=0, label="model, 68 %", zorder=2)
    for k, (label, values) in enumerate(found.components.items()):
        axes.plot(x, values, color=COLOURS[k % len(COLOURS)], linestyle="--", linewidth=1.3, label=label, zorder=2)
    highest = float(max(found.data.max(), found.upper.max()))
    if highest > 0:
        # Down to the error of the outer annuli at most: below it, a logarithm shows noise alone.
        drawn = np.concatenate([found.data, found.model, *found.components.values()])
        lowest = max(float(np.min(drawn[drawn > 0])), float(np.median(found.error[-5:])), 1e-6 * highest)
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(0.5 * lowest, 2 * highest)
    axes.set_xlim(-0.02 * float(x.max()), 1.03 * float(x.max()))
    axes.set_ylabel(f"mean brightness [{unit or 'image unit'}]", fontsize=11, parse_math=False)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda k: names[k] != "data")
    legend = axes.legend([handles[k] for k in order], [names[k] for k in order], fontsize=9.5, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
