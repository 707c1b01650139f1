"""Maxima in coordinates in which the prior is standard normal, with the Gaussian there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from socca.samplers.coordinates.normal import NormalCoordinates
from socca.samplers.maxima.maximum import Maximum

#: Step of the differences, in standard deviations.
_STEP = 0.1
#: Smallest and largest curvature, in those of the Gaussian that was tried, at which that Gaussian was good enough.
_ALIKE = (0.2, 5.0)
#: Smallest curvature, in that of the prior, and how often the Gaussian is tried at most.
_FLAT, _TRIES = 0.5, 3
#: Places in a prior, from its ends, within which a search begins: on an edge lies infinity.
_INSIDE = 3.0


class Summit(NamedTuple):
    """A maximum of likelihood times prior.

    Attributes
    ----------
    center : ndarray, shape (ndim,)
        Where it lies.
    covariance : ndarray, shape (ndim, ndim)
        Inverse of the Hessian of the log.
    log_mass : float
        Laplace's approximation of the log of the integral.
    proper : bool
        Whether the Hessian is definite, and there is no slope.
    n_gradients : int
        Gradients that were computed.
    """

    center: np.ndarray
    covariance: np.ndarray
    log_mass: float
    proper: bool
    n_gradients: int


def climb(coordinates: NormalCoordinates, maximum: Maximum, maxiter: int) -> Summit:
    """Go from a maximum of the posterior density of the parameters to the nearest one in these coordinates.

    Parameters
    ----------
    coordinates : NormalCoordinates
        The coordinates.
    maximum : Maximum
        Where to begin. Its covariance scales the steps.
    maxiter : int
        Iterations at most.

    Returns
    -------
    Summit
        The Hessian is that of differences of the exact gradient, along the axes of the Gaussian.
    """
    from scipy.optimize import minimize

    ndim = coordinates.ndim
    spent = 0

    def slopes(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal spent
        spent += len(z)
        return coordinates.log_posterior_and_grad(z)

    z = coordinates.from_parameters(maximum.theta[None])[0]
    inside = np.clip(z, -_INSIDE, _INSIDE)
    if not np.array_equal(inside, z):
        heights, _ = slopes(np.stack([z, inside]))
        z = inside if heights[1] > heights[0] else z
    covariance = coordinates.covariance(maximum.theta, maximum.covariance)
    root = _root(covariance, 1.0)
    for _ in range(_TRIES):
        value, gradient = slopes(z[None])
        height = float(value[0])

        def objective(y: np.ndarray, z: np.ndarray = z, root: np.ndarray = root) -> tuple[float, np.ndarray]:
            value, gradient = slopes((z + root @ y)[None])
            if not np.isfinite(value[0]):
                return 1e300, np.zeros(ndim)
            return -float(value[0]), -root.T @ gradient[0]

        found = minimize(
            objective, np.zeros(ndim), jac=True, method="L-BFGS-B",
            options={"maxiter": maxiter, "ftol": 1e-10, "gtol": 0.02, "maxcor": 20},
        )  # fmt: skip
        if -found.fun > height:
            z = z + root @ found.x
        points = np.concatenate([z + _STEP * root.T, z - _STEP * root.T, z[None]])
        value, gradient = slopes(points)
        bent = -(gradient[:ndim] - gradient[ndim : 2 * ndim]) @ root / (2 * _STEP)
        curvature, axes = np.linalg.eigh(0.5 * (bent + bent.T))
        inverse = np.linalg.inv(root)
        precision = inverse.T @ ((axes * curvature) @ axes.T) @ inverse
        covariance, definite = _inverse(precision)
        if _ALIKE[0] < curvature.min() and curvature.max() < _ALIKE[1]:
            break
        root = _root(covariance, 1.0)
    slope = np.sqrt(max(float(gradient[-1] @ covariance @ gradient[-1]), 0.0))
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    return Summit(z, covariance, float(value[-1] + 0.5 * log_det), definite and bool(slope < 0.5), spent)


def _root(covariance: np.ndarray, most: float) -> np.ndarray:
    """Return a root of a covariance whose standard deviations along its axes are cut off at `most`."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 1e-18, most**2))


def _inverse(precision: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the inverse of a Hessian, that of the prior where there is no curvature, and whether there is."""
    values, vectors = np.linalg.eigh(np.nan_to_num(precision))
    return (vectors / np.maximum(values, _FLAT)) @ vectors.T, bool(values.min() > 0)
