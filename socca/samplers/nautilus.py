"""Importance nested sampling with neural networks: nautilus (Lange 2023, MNRAS 525, 3181)."""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.samplers.base import Draws, Progress, Sampler
from socca.samplers.focus import Focus, Unfocused
from socca.samplers.maximum import find_maximum

if TYPE_CHECKING:
    from socca.pool import Pool
    from socca.problem import Problem

#: Arguments of nautilus that are set here.
_OURS = frozenset(
    {
        *("self", "prior", "prior_args", "prior_kwargs", "n_dim", "periodic"),
        *("likelihood", "likelihood_args", "likelihood_kwargs", "vectorized", "pass_dict", "blobs_dtype"),
        *("pool", "seed", "filepath", "resume", "verbose"),
    }
)
#: Seconds after which nautilus hands back control for a line of progress; it goes on as if nothing had been.
_SLICE = 5.0


def _identity(points: np.ndarray) -> np.ndarray:
    return points


class Nautilus(Sampler):
    """The recommended sampler: posterior samples and evidence.

    With ``focus`` (on by default) a quick search for the maximum first shows nautilus where to look, which leaves
    posterior and evidence as they are: see `socca.samplers.focus`. What is left to explore then is round enough for
    ellipsoids alone, and ``n_networks`` is 0: networks would cost more than the likelihood, and with few live points
    cut corners off the posterior (see docs/method.md). Without focus it is nautilus's own 4.
    """

    name = "nautilus"
    min_ndim = 2
    defaults = {  # noqa: RUF012  (never changed)
        "n_live": 400,
        "n_batch": 256,
        "f_live": 0.05,
        "n_eff": 3000,
        "focus": True,
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.options.setdefault("n_networks", 0 if self.options["focus"] else 4)

    @classmethod
    @functools.cache
    def _signatures(cls) -> tuple[tuple[str, ...], tuple[str, ...]]:
        import nautilus

        make = inspect.signature(nautilus.Sampler.__init__).parameters
        run = inspect.signature(nautilus.Sampler.run).parameters
        return tuple(k for k in make if k not in _OURS), tuple(k for k in run if k not in _OURS)

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        """Return the options of nautilus's constructor and of its `run`."""
        make, run = cls._signatures()
        return (*make, *run, "focus")

    def run(self, problem: Problem, pool: Pool, seed: int) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        import nautilus

        make_keys, run_keys = self._signatures()
        make = {key: value for key, value in self.options.items() if key in make_keys}
        run = {key: value for key, value in self.options.items() if key in run_keys}
        # A whole period is walked around without an edge; focus turns it out of the way by itself.
        periodic = [
            k
            for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True))
            if prior.is_flat_over(period)
        ]
        cube: Focus | Unfocused = Unfocused()
        n_gradients = 0
        if self.options["focus"]:
            search = {"n_draws": 1000, "n_starts": 5, "maxiter": 200}
            maximum = find_maximum(problem, pool.evaluate, np.random.default_rng([seed, 1]), **search)
            cube, n_gradients = Focus(problem, maximum), maximum.n_gradients

        def likelihood(w: np.ndarray) -> np.ndarray:
            v, log_density = cube.to_prior(w)
            return pool.evaluate(problem.prior_transform(v)) - log_density

        sampler = nautilus.Sampler(
            _identity,
            likelihood,
            n_dim=problem.ndim,
            vectorized=True,
            pass_dict=False,
            seed=seed,
            periodic=np.array(periodic) if periodic and not self.options["focus"] else None,
            **make,
        )
        finished = self._run_in_slices(sampler, run)
        points, log_weights, log_likelihood = sampler.posterior()
        v, log_density = cube.to_prior(np.asarray(points))
        samples, log_likelihood = problem.prior_transform(v), log_likelihood + log_density
        return Draws(
            samples=samples,
            log_weights=np.asarray(log_weights),
            log_likelihood=np.asarray(log_likelihood),
            logz=float(sampler.log_z),
            # The scatter of an importance-sampled evidence, as nautilus's documentation gives it.
            logz_err=float(1 / np.sqrt(sampler.n_eff)),
            converged=finished,
            sampler=sampler,
            notes={"n_eff": float(sampler.n_eff), "n_bounds": len(sampler.bounds), "n_gradients": n_gradients},
        )

    @staticmethod
    def _run_in_slices(sampler: Any, options: dict[str, Any]) -> bool:
        left = float(options.pop("timeout", np.inf))
        progress = Progress("nautilus")
        with warnings.catch_warnings():
            # Networks that stop at their last iteration are good enough for drawing bounds.
            warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
            while True:
                finished = bool(sampler.run(verbose=False, timeout=min(_SLICE, left), **options))
                left -= _SLICE
                if finished or left <= 0 or sampler.n_like >= options.get("n_like_max", np.inf):
                    return finished
                if progress.due():
                    stage = (
                        f"sampling, N_eff {sampler.n_eff:.0f}"
                        if sampler.explored
                        else f"exploring, live fraction {sampler.f_live:.3g}"
                    )
                    progress.say(f"{sampler.n_like} calls, {stage}, ln Z {sampler.log_z:.2f}")
