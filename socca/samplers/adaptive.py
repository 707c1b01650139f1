"""The adaptive method: importance sampling where that is enough, nested sampling where it is not.

A search finds the maxima. Student densities around them are the first proposal of an adaptive importance sampling
(`socca.samplers.importance`), whose draws judge themselves. What does not pass is explored by a nested sampler.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError
from socca.samplers.base import Draws, PeriodicLogger, Sampler
from socca.samplers.importance import Proposal, Rounds, agree, effective_number, evidence, student_of, truncated
from socca.samplers.normal_coordinates import NormalCoordinates
from socca.samplers.search import KEPT, MATTERS, Maxima, find_maxima
from socca.samplers.summits import Summit, climb

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

log = logging.getLogger(__name__)

#: What takes over where importance sampling is not enough.
FALLBACKS = ("nautilus", "dynesty", "pocomc", "none")
#: Largest tail of the weights of a pass (Vehtari et al. 2024, J. Mach. Learn. Res. 25, 72).
MOST_TAIL = 0.7
#: Draws of a round, at most as a multiple of the first one's.
_GROWTH = 4
#: Share of the draws that are effective below which a proposal gets another Student density, and the most of these.
_POOR, _MOST_STUDENTS = 0.2, 8
#: Rounds may differ in ln Z by so many errors, or by so much.
_SIGMAS, _CLOSE = 4.0, 0.1
#: Two maxima closer than this, in standard deviations, are one.
_ONE = 0.5
#: A maximum with at least the first of the posterior, by Laplace, must have the second of that among the samples.
_LARGE, _LEAST = 0.05, 0.2
#: Draws that weigh less than this times the largest are left out of the result.
_NOTHING = 1e-12


class Adaptive(Sampler):
    """Importance sampling around the maxima, which passes a posterior that it does not describe to a nested sampler.

    A fit passes if the tail of its weights is light, if enough of its draws are effective, if its rounds agree on the
    evidence, and if every maximum that the search found is there. Otherwise `fallback` explores the posterior, with its
    own defaults. ``notes`` say which it was (``tier``) and why (``escalated``).
    """

    name = "adaptive"
    requires = ("numpy", "scipy")
    defaults = {  # noqa: RUF012  (never changed)
        "n_eff": 2000,
        "n_prior": 400,
        "n_starts": 3,
        "n_first": 1000,
        "max_draws": 20_000,
        "maxiter": 200,
        "fallback": "nautilus",
        "fallback_options": None,
    }
    at_least = {  # noqa: RUF012  (never changed)
        **{"n_eff": 1, "n_prior": 10, "n_starts": 1, "n_first": 50, "max_draws": 100, "maxiter": 1},
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        fallback = self.options["fallback"]
        if fallback not in FALLBACKS:
            raise ConfigError(f"adaptive: fallback must be one of {', '.join(FALLBACKS)}; got {fallback!r}")
        self._fallback = None if fallback == "none" else _sampler(fallback, self.options["fallback_options"] or {})

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        run = _Importance(problem, pool, seed, self.options)
        draws, why = run.explore()
        if not why or self._fallback is None:
            return draws
        log.info("importance sampling is not enough (%s): %s goes on", "; ".join(why), self._fallback.name)
        deeper = self._fallback.explore(problem, pool, seed, checkpoint)
        notes = {**draws.notes, **deeper.notes, "tier": self._fallback.name}
        notes["n_gradients"] = int(draws.notes["n_gradients"]) + int(deeper.notes.get("n_gradients", 0))
        deeper.notes = notes
        return deeper


def _sampler(method: str, options: dict[str, Any]) -> Sampler:
    from socca.samplers import get_sampler

    return get_sampler(method)(**options)


class _Importance:
    """One run of importance sampling.

    Parameters
    ----------
    problem : LogDensity
        What is explored.
    pool : Workers
        Evaluates the likelihood.
    seed : int
        Of all random numbers.
    options : dict
        Of the sampler.
    """

    def __init__(self, problem: LogDensity, pool: Workers, seed: int, options: dict[str, Any]) -> None:
        self._problem, self._pool, self._options = problem, pool, options
        self._rng = np.random.default_rng([seed, 6])
        u = self._rng.random((int(options["n_prior"]), problem.ndim))
        log_likelihood = pool.evaluate(problem.prior_transform(u))
        self._maxima = self._search(np.random.default_rng([seed, 1]), u, log_likelihood)
        self._coordinates = NormalCoordinates(problem, self._maxima.highest.theta)
        self._n_gradients = self._maxima.n_gradients
        self._first = self._first_proposal()
        self._rounds = Rounds(problem.ndim)
        prior = Proposal((), np.zeros(0), problem.ndim)
        self._rounds.add(prior, self._coordinates.from_places(u), log_likelihood)

    def _search(self, rng: np.random.Generator, u: np.ndarray, log_likelihood: np.ndarray) -> Maxima:
        number = {key: int(self._options[key]) for key in ("n_starts", "maxiter")}
        return find_maxima(
            self._problem, self._pool.evaluate, rng, n_draws=len(u), **number, draws=(u, log_likelihood)
        )

    def _first_proposal(self) -> Proposal:
        """Return Student densities around the maxima, with shares by Laplace's approximation."""
        summits: list[Summit] = []
        for maximum in self._maxima.found:
            if maximum.log_mass < self._maxima.found[0].log_mass + math.log(KEPT) and summits:
                continue
            summit = climb(self._coordinates, maximum, int(self._options["maxiter"]))
            self._n_gradients += summit.n_gradients
            if not any(_same(summit, other) for other in summits):
                summits.append(summit)
        masses = np.array([summit.log_mass for summit in summits])
        shares = np.exp(masses - masses.max())
        kept = shares > KEPT
        students = [student_of(one.center, one.covariance) for one, keep in zip(summits, kept, strict=True) if keep]
        return Proposal(tuple(students), shares[kept] / shares[kept].sum(), self._problem.ndim)

    def explore(self) -> tuple[Draws, list[str]]:
        """Return the draws of all rounds, and why they do not pass; an empty list if they do."""
        wanted, first, most = (int(self._options[key]) for key in ("n_eff", "n_first", "max_draws"))
        proposal, progress = self._first, PeriodicLogger("adaptive")
        number = first
        spent = 0
        while True:
            z = proposal.draw(number, self._rng)
            self._rounds.add(proposal, z, self._pool.evaluate(self._coordinates.to_parameters(z)))
            spent += number
            log_weights = self._rounds.log_weights()
            effective = effective_number(log_weights)
            if effective >= wanted or spent >= most:
                break
            fraction = effective_number(self._rounds.own_log_weights(len(self._rounds) - 1)) / number
            if progress.due():
                progress.log(f"{spent} draws, N_eff {effective:.0f}, ln Z {evidence(log_weights)[0]:.2f}")
            if effective > 1:
                weights = truncated(log_weights)
                enough = effective_number(np.log(weights[weights > 0])) > 10 * self._problem.ndim
                if fraction < _POOR and len(self._rounds) > 3 and len(proposal.students) < _MOST_STUDENTS and enough:
                    proposal = proposal.with_another(self._rounds.z, weights, self._rng)
                proposal = proposal.fitted(self._rounds.z, weights)
            # As many as should be enough, with a tenth to spare.
            needed = 1.1 * (wanted - effective) / max(fraction, 1 / _GROWTH)
            number = int(np.clip(needed, first / _GROWTH, min(_GROWTH * first, max(most - spent, 1))))
        why, notes = self._judged(log_weights, effective)
        return self._draws(log_weights, not why, notes), why

    def _judged(self, log_weights: np.ndarray, effective: float) -> tuple[list[str], dict[str, Any]]:
        """Return why the draws do not pass, and what the result says of them."""
        from socca.posterior.exports import pareto_smoothed

        why: list[str] = []
        possible = log_weights[np.isfinite(log_weights)]
        tail = float(pareto_smoothed(possible)[1]) if len(possible) > 20 else math.inf
        if not tail <= MOST_TAIL:
            why.append(f"k-hat is {tail:.2f}")
        if effective < self._options["n_eff"]:
            why.append(f"{effective:.0f} effective draws of {len(log_weights)}")
        together = evidence(log_weights)
        rounds = [evidence(self._rounds.own_log_weights(k)) for k in range(1, len(self._rounds))]
        if not all(agree(one, together, _SIGMAS, _CLOSE) for one in rounds[-2:]):
            why.append("rounds differ in ln Z")
        shares = self._shares(log_weights)
        missing = bool(np.any((self._first.shares > _LARGE) & (shares < _LEAST * self._first.shares)))
        if missing:
            why.append("a maximum is missing")
        if self._maxima.left_out > MATTERS:
            why.append("there are too many maxima")
        notes = {
            **self._maxima.notes(),
            "maxima": Maxima.count(shares),
            "maxima_shares": sorted((round(float(share), 4) for share in shares), reverse=True),
            "maxima_missing": missing,
            "n_gradients": self._n_gradients,
            "tier": "importance",
            "escalated": why,
            "tail": round(tail, 3),
            "rounds": len(self._rounds) - 1,
            "effective_share": round(effective / len(log_weights), 4),
        }
        return why, notes

    def _shares(self, log_weights: np.ndarray) -> np.ndarray:
        """Return the share of the posterior that is nearest to each of the maxima, shape (m,)."""
        nearest = self._first.log_parts(self._rounds.z).argmax(axis=0)
        weights = np.exp(log_weights - log_weights.max())
        shares = np.bincount(nearest, weights, len(self._first.students))
        return np.asarray(shares / shares.sum())

    def _draws(self, log_weights: np.ndarray, converged: bool, notes: dict[str, Any]) -> Draws:
        logz, error = evidence(log_weights)
        kept = log_weights > log_weights.max() + math.log(_NOTHING)
        log_weights = log_weights[kept] - np.logaddexp.reduce(log_weights[kept])
        return Draws(
            samples=self._coordinates.to_parameters(self._rounds.z[kept]),
            log_weights=log_weights,
            log_likelihood=self._rounds.log_likelihood[kept],
            logz=logz,
            logz_err=error,
            converged=converged,
            notes=notes,
        )


def _same(one: Summit, other: Summit) -> bool:
    """Tell whether two searches ended at the same maximum."""
    off = one.center - other.center
    return bool(off @ np.linalg.solve(one.covariance, off) < _ONE**2)
