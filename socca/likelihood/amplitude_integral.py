"""Compiled integrals over amplitudes, for one row of the other parameters: see `socca.likelihood.marginal`."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from socca.likelihood import truncated_normal
from socca.likelihood.amplitude_priors import log_integral
from socca.likelihood.compiled import ProblemSpec, draw, information_of, looped
from socca.likelihood.parameter_vector import ModelSpec, log_prior, transform
from socca.models.rendered import Rendered

if TYPE_CHECKING:
    from socca.utils.array_types import Array

#: A flat prior is taken as a Gaussian of this inverse variance, in units of its width, cut off at its bounds. An
#: amplitude that the image does not constrain thus has a posterior, and ln Z is off by less than 1 / 8 of this.
_FLAT = 1e-8
#: Added to the scaled precision, so that amplitudes that only their sum is known of have a posterior that is finite:
#: 3e6 times as wide as that of each alone.
_RIDGE = 1e-13

#: Passes in which amplitudes are put on their bounds.
_PASSES = 3


@dataclasses.dataclass(frozen=True)
class Split:
    """Static part.

    Parameters
    ----------
    problem : ProblemSpec
        Of the whole problem.
    sampled : tuple of int
        Free parameters that are sampled.
    normal, flat : tuple of int
        Amplitudes, by their priors.
    corrected : tuple of int
        Those of `flat` that have another prior.
    acts_on : tuple of tuple of int
        For each amplitude, in the order of `linear`: numbers of the components whose light depends on it.
    lit : tuple of int
        Numbers of the components that have light without amplitudes.
    """

    problem: ProblemSpec
    sampled: tuple[int, ...]
    normal: tuple[int, ...]
    flat: tuple[int, ...]
    corrected: tuple[int, ...] = ()
    acts_on: tuple[tuple[int, ...], ...] = ()
    lit: tuple[int, ...] = ()

    @property
    def linear(self) -> tuple[int, ...]:
        """All amplitudes, those with flat priors last."""
        return self.normal + self.flat


class Solved(NamedTuple):
    """The integral over the amplitudes and their posterior, for one row; those with flat priors come last.

    Parameters
    ----------
    log_likelihood : array, shape ()
        The log of the integral.
    log_share : array, shape ()
        The log of the part of the Gaussian that is within the bounds of flat priors, and of the mean there of other
        priors over flat ones, as it enters there.
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


def undefined() -> Any:
    """Return anything, in the place of a tied parameter that nothing drawn depends on."""
    return jnp.zeros(())


class IntegralPrograms(NamedTuple):
    """The compiled functions, and the posterior density of one row, to be traced."""

    solve: Any
    gradient: Any
    information: Any
    log_prior: Any
    transform: Any
    posterior: Any


@functools.lru_cache(maxsize=256)
def integral_programs(split: Split) -> IntegralPrograms:
    """Return the compiled functions: the same ones for an equal split."""
    model = _only(split.problem, split.sampled)

    def own_priors(arrays: dict[str, Any]) -> dict[str, Any]:
        return {"priors": [arrays["priors"][k] for k in split.sampled]}

    def solve(arrays: dict[str, Any], theta: Array) -> Solved:
        return _solve(split, arrays, theta)

    def value(arrays: dict[str, Any], theta: Array) -> Array:
        return _solve(split, arrays, theta).log_likelihood

    return IntegralPrograms(
        solve=looped(solve),
        gradient=looped(jax.value_and_grad(value, argnums=1)),
        information=looped(functools.partial(_information, split)),
        log_prior=jax.jit(lambda arrays, theta, count: log_prior(model, own_priors(arrays), theta)),
        transform=jax.jit(lambda arrays, u, count: transform(model, own_priors(arrays), u)),
        posterior=lambda arrays, theta: value(arrays, theta) + log_prior(model, own_priors(arrays["model"]), theta),
    )


