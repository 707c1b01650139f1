"""Statistics of weighted samples."""

from __future__ import annotations

import math

import numpy as np

#: Probability within the interval of a summary: that of one standard deviation.
INTERVAL = math.erf(1 / math.sqrt(2))


def unwrapped(x: np.ndarray, weights: np.ndarray, period: float) -> np.ndarray:
    """Move angles by whole periods to lie around their circular mean, itself within ``[0, period)``.

    Parameters
    ----------
    x, weights : ndarray, shape (n,)
        Angles and weights.
    period : float
        In the same unit.

    Returns
    -------
    ndarray, shape (n,)
        Each within half a period of the mean.
    """
    turn = 2 * math.pi / period
    mean = math.atan2(float(np.sum(weights * np.sin(turn * x))), float(np.sum(weights * np.cos(turn * x)))) / turn
    return around(mean % period, x, period)


def around(middle: float, x: np.ndarray, period: float) -> np.ndarray:
    """Move angles, shape (n,), by whole periods to lie within half a period of a middle."""
    return middle + (x - middle + period / 2) % period - period / 2


def weighted_quantiles(x: np.ndarray, weights: np.ndarray, levels: list[float]) -> list[float]:
    """Return quantiles of weighted samples, linear between the midpoints of their cumulative weights.

    Parameters
    ----------
    x, weights : ndarray, shape (n,)
        Values and weights.
    levels : list of float
        Between 0 and 1.

    Returns
    -------
    list of float
        One per level.
    """
    order = np.argsort(x)
    sorted_weights = weights[order]
    cumulative = np.cumsum(sorted_weights) - 0.5 * sorted_weights
    return [float(value) for value in np.interp(levels, cumulative / np.sum(sorted_weights), x[order])]
