"""Where and with how many points pixels are integrated: everything about it that does not depend on parameters.

Pixels are ranked by their distance from a source's centre in units of its isophotes, so that a thin source has its
points along its ridge. The nearest few are integrated along rays from the centre, which does away with cusps; the
next ones by Gauss-Legendre quadrature with ever fewer points; and all others by a stencil on the values at the pixels'
centres.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

#: Pixels whose integral is taken along rays: the first in rank.
RAY_PIXELS = 4
#: Points on each side of the foot point on each side of such a pixel, and along each ray, with the powers that grade
#: them towards the foot point and the centre.
EDGE_POINTS, EDGE_GRADING = 10, 3
RAY_POINTS, RAY_GRADING = 10, 3
#: (rank up to which, Gauss-Legendre points on each axis of a pixel) for the pixels that follow. Multiples of three.
LADDER = ((8, 12), (25, 9), (100, 6), (700, 3))
#: How many pixels that makes.
RANKED = LADDER[-1][0]

#: Mean over a pixel from the values at the centres of five pixels in a row, exact for polynomials of fifth degree.
STENCIL = np.array([-17.0, 308.0, 5178.0, 308.0, -17.0]) / 5760
#: Axis ratios, number of orientations and of sub-pixel positions on each axis for which ranks are tabulated.
RATIOS = np.array([1.0, 0.75, 0.55, 0.4, 0.3, 0.22, 0.16])
ORIENTATIONS, POSITIONS = 16, 4
#: Pixels among which those with the most points are chosen.
_FIRST = 16


def unit_legendre(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1) / 2, weights / 2


def graded(points: int, power: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on [0, 1] that crowd towards 0: Gauss-Legendre after ``x = t**power``."""
    t, w = unit_legendre(points)
    return t**power, w * power * t ** (power - 1)


@dataclass(frozen=True)
class Ladder:
    """The points of all pixels that are integrated by Gauss-Legendre quadrature, in groups of nine.

    Parameters
    ----------
    pixel : ndarray of int, shape (groups,)
        Rank of the pixel that a group belongs to; ascending.
    row, col : ndarray, shape (9, groups)
        Offsets of the points from the pixel's centre, in pixels.
    weight : ndarray, shape (9, groups)
        Weights in the mean over the pixel.
    size : ndarray, shape (9, groups)
        Side of the part of the pixel that a point stands for, in pixels.
    rungs : tuple of (int, int)
        How many pixels in turn have how many groups.
    """

    pixel: np.ndarray
    row: np.ndarray
    col: np.ndarray
    weight: np.ndarray
    size: np.ndarray
    rungs: tuple[tuple[int, int], ...]


@functools.cache
def ladder(smooth: bool) -> Ladder:
    """Return the points of the ranked pixels: of a smooth brightness, those after the first, which have rays."""
    groups: list[tuple[np.ndarray, ...]] = []
    rungs = []
    first = RAY_PIXELS if smooth else 0
    for last, points in LADDER:
        # A sharp edge is the affair of cells that tile the pixel, each with the share of it that lies inside.
        t, w = unit_legendre(points) if smooth else ((np.arange(points) + 0.5) / points, np.full(points, 1 / points))
        row, col = (axis.reshape(-1, 9) - 0.5 for axis in np.meshgrid(t, t, indexing="ij"))
        weight, count = np.outer(w, w).reshape(-1, 9), last - first
        pixel = np.repeat(np.arange(first, last), len(row))
        size = np.full((count * len(row), 9), 1 / points)
        groups.append((pixel, *(np.tile(part, (count, 1)) for part in (row, col, weight)), size))
        rungs.append((count, len(row)))
        first = last
    pixel, *others = (np.concatenate(parts) for parts in zip(*groups, strict=True))
    row, col, weight, size = (np.ascontiguousarray(part.T) for part in others)
    return Ladder(pixel, row, col, weight, size, tuple(rungs))


@functools.cache
def ranking() -> np.ndarray:
    """Return which pixels come first.

    Returns
    -------
    ndarray of int8, shape (len(RATIOS), ORIENTATIONS, POSITIONS, POSITIONS, RANKED, 2)
        Row and column, relative to the pixel that holds the centre, in the order of the elliptical radius; by axis
        ratio, angle of the major axis from the rows' direction (a share of pi), and position of the centre within its
        pixel, by row and column.
    """
    table = np.zeros((len(RATIOS), ORIENTATIONS, POSITIONS, POSITIONS, RANKED, 2), np.int8)
    position = (np.arange(POSITIONS) + 0.5) / POSITIONS - 0.5
    reach = 1.25 * RANKED / np.pi  # a little more than the squared radius of a circle of so many pixels
    for a, ratio in enumerate(RATIOS):
        span = np.arange(-int(np.sqrt(reach / ratio)) - 2, int(np.sqrt(reach / ratio)) + 3)
        row, col = (axis.ravel() for axis in np.meshgrid(span, span, indexing="ij"))
        for b in range(ORIENTATIONS):
            cos, sin = np.cos(np.pi * b / ORIENTATIONS), np.sin(np.pi * b / ORIENTATIONS)

            near = _squared_radius(row, col, cos, sin, ratio) < reach
            y, x = row[near], col[near]
            seen = (y - position[:, None, None], x - position[:, None])
            order = np.argsort(_squared_radius(*seen, cos, sin, ratio), axis=-1)[..., :RANKED]
            # For the first ones, what counts is how near the pixel comes to the centre, not where its own centre is.
            first = order[..., :_FIRST]
            dy, dx = (np.take_along_axis(np.broadcast_to(s, (*order.shape[:2], len(y))), first, -1) for s in seen)
            corner = np.linspace(-0.5, 0.5, 7)
            reached = _squared_radius(
                dy[..., None, None] + corner[:, None], dx[..., None, None] + corner, cos, sin, ratio
            )
            order[..., :_FIRST] = np.take_along_axis(
                first, np.argsort(reached.min((-2, -1)), axis=-1, kind="stable"), -1
            )
            table[a, b] = np.stack([y[order], x[order]], axis=-1)
    return table


def _squared_radius(row: np.ndarray, col: np.ndarray, cos: float, sin: float, ratio: float) -> np.ndarray:
    return (row * cos + col * sin) ** 2 * ratio + (col * cos - row * sin) ** 2 / ratio
