"""What a sampler is."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from socca.errors import ConfigError, nearest

if TYPE_CHECKING:
    from socca.pool import Pool
    from socca.problem import Problem

log = logging.getLogger(__name__)


@dataclass
class Draws:
    """What a sampler gives back.

    Parameters
    ----------
    samples : ndarray, shape (n, ndim)
        Points in parameter space.
    log_weights : ndarray, shape (n,)
        Logarithm of their weights, normalised to sum to one.
    log_likelihood : ndarray, shape (n,)
        At these points.
    logz, logz_err : float
        Log-evidence and its standard error; NaN where the method gives none.
    converged : bool
        Whether the sampler met its own criterion.
    sampler : object
        The back end's own object.
    notes : dict
        Anything else worth keeping, JSON-serialisable.
    """

    samples: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    logz: float
    logz_err: float
    converged: bool
    sampler: Any = None
    notes: dict[str, Any] = field(default_factory=dict)


class Sampler:
    """A way to explore a posterior.

    Parameters
    ----------
    **options : object
        Options of the back end; unknown ones are refused.

    Raises
    ------
    ConfigError
        If an option is unknown; the message names the nearest known one.
    """

    name: ClassVar[str]
    #: Options whose default differs from the back end's own, or that are ours.
    defaults: ClassVar[dict[str, Any]] = {}
    #: Fewest parameters that it can explore, and whether it can use a pool.
    min_ndim: ClassVar[int] = 1
    parallel: ClassVar[bool] = True

    def __init__(self, **options: Any) -> None:
        known = self.known_options()
        for key in options:
            if key not in known:
                raise ConfigError(f"{self.name} has no option {key!r}{nearest(key, known)}")
        self.options: dict[str, Any] = {**self.defaults, **options}

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        """Return the names of the options."""
        return tuple(cls.defaults)

    def validate(self, ndim: int, workers: int) -> None:
        """Raise `ConfigError` if the sampler cannot deal with this many parameters or workers."""
        if ndim < self.min_ndim:
            raise ConfigError(f"{self.name} needs at least {self.min_ndim} free parameter(s), the model has {ndim}")
        if workers > 1 and not self.parallel:
            raise ConfigError(f"{self.name} runs in one process: leave out ncores and pool")

    def run(self, problem: Problem, pool: Pool, seed: int) -> Draws:
        """Explore the posterior.

        Parameters
        ----------
        problem : Problem
            What is explored.
        pool : Pool
            Evaluates the likelihood.
        seed : int
            Of all random numbers.

        Returns
        -------
        Draws
            Weighted samples and the evidence.
        """
        raise NotImplementedError


class Progress:
    """A line in the log now and then: after 10 s, and then at growing intervals up to a minute.

    Parameters
    ----------
    what : str
        Named in each line.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = self._last = time.monotonic()
        self._interval = 10.0

    def due(self) -> bool:
        """Tell whether it is time for a line."""
        return time.monotonic() - self._last >= self._interval

    def say(self, message: str) -> None:
        """Log a line."""
        self._last = time.monotonic()
        self._interval = min(60.0, self._interval * 1.5)
        log.info("%s: %4.0f s, %s", self._what, self._last - self._start, message)
