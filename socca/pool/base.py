"""Interface of pools of workers, and the pools of one process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np

T = TypeVar("T")

#: A batched log-likelihood: shape (n, ndim) to (n,).
Likelihood = Callable[[np.ndarray], np.ndarray]


class MapPool(Protocol):
    """Interface of a ready-made pool: a `map`, which those of `multiprocessing`, MPI and others have."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]:
        """Apply a function to each item."""
        ...


class Pool(ABC):
    """Interface of pools: workers that evaluate a likelihood.

    Attributes
    ----------
    name : str
        Of the kind of pool.
    size : int
        Number of workers.
    """

    name: str
    size: int = 1

    @property
    def started(self) -> bool:
        """Whether `evaluate` has the workers at work; until then, this process is in their place."""
        return True

    def adopt(self, likelihood: Likelihood, digest: str) -> None:  # noqa: B027  (most have theirs from the start)
        """Take a likelihood, if the pool was made without one.

        Parameters
        ----------
        likelihood : callable
            Batched log-likelihood, shape (n, ndim) to (n,).
        digest : str
            Tells problems apart.
        """

    @abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers; the results are in order."""

    @abstractmethod
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

    def close(self) -> None:  # noqa: B027  (nothing to do where there are no workers)
        """Release the workers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SerialPool(Pool):
    """Pool without workers: this process evaluates everything.

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
    """Ready-made pool of another package, which the user will close.

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


class LentPool(Pool):
    """One of socca's own pools, which stays open when this one is closed: whoever made it will close it.

    Parameters
    ----------
    pool : Pool
        Does the work.
    likelihood : callable, optional
        Batched log-likelihood, for a pool that was made without one.
    digest : str
        Of the problem.
    """

    def __init__(self, pool: Pool, likelihood: Likelihood | None = None, digest: str = "") -> None:
        self._pool = pool
        if likelihood is not None:
            pool.adopt(likelihood, digest)
        self.name, self.size = pool.name, pool.size

    @property
    def started(self) -> bool:
        """Whether that pool has its workers at work."""
        return self._pool.started

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers."""
        return self._pool.map(function, items)

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row."""
        return self._pool.evaluate(theta)

    def drive(self, work: Callable[[], T]) -> T:
        """Do something once; see `Pool.drive`."""
        return self._pool.drive(work)
