"""What a pool is, and how one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from socca.errors import ConfigError

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
    size : int
        Number of workers.
    """

    size: int = 1

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
        Batched log-likelihood; sent along with each part, unless the pool is one of ours.
    """

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


def open_pool(likelihood: Likelihood, ncores: int | None = None, pool: int | MapPool | None = None) -> Pool:
    """Choose a pool.

    Parameters
    ----------
    likelihood : callable
        Batched log-likelihood, shape (n, ndim) to (n,).
    ncores : int, optional
        Number of workers.
    pool : int or MapPool, optional
        The same, or a ready pool.

    Returns
    -------
    Pool
        Serial for one worker, loky for more.

    Raises
    ------
    ConfigError
        If both are given, or a number is not positive.
    """
    if ncores is not None and pool is not None:
        raise ConfigError("give ncores or pool, not both: they mean the same")
    wanted = 1 if ncores is None and pool is None else pool if ncores is None else ncores
    if isinstance(wanted, Pool):
        return _Kept(wanted)
    if not isinstance(wanted, int | np.integer):
        if not hasattr(wanted, "map"):
            raise ConfigError(f"pool: expected a number of workers or an object with a map, got {wanted!r}")
        return BorrowedPool(wanted, likelihood)  # type: ignore[arg-type]
    if isinstance(wanted, bool) or wanted < 1:
        raise ConfigError(f"the number of workers must be at least 1, got {wanted!r}")
    if wanted == 1:
        return SerialPool(likelihood)
    from socca.pool.mp import MultiPool

    return MultiPool(int(wanted), likelihood)


class _Kept(Pool):
    """One of our own pools, which whoever made it will close."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.size = pool.size
        self.map = pool.map  # type: ignore[method-assign]
        self.evaluate = pool.evaluate  # type: ignore[method-assign]
