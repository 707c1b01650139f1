"""Workers of scripts of the published interface, which have no ``if __name__ == "__main__"``."""

import json
import multiprocessing.dummy
import subprocess
import sys

import numpy as np
import pytest

import socca
from socca.models import Background, Model
from socca.noise import Normal
from socca.pool.mp import MultiPool
from socca.priors import normal
from tests.fakes import INSTALLED
from tests.pool.test_published_mpi import FIT, OPTIONS

pytestmark = pytest.mark.usefixtures("no_launcher")

CORES = (
    FIT
    + """
from socca.pool.mp import MultiPool

choices = {"ncores": {"ncores": 4}, "pool": {"pool": 4}, "n_cores": {"n_cores": 4}}
with MultiPool(4, fit.problem.log_likelihood) as ready:
    choices["ready"] = {"pool": ready}
    for name in sys.argv[3:]:
        fit.run(method, **options, **choices[name])
        meta = fit.posterior.meta
        print(json.dumps([name, meta["pool"], meta["workers"], fit.samples.sum()]), flush=True)
    assert len(ready.map(abs, [1, -2])) == 2  # it is still open
"""
)


@pytest.fixture
def fit(make_image):
    data = np.random.default_rng(3).normal(0.5, 1, (8, 8))
    return socca.fitter(
        make_image(data, noise=Normal(sigma=1.0)), Model(Background(a0=normal(0, 1), a1x=normal(0, 0.1)))
    )


def test_four_workers_by_every_name(tmp_path, fit):
    (tmp_path / "script.py").write_text(CORES)
    names = ["ncores", "pool", "n_cores", "ready"]
    command = [sys.executable, "script.py", "emcee", json.dumps(OPTIONS["emcee"]), *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    fit.run("emcee", **OPTIONS["emcee"])
    assert found == [[name, "loky", 4, fit.samples.sum()] for name in names]


@pytest.mark.parametrize("method", [param for param in INSTALLED if param.values[0] in OPTIONS])
def test_a_ready_pool_of_another_package(fit, method):
    fit.run(method, **OPTIONS[method])
    alone = fit.samples
    with multiprocessing.dummy.Pool(2) as pool:
        fit.run(method, pool=pool, **OPTIONS[method])
    assert fit.posterior.meta["pool"] == "borrowed"
    np.testing.assert_array_equal(fit.samples, alone)


def test_a_pool_by_place_and_by_name(fit):
    likelihood = fit.problem.log_likelihood
    theta = np.zeros((3, 2))
    for pool in (MultiPool(2, likelihood), MultiPool(processes=2, likelihood=likelihood)):
        with pool:
            assert pool.size == 2
            assert pool.likelihood is likelihood
            assert pool.map(abs, [-1, 2]) == [1, 2]
            np.testing.assert_array_equal(pool.evaluate(theta), likelihood(theta))


def test_numpyro_runs_a_chain_per_core(fit):
    for workers in ({"ncores": 2}, {"n_cores": 2}, {"pool": 2}, {"num_chains": 2}):
        fit.run("numpyro", nwarmup=20, nsamples=20, **workers)
        assert len(fit.samples) == 40
