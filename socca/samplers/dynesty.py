"""Nested sampling, static or dynamic: dynesty (Speagle 2020, MNRAS 493, 3132; Koposov et al., Zenodo 3348367)."""

from __future__ import annotations

import functools
import io
import pickle
import warnings
from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, nearest
from socca.samplers.base import Draws, Sampler
from socca.samplers.cube.unit_cube import UnitCube
from socca.samplers.lockstep import LockstepPool
from socca.samplers.options import FUNCTION, LIST, MAPPING, OBJECT, number, whole, word

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

#: Of the volumes, for the error of the evidence: it is then known to 7 per cent.
_REALISATIONS = 100


def _identity(point: np.ndarray) -> np.ndarray:
    return point


class Dynesty(Sampler):
    """Nested sampling from the prior inwards: posterior samples and evidence.

    ``n_batch`` proposals are made side by side, so that their likelihoods are evaluated together: 64, or an eighth of
    the live points if that is more, unless it is given. Of so few, one in 16 is not needed any more by the time that it
    is looked at. ``dynamic`` spends further live points where the posterior is; ``focus`` is that of nautilus (see
    `socca.samplers.cube.repartitioning`).
    """

    name = "dynesty"
    pickles = True
    requires = ("dynesty", "numpy")
    defaults = {"nlive": 500, "dynamic": False, "focus": True, "n_batch": None}  # noqa: RUF012  (never changed)
    allowed = {  # noqa: RUF012  (never changed)
        "nlive": whole(10),
        "bound": word("none", "single", "multi", "balls", "cubes") | OBJECT,
        "sample": word("auto", "unif", "rwalk", "slice", "rslice") | OBJECT,
        "reflective": LIST | None,
        **dict.fromkeys(("n_batch", "walks", "slices", "nlive_init", "nlive_batch"), whole(1) | None),
        **dict.fromkeys(("maxiter", "maxcall", "maxiter_init", "maxcall_init"), whole(1, infinite=True) | None),
        **dict.fromkeys(("maxiter_batch", "maxcall_batch", "maxbatch"), whole(infinite=True) | None),
        **dict.fromkeys(("first_update", "wt_kwargs", "stop_kwargs"), MAPPING | None),
        **dict.fromkeys(("wt_function", "stop_function"), FUNCTION | None),
        "update_interval": number(above=0) | None,
        "enlarge": number(1) | None,
        "bootstrap": whole() | None,
        "facc": number(0, 1),
        **dict.fromkeys(("dlogz", "dlogz_init"), number(0) | None),
        "n_effective": number(0, infinite=True) | None,
    }
    reserved = frozenset(
        {
            *("loglikelihood", "prior_transform", "ndim", "rstate", "periodic", "pool", "use_pool", "queue_size"),
            *("live_points", "blob", "ncdim", "logl_args", "logl_kwargs", "ptform_args", "ptform_kwargs"),
            *("history_filename", "save_evaluation_history", "print_progress", "print_func"),
            *("checkpoint_file", "checkpoint_every", "resume"),
        }
    )
    instead = {  # noqa: RUF012  (never changed)
        "rstate": "write seed=",
        "checkpoint_file": "write checkpoint=",
        "use_pool": "write ncores=; workers evaluate likelihoods, and nothing else",
        "queue_size": "write n_batch=, the number of proposals that are made side by side",
    }
    aliases = {"n_live": "nlive", "print_progress": "progress"}  # noqa: RUF012  (never changed)
    mpi_advice = (
        "it might not benefit from MPI because its points are proposed one after another; consider method='nautilus'"
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        kinds = ("static", "dynamic") if self.options["dynamic"] else ("dynamic", "static")
        taken = {key for function in _functions(self.options["dynamic"]) for key in signature(function).parameters}
        for key in self.options.keys() - taken - self.defaults.keys():
            raise ConfigError(
                f"dynesty: {key} is an option of {kinds[0]} runs, and this one is {kinds[1]} "
                f"(dynamic={self.options['dynamic']}){nearest(key, sorted(taken - self.reserved), listed=True)}"
            )

    @classmethod
    def signatures(cls) -> tuple[Callable[..., Any], ...]:
        """Return the constructors and the runs of both kinds."""
        return (*_functions(dynamic=False), *_functions(dynamic=True))

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        cube = UnitCube(problem, pool, seed, checkpoint, focus=self.options["focus"])
        kept = None if checkpoint.state is None else checkpoint.state["dynesty"].tobytes()
        return cube.explore_with_retry(functools.partial(self._explore, cube, seed, checkpoint), kept)

    def _explore(self, cube: UnitCube, seed: int, checkpoint: Checkpoint, kept: bytes | None) -> Draws:
        """Explore a cube, from the start or from a kept state of dynesty."""
        together = LockstepPool(
            cube.log_likelihood, int(self.options["n_batch"] or max(64, self.options["nlive"] // 8))
        )
        try:
            sampler = self._make(cube, together, seed) if kept is None else _unpickled(kept, together)
            finished = self._finish(sampler, cube, together, checkpoint, resume=kept is not None)
        finally:
            together.close()
        results = sampler.results
        logz = float(results.logz[-1])
        return cube.draws(
            results.samples,
            np.asarray(results.logwt),
            np.asarray(results.logl),
            logz=logz,
            logz_err=_evidence_error(results, np.random.default_rng([seed, 2])),
            converged=finished,
            sampler=sampler,
            notes={"n_iterations": int(results.niter), "information": float(results.information[-1])},
        )

    def _make(self, cube: UnitCube, together: LockstepPool, seed: int) -> Any:
        from dynesty import DynamicNestedSampler, NestedSampler

        kind = DynamicNestedSampler if self.options["dynamic"] else NestedSampler
        take, _ = _functions(self.options["dynamic"])
        return kind(
            together.likelihood,
            _identity,
            cube.ndim,
            rstate=np.random.default_rng(seed),
            periodic=cube.periodic or None,
            pool=together,
            queue_size=together.size,
            # What calls no likelihood is not worth a task.
            use_pool={"prior_transform": False, "update_bound": False, "stop_function": False},
            **self.arguments(take),
        )

    def _finish(
        self, sampler: Any, cube: UnitCube, together: LockstepPool, checkpoint: Checkpoint, resume: bool
    ) -> bool:
        from dynesty.dynamicsampler import DynamicSamplerStatesEnum as Stage

        progress = self.progress_logger()

        def state() -> dict[str, Any]:
            return {**cube.checkpoint_state, "dynesty": _pickled(sampler, together)}

        def after(iteration: Any, n: int, n_calls: int, add_live_it: int | None = None, **rest: Any) -> None:
            """Do what there is to do after each iteration; dynesty prints its progress here."""
            adding = (Stage.INBASEADDLIVE, Stage.INBATCHADDLIVE, Stage.BATCH_DONE)
            if add_live_it is None and getattr(sampler, "internal_state", None) not in adding:
                checkpoint.offer(state)
            if progress.due():
                progress.log(f"{n_calls} calls, {n} iterations, ln Z {iteration.logz:.2f}")

        done = sampler.added_live if not self.options["dynamic"] else sampler.internal_state == Stage.RUN_DONE
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if not done:
                sampler.run_nested(
                    print_progress=True, print_func=after, resume=resume, **self.arguments(sampler.run_nested)
                )
        results = sampler.results
        cube.check_coverage(np.asarray(results.logwt), np.asarray(results.logl))
        checkpoint.offer(state, last=True)
        stopped = [str(warning.message) for warning in said if "stopped short" in str(warning.message)]
        return not stopped


def _functions(dynamic: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the constructor and the run of a kind of run."""
    from dynesty import DynamicNestedSampler, NestedSampler

    if dynamic:
        return DynamicNestedSampler.__init__, DynamicNestedSampler.run_nested
    return NestedSampler.__new__, NestedSampler.run_nested


def _evidence_error(results: Any, rng: np.random.Generator) -> float:
    """Return the scatter of the log-evidence over what the volumes may have been.

    See Higson et al. 2018, Bayesian Anal. 13, 873. dynesty's own error is half as large again as the scatter over seeds
    in static runs, and too small in dynamic ones.
    """
    from dynesty.utils import jitter_run

    return float(np.std([jitter_run(results, rstate=rng).logz[-1] for _ in range(_REALISATIONS)], ddof=1))


class _Pickler(pickle.Pickler):
    """Leaves out the pool and its likelihood, which the next run has of its own."""

    def __init__(self, stream: io.BytesIO, together: LockstepPool) -> None:
        super().__init__(stream)
        self._together = together

    def persistent_id(self, found: Any) -> str | None:
        if found is self._together:
            return "pool"
        return "likelihood" if getattr(found, "__self__", None) is self._together else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, together: LockstepPool) -> None:
        super().__init__(stream)
        self._together = together

    def persistent_load(self, name: str) -> Any:
        return self._together if name == "pool" else self._together.likelihood


def _pickled(sampler: Any, together: LockstepPool) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, together).dump(sampler)
    return stream.getvalue()


def _unpickled(state: bytes, together: LockstepPool) -> Any:
    """Return a sampler from a checkpoint, whose signature has been checked."""
    sampler = _Unpickler(io.BytesIO(state), together).load()
    for part in (sampler, getattr(sampler, "sampler", None), getattr(sampler, "batch_sampler", None)):
        if part is not None:
            part.pool, part.mapper = together, together.map
    return sampler
