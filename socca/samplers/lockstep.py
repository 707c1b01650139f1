"""Batches of likelihoods for back ends that evaluate one point at a time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from greenlet import getcurrent, greenlet


class LockstepPool:
    """Pool in which every task runs to its next likelihood, and then waits for all others.

    Samplers that know one point at a time (a random walk, a draw that is repeated until it is accepted) then have
    their likelihoods evaluated in one vectorised call. Tasks take turns in one thread, always in the same order: going
    from one to the next takes a microsecond.

    Parameters
    ----------
    evaluate : callable
        Batched log-likelihood, shape (n, ndim) to (n,).
    size : int
        Tasks side by side.
    """

    def __init__(self, evaluate: Callable[[np.ndarray], np.ndarray], size: int) -> None:
        self.size = size
        self._evaluate = evaluate
        self._tasks: list[_Task] = []

    def likelihood(self, point: np.ndarray) -> float:
        """Return the log-likelihood of one point, shape (ndim,); within a task, wait for the batch."""
        task = getcurrent()
        if isinstance(task, _Task):
            return task.parent.switch(point)
        return float(self._evaluate(np.atleast_2d(point))[0])

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, `size` of them at a time; the results are in order."""
        items = list(items)
        found: list[Any] = []
        for start in range(0, len(items), self.size):
            found += self._together(function, items[start : start + self.size])
        return found

    def close(self) -> None:
        """End tasks that are still waiting, since another one or the likelihood has failed."""
        tasks, self._tasks = self._tasks, []
        # Back ends print whatever ends a likelihood, and this is the end of many.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for task in tasks:
                with contextlib.suppress(BaseException):  # whatever a task makes of its end
                    task.throw()

    def _together(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        found: dict[int, Any] = {}

        def work(number: int, item: Any) -> None:
            found[number] = function(item)

        self._tasks = [_Task(work) for _ in items]
        # What a switch to a task returns: the point that it asks for next, or None at its end.
        asked = [task.switch(number, item) for number, (task, item) in enumerate(zip(self._tasks, items, strict=True))]
        while waiting := [(task, point) for task, point in zip(self._tasks, asked, strict=True) if point is not None]:
            self._tasks = [task for task, _ in waiting]
            values = self._evaluate(np.stack([point for _, point in waiting]))
            asked = [task.switch(value) for task, value in zip(self._tasks, values.tolist(), strict=True)]
        self._tasks = []
        return [found[number] for number in range(len(items))]


class _Task(greenlet):
    """A task of a `LockstepPool`, whose parent is what called `map`."""
