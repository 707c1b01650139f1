"""Ensemble of walkers: emcee (Foreman-Mackey et al. 2013, PASP 125, 306)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, ModelError
from socca.samplers.base import Draws, PeriodicLogger, Sampler
from socca.samplers.maximum import Maximum, correlation_root
from socca.samplers.options import LIST, OBJECT, number, whole
from socca.samplers.periodic import PeriodicParameters
from socca.samplers.repartitioning_check import quick_maxima
from socca.samplers.student import Student

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

#: Steps from one chance of a checkpoint to the next.
_CHUNK = 100
#: Autocorrelation times that are left out at the start. Walkers start where the posterior is, not far from it.
_BURN_IN = 5
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
        "tau_change": number(above=0),
        "n_eff": number(1),
        "max_steps": whole(1),
    }
    reserved = frozenset(
        {
            *("ndim", "log_prob_fn", "pool", "args", "kwargs", "backend", "vectorize", "blobs_dtype"),
            *("parameter_names", "a", "postargs", "threads", "live_dangerously", "runtime_sortingfn"),
        }
    )

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
        else:
            taus = _restore_chain(chain, checkpoint.state)
            last = chain.get_last_sample()

        def state() -> dict[str, Any]:
            return {**maxima.arrays(), **_chain_state(chain), "taus": taus}

        progress = PeriodicLogger("emcee")
        while not self._converged(chain, taus) and chain.iteration < self.options["max_steps"]:
            last = sampler.run_mcmc(last, _CHUNK, skip_initial_state_check=True)
            if is_look_due(chain.iteration // _CHUNK) or chain.iteration >= self.options["max_steps"]:
                taus = np.stack([taus[1], _autocorrelation_times(chain, taus[1])])
            checkpoint.offer(state)
            if progress.due():
                progress.log(f"{chain.iteration} steps of {walkers} walkers, autocorrelation time {taus[1].max():.1f}")
        checkpoint.offer(state, last=True)

        tau = float(taus[1].max())
        discard, thin = _burn_in(chain, taus[1]), max(1, int(tau / 2)) if np.isfinite(tau) else 1
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
        )

    def _n_independent(self, chain: Any, taus: np.ndarray) -> float:
        return (chain.iteration - _burn_in(chain, taus[1])) * chain.nwalkers / taus[1].max()

    def _converged(self, chain: Any, taus: np.ndarray) -> bool:
        if not np.all(np.isfinite(taus)):
            return False
        return bool(
            chain.iteration > self.options["n_tau"] * taus[1].max()
            and np.all(np.abs(taus[1] - taus[0]) < self.options["tau_change"] * taus[1])
            and self._n_independent(chain, taus) >= self.options["n_eff"]
        )


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


def _autocorrelation_times(chain: Any, before: np.ndarray) -> np.ndarray:
    """Return the autocorrelation time of each parameter, given its last estimate; infinite while there is none."""
    with np.errstate(invalid="ignore"):  # of a walker that has not moved yet
        found = chain.get_autocorr_time(tol=0, discard=_burn_in(chain, before))
    return np.where(np.isfinite(found), found, np.inf)


def _burn_in(chain: Any, tau: np.ndarray) -> int:
    """Return how many steps at the start do not count: at most half."""
    return int(min(chain.iteration / 2, _BURN_IN * tau.max()))


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
