"""Posterior repartitioning: coordinates that concentrate on the maxima, and leave posterior and evidence unchanged.

Most of the work of a nested sampler goes into walking from the prior to the posterior, which for a bright galaxy is
many orders of magnitude smaller. Here the sampler's unit cube is stretched: a share of it is the prior as it was, and
the rest is concentrated around the known maxima. With ``v`` in the prior's cube, ``w`` in the sampler's, and the
density ``dw/dv = g(v)``,

    Z = integral L(v) dv = integral L(v) / g(v) dw,

so that sampling ``L / g`` over ``w`` gives the same evidence and, mapped back, the same posterior (posterior
repartitioning: Chen, Hobson, Das & Gelderblom 2019, Stat. Comput. 29, 835). The density is the mixture

    g(v) = a + (1 - a) sum_m b_m prod_k q_mk(v_k | v_1 .. v_{k-1}),

with ``q_m`` a product of Student densities that follow the covariance at maximum ``m``. The prior keeps the share ``a``
of the cube everywhere. A mixture of this form can be inverted axis by axis, since each conditional density of it is
again a mixture, of a constant and of the ``q_mk``, with known weights: here for one maximum, in
`socca.samplers.cube.mixture` for several.

A posterior that is curved, or has a maximum that nobody knows of, has parts that no ``q_m`` covers.
`socca.samplers.cube.repartitioning_check` measures them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from socca.likelihood.compiled import in_batches
from socca.samplers.cube.mixture import MixtureAxis, StudentMixture, student_cdf, walk
from socca.samplers.maxima.maximum import Maximum, correlation_root

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity

#: Share of the cube that stays with the prior.
PRIOR_SHARE = 0.1
#: Scale of the Student densities, in standard deviations of the posterior.
WIDTH = 1.2
#: Share of the Student densities that several maxima have in equal parts; the rest follows their masses.
EQUAL_SHARE = 0.2
#: Newton's steps, at most: 14 were enough for widths from 1e-12 to 0.3 and any share of the prior.
_STEPS = 20
#: Rows that are mapped side by side: batches are often far shorter than `socca.likelihood.compiled.BATCH`.
_BLOCK = 64
_TINY, _ROUNDING = 1e-300, 1e-15


def _student_root(u: Any) -> Any:
    """Return where ``z / sqrt(2 + z^2)`` is `u`, which is cut off at 0 and just below 1."""
    u = jnp.clip(u, 0, 1 - 1e-16)
    return math.sqrt(2) * u / jnp.sqrt((1 - u) * (1 + u))


class _Axis(NamedTuple):
    """Conditional density along one axis: a Student density, cut off by the cube, and the prior's share."""

    center: Any
    scale: Any
    below: Any
    whole: Any
    share: Any

    def cdf(self, x: Any) -> Any:
        """Return the distribution function."""
        student = (student_cdf((x - self.center) / self.scale) - self.below) / self.whole
        return self.share * x + (1 - self.share) * student

    def inverse(self, w: Any) -> Any:
        """Return where the distribution function is `w`.

        With ``z = (x - center) / scale`` that is ``a z + h z / sqrt(2 + z^2) = b``, odd in z, and for z > 0 increasing
        and concave: Newton's steps from anywhere below the root go up to it, and never beyond.
        """
        a = jnp.maximum(self.share * self.scale, _TINY)
        h = jnp.maximum((1 - self.share) / (2 * self.whole), _TINY)
        b = w - (1 - self.share) * (0.5 - self.below) / self.whole - self.share * self.center
        sign, b = jnp.sign(b), jnp.abs(b)
        # Each of the two terms is positive, and no more than b.
        highest = jnp.minimum(b / a, jnp.where(b < h, _student_root(b / h), jnp.inf))
        # Below the root: where the second term is put as its tangent at zero, as its limit, or the first at its most.
        z = jnp.maximum(b / (a + h / math.sqrt(2)), (b - h) / a)
        z = jnp.maximum(z, _student_root((b - a * highest - _ROUNDING) / h))
        z = jnp.minimum(z, 1 / self.scale)  # beyond which x is cut off

        def moving(state: Any) -> Any:
            number, z, step = state
            return (number < _STEPS) & (jnp.abs(step) > 1e-14 * jnp.abs(z))

        def move(state: Any) -> Any:
            number, z, _ = state
            square = 2 + z * z
            root = jnp.sqrt(square)
            step = (b - a * z - h * z / root) / (a + 2 * h / (square * root))
            return number + 1, z + step, step

        _, z, _ = jax.lax.while_loop(moving, move, (0, z, jnp.full_like(z, jnp.inf)))
        return jnp.clip(self.center + self.scale * sign * z, 0, 1)


