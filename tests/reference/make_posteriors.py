"""Make ``posteriors.json``: evidence and moments of the posteriors of ``tests/posteriors.py``, by adaptive quadrature.

The unit cube of the prior is cut into cells. Those that hold some of the posterior, their neighbours, and those around
maxima are cut into halves along every axis, until evidence and moments do not change any more; the likelihood is taken
at the middle of each cell. Run it from
the folder ``tests``: ``python reference/make_posteriors.py [names]``.
"""

import json
import logging
import sys
import time

import numpy as np
from posteriors import CASES, REFERENCE, functions
from scipy.ndimage import maximum_filter

from socca.compilation import use_persistent_cache
from socca.samplers.search import find_maxima

#: Cells per axis to begin with, by the number of parameters.
FIRST = {1: 2000, 2: 128, 3: 40, 4: 20}
#: Cells that hold less than this of the posterior are left as they are, as far as none beside them holds more.
LITTLE = 1e-6
#: Rounds in which cells around known maxima are cut in any case.
ROUNDS = 3
#: Change of ln Z, and of means in units of their deviation, at which to stop; and likelihoods to spend.
ENOUGH, MOST = 1e-3, 600_000

log = logging.getLogger("posteriors")


def maxima(problem):
    """Return the maxima that many searches find, in the cube, so that no narrow one lies between first cells."""
    found = find_maxima(problem, problem.log_likelihood, np.random.default_rng(1), 4000, 40, 200)
    return [
        np.array([float(prior.cdf(x)) for prior, x in zip(problem.priors, one.theta, strict=True)])
        for one in found.found
    ]


def quadrature(problem):
    """Return evidence and moments, with the change of the last refinement as their error."""
    ndim = problem.ndim
    n = FIRST[ndim]
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n] * ndim, indexing="ij")
    u = np.stack([axis.ravel() for axis in axes], axis=1)
    found = problem.log_likelihood(problem.prior_transform(u))
    reach = maximum_filter(found.reshape((n,) * ndim), 3).ravel()
    peaks = maxima(problem)
    volume = np.full(len(u), float(n) ** -ndim)
    half = np.full(len(u), 0.5 / n)
    spent, rounds, before = len(u), 0, None
    while True:
        theta = problem.prior_transform(u)
        log_mass = found + np.log(volume)
        logz = np.logaddexp.reduce(log_mass)
        weights = np.exp(log_mass - logz)
        values = {name: function(theta) for name, function in functions(problem).items()}
        mean = {name: float(weights @ value) for name, value in values.items()}
        deviation = {name: float(np.sqrt(weights @ (value - mean[name]) ** 2)) for name, value in values.items()}
        now = (float(logz), mean, deviation)
        if before is not None:
            rounds += 1
            moved = {name: abs(mean[name] - before[1][name]) for name in mean}
            change = max(abs(logz - before[0]), *(moved[name] / (deviation[name] or 1) for name in moved))
            if (change < ENOUGH and rounds >= ROUNDS) or spent > MOST:
                return now, abs(float(logz) - before[0]), moved, spent
        before = now
        active = reach + np.log(volume) > logz + np.log(LITTLE)
        if rounds < ROUNDS:
            for peak in peaks:
                active |= np.all(np.abs(u - peak) < 3.1 * half[:, None], axis=1)
        steps = np.stack(np.meshgrid(*[[-0.5, 0.5]] * ndim, indexing="ij"), axis=-1).reshape(-1, ndim)
        children = (u[active][:, None] + half[active][:, None, None] * steps).reshape(-1, ndim)
        new = problem.log_likelihood(problem.prior_transform(children))
        spent += len(children)
        # A cell is cut again if it matters, or one of those that came out of the same cell does.
        siblings = np.repeat(new.reshape(-1, len(steps)).max(axis=1), len(steps))
        times = len(steps)
        u = np.concatenate([u[~active], children])
        found = np.concatenate([found[~active], new])
        reach = np.concatenate([np.full(int((~active).sum()), -np.inf), siblings])
        volume = np.concatenate([volume[~active], np.repeat(volume[active] / times, times)])
        half = np.concatenate([half[~active], np.repeat(half[active] / 2, times)])


def main(names):
    """Compute those that are named, or all."""
    known = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    for name in names or CASES:
        start = time.perf_counter()
        (logz, mean, deviation), logz_err, mean_err, spent = quadrature(CASES[name][1]())
        known[name] = {
            "logz": logz,
            "logz_err": logz_err,
            "mean": mean,
            "deviation": deviation,
            "mean_err": mean_err,
        }
        log.info(
            "%s: ln Z %.4f +- %.1e, %d likelihoods, %.0f s", name, logz, logz_err, spent, time.perf_counter() - start
        )
        kept = {key: known[key] for key in CASES if key in known}
        REFERENCE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    use_persistent_cache()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(sys.argv[1:])
