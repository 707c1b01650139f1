"""Integral of a source's brightness over every pixel: differentiable, and of static shapes.

Three ways, each where it is exact enough (see `socca.likelihood.quadrature` for how pixels are ranked):

1. everywhere, a stencil on the values at the pixels' centres, right to eighth order in the size of a pixel;
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

from socca.likelihood import quadrature
from socca.likelihood.grid import BORDER, coordinates, coordinates_at, grid_size
from socca.parameters.parameterised import Spec

#: GPUs multiply matrices of single precision with a third of their digits unless told otherwise.
EXACT = jax.lax.Precision.HIGHEST


class SourceGeometry(NamedTuple):
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


def integrated(spec: Spec, values: dict[str, Any], place: SourceGeometry, arrays: dict[str, Any]) -> Any:
    """Integrate an extended source over every pixel of the grid.

    Parameters
    ----------
    spec : Spec
        The component.
    values : dict
        Its parameters.
    place : SourceGeometry
        Its centre.
    arrays : dict
        ``x, y`` of `socca.likelihood.grid.grid_arrays`, and ``ranking`` of `socca.likelihood.quadrature`.

    Returns
    -------
    array
        Mean brightness in each pixel, without the border of the grid.
    """
    place, form = aligned_with_isophotes(spec, values, place)
    dtype = arrays["x"][0].dtype
    brightness = functools.partial(spec.kind.brightness, values=values, spec=spec)

    def at_centers() -> Any:
        x, y = coordinates(arrays)
        return brightness(x - place.x, y - place.y, cell=place.cell)

    centers = bordered(place.x + place.y, at_centers, jnp.full(grid_size(arrays), jnp.nan, dtype))
    smooth = spec.kind.smooth(spec)
    inner = slice(BORDER, -BORDER)
    image = centers[inner, inner]
    if smooth:
        # Where the brightness falls by orders of magnitude within a pixel, the stencil must not turn its sign.
        means = _stencil(centers)
        image = jnp.where(jnp.sign(means) * image > 0, means, image)  # small units do not underflow

    rungs = quadrature.rungs(smooth)
    nowhere = jnp.full(quadrature.RANKED, -1, jnp.int32)
    # Bordered, or else the table would be looked up anew in each use.
    rows, cols = bordered(
        place.x + place.y,
        lambda: _ranked_pixels(arrays["ranking"], *jax.lax.stop_gradient((place.row, place.col, form))),
        (nowhere, nowhere),
    )
    dx, dy = _rung_nodes(rungs, rows, cols, place, arrays)
    cell, along, side_weight = place.cell, None, None
    if smooth:
        along = _along_rays(spec.kind.cusp(values, spec), dx.dtype)
        few = slice(quadrature.RAY_PIXELS)
        *rays, side_weight = _ray_nodes(rows[few] - place.row, cols[few] - place.col, form, place.cell, along)
        # All at once: the profile, and above all its derivatives, are then compiled twice and not three times.
        dx, dy = (jnp.concatenate([part, ray.ravel()]) for part, ray in zip((dx, dy), rays, strict=True))
    else:
        size = np.concatenate([np.full(rung.nodes, rung.size) for rung in rungs])
        cell = cell[:, :, None] * size.astype(dx.dtype)
    near = bordered(place.x + place.y, lambda: brightness(dx, dy, cell=cell), jnp.full_like(dx, jnp.nan))
    found = _over_pixels(near, rungs, along, side_weight)
    # Pixels outside the frame are given rows beyond it, and dropped.
    n, m = image.shape
    inside = (rows >= 0) & (rows < n) & (cols >= 0) & (cols < m)
    return image.at[jnp.where(inside, rows, n), cols].set(found, mode="drop")


def aligned_with_isophotes(
    spec: Spec, values: dict[str, Any], place: SourceGeometry
) -> tuple[SourceGeometry, tuple[Any, Any, Any]]:
    """Return the place of a source, and the coefficients of its isophotes from `_isophote`.

    Bordered, or else all that led to these few numbers would be computed anew wherever they are used.
    """
    angle, ratio = spec.kind.isophote_shape(values, spec)
    return bordered(
        place.x + place.y,
        lambda: (place, _isophote(angle, ratio, place.cell)),
        jax.tree.map(lambda part: jnp.full_like(part, jnp.nan), (place, (ratio, ratio, ratio))),
    )


def bordered(finite: Any, compute: Any, otherwise: Any) -> Any:
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
    """Return the mean over each pixel but those of the border, from the values at their centres."""
    # As convolutions, which XLA also turns round fast: the adjoint of a sum of slices is a sum of padded arrays.
    weight = jnp.asarray(quadrature.STENCIL, centers.dtype)
    planes = centers[None, None]
    for kernel in (weight[None, None, :, None], weight[None, None, None, :]):
        planes = jax.lax.conv_general_dilated(planes, kernel, (1, 1), "VALID", precision=EXACT)
    return planes[0, 0]


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
    # Not 64 bits, which become floating-point numbers one by one.
    offsets = ranking[tuple(at)].astype(jnp.int32)
    return jnp.round(row).astype(jnp.int32) + offsets[0], jnp.round(col).astype(jnp.int32) + offsets[1]


def _along_rays(cusp: Any, dtype: Any) -> tuple[Any, Any]:
    """Return nodes and weights of the integral of ``B(t x) t`` over t from 0 to 1, shape (RAY_POINTS,).

    Where the brightness diverges as a power law, the nodes are equally spaced in the logarithm of t, down to the
    innermost, and what is left towards the centre is known.
    """
    if cusp is None:
        t, weight = quadrature.graded(quadrature.RAY_POINTS, quadrature.RAY_GRADING)
        return t.astype(dtype), (t * weight).astype(dtype)
    share, weight = quadrature.unit_legendre(quadrature.RAY_POINTS - 1)
    span = np.log(quadrature.INNERMOST)
    t = np.append(np.exp(span * share), quadrature.INNERMOST).astype(dtype)
    return t, t**2 * jnp.append(jnp.asarray(-span * weight, dtype), 1 / (2 - cusp))


def _over_pixels(values: Any, rungs: tuple[quadrature.QuadratureTier, ...], along_rays: Any, side_weight: Any) -> Any:
    """Add up the values at all nodes to the mean over each ranked pixel."""
    means, at = [], 0
    for rung in rungs:
        own = values[at : at + rung.nodes].reshape(len(rung.weight), -1)
        means.append(jnp.matmul(rung.weight.astype(values.dtype), own, precision=EXACT))
        at += rung.nodes
    if side_weight is not None:
        rays = values[at:].reshape(quadrature.RAY_POINTS, -1)
        along = side_weight * jnp.matmul(along_rays[1], rays, precision=EXACT)
        along, lowest, highest = (part.reshape(quadrature.RAY_PIXELS, -1) for part in (along, rays.min(0), rays.max(0)))
        # Of a source far thinner than a pixel the terms cancel; a mean lies between the lowest and the highest value.
        means.insert(0, jnp.clip(along.sum(1), lowest.min(1), highest.max(1)))
    return jnp.concatenate(means)


def _rung_nodes(
    rungs: tuple[quadrature.QuadratureTier, ...], rows: Any, cols: Any, place: SourceGeometry, arrays: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the offsets (dx, dy) of the points of all rungs, in each point after point and pixel after pixel."""
    # The pixels' own coordinates, so that any distortion of the field is in them.
    x, y = coordinates_at(arrays, rows + BORDER, cols + BORDER)
    dx, dy = x - place.x, y - place.y

    def spread() -> tuple[Any, Any]:
        found: tuple[list[Any], list[Any]] = ([], [])
        for rung in rungs:
            row, col = rung.row.astype(dx.dtype), rung.col.astype(dx.dtype)
            for k, start in enumerate((dx, dy)):
                offset = place.cell[k, 0] * row + place.cell[k, 1] * col
                found[k].append((offset[:, None] + start[rung.first : rung.last]).ravel())
        return jnp.concatenate(found[0]), jnp.concatenate(found[1])

    nowhere = jnp.full(sum(rung.nodes for rung in rungs), jnp.nan, dx.dtype)
    return bordered(place.x + place.y, spread, (nowhere, nowhere))