def _walk(center: Any, root: Any, place: Callable[[Any, _Axis], Any]) -> tuple[Any, Any]:
    """Compute a point axis by axis, each coordinate by `place`; return it, shape (ndim,), and the log density there."""

    def step(before: tuple[Any, Any], k: Any) -> tuple[tuple[Any, Any], Any]:
        z, log_peak = before  # the log of the product of the q so far; z is zero from here on
        scale = WIDTH * root[k, k]
        middle = jnp.clip(center[k] + root[k] @ z, 0, 1)
        below = student_cdf(-middle / scale)
        whole = student_cdf((1 - middle) / scale) - below
        peak = (1 - PRIOR_SHARE) * jnp.exp(jnp.minimum(log_peak, 700))
        x = place(k, _Axis(middle, scale, below, whole, PRIOR_SHARE / (PRIOR_SHARE + peak)))
        log_peak += -1.5 * jnp.log(2 + ((x - middle) / scale) ** 2) - jnp.log(scale * whole)
        return (z.at[k].set((x - middle) / root[k, k]), log_peak), x

    ndim = len(center)
    (_, log_peak), x = jax.lax.scan(step, (jnp.zeros(ndim), 0.0), jnp.arange(ndim))
    return x, jnp.logaddexp(math.log(PRIOR_SHARE), math.log1p(-PRIOR_SHARE) + log_peak)


