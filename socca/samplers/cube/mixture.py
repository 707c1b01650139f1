"""Map of the unit cube that concentrates it around several maxima: a mixture of Student densities, axis by axis.

The density is ``g(v) = a + sum_m b_m q_m(v)``, with one product of Student densities per maximum, and
``a + sum_m b_m = 1``. Given the axes before it, the density along one axis is again a mixture of a constant and of one
Student density per maximum, with known weights. Its distribution function increases, and is inverted by Newton's
method within a bracket. On the circle of an angle each maximum has its own opposite point, where its density is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

#: Steps of the inversion, at most; a bisection of the whole axis would need 53.
_STEPS = 100


def student_cdf(z: Any) -> Any:
    """Return the distribution function of Student's t with two degrees of freedom."""
    return 0.5 + 0.5 * z / jnp.sqrt(2 + z**2)


class StudentMixture(NamedTuple):
    """The Student densities of several maxima, in the turned unit cube.

    Parameters
    ----------
    center : array, shape (m, ndim)
        Each maximum, in its own coordinates: ``(x + shift) % 1`` on a circle, else ``x``.
    root : array, shape (m, ndim, ndim)
        Lower triangular factor of the covariance of each, times the width in the cube.
    shift : array, shape (m, ndim)
        From the common coordinates to those of each maximum; zero where the axis is no circle.
    log_share : array, shape (m + 1,)
        Logarithm of ``a`` and of the ``b_m``.
    """

    center: Any
    root: Any
    shift: Any
    log_share: Any


class MixtureAxis(NamedTuple):
    """Conditional density along one axis, given the axes before it; all arrays but `flat` have shape (m,).

    Parameters
    ----------
    middle, scale : array
        Of the Student densities, in the coordinates of each maximum.
    below, whole : array
        Their distribution functions at 0, and between 0 and 1.
    shift : array
        See `StudentMixture`.
    share : array
        Weight of each Student density.
    flat : array, shape ()
        Weight of the constant.
    """

    middle: Any
    scale: Any
    below: Any
    whole: Any
    shift: Any
    share: Any
    flat: Any

    def own(self, x: Any) -> Any:
        """Return a place in the coordinates of each maximum, shape (m,)."""
        return jnp.where(self.shift > 0, (x + self.shift) % 1.0, x)

    def cdf_and_density(self, x: Any) -> tuple[Any, Any]:
        """Return the distribution function and its derivative."""
        z = (self.own(x) - self.middle) / self.scale
        start = (student_cdf((self.shift - self.middle) / self.scale) - self.below) / self.whole
        turned = jnp.where((self.shift > 0) & (x + self.shift >= 1), 1.0, 0.0)
        cdf = (student_cdf(z) - self.below) / self.whole + turned - start
        density = (2 + z**2) ** -1.5 / (self.scale * self.whole)
        return self.flat * x + self.share @ cdf, self.flat + self.share @ density

    def inverse(self, w: Any) -> Any:
        """Return where the distribution function is `w`: Newton's steps, or halves of the bracket where they fail."""
        tolerance = 1e-15 * jnp.min(self.scale)

        def moving(state: Any) -> Any:
            number, _, _, _, step, _ = state
            return (number < _STEPS) & (jnp.abs(step) > tolerance)

        def move(state: Any) -> Any:
            number, low, high, x, step, before = state
            value, slope = self.cdf_and_density(x)
            off = value - w
            low, high = jnp.where(off < 0, x, low), jnp.where(off < 0, high, x)
            newton = -off / slope
            middle = 0.5 * (high - low)
            fails = (x + newton < low) | (x + newton > high) | (jnp.abs(newton) > 0.5 * jnp.abs(before))
            target = jnp.where(fails, low + middle, x + newton)
            target = jnp.where(off == 0, x, target)
            return number + 1, low, high, target, target - x, step

        start = (0, jnp.zeros_like(w), jnp.ones_like(w), jnp.asarray(w), jnp.ones_like(w), jnp.ones_like(w))
        return jnp.clip(jax.lax.while_loop(moving, move, start)[3], 0, 1)


def walk(modes: StudentMixture, width: float, place: Callable[[Any, MixtureAxis], Any]) -> tuple[Any, Any, Any]:
    """Compute a point axis by axis, each coordinate by `place`.

    Parameters
    ----------
    modes : StudentMixture
        The maxima.
    width : float
        Scale of the Student densities, in standard deviations.
    place : callable
        Of the number of the axis and the `MixtureAxis` there.

    Returns
    -------
    x : array, shape (ndim,)
        The point.
    log_density : array, shape ()
        Log of the mixture's density there.
    log_parts : array, shape (m,)
        Log of ``b_m q_m``.
    """
    count, ndim = modes.center.shape

    def step(before: tuple[Any, Any], k: Any) -> tuple[tuple[Any, Any], Any]:
        z, log_parts = before  # z is zero from axis k on
        diagonal = modes.root[:, k, k]
        scale = width * diagonal
        middle = jnp.clip(modes.center[:, k] + jnp.sum(modes.root[:, k] * z, axis=1), 0, 1)
        below = student_cdf(-middle / scale)
        whole = student_cdf((1 - middle) / scale) - below
        weights = jax.nn.softmax(jnp.concatenate([modes.log_share[:1], log_parts]))
        axis = MixtureAxis(middle, scale, below, whole, modes.shift[:, k], weights[1:], weights[0])
        x = place(k, axis)
        off = axis.own(x) - middle
        log_parts += -1.5 * jnp.log(2 + (off / scale) ** 2) - jnp.log(scale * whole)
        return (z.at[:, k].set(off / diagonal), log_parts), x

    start = (jnp.zeros((count, ndim)), modes.log_share[1:])
    (_, log_parts), x = jax.lax.scan(step, start, jnp.arange(ndim))
    return x, jax.nn.logsumexp(jnp.concatenate([modes.log_share[:1], log_parts])), log_parts
