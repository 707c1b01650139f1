"""The integral of a source's brightness over every pixel: differentiable, and of static shapes.

Three ways, each where it is exact enough (see `socca.quadrature` for how pixels are ranked):

1. everywhere, a stencil on the values at the pixels' centres, right to sixth order in the size of a pixel;
2. in the pixels around the source, Gauss-Legendre quadrature, with more points the nearer they are;
3. in the nearest pixels, the divergence theorem. With ``H(x) = integral of B(t x) t dt`` over t from 0 to 1, where x
   is measured from the source's centre, ``div(x H) = B``; so the integral over a pixel is the sum over its four sides
   of the side's distance from the centre times the integral of H along it. No cusp at the centre is left in this: it
   ends in the rays' integrals over t, all alike and graded.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from socca import quadrature
from socca.grid import BORDER
from socca.parametrised import Spec


class Place(NamedTuple):
    """Where a source lies.

    Attributes
    ----------
    x, y : scalar
        Its centre in the field plane, degrees.
    row, col : scalar
        Its centre on the grid.
    cell : array, shape (2, 2)
        Derivative of (x, y) with respect to (row, col) there.
    """

    x: Any
    y: Any
    row: Any
    col: Any
    cell: Any


class Nodes(NamedTuple):
    """Points at which the brightness is evaluated.

    Attributes
    ----------
    dx, dy : array
        Offsets from the source's centre, degrees.
    weight : array
        Weight of each.
    size : array
        Side of the part of a pixel that it stands for, in pixels.
    """

    dx: Any
    dy: Any
    weight: Any
    size: Any


def integrated(spec: Spec, values: dict[str, Any], place: Place, arrays: dict[str, Any]) -> Any:
    """Integrate an extended source over every pixel of the grid.

    Parameters
    ----------
    spec : Spec
        The component.
    values : dict
        Its parameters.
    place : Place
        Its centre.
    arrays : dict
        ``x, y`` of `socca.grid.grid_arrays`, and ``ranking`` of `socca.quadrature`.

    Returns
    -------
    array
        Mean brightness in each pixel, without the border of the grid.
    """
    angle, ratio = spec.kind.outline(values, spec)
    # Bordered too, or else all that led to these few numbers would be computed anew wherever they are used.
    place, form = _bordered(
        place.x + place.y,
        lambda: (place, _isophote(angle, ratio, place.cell)),
        jax.tree.map(lambda part: jnp.full_like(part, jnp.nan), (place, (ratio, ratio, ratio))),
    )
    brightness = functools.partial(spec.kind.brightness, values=values, spec=spec)
    # A branch is a border that XLA does not fuse across. Without it, the profile would be computed anew, and not
    # vectorised, for each of the terms of the stencil (ten times slower on a CPU); XLA drops mere barriers.
    centers = _bordered(
        place.x + place.y,
        lambda: brightness(arrays["x"] - place.x, arrays["y"] - place.y, cell=place.cell),
        jnp.full_like(arrays["x"], jnp.nan),
    )
    smooth = spec.kind.smooth(spec)
    inner = slice(BORDER, -BORDER)
    image = centers[inner, inner]
    if smooth:
        # Where the brightness falls by orders of magnitude within a pixel, the stencil must not turn its sign.
        means = _stencil(centers)
        image = jnp.where(means * image > 0, means, image)

    rows, cols = _ranked_pixels(arrays["ranking"], *jax.lax.stop_gradient((place.row, place.col, form)))
    parts = [_ladder_nodes(quadrature.ladder(smooth), rows, cols, place, arrays)]
    if smooth:
        few = slice(quadrature.RAY_PIXELS)
        parts.append(_ray_nodes(rows[few] - place.row, cols[few] - place.col, form, place.cell))
    # All at once: the profile, and above all its derivatives, are then compiled twice and not once a part.
    nodes = Nodes(*[jnp.concatenate([part.ravel() for part in same]) for same in zip(*parts, strict=True)])
    near = _bordered(
        place.x + place.y,
        lambda: brightness(nodes.dx, nodes.dy, cell=place.cell[:, :, None] * nodes.size) * nodes.weight,
        jnp.full_like(nodes.dx, jnp.nan),
    )
    found = _over_pixels(near, quadrature.ladder(smooth), smooth)
    # Pixels outside the frame are given rows beyond it, and dropped.
    n, m = image.shape
    inside = (rows >= 0) & (rows < n) & (cols >= 0) & (cols < m)
    return image.at[jnp.where(inside, rows, n), cols].set(found, mode="drop")


def _bordered(finite: Any, compute: Any, otherwise: Any) -> Any:
    return jax.lax.cond(jnp.isfinite(finite), compute, lambda: otherwise)


def _stencil(centers: Any) -> Any:
    """Return the mean over each pixel but the outer two, from the values at their centres."""
    n, m = centers.shape[0] - 2 * BORDER, centers.shape[1] - 2 * BORDER
    terms = [weight.astype(centers.dtype) for weight in quadrature.STENCIL]
    # Bordered again: fused, the two passes would be one with 25 terms.
    along = _bordered(
        centers[0, 0],
        lambda: sum(weight * centers[k : k + n] for k, weight in enumerate(terms)),
        jnp.full_like(centers[:n], jnp.nan),
    )
    return sum(weight * along[:, k : k + m] for k, weight in enumerate(terms))


def _isophote(angle: Any, ratio: Any, cell: Any) -> tuple[Any, Any, Any]:
    """Return the coefficients of ``r^2 = a row^2 + 2 b row col + c col^2`` for isophotes of an angle and axis ratio."""
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    major = [cell[0, k] * sin + cell[1, k] * cos for k in (0, 1)]
    minor = [(cell[0, k] * cos - cell[1, k] * sin) / ratio for k in (0, 1)]
    return major[0] ** 2 + minor[0] ** 2, major[0] * major[1] + minor[0] * minor[1], major[1] ** 2 + minor[1] ** 2


def _ranked_pixels(ranking: Any, row: Any, col: Any, form: Any) -> tuple[Any, Any]:
    """Look up the pixels around a source in the order of their rank; rows and columns may lie outside the frame."""
    a, b, c = form
    mean, spread = (a + c) / 2, jnp.sqrt(((a - c) / 2) ** 2 + b**2)
    log_ratio = 0.5 * jnp.log((mean - spread) / (mean + spread))
    turn = 0.5 * jnp.arctan2(-2 * b, c - a) / jnp.pi
    row, col = (jnp.clip(jnp.where(jnp.isfinite(at), at, 0.0), -1e4, 1e5) for at in (row, col))
    at = [jnp.argmin(jnp.abs(np.log(quadrature.RATIOS) - log_ratio)), jnp.round(turn * quadrature.ORIENTATIONS)]
    at[1] = at[1].astype(int) % quadrature.ORIENTATIONS
    for position in (row, col):
        share = (position - jnp.round(position) + 0.5) * quadrature.POSITIONS
        at.append(jnp.clip(share.astype(int), 0, quadrature.POSITIONS - 1))
    offsets = ranking[tuple(at)].astype(int)
    return jnp.round(row).astype(int) + offsets[:, 0], jnp.round(col).astype(int) + offsets[:, 1]


def _over_pixels(terms: Any, ladder: quadrature.Ladder, rays: bool) -> Any:
    """Add up the weighted values at all nodes to the mean over each ranked pixel."""
    groups = terms[: ladder.row.size].reshape(ladder.row.shape).sum(0)
    means, first = [], 0
    for pixels, each in ladder.rungs:
        means.append(groups[first : first + pixels * each].reshape(pixels, each).sum(1))
        first += pixels * each
    if rays:
        along = terms[ladder.row.size :].reshape(quadrature.RAY_POINTS, -1).sum(0)
        means.insert(0, along.reshape(quadrature.RAY_PIXELS, -1).sum(1))
    return jnp.concatenate(means)


def _ladder_nodes(ladder: quadrature.Ladder, rows: Any, cols: Any, place: Place, arrays: dict[str, Any]) -> Nodes:
    """Return the points for Gauss-Legendre quadrature, in the ladder's shape."""
    rows, cols = rows + BORDER, cols + BORDER
    # The pixels' own coordinates, so that any distortion of the field is in them.
    dx, dy = arrays["x"][rows, cols] - place.x, arrays["y"][rows, cols] - place.y
    dx, dy = dx[ladder.pixel], dy[ladder.pixel]
    row, col, weight, size = (p.astype(dx.dtype) for p in (ladder.row, ladder.col, ladder.weight, ladder.size))
    return _bordered(
        place.x + place.y,
        lambda: Nodes(
            dx + (place.cell[0, 0] * row + place.cell[0, 1] * col),
            dy + (place.cell[1, 0] * row + place.cell[1, 1] * col),
            jnp.asarray(weight),
            jnp.asarray(size),
        ),
        Nodes(*[jnp.full_like(row, jnp.nan)] * 4),
    )


