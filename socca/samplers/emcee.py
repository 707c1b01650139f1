"""Ensemble of walkers: emcee (Foreman-Mackey et al. 2013, PASP 125, 306)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, ModelError
from socca.samplers.base import Draws, Sampler
from socca.samplers.coordinates.periodic import PeriodicParameters
from socca.samplers.cube.repartitioning_check import quick_maxima
from socca.samplers.maxima.maximum import Maximum, correlation_root
from socca.samplers.options import LIST, OBJECT, TRUTH, number, whole
from socca.samplers.student import Student

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

#: Steps from one chance of a checkpoint to the next.
_CHUNK = 100
#: Autocorrelation times that are left out at the start, and from one sample to the next. Walkers start where the
#: posterior is, not far from it.
_BURN_IN, _THIN = 5.0, 0.5
log = logging.getLogger(__name__)

#: Values of a run whose length is given, or that is to end once it has converged, and its length.
_GIVEN_LENGTH = {"tau_change": 0.01, "discard_factor": 2.0, "n_eff": 1}
_N_STEPS = 5000
#: Degrees of freedom and width (in standard deviations) of the Student density that walkers jump to.
_FREEDOM, _WIDTH = 5, 1.1


class Emcee(Sampler):
    """Samples of the posterior by an ensemble of walkers; no evidence.

    Walkers start around the maximum. Unless ``moves`` says otherwise, they move in every other step, on average, by
    differential evolution (ter Braak 2006, Stat. Comput. 16, 239; one such step in ten by a whole difference), and
    in the others to a draw from a wide Student density in the shape of the maximum's Gaussian, accepted by the rule of
    Metropolis and Hastings: where the posterior is like that, nearly every such draw is independent of all before. The
    run ends once it is ``n_tau`` autocorrelation times long, their estimate has changed by less than ``tau_change``
    since the last look, and ``n_eff`` samples are independent; or, without having converged, after ``max_steps``.
    Walkers stay at the maximum with the most mass: where the search before the run found another one that matters, the
    run has not converged.

    With ``nsteps``, a run is as long as that; with ``converge=True`` it ends earlier if it has converged. Then only
    ``n_tau`` and ``tau_change`` (0.01) decide on that, and ``n_eff`` if it is given. The first ``discard`` steps do not
    count (by default ``discard_factor`` autocorrelation times: 5, or 2 if the length is given), and of the others every
    ``thin``-th does (``thin_factor`` autocorrelation times: 0.5). The autocorrelation times are estimated every
    ``check_every`` steps, or ever more rarely if that is not given.
    """

    name = "emcee"
    evidence = False
    requires = ("emcee", "numpy")
    defaults = {  # noqa: RUF012  (never changed)
        "nwalkers": None,
        "n_tau": 50,
        "tau_change": 0.05,
        "n_eff": 3000,
        "max_steps": 50_000,
    }
    allowed = {  # noqa: RUF012  (never changed)
        "nwalkers": whole(2) | None,
        "moves": LIST | OBJECT | None,
        "n_tau": number(1),
        "tau_change": number(0),
        "n_eff": number(1),
        "max_steps": whole(1),
        "nsteps": whole(1) | None,
        "converge": TRUTH | None,
        "discard": whole(0) | None,
        "thin": whole(1) | None,
        "check_every": whole(1) | None,
        "discard_factor": number(0),
        "thin_factor": number(0),
    }
    optional = ("nsteps", "converge", "discard", "thin", "check_every", "discard_factor", "thin_factor")
    aliases = {  # noqa: RUF012  (never changed)
        **{"n_steps": "nsteps", "num_steps": "nsteps", "nburn": "discard", "n_burn": "discard"},
        **{"tau_factor": "n_tau", "tau_rtol": "tau_change"},
    }
    instead = {"backend": "write checkpoint="}  # noqa: RUF012  (never changed)
    reserved = frozenset(
        {
            *("ndim", "log_prob_fn", "pool", "args", "kwargs", "backend", "vectorize", "blobs_dtype"),
            *("parameter_names", "a", "postargs", "threads", "live_dangerously", "runtime_sortingfn"),
        }
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = self.options
        if own.get("nsteps") is not None and own["max_steps"] != self.defaults["max_steps"]:
            raise ConfigError("emcee: nsteps and max_steps both limit the length: give one of them")
        if own.get("converge") is False and own.get("nsteps") is None:
            own["nsteps"] = _N_STEPS
        if own.get("nsteps") is not None or own.get("converge"):
            given = {self.aliases.get(key, key) for key in options}
            own |= {key: value for key, value in _GIVEN_LENGTH.items() if key not in given}
        left_out, step = int(own.get("discard") or 0), int(own.get("thin") or 1)
        if left_out + step > self._most:
            raise ConfigError(
                f"emcee: of {self._most} steps, none is left with discard={left_out} and thin={step}: take more steps"
            )

    @property
    def _most(self) -> int:
        """Steps at most."""
        return int(self.options.get("nsteps") or self.options["max_steps"])

    @property
    def _may_end_early(self) -> bool:
        """Whether the run ends once it has converged."""
        return bool(self.options.get("converge")) or self.options.get("nsteps") is None

    @classmethod
    def signatures(cls) -> tuple[Callable[..., Any], ...]:
        """Return emcee's constructor."""
        import emcee

        return (emcee.EnsembleSampler.__init__,)

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        import emcee

        maxima = quick_maxima(problem, pool, seed, checkpoint)
        maximum = maxima.found[0]
        circles = PeriodicParameters(problem)

        def log_posterior(x: np.ndarray) -> np.ndarray:
            theta = circles.wrap(x)
            # Each place of a circle counts once, whatever move leads to it.
            found = np.where(circles.within(x, maximum.theta), problem.log_prior(theta), -np.inf)
            inside = np.isfinite(found)
            if inside.any():
                found[inside] += pool.evaluate(theta[inside])
            return found

        walkers = int(self.options["nwalkers"] or max(32, 4 * problem.ndim))
        if walkers % 2 or walkers < 2 * problem.ndim:
            raise ConfigError(f"emcee: nwalkers must be even, and at least {2 * problem.ndim} here; got {walkers}")

        class PeriodicDEMove(emcee.moves.DEMove):
            """Differential evolution on circles: a walker that leaves at one end comes in at the other."""

            def get_proposal(self, *given: Any) -> tuple[np.ndarray, np.ndarray]:
                there, factors = super().get_proposal(*given)
                return circles.nearest(there, maximum.theta), factors

        # Not emcee's snooker moves: with them (3.1.6) variances come out a few per cent small.
        moves = self.options.get("moves") or [
            (emcee.moves.MHMove(_StudentProposal(maximum)), 0.5),
            (PeriodicDEMove(), 0.45),
            (PeriodicDEMove(gamma0=1.0), 0.05),
        ]
        chain = emcee.backends.Backend()
        sampler = emcee.EnsembleSampler(
            walkers, problem.ndim, log_posterior, vectorize=True, moves=moves, backend=chain
        )
        if checkpoint.state is None:
            rng = np.random.default_rng([seed, 2])
            start = _walkers_around(maximum, log_posterior, walkers, rng)
            random_state = np.random.RandomState(rng.integers(2**32)).get_state()
            last = emcee.State(start, random_state=random_state)
            taus = np.full((2, problem.ndim), np.inf)
            looks = np.empty((0, 1 + problem.ndim))
        else:
            taus = _restore_chain(chain, checkpoint.state)
            looks = checkpoint.state.get("looks", np.empty((0, 1 + problem.ndim)))
            last = chain.get_last_sample()

        def state() -> dict[str, Any]:
            return {**maxima.arrays(), **_chain_state(chain), "taus": taus, "looks": looks}

        progress = self.progress_logger()
        every = self.options.get("check_every")
        while chain.iteration < self._most and not (self._may_end_early and self._converged(chain, taus)):
            count = min(int(every or _CHUNK), self._most - chain.iteration)
            last = sampler.run_mcmc(last, count, skip_initial_state_check=True)
            if every or is_look_due(chain.iteration // _CHUNK) or chain.iteration >= self._most:
                taus = np.stack([taus[1], self._autocorrelation_times(chain, taus[1])])
                looks = np.append(looks, [[chain.iteration, *taus[1]]], axis=0)
            checkpoint.offer(state)
            if progress.due():
                progress.log(f"{chain.iteration} steps of {walkers} walkers, autocorrelation time {taus[1].max():.1f}")
        checkpoint.offer(state, last=True)

        if missing := self._missing(chain, taus):
            log.warning("emcee has not converged: %s", "; ".join(missing))
        tau = float(taus[1].max())
        discard, thin = self._burn_in(chain, taus[1]), self.options.get("thin")
        if thin is None:
            thin = max(1, int(tau * self.options.get("thin_factor", _THIN))) if np.isfinite(tau) else 1
        thin = min(int(thin), chain.iteration - discard)
        samples = circles.wrap(chain.get_chain(discard=discard, thin=thin, flat=True))
        n = len(samples)
        return Draws(
            samples=samples,
            log_weights=np.full(n, -np.log(n)),
            log_likelihood=chain.get_log_prob(discard=discard, thin=thin, flat=True) - problem.log_prior(samples),
            logz=np.nan,
            logz_err=np.nan,
            converged=self._converged(chain, taus) and maxima.is_single,
            sampler=sampler,
            n_eff=float(min(n, self._n_independent(chain, taus))),
            notes={
                "autocorrelation_time": [t if np.isfinite(t) else None for t in taus[1].tolist()],
                "n_steps": chain.iteration,
                "acceptance": float(np.mean(chain.accepted / chain.iteration)),
                "n_gradients": maxima.n_gradients,
                **maxima.notes(),
            },
            history={"autocorrelation_time": looks},
        )

    def _autocorrelation_times(self, chain: Any, before: np.ndarray) -> np.ndarray:
        """Return the autocorrelation time of each parameter, given its last estimate; infinite while there is none."""
        with np.errstate(invalid="ignore"):  # of a walker that has not moved yet
            found = chain.get_autocorr_time(tol=0, discard=self._burn_in(chain, before))
        return np.where(np.isfinite(found), found, np.inf)

    def _burn_in(self, chain: Any, tau: np.ndarray) -> int:
        """Return how many steps at the start do not count: those asked for, if they are over; or at most half."""
        asked = self.options.get("discard")
        if asked is not None:
            return int(asked) if chain.iteration > asked else chain.iteration // 2
        return int(min(chain.iteration / 2, self.options.get("discard_factor", _BURN_IN) * tau.max()))

    def _n_independent(self, chain: Any, taus: np.ndarray) -> float:
        return (chain.iteration - self._burn_in(chain, taus[1])) * chain.nwalkers / taus[1].max()

    def _converged(self, chain: Any, taus: np.ndarray) -> bool:
        return not self._missing(chain, taus)

    def _missing(self, chain: Any, taus: np.ndarray) -> list[str]:
        """Return the criteria of convergence that are not met."""
        if not np.all(np.isfinite(taus)) or chain.iteration <= (self.options.get("discard") or 0):
            return ["there are too few steps for an autocorrelation time"]
        tau, change = float(taus[1].max()), float(np.max(np.abs(taus[1] / taus[0] - 1)))
        independent = self._n_independent(chain, taus)
        found = []
        if not chain.iteration > self.options["n_tau"] * tau:
            found.append(f"{chain.iteration} steps are fewer than n_tau ({self.options['n_tau']}) times {tau:.1f}")
        if not np.all(np.abs(taus[1] - taus[0]) < self.options["tau_change"] * taus[1]):
            found.append(
                f"the autocorrelation time changed by {change:.1%} since the last look, and tau_change is "
                f"{self.options['tau_change']:.1%}"
            )
        if not independent >= self.options["n_eff"]:
            found.append(f"{independent:.0f} samples are independent, and n_eff is {self.options['n_eff']}")
        return found


class _StudentProposal:
    """Proposals that do not depend on where a walker is: Student's density around the maximum, in its shape."""

    def __init__(self, maximum: Maximum) -> None:
        sigma = np.sqrt(np.diag(maximum.covariance))
        root = _WIDTH * sigma[:, None] * correlation_root(maximum.covariance)
        self._student = Student(maximum.theta, root, _FREEDOM)

    def __call__(self, x: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Return where walkers at `x`, shape (n, ndim), may go, and log q(x) - log q(there), shape (n,)."""
        there = self._student.draw(len(x), rng)
        return there, self._student.log_density(x) - self._student.log_density(there)


def is_look_due(chunk: int) -> bool:
    """Tell whether to look at the autocorrelation times after so many chunks: each, and of many one in 3 to 6 %."""
    return chunk % max(1, 1 << chunk.bit_length() >> 5) == 0


def _walkers_around(
    maximum: Maximum, log_posterior: Callable[[np.ndarray], np.ndarray], n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw possible places of walkers from the Gaussian at a maximum, shape (n, ndim)."""
    found: list[np.ndarray] = []
    shrink = 1.0
    for _ in range(100):
        drawn = rng.multivariate_normal(maximum.theta, shrink**2 * maximum.covariance, size=n, method="eigh")
        found.extend(drawn[np.isfinite(log_posterior(drawn))])
        if len(found) >= n:
            return np.array(found[:n])
        shrink *= 0.9  # in a corner of what is possible, few of the Gaussian's draws are
    raise ModelError("emcee: hardly a point around the maximum is possible: use nautilus, or check the priors")


def _chain_state(chain: Any) -> dict[str, Any]:
    name, keys, position, has_gauss, cached = chain.random_state
    return {
        "chain": chain.chain[: chain.iteration],
        "log_prob": chain.log_prob[: chain.iteration],
        "accepted": chain.accepted,
        "random_name": name,
        "random_keys": keys,
        "random_rest": np.array([position, has_gauss, cached]),
    }


def _restore_chain(chain: Any, state: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fill emcee's store from a checkpoint, and return the autocorrelation times that it held."""
    chain.reset(*state["chain"].shape[1:])
    chain.chain, chain.log_prob, chain.accepted = state["chain"], state["log_prob"], state["accepted"]
    chain.iteration = len(chain.chain)
    position, has_gauss, cached = state["random_rest"].tolist()
    chain.random_state = (str(state["random_name"]), state["random_keys"], int(position), int(has_gauss), cached)
    return state["taus"]
