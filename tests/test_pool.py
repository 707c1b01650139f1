"""Pools: the same numbers from every kind, and a clear error from a worker that dies."""

import multiprocessing.dummy
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from socca.errors import ConfigError, PoolError
from socca.inference import Counted, sample
from socca.models import Background, Model
from socca.noise import Normal
from socca.pool import Pool, SerialPool, open_pool
from socca.pool.base import BorrowedPool
from socca.pool.mp import MultiPool
from socca.priors import normal
from socca.problem import Problem

THETA = np.random.default_rng(1).normal(size=(37, 3))
OFFSET = 0.25


def likelihood(theta):
    return -0.5 * np.sum(np.sin(theta) ** 2, axis=1)


def square(x):
    return x**2


@pytest.fixture(scope="module")
def multi():
    """Two workers whose likelihood is a closure; it fails or kills on special values."""
    shift = OFFSET

    def closure(theta):
        if np.any(theta == -99):
            raise ZeroDivisionError("the likelihood has no value at -99")
        return likelihood(theta) + shift

    with MultiPool(2, closure) as pool:
        yield pool


def test_nothing_asked_for_is_serial():
    for pool in (open_pool(likelihood), open_pool(likelihood, 1), open_pool(likelihood, pool=1)):
        assert isinstance(pool, SerialPool)
        assert pool.size == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ncores": 2, "pool": 2}, "ncores or pool, not both"),
        ({"ncores": 1, "pool": 1}, "ncores or pool, not both"),
        ({"ncores": 0}, "at least 1, got 0"),
        ({"pool": 0}, "at least 1, got 0"),
        ({"ncores": -2}, "at least 1, got -2"),
        ({"ncores": True}, "got True"),
        ({"pool": False}, "got False"),
        ({"ncores": 2.0}, r"got 2\.0"),
        ({"pool": "x"}, "expected a number of workers or an object with a map, got 'x'"),
        ({"ncores": "2"}, "got '2'"),
    ],
)
def test_wrong_choices_are_value_errors(arguments, said):
    with pytest.raises(ConfigError, match=said) as caught:
        open_pool(likelihood, **arguments)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("choice", [{"ncores": 2}, {"pool": 2}, {"ncores": np.int64(2)}])
def test_numbers_of_workers(choice):
    with open_pool(likelihood, **choice) as pool:
        assert isinstance(pool, MultiPool)
        assert pool.size == 2


def test_serial():
    with SerialPool(likelihood) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
        assert np.array_equal(pool.evaluate(THETA), likelihood(THETA))


def test_map_keeps_the_order(multi):
    def slow_first(x):
        time.sleep(0.05 if x == 0 else 0)
        return x, os.getpid()

    found = multi.map(slow_first, range(20))
    assert [x for x, _ in found] == list(range(20))
    assert os.getpid() not in {pid for _, pid in found}


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 37])
def test_workers_give_the_same_bits(multi, rows):
    found = multi.evaluate(THETA[:rows])
    assert found.shape == (rows,)
    assert np.array_equal(found, likelihood(THETA[:rows]) + OFFSET)


def test_an_exception_comes_through_and_the_pool_lives_on(multi):
    with pytest.raises(ZeroDivisionError, match="no value at -99"):
        multi.evaluate(np.full((4, 3), -99.0))
    assert np.array_equal(multi.evaluate(THETA), likelihood(THETA) + OFFSET)


def test_workers_use_one_thread_and_no_fork(multi):
    names = ["OMP_NUM_THREADS", "XLA_FLAGS"]
    ((threads, flags),) = set(multi.map(lambda _: tuple(os.environ.get(name) for name in names), range(4)))
    assert threads == "1"
    assert "intra_op_parallelism_threads=1" in flags or "multi_thread_eigen=false" in flags


@pytest.mark.parametrize("death", ["exit", "kill"])
def test_a_worker_that_dies_is_an_error_and_no_hang(death):
    def deadly(theta):
        if np.any(theta < 0):
            if death == "exit":
                os._exit(3)
            os.kill(os.getpid(), signal.SIGKILL)
        return likelihood(theta)

    start = time.monotonic()
    with MultiPool(2, deadly) as pool:
        assert np.array_equal(pool.evaluate(abs(THETA)), likelihood(abs(THETA)))
        with pytest.raises(PoolError, match="worker of the pool of 2 died"):
            pool.evaluate(THETA)
        with pytest.raises(PoolError):
            pool.evaluate(abs(THETA))
    assert time.monotonic() - start < 30


def test_a_borrowed_pool_stays_open():
    with multiprocessing.dummy.Pool(3) as mine:
        with open_pool(likelihood, pool=mine) as pool:
            assert isinstance(pool, BorrowedPool)
            assert pool.size == 3
            assert pool.map(square, range(4)) == [0, 1, 4, 9]
            for rows in (1, 2, 37):
                assert np.array_equal(pool.evaluate(THETA[:rows]), likelihood(THETA[:rows]))
        assert mine.map(square, [3]) == [9]


def test_a_borrowed_pool_takes_an_empty_batch():
    with multiprocessing.dummy.Pool(3) as mine:
        assert open_pool(likelihood, pool=mine).evaluate(THETA[:0]).shape == (0,)


def test_one_of_our_own_pools_stays_open(multi):
    with open_pool(likelihood, pool=multi) as pool:
        assert isinstance(pool, Pool)
        assert pool.size == 2
        assert np.array_equal(pool.evaluate(THETA), likelihood(THETA) + OFFSET)
    assert len(multi.evaluate(THETA)) == len(THETA)


def test_a_plain_object_with_a_map_is_a_pool():
    class Plain:
        def map(self, function, items):
            return map(function, items)

    pool = open_pool(likelihood, pool=Plain())
    assert pool.size == 1
    assert np.array_equal(pool.evaluate(THETA), likelihood(THETA))


def test_counted_counts_rows():
    counted = Counted(SerialPool(likelihood))
    counted.evaluate(THETA)
    counted.evaluate(THETA[:3])
    assert counted.calls == 40
    assert counted.seconds > 0


SCRIPT = """
import sys
import numpy as np
from socca.pool import open_pool

shift = 1.5


def likelihood(theta):
    return theta.sum(axis=1) + shift


print("started")
with open_pool(likelihood, ncores=2) as pool:
    print(*pool.evaluate(np.arange(6.0).reshape(3, 2)))
"""


def test_scripts_need_no_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["started", "2.5 6.5 10.5"]


def test_a_fit_with_workers_gives_the_same_samples(make_image):
    rng = np.random.default_rng(3)
    image = make_image(rng.normal(0.5, 1, (8, 8)), noise=Normal(sigma=1.0))
    problem = Problem(image, Model(Background(a0=normal(0, 1), a1x=normal(0, 0.1))))
    options = {"seed": 4, "n_live": 100, "n_eff": 200, "n_networks": 0, "focus": False}
    serial, _ = sample(problem, **options)
    parallel, _ = sample(problem, ncores=2, **options)
    assert np.array_equal(serial.samples, parallel.samples)
    assert np.array_equal(serial.log_weights, parallel.log_weights)
    assert np.array_equal(serial.log_likelihood, parallel.log_likelihood)
    assert serial.logz == parallel.logz
    assert (serial.meta["workers"], parallel.meta["workers"]) == (1, 2)
    assert serial.meta["n_calls"] == parallel.meta["n_calls"]
