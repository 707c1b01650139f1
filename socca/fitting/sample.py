"""Posterior of a problem by any sampler: options, pool, seed, timing and provenance."""

from __future__ import annotations

import logging
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import socca
from socca.errors import ConfigError
from socca.likelihood.marginal import Marginal
from socca.pool import Pool, advise, chosen_kind, open_pool
from socca.posterior.posterior import Posterior
from socca.posterior.record import FitRecord, Provenance, Timing
from socca.posterior.sampler_record import Notes, SamplerRecord
from socca.samplers import Draws, Sampler, get_sampler
from socca.samplers.base import completed
from socca.samplers.checkpoint import Checkpoint, CheckpointFile
from socca.utils.launcher import ranks
from socca.utils.plugins import plugins_in
from socca.utils.timestamps import utc_now
from socca.utils.xla import meter

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.likelihood.problem import Problem
    from socca.pool.base import MapPool

log = logging.getLogger(__name__)

_VERSIONED = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "astropy",
    "regions",
    "reproject",
    "loky",
    "h5py",
)

#: Of the states that samplers leave in checkpoints; another number refuses them.
_STATE_FORMAT = 3


class CountingPool:
    """A pool that counts likelihood calls and the time they take, and looks into whether it pays once it has started.

    Parameters
    ----------
    pool : Pool
        Does the work.

    Attributes
    ----------
    calls : int
        Likelihoods evaluated.
    seconds : float
        Wall time spent on them, compilation included.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.size = pool.size
        self.calls = 0
        self.seconds = 0.0
        self._advised = False

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, as `Pool.map`."""
        return self._pool.map(function, items)

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row, as `Pool.evaluate`."""
        start = time.perf_counter()
        if not self._advised and self._pool.started:
            advise(self._pool, theta)
            self._advised = True
        found = self._pool.evaluate(theta)
        self.seconds += time.perf_counter() - start
        self.calls += len(theta)
        return found

    def spent(self) -> dict[str, float]:
        """Return what a checkpoint remembers: calls and seconds."""
        return {"calls": self.calls, "seconds": self.seconds}

    def add(self, spent: Mapping[str, float]) -> None:
        """Count what an earlier run of the same fit has spent."""
        self.calls += int(spent.get("calls", 0))
        self.seconds += spent.get("seconds", 0.0)


def _identity(sampler: Sampler, problem: LogDensity, seed: int, requires: tuple[str, ...]) -> dict[str, Any]:
    """Return what a checkpoint belongs to."""
    options = {key: value for key, value in _plain_options(sampler).items() if key not in sampler.afterwards}
    versioned = {"state": sampler.state_version} if sampler.state_version > 1 else {}
    return {
        "format": _STATE_FORMAT,
        **versioned,
        "method": sampler.name,
        "options": options,
        "seed": seed,
        "problem": problem.digest(),
        "version": {name: metadata.version(name) for name in requires},
    }


def sample(
    problem: Problem,
    method: str = "nautilus",
    *,
    seed: int,
    ncores: int | None = None,
    pool: int | MapPool | None = None,
    pool_kind: str = "auto",
    marginalize: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = True,
    **options: Any,
) -> tuple[Posterior, Draws]:
    """Explore the posterior of a problem.

    Parameters
    ----------
    problem : Problem
        What is explored.
    method : str
        One of `socca.samplers.METHODS`.
    seed : int
        Of all random numbers: the same seed, inputs and versions give the same result.
    ncores, pool : int or pool, optional
        Workers; see `socca.pool.open_pool`.
    pool_kind : {'auto', 'serial', 'loky', 'mpi'}
        The kind of pool, where a ready one is not given.
    marginalize : bool
        Integrate the intensities out; see `socca.likelihood.marginal.Marginal`. Their draws are in the posterior like
        any other.
    checkpoint : str or Path, optional
        A file, or an existing folder, in which the state of the run is kept as it goes; see
        `socca.samplers.checkpoint`. On SIGTERM it is written once more, and the process ends with status 143.
    resume : bool
        Go on from that file if it exists: the result is that of a run without a break.
    **options : object
        Options of the sampler.

    Returns
    -------
    posterior : Posterior
        The result.
    draws : Draws
        What the back end gave, its own object included.

    Raises
    ------
    ConfigError
        If the method, an option or the pool is unknown or wrong.
    PoolError
        If a worker dies, or the ranks of MPI do not agree.
    CheckpointError
        If the checkpoint is damaged, or of another fit.
    """
    sampler = get_sampler(method)(**options)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0, got {seed!r}")
    kind = chosen_kind(pool_kind, ncores, pool)
    sampler.validate_pool(kind)
    if kind == "mpi" and sampler.mpi_advice and (launch := ranks()) is not None and launch.rank == 0:
        log.warning("%s: %s", method, sampler.mpi_advice)
        warnings.warn(f"{method}: {sampler.mpi_advice}", UserWarning, stacklevel=2)
    start, compiled = time.perf_counter(), meter().reading()
    marginal = Marginal(problem) if marginalize else None
    explored: LogDensity = marginal or problem
    digest = explored.digest()
    plugins = plugins_in(problem.spec, type(sampler))
    requires = tuple(dict.fromkeys((*sampler.requires, *(plugin.distribution for plugin in plugins))))
    with open_pool(sampler.likelihood(explored), ncores, pool, pool_kind, digest) as workers:
        sampler.validate(explored.ndim, workers.size)

        def explore() -> tuple[Posterior, Draws]:
            counted = CountingPool(workers)
            place = Checkpoint()
            if checkpoint is not None and sampler.resumable:
                identity = _identity(sampler, explored, int(seed), requires)
                spent = counted.spent
                place = CheckpointFile(checkpoint, identity, resume=resume, signed=sampler.pickles, spent=spent)
                counted.add(place.spent)
                place.begin()
            with place.watching():
                draws = sampler.run(explored, counted, int(seed), place)
            if marginal is not None:
                draws = completed(draws, marginal, np.random.default_rng([int(seed), 1]))
            wall = time.perf_counter() - start
            now = meter().reading()
            if not draws.converged:
                log.warning("%s stopped before it converged: use its result with care", method)
            posterior = posterior_of(problem, draws)
            posterior.record = FitRecord(
                sampler=SamplerRecord(
                    method=method,
                    options=_plain_options(sampler),
                    seed=int(seed),
                    converged=bool(draws.converged),
                    n_calls=counted.calls,
                    n_eff=posterior.n_eff if draws.n_eff is None else draws.n_eff,
                    pool=workers.name,
                    workers=workers.size,
                    notes=Notes.from_dict(draws.notes),
                ),
                timing=Timing(
                    sampling=round(wall, 3),
                    likelihood=round(counted.seconds, 3),
                    compilation=round(now[1] - compiled[1], 3),
                    programs_compiled=now[0] - compiled[0],
                ),
                provenance=Provenance(
                    problem_digest=digest,
                    versions=versions(requires),
                    host=platform.node(),
                    cpus=os.cpu_count(),
                    finished=utc_now(),
                ),
            )
            return posterior, draws

        found = workers.drive(explore)
        if not workers.started:
            log.warning("the fit was over before its %d workers had started: leave out ncores", workers.size)
        return found


def versions(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the versions of Python, socca and what the result depends on, a back end's distributions included."""
    found = {"python": platform.python_version(), "socca": socca.__version__}
    for name in dict.fromkeys((*_VERSIONED, *more)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _plain_options(sampler: Sampler) -> dict[str, Any]:
    """Return a sampler's options as JSON can hold them."""
    return {key: _plain(value) for key, value in sampler.options.items()}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value if _is_json(value) else repr(value)


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str | list | dict | tuple)


