"""Chains of emcee: walkers, circles and convergence."""

import json
import math

import emcee
import numpy as np
import pytest
from scipy.special import ive

from socca.errors import ConfigError
from socca.fitting.sample import sample
from socca.pool import SerialPool
from socca.priors import normal, uniform
from socca.samplers import get_sampler
from tests.fakes import Numpy


@pytest.mark.parametrize("walkers", [7, 4])
def test_emcee_needs_walkers(problem, walkers):
    with pytest.raises(ConfigError, match="nwalkers must be even, and at least 6"):
        sample(problem, "emcee", seed=1, nwalkers=walkers)


@pytest.mark.parametrize("concentration", [20, 0.7])
def test_angles_on_a_whole_circle_have_no_edge_for_chains(concentration):
    """The posterior lies across the end of the prior; a chain that stopped there would see two halves."""

    def log_likelihood(theta):
        return concentration * np.cos(theta[:, 0] - 0.1) - theta[:, 1] ** 2

    fake = Numpy(log_likelihood, [uniform(0, 2 * np.pi), normal(0, 1)])
    fake.periods = [2 * np.pi, None]
    draws = get_sampler("emcee")(n_eff=1000).run(fake, SerialPool(fake.log_likelihood), 1)
    angle = draws.samples[:, 0]
    assert np.all((angle >= 0) & (angle <= 2 * np.pi))
    # A von Mises distribution, by its Bessel functions; to five errors of so many independent samples.
    cosine = ive(1, concentration) / ive(0, concentration)
    square = (1 + ive(2, concentration) / ive(0, concentration)) / 2
    off = angle - 0.1
    assert np.cos(off).mean() == pytest.approx(cosine, abs=5 * math.sqrt((square - cosine**2) / draws.n_eff))
    assert np.sin(off).mean() == pytest.approx(0, abs=5 * math.sqrt((1 - square) / draws.n_eff))
    assert draws.converged


@pytest.mark.parametrize(("ndim", "moves", "n_eff"), [(1, None, 20_000), (2, None, 20_000), (1, "stretch", 3000)])
def test_walkers_do_not_go_around_a_circle_for_ever(ndim, moves, n_eff):
    """Two humps all around it. Turns say nothing, and must neither add up nor take part in proposals."""

    def log_likelihood(theta):
        return np.cos(theta[:, 0] - 0.1) + 0.8 * np.cos(2 * theta[:, 0] + 1)

    fake = Numpy(log_likelihood, [uniform(0, 2 * np.pi), normal(0, 1)][:ndim])
    fake.periods = [2 * np.pi, None][:ndim]
    options = {} if moves is None else {"moves": emcee.moves.StretchMove()}
    draws = get_sampler("emcee")(n_eff=n_eff, nwalkers=32, **options).run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.converged
    assert np.ptp(draws.sampler.get_chain()[..., 0]) < 2 * np.pi
    grid = 2 * np.pi * (np.arange(10_000) + 0.5) / 10_000
    height = np.exp(log_likelihood(grid[:, None]))
    for wave in (np.cos, np.sin, lambda x: np.cos(2 * x), lambda x: np.sin(2 * x)):
        mean = np.average(wave(grid), weights=height)
        error = math.sqrt(np.average((wave(grid) - mean) ** 2, weights=height) / draws.n_eff)
        assert wave(draws.samples[:, 0]).mean() == pytest.approx(mean, abs=4.5 * error)


def test_a_chain_that_is_too_short_is_not_converged():
    """A walker that has not moved has no autocorrelation time."""
    fake = Numpy(lambda theta: -0.5 * np.sum((theta / 1e-3) ** 2, axis=1), [normal(0, 1)] * 2)
    moves = emcee.moves.MHMove(lambda x, rng: (x + 1.0, np.zeros(len(x))))
    draws = get_sampler("emcee")(moves=moves, max_steps=200).run(fake, SerialPool(fake.log_likelihood), 1)
    assert not draws.converged
    assert draws.notes["autocorrelation_time"] == [None, None]
    assert np.isfinite(draws.samples).all()
    assert json.loads(json.dumps(draws.notes)) == draws.notes


def test_chains_are_looked_at_less_and_less_often():
    from socca.samplers.emcee import is_look_due

    looks = [chunk for chunk in range(1, 2000) if is_look_due(chunk)]
    assert looks[:32] == list(range(1, 33))
    steps = np.diff(looks)[32:] / np.array(looks)[32:-1]
    assert 0.03 < steps.min() < steps.max() < 0.07
