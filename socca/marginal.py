"""Intensities integrated out: under Gaussian noise the image is linear in them, and so their posterior is Gaussian.

For given values of all other parameters let ``m + T a`` be the model image, with amplitudes ``a`` of prior
``N(mu, S)``, and ``y`` and ``X`` the whitened ``d - m`` and ``T``. Then, with ``M = X^T X + S^-1`` and
``v = X^T y + S^-1 mu`` (e.g. Gelman et al. 2013, Bayesian Data Analysis, section 14.2),

    integral L(a) p(a) da = L(0) exp(1/2 v^T M^-1 v - 1/2 mu^T S^-1 mu) / sqrt(det(S) det(M)),

and the amplitudes' posterior is ``N(M^-1 v, M^-1)``. A flat prior enters as its density, ``S^-1 = 0``, and is cut off
afterwards: draws outside its bounds lose their weight, and the evidence that share of it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from socca import priors
from socca.errors import ModelError
from socca.parameters import log_prior, transform
from socca.problem import Problem
from socca.programs import ProblemSpec, draw, in_batches, looped
from socca.samplers.base import Draws

log = logging.getLogger(__name__)

#: By how much the image may depart from being linear, in units of the noise.
_LINEAR = 1e-6


@dataclasses.dataclass(frozen=True)
class _Split:
    """Which free parameters are amplitudes, by position, and which of these have a flat prior."""

    problem: ProblemSpec
    sampled: tuple[int, ...]
    linear: tuple[int, ...]
    flat: tuple[bool, ...]


class Marginal:
    """A problem with its amplitudes integrated out, for samplers; see `socca.problem.Problem` for what it offers.

    Parameters
    ----------
    problem : Problem
        The whole problem. Amplitudes are the free intensities of components that have a normal or a uniform prior and
        on which no other parameter depends but in proportion.

    Attributes
    ----------
    linear_labels : list of str
        The user's names of the amplitudes.

    Raises
    ------
    ModelError
        If the noise is not Gaussian, there is no amplitude, the image is not linear in one, or a component that must
        be positive has one.
    """

    def __init__(self, problem: Problem) -> None:
        spec = problem.spec
        if not spec.noise.kind.gaussian:
            raise ModelError(f"marginalize: {spec.noise.kind.name} noise is not Gaussian in the model image")
        linear = [k for k in range(problem.ndim) if _is_amplitude(problem, k)]
        if not linear:
            raise ModelError("marginalize: no intensity of a component has a normal or a uniform prior")
        sampled = [k for k in range(problem.ndim) if k not in linear]
        flat = tuple(isinstance(problem.priors[k], priors.uniform) for k in linear)
        self._whole = problem
        self._split = _Split(spec, tuple(sampled), tuple(linear), flat)
        self.linear_labels = [problem.labels[k] for k in linear]
        for key in ("names", "labels", "units", "periods", "priors"):
            setattr(self, key, [getattr(problem, key)[k] for k in sampled])
        self.spec, self.shape = spec, problem.shape
        self._check_linear()

    names: list[str]
    labels: list[str]
    units: list[str]
    periods: list[float | None]
    priors: list[priors.Prior]

    @property
    def ndim(self) -> int:
        """Number of parameters that are sampled."""
        return len(self.names)

    def _check_linear(self) -> None:
        """Compare the image at two values of the amplitudes, at some points of the prior, with the one between them."""
        rng = np.random.default_rng(1)
        positive = {f"comp_{k:02d}" for k, part in enumerate(self.spec.scene.components) if part.positive}
        for k in self._split.linear:
            name = self._whole.names[k]
            if name[:7] in positive:
                raise ModelError(f"marginalize: {self._whole.labels[k]} belongs to a component that must be positive")
        for u in rng.uniform(0.1, 0.9, (3, self._whole.ndim)):
            three = np.tile(self._whole.prior_transform(u), (3, 1))
            step = np.abs(three[0, self._split.linear]) + 1e-3
            three[0, self._split.linear] -= step
            three[2, self._split.linear] += step
            images = [self._whole.predict(theta) for theta in three]
            bent = np.abs(images[0][0] - 2 * images[1][0] + images[2][0]) / images[1][1]
            steady = all(np.array_equal(image[1], images[1][1]) for image in images)  # and so is the noise's level
            if not steady or not np.nanmax(bent) < _LINEAR * (1 + np.nanmax(np.abs(images[2][0]) / images[1][1])):
                names = ", ".join(self.linear_labels)
                raise ModelError(f"marginalize: the image is not linear in {names}: is another parameter tied to one?")

    def _batched(self, number: int, rows: Any, what: str) -> Any:
        with jax.enable_x64(True):
            program = functools.partial(_programs(self._split)[number], self._whole.on_device)
            return in_batches(program, rows, self.ndim, what)

    def log_likelihood(self, theta: Any) -> np.ndarray:
        """Return the log of the likelihood, integrated over the amplitudes, of each row; shape (n, ndim) to (n,)."""
        return self._batched(0, theta, "log_likelihood")

    def log_likelihood_and_grad(self, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return `log_likelihood` and its derivatives, shapes (n,) and (n, ndim)."""
        return self._batched(1, theta, "log_likelihood_and_grad")

    def log_prior(self, theta: Any) -> np.ndarray:
        """Return the log prior density of the parameters that are sampled, shape (n,)."""
        return self._batched(2, theta, "log_prior")

    def prior_transform(self, u: Any) -> np.ndarray:
        """Map points of the unit cube to the parameters that are sampled, shape (n, ndim) to (n, ndim)."""
        return self._batched(3, u, "prior_transform")

    def amplitudes(self, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the Gaussian posterior of the amplitudes, given all else.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
            The parameters that are sampled.

        Returns
        -------
        mean : ndarray, shape (n, k)
            One row per row.
        root : ndarray, shape (n, k, k)
            The mean plus ``root @ z``, with white ``z``, is a draw.
        """
        return self._batched(4, theta, "amplitudes")

    def digest(self) -> str:
        """Return a SHA-256 over all that defines the problem."""
        return hashlib.sha256(f"{self._whole.digest()} without {self._split.linear}".encode()).hexdigest()

    def complete(self, draws: Draws, rng: np.random.Generator) -> Draws:
        """Give each sample a draw of the amplitudes.

        Parameters
        ----------
        draws : Draws
            Of the parameters that were sampled.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        Draws
            Of all free parameters of the whole problem.
        """
        mean, root = self.amplitudes(draws.samples)
        found = mean + np.einsum("nij,nj->ni", root, rng.standard_normal(mean.shape))
        samples = np.empty((len(mean), self._whole.ndim))
        samples[:, self._split.sampled] = draws.samples
        samples[:, self._split.linear] = found
        bounds = np.array([self._whole.priors[k].support for k in self._split.linear])
        inside = np.all((found >= bounds[:, 0]) & (found <= bounds[:, 1]), axis=1)
        kept = float(np.exp(draws.log_weights)[inside].sum())
        if not kept > 0:
            raise ModelError(
                f"marginalize: the posterior of {', '.join(self.linear_labels)} lies outside the bounds of the flat "
                "priors: widen them, or sample these parameters"
            )
        if kept < 0.99:
            log.warning(
                "%.1f %% of the amplitudes' posterior lies outside flat priors and is cut off", 100 * (1 - kept)
            )
        notes = {**draws.notes, "marginalized": self.linear_labels, "within_flat_priors": round(kept, 6)}
        return dataclasses.replace(
            draws,
            samples=samples[inside],
            log_weights=draws.log_weights[inside] - math.log(kept),
            log_likelihood=self._whole.log_likelihood(samples[inside]),
            logz=draws.logz + math.log(kept),
            notes=notes,
        )


def _is_amplitude(problem: Problem, k: int) -> bool:
    return (
        problem.units[k] == "image"
        and problem.names[k].startswith("comp_")
        and isinstance(problem.priors[k], priors.uniform | priors.normal)
    )


@functools.lru_cache(maxsize=256)
def _programs(split: _Split) -> tuple[Any, ...]:
    """Return the compiled functions: likelihood, with gradient, prior, its transform, and amplitudes."""
    spec, noise = split.problem, split.problem.noise
    sampled, linear = np.array(split.sampled, dtype=int), np.array(split.linear)
    model = dataclasses.replace(spec.model, priors=tuple(spec.model.priors[k] for k in split.sampled))

    def solve(arrays: dict[str, Any], theta: Any) -> tuple[Any, Any, Any]:
        """Return the integrated log-likelihood, and mean and Cholesky factor of the inverse covariance."""

        def image(amplitudes: Any) -> tuple[Any, Any]:
            whole = jnp.zeros(len(sampled) + len(linear)).at[sampled].set(theta).at[linear].set(amplitudes)
            drawn, own, impossible = draw(spec, arrays, whole)
            return drawn.total, (drawn, own, impossible)

        start = jnp.zeros(len(linear))
        rest, forward, (drawn, own, impossible) = jax.linearize(image, start, has_aux=True)
        templates = jax.vmap(forward)(jnp.eye(len(linear)))

        def whitened(plane: Any) -> Any:
            return noise.kind.whiten(plane, arrays["noise"], own, noise).ravel()

        y = whitened(arrays["noise"]["data"] - rest)
        x = jax.vmap(whitened)(templates)
        numbers = [arrays["model"]["priors"][k] for k in split.linear]
        inverse = jnp.array([0.0 if flat else 1 / n[1] ** 2 for n, flat in zip(numbers, split.flat, strict=True)])
        mean = jnp.array([0.0 if flat else n[0] for n, flat in zip(numbers, split.flat, strict=True)])
        # Of each prior: the log of its density where the exponent is zero.
        heights = [
            -jnp.log(n[1] - n[0]) if flat else -jnp.log(n[1]) - 0.5 * math.log(2 * math.pi)
            for n, flat in zip(numbers, split.flat, strict=True)
        ]
        precision = x @ x.T + jnp.diag(inverse)
        vector = x @ y + inverse * mean
        # Scaled to a unit diagonal: intensities differ by orders of magnitude.
        scale = 1 / jnp.sqrt(jnp.diag(precision))
        factor = jnp.linalg.cholesky(precision * scale[:, None] * scale)
        solved = jax.scipy.linalg.cho_solve((factor, True), vector * scale) * scale
        gained = 0.5 * (vector @ solved) - 0.5 * (inverse * mean**2).sum() + sum(heights)
        log_det = 2 * (jnp.log(jnp.diag(factor)) - jnp.log(scale)).sum()
        found = noise.kind.log_likelihood(drawn, arrays["noise"], own, noise) + gained
        found = found + 0.5 * (len(linear) * math.log(2 * math.pi) - log_det)
        found = jnp.where(impossible | jnp.isnan(found), -jnp.inf, found)
        root = jax.scipy.linalg.solve_triangular(factor, jnp.diag(scale), lower=True).T
        return found, solved, root

    def value(arrays: dict[str, Any], theta: Any) -> Any:
        return solve(arrays, theta)[0]

    def own_priors(arrays: dict[str, Any]) -> dict[str, Any]:
        return {"priors": [arrays["model"]["priors"][k] for k in split.sampled]}

    return (
        looped(value),
        looped(jax.value_and_grad(value, argnums=1)),
        jax.jit(lambda arrays, theta, count: log_prior(model, own_priors(arrays), theta)),
        jax.jit(lambda arrays, u, count: transform(model, own_priors(arrays), u)),
        looped(lambda arrays, theta: solve(arrays, theta)[1:]),
    )
