"""Audits: equal posteriors agree, a missed maximum does not, and nautilus's result is then taken."""

import math
import re

import numpy as np
import pytest

from socca.priors import uniform
from socca.samplers.adaptive import Adaptive
from socca.samplers.base import Draws
from socca.samplers.importance import run
from socca.samplers.importance.audit import compared, is_chosen
from tests.fakes import Numpy, gaussian
from tests.samplers.test_adaptive import explore, two_heaps

LABELS, PERIODS = ["x", "angle"], [None, math.pi]


def drawn(seed, number=4000, scale=1.0, shift=0.0, logz=-10.0):
    """Draws of a normal number, and of an angle whose posterior lies across the end of its period."""
    rng = np.random.default_rng(seed)
    samples = np.stack([rng.normal(shift, scale, number), rng.normal(0.0, 0.1, number) % math.pi], axis=1)
    return Draws(samples, np.full(number, -math.log(number)), np.zeros(number), logz, 0.02, converged=True)


def test_draws_from_one_posterior_agree():
    """Of 200 pairs, none differs by four errors or more (a chance of 0.05 % each, of three numbers)."""
    for seed in range(200):
        found = compared(drawn(seed), drawn(1000 + seed), LABELS, PERIODS)
        assert found.reasons == []
        assert found.off_median < 0.15
        assert found.off_deviation < 0.15


def of(samples):
    """Draws of one parameter."""
    number = len(samples)
    return Draws(samples[:, None], np.full(number, -math.log(number)), np.zeros(number), -10.0, 0.02, converged=True)


@pytest.mark.parametrize("resultant", [0.0, 0.1, 0.5])
def test_an_angle_that_may_have_any_value_agrees(resultant):
    """Its mean and median are chance, where it is nearly flat; none of 100 pairs differs."""

    def angles(seed):
        rng = np.random.default_rng(seed)
        peaked = rng.random(3000) < resultant
        return of(np.where(peaked, rng.normal(1.0, 0.1, 3000), rng.uniform(0, math.pi, 3000)) % math.pi)

    for seed in range(100):
        assert compared(angles(seed), angles(500 + seed), ["theta"], [math.pi]).reasons == []


@pytest.mark.parametrize("apart", [4, 8])
def test_two_equal_maxima_agree(apart):
    """Their median lies anywhere between them."""

    def peaks(seed):
        rng = np.random.default_rng(seed)
        return of(rng.normal(0, 1, 3000) + apart * (rng.random(3000) < 0.5))

    for seed in range(100):
        assert compared(peaks(seed), peaks(500 + seed), ["x"], [None]).reasons == []
    one_sided = of(np.random.default_rng(1).normal(0, 1, 3000))
    assert compared(one_sided, peaks(2), ["x"], [None]).reasons


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"shift": 0.3}, r"the median of x differs by 0\.[23]\d standard deviations"),
        ({"scale": 1.4}, r"the standard deviation of x differs by [23]\d%"),
        ({"logz": -9.5}, r"ln Z differs by -0\.50"),
    ],
)
def test_what_differs_is_named(other, said):
    (reason,) = compared(drawn(1), drawn(2, **other), LABELS, PERIODS).reasons
    assert re.fullmatch(said, reason)


def test_a_share_of_all_seeds_is_chosen():
    """Of 4000 seeds a tenth, to 4 of its 0.005; those of a share belong to every larger one."""
    tenth = {seed for seed in range(4000) if is_chosen(0.1, seed)}
    assert len(tenth) / 4000 == pytest.approx(0.1, abs=0.02)
    assert tenth < {seed for seed in range(4000) if is_chosen(0.2, seed)}
    assert not any(is_chosen(0.0, seed) for seed in range(100))
    assert all(is_chosen(1.0, seed) for seed in range(100))


def test_a_pass_that_is_right_stays():
    loc, scale = np.array([0.3, -0.2]), np.array([0.02, 0.05])
    problem = Numpy(lambda theta: gaussian(theta, loc, scale), [uniform(-1, 1)] * 2)
    alone, draws = (explore(problem, audit=share) for share in (0.0, 1.0))
    assert draws.notes["tier"] == "importance"
    audit = draws.notes["audit"]
    assert audit["reasons"] == []
    assert audit["logz"] == pytest.approx(draws.logz, abs=1e-4)
    assert abs(audit["nested_logz"] + 2 * math.log(2)) < 4 * audit["nested_logz_err"]
    np.testing.assert_array_equal(draws.samples, alone.samples)
    assert "audit" not in alone.notes


def test_a_maximum_that_the_search_missed_is_found(monkeypatch):
    """The search is made to keep one of two heaps: the fit passes, and its audit says that ln Z is too low."""
    search = run.find_summits

    def blind(*args, **options):
        found = search(*args, **options)
        kept = int(np.argmax(found.log_masses))
        parts = {name: getattr(found, name)[kept : kept + 1] for name in ("theta", "centers", "covariances")}
        return run.Summits(**parts, log_masses=found.log_masses[[kept]], searches=2, agreeing=2, n_gradients=0)

    monkeypatch.setattr(run, "find_summits", blind)
    problem = two_heaps(shares=(0.5, 0.5))
    options = {"n_prior": 20, "n_eff": 1000}
    passed = explore(problem, **options)
    assert passed.converged
    assert passed.logz == pytest.approx(-math.log(8), abs=0.2)

    draws = explore(problem, audit=1.0, **options)
    assert draws.notes["tier"] == "nautilus"
    assert any("ln Z differs by -0.6" in reason for reason in draws.notes["escalated"])
    assert draws.notes["audit"]["reasons"]
    assert draws.notes["n_gradients"] == passed.notes["n_gradients"]
    assert "maxima_shares" not in draws.notes  # which were those of the draws that missed a maximum
    assert draws.converged
    assert abs(draws.logz + math.log(4)) < 4 * draws.logz_err + 0.02


def test_what_the_audit_needs_is_what_the_method_needs():
    assert "nautilus-sampler" in Adaptive(fallback="none", audit=0.01).requires
