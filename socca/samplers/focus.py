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
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from socca.samplers.maximum import Maximum

if TYPE_CHECKING:
    from socca.problem import Problem

#: Share of the cube that stays with the prior.
PRIOR_SHARE = 0.1
#: Scale of the Student densities, in standard deviations of the posterior.
WIDTH = 1.2
#: Bisections: to the last bit of a number between 0 and 1.
_HALVINGS = 54


def _student_cdf(z: np.ndarray) -> np.ndarray:
    """Return the distribution function of Student's t with two degrees of freedom."""
    return 0.5 + 0.5 * z / np.sqrt(2 + z**2)


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
        n, ndim = w.shape
        x, z = np.zeros((n, ndim)), np.zeros((n, ndim))
        log_peak = np.zeros(n)  # sum of ln q_k so far
        for k in range(ndim):
            root = self._root[k]
            center = np.clip(self._center[k] + z[:, :k] @ root[:k], 0, 1)
            scale = WIDTH * root[k]
            below = _student_cdf(-center / scale)
            whole = _student_cdf((1 - center) / scale) - below
            peak = (1 - PRIOR_SHARE) * np.exp(np.minimum(log_peak, 700))
            share = PRIOR_SHARE / (PRIOR_SHARE + peak)
            low, high = np.zeros(n), np.ones(n)
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                cdf = share * middle + (1 - share) * (_student_cdf((middle - center) / scale) - below) / whole
                less = cdf < w[:, k]
                low, high = np.where(less, middle, low), np.where(less, high, middle)
            x[:, k] = 0.5 * (low + high)
            deviation = (x[:, k] - center) / scale
            z[:, k] = (x[:, k] - center) / root[k]
            log_peak += -1.5 * np.log(2 + deviation**2) - np.log(scale * whole)
        log_density = np.logaddexp(np.log(PRIOR_SHARE), np.log1p(-PRIOR_SHARE) + log_peak)
        return np.where(self._turn != 0, (x + self._turn) % 1.0, x), log_density


class Unfocused:
    """The prior's cube as it is, with the interface of `Focus`."""

    def to_prior(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points themselves, and zeros."""
        return w, np.zeros(len(w))
