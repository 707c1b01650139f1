"""Evidence and flows of pocoMC."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from socca.pool import SerialPool
from socca.priors import uniform
from socca.samplers import get_sampler
from socca.samplers.pocomc import effective_number
from tests.fakes import Numpy, gaussian


@pytest.mark.parametrize("wrong", [None, "shifted", "narrow", "wide", "thin"])
def test_evidence_of_pocomc_by_importance_sampling(wrong):
    """Whatever the Student density is like: a Gaussian in a square, most of it within, to 4 of the stated errors."""
    scaler = pytest.importorskip("pocomc").scaler.Reparameterize(2, bounds=np.array([[0.0, 1.0]] * 2))
    from socca.samplers.pocomc import importance_evidence

    rng = np.random.default_rng(4)
    loc, sigma = np.array([0.4, 0.7]), np.array([1e-7 if wrong == "thin" else 0.02, 0.05])
    scaler.fit(rng.random((1000, 2)))
    u = scaler.forward(loc + sigma * rng.standard_normal((5000, 2)))
    geometry = SimpleNamespace(t_mean=u.mean(axis=0), t_cov=np.cov(u.T), t_nu=5.0)
    if wrong == "shifted":
        geometry.t_mean = geometry.t_mean + 2 * np.sqrt(np.diag(geometry.t_cov))
    elif wrong in ("narrow", "wide"):
        geometry.t_cov = geometry.t_cov * {"narrow": 0.1, "wide": 10.0}[wrong]
    fake = SimpleNamespace(u_geometry=geometry, scaler=scaler, n_evidence=4000, n_dim=2)
    logz, error = importance_evidence(fake, lambda x: gaussian(x, loc, sigma), np.random.default_rng(5))
    assert 0 < error < 0.1
    assert abs(logz) < 4 * error


@pytest.mark.parametrize(
    ("options", "trained"), [({}, False), ({"focus": False}, True), ({"precondition": True}, True)]
)
def test_pocomc_trains_a_flow_where_it_may_help(monkeypatch, options, trained):
    pocomc = pytest.importorskip("pocomc")
    fits = []

    class Flow(pocomc.flow.Flow):
        def fit(self, *arguments, **named):
            fits.append(1)
            return super().fit(*arguments, **{**named, "epochs": 2})

    monkeypatch.setattr(pocomc.sampler, "Flow", Flow)
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 0.6]), 0.1), [uniform(0, 1)] * 2)
    small = {"n_active": 32, "n_effective": 64, "n_total": 200, "n_evidence": 100, "flow": "nsf3"}
    get_sampler("pocomc")(**small, **options).run(fake, SerialPool(fake.log_likelihood), 1)
    assert bool(fits) is trained


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_particles_that_remember_count_for_less(memory):
    """Each particle is a chain of 1000 iterations with the autocorrelation ``memory**lag``: known in closed form.

    Over ten seeds, the smaller of two estimates is 0.7 to 1.2 times that.
    """
    rng = np.random.default_rng(3)
    chains = rng.standard_normal((1000, 20, 2))
    for before, now in itertools.pairwise(chains):
        now[...] = memory * before + np.sqrt(1 - memory**2) * now
    found = effective_number(chains.reshape(-1, 2), np.zeros(20_000), 20)
    expected = 20_000 * (1 - memory) / (1 + memory)
    assert 0.6 * expected < found <= 1.3 * expected
