"""Grid of a likelihood: the image's pixels, their padding, and the field-plane coordinates of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.frames import Frame
from socca.errors import DataError
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array

#: Pixels evaluated around the padded frame, for the stencil of `socca.likelihood.pixel_integration`.
BORDER = 3
#: Pixels of the image that a frame reaches further where the pixel is not in the PSF.
_PIXEL_REACH = 4


@tagged("spec/GridShape")
@dataclass(frozen=True)
class GridShape:
    """The static part of a grid: sizes alone, equal for every image of the same shape.

    Parameters
    ----------
    image : tuple of int
        Rows and columns of the image, padded to a common size if asked for.
    pad : tuple of int
        Rows and columns of the frame added on each side: half the PSF.
    full : tuple of int
        Rows and columns of the frame in the PSF's pixels; with a PSF, the lengths of its Fourier transforms.
    convolved : bool
        Whether there is a PSF.
    oversample : int
        How many of the PSF's pixels make a pixel of the image, on each axis.
    subgrid : int
        Without a PSF, how many pixels of the grid, on which the model is evaluated, make one of the image's.
    sampled : bool
        Whether the PSF holds the image's pixel, so that the image is sampled at the pixels' centres.
    """

    image: tuple[int, int]
    pad: tuple[int, int]
    full: tuple[int, int]
    convolved: bool
    oversample: int = 1
    subgrid: int = 1
    sampled: bool = True

    @property
    def factor(self) -> int:
        """How many pixels of the grid make one of the image, on each axis."""
        return self.oversample * self.subgrid

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns on which the model is evaluated."""
        return self.full[0] * self.subgrid, self.full[1] * self.subgrid


def bucket(length: int) -> int:
    """Return the next of the lengths 8, 10, 12, 14 times a power of two."""
    scale = 1
    while True:
        for base in (8, 10, 12, 14):
            if base * scale >= length:
                return base * scale
        scale *= 2


