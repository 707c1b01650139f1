"""Samples of sources thinner than a pixel, along their ridge, for a convolution with a PSF.

Thin isophotes are finer than a pixel across the major axis, however far from the centre. There, every row of pixels
that the axis crosses (or every column, if the axis runs along the columns) has a line of cells. One axis is enough: the
light's spatial frequencies lie across the ridge, so that those which are too high for the pixels along it are too high
across it as well, and the filter takes them away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from socca.likelihood import lowpass
from socca.likelihood.grid import BORDER, coordinates_at
from socca.likelihood.pixel_integration import SourceGeometry, bordered
from socca.likelihood.windows import Axes, beyond_if_negative, falloff, nearest, product


class _Lines(NamedTuple):
    """Lines of cells across a ridge.

    Attributes
    ----------
    by_row : array, shape ()
        Whether there is one for every row; else for every column.
    along : array, shape (lines,)
        Which row (or column).
    across : array, shape (lines,)
        The pixel of it in which the ridge lies.
    share : array, shape (lines,)
        Where the ridge lies, from that pixel's centre.
    center : tuple of scalar
        The source's centre, along the axis of the lines' numbers and across it.
    """

    by_row: Any
    along: Any
    across: Any
    share: Any
    center: tuple[Any, Any]

    def pixels(self, offsets: Any) -> tuple[Any, Any]:
        """Return rows and columns of what is `offsets` pixels across from each line's own pixel."""
        along, across = jnp.broadcast_arrays(self.along[:, None], self.across[:, None] + offsets)
        return jnp.where(self.by_row, along, across), jnp.where(self.by_row, across, along)


def _lines(place: SourceGeometry, axes: Axes, shape: tuple[int, int]) -> _Lines:
    """Return the lines that cross the ridge on a grid of this shape, and on the longer axis beyond it."""
    by_row = jnp.abs(axes.cos) >= jnp.abs(axes.sin)
    first, other = (jnp.where(by_row, *pair) for pair in ((place.row, place.col), (place.col, place.row)))
    slope = jnp.where(by_row, axes.sin, axes.cos) / jnp.where(by_row, axes.cos, axes.sin)
    along = jnp.arange(max(shape))
    ridge = other + (along - first) * slope
    across = nearest(ridge)
    return _Lines(by_row, along, across, ridge - across, (first, other))


def along_ridge(place: SourceGeometry, axes: Axes, shape: tuple[int, int]) -> Any:
    """Return the share of the light in each pixel's centre that `ridge` takes, shape (n, m)."""
    row, col = (np.arange(length) - at for length, at in zip(shape, (place.row, place.col), strict=True))
    return falloff(lowpass.OUTER, axes.along(row[:, None], col)[1])


def ridge(brightness: Any, place: SourceGeometry, arrays: dict[str, Any], axes: Axes, shape: tuple[int, int]) -> Any:
    """Sample the light along the ridge, outside of the patches around the centre.

    Parameters
    ----------
    brightness : callable
        The brightness at offsets from the source's centre.
    place : SourceGeometry
        Its centre.
    arrays : dict
        ``x, y`` of `socca.likelihood.grid.grid_arrays`, on the PSF's pixels.
    axes : Axes
        Of the isophotes.
    shape : tuple of int
        Rows and columns of the grid, (n, m), without its border.

    Returns
    -------
    array, shape (n, m)
        Brightness at the pixels' centres, without what is finer than the PSF's pixels can tell.
    """
    dtype, cell = place.x.dtype, place.cell
    lines = _lines(place, axes, shape)
    # A distance across a line is longer than that from the axis.
    steep = jnp.maximum(jnp.abs(axes.cos), jnp.abs(axes.sin))
    offsets = np.concatenate([strip.offsets for strip in lowpass.STRIPS]).astype(dtype)

    def cells() -> tuple[Any, Any]:
        middle = coordinates_at(arrays, *(at + BORDER for at in lines.pixels(np.zeros(1, int))))
        sides = jnp.where(lines.by_row, cell[:, 1], cell[:, 0])
        dx, dy = (
            center - start + side * offsets
            for center, start, side in zip(middle, (place.x, place.y), sides, strict=True)
        )
        return dx.astype(dtype), dy.astype(dtype)

    nowhere = jnp.full((max(shape), len(offsets)), jnp.nan, dtype)
    dx, dy = bordered(place.x + place.y, cells, (nowhere, nowhere))
    found = bordered(place.x + place.y, lambda: brightness(dx, dy, cell=cell), nowhere)

    minor = (offsets - lines.share[:, None]) * steep
    # Outside of the square window of the patches: a product over rows and columns.
    beside = falloff(lowpass.OUTER, lines.along - lines.center[0])[:, None]
    outside = 1 - beside * falloff(lowpass.OUTER, lines.across[:, None] - lines.center[1] + offsets)
    total = jnp.zeros(shape, dtype)
    start = 0
    inner = [strip.window for strip in lowpass.STRIPS[1:]]
    for k, strip in enumerate(lowpass.STRIPS):
        part = slice(start, start + strip.size)
        start += strip.size
        share = falloff(strip.window, minor[:, part])
        if k < len(inner):
            share = share * (1 - falloff(inner[k], minor[:, part]))
        light = found[:, part] * (share * outside[:, part]).astype(dtype)
        spread = product(light, lowpass.onto_pixels(strip).astype(dtype).T)
        reach = spread.shape[1] // 2
        at = lines.pixels(np.arange(-reach, reach + 1))
        rows, cols = map(beyond_if_negative, at, shape)
        total = total.at[rows, cols].add(spread, mode="drop")
    return total
