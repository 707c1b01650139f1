"""Maxima in coordinates in which the prior is standard normal, with the Gaussians there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.errors import ModelError
from socca.samplers.coordinates.normal import NormalCoordinates
from socca.samplers.importance.ascent import Top, Tops
from socca.samplers.maxima.maximum import Maximum
from socca.samplers.maxima.search import KEPT, find_maxima
from socca.samplers.maxima.starts import ImageStarts, best_and_local_best, refuse_impossible

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

#: Step of the differences, in standard deviations.
_STEP = 0.1
#: Smallest and largest curvature, in those of the Gaussian that was tried, at which that Gaussian was good enough.
_ALIKE = (0.2, 5.0)
#: Smallest curvature, in that of the prior, and how often the Gaussian is tried at most.
_FLAT, _TRIES = 0.5, 3
#: Places in a prior, from its ends, within which a search begins: on an edge lies infinity.
_INSIDE = 3.0
#: Draws, and starts, of a search that follows gradients, where a quick one found several maxima.
_LOOKED, _STARTS = 1000, 6
#: Draws with sources on peaks of the image, and of its residual, and starts from each, at most.
_PEAK_DRAWS, _RESIDUAL_DRAWS, _PEAK_STARTS = 96, 48, 6
#: Rounds in which components are exchanged, at most.
_SWAPS = 3
#: Two maxima closer than this, in standard deviations, are one.
_ONE = 0.5
#: Maxima at most.
_MOST = 32


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
    n_gradients : int
        Gradients that were computed.
    """

    center: np.ndarray
    covariance: np.ndarray
    log_mass: float
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
        covariance = _inverse(precision)
        if _ALIKE[0] < curvature.min() and curvature.max() < _ALIKE[1]:
            break
        root = _root(covariance, 1.0)
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    return Summit(z, covariance, float(value[-1] + 0.5 * log_det), spent)