def _solve(split: Split, arrays: dict[str, Any], theta: Array) -> Solved:
    """Integrate over the amplitudes, for one row of the parameters that are sampled."""
    spec, noise = split.problem, split.problem.noise
    n, k = len(split.normal), len(split.linear)
    numbers = jnp.array([arrays["model"]["priors"][j] for j in split.normal]).reshape(n, 2)
    loc, scale = numbers[:, 0], numbers[:, 1]
    low, high = arrays["bounds"].T
    center = jnp.concatenate([loc, 0.5 * (low + high)])
    inverse = jnp.concatenate([1 / scale**2, _FLAT / (high - low) ** 2])
    log_heights = jnp.concatenate([-jnp.log(scale) - 0.5 * math.log(2 * math.pi), -jnp.log(high - low)])

    def drawn_with(amplitudes: Array, only: tuple[int, ...]) -> tuple[Rendered, dict[str, Any], Array]:
        whole = dict(zip((*split.sampled, *split.linear), (*theta, *amplitudes), strict=True))
        return draw(spec, arrays, [whole[j] for j in range(len(whole))], only)

    none = jnp.zeros(k)
    drawn, own, impossible = drawn_with(none, split.lit)

    def template(j: int, much: Array) -> Array:
        # The components that it acts on, and no others, with a good deal of it: differences have their digits then.
        light = drawn_with(none.at[j].set(much), split.acts_on[j])[0].total
        constant = tuple(number for number in split.acts_on[j] if number in split.lit)
        return (light - drawn_with(none, constant)[0].total if constant else light) / much

    much = jnp.concatenate([jnp.abs(loc) + scale, high - low])

    def whitened(plane: Array) -> Array:
        return noise.kind.whiten(plane, arrays["noise"], own, noise).ravel()

    y = whitened(arrays["noise"].data - drawn.total)
    x = jnp.stack([whitened(template(j, much[j])) for j in range(k)])
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
    log_share = _log_share(split, arrays, mean[n:], factor[n:, n:])
    found = log_peak + 0.5 * k * math.log(2 * math.pi) - jnp.log(jnp.diag(factor)).sum() + log_share
    return Solved(jnp.where(impossible | jnp.isnan(found), -jnp.inf, found), log_share, log_peak, mean, factor)


def _log_share(split: Split, arrays: dict[str, Any], mean: Array, factor: Array) -> Array:
    """Return the log of the part of the Gaussian of flat amplitudes that their priors leave."""
    low, high = arrays["bounds"].T
    if not split.corrected:
        return truncated_normal.log_share(mean, factor, low, high)
    families = [split.problem.model.priors[j] for j in split.flat]
    return log_integral(mean, factor, (low, high), families, [arrays["model"]["priors"][j] for j in split.flat])


def _only(spec: ProblemSpec, kept: tuple[int, ...]) -> ModelSpec:
    """Return the model of which only some free parameters have priors."""
    return dataclasses.replace(spec.model, priors=tuple(spec.model.priors[k] for k in kept))


def _information(split: Split, arrays: dict[str, Any], theta: Array) -> tuple[Array, Array, Array]:
    """Return log-likelihood, gradient and information of one row, at the best amplitudes."""
    solved = _solve(split, arrays, theta)
    best, open_ = _within(solved.mean, solved.factor @ solved.factor.T, arrays["bounds"], len(split.normal))
    sampled, linear = list(split.sampled), list(split.linear)
    whole = jnp.zeros(len(sampled) + len(linear)).at[jnp.array(sampled)].set(theta).at[jnp.array(linear)].set(best)
    value, gradient, information = information_of(split.problem, arrays, whole)
    own, across, rest = (
        information[jnp.ix_(*map(jnp.array, pair))]
        for pair in ((sampled, sampled), (sampled, linear), (linear, linear))
    )
    # Scaled as in `_solve`; the ridge keeps amplitudes apart of which only the sum is known.
    rest = rest * open_[:, None] * open_ + jnp.diag(1 - open_)
    unit = 1 / jnp.sqrt(jnp.maximum(jnp.diag(rest), 1e-300))
    scaled = rest * unit[:, None] * unit + 1e-10 * jnp.eye(len(linear))
    across = across * open_ * unit
    return value, gradient[jnp.array(sampled)], own - across @ jnp.linalg.solve(scaled, across.T)


def _within(mean: Array, precision: Array, bounds: Array, n: int) -> tuple[Array, Array]:
    """Return the maximum of a Gaussian within the bounds of all but its first n variables, and 1 for those within."""
    free = jnp.full((n, 1), jnp.inf)
    low, high = jnp.concatenate([jnp.concatenate([-free, free], axis=1), bounds]).T
    best, open_ = mean, jnp.ones(len(mean))
    for _ in range(_PASSES):
        open_ = open_ * ((best >= low) & (best <= high))
        off = jnp.where(open_ > 0, 0.0, jnp.clip(best, low, high) - mean)
        # The others, given those at a bound; scaled, since they may differ by orders of magnitude.
        kept = precision * open_[:, None] * open_ + jnp.diag(jnp.where(open_ > 0, 0.0, jnp.diag(precision)))
        unit = 1 / jnp.sqrt(jnp.diag(precision))
        pull = unit * jnp.linalg.solve(
            kept * unit[:, None] * unit + _RIDGE * jnp.eye(len(mean)), unit * open_ * (precision @ off)
        )
        best = mean + off - open_ * pull
    return jnp.clip(best, low, high), open_
