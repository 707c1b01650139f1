"""Launchers of MPI: how they are known, and what they cannot start."""

import os
import subprocess
import sys

import pytest

import socca
from socca.models import Background, Model
from socca.pool import SerialPool, chosen_kind, open_pool
from socca.priors import normal
from socca.samplers import METHODS
from socca.utils.launcher import Launch, launched, root_only
from tests.pool.ranks import BATCH_SCRIPT, NOT_WITH_MPI, OPEN_MPI, PMI, STEP, real_ranks

pytestmark = pytest.mark.usefixtures("no_launcher")


def test_methods_that_need_one_process_are_known():
    assert {"optimizer", "numpyro"} & set(METHODS) == set(NOT_WITH_MPI)


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


def test_a_pool_of_ones_own_is_used_under_any_launcher(monkeypatch, make_image, capsys):
    image, model = make_image(shape=(4, 4)), Model(Background(a0=normal(0, 1)))
    for name, value in OPEN_MPI.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    fit = socca.fitter(image, model)
    fit.run("optimizer", pool=SerialPool(fit.problem.log_likelihood))
    assert fit.rank == 0
    fit.parameters()
    assert "comp_00_a0" in capsys.readouterr().out


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
