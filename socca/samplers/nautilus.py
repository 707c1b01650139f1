"""Importance nested sampling with neural networks: nautilus (Lange 2023, MNRAS 525, 3181)."""

from __future__ import annotations

import copy
import functools
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.samplers.base import Draws, Sampler, WithoutEffect
from socca.samplers.cube.unit_cube import UnitCube
from socca.samplers.options import number, whole

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

#: Seconds after which nautilus hands back control; it goes on as if nothing had been.
_SLICE = 2.0


def next_look(calls: int) -> int:
    """Return the number of calls at which coverage is checked next: 2000, and then half as many again each time."""
    look = 2000
    while look <= calls:
        look += look // 2
    return look


def _identity(points: np.ndarray) -> np.ndarray:
    return points


def _call_on_a_copy(function: Callable[[Any], Any], item: Any) -> Any:
    """Call a method on a copy of its object, as if it had been sent to another process."""
    return copy.deepcopy(function)(item)


class _NautilusPool:
    """Pool for nautilus's own work: training networks, and drawing points within their bounds.

    nautilus draws points from as many streams of random numbers as its pool has workers. Here they are always four,
    its number of networks, so that the result is the same for any number of workers.

    Parameters
    ----------
    pool : Workers
        Does the work.
    """

    size = 4

    def __init__(self, pool: Workers) -> None:
        self._pool = pool

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item; what it does to its own object stays there."""
        return self._pool.map(functools.partial(_call_on_a_copy, function), items)


class Nautilus(Sampler):
    """The recommended sampler: posterior samples and evidence.

    With ``focus`` (on by default) a quick search for the maximum first shows nautilus where to look, which leaves
    posterior and evidence as they are: see `socca.samplers.cube.repartitioning`. A posterior that the Gaussian at its
    maximum does not cover is explored without it. What is left to explore is round enough for ellipsoids alone, and
    ``n_networks`` is 0: networks would cost more than the likelihood, and with few live points cut corners off the
    posterior (see docs/method.md). With ``focus=False`` it is nautilus's own 4, trained in the pool. For a run that
    goes back to the prior's cube, ``n_like_max`` and ``timeout`` count anew.
    """

    name = "nautilus"
    requires = ("nautilus-sampler", "scikit-learn", "numpy")
    defaults = {  # noqa: RUF012  (never changed)
        "n_live": 400,
        "n_batch": 256,
        "f_live": 0.05,
        "n_eff": 3000,
        "focus": True,
    }
    allowed = {  # noqa: RUF012  (never changed)
        "n_live": whole(10),
        **dict.fromkeys(("n_update", "n_points_min", "n_batch", "n_like_new_bound"), whole(1) | None),
        **dict.fromkeys(("n_networks", "n_shell"), whole()),
        "n_like_max": whole(1, infinite=True),
        "enlarge_per_dim": number(1),
        "split_threshold": number(above=0),
        "f_live": number(above=0, most=1),
        "n_eff": number(0),
        "timeout": number(above=0, infinite=True),
    }
    reserved = frozenset(
        {
            *("prior", "prior_args", "prior_kwargs", "n_dim", "periodic"),
            *("likelihood", "likelihood_args", "likelihood_kwargs", "vectorized", "pass_dict", "blobs_dtype"),
            *("pool", "seed", "filepath", "resume", "verbose"),
        }
    )
    instead = {"filepath": "write checkpoint="}  # noqa: RUF012  (never changed)
    aliases = {"nlive": "n_live", "flive": "f_live", "verbose": "progress"}  # noqa: RUF012  (never changed)
    without_effect = {  # noqa: RUF012  (never changed)
        "dlogz": WithoutEffect("nautilus ends by f_live, the share of the evidence among the live points, and by n_eff")
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.options.setdefault("n_networks", 0 if self.options["focus"] else 4)

    @classmethod
    def signatures(cls) -> tuple[Callable[..., Any], ...]:
        """Return nautilus's constructor and its `run`."""
        import nautilus

        return nautilus.Sampler.__init__, nautilus.Sampler.run

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        # nautilus knows no line: a second axis that does nothing makes it a square.
        cube = UnitCube(problem, pool, seed, checkpoint, focus=self.options["focus"], at_least=2)
        kept = None if checkpoint.state is None else checkpoint.state["nautilus"].tobytes()
        return cube.explore_with_retry(functools.partial(self._explore, cube, pool, seed, checkpoint), kept)

    def _explore(self, cube: UnitCube, pool: Workers, seed: int, checkpoint: Checkpoint, kept: bytes | None) -> Draws:
        """Explore a cube, from the start or from nautilus's own file."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "state.h5"
            if kept is not None:
                file.write_bytes(kept)
            sampler = self._make(cube, pool, seed, file)

            def state() -> dict[str, Any]:
                sampler.write(file, overwrite=True)
                return {**cube.checkpoint_state, "nautilus": file.read_bytes()}

            finished = self._run_in_slices(sampler, cube, checkpoint, state)
        points, log_weights, log_likelihood = map(np.asarray, sampler.posterior())
        return cube.draws(
            points,
            log_weights,
            log_likelihood,
            logz=float(sampler.log_z),
            # The scatter of an importance-sampled evidence, as nautilus's documentation gives it.
            logz_err=float(1 / np.sqrt(sampler.n_eff)),
            converged=finished,
            sampler=sampler,
            notes={"n_bounds": len(sampler.bounds)},
        )

    def _make(self, cube: UnitCube, pool: Workers, seed: int, file: Path) -> Any:
        import nautilus

        sampler = nautilus.Sampler(
            _identity,
            cube.log_likelihood,
            n_dim=cube.ndim,
            vectorized=True,
            pass_dict=False,
            seed=seed,
            periodic=np.array(cube.periodic) if cube.periodic else None,
            pool=(None, _NautilusPool(pool)) if self.options["n_networks"] else None,
            filepath=str(file),
            resume=True,
            **self.arguments(nautilus.Sampler.__init__),
        )
        sampler.filepath = None  # read from, but not written to: a kill in the middle of that would spoil the file
        return sampler

    def _run_in_slices(
        self, sampler: Any, cube: UnitCube, checkpoint: Checkpoint, state: Callable[[], dict[str, Any]]
    ) -> bool:
        import nautilus

        options = self.arguments(nautilus.Sampler.run)
        left, most = float(options.pop("timeout", np.inf)), float(options.pop("n_like_max", np.inf))
        progress = self.progress_logger()
        with warnings.catch_warnings():
            # Networks that stop at their last iteration are good enough for drawing bounds.
            warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
            while True:
                # Looks at the weights come after so many calls, not seconds: a run is the same on every machine.
                look = next_look(sampler.n_like)
                finished = bool(
                    sampler.run(verbose=False, timeout=min(_SLICE, left), n_like_max=min(look, most), **options)
                )
                left -= _SLICE
                done = finished or left <= 0 or sampler.n_like >= most
                if done or sampler.n_like >= look:
                    _, log_weights, log_ratio = sampler.posterior()
                    cube.check_coverage(np.asarray(log_weights), np.asarray(log_ratio), last=done)
                checkpoint.offer(state, last=done)
                if done:
                    return finished
                if progress.due():
                    stage = (
                        f"sampling, N_eff {sampler.n_eff:.0f}"
                        if sampler.explored
                        else f"exploring, live fraction {sampler.f_live:.3g}"
                    )
                    progress.log(f"{sampler.n_like} calls, {stage}, ln Z {sampler.log_z:.2f}")
