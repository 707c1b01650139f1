"""One run of importance sampling: first proposal, rounds that improve it, the draws that count, and their judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.samplers.base import Draws, PeriodicLogger
from socca.samplers.coordinates.flat import FlatCoordinates
from socca.samplers.importance.proposal import Proposal, student_of
from socca.samplers.importance.rounds import (
    Rounds,
    Weighted,
    agree,
    effective_number,
    evidence,
    tail_shape,
    tempered,
    truncated,
)
from socca.samplers.importance.summits import Summits, find_summits
from socca.samplers.maxima.search import MATTERS, Maxima

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint, State

#: Largest tail of the weights of a pass (Vehtari et al. 2024, J. Mach. Learn. Res. 25, 72).
MOST_TAIL = 0.7
#: Draws from the prior before it is said that none is possible.
_LOOKED = 1000
#: Share of effective draws with which a proposal is good enough, and below which it gets another Student density.
_GOOD, _POOR = 0.65, 0.4
#: Student densities of a proposal that grows, at most.
_MOST_STUDENTS = 8
#: Share of a new proposal in the mixture of all that is drawn from.
_LEAST_NEW = 0.2
#: Effective draws per axis that a proposal is fitted to, at least.
_FITTED = 25
#: Effective draws per axis and Student density with which there may be another.
_GROWN = 10
#: Share of the draws at most within which proposals are looked for, and rounds begin again.
_LOOKING = 0.25
#: Rounds of the first number of draws that are made for it, even if that is more.
_SOME = 8
#: Share of the effective draws asked for that is enough where draws are at an end, and that must be in sight before.
_HOPE = 0.8
#: Earlier draws do not count if a part of them less than this times that of the latest round is effective, as long as
#: they are less than this part of what is asked for.
_LESS, _FEW = 0.5, 0.25
#: Rounds by which draws to come are judged.
_LATEST = 3
#: Draws at once, at most as a multiple of those of a round.
_GROWTH = 4
#: The draws that count may differ from all together by so many errors in ln Z, or by so much.
_SIGMAS, _CLOSE = 4.0, 0.1
#: Draws that weigh less than this times the largest are left out of the result.
_NOTHING = 1e-12
#: Name in checkpoints.
_LIKELIHOODS = "importance_log_likelihood"


class Remembered:
    """Likelihoods in the order in which they are asked for; those of an earlier run are not computed again.

    Parameters
    ----------
    pool : Workers
        Computes the others.
    known : ndarray, shape (n,)
        Of the earlier run, which asked for the same.

    Attributes
    ----------
    values : ndarray
        All that are known.
    """

    def __init__(self, pool: Workers, known: np.ndarray) -> None:
        self._pool, self.values, self._asked = pool, known, 0

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row, shape (n, ndim) to (n,)."""
        start, self._asked = self._asked, self._asked + len(theta)
        if self._asked > len(self.values):
            self.values = np.concatenate([self.values[:start], self._pool.evaluate(theta)])
        return self.values[start : self._asked]


