"""Simulation-based calibration of the whole chain: prior, image, fit, rank (Talts et al. 2018, arXiv:1804.06788).

Each problem is a galaxy whose parameters are drawn from the priors, put on an image of 24 x 24 pixels with a PSF, a sky
and noise, and fitted with the same priors. galsim draws it, PSF and pixel included, so that the forward model is tested
too; the fit is given the PSF as a star shows it. If all is right, the rank of the true value among independent draws
from the posterior is uniform, for each parameter, and for the likelihood (Modrak et al. 2023, Bayesian Anal. 20, 461).
Run it, in parts if need be: what `results.jsonl` holds already is not done again.

    python -m benchmarks.calibration results.jsonl [--number 200] [--method nautilus] [--figure calibration.png]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from socca.utils.xla import SINGLE_THREAD

os.environ.update(SINGLE_THREAD)  # before JAX and BLAS load

import galsim
import numpy as np

from benchmarks.galaxies import sersic, star
from socca.data import Image
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model, Sersic
from socca.noise import Normal
from socca.priors import loguniform, normal, uniform

PIXEL, SIZE, SIGMA = 0.2 / 3600, 24, 1.0
#: The optics, and the side of the array that the fit is given: 1e-8 of the flux lies outside.
PSF, STAMP = galsim.Gaussian(sigma=1.3), 15
#: Draws from each posterior: ranks are 0 to this number.
DRAWS = 99
#: What is ranked besides the parameters.
LIKELIHOOD = "log_likelihood"


def problem_of(data: np.ndarray) -> Problem:
    """Return the problem of an image; all have the same priors, and one program."""
    image = Image(data, pixel_scale=3600 * PIXEL, noise=Normal(sigma=SIGMA))
    image.addpsf(star(PSF, STAMP))
    galaxy = Sersic(
        xc=0.0,
        yc=0.0,
        theta=uniform(0, np.pi),
        e=uniform(0.1, 0.8),
        re=loguniform(1.5 * PIXEL, 5 * PIXEL),
        Ie=loguniform(5, 200),
        ns=1.5,
    )
    model = Model(galaxy)
    model.addcomponent(Background(a0=normal(0, 1)))
    return Problem(image, model)


def light_of(names: list[str], truth: np.ndarray) -> np.ndarray:
    """Return the image of a galaxy and its sky, without noise, from the values of the free parameters."""
    values = dict(zip(names, truth, strict=True))
    galaxy = {name.removeprefix("comp_00_"): float(value) for name, value in values.items()}
    galaxy |= {"xc": 0.0, "yc": 0.0, "ns": 1.5, "re": galaxy["re"] / PIXEL}
    return sersic(galaxy, PSF, SIZE) + values["comp_01_a0"]


def ranks(number: int, method: str = "nautilus", start: int = 0, **options: Any) -> Iterator[dict[str, Any]]:
    """Give the ranks of one problem after the other.

    Parameters
    ----------
    number : int
        Of problems, which are the same each time.
    method : str
        Sampler.
    start : int
        First of the problems.
    **options : object
        Of the sampler.

    Yields
    ------
    dict
        The number of the problem, its ranks by name, what the fit took, and whether it converged.
    """
    empty = problem_of(np.zeros((SIZE, SIZE)))
    for index in range(start, number):
        rng = np.random.default_rng([2024, index])
        truth = empty.prior_transform(rng.random((1, empty.ndim)))
        data = light_of(empty.names, truth[0]) + rng.normal(scale=SIGMA, size=(SIZE, SIZE))
        problem = problem_of(data)
        began = time.perf_counter()
        posterior, draws = sample(problem, method, seed=index + 1, **options)
        chosen = rng.choice(len(posterior.samples), DRAWS, p=posterior.weights)
        below = np.sum(posterior.samples[chosen] < truth, axis=0)
        likelihood = float(problem.log_likelihood(truth)[0])
        yield {
            "index": index,
            "ranks": {
                **dict(zip(posterior.names, map(int, below), strict=True)),
                LIKELIHOOD: int(np.sum(posterior.log_likelihood[chosen] < likelihood)),
            },
            "seconds": time.perf_counter() - began,
            "calls": posterior.record.sampler.n_calls,
            "focused": draws.notes.get("focused"),
            "converged": posterior.record.sampler.converged,
        }


class Uniformity:
    """A test of whether ranks are uniform, over the whole of their distribution function at once.

    The function may leave, at any rank, a band that encloses all of it with a given probability (Sailynoja, Burkner &
    Vehtari 2022, Stat. Comput. 32, 32), found by simulation.

    Parameters
    ----------
    number : int
        Of ranks.
    """

    def __init__(self, number: int) -> None:
        from scipy.stats import binom

        self.number = number
        counts = np.arange(number + 1)[:, None]
        self.expected = np.arange(1, DRAWS + 1) / (DRAWS + 1)
        below = binom.cdf(counts, number, self.expected)
        above = binom.sf(counts - 1, number, self.expected)
        #: Two-sided probability of each count at each rank.
        self._tails = np.minimum(1, 2 * np.minimum(below, above))
        simulated = np.random.default_rng(1).integers(0, DRAWS + 1, (5000, number))
        self._lowest = np.sort([self._statistic(set_of) for set_of in simulated])

    def function(self, found: np.ndarray) -> np.ndarray:
        """Return how many ranks lie below 1, 2, ... `DRAWS`."""
        return np.searchsorted(np.sort(found), np.arange(1, DRAWS + 1), side="left")

    def _statistic(self, found: np.ndarray) -> float:
        return float(self._tails[self.function(found), np.arange(DRAWS)].min())

    def p_value(self, found: np.ndarray) -> float:
        """Return the probability of ranks at least as uneven."""
        return float((1 + np.searchsorted(self._lowest, self._statistic(found), side="right")) / 5001)

    def band(self, probability: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest counts that stay inside."""
        inside = self._tails > np.quantile(self._lowest, 1 - probability)
        return inside.argmax(axis=0), self.number - inside[::-1].argmax(axis=0)


