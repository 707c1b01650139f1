"""Windows that divide light among grids, and the axes of isophotes that they follow."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from socca.likelihood.lowpass import Window
from socca.likelihood.pixel_integration import EXACT


class Axes(NamedTuple):
    """The isophotes on the pixels: cosine and sine of the major axis's angle from the rows' direction, axis ratio."""

    cos: Any
    sin: Any
    ratio: Any

    def along(self, row: Any, col: Any) -> tuple[Any, Any]:
        """Return offsets along the major and the minor axis."""
        return row * self.cos + col * self.sin, col * self.cos - row * self.sin


def falloff(window: Window, offset: Any) -> Any:
    """Return a window that falls from 1 to 0 at a distance from zero."""
    return 0.5 * jax.scipy.special.erfc((jnp.abs(offset) - window.edge) * (1 / (math.sqrt(2) * window.width)))


def square(window: Window, row: Any, col: Any) -> Any:
    """Return a window as a product over rows and columns."""
    return falloff(window, row) * falloff(window, col)


def product(left: Any, right: Any) -> Any:
    """Return a matrix product in full precision."""
    return jnp.matmul(left, right, precision=EXACT)


def nearest(at: Any) -> Any:
    """Return the whole number nearest to a coordinate, within reason."""
    at = jax.lax.stop_gradient(at)
    return jnp.round(jnp.clip(jnp.where(jnp.isfinite(at), at, 0.0), -1e4, 1e6)).astype(jnp.int32)


def beyond_if_negative(index: Any, length: int) -> Any:
    """Return indices of an axis, those before its start moved beyond its end: there, writes are dropped."""
    return jnp.where(index < 0, length, index)
