"""The projected generalised NFW profile."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from socca.models.numbers import for_numbers
from socca.models.radial.base import Radial
from socca.models.radial.profiles import softplus
from socca.parameters.parameterised import param
from socca.utils.lazy import fastmath, jax, jnp, special

if TYPE_CHECKING:
    from socca.utils.array_types import Array

#: The table over ln(r/rc): its ends and number of nodes.
INNER, OUTER, NODES = np.log(1e-5), np.log(1e4), 160
#: Trapezoidal rule along the line of sight: number of points and step of t in ``z = r sinh t``.
POINTS, STEP = 96, 0.27
_NODE_STEP = (OUTER - INNER) / (NODES - 1)


class gNFW(Radial):  # noqa: N801  (its name in the literature)
    """Generalised NFW profile (Nagai et al. 2007), projected: the line-of-sight integral of a spherical one.

    ``x^-gamma (1 + x^alpha)^((gamma - beta)/alpha)`` with ``x = sqrt(r^2 + z^2) / rc``, integrated over all z and
    divided by its value at ``r = 0``, which is finite for ``gamma < 1 < beta``, times Ic.

    The integral is tabulated once per set of parameters and interpolated. For r from 1e-4 to 1e3 rc its relative error
    is below 1e-6 with the default parameters, and below 1e-4 for alpha from 0.5 to 5, beta from 2 to 9 and gamma from 0
    to 0.9. The steeper the turn at rc (large alpha), the larger it is.
    """

    rc = param("deg", "scale radius along the major axis", lower=0.0)
    Ic = param("image", "central brightness")
    alpha = param("", "how sharply it turns over at rc", 1.0510, lower=0.05, upper=10.0)
    beta = param("", "outer slope of the spherical profile", 5.4905, lower=1.01, upper=30.0)
    gamma = param("", "inner slope of the spherical profile", 0.3081, lower=0.0, upper=0.99)

    @staticmethod
    @for_numbers
    def profile(r: Array, Ic: Array, rc: Array, alpha: Array, beta: Array, gamma: Array) -> Array:  # noqa: N803
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        # A branch is a border that XLA does not fuse across: the table is made once, not anew for each pixel.
        table = jax.lax.cond(
            jnp.isfinite(alpha + beta + gamma),
            lambda: cubics(alpha, beta, gamma),
            lambda: jnp.full((5, NODES - 1), jnp.nan, jnp.result_type(alpha, beta, gamma, float)),
        )
        at = (fastmath.log(jnp.maximum(r * (1 / rc), 1e-30)) - INNER) * (1 / _NODE_STEP)
        number = jnp.clip(at.astype(jnp.int32), 0, NODES - 2)
        s = jnp.clip(at - number, 0.0, 1.0)
        a, b, c, d = (table[k].at[number].get(mode="promise_in_bounds") for k in range(4))
        cubic = a + s * (b + s * (c + s * d)) + table[4, 0] * jnp.maximum(at - (NODES - 1), 0.0)
        # Beyond the outer end that is a power law; within the inner one, 1 - I/Ic is a power of r.
        inside = at < 0
        found = jnp.exp(jnp.where(inside, table[4, 2] * at, cubic))
        return Ic * jnp.where(inside, 1 - table[4, 1] * found, found)


@functools.cache
def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ln(r/rc) of the nodes, ln cosh t of the points, and the weights of half the line of sight."""
    t = STEP * np.arange(POINTS)
    weight = np.full(POINTS, STEP)
    weight[0] /= 2
    return np.linspace(INNER, OUTER, NODES), np.logaddexp(t, -t) - np.log(2), weight


def cubics(alpha: Array, beta: Array, gamma: Array) -> Array:
    """Tabulate the logarithm of the projected profile.

    With ``z = r sinh t`` the integrand is an even, smooth function of t that falls off exponentially, for which the
    trapezoidal rule converges geometrically; beyond the last point its sum is a geometric series.

    Parameters
    ----------
    alpha, beta, gamma : scalar
        Of `gNFW`.

    Returns
    -------
    array, shape (5, NODES - 1)
        Four coefficients of a cubic between each node and the next, in the share of the step. In the last row: the
        slope at the outer end per step; at the inner end, ``1 - I/Ic`` and its logarithmic slope per step.
    """
    dtype = jnp.result_type(alpha, beta, gamma, float)
    u, log_cosh, weight = (jnp.asarray(part, dtype) for part in _grid())
    log_x = u[:, None] + log_cosh
    steep = (gamma - beta) / alpha
    integrand = jnp.exp((1 - gamma) * log_x + steep * softplus(alpha * log_x))
    slope = (1 - gamma) + (gamma - beta) / (1 + jnp.exp(-alpha * log_x))
    tail = integrand[:, -1] / jnp.expm1((beta - 1) * STEP) * STEP
    total = integrand @ weight + tail
    change = ((integrand * slope) @ weight + tail * (1 - beta)) / total
    # The integral over all z at r = 0, in closed form.
    center = jnp.log(2 / alpha) + special.betaln((1 - gamma) / alpha, (beta - 1) / alpha)
    value = jnp.log(2 * total) - center
    change = change * _NODE_STEP
    ends = jnp.stack([value[:-1], change[:-1], value[1:], change[1:]])
    hermite = jnp.array([[1, 0, 0, 0], [0, 1, 0, 0], [-3, -2, 3, -1], [2, 1, -2, 1]], dtype)
    rows = hermite @ ends
    lack = -jnp.expm1(value[0])
    power = -jnp.exp(value[0]) * change[0] / jnp.maximum(lack, 1e-9)
    extra = jnp.zeros(NODES - 1, dtype).at[:3].set(jnp.stack([change[-1], lack, jnp.clip(power, 0.0, 3 * _NODE_STEP)]))
    return jnp.concatenate([rows, extra[None]])
