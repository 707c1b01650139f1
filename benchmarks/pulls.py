"""Pulls of galaxies drawn by galsim: whether fits are right, and their errors too.

Each galaxy is a Sersic profile (index 0.6 to 5, half-light radius 2 to 8 pixels) on an image of 64 x 64 pixels, through
a Moffat PSF of 3.5 pixels full width at half maximum, with noise of 1 and a signal-to-noise ratio of 15 to 300, all
drawn by galsim, PSF and pixel included. Its parameters are drawn from the priors of the fit (and again where the
signal-to-noise ratio is out of that range). Then, if all is right, for each parameter

- the pull, mean of the posterior less truth over the posterior's standard deviation, has a mean of 0 and a standard
  deviation of 1, though it need not be normal;
- the normal score of the truth's quantile in the posterior is a standard normal variable;
- intervals of 68 % hold the truth in 68 % of fits.

Run it, in parts if need be: what `results.jsonl` holds already is not done again.

    python -m benchmarks.pulls results.jsonl [--number 200] [--start 0] [--psf star] [--method nautilus]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from socca.utils.xla import SINGLE_THREAD

os.environ.update(SINGLE_THREAD)  # before JAX and BLAS load

import galsim
import numpy as np
from scipy.special import gammaincinv, ndtri

from benchmarks.galaxies import sersic, sersic_flux, star
from socca.data import Image
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.likelihood.quantities import component_quantities
from socca.models import Model, Sersic
from socca.noise import Normal
from socca.priors import loguniform, uniform
from socca.utils.statistics import INTERVAL, unwrapped, weighted_quantiles

PIXEL, SIZE, SIGMA = 0.2 / 3600, 64, 1.0
#: Range of the signal-to-noise ratio, that of a matched filter.
RATIO = (15.0, 300.0)
PSF = galsim.Moffat(beta=3.5, fwhm=3.5)
#: Side of the PSF's array: 1e-4 of its flux lies outside.
STAMP = 47
#: How the fit is given the PSF: arguments of `galaxies.star`, and of `Image.addpsf`.
PSFS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "star": ({}, {}),
    "optics": ({"pixel": False}, {"includes_pixel": False}),
    "fine": ({"oversample": 5}, {"oversample": 5}),
}
LENGTHS = ("xc", "yc", "re")


def problem_of(data: np.ndarray, psf: str = "star") -> Problem:
    """Return the problem of an image; all have the same priors, and one program."""
    drawn, given = PSFS[psf]
    image = Image(data, pixel_scale=3600 * PIXEL, noise=Normal(sigma=SIGMA))
    image.addpsf(star(PSF, STAMP, **drawn), **given)
    galaxy = Sersic(
        xc=uniform(-2 * PIXEL, 2 * PIXEL),
        yc=uniform(-2 * PIXEL, 2 * PIXEL),
        theta=uniform(0, np.pi),
        e=uniform(0, 0.8),
        re=loguniform(2 * PIXEL, 8 * PIXEL),
        Ie=loguniform(0.2, 60),
        ns=uniform(0.6, 5),
    )
    return Problem(image, Model(galaxy))


def in_pixels(names: list[str], theta: np.ndarray) -> dict[str, Any]:
    """Return values by the names of the galaxy's parameters, lengths in pixels; `theta` has parameters last."""
    short = [name.removeprefix("comp_00_") for name in names]
    return {
        name: values / PIXEL if name in LENGTHS else values
        for name, values in zip(short, np.moveaxis(theta, -1, 0), strict=True)
    }


def draw(problem: Problem, rng: np.random.Generator) -> tuple[dict[str, float], np.ndarray, float]:
    """Draw a galaxy from the priors: its parameters, its image without noise, and its signal-to-noise ratio."""
    while True:
        values = in_pixels(problem.names, problem.prior_transform(rng.random((1, problem.ndim)))[0])
        values = {name: float(value) for name, value in values.items()}
        light = sersic(values, PSF, SIZE)
        ratio = math.sqrt(np.sum(light**2)) / SIGMA
        if RATIO[0] <= ratio <= RATIO[1]:
            return values, light, ratio