def columns(found: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return the ranks by name."""
    return {name: np.array([one["ranks"][name] for one in found]) for name in found[0]["ranks"]}


def figure(found: dict[str, np.ndarray], test: Uniformity, path: Path) -> None:
    """Draw how far each distribution function is from that of uniform ranks."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "socca"
    from matplotlib import pyplot

    low, high = test.band(0.95)
    fig, axes = pyplot.subplots(2, -(-len(found) // 2), figsize=(9, 4.2), sharex=True, sharey=True)
    for ax, name in zip(axes.flat, found, strict=False):
        ax.fill_between(
            test.expected,
            low / test.number - test.expected,
            high / test.number - test.expected,
            color="0.85",
            linewidth=0,
        )
        ax.step(test.expected, test.function(found[name]) / test.number - test.expected, where="mid", color="C0")
        ax.set_title(name.removeprefix("comp_00_").replace("comp_01_a0", "sky"), fontsize=10)
    for ax in axes.flat[len(found) :]:
        ax.axis("off")
    fig.supxlabel("rank of the truth / number of draws", fontsize=10)
    fig.supylabel("ECDF - uniform", fontsize=10)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Fit what is left to fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--method", default="nautilus")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    done = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    with given.results.open("a") as file:
        for one in ranks(given.number, given.method, start=len(done)):
            done.append(one)
            print(json.dumps(one), file=file, flush=True)
            print(f"{len(done)} of {given.number}, {one['seconds']:.1f} s, {one['calls']} calls", flush=True)
    found, test = columns(done), Uniformity(len(done))
    print("| | mean rank | p |\n| --- | --- | --- |")
    for name, values in found.items():
        print(f"| {name} | {values.mean():.1f} | {test.p_value(values):.3f} |")
    seconds, calls = (np.array([one[key] for one in done]) for key in ("seconds", "calls"))
    print(f"{seconds.mean():.1f} s and {calls.mean():.0f} calls per fit on average; focused:", end=" ")
    print(sum(bool(one["focused"]) for one in done), "; converged:", sum(one["converged"] for one in done))
    if given.figure:
        figure(found, test, given.figure)


if __name__ == "__main__":
    main()
