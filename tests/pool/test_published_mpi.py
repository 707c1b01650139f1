"""Scripts of the published interface on two ranks of MPI."""

import json
import re

import numpy as np
import pytest

import socca
from socca.utils import launcher
from tests.fakes import INSTALLED
from tests.pool.ranks import NOT_WITH_MPI, SERIAL, real_ranks, run_ranks

pytestmark = pytest.mark.usefixtures("no_launcher")

#: Small runs: what is looked at is who does what.
OPTIONS = {
    "nautilus": {"n_live": 60, "n_eff": 60, "focus": False, "n_networks": 0},
    "dynesty": {"nlive": 40, "dlogz": 5.0, "focus": False, "print_progress": False},
    "pocomc": {"n_effective": 40, "n_total": 60, "n_evidence": 0, "progress": False},
    "emcee": {"nwalkers": 8, "nsteps": 40, "progress": False},
}
PARALLEL = [param for param in INSTALLED if param.values[0] in OPTIONS]

FIT = """
import json
import sys

import numpy as np

import socca
from socca.data import Image
from socca.models import Background, Model
from socca.noise import Normal
from socca.priors import normal

data = np.random.default_rng(3).normal(0.5, 1, (8, 8))
img = Image(data, noise=Normal(sigma=1.0), pixel_scale=0.2)
mod = Model(Background(a0=normal(0, 1), a1x=normal(0, 0.1)))
fit = socca.fitter(img=img, mod=mod)
method, options = sys.argv[1], json.loads(sys.argv[2])
"""
SCRIPT = (
    FIT
    + """
fit.run(method, **options)
fit.parameters()
fit.bmc()
fit.dump("fit.h5")
fit.savemodel("model")
fit.plot.comparison("comparison.png", dpi=30)
fit.plot.corner("corner.png", dpi=30)
fit.plot.trace("trace.png", dpi=30)
if method == "emcee":
    fit.plot.autocorrelation("tau.png")

from mpi4py import MPI  # a script of its own has no need of it

rank = MPI.COMM_WORLD.rank
found = [fit.samples.tolist(), fit.weights.tolist(), fit.logw.tolist(), fit.getmodel("smo").sum()]
for number in (fit.logz, fit.logz_prior):
    found.append(None if np.isnan(number) else number)
found.append(fit.tau.tolist() if method == "emcee" else None)
with open(f"rank{rank}.json", "w") as stream:
    json.dump(found, stream)
print("ended", rank, fit.posterior.meta["pool"], flush=True)
"""
)


@real_ranks
@pytest.mark.parametrize("method", PARALLEL)
def test_the_same_script_runs_to_its_end_on_two_ranks(tmp_path, method):
    done, _ = run_ranks(SCRIPT, tmp_path, method, json.dumps(OPTIONS[method]))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(line for line in lines if line.startswith("ended")) == ["ended 0 mpi", "ended 1 mpi"]
    # Results are on every rank; what prints and writes does it once.
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    assert sum(line.startswith("comp_00_a1x") for line in lines) == 1
    assert sum(line.startswith("ln Bayes factor") for line in lines) == 1
    assert {path.name for path in tmp_path.iterdir()} >= {"model.fits", "comparison.png", "corner.png", "trace.png"}
    np.testing.assert_array_equal(socca.load(tmp_path / "fit.h5").samples, found[0][0])
    # Two of them propose their points one after another.
    advice = f"{method}: it might not benefit from MPI because its points are proposed one after another"
    warned = re.findall(r"UserWarning: (\w+: it might not benefit .*)", done.stderr)
    logged = [line for line in done.stderr.splitlines() if line.startswith(advice)]
    assert len(warned) == len(logged) == (1 if method in ("dynesty", "pocomc") else 0)
    assert all(line == f"{advice}; consider method='nautilus'" for line in [*warned, *logged])


BARE = (
    f"""
import os

from mpi4py import MPI

for name in {sorted(SERIAL)}:
    os.environ.pop(name, None)
"""
    + FIT
    + """
rank = MPI.COMM_WORLD.rank
for refused in sys.argv[3:]:
    try:
        fit.run(refused)
    except ValueError as error:
        print("refused", rank, error, flush=True)
fit.run(method, **options)
fit.parameters()
print("ended", rank, fit.rank, fit.posterior.meta["pool"], fit.posterior.meta["workers"], flush=True)
"""
)