def compared(samples: np.ndarray, weights: np.ndarray, truth: float, period: float | None) -> dict[str, Any]:
    """Compare the posterior of a parameter with its truth.

    Parameters
    ----------
    samples, weights : ndarray, shape (n,)
        Draws from the posterior, and weights of sum 1.
    truth : float
        The true value.
    period : float, optional
        Of the parameter.

    Returns
    -------
    dict
        ``truth``, ``mean``, ``std``; ``pull``, mean less truth over std; ``median_pull``, median less truth over half
        the width of the 68 % interval; ``score``, the normal score of the share of the posterior above the truth, so
        that its sign is that of the pulls; ``inside``, whether the 68 % interval holds the truth.
    """
    if period is not None:
        samples = unwrapped(samples, weights, period)
    mean = float(np.sum(weights * samples))
    if period is not None:
        truth += period * round((mean - truth) / period)
    std = math.sqrt(np.sum(weights * (samples - mean) ** 2))
    low, median, high = weighted_quantiles(samples, weights, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
    # A truth beyond all draws is as far out as one in twice their number.
    edge = 0.5 * float(np.sum(weights**2))
    above = float(np.clip(np.sum(weights[samples > truth]), edge, 1 - edge))
    return {
        "truth": truth,
        "mean": mean,
        "std": std,
        "pull": (mean - truth) / std,
        "median_pull": (median - truth) / ((high - low) / 2),
        "score": float(ndtri(above)),
        "inside": bool(low <= truth <= high),
    }


def pulls(
    number: int,
    method: str = "nautilus",
    psf: str = "star",
    start: int = 0,
    skip: set[int] | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Fit one galaxy after the other.

    Parameters
    ----------
    number : int
        End of the galaxies, which are the same each time.
    method : str
        Sampler.
    psf : {'star', 'optics', 'fine'}
        How the fit is given the PSF; the images do not depend on it.
    start : int
        First of the galaxies.
    skip : set of int, optional
        Those that are left out.
    **options : object
        Of the sampler.

    Yields
    ------
    dict
        The number of the galaxy, its signal-to-noise ratio, what the fit took, whether it converged, and for each
        parameter, and the flux and the radius of 90 % of it, what `compared` returns.
    """
    empty = problem_of(np.zeros((SIZE, SIZE)), psf)
    for index in range(start, number):
        if skip and index in skip:
            continue
        rng = np.random.default_rng([1935, index])
        truth, light, ratio = draw(empty, rng)
        problem = problem_of(light + rng.normal(scale=SIGMA, size=light.shape), psf)
        began = time.perf_counter()
        posterior, _ = sample(problem, method, seed=index + 1, **options)
        weights = posterior.weights / posterior.weights.sum()
        values = in_pixels(problem.names, posterior.samples)
        # The flux that galsim drew, and the radius of 90 % of it in closed form; ours are the derived quantities.
        truth["flux"] = truth["Ie"] * sersic_flux(truth["re"], truth["e"], truth["ns"])
        shares = gammaincinv(2 * truth["ns"], 0.9) / gammaincinv(2 * truth["ns"], 0.5)
        truth["r90"] = truth["re"] * shares ** truth["ns"]
        (derived,) = component_quantities(problem, posterior.samples, PIXEL**2)
        values |= {"flux": derived["flux"], "r90": derived["r90"] / PIXEL}
        yield {
            "index": index,
            "psf": psf,
            "ratio": ratio,
            "parameters": {
                name: compared(values[name], weights, float(truth[name]), math.pi if name == "theta" else None)
                for name in values
            },
            "seconds": time.perf_counter() - began,
            "calls": posterior.record.sampler.n_calls,
            "converged": posterior.record.sampler.converged,
        }


def table(found: list[dict[str, Any]]) -> str:
    """Return a table of the pulls, each number with the standard error that independent, right fits would have."""
    lines = [
        "| | mean pull | std of pulls | mean score | std of scores | median pull | within 68 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    n = len(found)
    mean, spread, share = 1 / math.sqrt(n), 1 / math.sqrt(2 * max(n - 1, 1)), math.sqrt(INTERVAL * (1 - INTERVAL) / n)
    for name in found[0]["parameters"]:
        columns = {
            key: np.array([one["parameters"][name][key] for one in found], float)
            for key in ("pull", "score", "median_pull", "inside")
        }
        cells = [name]
        for key in ("pull", "score"):
            std = columns[key].std(ddof=1) if n > 1 else math.nan
            cells += [f"{columns[key].mean():+.3f} ± {mean:.3f}", f"{std:.3f} ± {spread:.3f}"]
        cells += [f"{columns['median_pull'].mean():+.3f}", f"{columns['inside'].mean():.1%} ± {share:.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Fit what is left to fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--psf", choices=list(PSFS), default="star")
    parser.add_argument("--method", default="nautilus")
    parser.add_argument("--options", type=json.loads, default={}, help="of the sampler, as JSON")
    given = parser.parse_args()
    done = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    if any(one["psf"] != given.psf for one in done):
        parser.error(f"{given.results} holds fits with another PSF than {given.psf!r}")
    skip = {one["index"] for one in done}
    with given.results.open("a") as file:
        for one in pulls(given.number, given.method, given.psf, given.start, skip, **given.options):
            done.append(one)
            print(json.dumps(one), file=file, flush=True)
            print(f"{one['index']}: {one['seconds']:.1f} s, {one['calls']} calls, S/N {one['ratio']:.0f}", flush=True)
    if done:
        print(table(done))
        seconds = np.array([one["seconds"] for one in done])
        print(f"{len(done)} fits of {seconds.mean():.1f} s; converged: {sum(one['converged'] for one in done)}")


if __name__ == "__main__":
    main()
