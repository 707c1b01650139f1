"""Marginalisation over intensities: under Gaussian noise, their posterior given all else is Gaussian.

For given values of all other parameters let ``m + T a`` be the model image, with amplitudes ``a`` of prior
``N(mu, S)``, and ``y`` and ``X`` the whitened ``d - m`` and ``T``. Then, with ``M = X^T X + S^-1`` and
``v = X^T y + S^-1 mu`` (e.g. Gelman et al. 2013, Bayesian Data Analysis, section 14.2),

    integral L(a) p(a) da = L(0) exp(1/2 v^T M^-1 v - 1/2 mu^T S^-1 mu) / sqrt(det(S) det(M)),

and the amplitudes' posterior is ``N(M^-1 v, M^-1)``. A flat prior enters as its density, and both the integral and the
posterior are then cut off at its bounds: see `socca.likelihood.truncated_normal`. Any other prior is a function that a
flat one is multiplied with: see `socca.likelihood.amplitude_priors`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from scipy import special

from socca import priors
from socca.errors import ModelError
from socca.likelihood.amplitude_draws import draw_within
from socca.likelihood.amplitude_integral import Solved, Split, integral_programs, undefined
from socca.likelihood.compiled import in_batches
from socca.likelihood.linear_parameters import find_amplitudes
from socca.likelihood.problem import Problem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Bounds of a prior that has none: so many times the width between these places in it, beyond them.
_ENDS, _BEYOND = (1e-3, 1 - 1e-3), 1e3


class Completed(NamedTuple):
    """Samples with their amplitudes; see `Marginal.complete`.

    Parameters
    ----------
    samples : ndarray, shape (n, ndim)
        All free parameters of the whole problem.
    log_weights : ndarray, shape (n,)
        Normalised. They are corrected, where several flat priors cut the posterior off, by what the draws say of the
        share within the bounds, and of what the quadrature over other priors leaves.
    log_likelihood : ndarray, shape (n,)
        Of the whole problem.
    log_correction, error : float
        What that adds to the log-evidence, and its standard error.
    """

    samples: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    log_correction: float
    error: float


class Marginal:
    """Problem with its amplitudes integrated out; a `LogDensity` of the other parameters.

    Parameters
    ----------
    problem : Problem
        The whole problem. Amplitudes are the free intensities of components that have a normal or a uniform prior.
    any_prior : bool
        Whether those with another prior are amplitudes too. The likelihood is then right to the accuracy of a
        quadrature, or for more than two of them to that of an approximation, and `complete` corrects the weights.

    Attributes
    ----------
    names, labels, units, periods, priors : list
        Of the parameters that are sampled, as those of `Problem`.
    linear_labels : list of str
        The user's names of the amplitudes.

    Raises
    ------
    ModelError
        If the noise is not Gaussian, or for a reason that `socca.likelihood.linear_parameters.find_amplitudes` has.
    """

    def __init__(self, problem: Problem, any_prior: bool = False) -> None:
        spec = problem.spec
        if not spec.noise.kind.gaussian:
            raise ModelError(f"marginalize: {spec.noise.kind.name} noise is not Gaussian in the model image")
        amplitudes = find_amplitudes(problem, any_prior)
        # Their value is computed from the posterior's samples, and has no meaning where the amplitudes are open.
        tied = tuple((tie[0], (), undefined) if tie[0] in amplitudes.idle else tie for tie in spec.model.tied)
        sampled = tuple(k for k in range(problem.ndim) if k not in amplitudes.free)
        flat = tuple(k for k in amplitudes.free if not isinstance(problem.priors[k], priors.normal))
        normal = tuple(k for k in amplitudes.free if k not in flat)
        acts_on = dict(zip(amplitudes.free, amplitudes.acts_on, strict=True))
        self._whole = problem
        self._split = Split(
            problem=dataclasses.replace(spec, model=dataclasses.replace(spec.model, tied=tied)),
            sampled=sampled,
            normal=normal,
            flat=flat,
            corrected=tuple(k for k in flat if not isinstance(problem.priors[k], priors.uniform)),
            acts_on=tuple(acts_on[k] for k in (*normal, *flat)),
            lit=amplitudes.lit,
        )
        self._bounds = np.array([_bounds_of(problem.priors[k]) for k in flat]).reshape(-1, 2)
        self.names = [problem.names[k] for k in sampled]
        self.labels = [problem.labels[k] for k in sampled]
        self.units = [problem.units[k] for k in sampled]
        self.periods = [problem.periods[k] for k in sampled]
        self.priors = [problem.priors[k] for k in sampled]
        self.linear_labels = [problem.labels[k] for k in amplitudes.free]
        self._known: _Known | None = None

    @property
    def ndim(self) -> int:
        """Number of parameters that are sampled."""
        return len(self.names)

    @property
    def ellipses(self) -> list[tuple[int, int]]:
        """Which of the parameters that are sampled are position angle and ellipticity of one source; see `Problem`."""
        place = {k: at for at, k in enumerate(self._split.sampled)}
        return [(place[a], place[b]) for a, b in self._whole.ellipses]

    @property
    def whole(self) -> Problem:
        """The problem with its amplitudes."""
        return self._whole

    def with_amplitudes(self, theta: np.ndarray) -> np.ndarray:
        """Return all free parameters of the whole problem, amplitudes at the mean of their posterior, within bounds.

        Parameters
        ----------
        theta : ndarray, shape (ndim,)
            The parameters that are sampled.

        Returns
        -------
        ndarray, shape (whole.ndim,)
            In the order of the whole problem.
        """
        split, whole = self._split, self._whole
        found = np.empty(whole.ndim)
        found[list(split.sampled)] = theta
        mean = self.solve(theta[None]).mean[0]
        mean[len(split.normal) :] = np.clip(mean[len(split.normal) :], *self._bounds.T)
        found[list(split.linear)] = mean
        return found

    @functools.cached_property
    def _on_device(self) -> dict[str, Any]:
        with jax.enable_x64(True):
            return {**self._whole.on_device, "bounds": jax.device_put(self._bounds)}

    def __getstate__(self) -> dict[str, Any]:
        return {**{key: value for key, value in self.__dict__.items() if key != "_on_device"}, "_known": None}

    @property
    def has_information(self) -> bool:
        """True: the noise is Gaussian."""
        return True

    def _batched(self, program: Any, arrays: dict[str, Any], rows: ArrayLike, what: str) -> Any:
        with jax.enable_x64(True):
            return in_batches(functools.partial(program, arrays), rows, self.ndim, what)

    def remember(self, wanted: bool = True) -> None:
        """Keep what `log_likelihood` computes from now on, for `complete` not to compute it again; or forget it."""
        self._known = _Known() if wanted else None

    def log_likelihood(self, theta: ArrayLike) -> np.ndarray:
        """Return the log of the likelihood, integrated over the amplitudes, of each row; shape (n, ndim) to (n,)."""
        solved = self.solve(theta)
        if self._known is not None:
            self._known.add(np.atleast_2d(np.asarray(theta, float)), solved)
        return solved.log_likelihood

    def solve(self, theta: ArrayLike) -> Solved:
        """Integrate over the amplitudes; a row of each array for each row of shape (n, ndim)."""
        return self._batched(integral_programs(self._split).solve, self._on_device, theta, "log_likelihood")

    def log_likelihood_and_grad(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return `log_likelihood` and its derivatives, shapes (n,) and (n, ndim)."""
        return self._batched(integral_programs(self._split).gradient, self._on_device, theta, "log_likelihood_and_grad")

    def log_likelihood_and_information(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the log-likelihood at the best amplitudes, its derivatives, and the Fisher information.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
            The parameters that are sampled.

        Returns
        -------
        value : ndarray, shape (n,)
            Of the whole problem, at the mean of the amplitudes within their bounds.
        gradient : ndarray, shape (n, ndim)
            Per unit of each parameter.
        information : ndarray, shape (n, ndim, ndim)
            Of the parameters that are sampled, whatever the amplitudes are.
        """
        return self._batched(integral_programs(self._split).information, self._on_device, theta, "information")

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Return the log prior density of the parameters that are sampled, shape (n,)."""
        return self._batched(
            integral_programs(self._split).log_prior, self._whole.on_device["model"], theta, "log_prior"
        )

    def prior_transform(self, u: ArrayLike) -> np.ndarray:
        """Map points of the unit cube to the parameters that are sampled, shape (n, ndim) to (n, ndim)."""
        return self._batched(
            integral_programs(self._split).transform, self._whole.on_device["model"], u, "prior_transform"
        )

    def traced(self) -> tuple[Any, dict[str, Any]]:
        """Return the log posterior density of one row and its arrays, as `Problem.traced`."""
        return integral_programs(self._split).posterior, self._on_device

    def digest(self) -> str:
        """Return a SHA-256 over all that defines the problem."""
        corrected = f", {self._split.corrected} by quadrature" if self._split.corrected else ""
        text = f"{self._whole.digest()} without {self._split.linear}{corrected}"
        return hashlib.sha256(text.encode()).hexdigest()

    def complete(self, samples: np.ndarray, log_weights: np.ndarray, rng: np.random.Generator) -> Completed:
        """Give each sample a draw of the amplitudes.

        Parameters
        ----------
        samples : ndarray, shape (n, ndim)
            Of the parameters that were sampled.
        log_weights : ndarray, shape (n,)
            Normalised: their exponentials sum to one.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        Completed
            Samples of all free parameters of the whole problem.

        Raises
        ------
        ModelError
            If the priors leave no weight to any of them.
        """
        split, whole = self._split, self._whole
        solved = self.solve(samples) if self._known is None else self._known.of(samples, self.solve)
        # Of weights that sum to one, times numbers whose mean should be one.
        amplitudes, new_weights = self._drawn(solved, log_weights - solved.log_share, rng)
        log_mean = float(special.logsumexp(new_weights))
        if not np.isfinite(log_mean):
            raise ModelError(f"no draw of {', '.join(self.linear_labels)} has any weight under its prior")
        off_mean = np.exp(new_weights - log_mean) - np.exp(log_weights)
        error = math.sqrt(float(off_mean @ off_mean))
        complete = np.empty((len(amplitudes), whole.ndim))
        complete[:, split.sampled] = samples
        complete[:, split.linear] = amplitudes
        off = np.einsum("nij,ni->nj", solved.factor, amplitudes - solved.mean)
        # The peak has the priors that it was computed with, some of them as if they were flat.
        widths = {k: high - low for k, (low, high) in zip(split.flat, self._bounds, strict=True)}
        log_prior = sum(
            -math.log(widths[k]) if k in split.corrected else whole.priors[k].log_prob(complete[:, k])
            for k in split.linear
        )
        log_likelihood = solved.log_peak - 0.5 * (off**2).sum(axis=1) - log_prior
        return Completed(complete, new_weights - log_mean, log_likelihood, log_mean, error)

    def _drawn(
        self, solved: Solved, log_heights: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of the amplitudes under their priors, shape (n, k), and the logs of their weights."""
        n = len(self._split.normal)
        low, high = self._bounds.T
        own_priors = [self._whole.priors[k] if k in self._split.corrected else None for k in self._split.flat]
        # With the flat ones last, the last block of the factor is that of their own distribution.
        own = solved.mean[:, n:], solved.factor[:, n:, n:]
        flat, log_weights = draw_within(*own, low, high, rng, own_priors, log_heights)
        pull = np.einsum("nij,ni->nj", solved.factor[:, n:, :n], flat - solved.mean[:, n:])
        white = rng.standard_normal(pull.shape) - pull
        across = np.swapaxes(solved.factor[:, :n, :n], 1, 2)
        normal = solved.mean[:, :n] + np.linalg.solve(across, white[..., None])[..., 0]
        return np.concatenate([normal, flat], axis=1), log_weights


def _bounds_of(prior: priors.Prior) -> tuple[float, float]:
    """Return the bounds of a prior, and where it has none, what is far beyond all of it."""
    low, high = prior.support
    lower, upper = (float(end) for end in prior.icdf(np.array(_ENDS)))
    far = _BEYOND * (upper - lower)
    return (low if math.isfinite(low) else lower - far, high if math.isfinite(high) else upper + far)


class _Known:
    """Integrals that were computed before."""

    def __init__(self) -> None:
        self._parts: list[Solved] = []
        self._places: dict[bytes, int] = {}
        self._count = 0

    def add(self, theta: np.ndarray, solved: Solved) -> None:
        """Add those of some rows."""
        self._parts.append(solved)
        self._places.update((row.tobytes(), self._count + k) for k, row in enumerate(theta))
        self._count += len(theta)

    def of(self, theta: np.ndarray, solve: Callable[[np.ndarray], Solved]) -> Solved:
        """Return those of some rows; the others are computed, and added."""
        missing = np.array([row.tobytes() not in self._places for row in theta], bool)
        if missing.any():
            self.add(theta[missing], solve(theta[missing]))
        places = [self._places[row.tobytes()] for row in theta]
        return Solved(*[np.concatenate(columns)[places] for columns in zip(*self._parts, strict=True)])
