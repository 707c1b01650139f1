"""Band-limited light of a source, for a convolution with a PSF.

Values at the pixels' centres, or means over pixels, have that transform only where the light is smooth on the scale of
a pixel; all that is finer would come back as aliases, which move and widen a compact source. Here the fine structure
near the centre is sampled more densely, and filtered before it is brought to the pixels; see
`socca.likelihood.lowpass`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from socca.likelihood import lowpass
from socca.likelihood.grid import BORDER, coordinates, grid_size
from socca.likelihood.lowpass import Scheme, Window
from socca.likelihood.pixel_integration import SourceGeometry, aligned_with_isophotes, bordered
from socca.likelihood.thin_sources import along_ridge, ridge
from socca.likelihood.windows import Axes, beyond_if_negative, falloff, nearest, product, square
from socca.parameters.parameterised import Spec

#: The least axis ratio that the nodes on rays are fitted to.
_THINNEST = 0.02


class Sampled(NamedTuple):
    """Light for a PSF.

    Attributes
    ----------
    light : array, shape (n, m)
        Brightness at the pixels' centres, without what is finer than the PSF's pixels can tell.
    lowest : array, shape ()
        The lowest brightness on the image itself.
    """

    light: Any
    lowest: Any


def band_limited(
    spec: Spec,
    values: dict[str, Any],
    place: SourceGeometry,
    arrays: dict[str, Any],
    on_image: Any,
    oversample: int = 1,
) -> Sampled:
    """Sample an extended source for a convolution with a PSF.

    Parameters
    ----------
    spec : Spec
        The component.
    values : dict
        Its parameters.
    place : SourceGeometry
        Its centre.
    arrays : dict
        ``x, y`` of `socca.likelihood.grid.grid_arrays`, on the PSF's pixels.
    on_image : tuple of array, shapes (n,) and (m,)
        Which rows and columns are the image's own.
    oversample : int
        How many of the PSF's pixels make one of the image, on each axis: the PSF is then as many times wider on them.

    Returns
    -------
    Sampled
        On the grid without its border.
    """
    place, form = aligned_with_isophotes(spec, values, place)
    brightness = functools.partial(spec.kind.brightness, values=values, spec=spec)
    middle = tuple(nearest(at) for at in (place.row, place.col))
    # The centre as seen from the middle of the pixel that holds it.
    share = tuple(at - k for at, k in zip((place.row, place.col), middle, strict=True))
    axes = _axes(form)

    def around(scheme: Scheme) -> Any:
        return functools.partial(_around_center, scheme, spec, brightness, place, share, axes)

    if spec.kind.smooth(spec):
        light, seen = _at_centers(brightness, place, arrays)

        # Computed anew for derivatives: kept, its cells would cost round sources as much as thin ones.
        @jax.checkpoint
        def along(place: SourceGeometry, light: Any) -> Any:
            strips = ridge(brightness, place, arrays, axes, light.shape)
            return strips - light * along_ridge(place, axes, light.shape)

        slim = axes.ratio < lowpass.THIN
        patch, lowest = jax.lax.cond(slim, around(lowpass.SLIM), around(lowpass.ROUND))
        light = light + jax.lax.cond(slim, along, lambda place, light: jnp.zeros_like(light), place, light)
    else:
        light, seen = _of_sharp_edges(brightness, place, arrays, oversample)
        patch, lowest = around(lowpass.SHARP)()

    n, m = light.shape
    rows, cols = (k + np.arange(-_REACH, _REACH + 1) for k in middle)
    rows, cols = beyond_if_negative(rows, n), beyond_if_negative(cols, m)
    light = light.at[rows[:, None], cols].add(patch, mode="drop")
    within = [
        inside.at[beyond_if_negative(k, length)].get(mode="fill", fill_value=False)
        for inside, k, length in zip(map(jnp.asarray, on_image), middle, (n, m), strict=True)
    ]
    seen = jnp.where(on_image[0][:, None] & on_image[1], seen, jnp.inf)
    return Sampled(light, jnp.minimum(jnp.min(seen), jnp.where(within[0] & within[1], lowest, jnp.inf)))


def _at_centers(brightness: Any, place: SourceGeometry, arrays: dict[str, Any]) -> tuple[Any, Any]:
    """Return the light outside the widest window, at the pixels' centres, and the brightness there."""
    n, m = (length - 2 * BORDER for length in grid_size(arrays))
    inner = slice(BORDER, -BORDER)

    def at_centers() -> Any:
        x, y = (part[inner, inner] for part in coordinates(arrays))
        return brightness(x - place.x, y - place.y, cell=place.cell)

    centers = bordered(place.x + place.y, at_centers, jnp.full((n, m), jnp.nan, arrays["x"][0].dtype))
    near = [falloff(lowpass.OUTER, np.arange(length) - at) for length, at in ((n, place.row), (m, place.col))]
    return centers * (1 - near[0][:, None] * near[1]), centers


