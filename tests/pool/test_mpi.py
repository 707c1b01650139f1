"""Real runs of two and three ranks of MPI, with the ways in which a rank can end."""

import contextlib
import socket

import numpy as np
import pytest

import socca
from tests.pool.ranks import NOT_WITH_MPI, real_ranks, run_ranks

pytestmark = pytest.mark.usefixtures("no_launcher")

#: Seconds within which a job ends after a rank's end.
PROMPT = 30

FIT = """
import sys
import numpy as np
import socca
from socca.data import Image
from socca.models import Background, Model
from socca.noise import Normal
from socca.priors import normal

data = np.random.default_rng(3).normal(0.5, 1, (8, 8))
image = Image(data, noise=Normal(sigma=1.0), pixel_scale=0.2)
fit = socca.fitter(image, Model(Background(a0=normal(0, 1), a1x=normal(0, 0.1))))
OPTIONS = {"seed": 4, "n_live": 100, "n_eff": 200, "n_networks": 1, "neural_network_kwargs": {"max_iter": 50}}
fit.run(focus=False, **OPTIONS)
"""
SHARED = (
    FIT
    + """
from mpi4py import MPI

rank = MPI.COMM_WORLD.rank
assert fit.rank == rank
result = np.concatenate([fit.samples.ravel(), fit.weights, fit.logw, [fit.logz, fit.logz_err]])
np.savez(f"rank{rank}.npz", samples=fit.samples, weights=fit.weights, logw=fit.logw, logz=fit.logz,
         logz_prior=fit.posterior.log_prior, calls=fit.posterior.meta["n_calls"])
acts = [fit.parameters(), fit.dump("fit.h5"), fit.savemodel("model.fits")]
assert acts == [None] * 3
if rank:
    assert fit.plot.comparison("comparison.png") is None
    assert fit.sampler is None
else:
    assert fit.posterior.meta["pool"] == "mpi"
    assert fit.posterior.meta["workers"] == 2
for method in sys.argv[1:]:
    try:
        fit.run(method)
    except ValueError as error:
        print("refused", rank, error, flush=True)
print("ended", rank, flush=True)
"""
)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """A fit on two ranks: the folder in which it ran, and how it ended."""
    folder = tmp_path_factory.mktemp("ranks")
    return folder, run_ranks(SHARED, folder, *NOT_WITH_MPI)[0]


@real_ranks
def test_two_ranks_run_the_unchanged_script_to_its_end(two_ranks):
    folder, done = two_ranks
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("ended")) == ["ended 0", "ended 1"]
    assert done.stdout.count("comp_00_a1x") == 1  # the table is printed once
    assert {path.name for path in folder.iterdir()} >= {"fit.h5", "model.fits"}
    assert not (folder / "comparison.png").exists()


@real_ranks
def test_two_ranks_give_the_bits_of_one(two_ranks, make_image):
    folder, _ = two_ranks
    scope = {}
    exec(FIT, scope)  # noqa: S102  (the same script, in this process)
    fit = scope["fit"]
    for rank in (0, 1):
        found = np.load(folder / f"rank{rank}.npz")
        assert np.array_equal(found["samples"], fit.samples)
        assert np.array_equal(found["weights"], fit.weights)
        assert np.array_equal(found["logw"], fit.logw)
        assert np.array_equal(found["logz_prior"], fit.posterior.log_prior)
        assert found["logz"] == fit.logz
        assert found["calls"] == fit.posterior.meta["n_calls"]
    assert np.array_equal(socca.load(folder / "fit.h5").samples, fit.samples)


@real_ranks
@pytest.mark.parametrize("method", NOT_WITH_MPI)
def test_what_cannot_use_mpi_is_refused_on_every_rank(two_ranks, method):
    _, done = two_ranks
    refused = [line for line in done.stdout.splitlines() if f"{method} does not run under MPI" in line]
    assert sorted(line[:9] for line in refused) == ["refused 0", "refused 1"]


