"""Check that a repartitioning covers the posterior, by weighted draws, before a sampler uses it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from socca.samplers.cube.repartitioning import Repartitioning
from socca.samplers.maxima.search import KEPT, Maxima, find_maxima

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

#: Draws from the map and from the prior that a focus is tried with, and draws per maximum that measure its mass.
DRAWS, PRIOR_DRAWS, MASS_DRAWS = 2000, 1000, 300
#: Share of the posterior that a focus may leave uncovered.
UNCOVERED = 0.01
#: The share that a run may find there before it begins again: it has found that part, and counts it. At twice as much,
#: ln Z is low by 0.01 to 0.05, and deviations by 5 to 7 % (docs/method.md).
UNCOVERED_IN_RUN = 0.05
#: Maxima of less than this times the largest mass, by Laplace's approximation, are not measured.
_FAINT = 1e-8


def quick_maxima(problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Maxima:
    """Return the maxima of a checkpoint, or else those of a quick search.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    pool : Workers
        Evaluates the likelihood.
    seed : int
        Of the search.
    checkpoint : Checkpoint
        Of the fit.

    Returns
    -------
    Maxima
        Those that have at least `KEPT` of the posterior, with masses by importance sampling if there are several.
    """
    if checkpoint.state is not None:
        return Maxima.from_arrays(checkpoint.state)
    rng = np.random.default_rng([seed, 1])
    maxima = find_maxima(problem, pool.evaluate, rng, n_draws=1000, n_starts=6, maxiter=200)
    highest = maxima.highest
    faint = maxima.masses < _FAINT * maxima.masses.max()
    kept = tuple(one for one, little in zip(maxima.found, faint, strict=True) if one is highest or not little)
    masses = np.array([m for one, m in zip(maxima.found, maxima.masses, strict=True) if any(one is k for k in kept)])
    maxima = dataclasses.replace(maxima, found=kept, masses=masses / masses.sum())
    if len(kept) == 1:
        return maxima
    return with_measured_masses(problem, pool, np.random.default_rng([seed, 5]), maxima)


def with_measured_masses(problem: LogDensity, pool: Workers, rng: np.random.Generator, maxima: Maxima) -> Maxima:
    """Measure the masses of several maxima by importance sampling from a map that is focused on all of them.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    pool : Workers
        Evaluates the likelihood.
    rng : numpy.random.Generator
        Source of randomness.
    maxima : Maxima
        What was found.

    Returns
    -------
    Maxima
        Those with at least `KEPT` of the posterior.
    """
    count = len(maxima.found)
    focus = Repartitioning(problem, maxima.found)
    v, log_density = focus.to_prior(rng.random((MASS_DRAWS * count, problem.ndim)))
    log_weights = pool.evaluate(problem.prior_transform(v)) - log_density
    weights = np.exp(log_weights - log_weights.max())
    nearest = focus.log_parts(v).argmax(axis=1)
    masses = np.bincount(nearest, weights, count)
    # A mass that was measured as nothing may have been missed: a little of what Laplace says stays.
    return maxima.with_masses(masses / masses.sum() + KEPT * maxima.masses, KEPT)


def ratio_at_maxima(problem: LogDensity, pool: Workers, focus: Repartitioning, maxima: Maxima) -> float:
    """Return the highest ``ln L / g`` at the maxima: that of a Gaussian posterior is highest there, or as good as."""
    theta = np.array([one.theta for one in maxima.found])
    v = np.array([[np.clip(p.cdf(x), 0, 1) for p, x in zip(problem.priors, row, strict=True)] for row in theta])
    return float(np.max(pool.evaluate(theta) - focus.log_density(v)))


def uncovered_share(
    problem: LogDensity, pool: Workers, rng: np.random.Generator, focus: Repartitioning, top: float
) -> float:
    """Return a bound on how much of a posterior lies where a focus is too thin for it.

    Of a Gaussian posterior, ``L / g`` is highest at the maximum, or as good as. Where the posterior is curved, or has
    a maximum that nobody knows of, ``L / g`` is higher than there. A sampler finds such places late, if at all, since
    they have little of the stretched cube; it is better off with the cube as it was.

    Draws from the map and from the prior are weighted as draws from one mixture of the two. They see what has a
    thousandth of the prior, or is near the maxima; not a spike elsewhere, of which only the run itself may learn.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    pool : Workers
        Evaluates the likelihood.
    rng : numpy.random.Generator
        Source of randomness.
    focus : Repartitioning
        What is tried.
    top : float
        See `ratio_at_maxima`.

    Returns
    -------
    float
        Share of the posterior where ``L / g`` is more than e times what it is at the maxima, and twice its error.
    """
    v, log_density = focus.to_prior(rng.random((DRAWS, problem.ndim)))
    plain = rng.random((PRIOR_DRAWS, problem.ndim))
    v, log_density = np.concatenate([v, plain]), np.concatenate([log_density, focus.log_density(plain)])
    log_ratio = pool.evaluate(problem.prior_transform(v)) - log_density
    share = DRAWS / (DRAWS + PRIOR_DRAWS)
    log_weights = log_ratio - np.logaddexp(np.log(share), np.log1p(-share) - log_density)
    return bounds_on_share_beyond(log_weights, log_ratio, top)[1]


def bounds_on_share_beyond(log_weights: np.ndarray, log_ratio: np.ndarray, top: float) -> tuple[float, float]:
    """Return bounds on the share of a posterior where ``ln L / g`` exceeds `top` by 1.

    Parameters
    ----------
    log_weights, log_ratio : ndarray, shape (n,)
        Of weighted points, and ``ln L / g`` there.
    top : float
        See `ratio_at_maxima`.

    Returns
    -------
    low, high : float
        The share, less and plus twice its standard error; 0 where no point lies there.
    """
    beyond = log_ratio > top + 1
    if not beyond.any():
        return 0.0, 0.0
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    share = float(weights[beyond].sum())
    error = float(np.sqrt(np.sum(weights**2 * (beyond - share) ** 2)))
    return share - 2 * error, share + 2 * error
