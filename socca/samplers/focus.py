"""A change of coordinates that shows a sampler where to look, and leaves posterior and evidence as they are.

Most of the work of a nested sampler goes into walking from the prior to the posterior, which for a bright galaxy is
many orders of magnitude smaller. Here the sampler's unit cube is stretched: a share of it is the prior as it was, and
the rest is concentrated around a known maximum. With ``v`` in the prior's cube, ``w`` in the sampler's, and the
density ``dw/dv = g(v)``,

    Z = integral L(v) dv = integral L(v) / g(v) dw,

so that sampling ``L / g`` over ``w`` gives the same evidence and, mapped back, the same posterior (posterior
repartitioning: Chen, Hobson, Das & Gelderblom 2019, Stat. Comput. 29, 835). The density is the mixture

    g(v) = a + (1 - a) prod_k q_k(v_k | v_1 .. v_{k-1}),

with ``q`` a product of Student densities that follow the covariance at the maximum. Other maxima are not lost: the
prior keeps the share ``a`` of the cube everywhere. A mixture of this form can be inverted axis by axis, since each
conditional density of it is again a mixture, of a constant and of ``q_k``, with known weights.

A posterior that is curved, or has several modes, has parts that ``q`` does not cover. `uncovered` measures them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from socca.samplers.maximum import Maximum

if TYPE_CHECKING:
    from socca.pool import Pool
    from socca.problem import Problem

#: Share of the cube that stays with the prior.
PRIOR_SHARE = 0.1
#: Scale of the Student densities, in standard deviations of the posterior.
WIDTH = 1.2
#: Draws that a focus is tried with, and the share of the posterior that it may leave uncovered.
DRAWS, UNCOVERED = 2000, 0.01
#: Newton's steps, at most: 14 were enough for widths from 1e-12 to 0.3 and any share of the prior.
_STEPS = 20
_TINY, _ROUNDING = 1e-300, 1e-15


def _student_cdf(z: np.ndarray) -> np.ndarray:
    """Return the distribution function of Student's t with two degrees of freedom."""
    return 0.5 + 0.5 * z / np.sqrt(2 + z**2)


def _student_root(u: np.ndarray) -> np.ndarray:
    """Return where ``z / sqrt(2 + z^2)`` is `u`, which is cut off at 0 and just below 1."""
    u = np.clip(u, 0, 1 - 1e-16)
    return np.sqrt(2) * u / np.sqrt((1 - u) * (1 + u))


