"""Pools: the same numbers from every kind, and a clear error from a worker that dies."""

import multiprocessing.dummy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from socca.errors import ConfigError, PoolError
from socca.fitting.sample import CountingPool, sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model, Sersic
from socca.noise import Normal
from socca.pool import Pool, SerialPool, chosen_kind, measure, open_pool
from socca.pool.base import BorrowedPool
from socca.pool.mp import MultiPool
from socca.priors import normal, uniform

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


def test_a_problem_without_parameters_has_a_likelihood(multi):
    assert multi.evaluate(np.zeros((2, 0))).tolist() == [OFFSET, OFFSET]


def test_an_exception_comes_through_and_the_pool_lives_on(multi):
    with pytest.raises(ZeroDivisionError, match="no value at -99"):
        multi.evaluate(np.full((4, 3), -99.0))
    assert np.array_equal(multi.evaluate(THETA), likelihood(THETA) + OFFSET)


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
    counted = CountingPool(SerialPool(likelihood))
    counted.evaluate(THETA)
    counted.evaluate(THETA[:3])
    assert counted.calls == 40
    assert counted.seconds > 0


@pytest.mark.parametrize("when", ["starting", "idle"])
def test_a_worker_that_dies_while_nobody_asks_is_an_error(when):
    with MultiPool(2, likelihood) as pool:
        if when == "idle":
            pool.evaluate(THETA)
        pid = pool.worker_pids[1]
        os.kill(pid, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(PoolError, match=f"worker of the pool of 2 died .process {pid}: signal SIGKILL"):
            pool.evaluate(THETA)
        assert time.monotonic() - start < 30
        with pytest.raises(PoolError, match="has ended"):
            pool.map(square, [1])
    assert not any(alive(pid) for pid in pool.worker_pids)


class SlowToLoad:
    """A likelihood whose value is the process that it runs in, and which takes a worker some seconds to load."""

    def __init__(self, seconds=2.0):
        self.seconds = seconds

    def __call__(self, theta):
        if np.any(theta == -99):
            raise ZeroDivisionError("the likelihood has no value at -99")
        return np.full(len(theta), float(os.getpid()))

    def __reduce__(self):
        return loaded_slowly, (self.seconds,)


def loaded_slowly(seconds):
    time.sleep(seconds)
    return SlowToLoad(seconds)


def until_started(pool, patience=30):
    """Evaluate until the workers do; return the last values."""
    deadline = time.monotonic() + patience
    while not pool.started and time.monotonic() < deadline:
        values = pool.evaluate(THETA)
        assert pool.started or set(values) == {os.getpid()}
        time.sleep(0.02)
    return pool.evaluate(THETA)


def test_nobody_waits_for_workers_to_start():
    start = time.monotonic()
    with MultiPool(2, SlowToLoad(), meanwhile=True) as pool:
        assert set(pool.evaluate(THETA)) == {os.getpid()}
        assert time.monotonic() - start < 2
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
    start = time.monotonic()
    pool = MultiPool(2, SlowToLoad(), meanwhile=True)
    pool.evaluate(THETA)
    pool.close()
    assert time.monotonic() - start < 10
    assert not any(alive(pid) for pid in pool.worker_pids)
    with pytest.raises(PoolError, match="has ended"):
        pool.evaluate(THETA)


@pytest.mark.parametrize("when", ["starting", "idle"])
def test_a_worker_that_does_not_end_is_ended(monkeypatch, when):
    """As one does not that the system has stopped."""
    monkeypatch.setattr("socca.pool.mp._PATIENCE", 0.5)
    start = time.monotonic()
    pool = MultiPool(2, SlowToLoad() if when == "starting" else likelihood, meanwhile=when == "starting")
    pool.evaluate(THETA)
    os.kill(pool.worker_pids[0], signal.SIGSTOP)
    pool.close()
    assert time.monotonic() - start < 20
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


def test_rows_may_be_written_to():
    def scales(theta):
        theta *= 2
        return theta.sum(axis=1)

    with MultiPool(2, scales) as pool:
        before = THETA.copy()
        assert np.array_equal(pool.evaluate(THETA), (2 * THETA).sum(axis=1))
        assert np.array_equal(THETA, before)


def alive(pid):
    """Tell whether a process runs: not if it is gone, or only waits to be taken note of."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


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


class Slow(SerialPool):
    """Workers that take a known time."""

    size = 2

    def __init__(self, call, batch):
        self.call, self.batch, self.rows = call, batch, []

    def evaluate(self, theta):
        self.rows.append(len(theta))
        time.sleep(self.batch + self.call * -(-len(theta) // self.size))
        return np.zeros(len(theta))


def test_costs_are_measured():
    cost = measure(Slow(call=2e-3, batch=3e-3), THETA)
    assert cost.call == pytest.approx(2e-3, rel=0.2)  # a sleep is longer than asked for by 0.1 ms or so
    assert cost.batch == pytest.approx(3e-3, rel=0.3)
    assert cost.gain(1000) == pytest.approx(2, rel=0.01)
    assert cost.gain(1) == pytest.approx(0.4, rel=0.3)


def test_what_is_slow_anyway_is_not_measured():
    pool = Slow(call=0.11, batch=0)
    assert measure(pool, THETA) is None
    assert pool.rows == [2, 2]


@pytest.mark.parametrize(("call", "warned"), [(0, True), (2e-3, False)])
def test_a_likelihood_that_is_too_cheap_is_said_once(caplog, call, warned):
    pool = Slow(call=call, batch=1e-3)
    with caplog.at_level("INFO", logger="socca"):
        counted = CountingPool(pool)
        for _ in range(3):
            counted.evaluate(THETA)
    assert counted.calls == 3 * len(THETA)
    measured = [record for record in caplog.records if "ms, handing a batch to 2 workers" in record.message]
    advice = [record for record in caplog.records if "leave out ncores" in record.message]
    assert len(measured) == 1
    assert len(advice) == warned


def test_no_advice_without_workers(caplog):
    with caplog.at_level("INFO", logger="socca"):
        CountingPool(SerialPool(likelihood)).evaluate(THETA)
    assert not caplog.records
