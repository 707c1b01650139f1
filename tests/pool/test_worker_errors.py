"""Errors in workers, workers that die, and the ends of those that are left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from socca.errors import PoolError
from socca.pool.mp import MultiPool
from tests.pool.likelihoods import OFFSET, THETA, alive, likelihood, square


def test_an_exception_comes_through_and_the_pool_lives_on(multi):
    with pytest.raises(ZeroDivisionError, match="no value at -99"):
        multi.evaluate(np.full((4, 3), -99.0))
    assert np.array_equal(multi.evaluate(THETA), likelihood(THETA) + OFFSET)


@pytest.mark.parametrize("death", ["exit", "kill"])
def test_a_worker_that_dies_is_an_error_and_no_hang(death):
    def deadly(theta):
        if np.any(theta < 0):
            if death == "exit":
                os._exit(3)
            os.kill(os.getpid(), signal.SIGKILL)
        return likelihood(theta)

    with MultiPool(2, deadly) as pool:
        assert np.array_equal(pool.evaluate(abs(THETA)), likelihood(abs(THETA)))
        with pytest.raises(PoolError, match="worker of the pool of 2 died"):
            pool.evaluate(THETA)
        with pytest.raises(PoolError):
            pool.evaluate(abs(THETA))


@pytest.mark.parametrize("when", ["starting", "idle"])
def test_a_worker_that_dies_while_nobody_asks_is_an_error(when):
    with MultiPool(2, likelihood) as pool:
        if when == "idle":
            pool.evaluate(THETA)
        pid = pool.worker_pids[1]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(PoolError, match=f"worker of the pool of 2 died .process {pid}: signal SIGKILL"):
            pool.evaluate(THETA)
        with pytest.raises(PoolError, match="has ended"):
            pool.map(square, [1])
    assert not any(alive(pid) for pid in pool.worker_pids)


def test_a_worker_over_its_memory_is_an_error_and_the_pool_lives_on():
    import resource

    def greedy(theta):
        if np.any(theta < 0):
            resource.setrlimit(resource.RLIMIT_AS, (2**33, resource.getrlimit(resource.RLIMIT_AS)[1]))
            np.ones(2**31)
        return likelihood(theta)

    with MultiPool(2, greedy) as pool:
        with pytest.raises(MemoryError, match="Unable to allocate"):
            pool.evaluate(-abs(THETA))
        assert np.array_equal(pool.evaluate(abs(THETA)), likelihood(THETA))


def test_an_exception_says_where_it_was_raised(multi):
    with pytest.raises(ZeroDivisionError) as caught:
        multi.evaluate(np.full((4, 3), -99.0))
    (note,) = caught.value.__notes__
    assert "raised in a worker of the pool of 2" in note
    assert "in closure" in note


class Unpicklable(Exception):  # noqa: N818
    def __init__(self, first, second):
        super().__init__(f"{first}, {second}")


def test_an_exception_that_cannot_travel_is_named(multi):
    def fails(_):
        raise Unpicklable("one", "two")

    with pytest.raises(PoolError, match="Unpicklable: one, two"):
        multi.map(fails, [1])
    assert multi.map(square, [3]) == [9]


def test_an_error_ends_the_work(multi, tmp_path):
    def touches(k):
        (tmp_path / str(k)).touch()
        time.sleep(0.02)
        raise ValueError(k)

    with pytest.raises(ValueError, match=r"^[01]\n"):
        multi.map(touches, range(50))
    assert len(list(tmp_path.iterdir())) <= 4


@pytest.mark.parametrize("wrong", [lambda theta: theta, lambda theta: 1.0], ids=["a matrix", "a number"])
def test_a_likelihood_of_the_wrong_shape_is_named(wrong):
    with MultiPool(2, wrong) as pool, pytest.raises(PoolError, match=r"must have shape \(1[89],\), got"):
        pool.evaluate(THETA)


def test_a_likelihood_that_workers_cannot_load_is_an_error():
    with MultiPool(1, Unloadable()) as pool, pytest.raises(ImportError, match="not here"):
        pool.evaluate(THETA)


class Unloadable:
    def __call__(self, theta):
        return likelihood(theta)

    def __reduce__(self):
        return not_here, ()


def not_here():
    raise ImportError("not here")


ORPHANS = """
import signal, sys, time
import numpy as np
from socca.pool import open_pool

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it


def likelihood(theta):
    if theta[0, 0] < 0:
        time.sleep(1000)
    return theta.sum(axis=1)


pool = open_pool(likelihood, ncores=2)
while not pool.started:
    pool.evaluate(np.ones((4, 2)))
print(*pool.worker_pids, flush=True)
if sys.argv[1] == "busy":
    pool.evaluate(-np.ones((4, 2)))
time.sleep(1000 if sys.argv[1] == "idle" else 0)
if sys.argv[1] == "raises":
    raise ValueError("the script fails")
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes run")
@pytest.mark.parametrize(
    ("doing", "signalled"),
    [("idle", "SIGKILL"), ("busy", "SIGKILL"), ("busy", "SIGINT"), ("raises", None), ("forgets to close", None)],
)
def test_no_worker_outlives_its_parent(tmp_path, doing, signalled):
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    with subprocess.Popen([sys.executable, script, doing], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        if signalled:
            assert all(alive(pid) for pid in pids)
            time.sleep(0.2)  # it is within the likelihood by now
            parent.send_signal(getattr(signal, signalled))
        try:
            parent.wait(timeout=20)
        finally:
            parent.kill()
        deadline = time.monotonic() + 10
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(alive(pid) for pid in pids)


def test_workers_leave_the_notice_of_a_batch_system_to_their_parent():
    """From their first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with MultiPool(2, likelihood) as pool:
        for _ in range(2):
            for pid in pool.worker_pids:
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGINT)
            assert np.array_equal(pool.evaluate(THETA), likelihood(THETA))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
