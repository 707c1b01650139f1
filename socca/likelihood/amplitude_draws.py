"""Draws of amplitudes: from Gaussians cut off at bounds, times priors that are not flat.

The Gaussian is taken apart into one of each variable given those drawn before it, as in
`socca.likelihood.truncated_normal`. A variable with a prior of its own is drawn, with equal chance, from its Gaussian
within the bounds, or from its prior within a few standard deviations of the Gaussian: the one is good where the prior
is flat, the other where it has a spike, as that of a logarithm near zero. Where there is hardly any prior, a Gaussian
around the maximum of the product takes its place. The weight of a draw is the product over all variables of Gaussian
times prior over the density that they were drawn from, and has the integral as its mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from socca.likelihood.amplitude_priors import LITTLE, product, window
from socca.likelihood.truncated_normal import depths_of, ordered
from socca.priors import Prior, normal
from socca.priors.gaussians import log_mass

#: Candidates among which one is chosen, at first and at most, where their weights differ.
_CANDIDATES, _MOST_CANDIDATES = 4, 256
#: Part of the unevenness of the final weights that may be due to the number of candidates.
_BY_CHANCE = 0.05
#: Candidates at once: about 100 MB.
_AT_ONCE = 500_000
#: By how much the Gaussian around the maximum of a product is wider than that is.
_WIDER = 1.5
#: So that u and 1 - u have logarithms.
_TINY = 1e-16


def draw_within(
    mean: np.ndarray,
    factor: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    rng: np.random.Generator,
    own_priors: Sequence[Prior | None] | None = None,
    log_heights: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from Gaussians cut off at bounds, or from their products with priors.

    Parameters
    ----------
    mean : ndarray, shape (n, k)
        Of n Gaussians.
    factor : ndarray, shape (n, k, k)
        The lower Cholesky factors of their inverse covariances.
    low, high : ndarray, shape (k,)
        The bounds.
    rng : numpy.random.Generator
        Source of randomness.
    own_priors : sequence of k Prior or None, optional
        The prior of each variable; None, as by default, where it is flat. It enters as its density over that of a flat
        one within the bounds.
    log_heights : ndarray, shape (n,), optional
        Of the Gaussians; by default their integrals without bounds are 1.

    Returns
    -------
    draws : ndarray, shape (n, k)
        One of each Gaussian.
    log_weights : ndarray, shape (n,)
        Of the draws; the mean of the weights is the integral of Gaussian and priors within the bounds, without bias.
        For one variable with a flat prior the weight is the integral itself.

    Notes
    -----
    One of several candidates, chosen by weight, with their mean weight is as good as all of them. Their number grows
    until more of them would hardly make the weights more even.
    """
    n, k = mean.shape
    if k == 0:
        return np.zeros((n, 0)), np.broadcast_to(log_heights, n).astype(float)
    low, high, _ = np.broadcast_arrays(low, high, mean)
    parts, order = ordered((mean, factor, low, high), depths_of(mean, factor, low, high, np), np)
    known = [None] * k if own_priors is None else list(own_priors)
    log_heights = np.broadcast_to(log_heights, n)
    draws, sums = np.zeros((n, k)), np.full((2, n), -np.inf)  # of weights, and of their squares
    total, wanted = 0, 1 if k == 1 and known == [None] else _CANDIDATES
    while total < wanted:
        count = wanted - total
        for rows in np.array_split(np.arange(n), 1 + n * count // _AT_ONCE):
            found, log_weights = _drawn(tuple(part[rows] for part in parts), order[rows], known, count, rng)
            chosen, log_sums = _chosen(log_weights, rng)
            both = np.logaddexp(sums[:, rows], log_sums)
            # Each of all candidates so far is as likely as its weight.
            change = np.log(rng.random(len(rows))) < log_sums[0] - np.where(np.isfinite(both[0]), both[0], 0.0)
            change |= total == 0
            one = np.empty((len(rows), k))
            np.put_along_axis(one, order[rows], found[np.arange(len(rows)), chosen], axis=-1)
            draws[rows[change]] = one[change]
            sums[:, rows] = both
        total = wanted
        if 1 < total < _MOST_CANDIDATES and _part_by_chance(sums, log_heights, total) > _BY_CHANCE:
            wanted = 4 * total
    return draws, sums[0] + log_heights - math.log(total)


def _chosen(log_weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return one candidate of each row by weight, shape (n,), and the logs of sums of weights and squares, (2, n)."""
    log_sums = special.logsumexp(np.stack([log_weights, 2 * log_weights]), axis=-1)
    # Without any weight anything may be chosen.
    off = log_weights - np.where(np.isfinite(log_sums[0]), log_sums[0], 0.0)[:, None]
    reached = np.cumsum(np.exp(off), axis=1)
    return np.minimum((reached < rng.random((len(off), 1))).sum(1), log_weights.shape[1] - 1), log_sums


def _drawn(
    parts: tuple[np.ndarray, ...],
    order: np.ndarray,
    own_priors: Sequence[Prior | None],
    count: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of sorted variables, shape (n, count, k), and the logs of their weights, shape (n, count)."""
    mean, factor, low, high = (part[:, None] for part in parts)
    u = rng.random((len(order), count, order.shape[1]))
    off, total = np.zeros(u.shape), np.zeros(u.shape[:-1])
    for j in reversed(range(u.shape[-1])):
        sd = 1 / factor[..., j, j]
        center = mean[..., j] - (factor[..., :, j] * off).sum(-1) * sd
        ends = low[..., j], high[..., j]
        x = np.empty(center.shape)
        for which, prior in enumerate(own_priors):
            rows = order[:, j] == which
            if not rows.any():
                continue
            here = (center[rows], np.broadcast_to(sd, center.shape)[rows], *(end[rows] for end in ends), u[rows, :, j])
            x[rows], log_weights = _of_gaussian(*here) if prior is None else _of_both(prior, *here)
            total[rows] += log_weights
        off[..., j] = x - mean[..., j]
    return mean + off, total


def _of_gaussian(
    center: np.ndarray, sd: np.ndarray, low: np.ndarray, high: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of Gaussians within bounds at points of the unit interval, and the logs of the shares within."""
    u = np.clip(u, _TINY, 1 - _TINY)
    a, b = (low - center) / sd, (high - center) / sd
    mirrored = a + b > 0  # in the lower tail, cdfs keep all their digits
    mass = log_mass(a, b, 0.0, 1.0, np)
    below = special.log_ndtr(np.where(mirrored, -b, a))
    z = special.ndtri_exp(np.logaddexp(below, np.log(np.where(mirrored, 1 - u, u)) + mass))
    return np.clip(center + sd * np.where(mirrored, -z, z), low, high), mass


def _of_both(
    prior: Prior, center: np.ndarray, sd: np.ndarray, low: np.ndarray, high: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of Gaussians or the prior at points of the unit interval, and the logs of their weights."""
    low, high, _ = np.broadcast_arrays(low, high, u)
    start, end = window(center, sd, low, high, np)
    below = np.asarray(prior.cdf(start))
    part = np.asarray(prior.cdf(end)) - below
    little = part < LITTLE
    second = u < 0.5
    x, mass = _of_gaussian(center, sd, low, high, np.abs(2 * u - 1))
    u = np.where(second, 2 * u, 0.5)
    x = np.where(second & ~little, prior.icdf(np.where(little, 0.5, below + u * part)), x)
    log_second = np.full(x.shape, -np.inf)
    if little.any():
        # The other Gaussian is that of the product, which may be far from both.
        ends = low[little], high[little]
        mode, width = product(prior.log_prob, prior.icdf(0.5), center[little], sd[little], ends, np)
        width = _WIDER * width
        beside, beside_mass = _of_gaussian(mode, width, *ends, u[little])
        x[little] = np.where(second[little], beside, x[little])
    x = np.clip(x, low, high)
    log_gaussian = normal._log_prob(x, center, sd, xp=np)
    log_prior = np.asarray(prior.log_prob(x))
    inside = ~little & (x >= start) & (x <= end)
    log_second[inside] = log_prior[inside] - np.log(part[inside])
    if little.any():
        log_second[little] = normal._log_prob(x[little], mode, width, xp=np) - beside_mass
    log_density = np.logaddexp(log_gaussian - mass, log_second) - math.log(2)
    return x, log_gaussian + log_prior + np.log(high - low) - log_density


def _part_by_chance(sums: np.ndarray, log_heights: np.ndarray, count: int) -> float:
    """Return which part of the sum of squares of rows' mean weights is due to the scatter of candidates."""
    log_weights = sums[0] + log_heights
    possible = np.isfinite(log_weights)
    if not possible.any():
        return 0.0
    log_sums, log_squares = sums[:, possible]
    # The variance of a mean of independent weights, over its square.
    scatter = (count * np.exp(log_squares - 2 * log_sums) - 1) / (count - 1)
    size = np.exp(2 * (log_weights[possible] - log_weights[possible].max()))
    return float(size @ scatter / size.sum())
