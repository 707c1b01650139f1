"""Messages between the processes of a pool: rows as raw bytes, all else as pickles."""

from __future__ import annotations

import functools
import itertools
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import cloudpickle
import numpy as np

from socca.errors import PoolError
from socca.pool.base import Likelihood

#: Anything that lies in memory in one piece.
Body = bytes | memoryview | np.ndarray


def shares(theta: np.ndarray, number: int) -> list[np.ndarray]:
    """Split rows into so many parts of nearly equal length, or as many as there are rows, but one at least."""
    number = max(1, min(number, len(theta)))
    ends = [len(theta) * k // number for k in range(number + 1)]
    return [theta[start:end] for start, end in itertools.pairwise(ends)]


def packed_rows(theta: np.ndarray) -> np.ndarray:
    """Return rows as one vector of float64, headed by their number and length."""
    return np.concatenate([theta.shape, theta.ravel()])


def unpacked_rows(body: Body) -> np.ndarray:
    """Return the rows of `packed_rows`, shape (n, ndim), in memory of their own."""
    numbers = np.frombuffer(body, dtype=np.float64)
    return numbers[2:].reshape(int(numbers[0]), int(numbers[1])).copy()


def values_of(likelihood: Likelihood, theta: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of each row, shape (n,); anything else that it gives is a `PoolError`."""
    values = np.asarray(likelihood(theta), dtype=np.float64)
    if values.shape != (len(theta),):
        raise PoolError(f"the likelihood of {len(theta)} rows must have shape ({len(theta)},), got {values.shape}")
    return np.ascontiguousarray(values)


def load(body: Body) -> Callable[[Any], Any]:
    """Return a pickled function; one that cannot be loaded raises the reason when it is called."""
    try:
        found: Callable[[Any], Any] = cloudpickle.loads(body)
    except Exception as error:  # whatever is missing here
        return functools.partial(_fail, error)
    return found


def _fail(error: Exception, _: Any) -> NoReturn:
    raise error


def packed_error(error: BaseException) -> bytes:
    """Return an exception with its traceback, pickled; one that cannot be pickled as a `PoolError` that names it."""
    text = "".join(traceback.format_exception(error))
    try:
        packed: bytes = cloudpickle.dumps((error, text))
        cloudpickle.loads(packed)
    except Exception:
        packed = cloudpickle.dumps((PoolError(f"{type(error).__name__}: {error}"), text))
    return packed


def unpacked_error(body: Body, where: str) -> BaseException:
    """Return the exception of `packed_error`, with a note that says where it was raised."""
    error, text = cloudpickle.loads(body)
    error.add_note(f"raised in {where}:\n{text}")
    found: BaseException = error
    return found