class _Axis(NamedTuple):
    """One axis at given places of the axes before: a Student density, cut off by the cube, and the prior's share."""

    center: np.ndarray
    scale: float
    below: np.ndarray
    whole: np.ndarray
    share: np.ndarray

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the distribution function at a place of each row."""
        student = (_student_cdf((x - self.center) / self.scale) - self.below) / self.whole
        return self.share * x + (1 - self.share) * student

    def inverse(self, w: np.ndarray) -> np.ndarray:
        """Return where the distribution function of each row is `w`.

        With ``z = (x - center) / scale`` that is ``a z + h z / sqrt(2 + z^2) = b``, odd in z, and for z > 0 increasing
        and concave: Newton's steps from anywhere below the root go up to it, and never beyond.
        """
        a = np.maximum(self.share * self.scale, _TINY)
        h = np.maximum((1 - self.share) / (2 * self.whole), _TINY)
        b = w - (1 - self.share) * (0.5 - self.below) / self.whole - self.share * self.center
        sign, b = np.sign(b), np.abs(b)
        # Each of the two terms is positive, and no more than b.
        highest = np.minimum(b / a, np.where(b < h, _student_root(b / h), np.inf))
        # Below the root: where the second term is put as its tangent at zero, as its limit, or the first at its most.
        z = np.maximum(b / (a + h / np.sqrt(2)), (b - h) / a)
        z = np.maximum(z, _student_root((b - a * highest - _ROUNDING) / h))
        z = np.minimum(z, 1 / self.scale)  # beyond which x is cut off
        for _ in range(_STEPS):
            square = 2 + z * z
            root = np.sqrt(square)
            step = (b - a * z - h * z / root) / (a + 2 * h / (square * root))
            z = z + step
            if np.all(np.abs(step) <= 1e-14 * np.abs(z)):
                break
        return np.clip(self.center + self.scale * sign * z, 0, 1)


class Focus:
    """The stretched cube.

    Parameters
    ----------
    problem : Problem
        Its priors define the prior's cube.
    maximum : Maximum
        Where to concentrate, and its covariance.
    """

    def __init__(self, problem: Problem, maximum: Maximum) -> None:
        theta = maximum.theta
        sigma = np.sqrt(np.diag(maximum.covariance))
        ndim = len(theta)
        center, width, turn = np.zeros(ndim), np.zeros(ndim), np.zeros(ndim)
        for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True)):
            low, high = prior.support
            center[k] = np.clip(prior.cdf(theta[k]), 0, 1)
            width[k] = np.ptp(prior.cdf(np.clip([theta[k] - sigma[k], theta[k] + sigma[k]], low, high))) / 2
            # An angle whose prior is a whole period is turned so that the maximum comes to the middle.
            if prior.is_flat_over(period):
                turn[k], center[k] = center[k] - 0.5, 0.5
        width = np.clip(width, 1e-12, 0.3)
        correlation = maximum.covariance / np.outer(sigma, sigma)
        self._center, self._turn = center, turn
        # A little of the identity keeps a nearly singular correlation matrix invertible.
        self._root = width[:, None] * np.linalg.cholesky(0.999 * correlation + 0.001 * np.eye(ndim))

    def to_prior(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map the sampler's cube to the prior's.

        Parameters
        ----------
        w : ndarray, shape (n, ndim)
            Points of the sampler's cube.

        Returns
        -------
        v : ndarray, shape (n, ndim)
            Points of the prior's cube.
        log_density : ndarray, shape (n,)
            ``ln g(v)``, to be subtracted from the log-likelihood.
        """
        x = np.zeros(w.shape)

        def solve(k: int, axis: _Axis) -> np.ndarray:
            x[:, k] = axis.inverse(w[:, k])
            return x[:, k]

        log_density = self._walk(w.shape, solve)
        return np.where(self._turn != 0, (x + self._turn) % 1.0, x), log_density

    def log_density(self, v: np.ndarray) -> np.ndarray:
        """Return ``ln g(v)``, shape (n,), of points of the prior's cube, shape (n, ndim)."""
        x = np.where(self._turn != 0, (v - self._turn) % 1.0, v)
        return self._walk(x.shape, lambda k, axis: x[:, k])

    def _walk(self, shape: tuple[int, ...], place: Callable[[int, _Axis], np.ndarray]) -> np.ndarray:
        """Go from axis to axis, to where `place` says; return the log density there."""
        n, ndim = shape
        z = np.zeros((n, ndim))
        log_peak = np.zeros(n)  # sum of ln q_k so far
        for k in range(ndim):
            root = self._root[k]
            center = np.clip(self._center[k] + z[:, :k] @ root[:k], 0, 1)
            scale = WIDTH * root[k]
            below = _student_cdf(-center / scale)
            whole = _student_cdf((1 - center) / scale) - below
            peak = (1 - PRIOR_SHARE) * np.exp(np.minimum(log_peak, 700))
            x = place(k, _Axis(center, scale, below, whole, PRIOR_SHARE / (PRIOR_SHARE + peak)))
            z[:, k] = (x - center) / root[k]
            log_peak += -1.5 * np.log(2 + ((x - center) / scale) ** 2) - np.log(scale * whole)
        return np.logaddexp(np.log(PRIOR_SHARE), np.log1p(-PRIOR_SHARE) + log_peak)


def uncovered(problem: Problem, pool: Pool, rng: np.random.Generator, focus: Focus, maximum: Maximum) -> float:
    """Return how much of a posterior lies where a focus is too thin for it.

    Of a Gaussian posterior, ``L / g`` is highest at the maximum, or as good as. Where the posterior is curved, or has
    another mode, ``L / g`` is higher than there. A sampler finds such places late, if at all, since they have little
    of the stretched cube; it is better off with the cube as it was.

    Parameters
    ----------
    problem : Problem
        The problem.
    pool : Pool
        Evaluates the likelihood.
    rng : numpy.random.Generator
        Source of randomness.
    focus : Focus
        What is tried, with some draws.
    maximum : Maximum
        What it is focused on.

    Returns
    -------
    float
        Share of the posterior where ``L / g`` is more than e times what it is at the maximum.
    """
    theta = np.atleast_2d(maximum.theta)
    top = np.array([[float(np.clip(prior.cdf(x), 0, 1)) for prior, x in zip(problem.priors, theta[0], strict=True)]])
    v, log_density = focus.to_prior(rng.random((DRAWS, problem.ndim)))
    log_ratio = pool.evaluate(np.concatenate([theta, problem.prior_transform(v)]))
    log_ratio -= np.concatenate([focus.log_density(top), log_density])
    weights = np.exp(log_ratio - log_ratio.max())
    return float(weights[log_ratio > log_ratio[0] + 1].sum() / weights.sum())


class Unfocused:
    """The prior's cube as it is, with the interface of `Focus`."""

    def to_prior(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points themselves, and zeros."""
        return w, np.zeros(len(w))
