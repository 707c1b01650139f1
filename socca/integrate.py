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
from socca.grid import BORDER, coordinates, coordinates_at, grid_size
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
    dtype = arrays["x"][0].dtype
    brightness = functools.partial(spec.kind.brightness, values=values, spec=spec)

    def at_centers() -> Any:
        x, y = coordinates(arrays)
        return brightness(x - place.x, y - place.y, cell=place.cell)

    centers = _bordered(place.x + place.y, at_centers, jnp.full(grid_size(arrays), jnp.nan, dtype))
    smooth = spec.kind.smooth(spec)
    inner = slice(BORDER, -BORDER)
    image = centers[inner, inner]
    if smooth:
        # Where the brightness falls by orders of magnitude within a pixel, the stencil must not turn its sign.
        means = _stencil(centers)
        image = jnp.where(means * image > 0, means, image)

    rows, cols = _ranked_pixels(arrays["ranking"], *jax.lax.stop_gradient((place.row, place.col, form)))
    ladder = quadrature.ladder(smooth)
    dx, dy = _ladder_nodes(ladder, rows, cols, place, arrays)
    cell, ray_weight = place.cell, None
    if smooth:
        few = slice(quadrature.RAY_PIXELS)
        *rays, ray_weight = _ray_nodes(rows[few] - place.row, cols[few] - place.col, form, place.cell)
        # All at once: the profile, and above all its derivatives, are then compiled twice and not three times.
        dx, dy = (jnp.concatenate([part.ravel(), ray.ravel()]) for part, ray in zip((dx, dy), rays, strict=True))
    else:
        dx, dy, cell = dx.ravel(), dy.ravel(), cell[:, :, None] * ladder.size.ravel().astype(dx.dtype)
    near = _bordered(place.x + place.y, lambda: brightness(dx, dy, cell=cell), jnp.full_like(dx, jnp.nan))
    found = _over_pixels(near, ladder, ray_weight)
    # Pixels outside the frame are given rows beyond it, and dropped.
    n, m = image.shape
    inside = (rows >= 0) & (rows < n) & (cols >= 0) & (cols < m)
    return image.at[jnp.where(inside, rows, n), cols].set(found, mode="drop")


def _bordered(finite: Any, compute: Any, otherwise: Any) -> Any:
    """Compute something behind a border that XLA does not fuse across.

    Without one, a profile would be computed anew, and not vectorised, for each term of what it is used in, such as a
    stencil: ten times slower on a CPU. XLA drops mere barriers, and keeps branches.

    Parameters
    ----------
    finite : scalar
        A number on which the branch depends; not finite, it gives `otherwise`.
    compute : callable
        What is wanted.
    otherwise : array or tree of array
        NaN, in the same shape.
    """
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


def _over_pixels(values: Any, ladder: quadrature.Ladder, ray_weight: Any) -> Any:
    """Add up the values at all nodes to the mean over each ranked pixel."""
    count = ladder.row.size
    groups = (values[:count].reshape(ladder.row.shape) * ladder.weight.astype(values.dtype)).sum(0)
    means, first = [], 0
    for pixels, each in ladder.rungs:
        means.append(groups[first : first + pixels * each].reshape(pixels, each).sum(1))
        first += pixels * each
    if ray_weight is not None:
        along = (values[count:].reshape(ray_weight.shape) * ray_weight).sum(0)
        means.insert(0, along.reshape(quadrature.RAY_PIXELS, -1).sum(1))
    return jnp.concatenate(means)


def _ladder_nodes(
    ladder: quadrature.Ladder, rows: Any, cols: Any, place: Place, arrays: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the offsets (dx, dy) of the points for Gauss-Legendre quadrature, in the ladder's shape."""
    # The pixels' own coordinates, so that any distortion of the field is in them.
    x, y = coordinates_at(arrays, rows + BORDER, cols + BORDER)
    dx, dy = ((at - start).at[ladder.pixel].get(mode="promise_in_bounds") for at, start in ((x, place.x), (y, place.y)))
    row, col = ladder.row.astype(dx.dtype), ladder.col.astype(dx.dtype)
    return _bordered(
        place.x + place.y,
        lambda: (
            dx + (place.cell[0, 0] * row + place.cell[0, 1] * col),
            dy + (place.cell[1, 0] * row + place.cell[1, 1] * col),
        ),
        (jnp.full_like(row, jnp.nan), jnp.full_like(row, jnp.nan)),
    )


def _ray_nodes(row: Any, col: Any, form: Any, cell: Any) -> tuple[Any, Any, Any]:
    """Return the points on rays through the sides of the nearest pixels: offsets (dx, dy), and weights.

    Parameters
    ----------
    row, col : array
        The pixels' centres, seen from the source's.
    form : tuple of scalar
        From `_isophote`.
    cell : array, shape (2, 2)
        See `Place`.

    Returns
    -------
    dx, dy, weight : array, shape (ray points, pixels * side points)
        Degrees east and north of the source's centre.
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

    def spread() -> tuple[Any, Any, Any]:
        at = rows * ray[:, None], cols * ray[:, None]
        return (
            cell[0, 0] * at[0] + cell[0, 1] * at[1],
            cell[1, 0] * at[0] + cell[1, 1] * at[1],
            weights * (ray * ray_weight)[:, None],
        )

    nowhere = jnp.full((len(ray), len(rows)), jnp.nan, dtype)
    return _bordered(rows[0], spread, (nowhere, nowhere, nowhere))