def _ray_nodes(row: Any, col: Any, form: Any, cell: Any, along_rays: Any) -> tuple[Any, Any, Any]:
    """Return the points on rays through the sides of the nearest pixels: offsets (dx, dy), and weights of the rays.

    Parameters
    ----------
    row, col : array
        The pixels' centres, seen from the source's.
    form : tuple of scalar
        From `_isophote`.
    cell : array, shape (2, 2)
        See `SourceGeometry`.
    along_rays : tuple of array
        From `_along_rays`.

    Returns
    -------
    dx, dy : array, shape (ray points, pixels * side points)
        Degrees east and north of the source's centre.
    weight : array, shape (pixels * side points,)
        Of the integral along each ray, in the mean over its pixel.
    """
    a, b, c = form
    dtype = row.dtype
    t, w = (part.astype(dtype) for part in quadrature.graded(quadrature.EDGE_POINTS, quadrature.EDGE_GRADING))
    ray = along_rays[0]
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

    def spread() -> tuple[Any, Any]:
        dx, dy = (cell[k, 0] * rows + cell[k, 1] * cols for k in (0, 1))
        return dx * ray[:, None], dy * ray[:, None]

    nowhere = jnp.full((len(ray), len(rows)), jnp.nan, dtype)
    return *bordered(rows[0], spread, (nowhere, nowhere)), weight.ravel()
