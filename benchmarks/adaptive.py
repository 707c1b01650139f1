"""Cost and accuracy of the adaptive method, beside nautilus and pyimfit's bootstrap, galaxy by galaxy in one run.

The galaxies are those of `benchmarks.pulls`: 64 x 64 pixels, a Sersic profile with 7 free parameters, drawn by galsim.
For each of them the table has

- the time of a fit by `adaptive`, from the image to the posterior with its evidence, its likelihoods, and that time in
  units of 2 N_eff likelihoods in batches, timed in the same minute;
- the time of a fit by `nautilus` with its defaults, with `--unfocused` on the cube of the prior, and how far the two
  differ: ln Z in combined errors, and the largest differences of medians, and of standard deviations, in the latter;
- the time of pyimfit's least-squares fit and 200 bootstraps, which has no evidence (`pip install pyimfit`).

All programs are compiled before. Run it:

    python -m benchmarks.adaptive results.jsonl [--start 0] [--number 20] [--peers nautilus,pyimfit] [--unfocused]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socca.utils.xla import SINGLE_THREAD

os.environ.update(SINGLE_THREAD)  # before JAX and BLAS load

import numpy as np

from benchmarks.galaxies import star
from benchmarks.pulls import PSF, SIGMA, SIZE, STAMP, draw, in_pixels, problem_of
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.posterior.posterior import Posterior
from socca.utils.statistics import unwrapped, weighted_quantiles

#: Rows of the batches that are timed, and rounds, of which the fastest counts.
ROWS, ROUNDS = 256, 5
BOOTSTRAPS = 200


def galaxy(empty: Problem, index: int) -> tuple[dict[str, float], np.ndarray, float]:
    """Return truth, image with noise, and signal-to-noise ratio of a galaxy of `benchmarks.pulls`."""
    rng = np.random.default_rng([1935, index])
    truth, light, ratio = draw(empty, rng)
    return truth, light + rng.normal(scale=SIGMA, size=light.shape), ratio


def likelihood_seconds(problem: Problem) -> float:
    """Return the time of one likelihood in a batch."""
    theta = problem.prior_transform(np.random.default_rng(1).random((ROWS, problem.ndim)))
    fastest = math.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        problem.log_likelihood(theta)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest / ROWS


def fitted(data: np.ndarray, method: str, seed: int, **options: Any) -> tuple[float, Posterior]:
    """Fit an image; return the seconds that all of it took, and the posterior."""
    start = time.perf_counter()
    posterior, _ = sample(problem_of(data), method, seed=seed, **options)
    return time.perf_counter() - start, posterior


def differences(one: Posterior, other: Posterior) -> dict[str, float]:
    """Return how far two posteriors of one problem differ; see the head of this file."""
    medians, deviations = [], []
    for k, period in enumerate(one.periods):
        found = []
        for posterior in (one, other):
            weights = posterior.weights / posterior.weights.sum()
            samples = posterior.samples[:, k]
            if period is not None:
                samples = unwrapped(samples, weights, period)
            mean = float(weights @ samples)
            deviation = math.sqrt(float(weights @ (samples - mean) ** 2))
            found.append((float(weighted_quantiles(samples, weights, [0.5])[0]), deviation))
        (median, deviation), (expected, scale) = found
        off = median - expected
        off -= period * round(off / period) if period is not None else 0.0
        medians.append(abs(off) / scale)
        deviations.append(abs(deviation / scale - 1))
    return {
        "logz": (one.logz - other.logz) / math.hypot(one.logz_err, other.logz_err),
        "median": max(medians),
        "deviation": max(deviations),
    }


def imfit_seconds(data: np.ndarray, truth: dict[str, float], problem: Problem) -> float:
    """Return the time of pyimfit's fit, from the truth, and its bootstraps, within the same bounds."""
    import pyimfit

    values = in_pixels(problem.names, np.array([prior.support for prior in problem.priors]).T)
    description = pyimfit.SimpleModelDescription()
    middle = (SIZE + 1) / 2
    description.x0.setValue(middle - truth["xc"], [middle - 2, middle + 2])
    description.y0.setValue(middle + truth["yc"], [middle - 2, middle + 2])
    function = pyimfit.make_imfit_function("Sersic")
    angle = math.degrees(truth["theta"]) % 180
    function.PA.setValue(angle, [angle - 90, angle + 90])
    for ours, theirs in (("e", "ell"), ("ns", "n"), ("Ie", "I_e"), ("re", "r_e")):
        getattr(function, theirs).setValue(truth[ours], [float(end) for end in values[ours]])
    description.addFunction(function)
    start = time.perf_counter()
    fitter = pyimfit.Imfit(description, psf=star(PSF, STAMP), maxThreads=1)
    fitter.loadData(data, error=np.full(data.shape, SIGMA), error_type="sigma")
    fitter.doFit()
    fitter.runBootstrap(BOOTSTRAPS, seed=1)
    return time.perf_counter() - start