POOL = """
import os
import signal
import sys
import threading
import time

import numpy as np

from socca.errors import PoolError
from socca.utils.launcher import launched
from socca.pool import open_pool

rank, how = launched().rank, sys.argv[1]


def likelihood(theta):
    if how == "likelihood raises on 1" and rank == 1:
        raise ZeroDivisionError("nothing to divide by")
    if how in ("1 is killed", "0 is killed") and rank == int(how[0]):
        os.kill(os.getpid(), signal.SIGKILL)
    return theta.sum(axis=1)


def fails(x):
    raise ValueError(f"cannot map {x}")


THETA = np.arange(35.0).reshape(7, 5)


def work():
    assert np.array_equal(pool.map(lambda x: 2 * x, range(9)), np.arange(0, 18, 2))
    if how == "map raises":
        pool.map(fails, range(3))
    for rows in range(8):
        assert np.array_equal(pool.evaluate(THETA[:rows]), THETA[:rows].sum(axis=1))
    if how == "driver raises":
        raise KeyError("lost")
    if how == "driver exits":
        sys.exit(7)
    return {"who": rank}


if how == "1 raises before" and rank == 1:
    raise OSError("no such image")
hook = sys.excepthook
with open_pool(likelihood, digest="other" if how == "1 differs" and rank == 1 else "same") as pool:
    assert pool.size == launched().size
    if how == "errors are caught":
        try:
            pool.drive(lambda: pool.map(fails, range(3)))
        except ValueError as error:
            print("caught", rank, error, flush=True)
        try:
            pool.evaluate(THETA)
        except PoolError as error:
            print("refused", rank, flush=True)
    assert pool.drive(work) == {"who": 0}
if how == "1 raises after" and rank == 1:
    raise OSError("disk full")
if how == "a thread of 1 raises" and rank == 1:
    thread = threading.Thread(target=fails, args=(5,))
    thread.start()
    thread.join()
with open_pool(likelihood) as pool:
    assert pool.drive(work) == {"who": 0}
print("ended", rank, flush=True)
"""


@real_ranks
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_work_and_its_errors(tmp_path, ranks):
    done, _ = run_ranks(POOL, tmp_path, "errors are caught", ranks=ranks)
    assert done.returncode == 0, done.stderr
    lines = sorted(
        line.split("raised in")[0].strip() for line in done.stdout.splitlines() if line[:6] in ("caught", "ended ")
    )
    assert lines == [f"caught {k} cannot map 0" for k in range(ranks)] + [f"ended {k}" for k in range(ranks)]
    assert sum(line.startswith("refused") for line in done.stdout.splitlines()) == ranks


@real_ranks
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("likelihood raises on 1", ["ZeroDivisionError: nothing to divide by", "raised in rank 1", "in likelihood"]),
        ("map raises", ["ValueError: cannot map", "in fails"]),
        ("driver raises", ["KeyError: 'lost'", "in work"]),
        ("driver exits", []),
        ("1 raises before", ["OSError: no such image"]),
        ("1 raises after", ["OSError: disk full"]),
        ("a thread of 1 raises", ["ValueError: cannot map 5", "in fails"]),
        ("1 is killed", ["signal 9"]),
        ("0 is killed", ["signal 9"]),
        ("1 differs", ["PoolError: rank(s) 1 of 2 have another image, model or prior than rank 0"]),
    ],
)
def test_the_end_of_a_rank_is_that_of_all(tmp_path, how, said):
    done, seconds = run_ranks(POOL, tmp_path, how)
    assert done.returncode != 0
    assert seconds < PROMPT
    assert "ended" not in done.stdout
    for part in said:
        assert part in done.stdout + done.stderr


@real_ranks
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_all_where_the_launcher_does_not(tmp_path, rank):
    # As srun, which leaves the other tasks alone unless told otherwise.
    done, seconds = run_ranks(POOL, tmp_path, f"{rank} is killed", ranks=3, launcher=["--enable-recovery"])
    # mpirun's own status means nothing here: it was told to bear with dead ranks.
    assert seconds < PROMPT
    assert "ended" not in done.stdout
    assert f"socca: rank {rank} (" in done.stderr
    assert "died, and all ranks end" in done.stderr


def test_strangers_are_not_taken_for_ranks():
    from socca.pool.rank_watchdog import accepted

    word = bytes(range(16))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        said = [bytes(16) + bytes([0, 0, 0, 1]), b"", word + bytes([0, 0, 0, 2]), word + bytes([0, 0, 0, 1])]
        with contextlib.ExitStack() as stack:
            for words in said:
                connection = stack.enter_context(socket.create_connection(address))
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
            peers = accepted(server, word, ["rank 0", "rank 1", "rank 2"])
            assert sorted(peers.values()) == ["rank 1", "rank 2"]
            for connection in peers:
                connection.close()
