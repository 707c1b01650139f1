"""Quadrature points for the integral over pixels.

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
EDGE_POINTS, EDGE_GRADING = 10, 2.5
RAY_POINTS, RAY_GRADING = 10, 2.5
#: The innermost point on a ray where the brightness diverges at the centre, over the length of the ray.
INNERMOST = 1e-3
#: (rank up to which, points on each axis of a pixel, see `square`) for the pixels that follow.
TIERS = ((8, 12), (25, 7), (60, 5), (150, 4), (720, 3))
#: How many pixels that makes.
RANKED = TIERS[-1][0]

#: Mean over a pixel from the values at the centres of seven pixels in a row, exact for polynomials of seventh degree.
STENCIL = np.array([367.0, -5058.0, 57249.0, 862564.0, 57249.0, -5058.0, 367.0]) / 967680
#: Axis ratios, number of orientations and of sub-pixel positions on each axis for which ranks are tabulated.
RATIOS = np.array([1.0, 0.75, 0.55, 0.4, 0.3, 0.22, 0.16])
ORIENTATIONS, POSITIONS = 16, 4
#: Pixels among which those with the most points are chosen.
_FIRST = 16


def unit_legendre(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1) / 2, weights / 2


def graded(points: int, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on [0, 1] that crowd towards 0: Gauss-Legendre after ``x = t**power``."""
    t, w = unit_legendre(points)
    return t**power, w * power * t ** (power - 1)


def square(points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes and weights of a rule for the mean over the unit square about zero.

    Parameters
    ----------
    points : int
        Of the Gauss-Legendre rule of the same degree on each axis. For 3 and 4 of them there are rules of fewer points
        (Radon 1948 and Tyler 1953, in Stroud 1971, Approximate Calculation of Multiple Integrals).

    Returns
    -------
    row, col, weight : ndarray, shape (number of nodes,)
        The weights sum to one.
    """
    nodes: list[tuple[float, float, float]]
    if points == 3:
        far, a, b = np.sqrt(14 / 15), np.sqrt(1 / 3), np.sqrt(3 / 5)
        nodes = [(0, 0, 2 / 7), *((s * far, 0, 5 / 63) for s in (-1, 1))]
        nodes += [(s * a, t * b, 5 / 36) for s in (-1, 1) for t in (-1, 1)]
    elif points == 4:
        root, far = np.sqrt(583), np.sqrt(6 / 7)
        nodes = [(*at, 49 / 810) for s in (-far, far) for at in ((s, 0), (0, s))]
        for sign in (-1, 1):
            a, weight = np.sqrt((114 + sign * 3 * root) / 287), (178981 - sign * 2769 * root) / 1888920
            nodes += [(s * a, t * a, weight) for s in (-1, 1) for t in (-1, 1)]
    else:
        x, w = np.polynomial.legendre.leggauss(points)
        nodes = [(s, t, v * u / 4) for s, v in zip(x, w, strict=True) for t, u in zip(x, w, strict=True)]
    row, col, weight = np.array(nodes).T
    return row / 2, col / 2, weight


def cells(points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centres, as `square`, of equal cells that tile the unit square."""
    row, col = ((axis.ravel() + 0.5) / points - 0.5 for axis in np.indices((points, points)))
    return row, col, np.full(points**2, 1 / points**2)


@dataclass(frozen=True)
class QuadratureTier:
    """The points by which some of the ranked pixels are integrated, the same in each of them.

    Parameters
    ----------
    first, last : int
        Ranks of these pixels: from, and up to but without.
    row, col : ndarray, shape (points,)
        Offsets of the points from a pixel's centre, in pixels.
    weight : ndarray, shape (points,)
        Weights in the mean over the pixel.
    size : float
        Side of the part of the pixel that a point stands for, in pixels.
    """

    first: int
    last: int
    row: np.ndarray
    col: np.ndarray
    weight: np.ndarray
    size: float

    @property
    def nodes(self) -> int:
        """How many points there are in all of these pixels."""
        return len(self.weight) * (self.last - self.first)


@functools.cache
def rungs(smooth: bool) -> tuple[QuadratureTier, ...]:
    """Return the points of the ranked pixels: of a smooth brightness, those after the first, which have rays."""
    found = []
    first = RAY_PIXELS if smooth else 0
    for last, points in TIERS:
        # A sharp edge is the affair of cells that tile the pixel, each with the share of it that lies inside.
        found.append(QuadratureTier(first, last, *(square(points) if smooth else cells(points)), 1 / points))
        first = last
    return tuple(found)


@functools.cache
def ranking() -> np.ndarray:
    """Return which pixels come first.

    Returns
    -------
    ndarray of int8, shape (len(RATIOS), ORIENTATIONS, POSITIONS, POSITIONS, 2, RANKED)
        Row and column, relative to the pixel that holds the centre, in the order of the elliptical radius; by axis
        ratio, angle of the major axis from the rows' direction (a share of pi), and position of the centre within its
        pixel, by row and column.
    """
    table = np.zeros((len(RATIOS), ORIENTATIONS, POSITIONS, POSITIONS, 2, RANKED), np.int8)
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
            table[a, b] = np.stack([y[order], x[order]], axis=-2)
    return table


def _squared_radius(row: np.ndarray, col: np.ndarray, cos: float, sin: float, ratio: float) -> np.ndarray:
    return (row * cos + col * sin) ** 2 * ratio + (col * cos - row * sin) ** 2 / ratio