def _ray_nodes(row: Any, col: Any, form: Any, cell: Any) -> Nodes:
    """Return the points on rays through the sides of the nearest pixels, shape (ray points, pixels * side points).

    Parameters
    ----------
    row, col : array
        The pixels' centres, seen from the source's.
    form : tuple of scalar
        From `_isophote`.
    cell : array, shape (2, 2)
        See `Place`.
    """
    a, b, c = form
    dtype = row.dtype
    t, w = (part.astype(dtype) for part in quadrature.graded(quadrature.EDGE_POINTS, quadrature.EDGE_GRADING))
    ray, ray_weight = (part.astype(dtype) for part in quadrature.graded(quadrature.RAY_POINTS, quadrature.RAY_GRADING))
    # The four sides: below, above, left, right. A side lies at a distance from the centre, and runs along from `low`.
    outward = np.array([-1, 1, -1, 1], dtype)
    upright = np.array([False, False, True, True])
    across = jnp.where(upright, col[:, None], row[:, None]) + outward / 2
    low = jnp.where(upright, row[:, None], col[:, None]) - 0.5
    # H varies fastest where the side comes nearest to the centre, as the isophotes measure it.
    foot = jnp.clip(jnp.where(upright, -b / a, -b / c) * across, low, low + 1)
    # From the foot back to the beginning of the side, and on to its end.
    reach = jnp.stack([low - foot, low + 1 - foot], axis=-1)[..., None]
    along = foot[..., None, None] + reach * t
    weight = (outward * across)[..., None, None] * jnp.abs(reach) * w
    distance = jnp.broadcast_to(across[..., None, None], along.shape)
    upright = upright[:, None, None]
    rows = jnp.where(upright, along, distance).ravel()
    cols = jnp.where(upright, distance, along).ravel()
    weights = weight.ravel()

    def spread() -> Nodes:
        at = rows * ray[:, None], cols * ray[:, None]
        return Nodes(
            cell[0, 0] * at[0] + cell[0, 1] * at[1],
            cell[1, 0] * at[0] + cell[1, 1] * at[1],
            weights * (ray * ray_weight)[:, None],
            jnp.full_like(at[0], 1 / quadrature.EDGE_POINTS),
        )

    nowhere = jnp.full((len(ray), len(rows)), jnp.nan, dtype)
    return _bordered(rows[0], spread, Nodes(nowhere, nowhere, nowhere, nowhere))
