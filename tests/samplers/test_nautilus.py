"""Nautilus against closed forms: evidence, posterior and seeds."""

import math

import numpy as np
import pytest

from socca.fitting.sample import sample
from socca.pool import SerialPool
from socca.priors import uniform
from socca.samplers import get_sampler
from tests.fakes import Numpy, gaussian
from tests.samplers.plane import QUICK


@pytest.mark.parametrize("focus", [True, False])
def test_nautilus_evidence(fits, exact, focus):
    found = fits[focus].posterior
    assert 0 < found.logz_err < 0.1
    assert abs(found.logz - exact.logz) < 4 * found.logz_err + 0.01
    assert found.meta["converged"] is True


@pytest.mark.parametrize("focus", [True, False])
def test_nautilus_posterior(fits, exact, focus):
    found = fits[focus].posterior
    assert found.n_eff >= 900
    sigma = np.sqrt(np.diag(exact.covariance))
    mean = found.weights @ found.samples
    assert np.all(np.abs(mean - exact.mean) < 4 * sigma / math.sqrt(found.n_eff))
    spread = (found.samples - mean) / sigma
    covariance = (spread * found.weights[:, None]).T @ spread
    error = 4.5 * math.sqrt(2 / found.n_eff)
    assert covariance == pytest.approx(exact.covariance / np.outer(sigma, sigma), abs=error)


@pytest.mark.parametrize("focus", [True, False])
def test_nautilus_gives_the_likelihood_of_its_samples(fits, problem, focus):
    found = fits[focus].posterior
    assert found.log_likelihood[:50] == pytest.approx(problem.log_likelihood(found.samples[:50]), abs=1e-9)
    assert found.log_prior[:50] == pytest.approx(problem.log_prior(found.samples[:50]), abs=1e-12)
    assert found.weights.sum() == pytest.approx(1, abs=1e-9)


def test_the_seed_decides(fits, problem):
    same, _ = sample(problem, "nautilus", seed=3, **QUICK)
    other, _ = sample(problem, "nautilus", seed=4, **QUICK | {"n_eff": 200})
    first = fits[True].posterior
    for key in ("samples", "log_weights", "log_likelihood"):
        assert np.array_equal(getattr(same, key), getattr(first, key))
    assert same.logz == first.logz
    assert other.logz != first.logz
    assert not np.isin(other.samples[:, 0], first.samples[:, 0]).any()


def test_a_run_that_is_cut_short_says_so(problem, caplog):
    posterior, _ = sample(problem, "nautilus", seed=1, focus=False, n_like_max=500, **QUICK | {"n_live": 100})
    assert posterior.meta["converged"] is False
    assert posterior.meta["n_calls"] < 1500
    assert "stopped before it converged" in caplog.text


def test_nautilus_with_a_maximum_on_the_edge():
    fake = Numpy(lambda theta: gaussian(theta, np.array([-0.1, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("nautilus")(**QUICK).run(fake, SerialPool(fake.log_likelihood), 2)
    wanted = math.log(0.5 * math.erfc(2 / math.sqrt(2)))
    assert abs(draws.logz - wanted) < 4 * draws.logz_err + 0.02
