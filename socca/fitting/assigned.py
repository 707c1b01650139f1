"""Posteriors with samples or weights that a script assigned."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError
from socca.fitting.sample import posterior_of
from socca.samplers import Draws

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.posterior.posterior import Posterior


def checked_samples(value: Any, ndim: int) -> np.ndarray:
    """Return samples as an array, shape (n, ndim); `PosteriorError` for another shape."""
    samples = np.array(value, dtype=float)
    if samples.ndim != 2 or samples.shape[1] != ndim or not len(samples):
        raise PosteriorError(f"samples must have shape (n, {ndim}), got {samples.shape}")
    return samples


def checked_weights(value: Any) -> np.ndarray:
    """Return weights as an array, shape (n,), which sums to one; `PosteriorError` if they are none."""
    weights = np.array(value, dtype=float)
    if weights.ndim != 1 or not np.all(np.isfinite(weights) & (weights >= 0)) or not weights.sum() > 0:
        raise PosteriorError("weights must be finite numbers of at least 0, not all zero, shape (n,)")
    return weights / weights.sum()


def posterior_with(problem: Problem, before: Posterior, samples: np.ndarray, weights: np.ndarray) -> Posterior:
    """Return a posterior with other samples or weights.

    Parameters
    ----------
    problem : Problem
        Gives likelihood, prior and ties at the samples.
    before : Posterior
        Evidences and record stay as they are there.
    samples : ndarray, shape (n, ndim)
        Points.
    weights : ndarray, shape (n,)
        Their weights, which sum to one.

    Returns
    -------
    Posterior
        The result.

    Raises
    ------
    PosteriorError
        If the numbers of samples and weights differ.
    """
    if len(samples) != len(weights):
        raise PosteriorError(f"there are {len(samples)} samples and {len(weights)} weights: assign both")
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    draws = Draws(samples, log_weights, problem.log_likelihood(samples), before.logz, before.logz_err, converged=True)
    found = posterior_of(problem, draws)
    return dataclasses.replace(
        found,
        record=before.record,
        logz_prior=before.logz_prior,
        logz_prior_err=before.logz_prior_err,
        logz_data=before.logz_data,
    )
