"""Search for the maxima of a posterior, from draws of the prior, the image, and maxima found before."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ModelError
from socca.samplers.maxima.maximum import Maximum, covariance_at, log_posterior_in_cube
from socca.samplers.maxima.starts import ImageStarts, best_and_local_best, refuse_impossible

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

log = logging.getLogger(__name__)

#: Share of the posterior from which on another maximum matters to a user, and from which on it may shift means of
#: chains that stay at one maximum by more than their errors.
MATTERS, SHIFTS = 0.01, 1e-3
#: A known maximum with at least the first of the posterior must have at least the second of that among the samples.
_LARGE, _LEAST = 0.05, 0.2
#: Share from which on it is kept: Laplace's approximation, or an estimate from few draws, may be off by a lot.
KEPT = 1e-4
#: Distance from the edges of the unit cube, where a normal prior's transform is still finite.
_EDGE = 1e-9
#: A maximum that lies lower than the highest by more than this is not looked into.
_DEPTH = 60.0
#: Points between two ends of searches, and how far the log posterior falls there between two maxima.
_BETWEEN, _DIP = 15, 0.5
#: How often a search begins again where it ended, at most, and the gain for which it does so once more.
_RESTARTS, _GAIN = 5, 1e-3
#: Height and slope, per unit of the cube, of what stands for an impossible model.
_WALL = 1e3
#: Maxima that are kept, and rounds of swaps, at most.
_MOST, _ROUNDS = 32, 3


@dataclass(frozen=True)
class Maxima:
    """All maxima of a posterior that were found, the one with the largest mass first.

    Parameters
    ----------
    found : tuple of Maximum
        Those that may matter.
    masses : ndarray, shape (m,)
        Share of the posterior that each of them has.
    searches : int
        How many searches there were.
    agreeing : int
        How many of them ended at the highest maximum.
    n_gradients : int
        Gradients of the likelihood that were computed.
    left_out : float
        Share of the posterior, by Laplace's approximation, of maxima that were found beyond the number that is kept.
    """

    found: tuple[Maximum, ...]
    masses: np.ndarray
    searches: int
    agreeing: int
    n_gradients: int
    left_out: float = 0.0

    @property
    def highest(self) -> Maximum:
        """The one with the highest density."""
        return max(self.found, key=lambda one: one.log_posterior)

    @property
    def is_single(self) -> bool:
        """Whether all maxima but the first have less than `SHIFTS` of the posterior."""
        return bool(self.masses[0] > 1 - SHIFTS and self.left_out < SHIFTS)

    def notes(self) -> dict[str, Any]:
        """Return what a result says of the search, JSON-serialisable."""
        return {
            "maxima": self.count(self.masses),
            "maxima_shares": [round(float(mass), 4) for mass in self.masses],
            "searches": self.searches,
            "searches_at_highest": self.agreeing,
            "maxima_left_out": round(self.left_out, 4),
        }

    @staticmethod
    def count(shares: np.ndarray) -> int:
        """Return how many shares of the posterior, shape (m,), matter."""
        return int(np.sum(shares >= MATTERS))

    @staticmethod
    def any_missing(expected: np.ndarray, shares: np.ndarray) -> bool:
        """Tell whether the samples, with these shares at the maxima, lack one that was expected; shapes (m,)."""
        return bool(np.any((expected > _LARGE) & (shares < _LEAST * expected)))

    def with_masses(self, masses: np.ndarray, least: float) -> Maxima:
        """Return the maxima with these masses, any numbers of shape (m,), without those below a share `least`."""
        masses = masses / masses.sum()
        order = [k for k in np.argsort(-masses, kind="stable") if masses[k] >= least]
        return dataclasses.replace(
            self, found=tuple(self.found[k] for k in order), masses=masses[order] / masses[order].sum()
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays, for a checkpoint."""
        fields = {
            f"maximum_{field.name}": np.stack([np.asarray(getattr(one, field.name)) for one in self.found])
            for field in dataclasses.fields(Maximum)
        }
        numbers = np.array([self.searches, self.agreeing, self.n_gradients])
        left_out = np.array(self.left_out)
        return {**fields, "maxima_masses": self.masses, "maxima_numbers": numbers, "maxima_left_out": left_out}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Maxima:
        """Return what `arrays` was made of."""
        names = [field.name for field in dataclasses.fields(Maximum)]
        rows = zip(*[arrays[f"maximum_{name}"] for name in names], strict=True)
        found = tuple(
            Maximum(**{name: value if np.ndim(value) else value.item() for name, value in zip(names, row, strict=True)})
            for row in rows
        )
        searches, agreeing, n_gradients = (int(n) for n in arrays["maxima_numbers"])
        return cls(found, arrays["maxima_masses"], searches, agreeing, n_gradients, float(arrays["maxima_left_out"]))


