"""Fits under a real Slurm: `tests/slurm/start` makes one (as root, on Debian). Without it, these tests are skipped."""

import subprocess
import sys

import pytest

from tests.slurm.running import needs_slurm

pytestmark = needs_slurm

FIT = """
import os
import signal
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
if "killed" in sys.argv and os.environ["SLURM_PROCID"] == "1":
    from socca.likelihood.problem import Problem
    Problem.log_likelihood = lambda self, theta: os.kill(os.getpid(), signal.SIGKILL)
fit.run(seed=4, n_live=100, n_eff=200)
print("ended", fit.posterior.meta["pool"], fit.posterior.meta["workers"], fit.logz.hex(), flush=True)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Give a function that runs the fit by a command of Slurm's, and returns the completed process."""
    folder = tmp_path_factory.mktemp("slurm")
    script = folder / "fit.py"
    script.write_text(FIT)

    def run(*launcher, arguments=(), timeout=300):
        command = [*launcher, sys.executable, str(script), *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)

    return run


def ended(done):
    """Return what the ranks said at their end."""
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("ended")]


@pytest.fixture(scope="module")
def alone(run):
    """What the fit says without Slurm."""
    done = run()
    assert done.returncode == 0, done.stderr
    return ended(done)[0]


def test_two_ranks_of_a_step_share_the_fit(run, alone):
    done = run("srun", "--mpi=pmix", "--ntasks=2")
    assert done.returncode == 0, done.stderr
    assert ended(done) == [["mpi", "2", alone[2]]] * 2  # to the last bit


def test_ranks_that_do_not_see_each_other_are_refused(run):
    done = run("srun", "--mpi=none", "--ntasks=2")
    assert done.returncode != 0
    assert not ended(done)
    assert "Slurm (srun) started 2 processes, but each is alone" in done.stderr
    assert "srun --mpi=pmix" in done.stderr


def test_a_killed_rank_ends_the_step(run):
    done = run("srun", "--mpi=pmix", "--ntasks=2", "--kill-on-bad-exit=0", arguments=["killed"])
    assert done.returncode != 0
    assert not ended(done)


def test_an_allocation_is_no_launcher(tmp_path, alone):
    """A batch script of two tasks runs once; only srun would start its tasks."""
    (tmp_path / "fit.py").write_text(FIT)
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\nexec {sys.executable} fit.py\n")
    command = ["sbatch", "--wait", "--ntasks=2", "--output=out.txt", "job.sh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    text = (tmp_path / "out.txt").read_text()
    assert done.returncode == 0, text
    assert [line.split()[1:] for line in text.splitlines() if line.startswith("ended")] == [alone]
