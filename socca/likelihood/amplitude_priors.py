"""Integrals of a Gaussian times priors that are not flat, under JAX.

Each variable runs over the probabilities of its prior, within the window where the Gaussian is: there the integrand has
no spikes, whatever the prior is. Of several variables, the two whose bounds cut most are integrated together, one given
the other; the others as if they were independent. That is exact but for the quadrature for up to two variables.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

if TYPE_CHECKING:
    from socca.priors import Family
    from socca.utils.array_types import Array

#: Gauss-Legendre nodes of a variable alone or the first of two, and of the second one.
_NODES, _INNER_NODES = 32, 16
#: Standard deviations in which a Gaussian falls to nothing.
_NEAR = 5.0
#: A part of a prior within the window of a Gaussian that is none.
NO_PART = 1e-12


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
        return logsumexp(priors[j](mean[j], sd[j], _NODES)[1])

    if k == 1:
        return alone(0)

    def together(first: int, second: int) -> Array:
        x, log_terms = priors[first](mean[first], sd[first], _NODES)
        slope = correlation[first, second] * sd[second] / sd[first]
        narrow = sd[second] * jnp.sqrt(jnp.maximum(1 - correlation[first, second] ** 2, 1e-14))
        given = jax.vmap(lambda center: priors[second](center, narrow, _INNER_NODES)[1])
        both = logsumexp(log_terms[:, None] + given(mean[second] + slope * (x - mean[first])))
        return both + sum(alone(j) for j in range(k) if j not in (first, second))

    pairs = list(itertools.permutations(range(k), 2))
    order = jnp.argsort(jnp.minimum(mean - bounds[0], bounds[1] - mean) / sd)
    place = jnp.array([[pairs.index((a, b)) if a != b else 0 for b in range(k)] for a in range(k)])
    return jax.lax.switch(place[order[0], order[1]], [functools.partial(together, *pair) for pair in pairs])


def _terms(
    family: Family, numbers: Sequence[Array], low: Array, high: Array, center: Array, sd: Array, number: int
) -> tuple[Array, Array]:
    """Return nodes of the integral over one variable, shape (number,), and the logs of its terms there."""
    nodes, weights = np.polynomial.legendre.leggauss(number)
    start, end = window(center, sd, low, high, jnp)
    below = family._cdf(start, *numbers, xp=jnp)
    part = family._cdf(end, *numbers, xp=jnp) - below
    some = part > NO_PART
    # Of a prior that has no part there, all of it.
    below, part = jnp.where(some, below, 0.0), jnp.where(some, part, 1.0)
    x = jnp.clip(family._icdf(below + part * 0.5 * (1 + nodes), *numbers, xp=jnp), low, high)
    log_gaussian = -0.5 * ((x - center) / sd) ** 2 - jnp.log(sd) - 0.5 * math.log(2 * math.pi)
    return x, jnp.log(0.5 * weights * part * (high - low)) + log_gaussian
