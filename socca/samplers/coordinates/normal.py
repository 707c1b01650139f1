"""Coordinates in which the prior is a standard normal distribution, for proposals that are Gaussian or nearly so.

A parameter becomes the normal score of its place in the prior: ``z = Phi^-1(F(theta))``. Bounds lie infinitely far out,
and all parameters have one scale.

Position angle and ellipticity of one source are two coordinates of a plane: with ``u`` the places in their priors, its
polar coordinates are the radius ``sqrt(-2 ln(1 - u_e))`` and the angle ``2 pi u_theta`` (Box & Muller 1958, Ann. Math.
Stat. 29, 610). A round source is then the middle of that plane, not an edge along which the angle means nothing. Any
other angle whose prior is a whole period is cut open as far from the maxima as can be.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

#: Places in a prior are kept this far from its ends: a normal prior's transform is finite there.
_LOW, _HIGH = 1e-15, 1 - 1e-15
#: Logarithm of the root of two pi.
LOG_ROOT = 0.5 * math.log(2 * math.pi)


class NormalCoordinates:
    """Coordinates of a problem in which the prior is standard normal.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    maxima : ndarray, shape (m, ndim)
        Parameters near which the posterior is: angles are cut open as far from them as can be.
    """

    def __init__(self, problem: LogDensity, maxima: np.ndarray) -> None:
        self._problem = problem
        self.ndim = problem.ndim
        self.planes = tuple(problem.ellipses)
        in_planes = {k for plane in self.planes for k in plane}
        self._turn = np.zeros(self.ndim)
        for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True)):
            if k not in in_planes and prior.is_flat_over(period):
                self._turn[k] = _farthest(np.asarray(prior.cdf(maxima[:, k])) % 1.0)

    def places(self, z: np.ndarray) -> np.ndarray:
        """Return the places in the priors, points of the unit cube, of points of shape (n, ndim)."""
        u = ndtr(z)
        for angle, ellipticity in self.planes:
            x, y = z[:, angle], z[:, ellipticity]
            u[:, ellipticity] = -np.expm1(-0.5 * (x**2 + y**2))
            u[:, angle] = (np.arctan2(y, x) / (2 * math.pi)) % 1.0
        return np.clip(self.turned(u), _LOW, _HIGH)

    def turned(self, u: np.ndarray) -> np.ndarray:
        """Return places, shape (n, ndim), with angles counted from the beginning of their period, not from the cut."""
        return np.where(self._turn > 0, (u + self._turn) % 1.0, u)

    def turned_back(self, u: np.ndarray) -> np.ndarray:
        """Return places, shape (n, ndim), with angles counted from where they are cut open: the inverse of `turned`."""
        return np.where(self._turn > 0, (u - self._turn) % 1.0, u)

    def to_parameters(self, z: np.ndarray) -> np.ndarray:
        """Return the parameters at points of shape (n, ndim)."""
        return self._problem.prior_transform(self.places(z))

    def from_parameters(self, theta: np.ndarray) -> np.ndarray:
        """Return the points of parameters, shape (n, ndim)."""
        return self.from_places(np.column_stack([p.cdf(theta[:, k]) for k, p in enumerate(self._problem.priors)]))

    def from_places(self, u: np.ndarray) -> np.ndarray:
        """Return the points of places in the priors, shape (n, ndim): the inverse of `places`."""
        u = np.clip(self.turned_back(u), _LOW, _HIGH)
        z = ndtri(u)
        for angle, ellipticity in self.planes:
            radius = np.sqrt(-2 * np.log1p(-u[:, ellipticity]))
            turned = 2 * math.pi * u[:, angle]
            z[:, angle], z[:, ellipticity] = radius * np.cos(turned), radius * np.sin(turned)
        return z

    def log_prior(self, z: np.ndarray) -> np.ndarray:
        """Return the log prior density of points of shape (n, ndim), shape (n,)."""
        return -0.5 * np.sum(z**2, axis=1) - self.ndim * LOG_ROOT

    def log_posterior_and_grad(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log-likelihood plus log prior density of points, and its derivatives.

        Parameters
        ----------
        z : ndarray, shape (n, ndim)
            The points.

        Returns
        -------
        value : ndarray, shape (n,)
            -inf where the model is impossible.
        gradient : ndarray, shape (n, ndim)
            By the chain rule.
        """
        theta = self.to_parameters(z)
        value, gradient = self._problem.log_likelihood_and_grad(theta)
        return value + self.log_prior(z), _by_point(gradient, self.jacobian(z, theta)) - z

    def log_posterior_and_curvature(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return log-likelihood plus log prior density of points, its derivatives, and minus its second ones.

        Parameters
        ----------
        z : ndarray, shape (n, ndim)
            The points.

        Returns
        -------
        value : ndarray, shape (n,)
            -inf where the model is impossible.
        gradient : ndarray, shape (n, ndim)
            By the chain rule.
        curvature : ndarray, shape (n, ndim, ndim)
            The Fisher information, and the identity, which is that of the prior.
        information : ndarray, shape (n, ndim, ndim)
            The Fisher information of the parameters themselves.
        """
        theta = self.to_parameters(z)
        value, gradient, information = self._problem.log_likelihood_and_information(theta)
        jacobian = self.jacobian(z, theta)
        curvature = self.curvature(jacobian, information)
        return value + self.log_prior(z), _by_point(gradient, jacobian) - z, curvature, information

    def curvature(self, jacobian: np.ndarray, information: np.ndarray) -> np.ndarray:
        """Return the Fisher information of parameters in these coordinates, with that of the prior.

        Parameters
        ----------
        jacobian : ndarray, shape (n, ndim, ndim)
            See `jacobian`.
        information : ndarray, shape (n, ndim, ndim)
            Of the parameters.

        Returns
        -------
        ndarray, shape (n, ndim, ndim)
            That of the prior is the identity.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.swapaxes(jacobian, 1, 2) @ information @ jacobian
        return np.asarray(np.nan_to_num(found) + np.eye(self.ndim))

    def jacobian(self, z: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Return the derivatives of parameters with respect to points.

        Parameters
        ----------
        z, theta : ndarray, shape (n, ndim)
            The points, and the parameters there.

        Returns
        -------
        ndarray, shape (n, ndim, ndim)
            Of the i-th parameter with respect to the j-th coordinate. The derivative of a parameter with respect to its
            place is one over its prior's density.
        """
        log_density = np.column_stack([prior.log_prob(theta[:, k]) for k, prior in enumerate(self._problem.priors)])
        found = np.zeros((len(z), self.ndim, self.ndim))
        with np.errstate(over="ignore", invalid="ignore"):
            by_place = np.exp(-log_density)
            axes = range(self.ndim)
            found[:, axes, axes] = by_place * np.exp(-0.5 * z**2 - LOG_ROOT)
        for angle, ellipticity in self.planes:
            x, y = z[:, angle], z[:, ellipticity]
            square = x**2 + y**2
            outward = by_place[:, ellipticity] * np.exp(-0.5 * square)
            around = by_place[:, angle] / (2 * math.pi * np.maximum(square, 1e-30))
            found[:, ellipticity, angle], found[:, ellipticity, ellipticity] = outward * x, outward * y
            found[:, angle, angle], found[:, angle, ellipticity] = -around * y, around * x
        return found

    def covariance(self, theta: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return, roughly, what a covariance of parameters is in these coordinates.

        Parameters
        ----------
        theta : ndarray, shape (ndim,)
            Where.
        covariance : ndarray, shape (ndim, ndim)
            Of the parameters.

        Returns
        -------
        ndarray, shape (ndim, ndim)
            With slopes over one standard deviation, within the bounds.
        """
        sigma = np.sqrt(np.diag(covariance))
        low, high = np.array([prior.support for prior in self._problem.priors]).T
        above, below = np.minimum(theta + sigma, high), np.maximum(theta - sigma, low)
        shifted = np.concatenate([theta + np.diag(above - theta), theta - np.diag(theta - below)])
        places = self.from_parameters(shifted)
        slopes = (places[: self.ndim] - places[self.ndim :]) / (above - below)[:, None]
        return slopes.T @ covariance @ slopes


def _by_point(gradient: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Return derivatives with respect to points, shape (n, ndim), of those with respect to parameters."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(np.einsum("ni,nij->nj", gradient, jacobian)))


def _farthest(places: np.ndarray) -> float:
    """Return the point of a circle of length one, from 0 to 1, that is farthest from all places, shape (m,)."""
    places = np.sort(places)
    gaps = np.diff(np.append(places, places[0] + 1))
    widest = int(np.argmax(gaps))
    return float((places[widest] + 0.5 * gaps[widest]) % 1.0)
