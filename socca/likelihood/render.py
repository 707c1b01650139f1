"""Model image from parameters: one pure function, differentiable, of static shapes.

Without a PSF, extended sources are integrated over pixels by `socca.likelihood.pixel_integration`. For a PSF,
`socca.likelihood.band_limited` samples their light so that its Fourier transform is right as far as the PSF sees it;
point sources are added to that transform as phases. The PSF's transform holds the pixel: a star's image does, and
otherwise the pixel is multiplied in.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.data.frames import is_behind, project
from socca.likelihood.band_limited import band_limited
from socca.likelihood.grid import BORDER, GridShape, coordinates, coordinates_at, grid_arrays, grid_size
from socca.likelihood.lowpass import shift_phase
from socca.likelihood.pixel_integration import SourceGeometry, integrated
from socca.models.rendered import Rendered
from socca.parameters.parameterised import Spec
from socca.utils.tags import tagged


@tagged("spec/SceneSpec")
@dataclass(frozen=True)
class SceneSpec:
    """Static part of an image and of what is drawn on it.

    Parameters
    ----------
    components : tuple of Spec
        What is drawn.
    grid : GridShape
        Sizes.
    on_sky : bool
        Whether positions are RA and Dec.
    needs_sky : bool
        Whether the noise model needs the unconvolved image.
    """

    components: tuple[Spec, ...]
    grid: GridShape
    on_sky: bool
    needs_sky: bool = False


def psf_transform(psf: np.ndarray, grid: GridShape) -> np.ndarray:
    """Return what a PSF does to the Fourier transform of the light; its reference point is the centre of its array.

    Parameters
    ----------
    psf : ndarray
        The PSF.
    grid : GridShape
        Sizes.

    Returns
    -------
    ndarray, complex, shape (full[0], full[1] // 2 + 1)
        To be multiplied with the transform of the light, the pixel included. Of an oversampled PSF that holds the
        pixel, the image is wanted at the centres of the image's pixels: they are shifted to the first of the PSF's
        pixels in each.
    """
    first = (grid.oversample - 1) / 2 if grid.sampled else 0.0
    found = np.fft.rfft2(psf, s=grid.full)
    for axis, (n, real) in enumerate(zip(grid.full, (False, True), strict=True)):
        factor = shift_phase(n, np.float64(-(psf.shape[axis] - 1) / 2 - first), real, np)
        if not grid.sampled:
            factor = factor * np.sinc(np.fft.rfftfreq(n) if real else np.fft.fftfreq(n))
        found = found * (factor if real else factor[:, None])
    return found


def locate(arrays: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Find the pixel of a field-plane position.

    Parameters
    ----------
    arrays : dict
        ``x, y, inverse`` of `socca.likelihood.grid.grid_arrays`.
    x, y : scalar
        The position, degrees.

    Returns
    -------
    row, col : scalar
        Indices in the full frame, not necessarily whole nor inside; differentiable.
    jacobian : array, shape (2, 2)
        Derivative of (x, y) with respect to (row, column) there.
    """
    n, m = grid_size(arrays)
    at = jnp.array([n // 2, m // 2])
    # The WCS is smooth: from the nearest pixel of the last guess, one linear step reaches the next.
    for _ in range(3):
        here = coordinates_at(arrays, at[0], at[1])
        offset = jax.lax.stop_gradient(jnp.array([x - here[0], y - here[1]]))
        guess = at + (arrays["inverse"] * offset).sum(1)
        guess = jnp.where(jnp.isfinite(guess), guess, 0.0)
        at = jnp.clip(jnp.round(guess), 1, jnp.array([n - 2, m - 2])).astype(int)
    i, j = at[0], at[1]
    near = coordinates_at(arrays, i + np.array([0, 1, -1, 0, 0]), j + np.array([0, 0, 0, 1, -1]))
    jacobian = jnp.array([[(v[1] - v[2]) / 2, (v[3] - v[4]) / 2] for v in near])
    dx, dy = x - near[0][0], y - near[1][0]
    det = jacobian[0, 0] * jacobian[1, 1] - jacobian[0, 1] * jacobian[1, 0]
    row = i + (jacobian[1, 1] * dx - jacobian[0, 1] * dy) / det
    col = j + (jacobian[0, 0] * dy - jacobian[1, 0] * dx) / det
    return row - BORDER, col - BORDER, jacobian


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
    """Return the Fourier transform of a point source at a position in the PSF's pixels."""
    n, m = scene.grid.full
    reach = [(s + 2 * p) * scene.grid.oversample for s, p in zip(scene.grid.image, scene.grid.pad, strict=True)]
    # False of NaN, so that a position that is no number reaches the image and rules the model out.
    outside = (row < -0.5) | (row > reach[0] - 0.5) | (col < -0.5) | (col > reach[1] - 0.5)
    rows = shift_phase(n, jnp.where(outside, 0.0, row), False, jnp)
    cols = shift_phase(m, jnp.where(outside, 0.0, col), True, jnp)
    return jnp.where(outside, 0.0, flux) * rows[:, None] * cols[None, :]


def _binned(image: Any, factor: int) -> Any:
    """Return the mean over blocks of ``factor x factor`` pixels."""
    if factor == 1:
        return image
    n, m = image.shape
    return image.reshape(n // factor, factor, m // factor, factor).mean((1, 3))


def _interpolated(image: Any, row: Any, col: Any) -> Any:
    """Return an image's value at a position, linear between pixels; beyond the frame, that of its edge."""
    value = 0.0
    at = [jnp.clip(x, 0, n - 1) for x, n in zip((row, col), image.shape, strict=True)]
    low = [jnp.clip(jnp.floor(x), 0, max(n - 2, 0)).astype(int) for x, n in zip(at, image.shape, strict=True)]
    for di in (0, 1):
        for dj in (0, 1):
            weight = (1 - jnp.abs(at[0] - low[0] - di)) * (1 - jnp.abs(at[1] - low[1] - dj))
            value = value + weight * image[low[0] + di, low[1] + dj]
    return value


def render(
    scene: SceneSpec,
    arrays: dict[str, Any],
    values: dict[str, Any],
    keep: Any = None,
    response: bool = True,
    exposure: bool = True,
    raw: bool = True,
    only: tuple[int, ...] | None = None,
) -> Rendered:
    """Draw a model.

    Parameters
    ----------
    scene : SceneSpec
        What is static.
    arrays : dict
        From `scene_arrays`. Their precision is that of all that is computed per pixel.
    values : dict
        Full name of each parameter -> scalar, in double precision.
    keep : array, shape (number of components,), optional
        1 for each component that is drawn, 0 for the others: any selection is drawn by the same program.
    response, exposure : bool
        Whether to multiply by them, where there are any.
    raw : bool
        Whether the unconvolved image is wanted where there is a PSF, and no noise model needs it.
    only : tuple of int, optional
        Numbers of the components that there are; the others cost nothing, and the program differs. By default all.

    Returns
    -------
    Rendered
        The image in its parts.
    """
    grid, dtype = scene.grid, arrays["x"][0].dtype
    raw = (raw and not scene.needs_sky) or not grid.convolved
    gain = arrays["response"] if response and "response" in arrays else None
    # Averaged over pixels, for the image as it is on the sky; and sampled for the PSF.
    pixels: list[Any] = []
    samples: list[Any] = []
    points = []
    background = jnp.zeros(grid.image, dtype)
    negative = jnp.asarray(False)

    for number, spec in enumerate(scene.components):
        if only is not None and number not in only:
            continue
        own = {name: values[f"comp_{number:02d}_{name}"] for name, _ in spec.fields}
        single = {name: value.astype(dtype) for name, value in own.items()}
        drawn = 1 if keep is None else keep[number].astype(dtype)
        if spec.kind.role == "background":
            part = drawn * spec.kind.surface(*_pixel_centers(grid, arrays), single, spec)
            background = background + part
            lowest = _lowest(part, _on_image(grid.image, (0, 0), arrays["size"], 1))
        else:
            # Positions are subtracted from one another in double precision.
            xc, yc = spec.kind.center(own)
            if scene.on_sky:
                # What is behind the observer is dark. Until then, it is anywhere that has a number.
                behind = is_behind(xc, yc, arrays["reference"], jnp)
                xc, yc = (jnp.where(behind, at, x) for at, x in zip(arrays["reference"], (xc, yc), strict=True))
                drawn = drawn * jnp.where(behind, 0, 1).astype(dtype)
            x0, y0 = project(xc, yc, scene.on_sky, arrays["reference"], jnp)
            row, col, cell = locate(arrays, x0, y0)
            place = SourceGeometry(*(at.astype(dtype) for at in (x0, y0, row, col, cell)))
            if spec.kind.role == "point":
                lowest = part = drawn * single["Ic"]
                points.append((place, part if gain is None else part * _interpolated(gain, row, col)))
            else:
                on_image = _on_image(grid.grid, grid.pad, arrays["size"], grid.factor)
                if raw:
                    part = drawn * integrated(spec, single, place, arrays)
                    pixels.append(part)
                    lowest = _lowest(part, on_image)
                if grid.convolved:
                    part, lowest = band_limited(spec, single, place, arrays, on_image, grid.oversample)
                    samples.append(drawn * part)
                    lowest = drawn * lowest
        if spec.positive:
            negative = negative | (lowest < 0)

    flux = 1.0 if not (exposure and "exposure" in arrays) else arrays["exposure"]
    on_sky = _total(pixels, gain, grid) if raw else None
    if not grid.convolved:
        on_sky = _binned(on_sky, grid.factor)
        for place, brightness in points:
            # From the grid's pixels to the image's.
            row, col = ((at + 0.5) / grid.factor - 0.5 for at in (place.row, place.col))
            on_sky = _shared_among_pixels(on_sky, row, col, brightness)
        return Rendered(on_sky, on_sky * flux, background * flux, negative)
    if raw:
        on_sky = _binned(_framed(on_sky, grid), grid.oversample)
    transform: Any = jnp.fft.rfft2(_total(samples, gain, grid)) if samples else 0.0
    for place, brightness in points:
        transform = transform + _point_transform(scene, place.row, place.col, brightness * grid.oversample**2)
    if not samples and not points:
        nothing = jnp.zeros(grid.image, dtype)
        return Rendered(nothing, nothing, background * flux, negative)
    if scene.needs_sky:
        on_sky = _binned(_framed(jnp.fft.irfft2(transform, s=grid.full), grid), grid.oversample)
    smoothed = _framed(jnp.fft.irfft2(transform * arrays["psf"], s=grid.full), grid)
    k = grid.oversample
    smoothed = smoothed[::k, ::k] if grid.sampled else _binned(smoothed, k)
    return Rendered(on_sky, smoothed * flux, background * flux, negative)


def _total(parts: list[Any], gain: Any, grid: GridShape) -> Any:
    """Return the sum of some light on the grid, times the response."""
    total = functools.reduce(operator.add, parts) if parts else jnp.zeros(grid.grid)
    return total if gain is None else total * gain


def _framed(light: Any, grid: GridShape) -> Any:
    """Return the image's own part of the grid."""
    k = grid.factor
    return light[tuple(slice(p * k, (p + n) * k) for p, n in zip(grid.pad, grid.image, strict=True))]


def _on_image(shape: tuple[int, int], pad: tuple[int, int], size: Any, factor: int) -> tuple[Any, Any]:
    """Return which rows and columns of a grid belong to the image itself, without what enlarges it to a common size."""
    at = [(np.arange(n) // factor) - p for n, p in zip(shape, pad, strict=True)]
    rows, cols = ((k >= 0) & (k < n) for k, n in zip(at, (size[0], size[1]), strict=True))
    return rows, cols


def _lowest(part: Any, on_image: tuple[Any, Any]) -> Any:
    """Return the lowest value on the image itself."""
    return jnp.min(jnp.where(on_image[0][:, None] & on_image[1], part, jnp.inf))


def _pixel_centers(grid: GridShape, arrays: dict[str, Any]) -> tuple[Any, Any]:
    """Return the field-plane coordinates of the image's pixels."""
    f = grid.factor
    inner = tuple(slice(BORDER + p * f, BORDER + (p + n) * f) for p, n in zip(grid.pad, grid.image, strict=True))
    x, y = coordinates(arrays)
    return _binned(x[inner], f), _binned(y[inner], f)


def scene_arrays(image: Any, grid: GridShape) -> dict[str, Any]:
    """Compute the arrays of one image that `render` needs.

    Parameters
    ----------
    image : Image
        The image.
    grid : GridShape
        Its sizes.

    Returns
    -------
    dict
        Those of `socca.likelihood.grid.grid_arrays`; ``size``: rows and columns of the image itself, without what
        enlarges it to a common size; and, where the image has them: ``psf``, the `psf_transform`; ``response`` on the
        whole grid, beyond the image that of its edge; ``exposure``.
    """
    arrays = grid_arrays(image.frame, grid, image.shape)
    arrays["size"] = np.asarray(image.shape)
    if image.psf is not None:
        arrays["psf"] = psf_transform(image.psf, grid)
    if image.response is not None:
        at = [
            np.clip((np.arange(n) // grid.factor) - p, 0, m - 1)
            for n, p, m in zip(grid.grid, grid.pad, image.shape, strict=True)
        ]
        arrays["response"] = image.response[np.ix_(*at)]
    if image.exposure is not None:
        arrays["exposure"] = padded(image.exposure, grid.image)
    return arrays


def padded(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return an image enlarged to a shape by zeros after its last row and column."""
    return np.pad(plane, [(0, n - m) for n, m in zip(shape, plane.shape, strict=True)])
