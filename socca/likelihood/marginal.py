"""Marginalisation over intensities: under Gaussian noise, their posterior given all else is Gaussian.

For given values of all other parameters let ``m + T a`` be the model image, with amplitudes ``a`` of prior
``N(mu, S)``, and ``y`` and ``X`` the whitened ``d - m`` and ``T``. Then, with ``M = X^T X + S^-1`` and
``v = X^T y + S^-1 mu`` (e.g. Gelman et al. 2013, Bayesian Data Analysis, section 14.2),

    integral L(a) p(a) da = L(0) exp(1/2 v^T M^-1 v - 1/2 mu^T S^-1 mu) / sqrt(det(S) det(M)),

and the amplitudes' posterior is ``N(M^-1 v, M^-1)``. A flat prior enters as its density, and both the integral and the
posterior are then cut off at its bounds: see `socca.likelihood.truncated_normal`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve

from socca import priors
from socca.errors import ModelError
from socca.likelihood.compiled import ProblemSpec, draw, in_batches, looped
from socca.likelihood.linear_parameters import find_amplitudes
from socca.likelihood.parameter_vector import log_prior, transform
from socca.likelihood.problem import Problem
from socca.likelihood.truncated_normal import draw_within, log_share

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from socca.utils.array_types import Array

#: A flat prior is taken as a Gaussian of this inverse variance, in units of its width, cut off at its bounds. An
#: amplitude that the image does not constrain thus has a posterior, and ln Z is off by less than 1 / 8 of this.
_FLAT = 1e-8
#: Added to the scaled precision, so that amplitudes that only their sum is known of have a posterior that is finite:
#: 3e6 times as wide as that of each alone.
_RIDGE = 1e-13


@dataclasses.dataclass(frozen=True)
class _Split:
    """Static part: which free parameters are sampled and which are amplitudes, those with flat priors last."""

    problem: ProblemSpec
    sampled: tuple[int, ...]
    normal: tuple[int, ...]
    flat: tuple[int, ...]

    @property
    def linear(self) -> tuple[int, ...]:
        return self.normal + self.flat


class Solved(NamedTuple):
    """The integral over the amplitudes and their posterior, for one row; those with flat priors come last.

    Parameters
    ----------
    log_likelihood : array, shape ()
        The log of the integral.
    log_share : array, shape ()
        The log of the part of the Gaussian that is within the bounds of flat priors, as it enters there.
    log_peak : array, shape ()
        The log of likelihood times prior at the mean, bounds or no bounds.
    mean : array, shape (k,)
        Of the Gaussian.
    factor : array, shape (k, k)
        The lower Cholesky factor of its inverse covariance.
    """

    log_likelihood: Any
    log_share: Any
    log_peak: Any
    mean: Any
    factor: Any


class Completed(NamedTuple):
    """Samples with their amplitudes; see `Marginal.complete`.

    Parameters
    ----------
    samples : ndarray, shape (n, ndim)
        All free parameters of the whole problem.
    log_weights : ndarray, shape (n,)
        Normalised. Where several flat priors cut the posterior off, they are corrected by what the draws say of the
        share within the bounds.
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

    def __init__(self, problem: Problem) -> None:
        spec = problem.spec
        if not spec.noise.kind.gaussian:
            raise ModelError(f"marginalize: {spec.noise.kind.name} noise is not Gaussian in the model image")
        amplitudes = find_amplitudes(problem)
        # Their value is computed from the posterior's samples, and has no meaning where the amplitudes are open.
        tied = tuple((tie[0], (), _open) if tie[0] in amplitudes.idle else tie for tie in spec.model.tied)
        sampled = tuple(k for k in range(problem.ndim) if k not in amplitudes.free)
        flat = tuple(k for k in amplitudes.free if isinstance(problem.priors[k], priors.uniform))
        self._whole = problem
        self._split = _Split(
            problem=dataclasses.replace(spec, model=dataclasses.replace(spec.model, tied=tied)),
            sampled=sampled,
            normal=tuple(k for k in amplitudes.free if k not in flat),
            flat=flat,
        )
        self.names = [problem.names[k] for k in sampled]
        self.labels = [problem.labels[k] for k in sampled]
        self.units = [problem.units[k] for k in sampled]
        self.periods = [problem.periods[k] for k in sampled]
        self.priors = [problem.priors[k] for k in sampled]
        self.linear_labels = [problem.labels[k] for k in amplitudes.free]

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
        low, high = np.array([whole.priors[k].support for k in split.linear]).T
        found[list(split.linear)] = np.clip(self.solve(theta[None]).mean[0], low, high)
        return found

    def _batched(self, program: Any, arrays: dict[str, Any], rows: ArrayLike, what: str) -> Any:
        with jax.enable_x64(True):
            return in_batches(functools.partial(program, arrays), rows, self.ndim, what)

    def log_likelihood(self, theta: ArrayLike) -> np.ndarray:
        """Return the log of the likelihood, integrated over the amplitudes, of each row; shape (n, ndim) to (n,)."""
        return self.solve(theta).log_likelihood

    def solve(self, theta: ArrayLike) -> Solved:
        """Integrate over the amplitudes; a row of each array for each row of shape (n, ndim)."""
        return self._batched(_programs(self._split).solve, self._whole.on_device, theta, "log_likelihood")

    def log_likelihood_and_grad(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return `log_likelihood` and its derivatives, shapes (n,) and (n, ndim)."""
        return self._batched(_programs(self._split).gradient, self._whole.on_device, theta, "log_likelihood_and_grad")

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Return the log prior density of the parameters that are sampled, shape (n,)."""
        return self._batched(_programs(self._split).log_prior, self._whole.on_device["model"], theta, "log_prior")

    def prior_transform(self, u: ArrayLike) -> np.ndarray:
        """Map points of the unit cube to the parameters that are sampled, shape (n, ndim) to (n, ndim)."""
        return self._batched(_programs(self._split).transform, self._whole.on_device["model"], u, "prior_transform")

    def traced(self) -> tuple[Any, dict[str, Any]]:
        """Return the log posterior density of one row and its arrays, as `Problem.traced`."""
        return _programs(self._split).posterior, self._whole.on_device

    def digest(self) -> str:
        """Return a SHA-256 over all that defines the problem."""
        return hashlib.sha256(f"{self._whole.digest()} without {self._split.linear}".encode()).hexdigest()

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
        """
        split, whole = self._split, self._whole
        solved = self.solve(samples)
        amplitudes, log_shares = self._drawn(solved, rng)
        complete = np.empty((len(amplitudes), whole.ndim))
        complete[:, split.sampled] = samples
        complete[:, split.linear] = amplitudes
        off = np.einsum("nij,ni->nj", solved.factor, amplitudes - solved.mean)
        log_densities = sum(whole.priors[k].log_prob(complete[:, k]) for k in split.linear)
        # Of weights that sum to one, times numbers whose mean should be one.
        weights, ratio = np.exp(log_weights), np.exp(log_shares - solved.log_share)
        mean = float(weights @ ratio)
        error = math.sqrt(float((weights * (ratio - mean)) @ (weights * (ratio - mean)))) / mean
        log_likelihood = solved.log_peak - 0.5 * (off**2).sum(axis=1) - log_densities
        return Completed(complete, log_weights + np.log(ratio / mean), log_likelihood, math.log(mean), error)

    def _drawn(self, solved: Solved, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of the amplitudes, shape (n, k), and estimates of the log of the share within the bounds."""
        n = len(self._split.normal)
        low, high = np.array([self._whole.priors[k].support for k in self._split.flat]).reshape(-1, 2).T
        # With the flat ones last, the last block of the factor is that of their own distribution.
        flat, log_shares = draw_within(solved.mean[:, n:], solved.factor[:, n:, n:], low, high, rng)
        pull = np.einsum("nij,ni->nj", solved.factor[:, n:, :n], flat - solved.mean[:, n:])
        white = rng.standard_normal(pull.shape) - pull
        across = np.swapaxes(solved.factor[:, :n, :n], 1, 2)
        normal = solved.mean[:, :n] + np.linalg.solve(across, white[..., None])[..., 0]
        return np.concatenate([normal, flat], axis=1), log_shares


def _open() -> Any:
    """Return anything, in the place of a tied parameter that nothing drawn depends on."""
    return jnp.zeros(())


class _Programs(NamedTuple):
    """The compiled functions, and the posterior density of one row, to be traced."""

    solve: Any
    gradient: Any
    log_prior: Any
    transform: Any
    posterior: Any


@functools.lru_cache(maxsize=256)
def _programs(split: _Split) -> _Programs:
    spec = split.problem
    model = dataclasses.replace(spec.model, priors=tuple(spec.model.priors[k] for k in split.sampled))

    def own_priors(arrays: dict[str, Any]) -> dict[str, Any]:
        return {"priors": [arrays["priors"][k] for k in split.sampled]}

    def solve(arrays: dict[str, Any], theta: Array) -> Solved:
        return _solve(split, arrays, theta)

    def value(arrays: dict[str, Any], theta: Array) -> Array:
        return _solve(split, arrays, theta).log_likelihood

    return _Programs(
        solve=looped(solve),
        gradient=looped(jax.value_and_grad(value, argnums=1)),
        log_prior=jax.jit(lambda arrays, theta, count: log_prior(model, own_priors(arrays), theta)),
        transform=jax.jit(lambda arrays, u, count: transform(model, own_priors(arrays), u)),
        posterior=lambda arrays, theta: value(arrays, theta) + log_prior(model, own_priors(arrays["model"]), theta),
    )


def _solve(split: _Split, arrays: dict[str, Any], theta: Array) -> Solved:
    """Integrate over the amplitudes, for one row of the parameters that are sampled."""
    spec, noise = split.problem, split.problem.noise
    n, k = len(split.normal), len(split.linear)
    numbers = jnp.stack([arrays["model"]["priors"][j] for j in split.linear])
    loc, scale = numbers[:n, 0], numbers[:n, 1]
    low, high = numbers[n:, 0], numbers[n:, 1]
    center = jnp.concatenate([loc, 0.5 * (low + high)])
    inverse = jnp.concatenate([1 / scale**2, _FLAT / (high - low) ** 2])
    log_heights = jnp.concatenate([-jnp.log(scale) - 0.5 * math.log(2 * math.pi), -jnp.log(high - low)])

    def image(amplitudes: Array) -> tuple[Array, Any]:
        # One by one, so that what does not depend on amplitudes is computed once.
        whole = dict(zip((*split.sampled, *split.linear), (*theta, *amplitudes), strict=True))
        drawn, own, impossible = draw(spec, arrays, [whole[j] for j in range(len(whole))])
        return drawn.total, (drawn, own, impossible)

    # The image without amplitudes, and with a good deal of each: differences of images have their digits then.
    much = jnp.concatenate([jnp.abs(loc) + scale, high - low])
    images, rest = jax.vmap(image)(jnp.concatenate([jnp.zeros((1, k)), jnp.diag(much)]))
    drawn, own, impossible = jax.tree.map(lambda rows: rows[0], rest)

    def whitened(plane: Array) -> Array:
        return noise.kind.whiten(plane, arrays["noise"], own, noise).ravel()

    y = whitened(arrays["noise"].data - images[0])
    x = jax.vmap(whitened)((images[1:] - images[0]) / much[:, None, None])
    precision = x @ x.T + jnp.diag(inverse)
    vector = x @ y + inverse * center
    # Scaled to a unit diagonal: intensities differ by orders of magnitude. The second step makes up for the ridge.
    unit = 1 / jnp.sqrt(jnp.diag(precision))
    scaled = precision * unit[:, None] * unit
    factor = jnp.linalg.cholesky(scaled + _RIDGE * jnp.eye(k))
    mean = cho_solve((factor, True), vector * unit)
    mean = (mean + cho_solve((factor, True), vector * unit - scaled @ mean)) * unit
    factor = factor / unit[:, None]

    log_peak = noise.kind.log_likelihood(drawn, arrays["noise"], own, noise) + log_heights.sum()
    log_peak += vector @ mean - 0.5 * mean @ precision @ mean - 0.5 * (inverse * center**2).sum()
    share = log_share(mean[n:], factor[n:, n:], low, high)
    found = log_peak + 0.5 * k * math.log(2 * math.pi) - jnp.log(jnp.diag(factor)).sum() + share
    return Solved(jnp.where(impossible | jnp.isnan(found), -jnp.inf, found), share, log_peak, mean, factor)
