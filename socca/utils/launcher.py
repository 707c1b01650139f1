"""Detection of MPI launchers by environment variables, without loading mpi4py."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from socca.utils.xla import single_thread_environment


@dataclass(frozen=True)
class Launch:
    """What a launcher says of this process.

    Parameters
    ----------
    launcher : str
        Who started it.
    size : int
        How many processes it started together.
    rank : int
        Which of them this one is, from 0.
    """

    launcher: str
    size: int
    rank: int


#: Launchers and their variables: number of processes, and which of them. An inner launcher comes before an outer one.
_VARIABLES = (
    ("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MVAPICH2", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("MPICH, Intel MPI or MS-MPI", "PMI_SIZE", "PMI_RANK"),
)
SLURM = "Slurm (srun)"
#: What stands for a launcher that sets none of these variables.
COMMUNICATOR = "MPI"
#: Numbers from here on are steps that Slurm makes by itself, such as that of a batch script.
_OWN_STEPS = 0xFFFF_FFF0


def launched(environment: Mapping[str, str] | None = None) -> Launch | None:
    """Return what the launcher of this process says; None without one, or where it started one process only.

    Parameters
    ----------
    environment : mapping, optional
        Variables to look at; by default those of this process.

    Returns
    -------
    Launch or None
        Always of more than one process. The script of a mere allocation (``sbatch -n 8``) is one process, whatever
        ``SLURM_NTASKS`` says there.
    """
    variables = os.environ if environment is None else environment

    def number(name: str) -> int | None:
        text = variables.get(name, "")
        return int(text) if text.isdecimal() else None

    for launcher, size_name, rank_name in _VARIABLES:
        if (size := number(size_name)) is not None:
            return Launch(launcher, size, number(rank_name) or 0) if size > 1 else None
    rank, step = number("SLURM_PROCID"), number("SLURM_STEP_ID")
    step = number("SLURM_STEPID") if step is None else step
    if rank is None or (rank == 0 and (step is None or step >= _OWN_STEPS)):
        return None
    size = number("SLURM_STEP_NUM_TASKS") or number("SLURM_NTASKS") or 1
    return Launch(SLURM, size, rank) if size > 1 else None


def ranks() -> Launch | None:
    """Return which of several processes this one is, as MPI says if it is initialised, else as its launcher says.

    Returns
    -------
    Launch or None
        Of more than one process.
    """
    mpi = _mpi_in_use()
    if mpi is not None and mpi.COMM_WORLD.size > 1:
        found = launched()
        return Launch(found.launcher if found else COMMUNICATOR, int(mpi.COMM_WORLD.size), int(mpi.COMM_WORLD.rank))
    return launched()


def limit_threads() -> None:
    """Have this process use one core, if it is one of several that a launcher started.

    What is set already stays. To be called before JAX and BLAS load: they read these variables once.
    """
    if launched() is not None:
        for name, value in single_thread_environment().items():
            if name == "XLA_FLAGS":
                os.environ[name] = value  # it holds what was set
            else:
                os.environ.setdefault(name, value)


def current_rank() -> int:
    """Return the rank of this process once MPI is in use, 0 before."""
    mpi = _mpi_in_use()
    return 0 if mpi is None else int(mpi.COMM_WORLD.rank)


def leave(status: int) -> NoReturn:
    """End this process; with it all ranks, where MPI is in use: they would wait for it forever."""
    abort(status)
    sys.exit(status)


def abort(status: int = 1) -> None:
    """End all ranks now, where MPI is in use."""
    mpi = _mpi_in_use()
    if mpi is not None and mpi.COMM_WORLD.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        mpi.COMM_WORLD.Abort(status)


def _mpi_in_use() -> Any:
    mpi: Any = sys.modules.get("mpi4py.MPI")
    return mpi if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized() else None


class Ranked(Protocol):
    """Something of which every rank holds a copy."""

    @property
    def rank(self) -> int:
        """The rank that holds this copy, 0 without MPI."""


def root_only(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a method act on rank 0 alone; elsewhere it returns None.

    Parameters
    ----------
    method : callable
        Of an object with a `rank`.
    """

    @functools.wraps(method)
    def on_root(self: Ranked, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs) if self.rank == 0 else None

    return on_root
