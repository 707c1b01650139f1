"""Interface of samplers."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import math
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from socca.errors import ConfigError, ModelError, nearest
from socca.samplers.checkpoint import Checkpoint
from socca.samplers.options import TRUTH, Allowed, derived

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.likelihood.marginal import Marginal

log = logging.getLogger(__name__)


@dataclass
class Draws:
    """Result of a sampler.

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
    n_eff : float, optional
        Effective number of samples, where the weights alone do not say: samples of a chain are correlated.
    notes : dict
        Anything else worth keeping, JSON-serialisable.
    history : dict of ndarray
        What changed during the run, one row for each look; see the sampler.
    """

    samples: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    logz: float
    logz_err: float
    converged: bool
    sampler: Any = None
    n_eff: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    history: dict[str, np.ndarray] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the back end's own object, which belongs to the process that ran it."""
        return {**self.__dict__, "sampler": None}


class Workers(Protocol):
    """What samplers ask of a pool."""

    @property
    def size(self) -> int:
        """How many workers there are."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers; the results are in order."""

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row, shape (n, ndim) to (n,)."""


@dataclass(frozen=True)
class WithoutEffect:
    """An option of other interfaces that is accepted, and changes nothing here.

    Parameters
    ----------
    reason : str
        Why, for the warning.
    as_asked : tuple
        Values that ask for what is done anyway, and need no warning.
    """

    reason: str
    as_asked: tuple[Any, ...] = ()


class Sampler(ABC):
    """Interface of samplers. Back ends define `explore`.

    Parameters
    ----------
    **options : object
        Options of the back end; unknown ones are refused. With ``progress=True``, messages about the progress are
        written to standard error, with ``progress=False`` nowhere; by default they go to the log.

    Attributes
    ----------
    options : dict
        Of the run: those given, by the names of the back end, and the defaults.

    Raises
    ------
    ConfigError
        If an option is unknown, with the known ones, the nearest first; if it is given by two names; or if its value is
        of another type or out of range.
    """

    name: ClassVar[str]
    #: Options whose default differs from the back end's own, or that are ours.
    defaults: ClassVar[dict[str, Any]] = {}
    #: What options may be, where their defaults do not tell; see `socca.samplers.options`.
    allowed: ClassVar[dict[str, Allowed]] = {}
    #: Arguments of the back end that are set here, and are no options.
    reserved: ClassVar[frozenset[str]] = frozenset()
    #: Reserved argument -> what to write in its place.
    instead: ClassVar[dict[str, str]] = {}
    #: Options of ours without a default: left out, they change nothing.
    optional: ClassVar[tuple[str, ...]] = ()
    #: Other name of an option -> the option.
    aliases: ClassVar[dict[str, str]] = {}
    #: Options that are accepted and change nothing.
    without_effect: ClassVar[dict[str, WithoutEffect]] = {}
    #: What to say of a run on several ranks of MPI, if it gains little there.
    mpi_advice: ClassVar[str] = ""
    #: Fewest parameters that it can explore; none at all need no sampler.
    min_ndim: ClassVar[int] = 1
    #: Whether it can use a pool, and one of MPI ranks.
    parallel: ClassVar[bool] = True
    mpi: ClassVar[bool] = True
    #: Whether it gives an evidence with an error.
    evidence: ClassVar[bool] = True
    #: Whether it can go on from a checkpoint, and whether that holds pickles.
    resumable: ClassVar[bool] = True
    pickles: bool = False
    #: Of its states in checkpoints; another number refuses them.
    state_version: ClassVar[int] = 1
    #: Options that matter only once the state is complete, so that a checkpoint does not depend on them.
    afterwards: ClassVar[frozenset[str]] = frozenset()
    #: Distributions whose versions a checkpoint depends on.
    requires: tuple[str, ...] = ()

    def __init__(self, **options: Any) -> None:
        options = self._by_own_names(options)
        self.options: dict[str, Any] = {**self.defaults}
        for key, value in options.items():
            try:
                self.options[key] = self.allowed_values(key).value(value)
            except ValueError as error:
                raise ConfigError(f"{self.name}: {key} {error}") from None
        # Apart, since no result depends on it.
        self.progress: bool | None = self.options.pop("progress", None)

    def _by_own_names(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return options by the names of the back end, without those that have no effect; see `Sampler`."""
        known = self.known_options()
        found: dict[str, Any] = {}
        said: dict[str, str] = {}
        for key, value in given.items():
            option = self.aliases.get(key, key)
            if key in self.without_effect:
                unused = self.without_effect[key]
                if not any(value is same for same in unused.as_asked):
                    message = f"{self.name}: {key} has no effect: {unused.reason}"
                    warnings.warn(message, UserWarning, stacklevel=2)
            elif key in self.instead:
                raise ConfigError(f"{self.name} has no option {key!r}: {self.instead[key]}")
            elif option not in known:
                names = [*known, *self.aliases, *self.without_effect]
                raise ConfigError(f"{self.name} has no option {key!r}{nearest(key, names, listed=True)}")
            elif option in found:
                raise ConfigError(f"{self.name}: {said[option]} and {key} mean the same: give one of them")
            else:
                found[option], said[option] = value, key
        return found

    @classmethod
    def signatures(cls) -> tuple[Callable[..., Any], ...]:
        """Return the functions of the back end whose arguments are options."""
        return ()

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        """Return the names of the options, without their aliases."""
        names = [key for function in cls.signatures() for key in inspect.signature(function).parameters]
        # Without what a signature leaves open: *args, **kwargs.
        names += [*cls.defaults, *cls.optional, "progress"]
        return tuple(key for key in dict.fromkeys(names) if key not in cls.reserved | {"self", "cls", "kwargs"})

    def progress_logger(self) -> PeriodicLogger:
        """Return what tells the progress of a run."""
        return PeriodicLogger(self.name, self.progress)

    @classmethod
    def allowed_values(cls, option: str) -> Allowed:
        """Return what an option may be."""
        if option == "progress":
            return TRUTH | None
        return cls.allowed.get(option) or derived(option, cls.signatures(), cls.defaults)

    def arguments(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return those of the options that a function of the back end takes."""
        taken = inspect.signature(function).parameters
        return {key: value for key, value in self.options.items() if key in taken and key not in self.reserved}

    @classmethod
    def validate_pool(cls, kind: str) -> None:
        """Raise `ConfigError` if the sampler cannot run in this kind of pool; first of all, so that no rank waits."""
        if kind == "mpi" and not cls.mpi:
            raise ConfigError(f"{cls.name} does not run under MPI: start it as one process, without mpirun or srun")

    def validate(self, ndim: int, workers: int) -> None:
        """Raise `ConfigError` if the sampler cannot deal with this many parameters or workers."""
        if 0 < ndim < self.min_ndim:
            raise ConfigError(f"{self.name} needs at least {self.min_ndim} free parameter(s), the model has {ndim}")
        if workers > 1 and not self.parallel:
            raise ConfigError(f"{self.name} runs in one process: leave out ncores and pool")

    def likelihood(self, problem: LogDensity) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function of rows that the pool is to evaluate."""
        return problem.log_likelihood

    def run(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint | None = None) -> Draws:
        """Explore the posterior.

        Parameters
        ----------
        problem : LogDensity
            What is explored.
        pool : Workers
            Evaluates the likelihood.
        seed : int
            Of all random numbers.
        checkpoint : Checkpoint, optional
            Where to keep the state, and to go on from.

        Returns
        -------
        Draws
            Weighted samples and the evidence.

        Raises
        ------
        ModelError
            If the model is impossible wherever it was tried.
        """
        if problem.ndim == 0:
            return _only_point(pool)
        return self.explore(problem, pool, seed, checkpoint or Checkpoint())

    @abstractmethod
    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior of at least one parameter; see `run`."""


def _only_point(pool: Workers) -> Draws:
    """Return the posterior without a free parameter: its evidence is the likelihood."""
    value = float(pool.evaluate(np.zeros((1, 0)))[0])
    if not np.isfinite(value):
        raise ModelError("the model has no free parameter, and is impossible as it is: check its values")
    return Draws(np.zeros((1, 0)), np.zeros(1), np.array([value]), value, 0.0, converged=True)


def completed(draws: Draws, marginal: Marginal, rng: np.random.Generator) -> Draws:
    """Return the draws with those of the intensities that were integrated out.

    Parameters
    ----------
    draws : Draws
        Of the other parameters.
    marginal : Marginal
        What they were drawn from.
    rng : numpy.random.Generator
        Source of randomness.
    """
    found = marginal.complete(draws.samples, draws.log_weights, rng)
    return dataclasses.replace(
        draws,
        samples=found.samples,
        log_weights=found.log_weights,
        log_likelihood=found.log_likelihood,
        logz=draws.logz + found.log_correction,
        logz_err=math.hypot(draws.logz_err, found.error),
        notes={**draws.notes, "marginalized": marginal.linear_labels},
    )


class PeriodicLogger:
    """Progress messages: after 10 s, and then at growing intervals up to a minute.

    Parameters
    ----------
    what : str
        Named in each line.
    shown : bool, optional
        True: on standard error, the first one after 2 s. False: nowhere. By default in the log.
    """

    def __init__(self, what: str, shown: bool | None = None) -> None:
        self._what = what
        self._shown = shown
        self._start = self._last = time.monotonic()
        self._interval = 2.0 if shown else 10.0

    def due(self) -> bool:
        """Return whether it is time for a message."""
        return self._shown is not False and time.monotonic() - self._last >= self._interval

    def log(self, message: str) -> None:
        """Log a message, or show it."""
        self._last = time.monotonic()
        self._interval = min(60.0, self._interval * 1.5)
        line = f"{self._what}: {self._last - self._start:4.0f} s, {message}"
        if self._shown:
            sys.stderr.write(line + "\n")
        else:
            log.info("%s", line)
