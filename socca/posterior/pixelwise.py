"""Statistics of the model image in each pixel over the samples of a posterior, in bounded memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.errors import ConfigError, DataError
from socca.likelihood.compiled import ProblemSpec, draw, looped
from socca.likelihood.parameter_vector import all_values
from socca.likelihood.render import render

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem

#: Numbers that are held at a time: 128 MiB of doubles. More pixels than that are drawn several times over.
_HELD = 2**24
#: Parts of an image; what the data are expected to be comes last.
_PARTS = ("raw", "smoothed", "background", "total", "expected")
#: Numbers that one compiled call returns.
_RETURNED = 2**20


def in_blocks(program: Any, arrays: Any, rows: np.ndarray, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Compute a plane for each of many rows, and give it pixel by pixel.

    Parameters
    ----------
    program : callable
        From `socca.likelihood.compiled.looped`: of the arrays, rows and how many of them count, to shape (rows, size).
    arrays : dict
        Its first argument.
    rows : ndarray, shape (n, ndim)
        Parameters.
    size : int
        Numbers in a plane.

    Yields
    ------
    pixels : slice
        Which numbers of the plane.
    values : ndarray, shape (n, numbers)
        Those of all rows.
    """
    width = min(size, max(1, _HELD // len(rows)))
    for start in range(0, size, width):
        pixels = slice(start, min(start + width, size))
        yield pixels, np.concatenate([np.array(planes[:, pixels]) for planes in in_chunks(program, arrays, rows, size)])


def in_chunks(program: Any, arrays: Any, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Compute a plane for each of many rows, a few at a time; see `in_blocks`.

    Yields
    ------
    ndarray, shape (few, size)
        The planes of the next rows.
    """
    few = int(np.clip(_RETURNED // size, 1, 64))
    with jax.enable_x64(True):
        for start in range(0, len(rows), few):
            chunk = rows[start : start + few]
            filled = np.concatenate([chunk, np.zeros((few - len(chunk), rows.shape[1]))])
            yield np.asarray(program(arrays, filled, len(chunk)))[: len(chunk)]


def median_and_std(
    problem: Problem,
    rows: np.ndarray,
    parts: tuple[str, ...],
    only: tuple[int, ...] | None = None,
    response: bool = True,
    exposure: bool = True,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return median and standard deviation of the model images of many samples, pixel by pixel.

    Parameters
    ----------
    problem : Problem
        Draws the model.
    rows : ndarray, shape (n, ndim)
        Samples of equal weight, at least two.
    parts : tuple of str
        Of `socca.models.rendered.Rendered`, or ``expected``: what the data are expected to be, see
        `NoiseModel.expected`.
    only : tuple of int, optional
        Numbers of the components that are drawn; by default all.
    response, exposure : bool
        Whether to multiply by them, where the image has them.

    Returns
    -------
    median, std : list of ndarray, shape (ny, nx)
        One image for each part.
    """
    if len(rows) < 2:
        raise ConfigError(f"n_draws must be at least 2, got {len(rows)}")
    median, std = [], []
    for part in parts:
        found = np.empty((2, math.prod(problem.spec.scene.grid.image)))
        arrays, program = drawing(problem, part, only, response, exposure)
        for pixels, planes in in_blocks(program, arrays, rows, found.shape[1]):
            found[0, pixels], found[1, pixels] = np.median(planes, axis=0), np.std(planes, axis=0, ddof=1)
        median.append(cropped(problem, found[:1])[0])
        std.append(cropped(problem, found[1:])[0])
    return median, std


def cropped(problem: Problem, planes: np.ndarray) -> np.ndarray:
    """Return flat planes, shape (n, size), as images of the problem's own shape, (n, ny, nx)."""
    ny, nx = problem.shape
    return planes.reshape(len(planes), *problem.spec.scene.grid.image)[:, :ny, :nx]


def drawing(
    problem: Problem, part: str, only: tuple[int, ...] | None = None, response: bool = True, exposure: bool = True
) -> tuple[Any, Any]:
    """Return what `in_blocks` and `in_chunks` need to draw a model.

    Parameters
    ----------
    problem, only, response, exposure
        See `median_and_std`.
    part : str
        One of its parts.

    Returns
    -------
    arrays, program
        Their first arguments. All components, and all parts but the unconvolved image, are drawn by one program.
    """
    scene = problem.arrays["scene"]
    program = _planes_program(
        problem.spec, response and "response" in scene, exposure and "exposure" in scene, part == "raw"
    )
    return (problem.on_device, problem.selected(only), _PARTS.index(part)), program


@functools.lru_cache(maxsize=256)
def _planes_program(spec: ProblemSpec, response: bool, exposure: bool, raw: bool) -> Any:
    def plane(arrays: tuple[dict[str, Any], Any, Any], theta: Any) -> Any:
        own, keep, part = arrays
        values = all_values(spec.model, own["model"], theta)
        drawn = render(spec.scene, own["scene"], values, keep, response, exposure, raw)
        noise = {name: values[f"noise_{name}"] for name, _ in spec.noise.fields}
        parts = {name: getattr(drawn, name) for name in _PARTS[:-1]}
        if parts["raw"] is None:
            parts["raw"] = jnp.zeros_like(drawn.smoothed)
        parts["expected"] = spec.noise.kind.expected(drawn, noise)
        return jnp.stack([parts[name].astype(theta.dtype) for name in _PARTS])[part].ravel()

    return looped(plane)


def log_likelihoods(problem: Problem, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Compute the log-likelihood of every used pixel by itself, block of pixels after block.

    Parameters
    ----------
    problem : Problem
        Its noise must be independent from pixel to pixel.
    rows : ndarray, shape (n, ndim)
        Samples.

    Yields
    ------
    ndarray, shape (n, pixels)
        All blocks together have all used pixels, in the order of the image.

    Raises
    ------
    DataError
        If the noise correlates pixels.
    """
    spec = problem.spec
    if not spec.noise.kind.independent:
        raise DataError(
            f"{spec.noise.kind.name}: the likelihood is no product over pixels, which WAIC and LOO need; "
            "normal, studentt and poisson noise is independent from pixel to pixel"
        )
    used = np.ravel(problem.arrays["noise"].used > 0)
    for pixels, values in in_blocks(_pointwise_program(spec), problem.on_device, rows, used.size):
        yield values[:, used[pixels]]


@functools.lru_cache(maxsize=256)
def _pointwise_program(spec: ProblemSpec) -> Any:
    def pointwise(arrays: dict[str, Any], theta: Any) -> Any:
        drawn, own, _ = draw(spec, arrays, theta)
        return spec.noise.kind.pointwise(drawn, arrays["noise"], own, spec.noise).ravel()

    return looped(pointwise)
