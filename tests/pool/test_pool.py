"""Pools: the same numbers from every kind."""

import multiprocessing.dummy
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from socca.errors import ConfigError
from socca.fitting.sample import CountingPool, sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model, Sersic
from socca.noise import Normal
from socca.pool import Pool, SerialPool, chosen_kind, open_pool
from socca.pool.base import BorrowedPool
from socca.pool.mp import MultiPool
from socca.priors import normal, uniform
from tests.pool.likelihoods import OFFSET, THETA, likelihood, square


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


def test_a_problem_without_parameters_has_a_likelihood(multi):
    assert multi.evaluate(np.zeros((2, 0))).tolist() == [OFFSET, OFFSET]


def test_workers_use_one_thread_and_no_fork(multi):
    names = ["OMP_NUM_THREADS", "XLA_FLAGS"]
    ((threads, flags),) = set(multi.map(lambda _: tuple(os.environ.get(name) for name in names), range(4)))
    assert threads == "1"
    assert "intra_op_parallelism_threads=1" in flags or "multi_thread_eigen=false" in flags


def test_a_worker_keeps_to_one_core(multi, make_image):
    """Two threads would be at work for 1.7 times as long as the clock says."""
    ranges = {"xc": (-1e-4, 1e-4), "yc": (-1e-4, 1e-4), "theta": (0, 3), "e": (0, 0.9), "re": (1e-4, 2e-4)}
    profile = Sersic(**{name: uniform(*edges) for name, edges in ranges.items()}, Ie=uniform(1, 9), ns=uniform(1, 4))
    problem = Problem(make_image(np.ones((64, 64))), Model(profile))

    def share_of_a_core(problem):
        theta = problem.prior_transform(np.full((64, problem.ndim), 0.5))
        problem.log_likelihood(theta)
        wall, busy = time.perf_counter(), time.process_time()
        for _ in range(20):
            problem.log_likelihood(theta)
        return (time.process_time() - busy) / (time.perf_counter() - wall)

    assert max(multi.map(share_of_a_core, [problem])) < 1.1


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
    counted = CountingPool(SerialPool(likelihood))
    counted.evaluate(THETA)
    counted.evaluate(THETA[:3])
    assert counted.calls == 40
    assert counted.seconds > 0


def test_rows_may_be_written_to():
    def scales(theta):
        theta *= 2
        return theta.sum(axis=1)

    with MultiPool(2, scales) as pool:
        before = THETA.copy()
        assert np.array_equal(pool.evaluate(THETA), (2 * THETA).sum(axis=1))
        assert np.array_equal(THETA, before)


SCRIPT = """
import sys
import numpy as np
from socca.pool import open_pool

shift = 1.5


def likelihood(theta):
    return theta.sum(axis=1) + shift


print("started")
with open_pool(likelihood, ncores=2) as pool:
    while not pool.started:
        pool.evaluate(np.ones((1, 2)))
    print(*pool.evaluate(np.arange(6.0).reshape(3, 2)))
"""


def test_scripts_need_no_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["started", "2.5 6.5 10.5"]


@pytest.mark.parametrize("n_networks", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_fit_with_workers_gives_the_same_samples(make_image, n_networks):
    rng = np.random.default_rng(3)
    image = make_image(rng.normal(0.5, 1, (8, 8)), noise=Normal(sigma=1.0))
    problem = Problem(image, Model(Background(a0=normal(0, 1), a1x=normal(0, 0.1))))
    options = {"seed": 4, "n_live": 100, "n_eff": 200, "n_networks": n_networks, "focus": False}
    serial, _ = sample(problem, **options)
    with MultiPool(2, problem.log_likelihood) as pool:
        parallel, _ = sample(problem, pool=pool, **options)
    assert np.array_equal(serial.samples, parallel.samples)
    assert np.array_equal(serial.log_weights, parallel.log_weights)
    assert np.array_equal(serial.log_likelihood, parallel.log_likelihood)
    assert serial.logz == parallel.logz
    assert (serial.meta["workers"], parallel.meta["workers"]) == (1, 2)
    assert serial.meta["n_calls"] == parallel.meta["n_calls"]
    assert (serial.meta["pool"], parallel.meta["pool"]) == ("serial", "loky")


@pytest.mark.parametrize(
    ("kind", "cores", "found"),
    [("auto", 1, "serial"), ("auto", 2, "loky"), ("serial", 1, "serial"), ("loky", 1, "loky"), ("loky", 2, "loky")],
)
def test_kinds(kind, cores, found):
    assert chosen_kind(kind, cores) == found


@pytest.mark.parametrize(
    ("kind", "cores", "said"),
    [("mpi", 1, "mpirun -n 4"), ("serial", 2, "one worker, not 2"), ("loki", 1, "did you mean 'loky'")],
)
def test_kinds_that_cannot_be_had(kind, cores, said):
    with pytest.raises(ConfigError, match=said):
        chosen_kind(kind, cores)
