"""Tasks that run side by side, each calling a likelihood point by point, with these calls gathered into batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class Lockstep:
    """A pool of threads in which every task goes as far as its next likelihood, and then waits for all others.

    Samplers that know one point at a time (a random walk, a draw that is repeated until it is accepted) then have
    their likelihoods evaluated in one vectorised call, in the thread that called `map`. Results do not depend on which
    thread is faster.

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
        self._task = threading.local()
        self._told: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
        self._answers = [queue.SimpleQueue[Any]() for _ in range(size)]
        self._jobs = [queue.SimpleQueue[Any]() for _ in range(size)]
        for number in range(size):
            # Daemons: of a run that failed some wait for an answer for ever, since a back end that catches whatever
            # its likelihood raises, to print it, must not be given an error by each of them.
            threading.Thread(target=self._work, args=(number,), daemon=True).start()

    def likelihood(self, point: np.ndarray) -> float:
        """Return the log-likelihood of one point, shape (ndim,); within a task, wait for the batch."""
        number = getattr(self._task, "number", None)
        if number is None:
            return float(self._evaluate(np.atleast_2d(point))[0])
        self._told.put((number, False, point))
        return float(self._answers[number].get())

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, `size` of them at a time; the results are in order."""
        items = list(items)
        found: list[Any] = []
        for start in range(0, len(items), self.size):
            found += self._together(function, items[start : start + self.size])
        return found

    def close(self) -> None:
        """End the threads."""
        for job in self._jobs:
            job.put(None)

    def _work(self, number: int) -> None:
        self._task.number = number
        while (job := self._jobs[number].get()) is not None:
            function, item = job
            try:
                result: Any = (function(item), None)
            except Exception as error:
                result = (None, error)
            self._told.put((number, True, result))

    def _together(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        for number, item in enumerate(items):
            self._jobs[number].put((function, item))
        found: list[Any] = [None] * len(items)
        running = len(items)
        while running:
            asked: dict[int, np.ndarray] = {}
            for _ in range(running):
                number, ended, value = self._told.get()
                if not ended:
                    asked[number] = value
                    continue
                found[number], error = value
                if error is not None:
                    raise error
            running = len(asked)
            if running:
                numbers = sorted(asked)
                for number, value in zip(numbers, self._evaluate(np.stack([asked[k] for k in numbers])), strict=True):
                    self._answers[number].put(value)
        return found
