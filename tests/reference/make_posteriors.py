"""Make ``posteriors.json``: evidence and moments of the posteriors of ``tests/posteriors.py``, by adaptive quadrature.

The unit cube of the prior is cut into cells. Those that hold some of the posterior, their neighbours, and those around
maxima are cut into halves along every axis, until evidence and moments do not change any more; the likelihood is taken
at the middle of each cell. Where one parameter is an intensity with a flat or a normal prior, the likelihood is
Gaussian in it: the integral over it is known (`socca.likelihood.marginal`), and so are its mean and deviation.

Run it from the root of the repository: ``python -m tests.reference.make_posteriors [names]``.
"""

import json
import logging
import math
import sys
import time

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.special import ndtr

from socca.errors import ModelError
from socca.likelihood.marginal import Marginal
from socca.priors import uniform
from socca.samplers.maxima.search import find_maxima
from socca.utils.xla import use_persistent_cache
from tests.posteriors import CASES, REFERENCE, functions

#: Cells per axis to begin with, by the number of parameters.
FIRST = {1: 2000, 2: 100, 3: 36}
#: Cells that hold less than this of the posterior are left as they are, as far as none beside them holds more: in the
#: first rounds, in which cells around known maxima are cut in any case, and later.
LITTLE = (1e-9, 1e-7)
ROUNDS = 2
#: Change of ln Z, and of means in units of their deviation, at which to stop; and likelihoods to spend.
ENOUGH, MOST = 5e-4, 300_000

log = logging.getLogger("posteriors")


def without_amplitude(problem):
    """Return the problem with its one intensity integrated out, or None if it has none or several."""
    try:
        marginal = Marginal(problem)
    except ModelError:
        return None
    return marginal if marginal.ndim == problem.ndim - 1 > 0 else None


def moments(problem, explored, theta):
    """Return mean and mean square of each of `functions` at rows of what is explored, by name."""
    if explored is problem:
        return {name: (value := function(theta), value**2) for name, function in functions(problem).items()}
    (linear,) = [k for k, name in enumerate(problem.names) if name not in explored.names]
    whole = np.zeros((len(theta), problem.ndim))
    whole[:, [k for k in range(problem.ndim) if k != linear]] = theta
    solved = explored.solve(theta)
    loc, scale = solved.mean[:, 0], 1 / solved.factor[:, 0, 0]
    prior, mean, spread = problem.priors[linear], loc, scale
    if isinstance(prior, uniform):
        mean, spread = truncated(loc, scale, *prior.support)
    found = {name: (value := function(whole), value**2) for name, function in functions(problem).items()}
    found[problem.labels[linear]] = (mean, mean**2 + spread**2)
    return found


def truncated(loc, scale, low, high):
    """Return mean and deviation of Gaussians between two bounds; far out in a tail, the nearest bound and zero."""
    a, b = (low - loc) / scale, (high - loc) / scale
    # In the lower half, where differences of the distribution function have their digits.
    flip = a > 0
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    share = ndtr(b) - ndtr(a)
    good = share > 1e-280
    share = np.where(good, share, 1.0)
    at_a, at_b = (np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi) for x in (a, b))
    shift = (at_a - at_b) / share
    variance = 1 + (a * at_a - b * at_b) / share - shift**2
    mean = loc + scale * np.where(flip, -shift, shift)
    inside = np.clip(loc, low, high)
    return np.where(good, mean, inside), np.where(good, scale * np.sqrt(np.maximum(variance, 0)), 0.0)


def maxima(explored):
    """Return the maxima that some searches find, in the cube, so that no narrow one lies between the first cells."""
    found = find_maxima(explored, explored.log_likelihood, np.random.default_rng(1), 2000, 15, 200)
    return [
        np.array([float(prior.cdf(x)) for prior, x in zip(explored.priors, one.theta, strict=True)])
        for one in found.found
    ]


def quadrature(problem):
    """Return evidence and moments, with the change of the last refinement as their error."""
    explored = without_amplitude(problem) or problem
    ndim = explored.ndim
    n = FIRST[ndim]
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n] * ndim, indexing="ij")
    u = np.stack([axis.ravel() for axis in axes], axis=1)
    theta = explored.prior_transform(u)
    found = explored.log_likelihood(theta)
    reach = maximum_filter(found.reshape((n,) * ndim), 5).ravel()
    peaks = maxima(explored)
    volume = np.full(len(u), float(n) ** -ndim)
    half = np.full(len(u), 0.5 / n)
    spent, rounds, before = len(u), 0, None
    steps = np.stack(np.meshgrid(*[[-0.5, 0.5]] * ndim, indexing="ij"), axis=-1).reshape(-1, ndim)
    while True:
        log_mass = found + np.log(volume)
        logz = np.logaddexp.reduce(log_mass)
        weights = np.exp(log_mass - logz)
        some = weights > 1e-14
        both = moments(problem, explored, theta[some])
        mean = {name: float(weights[some] @ first) for name, (first, _) in both.items()}
        deviation = {
            name: float(np.sqrt(max(weights[some] @ second - mean[name] ** 2, 0))) for name, (_, second) in both.items()
        }
        if before is not None:
            rounds += 1
            moved = {name: abs(mean[name] - before[1][name]) for name in mean}
            change = max(abs(logz - before[0]), *(moved[name] / (deviation[name] or 1) for name in moved))
            error = abs(float(logz) - before[0])
            if change < ENOUGH and rounds >= ROUNDS:
                return (float(logz), mean, deviation), error, moved, spent
        before = (float(logz), mean)
        active = reach + np.log(volume) > logz + np.log(LITTLE[rounds >= ROUNDS])
        if rounds < ROUNDS:
            for peak in peaks:
                active |= np.all(np.abs(u - peak) < 3.1 * half[:, None], axis=1)
        if rounds and spent + int(active.sum()) * len(steps) > MOST:
            return (float(logz), mean, deviation), error, moved, spent
        children = (u[active][:, None] + half[active][:, None, None] * steps).reshape(-1, ndim)
        new_theta = explored.prior_transform(children)
        new = explored.log_likelihood(new_theta)
        spent += len(children)
        # A cell is cut again if it matters, or one of those that came out of the same cell does.
        siblings = np.repeat(new.reshape(-1, len(steps)).max(axis=1), len(steps))
        theta = np.concatenate([theta[~active], new_theta])
        u = np.concatenate([u[~active], children])
        found = np.concatenate([found[~active], new])
        reach = np.concatenate([np.full(int((~active).sum()), -np.inf), siblings])
        volume = np.concatenate([volume[~active], np.repeat(volume[active] / len(steps), len(steps))])
        half = np.concatenate([half[~active], np.repeat(half[active] / 2, len(steps))])


def main(names):
    """Compute those that are named, or all."""
    for name in names or CASES:
        start = time.perf_counter()
        problem = CASES[name][1]()
        (logz, mean, deviation), logz_err, mean_err, spent = quadrature(problem)
        known = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
        known[name] = {"logz": logz, "logz_err": logz_err, "mean": mean, "deviation": deviation, "mean_err": mean_err}
        seconds = time.perf_counter() - start
        log.info("%s: ln Z %.4f +- %.1e, %d likelihoods, %.0f s", name, logz, logz_err, spent, seconds)
        kept = {key: known[key] for key in CASES if key in known}
        REFERENCE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    use_persistent_cache()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("socca").setLevel(logging.WARNING)
    main(sys.argv[1:])
