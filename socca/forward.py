"""From parameters to an image: one pure function, differentiable, of static shapes.

A pixel holds the integral of the brightness over it. Extended sources are integrated in three steps, each replacing
the one before where it is more exact:

1. everywhere, the value at the pixel's centre plus 1/24 of its discrete Laplacian, which is right to fourth order in
   the size of a pixel;
2. in a patch around the source's centre, Gauss-Legendre quadrature;
3. in the 3 x 3 pixels around the centre, quadrature split at the centre and graded towards it, so that a cusp (or a
   source much smaller than a pixel) is integrated too.

Point sources are never drawn on pixels: their phases are added to the Fourier transform of the extended light.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from socca.grid import BORDER, GridShape, project
from socca.parametrised import Spec

#: Side of the patch of step 2, and its Gauss-Legendre points on each axis of a pixel.
PATCH, PATCH_POINTS = 20, 4
#: Points on each side of the centre, on each axis of a pixel, and the power that grades them, in step 3.
CORE_POINTS, CORE_GRADING = 8, 3


class Rendered(NamedTuple):
    """A model image in its parts.

    Attributes
    ----------
    raw : array, shape (ny, nx)
        Extended light as it is on the sky; point sources are not drawn in it where there is a PSF.
    smoothed : array, shape (ny, nx)
        All sources, convolved with the PSF.
    background : array, shape (ny, nx)
        Not convolved.
    negative : array, shape ()
        Whether a component that must be positive is not.
    """

    raw: Any
    smoothed: Any
    background: Any
    negative: Any

    @property
    def total(self) -> Any:
        """All that the data are compared with."""
        return self.smoothed + self.background


@dataclass(frozen=True)
class SceneSpec:
    """All that is static about an image and what is drawn on it.

    Parameters
    ----------
    components : tuple of Spec
        What is drawn.
    grid : GridShape
        Sizes.
    on_sky : bool
        Whether positions are RA and Dec.
    """

    components: tuple[Spec, ...]
    grid: GridShape
    on_sky: bool


def shift_phase(n: int, shift: Any, real: bool, xp: Any) -> Any:
    """Return the Fourier phases that move an image by `shift` pixels along an axis of length `n`.

    Parameters
    ----------
    n : int
        Length of the axis.
    shift : scalar
        Pixels, not necessarily whole.
    real : bool
        Whether this is the axis of a real transform (half of the frequencies).
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    array, complex
        One phase per frequency. At an even axis's highest frequency only the cosine is left, so that a real image
        stays real.
    """
    frequency = np.fft.rfftfreq(n) if real else np.fft.fftfreq(n)
    phase = xp.exp(-2j * xp.pi * frequency * shift)
    return xp.where(np.abs(frequency) == 0.5, phase.real, phase)


def psf_transform(psf: np.ndarray, grid: GridShape) -> np.ndarray:
    """Return the Fourier transform of a PSF whose reference point is the centre of its array.

    Parameters
    ----------
    psf : ndarray
        The PSF.
    grid : GridShape
        Sizes.

    Returns
    -------
    ndarray, complex, shape (full[0], full[1] // 2 + 1)
        To be multiplied with the transform of an image.
    """
    center = [-(n - 1) / 2 for n in psf.shape]
    rows = shift_phase(grid.full[0], center[0], False, np)
    cols = shift_phase(grid.full[1], center[1], True, np)
    return np.fft.rfft2(psf, s=grid.full) * rows[:, None] * cols[None, :]


def locate(arrays: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Find the pixel of a field-plane position.

    Parameters
    ----------
    arrays : dict
        ``x, y, inverse`` of `socca.grid.grid_arrays`.
    x, y : scalar
        The position, degrees.

    Returns
    -------
    row, col : scalar
        Indices in the full frame, not necessarily whole nor inside; differentiable.
    jacobian : array, shape (2, 2)
        Derivative of (x, y) with respect to (row, column) there.
    """
    gx, gy = arrays["x"], arrays["y"]
    n, m = gx.shape
    at = jnp.array([n // 2, m // 2])
    # The WCS is smooth: from the nearest pixel of the last guess, one linear step reaches the next.
    for _ in range(3):
        offset = jax.lax.stop_gradient(jnp.array([x - gx[at[0], at[1]], y - gy[at[0], at[1]]]))
        guess = at + (arrays["inverse"] * offset).sum(1)
        guess = jnp.where(jnp.isfinite(guess), guess, 0.0)
        at = jnp.clip(jnp.round(guess), 1, jnp.array([n - 2, m - 2])).astype(int)
    i, j = at[0], at[1]
    jacobian = jnp.array(
        [
            [(gx[i + 1, j] - gx[i - 1, j]) / 2, (gx[i, j + 1] - gx[i, j - 1]) / 2],
            [(gy[i + 1, j] - gy[i - 1, j]) / 2, (gy[i, j + 1] - gy[i, j - 1]) / 2],
        ]
    )
    dx, dy = x - gx[i, j], y - gy[i, j]
    det = jacobian[0, 0] * jacobian[1, 1] - jacobian[0, 1] * jacobian[1, 0]
    row = i + (jacobian[1, 1] * dx - jacobian[0, 1] * dy) / det
    col = j + (jacobian[0, 0] * dy - jacobian[1, 0] * dx) / det
    return row - BORDER, col - BORDER, jacobian


@functools.cache
def _unit_legendre(points: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1) / 2, weights / 2


def _graded_nodes(first: Any, split: Any) -> tuple[Any, Any]:
    """Return nodes and weights for each of three pixels in a row, split at `split` and graded towards it."""
    t, w = _unit_legendre(CORE_POINTS)
    grade, weight = t**CORE_GRADING, w * CORE_GRADING * t ** (CORE_GRADING - 1)
    low = first + np.arange(3) - 0.5
    split = jnp.clip(split, low, low + 1)[:, None]
    below, above = split - low[:, None], low[:, None] + 1 - split
    nodes = jnp.concatenate([split - below * grade, split + above * grade], axis=1)
    weights = jnp.concatenate([below * weight, above * weight], axis=1)
    return nodes, weights


def _extended(spec: Spec, scene: SceneSpec, arrays: dict[str, Any], values: dict[str, Any]) -> Any:
    """Integrate one extended source over every pixel of the full frame."""
    xc, yc = spec.kind.center(values)
    x0, y0 = project(xc, yc, scene.on_sky, arrays["reference"], jnp)
    row, col, jacobian = locate(arrays, x0, y0)
    n, m = scene.grid.full

    def offsets(rows: Any, cols: Any) -> tuple[Any, Any]:
        dr, dc = rows.reshape(-1, 1) - row, cols.reshape(1, -1) - col
        return jacobian[0, 0] * dr + jacobian[0, 1] * dc, jacobian[1, 0] * dr + jacobian[1, 1] * dc

    def start(size: int, length: int, at: Any) -> Any:
        return jnp.clip(jnp.round(at).astype(int) - size // 2, 0, length - size)

    height, width = min(PATCH, n), min(PATCH, m)
    patch = start(height, n, row), start(width, m, col)
    t, w = _unit_legendre(PATCH_POINTS)
    patch_rows = patch[0] + np.arange(height)[:, None] + t - 0.5
    patch_cols = patch[1] + np.arange(width)[:, None] + t - 0.5

    core = start(3, n, row), start(3, m, col)
    core_rows, row_weights = _graded_nodes(core[0], row)
    core_cols, col_weights = _graded_nodes(core[1], col)

    brightness = functools.partial(spec.kind.brightness, values=values, spec=spec, cell=jacobian)
    # A branch is a border that XLA does not fuse across. Without it, the profile would be computed anew, and not
    # vectorised, for each of the five terms of the stencil (ten times slower on a CPU); XLA drops mere barriers.
    centers = jax.lax.cond(
        jnp.isfinite(x0 + y0),
        lambda: brightness(arrays["x"] - x0, arrays["y"] - y0),
        lambda: jnp.full_like(arrays["x"], jnp.nan),
    )
    # Patch and core at once: the profile, and above all its derivatives, are then compiled twice and not three times.
    near = zip(offsets(patch_rows, patch_cols), offsets(core_rows, core_cols), strict=True)
    fine, finest = jnp.split(
        brightness(*[jnp.concatenate([outer.ravel(), inner.ravel()]) for outer, inner in near]),
        [patch_rows.size * patch_cols.size],
    )
    ring = centers[:-2, 1:-1] + centers[2:, 1:-1] + centers[1:-1, :-2] + centers[1:-1, 2:]
    image = centers[1:-1, 1:-1] * (1 - 4 / 24) + ring / 24
    fine = fine.reshape(height, PATCH_POINTS, width, PATCH_POINTS)
    image = jax.lax.dynamic_update_slice(image, (fine * (w[:, None, None] * w)).sum((1, 3)), patch)
    finest = finest.reshape(3, 2 * CORE_POINTS, 3, 2 * CORE_POINTS)
    finest = (finest * row_weights[:, :, None, None] * col_weights).sum((1, 3))
    return jax.lax.dynamic_update_slice(image, finest, core)


def _shared_among_pixels(image: Any, row: Any, col: Any, flux: Any) -> Any:
    """Add a point source to the four pixels around it, keeping its centroid; nothing beyond the frame."""
    n, m = image.shape
    i, j = jnp.floor(row), jnp.floor(col)
    for di in (0, 1):
        for dj in (0, 1):
            weight = (1 - jnp.abs(row - i - di)) * (1 - jnp.abs(col - j - dj))
            outside = (i + di < 0) | (i + di >= n) | (j + dj < 0) | (j + dj >= m)  # False of NaN, which shall be seen
            at = (jnp.clip(i + di, 0, n - 1).astype(int), jnp.clip(j + dj, 0, m - 1).astype(int))
            image = image.at[at].add(jnp.where(outside, 0.0, flux * weight))
    return image


def _point_transform(scene: SceneSpec, row: Any, col: Any, flux: Any) -> Any:
    n, m = scene.grid.full
    reach = [s + 2 * p for s, p in zip(scene.grid.image, scene.grid.pad, strict=True)]
    # False of NaN, a position that is not on the plane, so that it reaches the image and rules the model out.
    outside = (row < -0.5) | (row > reach[0] - 0.5) | (col < -0.5) | (col > reach[1] - 0.5)
    rows = shift_phase(n, jnp.where(outside, 0.0, row), False, jnp)
    cols = shift_phase(m, jnp.where(outside, 0.0, col), True, jnp)
    return jnp.where(outside, 0.0, flux) * rows[:, None] * cols[None, :]


def render(scene: SceneSpec, arrays: dict[str, Any], values: dict[str, Any], keep: Any = None) -> Rendered:
    """Draw a model.

    Parameters
    ----------
    scene : SceneSpec
        What is static.
    arrays : dict
        ``x, y, reference, inverse`` of `socca.grid.grid_arrays`; with a PSF also ``psf``, its `psf_transform`.
    values : dict
        Full name of each parameter -> scalar.
    keep : array, shape (number of components,), optional
        1 for each component that is drawn, 0 for the others: any selection is drawn by the same program.

    Returns
    -------
    Rendered
        The image in its parts.
    """
    grid = scene.grid
    (ny, nx), (py, px) = grid.image, grid.pad
    frame = (slice(py, py + ny), slice(px, px + nx))
    light = jnp.zeros(grid.full)
    background = jnp.zeros(grid.image)
    negative = jnp.asarray(False)
    points = []
    extended = False

    def drawn(number: int, part: Any) -> Any:
        return part if keep is None else keep[number] * part

    for k, spec in enumerate(scene.components):
        own = {name: values[f"comp_{k:02d}_{name}"] for name, _ in spec.fields}
        if spec.kind.role == "extended":
            part = drawn(k, _extended(spec, scene, arrays, own))
            light = light + part if extended else part
            extended = True
        elif spec.kind.role == "background":
            inner = (slice(py + BORDER, py + BORDER + ny), slice(px + BORDER, px + BORDER + nx))
            part = drawn(k, spec.kind.surface(arrays["x"][inner], arrays["y"][inner], own, spec))
            background = background + part
        else:
            x0, y0 = project(own["xc"], own["yc"], scene.on_sky, arrays["reference"], jnp)
            row, col, _ = locate(arrays, x0, y0)
            part = drawn(k, own["Ic"])
            points.append((row, col, part))
        if spec.positive:
            negative = negative | (jnp.min(part) < 0)

    raw = light[frame]
    if grid.psf is None:
        for row, col, flux in points:
            raw = _shared_among_pixels(raw, row, col, flux)
        return Rendered(raw, raw, background, negative)
    if not extended and not points:
        return Rendered(raw, raw, background, negative)
    transform: Any = jnp.fft.rfft2(light) if extended else 0.0
    for row, col, flux in points:
        transform = transform + _point_transform(scene, row, col, flux)
    smoothed = jnp.fft.irfft2(transform * arrays["psf"], s=grid.full)[frame]
    return Rendered(raw, smoothed, background, negative)


def scene_arrays(image: Any, grid: GridShape) -> dict[str, np.ndarray]:
    """Compute the arrays of one image that `render` needs.

    Parameters
    ----------
    image : Image
        The image.
    grid : GridShape
        Its sizes.

    Returns
    -------
    dict of ndarray
        See `render`.
    """
    from socca.grid import grid_arrays

    arrays = grid_arrays(image.frame, grid)
    if image.psf is not None:
        arrays["psf"] = psf_transform(image.psf, grid)
    return arrays
