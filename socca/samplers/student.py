"""Multivariate Student density, for proposals: a Gaussian with heavy tails."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import solve_triangular


class Student:
    """A multivariate Student distribution.

    Parameters
    ----------
    center : ndarray, shape (ndim,)
        Its middle.
    root : ndarray, shape (ndim, ndim)
        Lower triangular factor of its scale matrix.
    freedom : float
        Degrees of freedom.

    Notes
    -----
    Kotz & Nadarajah 2004, "Multivariate t Distributions and Their Applications", eq. 1.1. `scipy.stats.multivariate_t`
    takes the scale matrix itself, and refuses it as singular where deviations differ by more than about 1e5, as those
    of positions (degrees) and intensities do.
    """

    def __init__(self, center: np.ndarray, root: np.ndarray, freedom: float) -> None:
        self._center, self._root, self._freedom = center, root, freedom
        ndim = len(center)
        self._log_peak = math.lgamma((freedom + ndim) / 2) - math.lgamma(freedom / 2)
        # A triangular solution for many points takes several times as long as a product with the inverse.
        self._inverse = solve_triangular(root, np.eye(ndim), lower=True)
        self._log_peak -= ndim / 2 * math.log(freedom * math.pi) + float(np.log(np.diag(root)).sum())

    def draw(self, n: int, rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
        """Return independent draws, shape (n, ndim)."""
        z = rng.standard_normal((n, len(self._center)))
        z *= np.sqrt(self._freedom / rng.chisquare(self._freedom, (n, 1)))
        return self._center + z @ self._root.T

    def square_distance(self, x: np.ndarray) -> np.ndarray:
        """Return the squared distance of points, shape (n, ndim), from the middle, in units of the scale."""
        off = (x - self._center) @ self._inverse.T
        return np.einsum("ni,ni->n", off, off)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return the log of the density at points of shape (n, ndim), shape (n,)."""
        exponent = 0.5 * (self._freedom + len(self._center))
        return self._log_peak - exponent * np.log1p(self.square_distance(x) / self._freedom)
