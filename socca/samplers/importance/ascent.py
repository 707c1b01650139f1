"""Ascents to maxima of likelihood times prior, where the likelihood has a Fisher information: Levenberg-Marquardt.

The coordinates are those in which the prior is standard normal. A step solves ``(C + l diag C) step = gradient``, with
``C`` the Fisher information of the likelihood and the identity, that of the prior; ``l`` follows the ratio of the gain
to that expected (Nielsen 1999, IMM-REP-1999-05).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from socca.samplers.coordinates.normal import NormalCoordinates

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

#: Places in a prior, from its ends, within which an ascent begins: on an edge lies infinity.
_INSIDE = 2.5
#: Damping at the beginning; and the largest, from which on no step helps.
_DAMPING, _MOST_DAMPING = 1e-2, 1e8
#: Longest step, in standard deviations of the prior along any axis.
_LONGEST = 1.0
#: Expected gain in the log of the density below which an ascent ends.
_GAIN = 0.005
#: Points between two places, and how far the log density falls there between two maxima.
_BETWEEN, _DIP = 8, 0.5
#: Standard deviations within which a place belongs to a maximum.
_NEAR = 1.0


class Top(NamedTuple):
    """Where an ascent ended.

    Attributes
    ----------
    theta : ndarray, shape (ndim,)
        Parameters.
    log_posterior : float
        Log-likelihood plus log prior density, in coordinates in which the prior is standard normal.
    information : ndarray, shape (ndim, ndim)
        Fisher information of the parameters.
    proper : bool
        Whether there is no slope.
    n_gradients : int
        Places at which it was computed.
    """

    theta: np.ndarray
    log_posterior: float
    information: np.ndarray
    proper: bool
    n_gradients: int


class Tops:
    """The maxima that ascents from some starts lead to.

    Parameters
    ----------
    problem : LogDensity
        With a Fisher information.
    evaluate : callable
        Batched log-likelihood.
    maxiter : int
        Steps of an ascent, at most.

    Attributes
    ----------
    found : list of Top
        All of them, in the order in which they were found.
    searches : int
        Starts.
    agreeing : int
        How many of them lead to the highest one.
    n_gradients : int
        Places at which the information was computed.
    """

    def __init__(self, problem: LogDensity, evaluate: Callable[[np.ndarray], np.ndarray], maxiter: int) -> None:
        self._problem, self._evaluate, self._maxiter = problem, evaluate, maxiter
        pairs = zip(problem.priors, problem.periods, strict=True)
        self._circle = np.array([prior.is_flat_over(period) for prior, period in pairs], bool)
        self._period = np.array([period or 1.0 for period in problem.periods])
        self.found: list[Top] = []
        self._agreeing: list[int] = []
        self.searches = self.n_gradients = 0

    @property
    def best(self) -> Top:
        """The highest maximum."""
        return max(self.found, key=lambda top: top.log_posterior)

    @property
    def agreeing(self) -> int:
        """How many starts lead to the highest maximum."""
        return self._agreeing[max(range(len(self.found)), key=lambda k: self.found[k].log_posterior)]

    def ascend_from(self, starts: np.ndarray) -> None:
        """Go up from each of some points of the unit cube, shape (n, ndim), to a maximum or to one that is known."""
        for u in starts:
            self.searches += 1
            top, known = self._ascend(self._problem.prior_transform(u)[0])
            self.n_gradients += top.n_gradients
            if known is None and np.isfinite(top.log_posterior):
                known = self._joined(top.theta)
                if known is None:
                    self.found.append(top)
                    self._agreeing.append(0)
                    known = len(self.found) - 1
                elif top.log_posterior > self.found[known].log_posterior:
                    self.found[known] = top  # the known one was not the top
            if known is not None:
                self._agreeing[known] += 1

    def _joined(self, theta: np.ndarray) -> int | None:
        """Return the known maximum from which no dip, on a straight line, separates the end of an ascent."""
        order = sorted(range(len(self.found)), key=lambda k: self._distance(theta, self.found[k]))
        t = np.linspace(0, 1, _BETWEEN + 1)[:, None]
        for k in order[:3]:
            coordinates = NormalCoordinates(self._problem, self.found[k].theta[None])
            end, start = coordinates.from_parameters(np.stack([self.found[k].theta, theta]))
            line = (1 - t) * start + t * end
            heights = self._evaluate(coordinates.to_parameters(line)) + coordinates.log_prior(line)
            if not np.isfinite(heights[[0, -1]]).all():
                continue
            # Whichever end is the lower one, nothing between lies lower still.
            if heights.min() > min(heights[0], heights[-1]) - _DIP:
                return k
        return None

    def _distance(self, theta: np.ndarray, top: Top) -> float:
        """Return the squared distance of a place from a maximum, in standard deviations as the data have them."""
        off = theta - top.theta
        off = np.where(self._circle, off - self._period * np.round(off / self._period), off)
        return float(off @ top.information @ off)

    def _ascend(self, theta: np.ndarray) -> tuple[Top, int | None]:
        """Go up from a place; return where it ended, and the known maximum that it came to."""
        coordinates = NormalCoordinates(self._problem, theta[None])
        z = np.clip(coordinates.from_parameters(theta[None]), -_INSIDE, _INSIDE)
        height, gradient, curvature, information = (part[0] for part in coordinates.log_posterior_and_curvature(z))
        spent, damping, growth, proper = 1, _DAMPING, 2.0, False
        known = None
        while spent <= self._maxiter and np.isfinite(height):
            expected = 0.5 * gradient @ np.linalg.solve(curvature, gradient)
            if expected < _GAIN:
                proper = True
                break
            theta = coordinates.to_parameters(z)[0]
            near = [k for k, top in enumerate(self.found) if self._distance(theta, top) < _NEAR**2]
            known = next((k for k in near if abs(height - self.found[k].log_posterior) < 1), None)
            if known is not None or damping > _MOST_DAMPING:
                break
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            step *= min(1.0, _LONGEST / np.abs(step).max())
            tried = coordinates.log_posterior_and_curvature(z + step)
            spent += 1
            gain = tried[0][0] - height
            predicted = gradient @ step - 0.5 * step @ curvature @ step
            if np.isfinite(gain) and gain > 0:
                z = z + step
                height, gradient, curvature, information = (part[0] for part in tried)
                ratio = gain / max(predicted, 1e-300)
                damping, growth = damping * max(1 / 3, 1 - (2 * min(ratio, 2.0) - 1) ** 3), 2.0
            else:
                damping, growth = damping * growth, 2 * growth
        return Top(coordinates.to_parameters(z)[0], float(height), information, proper, spent), known
