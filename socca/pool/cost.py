"""Cost of a likelihood in a pool, and whether the pool is worth it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np

from socca.pool.base import Pool

log = logging.getLogger(__name__)

#: Rows per worker of the larger of the two batches that are timed.
_ROWS = 9
#: Rows of a batch that the advice has in mind: about what samplers hand over.
TYPICAL_BATCH = 64
#: Seconds per likelihood below which samplers' own work is most of a fit, so that workers change little.
CHEAP = 1e-4
#: A batch that takes longer than this (seconds) pays in any case, and is not measured further.
_LONG = 0.1


@dataclass(frozen=True)
class Cost:
    """Time of a batch: n rows take ``batch + call * n / workers`` seconds.

    Parameters
    ----------
    call : float
        Seconds of one likelihood.
    batch : float
        Seconds of handing over a batch, whatever its length.
    workers : int
        That share the batch.
    """

    call: float
    batch: float
    workers: int

    def gain(self, rows: int) -> float:
        """Return how many times faster than one process the workers are for a batch of so many rows."""
        share = -(-rows // self.workers)
        return self.call * rows / (self.batch + self.call * share)


def measure(pool: Pool, theta: np.ndarray, repeats: int = 5) -> Cost | None:
    """Time batches of two sizes.

    Parameters
    ----------
    pool : Pool
        The workers.
    theta : ndarray, shape (n, ndim)
        Rows to evaluate, repeated as often as needed.
    repeats : int
        How often; the fastest counts.

    Returns
    -------
    Cost or None
        None if one row for each worker takes so long that there is nothing to ask.
    """

    def fastest(rows: int) -> float:
        batch = np.resize(theta, (rows, theta.shape[1]))
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            pool.evaluate(batch)
            times.append(time.perf_counter() - start)
        return min(times)

    few = np.resize(theta, (pool.size, theta.shape[1]))
    pool.evaluate(few)  # compiles, in each worker
    start = time.perf_counter()
    pool.evaluate(few)
    if time.perf_counter() - start > _LONG:
        return None
    short, long = fastest(pool.size), fastest(_ROWS * pool.size)
    call = max(long - short, 0.0) / (_ROWS - 1)
    return Cost(call, max(short - call, 0.0), pool.size)


def advise(pool: Pool, theta: np.ndarray) -> None:
    """Log what a likelihood costs in a pool, with the advice to do without where that gains nothing.

    Parameters
    ----------
    pool : Pool
        One without workers is none to advise on.
    theta : ndarray, shape (n, ndim)
        Where the likelihood is timed.
    """
    if pool.size < 2 or not len(theta) or (cost := measure(pool, theta[: pool.size])) is None:
        return
    gain = cost.gain(TYPICAL_BATCH)
    log.info(
        "a likelihood takes %.3g ms, handing a batch to %d workers %.3g ms: %.2g times as fast in batches of %d",
        1e3 * cost.call, pool.size, 1e3 * cost.batch, gain, TYPICAL_BATCH,
    )  # fmt: skip
    if cost.call < CHEAP or gain < 1.2:
        log.warning(
            "%.3g ms per likelihood is too little for %d workers to gain much: leave out ncores (or mpirun), and use "
            "the cores for other fits at the same time",
            1e3 * cost.call, pool.size,
        )  # fmt: skip
