"""Special functions of either array namespace, and inverses where there is no closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: Halvings of an interval: enough for every double within a logarithmic range of 1500.
_HALVINGS = 64


def special(xp: Any) -> Any:
    """Return the module of special functions for an array namespace."""
    import importlib

    return importlib.import_module("scipy.special" if xp is np else "jax.scipy.special")


def log_ndtr(x: Any, xp: Any) -> Any:
    """Return the logarithm of the standard normal's cdf."""
    if xp is np:
        return special(np).log_ndtr(x)
    # By default JAX sums three terms of the tail's asymptotic series, which leaves an error of 4e-9 at -20.
    return special(xp).log_ndtr(x, series_order=10)


def bisect(function: Callable[[Any], Any], target: Any, low: Any, high: Any, xp: Any) -> Any:
    """Invert an increasing function.

    Parameters
    ----------
    function : callable
        Increasing and elementwise.
    target : array
        The values wanted.
    low, high : array or float
        Bounds of the result.
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    array
        Where the function reaches the target.
    """
    target = xp.asarray(target)

    def halve(_: Any, bounds: tuple[Any, Any]) -> tuple[Any, Any]:
        below, above = bounds
        middle = 0.5 * (below + above)
        short = function(middle) < target
        return xp.where(short, middle, below), xp.where(short, above, middle)

    bounds = (target * 0 + low, target * 0 + high)
    if xp is np:
        for k in range(_HALVINGS):
            bounds = halve(k, bounds)
    else:
        import jax

        bounds = jax.lax.fori_loop(0, _HALVINGS, halve, bounds)
    return 0.5 * (bounds[0] + bounds[1])


def logarithmic_range(like: Any, xp: Any) -> tuple[float, float]:
    """Return the logarithms of the smallest and the largest number of the array's precision."""
    info = xp.finfo(xp.result_type(like, float) if xp is np else xp.result_type(like))
    return float(np.log(float(info.tiny))), float(np.log(float(info.max))) - 1e-3


def tiny(like: Any, xp: Any) -> Any:
    """Return the smallest normal number of the array's precision."""
    return xp.finfo(xp.result_type(like)).tiny


def invert_ray(function: Callable[[Any], Any], target: Any, xp: Any) -> Any:
    """Invert an increasing function of positive numbers, to the relative precision of a float."""
    target = xp.asarray(target)
    low, high = logarithmic_range(target, xp)
    return xp.exp(bisect(lambda y: function(xp.exp(y)), target, low, high, xp))


def invert_unit(function: Callable[[Any], Any], target: Any, xp: Any) -> Any:
    """Invert an increasing function of numbers from 0 to 1; next to 0, to the relative precision of a float."""
    expit = special(xp).expit
    target = xp.asarray(target)
    # Above the logit of 40, nothing but 1 is left in doubles.
    low, _ = logarithmic_range(target, xp)
    return expit(bisect(lambda y: function(expit(y)), target, low, 40.0, xp))


def with_slope(x: Any, u: Any, cdf: Callable[[Any], Any], log_prob: Callable[[Any], Any], xp: Any) -> Any:
    """Give an inverse that was found by halving the derivatives of the exact one.

    Parameters
    ----------
    x : array
        The inverse at `u`.
    u : array
        The probabilities.
    cdf, log_prob : callable
        The distribution.
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    array
        The same values. Under JAX, their derivatives are those of the implicit function.
    """
    if xp is np:
        return x
    import jax

    x = jax.lax.stop_gradient(x)
    density = jax.lax.stop_gradient(xp.exp(log_prob(x)))
    usable = (density > 0) & (density < xp.inf)
    step = xp.where(usable, (u - cdf(x)) / xp.where(usable, density, 1.0), 0.0)
    return x + (step - jax.lax.stop_gradient(step))
