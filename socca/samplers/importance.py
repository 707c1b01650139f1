"""Adaptive multiple importance sampling (Cornuet et al. 2012, Scand. J. Stat. 39, 798).

Draws come in rounds, each from a proposal that was fitted to the weighted draws before it: a mixture of Student
densities and of a share of the prior, in coordinates in which the prior is standard normal. All draws of all rounds are
weighted as if they came from the mixture of all proposals (Owen & Zhou 2000, J. Am. Stat. Assoc. 95, 135), so that a
round whose proposal was bad spoils nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from socca.samplers.student import Student

#: Degrees of freedom of the Student densities.
FREEDOM = 6.0
#: Share of the prior in each proposal.
PRIOR_SHARE = 0.03
#: Steps of expectation and maximisation in which a proposal is fitted.
_STEPS = 8
#: Fewest effective draws, per axis, that a Student density is fitted to; with fewer it is left out.
_FEWEST = 3
#: A covariance of n effective draws is widened by this times the number of axes over n.
_WIDENED = 0.1
#: Smallest variance along any axis, in units of that of the prior.
_LEAST_VARIANCE = 1e-18


@dataclass(frozen=True)
class Proposal:
    """A mixture of Student densities and of the prior, a standard normal density.

    Parameters
    ----------
    students : tuple of Student
        May be empty: the prior alone.
    shares : ndarray, shape (m,)
        Of the Student densities, of sum 1.
    ndim : int
        Number of axes.
    """

    students: tuple[Student, ...]
    shares: np.ndarray
    ndim: int

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return draws, shape (n, ndim): of each part about as many as its share says, whatever chance may say."""
        shares = np.append(self.shares * (1 - PRIOR_SHARE), PRIOR_SHARE) if self.students else np.ones(1)
        numbers = np.floor(shares * n).astype(int)
        left = shares * n - numbers
        if (rest := n - numbers.sum()) > 0:
            numbers += np.bincount(rng.choice(len(shares), rest, p=left / left.sum()), minlength=len(shares))
        parts = [student.draw(count, rng) for student, count in zip(self.students, numbers[:-1], strict=True)]
        return np.concatenate([*parts, rng.standard_normal((numbers[-1], self.ndim))])

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the log of the density at points of shape (n, ndim), shape (n,)."""
        prior = -0.5 * np.sum(z**2, axis=1) - 0.5 * self.ndim * math.log(2 * math.pi)
        if not self.students:
            return prior
        parts = self.log_parts(z) + math.log1p(-PRIOR_SHARE)
        return np.asarray(logsumexp(np.vstack([parts, prior + math.log(PRIOR_SHARE)]), axis=0))

    def log_parts(self, z: np.ndarray) -> np.ndarray:
        """Return the log of what each Student density contributes to their mixture, shape (m, n)."""
        return np.stack(
            [math.log(share) + one.log_density(z) for share, one in zip(self.shares, self.students, strict=True)]
        )

    def fitted(self, z: np.ndarray, weights: np.ndarray) -> Proposal:
        """Return the proposal whose Student densities are fitted to weighted points, by expectation and maximisation.

        Parameters
        ----------
        z : ndarray, shape (n, ndim)
            The points.
        weights : ndarray, shape (n,)
            Of sum 1.

        Returns
        -------
        Proposal
            Without the Student densities that too few points belong to; the same one if that is none.

        Notes
        -----
        Peel & McLachlan 2000, Stat. Comput. 10, 339, for given degrees of freedom.
        """
        now = self
        for _ in range(_STEPS):
            parts = now.log_parts(z)
            belonging = np.exp(parts - logsumexp(parts, axis=0)) * weights
            students, shares = [], []
            for own, student in zip(belonging, now.students, strict=True):
                total = own.sum()
                effective = total**2 / max(float(own @ own), 1e-300)
                if effective < _FEWEST * self.ndim:
                    continue
                near = own * (FREEDOM + self.ndim) / (FREEDOM + student.square_distance(z))
                middle = near @ z / near.sum()
                off = z - middle
                covariance = (near * off.T) @ off / total
                widened = np.diag(covariance) * _WIDENED * self.ndim / effective + _LEAST_VARIANCE
                students.append(student_of(middle, covariance + np.diag(widened)))
                shares.append(total)
            if not students:
                return self
            now = Proposal(tuple(students), np.array(shares) / np.sum(shares), self.ndim)
        return now

    def with_another(self, z: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> Proposal:
        """Return the proposal with one more Student density, far from the others where there is weight.

        Parameters
        ----------
        z : ndarray, shape (n, ndim)
            Points.
        weights : ndarray, shape (n,)
            Of sum 1.
        rng : numpy.random.Generator
            Source of randomness.
        """
        chosen = z[rng.choice(len(z), 200, p=weights)]
        far = np.min([student.square_distance(chosen) for student in self.students], axis=0)
        if not far.any():
            return self
        middle = chosen[rng.choice(len(chosen), p=far / far.sum())]
        off = z - weights @ z
        covariance = (weights * off.T) @ off + _LEAST_VARIANCE * np.eye(self.ndim)
        shares = np.append(0.8 * self.shares, 0.2)
        return Proposal((*self.students, student_of(middle, 0.5 * covariance)), shares, self.ndim)


def student_of(middle: np.ndarray, covariance: np.ndarray) -> Student:
    """Return the Student density of a scale matrix, shape (ndim, ndim), which may be nearly singular."""
    sigma = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sigma, sigma)
    root = np.linalg.cholesky((1 - 1e-9) * correlation + 1e-9 * np.eye(len(sigma)))
    return Student(middle, sigma[:, None] * root, FREEDOM)


class Rounds:
    """The draws of all rounds, and their weights.

    Attributes
    ----------
    z : ndarray, shape (n, ndim)
        The draws.
    log_likelihood : ndarray, shape (n,)
        There.
    """

    def __init__(self, ndim: int) -> None:
        self.z = np.zeros((0, ndim))
        self.log_likelihood = np.zeros(0)
        self._log_prior = np.zeros(0)
        self._proposals: list[Proposal] = []
        self._numbers: list[int] = []
        self._log_densities = np.zeros((0, 0))

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
        prior = Proposal((), np.zeros(0), z.shape[1]).log_density(z)
        self._log_prior = np.concatenate([self._log_prior, prior])
        self._proposals.append(proposal)
        self._numbers.append(len(z))

    def log_weights(self) -> np.ndarray:
        """Return the log of likelihood times prior over the density of all proposals together, shape (n,)."""
        shares = np.log(np.array(self._numbers) / sum(self._numbers))
        mixture = logsumexp(self._log_densities + shares[:, None], axis=0)
        return np.asarray(self.log_likelihood + self._log_prior - mixture)

    def own_log_weights(self, number: int) -> np.ndarray:
        """Return the same for the draws of one round, over the density of its own proposal."""
        start = sum(self._numbers[:number])
        own = slice(start, start + self._numbers[number])
        return np.asarray(self.log_likelihood[own] + self._log_prior[own] - self._log_densities[number, own])


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
    return min(number, float(np.min(weights @ square / (weights**2 @ square))))


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


def agree(first: Sequence[float], other: Sequence[float], sigmas: float, floor: float) -> bool:
    """Tell whether two evidences, log and error each, differ by no more than so many errors, or the floor."""
    return abs(first[0] - other[0]) <= max(sigmas * math.hypot(first[1], other[1]), floor)