def grid_shape(
    image: tuple[int, int],
    psf: tuple[int, int] | None,
    oversample: int = 1,
    subgrid: int = 1,
    buckets: bool = False,
    sampled: bool = True,
) -> GridShape:
    """Choose the frame on which a model is evaluated.

    The frame reaches half the PSF beyond the image, so that light from outside scatters in, and then to the next
    length whose Fourier transform is fast; there the model is evaluated too, rather than filled with zeros. What
    wraps around falls on the padding alone.

    Parameters
    ----------
    image : tuple of int
        Rows and columns of the image.
    psf : tuple of int or None
        Rows and columns of the PSF.
    oversample : int
        How many of the PSF's pixels make a pixel of the image, on each axis.
    subgrid : int
        How much finer the model is evaluated where there is no PSF. For a PSF its light is sampled as finely as need
        be.
    buckets : bool
        Enlarge image and padding to one of a few sizes, at most a quarter longer, so that images of many sizes share
        compiled programs.
    sampled : bool
        Whether the PSF holds the image's pixel.

    Returns
    -------
    GridShape
        All the sizes.
    """
    from scipy.fft import next_fast_len

    def sized(length: int) -> int:
        return bucket(length) if buckets and length else length

    ny, nx = sized(image[0]), sized(image[1])
    if psf is None:
        return GridShape((ny, nx), (0, 0), (ny, nx), False, 1, subgrid)
    # The pixel makes a PSF without it wider, and one that was cut off rings.
    wider = 0 if sampled else _PIXEL_REACH
    pad = tuple(sized(-(-(n // 2) // oversample) + wider) for n in psf)
    full = tuple(next_fast_len((n + 2 * p) * oversample, real=True) for n, p in zip((ny, nx), pad, strict=True))
    return GridShape((ny, nx), (pad[0], pad[1]), (full[0], full[1]), True, oversample, 1, sampled)


def grid_arrays(frame: Frame, shape: GridShape, needed: tuple[int, int] | None = None) -> dict[str, Any]:
    """Compute the arrays that place a model on the pixels of one image.

    Parameters
    ----------
    frame : Frame
        Where the pixels lie.
    shape : GridShape
        From `grid_shape`.
    needed : tuple of int, optional
        Rows and columns of the image itself, where that was enlarged.

    Returns
    -------
    dict
        ``x, y``: field-plane coordinates of the grid and its border, shape ``grid + 2 BORDER``, each as a tuple of one
        array or, where it is linear, of the two vectors whose outer sum it is (see `coordinates`); ``reference``: RA
        and Dec of the origin; ``inverse``: derivative of (row, column) of the grid with respect to (x, y) at its
        centre.

    Raises
    ------
    DataError
        If the WCS gives no position for some pixel.
    """
    rows, cols = (
        (np.arange(n + 2 * BORDER) - BORDER + 0.5) / shape.factor - 0.5 - pad
        for n, pad in zip(shape.grid, shape.pad, strict=True)
    )
    x, y = frame.plane(*np.meshgrid(rows, cols, indexing="ij"))
    row, col = x.shape[0] // 2, x.shape[1] // 2
    jacobian = np.array(
        [
            [(x[row + 1, col] - x[row - 1, col]) / 2, (x[row, col + 1] - x[row, col - 1]) / 2],
            [(y[row + 1, col] - y[row - 1, col]) / 2, (y[row, col + 1] - y[row, col - 1]) / 2],
        ]
    )
    lost = ~(np.isfinite(x) & np.isfinite(y))
    if lost.any():
        # What lies beyond the image and its padding is seen by nobody; it must only be a number.
        reach = [n + p + 0.5 for n, p in zip(needed or shape.image, shape.pad, strict=True)]
        if np.any(lost[np.ix_(rows < reach[0], cols < reach[1])]):
            raise DataError("image: its WCS gives no sky position for some pixel of the frame and its padding")
        steps = np.meshgrid(np.arange(len(rows)) - row, np.arange(len(cols)) - col, indexing="ij")
        linear = np.tensordot(jacobian, steps, 1)
        x, y = np.where(lost, x[row, col] + linear[0], x), np.where(lost, y[row, col] + linear[1], y)
    return {
        "x": _compact(x),
        "y": _compact(y),
        "reference": np.asarray(frame.reference),
        "inverse": np.linalg.inv(jacobian),
    }


#: How far a coordinate may be from a linear function of row and column, in pixels.
_LINEAR = 1e-4


def _compact(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return a linear coordinate as the two vectors whose outer sum it is, any other as the array.

    On its own field plane a gnomonic projection without distortion is linear. The vectors spare the memory that the
    arrays take, and the time to read them.
    """
    (n, m), row, col = x.shape, x.shape[0] // 2, x.shape[1] // 2
    along = ((x[-1, col] - x[0, col]) / (n - 1), (x[row, -1] - x[row, 0]) / (m - 1))
    by_row, by_col = x[row, col] + (np.arange(n) - row) * along[0], (np.arange(m) - col) * along[1]
    if np.abs(by_row[:, None] + by_col - x).max() < _LINEAR * np.hypot(*along):
        return by_row, by_col
    return (x,)


def grid_size(arrays: dict[str, Any]) -> tuple[int, int]:
    """Return rows and columns of the grid with its border."""
    parts = arrays["x"]
    return parts[0].shape if len(parts) == 1 else (len(parts[0]), len(parts[1]))


def coordinates(arrays: dict[str, Any]) -> tuple[Array, Array]:
    """Return the field-plane coordinates (x, y) of all pixels of a grid, from `grid_arrays`."""
    x, y = (v[0] if len(v) == 1 else v[0][:, None] + v[1] for v in (arrays["x"], arrays["y"]))
    return x, y


def coordinates_at(arrays: dict[str, Any], rows: Array, cols: Array) -> tuple[Array, Array]:
    """Return the field-plane coordinates (x, y) of some pixels of a grid, counted from the border's first."""
    import jax.numpy as jnp

    def pick(parts: Any) -> Any:
        if len(parts) == 1:
            # What lies beyond the grid is dropped later.
            return jnp.asarray(parts[0]).at[rows, cols].get(mode="clip")
        # Arithmetic is faster than looking up.
        value = 0.0
        for vector, at in zip(parts, (rows, cols), strict=True):
            value = value + vector[0] + at * ((vector[-1] - vector[0]) / (len(vector) - 1))
        return value

    return pick(arrays["x"]), pick(arrays["y"])