def _root(covariance: np.ndarray, most: float) -> np.ndarray:
    """Return a root of a covariance whose standard deviations along its axes are cut off at `most`."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 1e-18, most**2))


def _inverse(precision: np.ndarray) -> np.ndarray:
    """Return the inverse of a Hessian, that of the prior where there is no curvature."""
    values, vectors = np.linalg.eigh(np.nan_to_num(precision))
    return np.asarray((vectors / np.maximum(values, _FLAT)) @ vectors.T)


@dataclasses.dataclass(frozen=True)
class Summits:
    """All maxima that were found, and what the search took.

    Parameters
    ----------
    theta : ndarray, shape (m, ndim)
        Parameters there: the coordinates cut angles open as far from these as can be.
    centers : ndarray, shape (k, ndim)
        Those that may matter, in the coordinates.
    covariances : ndarray, shape (k, ndim, ndim)
        Inverse of the Hessian, or of the Fisher information, of each.
    log_masses : ndarray, shape (k,)
        Laplace's approximation of the log of the integral over each.
    searches, agreeing, n_gradients : int
        Starts; those that led to the highest one; gradients that were computed.
    left_out : float
        Share of the posterior of maxima beyond the number that is kept.
    """

    theta: np.ndarray
    centers: np.ndarray
    covariances: np.ndarray
    log_masses: np.ndarray
    searches: int
    agreeing: int
    n_gradients: int
    left_out: float = 0.0

    def coordinates(self, problem: LogDensity) -> NormalCoordinates:
        """Return the coordinates."""
        return NormalCoordinates(problem, self.theta)

    def notes(self) -> dict[str, Any]:
        """Return what a result says of the search, JSON-serialisable."""
        return {
            "searches": self.searches,
            "searches_at_highest": self.agreeing,
            "maxima_left_out": round(self.left_out, 4),
            "n_gradients": self.n_gradients,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays, for a checkpoint."""
        return {f"summits_{key.name}": np.asarray(getattr(self, key.name)) for key in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Summits:
        """Return what `arrays` was made of."""
        found: dict[str, Any] = {key.name: arrays[f"summits_{key.name}"] for key in dataclasses.fields(cls)}
        return cls(**{name: value if value.ndim else value.item() for name, value in found.items()})


def find_summits(
    problem: LogDensity,
    evaluate: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    draws: tuple[np.ndarray, np.ndarray],
    n_starts: int,
    maxiter: int,
) -> Summits:
    """Search for the maxima: with the Fisher information where there is one, else with gradients.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    evaluate : callable
        Batched log-likelihood.
    rng : numpy.random.Generator
        Source of randomness.
    draws : tuple of ndarray, shapes (n, ndim) and (n,)
        Draws from the prior, as points of the unit cube, and the log-likelihood there.
    n_starts, maxiter : int
        Searches from these draws, and steps of each at most.

    Returns
    -------
    Summits
        At least one.

    Raises
    ------
    ModelError
        If the model is impossible wherever it was tried.
    """
    refuse_impossible(draws[1])
    if problem.has_information:
        return _by_information(problem, evaluate, rng, draws, n_starts, maxiter)
    return _by_gradient(problem, evaluate, rng, draws, n_starts, maxiter)


def _by_information(
    problem: LogDensity,
    evaluate: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    draws: tuple[np.ndarray, np.ndarray],
    n_starts: int,
    maxiter: int,
) -> Summits:
    tops = Tops(problem, evaluate, maxiter)
    tops.ascend_from(best_and_local_best(*draws, n_starts))
    image = ImageStarts(problem, evaluate)
    tops.ascend_from(image.from_peaks(rng, _PEAK_DRAWS)[:_PEAK_STARTS])
    if not tops.found:
        raise ModelError("no search for a maximum came to a possible model: check priors and positivity")
    tops.ascend_from(image.from_residual(tops.best.theta, rng, _RESIDUAL_DRAWS))
    swapped = 0
    for _ in range(_SWAPS):
        new, swapped = tops.found[swapped:], len(tops.found)
        for top in new:
            tops.ascend_from(image.swapped(top.theta))
    theta = np.array([top.theta for top in tops.found])
    coordinates = NormalCoordinates(problem, theta)
    # Of the integral over amplitudes, where there is one: the information is that without them.
    heights = evaluate(theta)
    summits = [_summit_of(coordinates, top, float(height)) for top, height in zip(tops.found, heights, strict=True)]
    return _kept(theta, summits, tops.searches, tops.agreeing, tops.n_gradients)


def _summit_of(coordinates: NormalCoordinates, top: Top, log_likelihood: float) -> Summit:
    z = coordinates.from_parameters(top.theta[None])
    covariance = np.linalg.inv(
        coordinates.curvature(coordinates.jacobian(z, top.theta[None]), top.information[None])[0]
    )
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    height = log_likelihood + float(coordinates.log_prior(z)[0])
    return Summit(z[0], covariance, height + 0.5 * log_det, top.n_gradients)


def _by_gradient(
    problem: LogDensity,
    evaluate: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    draws: tuple[np.ndarray, np.ndarray],
    n_starts: int,
    maxiter: int,
) -> Summits:
    """Search quickly, and where that finds several maxima, which may not be all, as nautilus does."""
    maxima = find_maxima(problem, evaluate, rng, len(draws[0]), n_starts, maxiter, draws=draws)
    spent = maxima.n_gradients
    if not maxima.is_single:
        maxima = find_maxima(problem, evaluate, rng, _LOOKED, max(n_starts, _STARTS), maxiter)
        spent += maxima.n_gradients
    theta = np.array([one.theta for one in maxima.found])
    coordinates = NormalCoordinates(problem, theta)
    summits: list[Summit] = []
    for maximum, mass in zip(maxima.found, maxima.masses, strict=True):
        if mass < KEPT and summits:
            continue
        summit = climb(coordinates, maximum, maxiter)
        spent += summit.n_gradients
        if not any(_same(summit, other) for other in summits):
            summits.append(summit)
    found = _kept(theta, summits, maxima.searches, maxima.agreeing, spent)
    return dataclasses.replace(found, left_out=max(found.left_out, maxima.left_out))


def _kept(theta: np.ndarray, summits: list[Summit], searches: int, agreeing: int, n_gradients: int) -> Summits:
    """Return those that may matter, the one with the largest mass first."""
    log_masses = np.array([summit.log_mass for summit in summits])
    shares = np.exp(log_masses - np.logaddexp.reduce(log_masses))
    order = [k for k in np.argsort(-shares, kind="stable") if shares[k] > KEPT][:_MOST]
    return Summits(
        theta=theta,
        centers=np.array([summits[k].center for k in order]),
        covariances=np.array([summits[k].covariance for k in order]),
        log_masses=log_masses[order],
        searches=searches,
        agreeing=agreeing,
        n_gradients=n_gradients,
        left_out=max(float(1 - shares[order].sum()), 0.0),
    )


def _same(one: Summit, other: Summit) -> bool:
    """Tell whether two searches ended at the same maximum."""
    off = one.center - other.center
    return bool(off @ np.linalg.solve(one.covariance, off) < _ONE**2)