def _of_sharp_edges(brightness: Any, place: SourceGeometry, arrays: dict[str, Any], oversample: int) -> tuple[Any, Any]:
    """Return the light outside the widest window of a source with a sharp edge, and its brightness.

    An edge may run anywhere, so that every pixel is divided into cells. Of their means, the low frequencies are kept.
    """
    n, m = (length - 2 * BORDER for length in grid_size(arrays))
    k = -(-lowpass.SHARP_CELLS // oversample)
    inner = slice(BORDER, -BORDER)
    within = ((np.arange(k) + 0.5) / k - 0.5).astype(place.x.dtype)

    def in_cells() -> Any:
        offsets = []
        for axis, (center, start) in enumerate(zip(coordinates(arrays), (place.x, place.y), strict=True)):
            inside = place.cell[axis, 0] * within[:, None, None] + place.cell[axis, 1] * within
            offsets.append(((center[inner, inner] - start)[:, None, :, None] + inside).reshape(n * k, m * k))
        return brightness(*offsets, cell=place.cell / k)

    cells = bordered(place.x + place.y, in_cells, jnp.full((n * k, m * k), jnp.nan, arrays["x"][0].dtype))
    window = lowpass.SHARP.patches[0].window
    positions = [(np.arange(length)[:, None] + within).ravel().astype(within.dtype) for length in (n, m)]
    near = [falloff(window, at - center) for at, center in zip(positions, (place.row, place.col), strict=True)]
    transform = jnp.fft.rfft2(cells * (1 - near[0][:, None] * near[1]))
    kept = jnp.concatenate([transform[: (n + 1) // 2], transform[n * k - n // 2 :]])[:, : m // 2 + 1]
    light = jnp.fft.irfft2(kept * lowpass.from_cells(n, m, k).astype(kept.dtype), s=(n, m))
    return light, cells[k // 2 :: k, k // 2 :: k]


#: Pixels on each side of the middle one that the widest patch is spread over.
_REACH = lowpass.SLIM.patches[0].reach + lowpass.TAPS // 2


def _axes(form: tuple[Any, Any, Any]) -> Axes:
    """Return the axes from the coefficients of `socca.likelihood.pixel_integration.aligned_with_isophotes`.

    They only say where samples lie, so that no derivative is taken of them.
    """
    a, b, c = jax.lax.stop_gradient(form)
    mean, spread = (a + c) / 2, jnp.sqrt(((a - c) / 2) ** 2 + b**2)
    turn = 0.5 * jnp.arctan2(-2 * b, c - a)
    return Axes(jnp.cos(turn), jnp.sin(turn), jnp.sqrt(jnp.maximum(a * c - b**2, 0.0)) / (mean + spread))


class _Core(NamedTuple):
    """The nodes on rays from the centre.

    Attributes
    ----------
    radius : array, shape (radii, 1)
        Along each ray, in units of its `row` and `col`.
    row, col : array, shape (angles,)
        Directions of the rays, pixels; their lengths differ by up to half a step.
    area : array, shape (angles,)
        What a node stands for, over the square of its radius.
    stretch : scalar
        How much longer the window is along the major axis than along the minor one.
    """

    radius: Any
    row: Any
    col: Any
    area: Any
    stretch: Any


def _core(scheme: Scheme, axes: Axes, dtype: Any) -> _Core:
    """Place the nodes on rays, as equally spaced angles of an ellipse.

    It is as thin as the geometric mean of the isophotes and the window, so that both vary slowly from ray to ray.
    """
    ratio = jnp.maximum(axes.ratio, _THINNEST)
    limit = scheme.longest / scheme.core.edge
    stretch = jnp.clip(0.5 / ratio, 1.0, limit) if scheme.turned else jnp.ones_like(ratio)
    # The minor axis of the ellipse, whose major one is one.
    minor = jnp.sqrt(ratio / stretch)
    angle = 2 * np.pi * (np.arange(lowpass.ANGLES) + 0.5) / lowpass.ANGLES
    cos, sin = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype) * minor
    # The window ends before the rays do, along the minor axis too.
    outermost = lowpass.OUTERMOST * scheme.core.edge / minor
    radius = outermost * np.exp(-scheme.step * np.arange(scheme.radii)).astype(dtype)[:, None]
    row, col = cos * axes.cos - sin * axes.sin, cos * axes.sin + sin * axes.cos
    area = minor * (scheme.step * 2 * np.pi / lowpass.ANGLES)
    # Each ray has radii of its own: of a kink that all rays meet at one radius, the errors cancel.
    shift = np.exp(scheme.step * lowpass.phases()).astype(dtype)
    return _Core(radius, row * shift, col * shift, area * shift**2, stretch)


def _around_center(
    scheme: Scheme, spec: Spec, brightness: Any, place: SourceGeometry, share: tuple[Any, Any], axes: Axes
) -> tuple[Any, Any]:
    """Bring the light around a source's centre to the pixels around the middle one.

    Parameters
    ----------
    scheme : Scheme
        The grids.
    spec : Spec
        The component.
    brightness : callable
        Its brightness.
    place : SourceGeometry
        Its centre.
    share : tuple of scalar
        Row and column of the centre, from the middle pixel's.
    axes : Axes
        Of the isophotes.

    Returns
    -------
    patch : array, shape (2 _REACH + 1, 2 _REACH + 1)
        The light.
    lowest : array, shape ()
        The lowest brightness, but for the outermost patch.
    """
    dtype, cell = place.x.dtype, place.cell
    core = _core(scheme, axes, dtype)
    offsets = [[patch.offsets.astype(dtype) - at for at in share] for patch in scheme.patches]

    def nodes() -> tuple[Any, Any]:
        pairs = [jnp.meshgrid(row, col, indexing="ij") for row, col in offsets]
        pairs.append([core.radius * core.row, core.radius * core.col])
        row, col = (jnp.concatenate([part.ravel() for part in parts]) for parts in zip(*pairs, strict=True))
        return cell[0, 0] * row + cell[0, 1] * col, cell[1, 0] * row + cell[1, 1] * col

    nowhere = jnp.full(scheme.nodes, jnp.nan, dtype)
    dx, dy = bordered(place.x + place.y, nodes, (nowhere, nowhere))
    smooth = spec.kind.smooth(spec)
    sides = cell if smooth else _sides(scheme, core, cell)
    found = bordered(place.x + place.y, lambda: brightness(dx, dy, cell=sides), nowhere)

    total = jnp.zeros((2 * _REACH + 1, 2 * _REACH + 1), dtype)
    start = 0
    inner = [*(patch.window for patch in scheme.patches[1:]), scheme.core]
    for patch, (row, col), window in zip(scheme.patches, offsets, inner, strict=True):
        own = found[start : start + patch.size**2].reshape(patch.size, patch.size)
        start += patch.size**2
        if window is scheme.core and scheme.turned:
            finer = _turned(window, core.stretch, *axes.along(row[:, None], col))
        else:
            finer = square(window, row[:, None], col)
        weights = lowpass.onto_pixels(patch, not smooth).astype(dtype)
        light = own * (square(patch.window, row[:, None], col) * (1 - finer))
        total = _added_in_the_middle(total, product(product(weights, light), weights.T))
    rays = found[start:].reshape(scheme.radii, lowpass.ANGLES)
    total = _added_in_the_middle(total, _core_onto_pixels(scheme, core, axes, share, rays).astype(dtype))
    return total, jnp.min(found[scheme.patches[0].size ** 2 :])


def _turned(window: Window, stretch: Any, major: Any, minor: Any) -> Any:
    """Return a window as a product over the axes of the isophotes."""
    return square(window, major / stretch, minor)


def _core_onto_pixels(scheme: Scheme, core: _Core, axes: Axes, share: tuple[Any, Any], rays: Any) -> Any:
    """Bring the light on the rays to the pixels, shape (2 REACH + 1, 2 REACH + 1), in double precision.

    The sum over the radii is the trapezoidal rule in their logarithm, which goes on towards the centre as a geometric
    series. Moments, monomials in row and column, then stand for the light.
    """
    light = rays.astype(float)
    # Light over the step before, of all rays together: a power law near the centre, or a constant.
    last, before = jnp.sum(light[-1]), jnp.sum(light[-2])
    fall = np.exp(-2 * scheme.step) * jnp.where(before != 0, last / jnp.where(before != 0, before, 1.0), 1.0)
    light = light.at[-1].multiply(1 / (1 - jnp.clip(fall, 0.0, 1 - 1e-6)))
    # Further in, the windows are one.
    outer = round(_WINDOWED / scheme.step)
    row, col = core.radius[:outer] * core.row, core.radius[:outer] * core.col
    if scheme.turned:
        window = _turned(scheme.core, core.stretch, *axes.along(row, col))
        window = window * square(scheme.patches[-1].window, row, col)
    else:
        window = square(scheme.core, row, col)
    light = light.at[:outer].multiply(window.astype(float))

    order = np.arange(lowpass.DEGREE + 1)
    radius = core.radius.astype(float)

    def parts() -> tuple[Any, Any, Any]:
        # The sum over each ray with all powers of the radius, and all powers of the rays' directions.
        decay = np.exp(-scheme.step * order[:, None] * np.arange(scheme.radii))
        powers = _powers(radius[0] * (1 / lowpass.SPAN)) * decay
        rows, cols = (_powers(part.astype(float)) for part in (core.row, core.col))
        return product(powers, light * (radius**2 * core.area)), rows, cols

    # Bordered, or else the powers would be computed anew for each moment.
    nowhere = jnp.full((lowpass.DEGREE + 1, lowpass.ANGLES), jnp.nan)
    along, rows, cols = bordered(share[0] + share[1], parts, (nowhere, nowhere, nowhere))
    # Of row and column to any powers up to this sum.
    moments = jnp.stack(
        [jnp.pad((along[k:] * cols[: len(order) - k] * rows[k]).sum(-1), (0, k)) for k in range(len(order))]
    )
    spread = [product(lowpass.moments_onto_pixels(), _shifted(at.astype(float))) for at in share]
    return product(product(spread[0], moments), spread[1].T)


#: Logarithm of the outermost radius over that within which the windows of the core are one to 3e-5.
_WINDOWED = 4.5


def _shifted(shift: Any) -> Any:
    """Return the matrix from moments about a point to those about another, a shift before it (the binomial theorem)."""
    order = np.arange(lowpass.DEGREE + 1)
    apart = order[:, None] - order
    powers = _powers(shift[None] * (1 / lowpass.SPAN))[:, 0]
    return lowpass.binomials() * powers[np.maximum(apart, 0)]


def _powers(x: Any) -> Any:
    """Return ``x**k`` for k from 0 to `socca.likelihood.lowpass.DEGREE`, shape (DEGREE + 1, len(x)), by doubling."""
    found, next_power = jnp.ones((1, len(x)), x.dtype), x
    while len(found) <= lowpass.DEGREE:
        found, next_power = jnp.concatenate([found, found * next_power]), next_power * next_power
    return found[: lowpass.DEGREE + 1]


def _sides(scheme: Scheme, core: _Core, cell: Any) -> Any:
    """Return the sides of the cells that nodes stand for, shape (2, 2, nodes): degrees, as columns."""
    parts = [jnp.broadcast_to(cell[:, :, None] / patch.cells, (2, 2, patch.size**2)) for patch in scheme.patches]
    outwards = [(scheme.step * core.radius * part).ravel() for part in (core.row, core.col)]
    # Across a ray, a node stands for no width: the sum over the angles converges by itself.
    polar = [[cell[k, 0] * outwards[0] + cell[k, 1] * outwards[1], jnp.zeros_like(outwards[0])] for k in (0, 1)]
    return jnp.concatenate([*parts, jnp.array(polar)], axis=-1)


def _added_in_the_middle(total: Any, part: Any) -> Any:
    """Add a smaller square array to the middle of a larger one."""
    return total + jnp.pad(part, (len(total) - len(part)) // 2)
