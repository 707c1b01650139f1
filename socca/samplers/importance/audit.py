"""Audit of a posterior: nested sampling of the same problem from its prior alone, and how far the two differ.

Weights of importance sampling say nothing of a maximum that no draw has met. A nested sampler that knows nothing of the
search may meet it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.samplers.importance.rounds import agree, effective_number
from socca.utils.statistics import around, unwrapped, weighted_quantiles

if TYPE_CHECKING:
    from socca.samplers.base import Draws

#: Errors of a difference, and sizes, up to which it is none: of ln Z; of medians, in standard deviations; and of
#: standard deviations, as a part.
_SIGMAS, _CLOSE_LOGZ, _CLOSE_MEDIAN, _CLOSE_DEVIATION = 4.0, 0.1, 0.15, 0.15


class Comparison(NamedTuple):
    """How far the posterior of importance sampling differs from that of nested sampling.

    Attributes
    ----------
    logz, logz_err : float
        Evidence by importance sampling.
    nested_logz, nested_logz_err : float
        Evidence by nested sampling.
    off_logz : float
        Difference of the two in ln Z, in their combined errors.
    off_median : float
        Largest difference of the probabilities below the nested sampler's median, in standard deviations of a normal
        posterior. (The medians themselves may differ by anything, where there is nothing between two maxima.)
    off_deviation : float
        Largest difference of standard deviations, as a part of those of the nested sampler.
    reasons : list of str
        What is more than the scatter of the draws; empty if the two agree.
    """

    logz: float
    logz_err: float
    nested_logz: float
    nested_logz_err: float
    off_logz: float
    off_median: float
    off_deviation: float
    reasons: list[str]

    def notes(self) -> dict[str, Any]:
        """Return what a result says of it, JSON-serialisable."""
        numbers = {key: round(float(value), 4) for key, value in self._asdict().items() if key != "reasons"}
        return {**numbers, "reasons": self.reasons}


def is_chosen(share: float, seed: int) -> bool:
    """Tell whether the fit of a seed is one of a share of all fits that are audited; of a larger share, it still is."""
    place = int.from_bytes(hashlib.sha256(f"audit/{seed}".encode()).digest()[:8], "big")
    return place < share * 2**64


def compared(draws: Draws, nested: Draws, labels: Sequence[str], periods: Sequence[float | None]) -> Comparison:
    """Compare two sets of draws from the same posterior.

    Parameters
    ----------
    draws : Draws
        By importance sampling.
    nested : Draws
        By nested sampling.
    labels : sequence of str
        Names of the parameters.
    periods : sequence of float or None
        Period of each parameter, None where it is no angle.

    Returns
    -------
    Comparison
        Medians and standard deviations may differ by four errors of the draws, as if the posterior were normal, or by
        0.15; ln Z by four errors or 0.1.
    """
    numbers = [found.n_eff or effective_number(found.log_weights) for found in (draws, nested)]
    scatter = math.sqrt(sum(1 / number for number in numbers))
    medians, deviations = [], []
    weights, nested_weights = (_normalised(found.log_weights) for found in (draws, nested))
    for k, period in enumerate(periods):
        x, expected = draws.samples[:, k], nested.samples[:, k]
        if period is not None:
            expected = unwrapped(expected, nested_weights, period)
            # Around the same middle: of an angle that may have any value, each set's own mean is chance.
            x = around(float(expected.min() + expected.max()) / 2, x, period)
        median = weighted_quantiles(expected, nested_weights, [0.5])[0]
        below = float(weights @ (x < median)) + 0.5 * float(weights @ (x == median))
        medians.append(math.sqrt(2 * math.pi) * abs(below - 0.5))
        spread, scale = _deviation(x, weights), _deviation(expected, nested_weights)
        deviations.append(abs(spread / scale - 1) if scale > 0 else 0.0)
    errors = math.hypot(draws.logz_err, nested.logz_err)
    off_logz = (draws.logz - nested.logz) / errors if errors > 0 else 0.0
    reasons = []
    if not agree((draws.logz, draws.logz_err), (nested.logz, nested.logz_err), _SIGMAS, _CLOSE_LOGZ):
        reasons.append(f"ln Z differs by {draws.logz - nested.logz:+.2f}")
    worst, widest = int(np.argmax(medians)), int(np.argmax(deviations))
    if medians[worst] > max(_CLOSE_MEDIAN, _SIGMAS * math.sqrt(math.pi / 2) * scatter):
        reasons.append(f"the median of {labels[worst]} differs by {medians[worst]:.2f} standard deviations")
    if deviations[widest] > max(_CLOSE_DEVIATION, _SIGMAS * math.sqrt(0.5) * scatter):
        reasons.append(f"the standard deviation of {labels[widest]} differs by {deviations[widest]:.0%}")
    evidences = (draws.logz, draws.logz_err, nested.logz, nested.logz_err)
    return Comparison(*evidences, off_logz, medians[worst], deviations[widest], reasons)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - np.max(log_weights))
    return np.asarray(weights / weights.sum())


def _deviation(x: np.ndarray, weights: np.ndarray) -> float:
    return math.sqrt(float(weights @ (x - weights @ x) ** 2))
