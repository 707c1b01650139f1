"""Starts of a search from the image: sources at its peaks, and components that exchange their roles.

A source that is small in its prior of position is met by few draws from that prior. Here the free positions of
components are put on peaks of the image, or of what the best model so far leaves of it, and all else is drawn from the
prior. Of each way to place them, the best draw is a start.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.frames import project
from socca.errors import ModelError
from socca.likelihood.grid import BORDER, coordinates
from socca.likelihood.marginal import Marginal
from socca.likelihood.problem import Problem

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

#: Widths (pixels) of the Gaussians that smooth an image before its peaks are looked for, and peaks taken of each.
_SCALES = ((1.0, 4), (3.0, 2))
#: Peaks closer than this (pixels) are one.
_APART = 1.5
#: Draws with positions on peaks of the image, and of its residual.
_DRAWS, _RESIDUAL_DRAWS = 512, 256
#: Starts of each kind, at most.
_STARTS, _RESIDUAL_STARTS, _SWAPS = 10, 4, 6


class ImageStarts:
    """Starts for the problem of an image; without an image or a free position, there are none.

    Parameters
    ----------
    problem : LogDensity
        What is explored: with an image, if it is a `Problem` or the `Marginal` of one.
    height : callable
        Batched log posterior density of its parameters, shape (n, ndim) to (n,).
    """

    def __init__(self, problem: LogDensity, height: Callable[[np.ndarray], np.ndarray]) -> None:
        self._problem, self._height = problem, height
        self._components: list[_Component] = []
        self._image: np.ndarray | None = None
        if not isinstance(problem, Problem | Marginal):
            return
        self._whole = problem.whole if isinstance(problem, Marginal) else problem
        self._units = problem.units
        places = {name: k for k, name in enumerate(problem.names)}
        for number, component in enumerate(self._whole.spec.scene.components):
            own = {
                name: places[full] for name, _ in component.fields if (full := f"comp_{number:02d}_{name}") in places
            }
            position = tuple(own[name] for name in component.kind.position_names if name in own)
            self._components.append(_Component(component.kind, own, position if len(position) == 2 else ()))
        data = self._whole.arrays["noise"].data
        if data is not None and any(one.position for one in self._components):
            self._image = np.asarray(data, float)
            self._used = self._whole.used
            self._plane = _pixel_centers(self._whole)

    def from_peaks(self, rng: np.random.Generator, n_draws: int = _DRAWS) -> np.ndarray:
        """Return points of the unit cube, shape (n, ndim), with sources on peaks of the image; best of some draws."""
        if self._image is None:
            return np.zeros((0, self._problem.ndim))
        moving = [one for one in self._components if one.position]
        ways = [[(one, place) for place in self._peaks(self._image, one)] for one in moving]
        ways = [choices for choices in ways if choices]
        if not ways:
            return np.zeros((0, self._problem.ndim))
        u = rng.uniform(0.001, 0.999, (n_draws, self._problem.ndim))
        chosen = np.stack([rng.integers(len(choices), size=n_draws) for choices in ways], axis=1)
        for column, choices in zip(chosen.T, ways, strict=True):
            for number, (one, place) in enumerate(choices):
                u[np.ix_(column == number, one.position)] = place
        if len(ways) == 1 and (size := self._size(moving[0])) is not None:
            # Of a single source, small ones and large ones apart: the light of a large one hides a small one.
            chosen = np.column_stack([chosen, u[:, size] > 0.5])
        return self._best_of_each(u, chosen, _STARTS)

    def from_residual(self, theta: np.ndarray, rng: np.random.Generator, n_draws: int = _RESIDUAL_DRAWS) -> np.ndarray:
        """Return points of the unit cube, shape (n, ndim): a model, but one of its sources on a peak of its residual.

        Parameters
        ----------
        theta : ndarray, shape (ndim,)
            The model.
        rng : numpy.random.Generator
            Source of randomness, for the parameters of the source that is moved.
        n_draws : int
            Draws, of which the best are taken.
        """
        if self._image is None:
            return np.zeros((0, self._problem.ndim))
        complete = self._problem.with_amplitudes(theta) if isinstance(self._problem, Marginal) else theta
        expected, _ = self._whole.predict(complete)
        residual = np.zeros_like(self._image)
        ny, nx = expected.shape
        residual[:ny, :nx] = self._image[:ny, :nx] - expected
        if not np.isfinite(residual[self._used]).all():
            return np.zeros((0, self._problem.ndim))
        moves = [(one, place) for one in self._components if one.position for place in self._peaks(residual, one)[:3]]
        if not moves:
            return np.zeros((0, self._problem.ndim))
        u = np.tile(_to_cube(self._problem, theta), (n_draws, 1))
        chosen = np.arange(n_draws) % len(moves)
        for number, (one, place) in enumerate(moves):
            rows, columns = chosen == number, list(one.own.values())
            u[np.ix_(rows, columns)] = rng.uniform(0.001, 0.999, (int(rows.sum()), len(columns)))
            u[np.ix_(rows, one.position)] = place
        return self._best_of_each(u, chosen[:, None], _RESIDUAL_STARTS)

    def swapped(self, theta: np.ndarray) -> np.ndarray:
        """Return points of the unit cube, shape (n, ndim): a model with the roles of two components exchanged.

        Components of two kinds, such as a bulge and a disk, exchange their sizes and all that has the same name.
        """
        found = []
        support = np.array([prior.support for prior in self._problem.priors])
        couples = sorted(itertools.combinations(self._components, 2), key=lambda pair: pair[0].kind is not pair[1].kind)
        for one, other in couples:  # alike ones first
            pairs = {one.own[name]: other.own[name] for name in one.own if name in other.own}
            if one.kind is not other.kind:
                size, other_size = self._size(one), self._size(other)
                if size is None or other_size is None:
                    continue
                if size not in pairs and other_size not in pairs.values():
                    pairs[size] = other_size
            if not pairs:
                continue
            swapped = theta.copy()
            a, b = list(pairs), list(pairs.values())
            swapped[a], swapped[b] = theta[b], theta[a]
            # Where a value has no place in the other's prior, the nearest that has.
            found.append(_to_cube(self._problem, np.clip(swapped, support[:, 0], support[:, 1])))
        return np.array(found[:_SWAPS]).reshape(-1, self._problem.ndim)

    def _best_of_each(self, u: np.ndarray, chosen: np.ndarray, at_most: int) -> np.ndarray:
        """Return the best possible point of each group (rows of `chosen`), the best groups first."""
        height = self._height(self._problem.prior_transform(u))
        order = np.argsort(-np.where(np.isfinite(height), height, -np.inf), kind="stable")
        order = order[np.isfinite(height[order])]
        _, first = np.unique(chosen[order], axis=0, return_index=True)
        return u[order[np.sort(first)[:at_most]]]

    def _size(self, one: _Component) -> int | None:
        """Return which parameter is the first length of a component, other than its position."""
        positions = one.kind.position_names
        lengths = [k for name, k in one.own.items() if name not in positions and self._units[k] == "deg"]
        return lengths[0] if lengths else None

    def _peaks(self, image: np.ndarray, one: _Component) -> list[np.ndarray]:
        """Return where in the unit cube the peaks and pits of an image lie, for the position of a component."""
        from scipy.ndimage import gaussian_filter, maximum_filter

        x, y = self._plane
        level = np.median(image[self._used])
        off = np.where(self._used, image - level, 0.0)
        taken: list[tuple[int, int]] = []
        places: list[np.ndarray] = []
        spec, arrays = self._whole.spec.scene, self._whole.arrays["scene"]
        for width, most in _SCALES:
            weight = gaussian_filter(self._used.astype(float), width, mode="constant")
            height = np.abs(gaussian_filter(off, width, mode="constant") / np.maximum(weight, 1e-3))
            height = np.where(self._used, height, -1.0)
            rows, cols = np.nonzero((height == maximum_filter(height, 3, mode="nearest")) & (height > 0))
            count = 0
            for k in np.argsort(-height[rows, cols], kind="stable"):
                at = (int(rows[k]), int(cols[k]))
                if count == most:
                    break
                if any(np.hypot(at[0] - i, at[1] - j) < _APART for i, j in taken):
                    continue
                place = _position(spec.on_sky, arrays["reference"], float(x[at]), float(y[at]))
                u = [float(self._problem.priors[p].cdf(value)) for p, value in zip(one.position, place, strict=True)]
                if all(1e-6 < value < 1 - 1e-6 for value in u):
                    taken.append(at)
                    places.append(np.array(u))
                    count += 1
        return places


def refuse_impossible(heights: np.ndarray) -> None:
    """Raise `ModelError` if the model is impossible at all draws from the prior, whose log density is given."""
    if not np.isfinite(heights).any():
        raise ModelError(
            f"none of {len(heights)} draws from the prior is possible: check priors and positivity (with a celestial "
            "WCS, xc and yc are RA and Dec)"
        )


def best_and_local_best(draws: np.ndarray, height: np.ndarray, n: int) -> np.ndarray:
    """Return the best draw, the best of those that are higher than their neighbours, and then the best others.

    The best draws alone are often those of one heap.

    Parameters
    ----------
    draws : ndarray, shape (m, ndim)
        Points of the unit cube.
    height : ndarray, shape (m,)
        Log density there; some of it finite.
    n : int
        How many are wanted.

    Returns
    -------
    ndarray, shape (up to n, ndim)
        The points.
    """
    from scipy.spatial import cKDTree

    possible = np.flatnonzero(np.isfinite(height))
    order = possible[np.argsort(-height[possible], kind="stable")]
    neighbours = min(2 * draws.shape[1] + 4, len(order))
    _, near = cKDTree(draws[order]).query(draws[order], k=neighbours)
    top = order[np.all(height[order][near.reshape(len(order), -1)] <= height[order][:, None], axis=1)]
    # At least a third are the best, whatever lies around them.
    chosen = list(dict.fromkeys([*order[: -(-n // 3)], *top, *order]))[:n]
    return draws[chosen]


class _Component:
    """A component's kind, its free parameters and their place in the vector, and the places of its free position."""

    def __init__(self, kind: Any, own: dict[str, int], position: tuple[int, ...]) -> None:
        self.kind, self.own, self.position = kind, own, position


