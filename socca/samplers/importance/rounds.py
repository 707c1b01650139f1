"""Rounds of importance sampling: their draws and weights, and what these say of evidence and accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from socca.samplers.importance.proposal import PriorDensity, Proposal, mixture_of

#: A round counts if its proposal is as large a part as good as the best one.
_WORTHWHILE = 0.5
#: Weights that say nothing, as logarithms below the largest one.
_NEGLIGIBLE = -30.0
#: Steps in which shares of a mixture are found, and a share, over the largest one, that is left out.
_MIXING_STEPS, _LEAST_SHARE = 30, 0.01


class Weighted(NamedTuple):
    """Draws, and weights whose mean is the evidence.

    Attributes
    ----------
    z : ndarray, shape (n, ndim)
        The draws.
    log_likelihood, log_weights : ndarray, shape (n,)
        There.
    logz, logz_err : float
        Log-evidence and its standard error; -inf and inf without any weight.
    """

    z: np.ndarray
    log_likelihood: np.ndarray
    log_weights: np.ndarray
    logz: float
    logz_err: float


class Rounds:
    """The draws of all rounds; see `all` and `since` for their weights.

    Parameters
    ----------
    prior : PriorDensity
        The prior.

    Attributes
    ----------
    z : ndarray, shape (n, ndim)
        The draws.
    log_likelihood : ndarray, shape (n,)
        There.
    """

    def __init__(self, prior: PriorDensity) -> None:
        self._prior = prior
        self.z = np.zeros((0, prior.ndim))
        self.log_likelihood = np.zeros(0)
        self._log_prior = np.zeros(0)
        self._proposals: list[Proposal] = []
        self._numbers: list[int] = []
        self._log_densities = np.zeros((0, 0))
        self._log_weights = np.zeros(0)

    def __len__(self) -> int:
        """Return the number of rounds."""
        return len(self._numbers)

    def add(self, proposal: Proposal, z: np.ndarray, log_likelihood: np.ndarray) -> None:
        """Add a round.

        Parameters
        ----------
        proposal : Proposal
            What the draws come from.
        z : ndarray, shape (n, ndim)
            The draws.
        log_likelihood : ndarray, shape (n,)
            There; anything that is not finite counts as impossible.
        """
        # Every proposal's density at every draw, of which there are new ones of both.
        new = np.stack([one.log_density(z) for one in (*self._proposals, proposal)])
        old = np.vstack([self._log_densities, proposal.log_density(self.z)])
        self._log_densities = np.hstack([old, new])
        self.z = np.concatenate([self.z, z])
        possible = np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf)
        self.log_likelihood = np.concatenate([self.log_likelihood, possible])
        self._log_prior = np.concatenate([self._log_prior, self._prior.log_prior(z)])
        self._proposals.append(proposal)
        self._numbers.append(len(z))
        shares = np.log(np.array(self._numbers) / sum(self._numbers))
        mixture = logsumexp(self._log_densities + shares[:, None], axis=0)
        self._log_weights = self.log_likelihood + self._log_prior - mixture

    def log_weights(self) -> np.ndarray:
        """Return the log of likelihood times prior over the density of all proposals together, shape (n,)."""
        return self._log_weights

    def mixed(self, candidate: Proposal, first: int, least: float) -> Proposal:
        """Return the mixture of a new proposal and those of the rounds from a number on that is most efficient.

        Its shares minimise the variance of the weights, ``integral p^2 / q``, as all draws judge it; a region that one
        proposal hardly reaches then keeps one that does.

        Parameters
        ----------
        candidate : Proposal
            The new one.
        first : int
            Number of the first round whose proposal is one of them.
        least : float
            Smallest share of the new one.
        """
        known = self._proposals[first:]
        log_weights = self.log_weights()
        some = log_weights > np.max(log_weights, initial=-np.inf) + _NEGLIGIBLE
        if not known or not some.any():
            return candidate
        log_densities = np.vstack([self._log_densities[first:, some], candidate.log_density(self.z[some])])
        largest = log_densities.max(axis=0)
        densities = np.exp(log_densities - largest)
        # Of p^2 / q at the draws, which stand for the posterior by their weights.
        log_sizes = log_weights[some] + (self.log_likelihood + self._log_prior)[some] - largest
        sizes = np.exp(log_sizes - log_sizes.max())
        shares = np.full(len(densities), 1 / len(densities))
        for _ in range(_MIXING_STEPS):
            # The slope along each share; with its root as a factor the variance never becomes larger.
            slopes = densities @ (sizes / (shares @ densities) ** 2)
            shares = shares * np.sqrt(slopes)
            shares = shares / shares.sum()
        shares = np.where(shares < _LEAST_SHARE * shares.max(), 0.0, shares)
        shares[-1] = max(shares[-1], least * shares[:-1].sum() / (1 - least))
        return mixture_of([*known, candidate], shares / shares.sum())

    def all(self) -> Weighted:
        """Return all draws, with the weights of `log_weights`."""
        log_weights = self.log_weights()
        return Weighted(self.z, self.log_likelihood, log_weights, *evidence(log_weights))

    def own(self, number: int) -> Weighted:
        """Return the draws of one round, weighted by the density of its own proposal alone."""
        start = sum(self._numbers[:number])
        one = slice(start, start + self._numbers[number])
        log_weights = self.log_likelihood[one] + self._log_prior[one] - self._log_densities[number, one]
        return Weighted(self.z[one], self.log_likelihood[one], log_weights, *evidence(log_weights))

    def since(self, first: int) -> Weighted:
        """Return the draws of the rounds from a number on, each weighted by the density of its own proposal alone.

        A proposal that was fitted to earlier draws is a fixed density for its own: the mean of their weights is the
        evidence, without bias. (In the mixture of all proposals, draws that a later one was fitted to have weights that
        are too small: it grew where they were.) Rounds have shares of the result by their numbers of draws, times how
        good their proposals are (Douc et al. 2007, ESAIM Probab. Stat. 11, 427). That is judged by the draws of all
        rounds: by its own ones, a round without any of its few large weights would seem the best.

        Parameters
        ----------
        first : int
            Number of the first round that counts.

        Returns
        -------
        Weighted
            In the order of the rounds.
        """
        parts = self._efficiencies()[first:]
        shares = np.array(self._numbers[first:]) * np.where(parts >= _WORTHWHILE * parts.max(), parts, 0.0)
        shares = shares / shares.sum()
        total = sum(self._numbers[first:])
        log_weights, found = [], []
        for number, share in enumerate(shares, first):
            own = self.own(number).log_weights
            own = own + math.log(share) if share > 0 else np.full(len(own), -np.inf)
            log_weights.append(own + math.log(total / len(own)))
            found.append(evidence(own))
        logz, errors = np.array([one for one in found if math.isfinite(one[0])]).reshape(-1, 2).T
        whole = slice(sum(self._numbers[:first]), None)
        draws = (self.z[whole], self.log_likelihood[whole], np.concatenate(log_weights))
        if not len(logz):
            return Weighted(*draws, -math.inf, math.inf)
        together = float(logsumexp(logz))
        return Weighted(*draws, together, math.sqrt(float(np.sum((np.exp(logz - together) * errors) ** 2))))

    def _efficiencies(self) -> np.ndarray:
        """Return for each round the share of draws from its proposal that would be effective, by all draws."""
        log_weights = self.log_weights()
        log_sum = logsumexp(log_weights)
        if not np.isfinite(log_sum):
            return np.ones(len(self))
        some = np.isfinite(log_weights)
        log_posterior = (log_weights - log_sum)[some]
        log_target = (self.log_likelihood + self._log_prior)[some] - (log_sum - math.log(len(log_weights)))
        return np.asarray(np.exp(-logsumexp(log_posterior + log_target - self._log_densities[:, some], axis=1)))


def evidence(log_weights: np.ndarray) -> tuple[float, float]:
    """Return the log of the mean of weights, and its standard error.

    Parameters
    ----------
    log_weights : ndarray, shape (n,)
        -inf for no weight.

    Returns
    -------
    logz, error : float
        -inf and inf without any weight.
    """
    top = np.max(log_weights, initial=-np.inf)
    if not np.isfinite(top):
        return -math.inf, math.inf
    weights = np.exp(log_weights - top)
    mean = float(weights.mean())
    error = float(weights.std(ddof=1)) / math.sqrt(len(weights)) / mean
    return float(top) + math.log(mean), error


def effective_number(log_weights: np.ndarray, z: np.ndarray | None = None) -> float:
    """Return the effective number of weighted draws.

    Parameters
    ----------
    log_weights : ndarray, shape (n,)
        -inf for no weight.
    z : ndarray, shape (n, ndim), optional
        The draws. The mean along each axis then has an error of the standard deviation over the root of the number, or
        a smaller one: draws with much weight far out count for more than by their weights alone.

    Returns
    -------
    float
        That of Kish, ``(sum w)^2 / sum w^2``, or the least of the axes' own, if that is less: by the delta method (Owen
        2013, Monte Carlo theory, methods and examples, section 9.2), ``sum w sum w (z - mean)^2 / sum w^2 (z -
        mean)^2``. 0 without any weight.
    """
    top = np.max(log_weights, initial=-np.inf)
    if not np.isfinite(top):
        return 0.0
    weights = np.exp(log_weights - top)
    weights /= weights.sum()
    number = 1 / float(weights @ weights)
    if z is None:
        return number
    square = (z - weights @ z) ** 2
    spread, noise = weights @ square, weights**2 @ square
    # Where one draw has all the weight, its mean has no scatter.
    along = np.divide(spread, noise, out=np.full(len(noise), number), where=noise > 0)
    return min(number, float(np.min(along)))


def tail_shape(log_weights: np.ndarray) -> float:
    """Return the shape k of the generalised Pareto distribution of the largest weights.

    The weights have a variance for k < 0.5, and errors that can be relied on up to 0.7 (Vehtari et al. 2024, J. Mach.
    Learn. Res. 25, 72: those of the tail are the largest 3 sqrt(n), or a fifth; k is drawn to 0.5 as if by ten more).

    Parameters
    ----------
    log_weights : ndarray, shape (n,)
        -inf for no weight.

    Returns
    -------
    float
        By maximum likelihood; inf where fewer than five weights are in the tail.
    """
    from scipy.stats import genpareto

    possible = np.sort(log_weights[np.isfinite(log_weights)])
    number = int(min(0.2 * len(possible), 3 * math.sqrt(len(possible))))
    if number < 5:
        return math.inf
    weights = np.exp(possible[-number - 1 :] - possible[-1])
    beyond = weights[1:] - weights[0]
    if beyond[-1] <= 1e-12:  # all alike
        return -math.inf
    k, _, _ = genpareto.fit(beyond[beyond > 0], floc=0)
    return float((number * k + 10 * 0.5) / (number + 10))


def truncated(log_weights: np.ndarray) -> np.ndarray:
    """Return weights of sum 1, none larger than the mean times the root of their number, shape (n,).

    A few draws far out then do not draw a proposal to them (Ionides 2008, J. Comput. Graph. Stat. 17, 295).
    """
    weights = np.exp(log_weights - logsumexp(log_weights))
    weights = np.minimum(weights, 1 / math.sqrt(len(weights)))
    return np.asarray(weights / weights.sum())


def tempered(log_weights: np.ndarray, number: float) -> np.ndarray:
    """Return weights of sum 1, to a power of at most 1 with which so many draws are effective, shape (n,).

    A proposal of which only a few draws have any weight can so be led to them step by step, instead of being fitted to
    them alone (Koblents & Miguez 2015, Stat. Comput. 25, 407). Weights to the power 1 are `truncated`.
    """
    weights = truncated(log_weights)
    some = np.isfinite(log_weights)
    possible = log_weights[some]
    if 1 / (weights @ weights) >= number or len(possible) <= 2 * number:
        return weights
    low, high = 0.0, 1.0
    for _ in range(30):
        power = 0.5 * (low + high)
        low, high = (power, high) if effective_number(power * possible) >= number else (low, power)
    weights = np.zeros(len(log_weights))
    weights[some] = np.exp(low * (possible - possible.max()))
    return np.asarray(weights / weights.sum())


def agree(first: Sequence[float], other: Sequence[float], sigmas: float, floor: float) -> bool:
    """Tell whether two evidences, log and error each, differ by no more than so many errors, or the floor."""
    return abs(first[0] - other[0]) <= max(sigmas * math.hypot(first[1], other[1]), floor)
