"""Integrals of a Gaussian times priors that are not flat, under JAX.

Each variable runs over the probabilities of its prior, within the window where the Gaussian is: there the integrand has
no spikes, whatever the prior is. Where the prior has less than a thousandth of itself there, it is smooth, or image and
prior contradict each other; the variable then runs over values around the maximum of the product.

Of several variables, the two whose bounds cut most are integrated together, one given the other; the others as if they
were independent. That is exact but for the quadrature for up to two variables.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from socca.priors import normal

if TYPE_CHECKING:
    from socca.priors import Family
    from socca.utils.array_types import Array

#: Gauss-Legendre nodes of a variable alone or the first of two, and of the second one.
_NODES, _INNER_NODES = 32, 16
#: Standard deviations in which a Gaussian falls to nothing.
_NEAR = 5.0
#: A part of a prior within the window of a Gaussian that is too little to run over.
LITTLE = 1e-3
#: Steps of the search for where the product is then largest, and the part of an interval that each leaves.
_SECTIONS, _GOLDEN = 40, 0.5 * (math.sqrt(5) - 1)
#: Widths around that place.
_WIDE = 6.0


def window(center: Array, sd: Array, low: Array, high: Array, xp: Any) -> tuple[Any, Any]:
    """Return where within bounds a Gaussian is larger than exp(-12.5) times its largest value there.

    Parameters
    ----------
    center, sd : array
        Mean and standard deviation.
    low, high : array
        The bounds.
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    start, end : array
        Within the bounds, though the mean need not be.
    """
    near = xp.clip(center, low, high)
    off = xp.abs(near - center) / sd
    far = sd * (xp.sqrt(off**2 + _NEAR**2) - off)
    return xp.maximum(near - far, low), xp.minimum(near + far, high)


def product(
    log_prior: Callable[[Any], Any], median: Any, center: Array, sd: Array, bounds: tuple[Array, Array], xp: Any
) -> tuple[Any, Any]:
    """Return where a Gaussian times a prior that hardly reaches it is largest within bounds, and how wide it is there.

    Parameters
    ----------
    log_prior : callable
        The log density of the prior.
    median : float
        Of the prior: the product is largest between this and the mean of the Gaussian.
    center, sd : array
        Mean and standard deviation of the Gaussian.
    bounds : tuple of array
        Lower and upper bound.
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    mode, width : array
        Found by golden-section search, and from slope and curvature there.
    """

    def height(x: Array) -> Any:
        return log_prior(xp.clip(x, *bounds)) - 0.5 * ((x - center) / sd) ** 2

    near = xp.clip(center, *bounds)
    middle = xp.clip(median, *bounds)

    def section(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        rises = height(left) < height(right)
        return xp.where(rises, left, low), xp.where(rises, high, right)

    ends = xp.minimum(near, middle), xp.maximum(near, middle)
    if xp is np:
        low, high = functools.reduce(lambda now, number: section(number, now), range(_SECTIONS), ends)
    else:
        low, high = jax.lax.fori_loop(0, _SECTIONS, section, ends)
    step = 1e-3 * sd
    mode = xp.clip(0.5 * (low + high), bounds[0] + step, bounds[1] - step)
    ahead, here, behind = height(mode + step), height(mode), height(mode - step)
    slope, curvature = (ahead - behind) / (2 * step), (ahead - 2 * here + behind) / step**2
    return mode, 1 / xp.sqrt(1 / sd**2 + xp.maximum(-curvature - 1 / sd**2, 0.0) + slope**2)


def log_integral(
    mean: Array, factor: Array, bounds: tuple[Array, Array], families: Sequence[Family], numbers: Sequence[Array]
) -> Array:
    """Return the log of the integral of a Gaussian times priors, each over its density if it were flat.

    Parameters
    ----------
    mean : array, shape (k,)
        Of the Gaussian.
    factor : array, shape (k, k)
        The lower Cholesky factor of its inverse covariance.
    bounds : tuple of array, shape (k,)
        Lower and upper ones, finite.
    families : sequence of k Family
        Of the priors.
    numbers : sequence of k array
        Their arguments.

    Returns
    -------
    array, shape ()
        Compare `socca.likelihood.truncated_normal.log_share`, of which this is the same where all priors are flat.
    """
    k = len(mean)
    root = jax.scipy.linalg.solve_triangular(factor, jnp.eye(k), lower=True)
    sd = jnp.sqrt((root**2).sum(axis=0))
    correlation = (root / sd).T @ (root / sd)
    priors = [
        functools.partial(_terms, family, [own[j] for j in range(len(family.arguments))], low, high)
        for family, own, low, high in zip(families, numbers, *bounds, strict=True)
    ]

    def alone(j: int) -> Array:
        return logsumexp(priors[j](mean[j, None], sd[j], _NODES)[1])

    if k == 1:
        return alone(0)

    def together(first: int, second: int) -> Array:
        (x,), (log_terms,) = priors[first](mean[first, None], sd[first], _NODES)
        slope = correlation[first, second] * sd[second] / sd[first]
        narrow = sd[second] * jnp.sqrt(jnp.maximum(1 - correlation[first, second] ** 2, 1e-14))
        _, given = priors[second](mean[second] + slope * (x - mean[first]), narrow, _INNER_NODES)
        both = logsumexp(log_terms[:, None] + given)
        return both + sum(alone(j) for j in range(k) if j not in (first, second))

    pairs = list(itertools.permutations(range(k), 2))
    order = jnp.argsort(jnp.minimum(mean - bounds[0], bounds[1] - mean) / sd)
    place = jnp.array([[pairs.index((a, b)) if a != b else 0 for b in range(k)] for a in range(k)])
    return jax.lax.switch(place[order[0], order[1]], [functools.partial(together, *pair) for pair in pairs])


def _terms(
    family: Family, numbers: Sequence[Array], low: Array, high: Array, center: Array, sd: Array, number: int
) -> tuple[Array, Array]:
    """Return nodes of the integral over one variable, and the logs of its terms; shape (m,) to (m, number) of each."""
    nodes, weights = np.polynomial.legendre.leggauss(number)
    start, end = window(center, sd, low, high, jnp)
    below = family._cdf(start, *numbers, xp=jnp)
    part = family._cdf(end, *numbers, xp=jnp) - below
    little = part < LITTLE

    def around_product() -> tuple[Array, Array]:
        median = family._icdf(jnp.full((), 0.5), *numbers, xp=jnp)
        mode, width = product(lambda x: family._log_prob(x, *numbers, xp=jnp), median, center, sd, (low, high), jnp)
        return jnp.maximum(mode - _WIDE * width, low), jnp.minimum(mode + _WIDE * width, high)

    # Where there is little of the prior, along the variable itself. The search is not free, and is rarely needed.
    start, end = jax.lax.cond(jnp.any(little), around_product, lambda: (start, end))
    below, part, little, start, size = (one[:, None] for one in (below, part, little, start, end - start))
    places = 0.5 * (1 + nodes)
    by_prior = jnp.clip(family._icdf(below + part * places, *numbers, xp=jnp), low, high)
    x = jnp.where(little, start + size * places, by_prior)
    along = jnp.log(size) + family._log_prob(x, *numbers, xp=jnp)
    log_step = jnp.where(little, along, jnp.log(jnp.where(little, 1.0, part)))
    log_gaussian = normal._log_prob(x, center[:, None], sd, xp=jnp)
    return x, jnp.log(0.5 * weights * (high - low)) + log_step + log_gaussian
