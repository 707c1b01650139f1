"""The maximum of a posterior and the curvature there: for the optimizer, and to show other samplers where to look."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ModelError

if TYPE_CHECKING:
    from socca.checkpoint import Checkpoint
    from socca.pool import Pool
    from socca.problem import Problem

log = logging.getLogger(__name__)

#: Distance from the edges of the unit cube, where a normal prior's transform is still finite.
_EDGE = 1e-9


@dataclass(frozen=True)
class Maximum:
    """The highest maximum that was found.

    Parameters
    ----------
    theta : ndarray, shape (ndim,)
        Where it lies.
    log_posterior : float
        Log-likelihood plus log prior density of the parameters there.
    covariance : ndarray, shape (ndim, ndim)
        Inverse of the Hessian of the log posterior.
    definite : bool
        Whether that is a proper covariance.
    converged : bool
        Whether the search met its criterion.
    agreeing : int
        How many of the searches ended at this height.
    n_gradients : int
        Gradients of the likelihood that were computed.
    """

    theta: np.ndarray
    log_posterior: float
    covariance: np.ndarray
    definite: bool
    converged: bool
    agreeing: int
    n_gradients: int

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays, for a checkpoint."""
        return {f"maximum_{key}": np.asarray(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Maximum:
        """Return what `arrays` was made of."""
        found: dict[str, Any] = {field.name: arrays[f"maximum_{field.name}"] for field in dataclasses.fields(cls)}
        return cls(**{key: value if value.ndim else value.item() for key, value in found.items()})


def correlation_root(covariance: np.ndarray) -> np.ndarray:
    """Return a Cholesky factor of the correlation matrix that belongs to a covariance.

    Parameters
    ----------
    covariance : ndarray, shape (ndim, ndim)
        Perhaps nearly singular.

    Returns
    -------
    ndarray, shape (ndim, ndim)
        Lower triangular. A little of the identity keeps it invertible.
    """
    sigma = np.sqrt(np.diag(covariance))
    return np.linalg.cholesky(0.999 * covariance / np.outer(sigma, sigma) + 0.001 * np.eye(len(sigma)))


def quick_maximum(problem: Problem, pool: Pool, seed: int, checkpoint: Checkpoint) -> Maximum:
    """Show a sampler where to look: the maximum that a checkpoint holds, or else a quick search.

    Parameters
    ----------
    problem : Problem
        The problem.
    pool : Pool
        Evaluates the likelihood.
    seed : int
        Of the search.
    checkpoint : Checkpoint
        Of the fit.

    Returns
    -------
    Maximum
        See `find_maximum`.
    """
    if checkpoint.state is not None:
        return Maximum.from_arrays(checkpoint.state)
    rng = np.random.default_rng([seed, 1])
    return find_maximum(problem, pool.evaluate, rng, n_draws=1000, n_starts=5, maxiter=200)


def find_maximum(
    problem: Problem,
    evaluate: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    n_draws: int,
    n_starts: int,
    maxiter: int,
    with_prior: bool = True,
) -> Maximum:
    """Search for the maximum of the posterior density of the parameters, or of the likelihood.

    The best of `n_draws` draws from the prior start `n_starts` runs of L-BFGS-B. The unit cube of the prior only
    scales the steps.

    Parameters
    ----------
    problem : Problem
        The problem.
    evaluate : callable
        Batched log-likelihood.
    rng : numpy.random.Generator
        Source of randomness.
    n_draws, n_starts, maxiter : int
        Draws from the prior, searches, and iterations of each at most.
    with_prior : bool
        Whether the prior's density counts; otherwise the prior is no more than bounds.

    Returns
    -------
    Maximum
        The best one. Without the prior, `log_posterior` is the log-likelihood.

    Raises
    ------
    ModelError
        If no draw from the prior has any likelihood.
    """
    from scipy.optimize import minimize

    draws = rng.uniform(0.001, 0.999, (n_draws, problem.ndim))
    theta = problem.prior_transform(draws)
    height = evaluate(theta) + (problem.log_prior(theta) if with_prior else 0.0)
    possible = np.flatnonzero(np.isfinite(height))
    if possible.size == 0:
        raise ModelError(
            f"none of {len(draws)} draws from the prior is possible: check priors and positivity (with a celestial "
            "WCS, xc and yc are RA and Dec)"
        )
    order = possible[np.argsort(height[possible])[::-1]]

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = log_posterior_in_cube(problem, u, with_prior)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(u)
        return -value, -np.nan_to_num(gradient)

    found = []
    n_gradients = 2 * problem.ndim + 1
    for k in order[:n_starts]:
        result = minimize(
            objective,
            draws[k],
            jac=True,
            method="L-BFGS-B",
            bounds=[(_EDGE, 1 - _EDGE)] * problem.ndim,
            options={"maxiter": maxiter, "ftol": 1e-12, "gtol": 1e-6, "maxcor": 20},
        )
        n_gradients += result.nfev
        found.append((float(-result.fun), bool(result.success), result.x))
    log_posterior, converged, u = max(found, key=lambda result: result[0])
    agreeing = sum(result[0] > log_posterior - 0.5 for result in found)
    log.info("%d of %d searches reached the highest maximum, ln P = %.2f", agreeing, len(found), log_posterior)
    theta = problem.prior_transform(u)[0]
    covariance, definite = covariance_at(problem, theta, evaluate, with_prior)
    return Maximum(theta, log_posterior, covariance, definite, converged, agreeing, n_gradients)


def covariance_at(
    problem: Problem, theta: np.ndarray, evaluate: Callable[[np.ndarray], np.ndarray], with_prior: bool = True
) -> tuple[np.ndarray, bool]:
    """Invert the Hessian of the log posterior.

    Parameters
    ----------
    problem : Problem
        The problem.
    theta : ndarray, shape (ndim,)
        A maximum.
    evaluate : callable
        Batched log-likelihood.
    with_prior : bool
        Whether the prior's density counts.

    Returns
    -------
    covariance : ndarray, shape (ndim, ndim)
        By central differences of the exact gradient; where there is no curvature, the prior's width takes its place.
    definite : bool
        Whether it describes a proper maximum: not where the prior's edge cuts the likelihood off before its own.
    """
    width = np.ptp(problem.prior_transform([[0.1587] * problem.ndim, [0.8413] * problem.ndim]), axis=0) / 2
    scale = _curvature_scale(problem, theta, width, evaluate)
    steps = np.diag(0.05 * scale)
    support = np.array([prior.support for prior in problem.priors])
    points = np.clip(np.concatenate([theta + steps, theta - steps, theta[None]]), support[:, 0], support[:, 1])
    _, gradients = problem.log_likelihood_and_grad(points)
    if with_prior:
        gradients = gradients + prior_gradient(problem, points)
    n = problem.ndim
    spacing = (points[:n] - points[n : 2 * n]).diagonal()
    hessian = (gradients[:n] - gradients[n : 2 * n]) / spacing[:, None]
    precision = -0.5 * (hessian + hessian.T) * np.outer(scale, scale)
    values, vectors = np.linalg.eigh(np.nan_to_num(precision))
    floor = (scale / width) ** 2
    definite = bool(values.min() > 0)
    values = np.maximum(values, floor.min())
    covariance = (vectors / values) @ vectors.T * np.outer(scale, scale)
    # At a proper maximum there is no slope: less than a tenth of a unit of the log posterior over one sigma.
    slope = np.abs(gradients[-1]) * np.sqrt(np.diag(covariance))
    definite = definite and bool(np.all(slope < 0.1))
    if not definite:
        log.warning("the maximum lies on an edge of the prior or is flat; its covariance is a guess")
    return covariance, definite


def prior_gradient(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Return the derivative of each prior's log density, shape (n, ndim), by central differences."""
    out = np.zeros_like(theta)
    for k, prior in enumerate(problem.priors):
        low, high = prior.support
        x = theta[:, k]
        step = 1e-6 * np.maximum(np.abs(x), np.ptp(prior.icdf([0.1587, 0.8413])))
        above, below = np.minimum(x + step, high), np.maximum(x - step, low)
        out[:, k] = (prior.log_prob(above) - prior.log_prob(below)) / (above - below)
    return out


def log_posterior_in_cube(problem: Problem, u: np.ndarray, with_prior: bool = True) -> tuple[float, np.ndarray]:
    """Return the log posterior density of the parameters at a point of the unit cube, and its derivative along u.

    Parameters
    ----------
    problem : Problem
        The problem.
    u : ndarray, shape (ndim,)
        The point.
    with_prior : bool
        Whether the prior's density counts.

    Returns
    -------
    value : float
        Log-likelihood, plus log prior.
    gradient : ndarray, shape (ndim,)
        With respect to `u`: the prior's transform has the derivative 1 / density.
    """
    theta = problem.prior_transform(u)
    value, gradient = problem.log_likelihood_and_grad(theta)
    density = np.exp([float(prior.log_prob(x)) for prior, x in zip(problem.priors, theta[0], strict=True)])
    if not with_prior:
        return float(value[0]), gradient[0] / density
    return float(value[0] + problem.log_prior(theta)[0]), (gradient + prior_gradient(problem, theta))[0] / density


def _curvature_scale(
    problem: Problem, theta: np.ndarray, width: np.ndarray, evaluate: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return a length per parameter over which the log posterior falls by about 1/2, at most the prior's width."""
    scale = width * 1e-3
    center = float(evaluate(theta[None])[0])
    support = np.array([prior.support for prior in problem.priors])
    for _ in range(12):
        moved = np.concatenate([theta + np.diag(scale), theta - np.diag(scale)])
        moved = np.clip(moved, support[:, 0], support[:, 1])
        fall = center - evaluate(moved).reshape(2, -1)
        fall = np.where(np.isfinite(fall), fall, 1e6).max(axis=0)
        factor = np.sqrt(0.5 / np.maximum(fall, 1e-12))
        scale = np.clip(scale * np.clip(factor, 0.05, 20.0), 1e-12 * width, width)
        if np.all((fall > 0.1) & (fall < 2.0) | (scale >= width)):
            break
    return scale