def find_maxima(
    problem: LogDensity,
    evaluate: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    n_draws: int,
    n_starts: int,
    maxiter: int,
    with_prior: bool = True,
    given: Iterable[np.ndarray] = (),
    solver: Mapping[str, Any] = MappingProxyType({}),
    callback: Callable[[np.ndarray], object] | None = None,
    draws: tuple[np.ndarray, np.ndarray] | None = None,
) -> Maxima:
    """Search for the maxima of the posterior density of the parameters, or of the likelihood.

    L-BFGS-B starts from the best of `n_draws` draws from the prior and from those that are better than all draws around
    them, `n_starts` in all; from up to 10 places that the peaks of the image suggest; from up to 4 that the residual of
    the best model suggests; and, for each maximum that is found, from the same model with two alike components
    exchanged. A search that comes to a maximum that is known ends there. The unit cube of the prior only scales the
    steps.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    evaluate : callable
        Batched log-likelihood.
    rng : numpy.random.Generator
        Source of randomness.
    n_draws, n_starts, maxiter : int
        Draws from the prior, searches from them, and iterations of each search at most.
    with_prior : bool
        Whether the prior's density counts; otherwise the prior is no more than bounds.
    given : iterable of ndarray, shape (ndim,)
        Points of the unit cube from which searches start too, before all others.
    solver : mapping
        Options of scipy's L-BFGS-B in the place of those that are set here.
    callback : callable, optional
        Called with the parameters, shape (ndim,), after each iteration of a search.
    draws : tuple of ndarray, shapes (n_draws, ndim) and (n_draws,), optional
        Draws from the prior, as points of the unit cube, and the log-likelihood there, if they are known already.

    Returns
    -------
    Maxima
        With masses by Laplace's approximation.

    Raises
    ------
    ModelError
        If no draw from the prior has any likelihood.
    """

    def height(theta: np.ndarray) -> np.ndarray:
        return evaluate(theta) + (problem.log_prior(theta) if with_prior else 0.0)

    if draws is None:
        u = rng.uniform(0.001, 0.999, (n_draws, problem.ndim))
        heights = height(problem.prior_transform(u))
    else:
        u, heights = draws
        heights = heights + (problem.log_prior(problem.prior_transform(u)) if with_prior else 0.0)
    refuse_impossible(heights)
    image = ImageStarts(problem, height)
    options = {"maxiter": maxiter, "ftol": 1e-12, "gtol": 1e-6, "maxcor": 20, **solver}
    search = _MaximumSearch(problem, evaluate, height, options, with_prior, callback)
    search.run_from(given)
    search.run_from(best_and_local_best(u, heights, n_starts))
    search.run_from(image.from_peaks(rng))
    search.run_from(image.from_residual(search.best.theta, rng))
    swapped = 0
    for _ in range(_ROUNDS):
        new = search.known[swapped:]
        swapped = len(search.known)
        for one in new:
            if one.log_mass > search.largest_log_mass - _DEPTH / 2:
                search.run_from(image.swapped(one.theta))
    return search.maxima()


