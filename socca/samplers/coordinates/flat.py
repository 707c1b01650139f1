"""Coordinates in which a bounded prior is flat between its bounds, for proposals.

A parameter with bounds becomes its place in the prior, ``u = F(theta)``, shifted and stretched to a standard deviation
of one; beyond the bounds there is nothing. One without bounds becomes its normal score, ``Phi^-1(u)``. A posterior that
a bound cuts off keeps its shape: its normal score would have a long tail.

Position angle and ellipticity of one source are two coordinates of a disc, with an angle of ``2 pi u_theta`` and a
radius in proportion to ``sqrt(u_e (u_e + 2 s))``, s = 0.1. A round source is the middle of the disc, where the prior is
nearly flat. Farther out the radius is linear in the ellipticity, as the image is: along a root of it, a Gaussian
posterior would have a long tail towards the middle. Any other angle whose prior is a whole period is cut open as far
from the maxima as can be.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from socca.samplers.coordinates.normal import LOG_ROOT, NormalCoordinates

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

#: Width of a flat prior of unit variance, and radius of such a disc.
_WIDTH, _RADIUS = math.sqrt(12), 2.0
#: Place of an ellipticity in its prior below which the disc is flat, and above which it is in proportion.
_SOFT = 0.1
#: Places in a prior are kept this far from its ends: a normal prior's transform is finite there.
_LOW, _HIGH = 1e-15, 1 - 1e-15
#: Step of the differences between these coordinates and others, in standard deviations of the prior.
_STEP = 1e-4


class FlatCoordinates:
    """Coordinates of a problem in which bounded priors are flat.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    normal : NormalCoordinates
        Says where angles are cut open.
    """

    def __init__(self, problem: LogDensity, normal: NormalCoordinates) -> None:
        self._problem, self._normal = problem, normal
        self.ndim = problem.ndim
        self._planes = normal.planes
        self._in_disc = np.isin(range(self.ndim), [k for plane in self._planes for k in plane])
        bounded = np.array([bool(np.isfinite(prior.support).all()) for prior in problem.priors])
        self._scored = ~bounded & ~self._in_disc
        self._flat = bounded & ~self._in_disc

    def places(self, z: np.ndarray) -> np.ndarray:
        """Return the places in the priors, points of the unit cube, of points of shape (n, ndim) within the bounds."""
        u = np.where(self._scored, ndtr(z), 0.5 + z / _WIDTH)
        for angle, ellipticity in self._planes:
            x, y = z[:, angle], z[:, ellipticity]
            u[:, ellipticity] = _ellipticity(x**2 + y**2)
            u[:, angle] = (np.arctan2(y, x) / (2 * math.pi)) % 1.0
        return np.clip(self._normal.turned(u), _LOW, _HIGH)

    def to_parameters(self, z: np.ndarray) -> np.ndarray:
        """Return the parameters at points of shape (n, ndim) within the bounds."""
        return self._problem.prior_transform(self.places(z))

    def from_places(self, u: np.ndarray) -> np.ndarray:
        """Return the points of places in the priors, shape (n, ndim): the inverse of `places`."""
        u = np.clip(self._normal.turned_back(u), _LOW, _HIGH)
        z = np.where(self._scored, ndtri(u), _WIDTH * (u - 0.5))
        for angle, ellipticity in self._planes:
            radius, turned = _radius(u[:, ellipticity]), 2 * math.pi * u[:, angle]
            z[:, angle], z[:, ellipticity] = radius * np.cos(turned), radius * np.sin(turned)
        return z

    def log_prior(self, z: np.ndarray) -> np.ndarray:
        """Return the log prior density of points of shape (n, ndim), shape (n,); -inf beyond a bound."""
        inside = np.all(~self._flat | (np.abs(z) < _WIDTH / 2), axis=1)
        squares = [np.sum(z[:, plane] ** 2, axis=1) for plane in self._planes]
        for square in squares:
            inside &= square < _RADIUS**2
        log_density = -0.5 * np.sum(np.where(self._scored, z**2, 0.0), axis=1)
        log_density -= self._scored.sum() * LOG_ROOT + self._flat.sum() * math.log(_WIDTH)
        for square in squares:
            log_density -= np.log(2 * math.pi * (_ellipticity(square) + _SOFT) * _RADIUS**2 / (1 + 2 * _SOFT))
        return np.where(inside, log_density, -np.inf)

    def draw_prior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return draws from the prior, shape (n, ndim)."""
        return self.from_places(rng.random((n, self.ndim)))

    def from_normal(self, center: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a Gaussian of the normal coordinates in these.

        Parameters
        ----------
        center : ndarray, shape (ndim,)
            Its middle.
        covariance : ndarray, shape (ndim, ndim)
            Its covariance.

        Returns
        -------
        center, covariance : ndarray
            By the slopes at the middle.
        """
        steps = _STEP * np.eye(self.ndim)
        points = self.from_places(self._normal.places(np.concatenate([center + steps, center - steps, center[None]])))
        slopes = (points[: self.ndim] - points[self.ndim : -1]) / (2 * _STEP)
        return points[-1], slopes.T @ covariance @ slopes


def _ellipticity(square: np.ndarray) -> np.ndarray:
    """Return the place of an ellipticity in its prior, from the square of the radius in the disc."""
    return np.sqrt(square * (1 + 2 * _SOFT) / _RADIUS**2 + _SOFT**2) - _SOFT


def _radius(place: np.ndarray) -> np.ndarray:
    """Return the radius in the disc: the inverse of `_ellipticity`."""
    return _RADIUS * np.sqrt(place * (place + 2 * _SOFT) / (1 + 2 * _SOFT))
