"""Workers that are starting: who evaluates meanwhile, and what can go wrong."""

import os
import signal
import time

import numpy as np
import pytest

from socca.errors import PoolError
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import Normal
from socca.pool.mp import MultiPool
from socca.priors import normal
from tests.pool.likelihoods import THETA, SlowToLoad, alive, likelihood


def until_started(pool, patience=30):
    """Evaluate until the workers do; return the last values."""
    deadline = time.monotonic() + patience
    while not pool.started and time.monotonic() < deadline:
        values = pool.evaluate(THETA)
        assert pool.started or set(values) == {os.getpid()}
        time.sleep(0.02)
    return pool.evaluate(THETA)


def test_nobody_waits_for_workers_to_start():
    with MultiPool(2, SlowToLoad(), meanwhile=True) as pool:
        assert set(pool.evaluate(THETA)) == {os.getpid()}
        assert not pool.started
        with pytest.raises(ZeroDivisionError):  # which costs the pool nothing
            pool.evaluate(np.full((1, 3), -99.0))
        assert set(until_started(pool)) == set(pool.worker_pids)


def test_workers_take_over_within_a_batch():
    """A long batch does not stay with the process that began it."""

    def slow(theta):
        time.sleep(0.01 * len(theta))
        return np.full(len(theta), float(os.getpid()))

    with MultiPool(2, slow, meanwhile=True) as pool:
        values = pool.evaluate(np.zeros((3000, 3)))
        assert pool.started
    assert len(values) == 3000
    assert values[0] == os.getpid()
    assert set(values[-1000:]) <= set(pool.worker_pids)


def test_what_is_mapped_waits_for_workers():
    with MultiPool(2, SlowToLoad(), meanwhile=True) as pool:
        pool.evaluate(THETA)
        assert os.getpid() not in pool.map(lambda _: os.getpid(), range(3))
        assert set(pool.evaluate(THETA)) == set(pool.worker_pids)


def test_a_worker_that_dies_while_it_starts_is_an_error():
    with MultiPool(2, SlowToLoad(), meanwhile=True) as pool:
        pid = pool.worker_pids[1]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(PoolError, match=f"worker of the pool of 2 died .process {pid}: signal SIGKILL"):
            until_started(pool)
        with pytest.raises(PoolError, match="has ended"):
            pool.evaluate(THETA)
    assert not any(alive(pid) for pid in pool.worker_pids)


def test_a_pool_that_is_starting_can_be_closed():
    pool = MultiPool(2, SlowToLoad(), meanwhile=True)
    pool.evaluate(THETA)
    assert not pool.started
    pool.close()
    assert not any(alive(pid) for pid in pool.worker_pids)
    with pytest.raises(PoolError, match="has ended"):
        pool.evaluate(THETA)


@pytest.mark.parametrize("when", ["starting", "idle"])
def test_a_worker_that_does_not_end_is_ended(monkeypatch, when):
    """As one does not that the system has stopped."""
    monkeypatch.setattr("socca.pool.mp._PATIENCE", 0.5)
    pool = MultiPool(2, SlowToLoad() if when == "starting" else likelihood, meanwhile=when == "starting")
    pool.evaluate(THETA)
    os.kill(pool.worker_pids[0], signal.SIGSTOP)
    pool.close()
    assert not any(alive(pid) for pid in pool.worker_pids)


def test_workers_that_are_late_are_told(monkeypatch, caplog):
    monkeypatch.setattr("socca.pool.mp._LATE", 0.1)
    with MultiPool(2, SlowToLoad(), meanwhile=True) as pool:
        until_started(pool)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "2 workers have not started after 0 s: this process goes on alone" in said


def test_a_fit_that_is_over_before_its_workers_start_says_so(make_image, caplog):
    problem = Problem(make_image(np.ones((8, 8)), noise=Normal(sigma=1.0)), Model(Background(a0=normal(0, 1))))
    with MultiPool(1, SlowToLoad(600), meanwhile=True) as pool:
        pool._likelihood = problem.log_likelihood
        sample(problem, "nautilus", seed=1, pool=pool, n_live=50, n_eff=50, n_networks=0)
    assert "the fit was over before its 1 workers had started: leave out ncores" in caplog.text


def test_an_empty_batch_waits_for_nobody():
    with MultiPool(2, SlowToLoad(), meanwhile=True) as pool:
        assert pool.evaluate(THETA[:0]).shape == (0,)
        assert not pool.started