def _to_cube(problem: LogDensity, theta: np.ndarray) -> np.ndarray:
    """Return the point of the unit cube of parameters, a little away from its edges."""
    u = [float(prior.cdf(value)) for prior, value in zip(problem.priors, theta, strict=True)]
    return np.clip(u, 1e-6, 1 - 1e-6)


def _pixel_centers(whole: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return the field-plane coordinates of the pixels of the noise's arrays, degrees."""
    grid = whole.spec.scene.grid
    inner = tuple(
        slice(BORDER + p * grid.factor + grid.factor // 2, BORDER + (p + n) * grid.factor, grid.factor)
        for p, n in zip(grid.pad, grid.image, strict=True)
    )
    x, y = coordinates(whole.arrays["scene"])
    return np.asarray(x, float)[inner], np.asarray(y, float)[inner]


def _position(on_sky: bool, reference: Any, x: float, y: float) -> tuple[float, float]:
    """Return the position, degrees, of a point of the field plane: the inverse of `socca.data.frames.project`."""
    if not on_sky:
        return x, y
    ra, dec = float(reference[0]), float(reference[1])
    for _ in range(5):
        east, north = project(np.float64(ra), np.float64(dec), True, reference, np)
        dec = float(np.clip(dec + y - north, -90, 90))
        ra += (x - east) / max(np.cos(np.radians(dec)), 1e-6)
    return float(ra), dec
