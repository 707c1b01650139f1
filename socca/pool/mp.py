"""Workers on this machine, by loky: no fork after JAX has started, and no ``__main__`` guard in scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from socca.compilation import single_thread_environment
from socca.errors import PoolError
from socca.pool.base import Likelihood, Pool

#: In a worker: the likelihood that it was started with. Empty in every other process.
_worker: dict[str, Likelihood] = {}


def _start(likelihood: Likelihood) -> None:
    from socca.compilation import use_persistent_cache

    use_persistent_cache()
    _worker["likelihood"] = likelihood


def _evaluate(theta: np.ndarray) -> np.ndarray:
    return np.asarray(_worker["likelihood"](theta))


class MultiPool(Pool):
    """Worker processes, each with its own copy of the likelihood, sent once.

    Parameters
    ----------
    processes : int
        Number of workers. Each uses one thread.
    likelihood : callable
        Batched log-likelihood, shape (n, ndim) to (n,).

    Raises
    ------
    PoolError
        From `map` and `evaluate`, if a worker died.
    """

    def __init__(self, processes: int, likelihood: Likelihood) -> None:
        from loky import ProcessPoolExecutor

        self.size = int(processes)
        self._executor = ProcessPoolExecutor(
            max_workers=self.size,
            initializer=_start,
            initargs=(likelihood,),
            env=single_thread_environment(),
            timeout=None,
        )

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers; the results are in order."""
        from loky.process_executor import BrokenProcessPool

        try:
            futures = [self._executor.submit(function, item) for item in items]
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise PoolError(
                f"a worker of the pool of {self.size} died ({error}). If it was killed for memory, use fewer workers "
                "or ask for more memory"
            ) from error

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row: one message per worker."""
        theta = np.atleast_2d(theta)
        return np.concatenate(self.map(_evaluate, np.array_split(theta, max(1, min(self.size, len(theta))))))

    def close(self) -> None:
        """End the workers."""
        self._executor.shutdown(wait=True, kill_workers=True)