class ImportanceRun:
    """A run of importance sampling.

    Parameters
    ----------
    problem : LogDensity
        What is explored.
    pool : Workers
        Evaluates the likelihood.
    seed : int
        Of all random numbers.
    options : mapping
        Those of `socca.samplers.adaptive.Adaptive`.
    checkpoint : Checkpoint
        Where to keep the state, and to go on from.

    Raises
    ------
    ModelError
        If the model is impossible wherever it was tried.
    """

    def __init__(
        self, problem: LogDensity, pool: Workers, seed: int, options: Mapping[str, Any], checkpoint: Checkpoint
    ) -> None:
        self._problem, self._options, self._checkpoint = problem, options, checkpoint
        kept = checkpoint.state
        self._likelihoods = Remembered(pool, np.zeros(0) if kept is None else kept[_LIKELIHOODS])
        self._rng = np.random.default_rng([seed, 6])
        u = np.zeros((0, problem.ndim))
        log_likelihood = np.zeros(0)
        for number in (int(options["n_prior"]), _LOOKED):
            more = self._rng.random((max(number - len(u), 0), problem.ndim))
            u = np.concatenate([u, more])
            log_likelihood = np.append(log_likelihood, self._likelihoods.evaluate(problem.prior_transform(more)))
            if np.isfinite(log_likelihood).any():
                break
        if kept is None:
            starts, maxiter = int(options["n_starts"]), int(options["maxiter"])
            found = (u, log_likelihood)
            rng = np.random.default_rng([seed, 1])
            self._summits = find_summits(problem, pool.evaluate, rng, found, starts, maxiter)
        else:
            self._summits = Summits.from_arrays(kept)
        normal = self._summits.coordinates(problem)
        self._coordinates = FlatCoordinates(problem, normal)
        self._first = self._first_proposal()
        self._all = Rounds(self._coordinates)
        self._all.add(Proposal(self._coordinates), self._coordinates.from_places(u), log_likelihood)
        # The newest of the proposals that rounds draw from mixtures of; of each round since they began, the share of
        # draws that were effective; and the number of rounds before.
        self._candidate = self._first
        self._shares_effective: list[float] = []
        self._begun = len(self._all)

    def state(self) -> State:
        """Return what a later run goes on from: the maxima, and all likelihoods. The rest is made again from these."""
        return {**self._summits.arrays(), _LIKELIHOODS: self._likelihoods.values}

    def _first_proposal(self) -> Proposal:
        """Return Student densities around the maxima, with shares by Laplace's approximation."""
        found = self._summits
        shares = np.exp(found.log_masses - found.log_masses.max())
        gaussians = zip(found.centers, found.covariances, strict=True)
        students = [student_of(*self._coordinates.from_normal(*gaussian)) for gaussian in gaussians]
        return Proposal(self._coordinates, tuple(students), shares / shares.sum())

    @property
    def _spent(self) -> int:
        return len(self._all.z)

    @property
    def _looking(self) -> bool:
        """Whether proposals are still looked for: for some rounds at least, but not beyond half of the draws."""
        first, most = int(self._options["n_first"]), int(self._options["max_draws"])
        some = int(self._options["n_prior"]) + _SOME * first
        return self._spent < max(_LOOKING * most, min(0.5 * most, some))

    def explore(self, progress: PeriodicLogger, n_eff: float) -> tuple[Draws, list[str]]:
        """Explore the posterior, or go on with it.

        In each round another proposal is fitted to all draws so far, as long as draws are not good enough. The round
        draws from the mixture of all proposals that leaves the weights most even. If enough draws are effective, but
        the tail of their weights is too long, or if only few are although those of the latest round are, the rounds
        begin again. All draws since then count.

        Parameters
        ----------
        progress : PeriodicLogger
            Told of each round.
        n_eff : float
            Number of effective draws that is enough.

        Returns
        -------
        draws : Draws
            All that count.
        why : list of str
            Why they do not pass; empty if they do.
        """
        first, most = int(self._options["n_first"]), int(self._options["max_draws"])
        if len(self._all) == self._begun:
            self._add_round(self._first, first)
        while True:
            found = self._all.since(self._begun)
            effective = effective_number(found.log_weights, found.z)
            looking = self._looking
            if effective >= n_eff and looking and not tail_shape(found.log_weights) <= MOST_TAIL:
                self._candidate = self._adapted(self._candidate, 0.0)
                self._shares_effective, self._begun = [], len(self._all)
                self._add_round(self._all.mixed(self._candidate, 1, _LEAST_NEW), first)
                continue
            # The latest mixtures are as good as any, once no other proposals are looked for.
            in_sight = effective + np.mean(self._shares_effective[-_LATEST:]) * (most - self._spent)
            hopeless = not looking and bool(in_sight < _HOPE * n_eff)
            done = effective >= n_eff or self._spent >= most or hopeless
            self._checkpoint.offer(self.state, last=done)
            if done:
                break
            if progress.due():
                progress.log(f"{self._spent} draws, N_eff {effective:.0f}, ln Z {found.logz:.2f}")
            # A proposal that has become much better is not to be spoilt by draws from those before.
            few = min(_LESS * self._shares_effective[-1] * len(found.z), _FEW * n_eff)
            counted = len(found.z)
            if looking and effective < few:
                self._begun, effective, counted = len(self._all), 0.0, 0
            least = 0.0
            if looking and max(self._shares_effective) < _GOOD:
                self._candidate, least = self._adapted(self._candidate, self._shares_effective[-1]), _LEAST_NEW
            self._add_round(self._all.mixed(self._candidate, 1, least), self._number(n_eff - effective, counted))
        if effective == 0:  # none of them is possible: what led to them is all there is
            found = self._all.all()
            effective = effective_number(found.log_weights, found.z)
        why, notes = self._judged(found, effective, n_eff)
        return self._draws(found, effective, not why, notes), why

    def _number(self, missing: float, counted: int) -> int:
        """Return how many draws to make next: as many as should be enough, a tenth to spare, but fewer at first."""
        share = max(self._shares_effective)
        first, most = int(self._options["n_first"]), int(self._options["max_draws"])
        needed = 1.1 * missing / max(share, 1 / first)
        # A poor proposal is to be replaced soon.
        at_once = first if share < _POOR else max(first, counted // 2)
        at_once = _GROWTH * first if share >= _GOOD or not self._looking else at_once
        left = max(most - self._spent, first // _GROWTH)
        return int(min(max(needed, first / _GROWTH), at_once, left))

    def _add_round(self, proposal: Proposal, number: int) -> None:
        """Draw from a proposal, and add that to the rounds."""
        z = proposal.draw(number, self._rng)
        log_likelihood = np.full(number, -np.inf)
        inside = np.isfinite(self._coordinates.log_prior(z))
        log_likelihood[inside] = self._likelihoods.evaluate(self._coordinates.to_parameters(z[inside]))
        self._all.add(proposal, z, log_likelihood)
        own = self._all.own(len(self._all) - 1)
        self._shares_effective.append(effective_number(own.log_weights, own.z) / number)

    def _adapted(self, proposal: Proposal, fraction: float) -> Proposal:
        """Return a proposal that is fitted to all draws so far, perhaps with another Student density."""
        log_weights = self._all.log_weights()
        if not np.isfinite(log_weights).any():
            return proposal
        weights = tempered(log_weights, _FITTED * self._problem.ndim)
        most = min(_MOST_STUDENTS, 1 / (weights @ weights) / (_GROWN * self._problem.ndim))
        if fraction < _POOR and len(proposal.students) < most:
            proposal = proposal.with_another(self._all.z, weights, self._rng)
        return proposal.fitted(self._all.z, weights)

    def _judged(self, final: Weighted, effective: float, n_eff: float) -> tuple[list[str], dict[str, Any]]:
        """Return why the draws do not pass, and what the result says of them."""
        log_weights = final.log_weights
        why: list[str] = []
        tail = tail_shape(log_weights)
        if not tail <= MOST_TAIL:
            why.append(f"k-hat is {tail:.2f}")
        if effective < _HOPE * n_eff:
            why.append(f"{effective:.0f} effective draws of {len(log_weights)}")
        if not agree((final.logz, final.logz_err), evidence(self._all.log_weights()), _SIGMAS, _CLOSE):
            why.append("earlier draws hold more of the posterior")
        shares = self._shares(final)
        missing = Maxima.any_missing(self._first.shares, shares)
        if missing:
            why.append("a maximum is missing")
        if self._summits.left_out > MATTERS:
            why.append("there are too many maxima")
        notes = {
            **self._summits.notes(),
            "maxima": Maxima.count(shares),
            "maxima_shares": sorted((round(float(share), 4) for share in shares), reverse=True),
            "maxima_missing": missing,
            "tier": "importance",
            "escalated": why,
            "tail": round(tail, 3) if math.isfinite(tail) else None,
            "rounds": len(self._all) - 1,
            "effective_share": round(effective / max(len(log_weights), 1), 4),
        }
        return why, notes

    def _shares(self, final: Weighted) -> np.ndarray:
        """Return the share of the posterior that is nearest to each of the maxima, shape (m,)."""
        nearest = self._first.log_parts(final.z).argmax(axis=0)
        shares = np.bincount(nearest, truncated(final.log_weights), len(self._first.students))
        return np.asarray(shares / shares.sum())

    def _draws(self, final: Weighted, effective: float, converged: bool, notes: dict[str, Any]) -> Draws:
        log_weights = final.log_weights
        kept = log_weights > log_weights.max() + math.log(_NOTHING)
        log_weights = log_weights[kept] - np.logaddexp.reduce(log_weights[kept])
        return Draws(
            samples=self._coordinates.to_parameters(final.z[kept]),
            log_weights=log_weights,
            log_likelihood=final.log_likelihood[kept],
            logz=final.logz,
            logz_err=final.logz_err,
            converged=converged,
            n_eff=effective,
            notes=notes,
        )