def posterior_of(problem: Problem, draws: Draws) -> Posterior:
    """Return the posterior of a problem from a sampler's draws, without its record."""
    spec = problem.spec.model
    labels, units = problem.all_labels, problem.all_units
    tied = [spec.names[i] for i, _, _ in spec.tied]
    values = problem.values(draws.samples) if tied else {}
    # The noise's parameters that nobody gave are no part of the result.
    unused = {f"noise_{name}" for name in problem.spec.noise.neutral}
    return Posterior(
        names=problem.names,
        labels=problem.labels,
        units=problem.units,
        samples=draws.samples,
        log_weights=draws.log_weights,
        log_likelihood=draws.log_likelihood,
        log_prior=problem.log_prior(draws.samples),
        logz=draws.logz,
        logz_err=draws.logz_err,
        periods=problem.periods,
        derived={labels[name]: values[name] for name in tied},
        derived_units={labels[name]: units[name] for name in tied},
        derived_periods={labels[name]: period for name in tied if (period := problem.all_periods[name]) is not None},
        fixed={
            labels[spec.names[i]]: float(value)
            for i, value in zip(spec.fixed, problem.arrays["model"]["fixed"], strict=True)
            if spec.names[i] not in unused
        },
        descriptions={labels[name]: field.description for name, field in zip(spec.names, spec.fields(), strict=True)},
    )
