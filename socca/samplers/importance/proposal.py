"""Proposals of adaptive importance sampling: mixtures of Student densities and of a share of the prior.

Draws come in rounds, each from a mixture of proposals that were fitted to the weighted draws before it. For that, all
draws are weighted as if they came from the mixture of all proposals (Owen & Zhou 2000, J. Am. Stat. Assoc. 95, 135;
Cornuet et al. 2012, Scand. J. Stat. 39, 798), so that a round whose proposal was bad spoils nothing. For the result,
they are not: see `socca.samplers.importance.rounds`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import logsumexp

from socca.samplers.maxima.search import KEPT
from socca.samplers.student import Student

#: Degrees of freedom of the Student densities.
FREEDOM = 6.0
#: Share of the prior in each proposal.
PRIOR_SHARE = 0.03
#: Steps of expectation and maximisation in which a proposal is fitted.
_STEPS = 8
#: Fewest effective draws, per axis, that a Student density is fitted to; with fewer it stays as it is.
_FEWEST = 3
#: A covariance of n effective draws is widened by this times the number of axes over n.
_WIDENED = 0.1
#: Share of a mixture below which a Student density is left out: half of that of a maximum which is kept.
_NO_SHARE = 0.5 * KEPT
#: Smallest variance along any axis, in units of that of the prior.
_LEAST_VARIANCE = 1e-18


class PriorDensity(Protocol):
    """A prior in the coordinates of proposals."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    def log_prior(self, z: np.ndarray) -> np.ndarray:
        """Return the log density of points, shape (n, ndim) to (n,)."""

    def draw_prior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return draws, shape (n, ndim)."""


@dataclass(frozen=True)
class Proposal:
    """A mixture of Student densities and of the prior.

    Parameters
    ----------
    prior : PriorDensity
        The prior.
    students : tuple of Student
        May be empty: the prior alone.
    shares : ndarray, shape (m,)
        Of the Student densities, of sum 1.
    """

    prior: PriorDensity
    students: tuple[Student, ...] = ()
    shares: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return draws, shape (n, ndim): of each part about as many as its share says, whatever chance may say."""
        shares = np.append(self.shares * (1 - PRIOR_SHARE), PRIOR_SHARE) if self.students else np.ones(1)
        numbers = np.floor(shares * n).astype(int)
        left = shares * n - numbers
        if (rest := n - numbers.sum()) > 0:
            numbers += np.bincount(rng.choice(len(shares), rest, p=left / left.sum()), minlength=len(shares))
        parts = [student.draw(count, rng) for student, count in zip(self.students, numbers[:-1], strict=True)]
        return np.concatenate([*parts, self.prior.draw_prior(int(numbers[-1]), rng)])

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the log of the density at points of shape (n, ndim), shape (n,)."""
        prior = self.prior.log_prior(z)
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
            Without the Student densities that hardly any weight belongs to; the same one if that is none.

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
                if total < _NO_SHARE:
                    continue
                shares.append(total)
                if effective < _FEWEST * self.prior.ndim:
                    students.append(student)
                    continue
                near = own * (FREEDOM + self.prior.ndim) / (FREEDOM + student.square_distance(z))
                middle = near @ z / near.sum()
                off = z - middle
                covariance = (near * off.T) @ off / total
                widened = np.diag(covariance) * _WIDENED * self.prior.ndim / effective + _LEAST_VARIANCE
                students.append(student_of(middle, covariance + np.diag(widened)))
            if not students:
                return self
            now = Proposal(self.prior, tuple(students), np.array(shares) / np.sum(shares))
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
        covariance = (weights * off.T) @ off + _LEAST_VARIANCE * np.eye(self.prior.ndim)
        shares = np.append(0.8 * self.shares, 0.2)
        return Proposal(self.prior, (*self.students, student_of(middle, 0.5 * covariance)), shares)


def mixture_of(proposals: Sequence[Proposal], shares: np.ndarray) -> Proposal:
    """Return the mixture of proposals that have Student densities, of which some may be in several of them."""
    found: dict[int, tuple[Student, float]] = {}
    for proposal, share in zip(proposals, shares, strict=True):
        if share > 0:
            for student, part in zip(proposal.students, proposal.shares, strict=True):
                found[id(student)] = (student, share * part + found.get(id(student), (student, 0.0))[1])
    students, parts = zip(*(one for one in found.values() if one[1] > _NO_SHARE), strict=True)
    return Proposal(proposals[-1].prior, students, np.array(parts) / sum(parts))


def student_of(middle: np.ndarray, covariance: np.ndarray) -> Student:
    """Return the Student density of a scale matrix, shape (ndim, ndim), which may be nearly singular."""
    sigma = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sigma, sigma)
    root = np.linalg.cholesky((1 - 1e-9) * correlation + 1e-9 * np.eye(len(sigma)))
    return Student(middle, sigma[:, None] * root, FREEDOM)
