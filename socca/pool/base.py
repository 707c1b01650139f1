"""What a pool is, and how one is chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np

from socca.errors import ConfigError, nearest
from socca.launch import launched

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Kinds of pools, for configs and the command line.
KINDS = ("auto", "serial", "loky", "mpi")

#: A batched log-likelihood: shape (n, ndim) to (n,).
Likelihood = Callable[[np.ndarray], np.ndarray]


class MapPool(Protocol):
    """What a ready-made pool must offer: a `map`, as those of `multiprocessing`, MPI and others do."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]:
        """Apply a function to each item."""
        ...


class Pool:
    """Workers that evaluate a likelihood.

    Attributes
    ----------
    name : str
        Of the kind of pool.
    size : int
        Number of workers.
    """

    name: ClassVar[str] = ""
    size: int = 1

    @property
    def started(self) -> bool:
        """Whether `evaluate` has the workers at work; until then, this process is in their place."""
        return True

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers; the results are in order."""
        raise NotImplementedError

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row: the batch is split, one message per worker.

        Parameters
        ----------
        theta : ndarray, shape (n, ndim)
            Parameters.

        Returns
        -------
        ndarray, shape (n,)
            Log-likelihoods.
        """
        raise NotImplementedError

    def drive(self, work: Callable[[], T]) -> T:
        """Do something once, and return its result in every process that runs the same script.

        Parameters
        ----------
        work : callable
            What uses `map` and `evaluate`. Only one process calls it.

        Returns
        -------
        object
            What it returns.
        """
        return work()

    def close(self) -> None:
        """Let the workers go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SerialPool(Pool):
    """No workers: this process does it.

    Parameters
    ----------
    likelihood : callable
        Batched log-likelihood.
    """

    name = "serial"

    def __init__(self, likelihood: Likelihood) -> None:
        self._likelihood = likelihood

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item."""
        return [function(item) for item in items]

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row."""
        return self._likelihood(theta)


class BorrowedPool(Pool):
    """A pool that the user made and will close.

    Parameters
    ----------
    pool : MapPool
        Anything with a `map`; its ``size`` (or ``_processes``, ``_max_workers``) says into how many parts to split.
    likelihood : callable
        Batched log-likelihood; sent along with each part.
    """

    name = "borrowed"

    def __init__(self, pool: MapPool, likelihood: Likelihood) -> None:
        self._pool = pool
        self._likelihood = likelihood
        sizes = [getattr(pool, name, None) for name in ("size", "_processes", "_max_workers")]
        self.size = next((int(size) for size in sizes if isinstance(size, int)), 1)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers."""
        return list(self._pool.map(function, items))

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row."""
        return np.concatenate(self.map(self._likelihood, np.array_split(theta, max(1, min(self.size, len(theta))))))


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
        By default MPI where a launcher started several processes, else loky for several workers, else serial.
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
        return _Kept(pool)
    if pool is not None and not isinstance(pool, int | np.integer):
        return BorrowedPool(pool, likelihood)
    cores = int(ncores or pool or 1)
    if chosen == "mpi":
        from socca.pool.mpi import MPIPool

        if cores > 1:
            log.info("the ranks of MPI are the workers: that %d cores were asked for changes nothing", cores)
        return MPIPool(likelihood, digest)
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
        raise ConfigError(f"unknown kind of pool {kind!r}{nearest(kind, KINDS)} (known: {', '.join(KINDS)})")
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
        return "mpi" if launched() else "loky" if cores > 1 else "serial"
    if kind == "mpi" and not launched():
        raise ConfigError("a pool of MPI needs several processes: start them with mpirun -n 4 (or srun -n 4) ...")
    if kind == "serial" and cores > 1:
        raise ConfigError(f"a serial pool has one worker, not {cores}: leave out the number of cores, or use loky")
    return kind


class _Kept(Pool):
    """One of our own pools, which whoever made it will close."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.name = pool.name  # type: ignore[misc]
        self.size = pool.size
        self.map = pool.map  # type: ignore[method-assign]
        self.evaluate = pool.evaluate  # type: ignore[method-assign]
        self.drive = pool.drive  # type: ignore[method-assign]

    @property
    def started(self) -> bool:
        """As of that pool."""
        return self._pool.started