def compared(empty: Problem, index: int, peers: Sequence[str], unfocused: bool) -> dict[str, Any]:
    """Fit a galaxy with the adaptive method and its peers."""
    truth, data, ratio = galaxy(empty, index)
    one = likelihood_seconds(problem_of(data))
    seconds, posterior = fitted(data, "adaptive", index + 1)
    record = posterior.record.sampler
    found: dict[str, Any] = {
        "index": index,
        "ratio": ratio,
        "likelihood": one,
        "adaptive": seconds,
        "calls": record.n_calls,
        "n_eff": record.n_eff,
        "tier": record.notes.tier,
        "in_budgets": seconds / (2 * record.n_eff * one),
        "logz_err": posterior.logz_err,
    }
    if "nautilus" in peers:
        options = {"focus": False, "n_live": 1000} if unfocused else {}
        found["nautilus"], other = fitted(data, "nautilus", index + 1, **options)
        found |= {"nautilus_calls": other.record.sampler.n_calls, "nautilus_logz_err": other.logz_err}
        found["differences"] = differences(posterior, other)
    if "pyimfit" in peers:
        found["pyimfit"] = imfit_seconds(data, truth, empty)
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return a table of all galaxies, and of their medians."""
    lines = [
        "| galaxy | S/N | tier | calls | adaptive, s | in 2 N_eff likelihoods | nautilus, s | ratio | pyimfit, s | "
        "ln Z, errors | medians | deviations |",
        "|" + " --- |" * 12,
    ]
    keys = ("calls", "adaptive", "in_budgets", "nautilus", "pyimfit")
    for one in found:
        off = one.get("differences", {})
        cells = [
            *(str(one["index"]), f"{one['ratio']:.0f}", one["tier"], str(one["calls"]), f"{one['adaptive']:.2f}"),
            *(f"{one['in_budgets']:.2f}", f"{one['nautilus']:.1f}" if "nautilus" in one else ""),
            *(f"{one['nautilus'] / one['adaptive']:.1f}" if "nautilus" in one else "",),
            *(f"{one['pyimfit']:.1f}" if "pyimfit" in one else "",),
            *(f"{off[key]:+.2f}" if off else "" for key in ("logz", "median", "deviation")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"median {key}: {np.median([one[key] for one in found if key in one]):.3g}" for key in keys]
    passes = np.mean([one["tier"] == "importance" for one in found])
    lines.append(f"{len(found)} galaxies, {passes:.0%} passes, one likelihood {1e3 * found[0]['likelihood']:.3f} ms")
    return "\n".join(lines)


def main() -> None:
    """Fit what is left to fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--peers", default="nautilus,pyimfit")
    parser.add_argument("--unfocused", action="store_true")
    given = parser.parse_args()
    peers = given.peers.split(",")
    done = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    skip = {one["index"] for one in done}
    empty = problem_of(np.zeros((SIZE, SIZE)))
    if skip != set(range(given.start, given.number)):
        compared(empty, given.number, peers, given.unfocused)  # which compiles
    with given.results.open("a") as file:
        for index in range(given.start, given.number):
            if index in skip:
                continue
            done.append(compared(empty, index, peers, given.unfocused))
            print(json.dumps(done[-1]), file=file, flush=True)
    print(table(done))


if __name__ == "__main__":
    main()
