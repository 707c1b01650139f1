"""Comparison of the models of one target by their evidences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def compare(targets: Sequence[str], logz: np.ndarray, done: np.ndarray) -> dict[str, np.ndarray]:
    """Compare each fit with the other models of its target.

    Parameters
    ----------
    targets : sequence of str
        Of each fit.
    logz : ndarray, shape (n,)
        Log-evidence; NaN where there is none.
    done : ndarray of bool, shape (n,)
        Which fits count.

    Returns
    -------
    dict of ndarray, shape (n,)
        ``log_bayes_factor`` against the best model of the target, ``probability`` if all of its models were equally
        likely before, and ``best_model``, whether it is the best. The only fit of a target is its best, though its
        sampler may give no evidence.
    """
    groups: dict[str, list[int]] = {}
    for k in np.flatnonzero(done).tolist():
        groups.setdefault(targets[k], []).append(k)
    factors, probabilities = np.full((2, len(targets)), np.nan)
    best = np.zeros(len(targets), dtype=bool)
    for members in groups.values():
        evidence = logz[members]
        if np.any(np.isfinite(evidence)):
            factors[members] = evidence - np.nanmax(evidence)
            odds = np.exp(factors[members])
            probabilities[members] = odds / np.nansum(odds)
            best[members[int(np.nanargmax(evidence))]] = True
        elif len(members) == 1:
            best[members[0]] = True
    return {"log_bayes_factor": factors, "probability": probabilities, "best_model": best}
