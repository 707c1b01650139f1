"""The optimizer against closed forms: maximum, covariance and samples."""

import math

import numpy as np
import pytest

from socca.errors import ConfigError
from socca.fitting.sample import sample
from socca.pool import SerialPool
from socca.priors import normal, uniform
from socca.samplers import get_sampler
from tests.fakes import Numpy, gaussian


def test_optimizer_is_exact_for_a_gaussian(optimum, exact):
    notes, posterior = optimum.posterior.meta["notes"], optimum.posterior
    sigma = np.sqrt(np.diag(exact.covariance))
    assert (np.array(notes["maximum"]) - exact.mean) / sigma == pytest.approx(0, abs=1e-3)
    assert np.array(notes["covariance"]) / np.outer(sigma, sigma) == pytest.approx(
        exact.covariance / np.outer(sigma, sigma), abs=1e-3
    )
    assert posterior.logz == pytest.approx(exact.logz, abs=1e-3)
    assert math.isnan(posterior.logz_err)
    assert posterior.meta["converged"] is True
    assert posterior.best == pytest.approx(notes["maximum"])


def test_optimizer_samples_are_the_gaussian(optimum, exact):
    samples = optimum.posterior.samples
    n, sigma = len(samples), np.sqrt(np.diag(exact.covariance))
    assert n == 4001
    assert np.all(np.abs(samples.mean(axis=0) - exact.mean) < 4.5 * sigma / math.sqrt(n))
    found = np.cov(((samples - exact.mean) / sigma).T)
    assert found == pytest.approx(exact.covariance / np.outer(sigma, sigma), abs=4.5 * math.sqrt(2 / n))


def test_optimizer_with_flat_priors():
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 3.0]), np.array([0.01, 0.2])), [uniform(0, 1)] * 2)
    fake.priors = [uniform(0, 1), uniform(1, 6)]
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.logz == pytest.approx(-math.log(5), abs=2e-3)
    assert draws.notes["maximum"] == pytest.approx([0.4, 3], abs=1e-5)
    assert np.array(draws.notes["covariance"]) == pytest.approx(np.diag([1e-4, 0.04]), abs=1e-7)


@pytest.mark.parametrize("beyond", [-0.1, 1.1])
def test_a_maximum_on_the_edge_of_a_prior_is_found(beyond):
    fake = Numpy(lambda theta: gaussian(theta, np.array([beyond, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.notes["maximum"] == pytest.approx([round(beyond), 0.5], abs=1e-5)
    assert np.all((draws.samples >= 0) & (draws.samples <= 1))


def test_a_maximum_on_the_edge_of_a_prior_is_no_proper_one():
    """The evidence of Laplace is then wrong by far, which must not pass for converged."""
    fake = Numpy(lambda theta: gaussian(theta, np.array([-0.1, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.converged is False


def test_a_flat_direction_is_flagged():
    fake = Numpy(lambda theta: gaussian(theta[:, :1], np.array([0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.converged is False
    assert math.isnan(draws.logz)
    assert np.isfinite(draws.samples).all()


def test_optimizer_refuses_workers(problem):
    class Two(SerialPool):
        size = 2

    for choice in ({"ncores": 2}, {"pool": 2}, {"pool": Two(problem.log_likelihood)}):
        with pytest.raises(ValueError, match="optimizer runs in one process"):
            sample(problem, "optimizer", seed=1, **choice)


def test_the_maximum_of_the_likelihood_leaves_the_prior_out():
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 3.0]), np.array([0.1, 0.2])), [normal(0, 0.1)] * 2)
    fake.priors = [normal(0, 0.1), uniform(1, 6)]
    likely = get_sampler("optimizer")(objective="ml").run(fake, SerialPool(fake.log_likelihood), 1)
    assert likely.notes["maximum"] == pytest.approx([0.4, 3], abs=1e-4)
    assert np.array(likely.notes["covariance"]) == pytest.approx(np.diag([0.01, 0.04]), abs=1e-5)
    assert math.isnan(likely.logz)
    probable = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert probable.notes["maximum"] == pytest.approx([0.2, 3], abs=1e-4)
    with pytest.raises(ConfigError, match="objective must be map or ml; got 'mle'"):
        get_sampler("optimizer")(objective="mle")
