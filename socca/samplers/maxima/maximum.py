"""Maximum of a posterior, and the covariance there; `socca.samplers.maxima.search` finds maxima."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity


@dataclass(frozen=True)
class Maximum:
    """One maximum of the posterior density, or of the likelihood.

    Parameters
    ----------
    theta : ndarray, shape (ndim,)
        Where it lies.
    log_posterior : float
        Log-likelihood plus log prior density of the parameters there; without the latter if only the likelihood counts.
    covariance : ndarray, shape (ndim, ndim)
        Inverse of the Hessian of the log posterior.
    definite : bool
        Whether that is a proper covariance.
    converged : bool
        Whether the search met its criterion.
    agreeing : int
        How many of the searches ended here.
    n_gradients : int
        Gradients of the likelihood that the searches that ended here took.
    """

    theta: np.ndarray
    log_posterior: float
    covariance: np.ndarray
    definite: bool
    converged: bool
    agreeing: int
    n_gradients: int

    @property
    def log_mass(self) -> float:
        """Laplace's approximation of the log of the integral over it: a guess where it is not `definite`."""
        _, logdet = np.linalg.slogdet(2 * np.pi * self.covariance)
        return float(self.log_posterior + 0.5 * logdet)


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


def covariance_at(
    problem: LogDensity, theta: np.ndarray, evaluate: Callable[[np.ndarray], np.ndarray], with_prior: bool = True
) -> tuple[np.ndarray, bool]:
    """Return the inverse of the Hessian of minus the log posterior.

    Parameters
    ----------
    problem : LogDensity
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

    Notes
    -----
    `jax.hessian` of `LogDensity.traced` is exact, but has to be compiled: in 31 s of a CPU for a Sersic profile on
    64 x 64 pixels with a PSF (7 parameters), 42 s for bulge, disk and sky (12), besides the 22 s and 30 s of likelihood
    and gradient. The differences take 0.03 s and 0.09 s, with programs that are there already. There, and on those of
    ``tests/posteriors.py`` whose maximum is proper and narrower than the prior, they are right to 1e-3 in the standard
    deviations and in Laplace's ln Z.
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
    return covariance, definite


def prior_gradient(problem: LogDensity, theta: np.ndarray) -> np.ndarray:
    """Return the derivative of each prior's log density, shape (n, ndim), by central differences."""
    out = np.zeros_like(theta)
    for k, prior in enumerate(problem.priors):
        low, high = prior.support
        x = theta[:, k]
        step = 1e-6 * np.maximum(np.abs(x), np.ptp(prior.icdf([0.1587, 0.8413])))
        above, below = np.minimum(x + step, high), np.maximum(x - step, low)
        out[:, k] = (prior.log_prob(above) - prior.log_prob(below)) / (above - below)
    return out


def log_posterior_in_cube(problem: LogDensity, u: np.ndarray, with_prior: bool = True) -> tuple[float, np.ndarray]:
    """Return the log posterior density of the parameters at a point of the unit cube, and its derivative along u.

    Parameters
    ----------
    problem : LogDensity
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
    problem: LogDensity, theta: np.ndarray, width: np.ndarray, evaluate: Callable[[np.ndarray], np.ndarray]
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
