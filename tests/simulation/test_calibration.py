"""Simulation-based calibration, small: ranks of the truth among draws from posteriors of simulated galaxies."""

import numpy as np
import pytest

from benchmarks import calibration


def test_uniform_ranks_pass_and_others_do_not():
    """At the level of 5 %, of 200 sets of uniform ranks 10 +- 3.1 are rejected."""
    test, rng = calibration.Uniformity(100), np.random.default_rng(5)
    p = [test.p_value(rng.integers(0, calibration.DRAWS + 1, 100)) for _ in range(200)]
    assert 2 <= np.sum(np.array(p) < 0.05) <= 22
    u = rng.random(100)
    deviates = {
        "too narrow a posterior": np.where(u < 0.5, u / 1.6, 1 - (1 - u) / 1.6),
        "a shift": u**1.6,
        "too wide a posterior": 0.5 + (u - 0.5) * 0.6,
    }
    for name, values in deviates.items():
        ranks = np.floor(values * (calibration.DRAWS + 1)).astype(int)
        assert test.p_value(ranks) < 0.02, name


def test_the_band_holds_what_passes():
    """A set of ranks leaves the band of 95 % exactly if its p-value is below 5 %, up to the steps of the simulation."""
    test, rng = calibration.Uniformity(50), np.random.default_rng(6)
    low, high = test.band(0.95)
    for _ in range(100):
        ranks = rng.integers(0, calibration.DRAWS + 1, 50)
        counts = test.function(ranks)
        p = test.p_value(ranks)
        if abs(p - 0.05) > 0.01:
            assert (np.all((counts >= low) & (counts <= high))) == (p > 0.05)


@pytest.mark.slow
def test_posteriors_are_calibrated():
    """Thirty galaxies. At the level of 1 % over all parameters and the likelihood together (Bonferroni)."""
    found = list(calibration.ranks(30))
    assert all(one["converged"] for one in found)
    test, columns = calibration.Uniformity(30), calibration.columns(found)
    p = {name: test.p_value(ranks) for name, ranks in columns.items()}
    assert min(p.values()) > 0.01 / len(p), p