@real_ranks
def test_a_communicator_of_several_ranks_is_enough(tmp_path):
    done, _ = run_ranks(BARE, tmp_path, "emcee", json.dumps(OPTIONS["emcee"]), *NOT_WITH_MPI)
    assert done.returncode == 0, done.stderr
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith(("ended", "refused")))
    assert lines[:2] == ["ended 0 0 mpi 2", "ended 1 1 mpi 2"]
    assert [line[:9] for line in lines[2:]] == ["refused 0"] * len(NOT_WITH_MPI) + ["refused 1"] * len(NOT_WITH_MPI)
    assert all("does not run under MPI" in line for line in lines[2:])
    assert done.stdout.count("comp_00_a1x") == 1


def test_a_communicator_of_one_rank_is_none(monkeypatch):
    class World:
        size, rank = 1, 0

    class Mpi:
        COMM_WORLD = World

        @staticmethod
        def Is_initialized():  # noqa: N802
            return True

        @staticmethod
        def Is_finalized():  # noqa: N802
            return False

    monkeypatch.setitem(launcher.sys.modules, "mpi4py.MPI", Mpi)
    assert launcher.ranks() is None
    monkeypatch.setattr(World, "size", 3)
    monkeypatch.setattr(World, "rank", 2)
    assert launcher.ranks() == launcher.Launch("MPI", 3, 2)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert launcher.ranks() == launcher.Launch("Slurm (srun)", 3, 2)


POOL = """
import sys

import numpy as np

from socca.pool import open_pool
from socca.pool.mpi import MPIPool

how, end = sys.argv[1:]
pool = MPIPool()
assert bool(pool.is_master) == pool.is_master() == (pool.rank == 0)
if how == "wait":
    if not pool.is_master():
        pool.wait()
        print("released", pool.rank, flush=True)
        sys.exit(0)
for n in range(2):
    digest = "another" if how == "differ" and pool.rank == 1 else "same"
    with open_pool(lambda theta, n=n: theta.sum(axis=1) + n, pool=pool, digest=digest) as lent:
        def work():
            assert lent.map(abs, [-1, 2, -3]) == [1, 2, 3]
            return lent.evaluate(np.ones((5, 3)))

        assert lent.drive(work).tolist() == [3.0 + n] * 5
if end == "close":
    pool.close()
print("ended", pool.rank, flush=True)
"""


@real_ranks
@pytest.mark.parametrize("end", ["close", "leave open"])
@pytest.mark.parametrize("how", ["wait", "all"])
def test_a_pool_that_a_script_makes(tmp_path, how, end):
    done, _ = run_ranks(POOL, tmp_path, how, end, ranks=3)
    assert done.returncode == 0, done.stderr
    others = "released" if how == "wait" else "ended"
    assert sorted(done.stdout.splitlines()) == sorted(["ended 0", f"{others} 1", f"{others} 2"])


@real_ranks
def test_a_pool_of_a_script_refuses_other_problems(tmp_path):
    done, _ = run_ranks(POOL, tmp_path, "differ", "close")
    assert done.returncode != 0
    assert "rank(s) 1 of 2 have another image, model or prior than rank 0" in done.stdout + done.stderr


READY = (
    FIT
    + """
from mpi4py import MPI
from socca.pool.mpi import MPIPool

with MPIPool(MPI.COMM_WORLD) as pool:
    for refused in sys.argv[3:]:
        try:
            fit.run(refused, pool=pool)
        except ValueError as error:
            print("refused", pool.rank, error, flush=True)
    fit.run(method, pool=pool, **options)
fit.parameters()
print("ended", fit.rank, fit.samples.sum(), flush=True)
"""
)


@real_ranks
def test_a_fit_on_a_pool_of_a_script(tmp_path):
    done, _ = run_ranks(READY, tmp_path, "emcee", json.dumps(OPTIONS["emcee"]), *NOT_WITH_MPI)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("comp_00_a1x") == 1
    assert sum(line.startswith("refused") for line in done.stdout.splitlines()) == 2 * len(NOT_WITH_MPI)
    ends = sorted(line.split() for line in done.stdout.splitlines() if line.startswith("ended"))
    assert [end[1] for end in ends] == ["0", "1"]
    assert ends[0][2] == ends[1][2]