class _Single(NamedTuple):
    """The Student density of one maximum: center, shape (ndim,), and root, shape (ndim, ndim)."""

    center: Any
    root: Any

    def walk(self, place: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
        return _walk(self.center, self.root, place)


class _Several(NamedTuple):
    """The mixture of several."""

    modes: StudentMixture

    def walk(self, place: Callable[[Any, MixtureAxis], Any]) -> tuple[Any, Any]:
        return walk(self.modes, WIDTH, place)[:2]


@jax.jit
def _to_prior(density: _Single | _Several, turn: Any, w: Any, count: Any) -> tuple[Any, Any]:
    walked = jax.vmap(lambda w: density.walk(lambda k, axis: axis.inverse(w[k])))

    def block(i: Any, out: Any) -> Any:
        done = walked(jax.lax.dynamic_slice_in_dim(w, i * _BLOCK, _BLOCK))
        return jax.tree.map(lambda rows, own: jax.lax.dynamic_update_slice_in_dim(rows, own, i * _BLOCK, 0), out, done)

    x, log_density = jax.lax.fori_loop(0, (count + _BLOCK - 1) // _BLOCK, block, (w, jnp.zeros(len(w))))
    return jnp.where(turn != 0, (x + turn) % 1.0, x), log_density


def _turned(turn: Any, v: Any) -> Any:
    return jnp.where(turn != 0, (v - turn) % 1.0, v)


@jax.jit
def _log_density(density: _Single | _Several, turn: Any, v: Any, count: Any) -> Any:
    return jax.vmap(lambda x: density.walk(lambda k, axis: x[k])[1])(_turned(turn, v))


@jax.jit
def _log_parts(modes: StudentMixture, turn: Any, v: Any, count: Any) -> Any:
    return jax.vmap(lambda x: walk(modes, WIDTH, lambda k, axis: x[k])[2])(_turned(turn, v))


class Repartitioning:
    """Map from the sampler's unit cube to the prior's, concentrated around the maxima.

    Parameters
    ----------
    problem : LogDensity
        Its priors define the prior's cube.
    maxima : Maximum or sequence of Maximum
        Where to concentrate, with covariances.
    masses : sequence of float, optional
        Share of the posterior that each of several maxima has; by default, equal ones.
    """

    def __init__(
        self,
        problem: LogDensity,
        maxima: Maximum | Sequence[Maximum],
        masses: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        maxima = [maxima] if isinstance(maxima, Maximum) else list(maxima)
        given = np.ones(len(maxima)) if masses is None else np.asarray(masses, float)
        shares = (1 - EQUAL_SHARE) * given / given.sum() + EQUAL_SHARE / len(maxima)
        self.ndim = problem.ndim
        circle = np.array(
            [prior.is_flat_over(period) for prior, period in zip(problem.priors, problem.periods, strict=True)], bool
        )
        placed = [_in_cube(problem, maximum) for maximum in maxima]
        center = np.array([where for where, _ in placed])
        root = np.array(
            [width[:, None] * correlation_root(one.covariance) for one, (_, width) in zip(maxima, placed, strict=True)]
        )
        # An angle whose prior is a whole period is turned so that the first maximum comes to the middle, and each other
        # maximum has coordinates in which it is in the middle too.
        turn = np.where(circle, center[0] - 0.5, 0.0)
        shift = np.where(circle, (center[0] - center) % 1.0, 0.0)
        center = np.where(circle, 0.5, center)
        log_share = np.log(np.concatenate([[PRIOR_SHARE], (1 - PRIOR_SHARE) * shares]))
        self._modes = StudentMixture(center, root, shift, log_share)
        density = _Single(center[0], root[0]) if len(maxima) == 1 else _Several(self._modes)
        with jax.enable_x64(True):
            self._arrays = jax.device_put((density, turn))

    def to_prior(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map the sampler's cube to the prior's.

        Parameters
        ----------
        w : ndarray, shape (n, ndim)
            Points of the sampler's cube.

        Returns
        -------
        v : ndarray, shape (n, ndim)
            Points of the prior's cube.
        log_density : ndarray, shape (n,)
            ``ln g(v)``, to be subtracted from the log-likelihood.
        """
        with jax.enable_x64(True):
            return in_batches(functools.partial(_to_prior, *self._arrays), w, self.ndim, "Repartitioning.to_prior")

    def log_density(self, v: np.ndarray) -> np.ndarray:
        """Return ``ln g(v)``, shape (n,), of points of the prior's cube, shape (n, ndim)."""
        with jax.enable_x64(True):
            return in_batches(
                functools.partial(_log_density, *self._arrays), v, self.ndim, "Repartitioning.log_density"
            )

    def log_parts(self, v: np.ndarray) -> np.ndarray:
        """Return the log of what each maximum contributes to ``g(v)``, shape (n, m), of points of shape (n, ndim)."""
        with jax.enable_x64(True):
            program = functools.partial(_log_parts, jax.device_put(self._modes), self._arrays[1])
            return in_batches(program, v, self.ndim, "Repartitioning.log_parts")


def _in_cube(problem: LogDensity, maximum: Maximum) -> tuple[np.ndarray, np.ndarray]:
    """Return where a maximum lies in the prior's cube, and its standard deviations there, shape (ndim,) each."""
    theta = maximum.theta
    sigma = np.sqrt(np.diag(maximum.covariance))
    center, width = np.zeros(len(theta)), np.zeros(len(theta))
    for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True)):
        low, high = prior.support
        center[k] = np.clip(prior.cdf(theta[k]), 0, 1)
        if prior.is_flat_over(period):
            width[k] = sigma[k] / (high - low)  # a circle has no edge to cut it off
            continue
        width[k] = np.ptp(prior.cdf(np.clip([theta[k] - sigma[k], theta[k] + sigma[k]], low, high))) / 2
    return center, np.clip(width, 1e-12, 0.3)


class IdentityMap:
    """No change of coordinates, with the interface of `Repartitioning`."""

    def to_prior(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points themselves, and zeros."""
        return w, np.zeros(len(w))
