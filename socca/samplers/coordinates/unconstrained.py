"""Unconstrained coordinates, for chains that follow gradients."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.samplers.coordinates.periodic import PeriodicParameters
from socca.samplers.maxima.maximum import correlation_root

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.maxima.maximum import Maximum


@dataclasses.dataclass(frozen=True)
class UnconstrainedSpace:
    """Coordinates without edges in which the posterior is about a unit Gaussian.

    A parameter is the value itself, the logarithm of its distance from a bound, the logit of its place between two, or,
    where it is an angle on a whole circle, that angle, turned as often as one likes. These are then shifted and
    stretched as the Gaussian at the maximum is.

    Parameters
    ----------
    kinds : tuple of str
        ``real``, ``above``, ``below``, ``between`` or ``circle``, one per parameter.
    low, high : ndarray, shape (ndim,)
        Bounds; 0 and 1 where there is none.
    center : ndarray, shape (ndim,)
        The maximum, in these coordinates.
    root : ndarray, shape (ndim, ndim)
        Cholesky factor of the covariance there.
    """

    kinds: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    center: np.ndarray
    root: np.ndarray

    @classmethod
    def around(cls, problem: LogDensity, maximum: Maximum) -> UnconstrainedSpace:
        """Make the space of a problem with a known maximum."""
        support = np.array([prior.support for prior in problem.priors])
        circle = PeriodicParameters(problem).which
        finite = np.isfinite(support)
        names = {(False, False): "real", (True, False): "above", (False, True): "below", (True, True): "between"}
        kinds = tuple(
            "circle" if turns else names[bool(a), bool(b)] for turns, (a, b) in zip(circle, finite, strict=True)
        )
        low, high = np.where(finite, support, [0.0, 1.0]).T
        sigma = np.sqrt(np.diag(maximum.covariance))
        center, slope = np.empty(len(kinds)), np.ones(len(kinds))
        for k, kind in enumerate(kinds):
            # A maximum on an edge lies infinitely far out: a standard deviation from it is as good a start.
            inner = min(sigma[k], 0.25 * (high[k] - low[k])) if kind == "between" else sigma[k]
            x = np.clip(
                maximum.theta[k], low[k] + inner if finite[k, 0] else None, high[k] - inner if finite[k, 1] else None
            )
            if kind == "between":
                center[k] = math.log((x - low[k]) / (high[k] - x))
                slope[k] = 1 / (x - low[k]) + 1 / (high[k] - x)
            elif kind in ("above", "below"):
                distance = x - low[k] if kind == "above" else high[k] - x
                center[k], slope[k] = math.log(distance), (1 if kind == "above" else -1) / distance
            else:
                center[k] = maximum.theta[k]
        bounded = np.isin(kinds, ("above", "below", "between"))
        # A logarithm or a logit that spreads by more than 2 is that of a flat stretch, where the Gaussian is a guess.
        stretch = np.where(bounded, np.sign(slope) * np.minimum(np.abs(slope), 2 / sigma), slope)
        covariance = maximum.covariance * np.outer(stretch, stretch)
        scale = np.sqrt(np.diag(covariance))
        return cls(kinds, low, high, center, scale[:, None] * correlation_root(covariance))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What may differ between problems that share their programs."""
        return self.low, self.high, self.center, self.root

    def to_parameters(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return parameters, shape (n, ndim), and the log of the volume that each takes, less a constant."""
        with jax.enable_x64(True):
            theta, log_slope = jax.vmap(functools.partial(to_parameters, self.kinds, self.arrays))(jnp.asarray(y))
            return np.asarray(theta), np.asarray(log_slope)


def to_parameters(kinds: tuple[str, ...], arrays: tuple[Any, ...], y: Any) -> tuple[Any, Any]:
    """Return the parameters at one point, shape (ndim,), and the log of the volume factor, less a constant."""
    lows, highs, center, root = arrays
    theta, log_slope = [], jnp.zeros(())
    for kind, low, high, x in zip(kinds, lows, highs, center + root @ y, strict=True):
        if kind == "between":
            theta.append(low + (high - low) * jax.nn.sigmoid(x))
            log_slope += jnp.log(high - low) + jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)
        elif kind in ("above", "below"):
            theta.append(low + jnp.exp(x) if kind == "above" else high - jnp.exp(x))
            log_slope += x
        else:
            theta.append(low + (x - low) % (high - low) if kind == "circle" else x)
    return jnp.stack(theta), log_slope
