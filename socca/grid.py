"""The only place where sky and pixels meet.

Every image has a *field plane*: the plane that touches the sky at the centre of the image, with ``x`` to the east and
``y`` to the north, both in degrees. Pixels are (row, column), zero-based, whole numbers at pixel centres. Everything
that is rendered is rendered in the field plane; only here is known how pixels and sky coordinates map to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: Pixels evaluated around the padded frame, for the stencil of `socca.integrate`.
BORDER = 3
#: Pixels of the image that a frame reaches further where the pixel is not in the PSF.
_PIXEL_REACH = 4


class Frame:
    """Where the pixels of an image lie.

    Attributes
    ----------
    on_sky : bool
        Whether ``xc, yc`` are RA and Dec (degrees) rather than offsets from the centre of the array.
    reference : tuple of float
        RA and Dec of the field plane's origin, or zeros.
    center : tuple of float
        ``xc, yc`` of the centre of the array.
    pixel_scale : float
        Geometric mean of the pixel's sides, degrees.
    """

    on_sky: bool
    reference: tuple[float, float]
    center: tuple[float, float]
    pixel_scale: float

    def plane(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of pixels.

        Parameters
        ----------
        rows, cols : array_like
            Pixel coordinates.

        Returns
        -------
        x, y : ndarray
            East and north of the field centre, degrees.
        """
        raise NotImplementedError

    def to_plane(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of positions ``xc, yc`` (degrees)."""
        return project(np.asarray(xc, float), np.asarray(yc, float), self.on_sky, self.reference, np)

    def to_pixel(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the (row, column) of positions ``xc, yc`` (degrees)."""
        raise NotImplementedError


class PixelFrame(Frame):
    """An image without a WCS: north up, east left, square pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    pixel_scale : float
        Size of a pixel, degrees.
    """

    on_sky = False

    def __init__(self, shape: tuple[int, int], pixel_scale: float) -> None:
        self.reference = (0.0, 0.0)
        self.center = (0.0, 0.0)
        self.pixel_scale = float(pixel_scale)
        self._middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)

    def plane(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of pixels, as `Frame.plane`."""
        x = -(np.asarray(cols, float) - self._middle[1]) * self.pixel_scale
        y = (np.asarray(rows, float) - self._middle[0]) * self.pixel_scale
        return x, y

    def to_pixel(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the (row, column) of offsets ``xc, yc`` (degrees)."""
        rows = self._middle[0] + np.asarray(yc, float) / self.pixel_scale
        cols = self._middle[1] - np.asarray(xc, float) / self.pixel_scale
        return rows, cols


class SkyFrame(Frame):
    """An image with a celestial WCS, used whole: projection, CD or PC matrix, SIP distortion.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    wcs : astropy.wcs.WCS
        Celestial, two axes.

    Raises
    ------
    DataError
        If the centre of the image has no sky position.
    """

    on_sky = True

    def __init__(self, shape: tuple[int, int], wcs: WCS) -> None:
        self._wcs = _equatorial(wcs)
        middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        ra, dec = self._sky(*middle)
        if not (np.isfinite(ra) and np.isfinite(dec)):
            raise DataError("image: its WCS gives no sky position for the centre of the array")
        self.reference = (float(ra), float(dec))
        self.center = self.reference
        jacobian = np.stack(
            [
                np.subtract(self.plane(middle[0] + 0.5, middle[1]), self.plane(middle[0] - 0.5, middle[1])),
                np.subtract(self.plane(middle[0], middle[1] + 0.5), self.plane(middle[0], middle[1] - 0.5)),
            ]
        )
        self.pixel_scale = float(np.sqrt(abs(np.linalg.det(jacobian))))
        if not self.pixel_scale > 0:
            raise DataError("image: its WCS gives pixels of no area")

    def _sky(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        world = self._wcs.all_pix2world(np.asarray(cols, float), np.asarray(rows, float), 0)
        # A header may have declination before right ascension.
        return np.asarray(world[self._wcs.wcs.lng]), np.asarray(world[self._wcs.wcs.lat])

    def plane(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of pixels, as `Frame.plane`."""
        return project(*self._sky(rows, cols), True, self.reference, np)

    def to_pixel(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the (row, column) of ``xc, yc`` = RA, Dec (degrees)."""
        world = [np.asarray(xc, float), np.asarray(yc, float)]
        if self._wcs.wcs.lng > self._wcs.wcs.lat:
            world.reverse()
        cols, rows = self._wcs.all_world2pix(*world, 0)
        return np.asarray(rows), np.asarray(cols)


def _equatorial(wcs: WCS) -> WCS:
    if not wcs.wcs.lngtyp.strip().upper().startswith("RA"):
        raise DataError(
            f"image: its WCS is in {wcs.wcs.lngtyp}/{wcs.wcs.lattyp}; only equatorial coordinates (RA, Dec) are read"
        )
    return wcs


def project(x: Any, y: Any, on_sky: bool, reference: Any, xp: Any) -> tuple[Any, Any]:
    """Turn ``xc, yc`` into field-plane coordinates.

    Parameters
    ----------
    x, y : array
        RA and Dec, or offsets east and north (degrees).
    on_sky : bool
        Which of the two.
    reference : array, shape (2,)
        RA and Dec of the origin (degrees).
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    x, y : array
        Degrees east and north. Offsets come back as they are; RA and Dec by the gnomonic projection
        (Calabretta & Greisen 2002, A&A 395, 1077, eqs. 54-57), written with half-angles so that nothing cancels.
        What lies 90 degrees away or more is not on the plane: NaN.
    """
    if not on_sky:
        return x, y
    rad = xp.pi / 180
    ra = (x - reference[0]) * rad
    dec, dec0 = y * rad, reference[1] * rad
    haversine = 2 * xp.sin(ra / 2) ** 2
    cos_distance = xp.cos(dec - dec0) - xp.cos(dec) * xp.cos(dec0) * haversine
    # Beyond the horizon the same formulas would give the mirror image of the other side of the sky.
    cos_distance = xp.where(cos_distance > 0, cos_distance, xp.nan)
    east = xp.cos(dec) * xp.sin(ra) / cos_distance
    north = (xp.sin(dec - dec0) + xp.sin(dec0) * xp.cos(dec) * haversine) / cos_distance
    return east / rad, north / rad


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


def coordinates(arrays: dict[str, Any]) -> tuple[Any, Any]:
    """Return the field-plane coordinates (x, y) of all pixels of a grid, from `grid_arrays`."""
    x, y = (v[0] if len(v) == 1 else v[0][:, None] + v[1] for v in (arrays["x"], arrays["y"]))
    return x, y


def coordinates_at(arrays: dict[str, Any], rows: Any, cols: Any) -> tuple[Any, Any]:
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
