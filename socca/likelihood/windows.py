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


def falloff(offset: Any, edge: Any, width: Any) -> Any:
    """Return a window that falls from 1 to 0 at a distance from zero."""
    return 0.5 * jax.scipy.special.erfc((jnp.abs(offset) - edge) * (1 / (math.sqrt(2) * width)))


def square(window: Window, row: Any, col: Any) -> Any:
    """Return a window as a product over rows and columns."""
    return falloff(row, window.edge, window.width) * falloff(col, window.edge, window.width)


def product(left: Any, right: Any) -> Any:
    """Return a matrix product in full precision."""
    return jnp.matmul(left, right, precision=EXACT)