class _MaximumSearch:
    """Local searches from given points, and the maxima that they found.

    Parameters
    ----------
    problem : LogDensity
        The problem.
    evaluate, height : callable
        Batched log-likelihood, and what is maximised.
    options : dict
        Of scipy's L-BFGS-B.
    with_prior : bool
        Whether the prior's density counts.
    callback : callable, optional
        See `find_maxima`.
    """

    def __init__(
        self,
        problem: LogDensity,
        evaluate: Callable[[np.ndarray], np.ndarray],
        height: Callable[[np.ndarray], np.ndarray],
        options: dict[str, Any],
        with_prior: bool,
        callback: Callable[[np.ndarray], object] | None,
    ) -> None:
        self._problem, self._evaluate, self._height = problem, evaluate, height
        self._options, self._with_prior, self._callback = options, with_prior, callback
        pairs = zip(problem.priors, problem.periods, strict=True)
        self._circle = np.array([prior.is_flat_over(period) for prior, period in pairs], bool)
        self._period = np.array([period or 1.0 for period in problem.periods])
        self.known: list[Maximum] = []
        self._places: list[np.ndarray] = []  # of the known ones, in the cube
        self._precisions: list[np.ndarray] = []
        self._searches = 0
        self._n_gradients = 0

    @property
    def best(self) -> Maximum:
        """The highest maximum."""
        return max(self.known, key=lambda one: one.log_posterior)

    @property
    def largest_log_mass(self) -> float:
        """The largest log of a mass."""
        return max(one.log_mass for one in self.known)

    def run_from(self, starts: Iterable[np.ndarray]) -> None:
        """Run a local search from each of some points of the unit cube."""
        for u in starts:
            self._run_once(u)

    def _run_once(self, u: np.ndarray) -> None:
        from scipy.optimize import minimize

        def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = log_posterior_in_cube(self._problem, u, self._with_prior)
            if np.isfinite(value):
                possible[:] = [(u.copy(), -value)]
                return -value, -np.nan_to_num(gradient)
            if not possible:
                return 1e300, np.zeros_like(u)
            # A slope that leads back: from a wall without one, the line search would not know how far to retreat.
            place, before = possible[0]
            away = max(float(np.linalg.norm(u - place)), 1e-300)
            return before + _WALL * (1 + away), _WALL * (u - place) / away

        possible: list[tuple[np.ndarray, float]] = []  # the last possible point, and the objective there
        reached: list[int] = []

        def arrived(*, intermediate_result: Any) -> None:
            """End a search where it meets a known maximum."""
            if not self.known and self._callback is None:
                return
            theta = self._problem.prior_transform(intermediate_result.x)[0]
            if self._callback is not None:
                self._callback(theta)
            k = self._known_maximum_at(theta, -float(intermediate_result.fun))
            if k is not None:
                reached.append(k)
                raise StopIteration

        def search(start: np.ndarray) -> Any:
            result = minimize(
                objective,
                np.clip(start, _EDGE, 1 - _EDGE),
                jac=True,
                method="L-BFGS-B",
                bounds=[(_EDGE, 1 - _EDGE)] * self._problem.ndim,
                callback=arrived,
                options=self._options,
            )
            spent.append(int(result.nfev))
            return result

        spent: list[int] = []
        result = search(u)
        # On a curved ridge a search stops too early, for what it has learnt of the curvature no longer holds.
        for _ in range(_RESTARTS):
            if reached or result.fun > 1e299:
                break
            again = search(result.x)
            gain = result.fun - again.fun
            if gain > 0 or reached:
                result = again
            if gain < _GAIN:
                break
        self._searches += 1
        self._n_gradients += sum(spent)
        height = float(-result.fun)
        if not np.isfinite(height) or height < -1e299:
            return
        theta = self._problem.prior_transform(result.x)[0]
        k = reached[0] if reached else self._known_maximum_at(theta, height)
        if k is None:
            k = self._known_maximum_on_ridge(result.x, height)
        if k is not None and not (height > self.known[k].log_posterior + 0.1 and not reached):
            old = self.known[k]
            self.known[k] = dataclasses.replace(
                old, agreeing=old.agreeing + 1, n_gradients=old.n_gradients + sum(spent)
            )
            return
        if k is None and self.known and height < self.best.log_posterior - _DEPTH:
            return  # it ended far below
        covariance, definite = covariance_at(self._problem, theta, self._evaluate, self._with_prior)
        self._n_gradients += 2 * self._problem.ndim + 1
        one = Maximum(theta, height, covariance, definite, bool(result.success), 1, sum(spent))
        if k is None:
            self.known.append(one)
            self._places.append(result.x)
            self._precisions.append(np.linalg.pinv(covariance, hermitian=True))
        else:  # the known one was not the top
            old = self.known[k]
            self.known[k] = dataclasses.replace(
                one, agreeing=old.agreeing + 1, n_gradients=old.n_gradients + sum(spent)
            )
            self._places[k], self._precisions[k] = result.x, np.linalg.pinv(covariance, hermitian=True)

    def _known_maximum_at(self, theta: np.ndarray, height: float) -> int | None:
        """Return the known maximum that lies within one standard deviation of a place, and is as high."""
        for k, (one, precision) in enumerate(zip(self.known, self._precisions, strict=True)):
            off = theta - one.theta
            off = np.where(self._circle, off - self._period * np.round(off / self._period), off)
            if abs(height - one.log_posterior) < 1 and off @ precision @ off < 1:
                return k
        return None

    def _known_maximum_on_ridge(self, u: np.ndarray, height: float) -> int | None:
        """Return the known maximum that no dip separates from a place of the cube: both lie on one ridge."""
        t = np.arange(1, _BETWEEN + 1)[:, None] / (_BETWEEN + 1)
        for k, (one, place) in enumerate(zip(self.known, self._places, strict=True)):
            if abs(height - one.log_posterior) > 5:
                continue
            off = place - u
            off = np.where(self._circle, off - np.round(off), off)
            line = np.where(self._circle, (u + t * off) % 1.0, u + t * off)
            if self._height(self._problem.prior_transform(line)).min() > min(height, one.log_posterior) - _DIP:
                return k
        return None

    def maxima(self) -> Maxima:
        """Return the maxima that may matter."""
        if not self.known:
            raise ModelError("no search for a maximum came to a possible model: check priors and positivity")
        best = self.best
        log_masses = np.array([one.log_mass for one in self.known])
        # The highest one stays in any case: its mass may be cut off by an edge, or be larger than Laplace has it.
        order = [k for k in np.argsort(-log_masses, kind="stable") if log_masses[k] > log_masses.max() - _DEPTH / 2]
        kept = order[:_MOST]
        if all(self.known[k] is not best for k in kept):
            kept[-1 if len(kept) == _MOST else len(kept) :] = [next(k for k, o in enumerate(self.known) if o is best)]
        log.info(
            "%d of %d searches reached the highest of %d maxima, ln P = %.2f",
            best.agreeing, self._searches, len(self.known), best.log_posterior,
        )  # fmt: skip
        if not best.definite:
            log.warning("the maximum lies on an edge of the prior or is flat; its covariance is a guess")
        shares = np.exp(log_masses[kept] - log_masses[kept].max())
        found = tuple(self.known[k] for k in kept)
        left_out = 1 - shares.sum() / np.exp(log_masses[order] - log_masses[kept].max()).sum()
        left_out = max(float(left_out), 0.0)
        return Maxima(found, shares / shares.sum(), self._searches, best.agreeing, self._n_gradients, left_out)
