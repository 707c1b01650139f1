"""Choice of a pool."""

from __future__ import annotations

import logging

import numpy as np

from socca.errors import ConfigError, nearest
from socca.pool.base import BorrowedPool, LentPool, Likelihood, MapPool, Pool, SerialPool
from socca.utils.launcher import ranks

log = logging.getLogger(__name__)

#: Kinds of pools, for configs and the command line.
KINDS = ("auto", "serial", "loky", "mpi")


def open_pool(
    likelihood: Likelihood,
    ncores: int | None = None,
    pool: int | MapPool | None = None,
    kind: str = "auto",
    digest: str = "",
) -> Pool:
    """Choose a pool.

    Parameters
    ----------
    likelihood : callable
        Batched log-likelihood, shape (n, ndim) to (n,).
    ncores : int, optional
        Number of workers.
    pool : int or MapPool, optional
        The same, or a ready pool, which is used as it is.
    kind : {'auto', 'serial', 'loky', 'mpi'}
        By default MPI where a launcher started several processes, or MPI is initialised and has several ranks; else
        loky for several workers, else serial.
    digest : str
        Of the problem: ranks of MPI with different ones are refused.

    Returns
    -------
    Pool
        To be closed.

    Raises
    ------
    ConfigError
        If `ncores` and `pool` are given both, a number is not positive, or the kind is none of these or cannot be had.
    ImportError
        If MPI is to be used, and mpi4py is missing.
    PoolError
        If the ranks of MPI do not find each other, or differ in their problem.
    """
    chosen = chosen_kind(kind, ncores, pool)
    if isinstance(pool, Pool):
        return LentPool(pool, likelihood, digest)
    if pool is not None and not isinstance(pool, int | np.integer):
        return BorrowedPool(pool, likelihood)
    cores = int(ncores or pool or 1)
    if chosen == "mpi":
        from socca.pool.mpi import MPIPool

        if cores > 1:
            log.info("the ranks of MPI are the workers: that %d cores were asked for changes nothing", cores)
        return MPIPool(likelihood=likelihood, digest=digest)
    if chosen == "loky":
        from socca.pool.mp import MultiPool

        return MultiPool(cores, likelihood, meanwhile=True)
    return SerialPool(likelihood)


def chosen_kind(kind: str = "auto", ncores: int | None = None, pool: int | MapPool | None = None) -> str:
    """Return which kind of pool `open_pool` opens, without opening it.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    ncores, pool : int or pool, optional
        As of `open_pool`.

    Returns
    -------
    {'serial', 'loky', 'mpi', 'borrowed'}
        What ``auto`` stands for, or what was asked for.

    Raises
    ------
    ConfigError
        If `ncores` and `pool` are given both, a number is not positive, or the kind is none of these or cannot be had.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of pool {kind!r}{nearest(kind, KINDS, listed=True)}")
    if ncores is not None and pool is not None:
        raise ConfigError("give ncores or pool, not both: they mean the same")
    wanted = ncores if pool is None else pool
    if wanted is not None and not isinstance(wanted, int | np.integer):
        if not hasattr(wanted, "map"):
            raise ConfigError(f"pool: expected a number of workers or an object with a map, got {wanted!r}")
        return wanted.name if isinstance(wanted, Pool) else BorrowedPool.name
    if isinstance(wanted, bool) or (wanted is not None and wanted < 1):
        raise ConfigError(f"the number of workers must be at least 1, got {wanted!r}")
    cores = 1 if wanted is None else int(wanted)
    if kind == "auto":
        return "mpi" if ranks() else "loky" if cores > 1 else "serial"
    if kind == "mpi" and not ranks():
        raise ConfigError("a pool of MPI needs several processes: start them with mpirun -n 4 (or srun -n 4) ...")
    if kind == "serial" and cores > 1:
        raise ConfigError(f"a serial pool has one worker, not {cores}: leave out the number of cores, or use loky")
    return kind
