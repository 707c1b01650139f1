"""Light of simulated sources, drawn ten times finer than the pixels.

Nothing of socca's forward model is used, so that a fit of these images tests it. Extended light is astropy's
`Sersic2D`, integrated over cells of a tenth of a pixel with 2 x 2 Gauss-Legendre points; the 9 x 9 cells around the
source are split into 4 x 4 each, with 4 x 4 points, the 9 x 9 of these around it again, and so on down to 4^-8 of a
cell. On these cells, on a frame that is larger by the PSF's half width, the light is convolved with the PSF, a smooth
function that is sampled there; only then is it averaged over pixels, so that the image holds source, PSF and pixel.
Point sources are the PSF integrated over pixels about their sub-pixel position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["PIXEL", "Psf", "Source", "locate", "render", "sersic_flux"]

#: Size of a pixel, degrees.
PIXEL = 0.2 / 3600
#: How many cells a pixel has on each axis while light is convolved.
FINE = 10


@dataclass(frozen=True)
class Source:
    """A component of a galaxy with its true values."""

    kind: str  #: ``Sersic``, ``Exponential``, ``Point`` or ``Background``
    values: dict[str, float]  #: degrees, radians, image units
    tied: bool = False  #: the fitted model takes its position from another component


@dataclass(frozen=True)
class Psf:
    """An elliptical Moffat profile of index 3.5, brought smoothly to zero over the last four pixels of its stamp."""

    fwhm: float  #: along the major axis, pixels
    e: float
    angle: float  #: of the major axis, from the rows' axis, radians
    size: int  #: side of the stamp that is written

    def shape(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return the profile, of unit peak, at offsets in pixels from its centre."""
        major = rows * math.cos(self.angle) + cols * math.sin(self.angle)
        minor = (cols * math.cos(self.angle) - rows * math.sin(self.angle)) / (1 - self.e)
        scale = self.fwhm / 2 / math.sqrt(2 ** (1 / 3.5) - 1)
        moffat = (1 + (major**2 + minor**2) / scale**2) ** -3.5
        for offsets in (rows, cols):
            inside = np.clip((self.size / 2 - np.abs(offsets)) / 4, 0, 1)
            moffat = moffat * np.sin(np.pi / 2 * inside) ** 2
        return moffat

    def _on_cells(self) -> np.ndarray:
        half = self.size * FINE // 2
        offsets = np.arange(-half, half + 1) / FINE
        return self.shape(offsets[:, None], offsets[None, :])

    def kernel(self) -> np.ndarray:
        """Return the profile at the centres of cells about the middle one of a square array, of unit sum."""
        image = self._on_cells()
        return image / image.sum()

    def star(self, shape: tuple[int, int], at: tuple[float, float]) -> np.ndarray:
        """Return the image of a star of unit flux at a position (row, column): the profile integrated over pixels."""
        nodes, weights = np.polynomial.legendre.leggauss(8)
        rows, cols = ((np.arange(n)[:, None] - center + nodes / 2).ravel() for n, center in zip(shape, at, strict=True))
        fine = self.shape(rows[:, None], cols[None, :]).reshape(shape[0], 8, shape[1], 8)
        # The sum over cells is the integral over all pixels: the profile is smooth, and ends.
        return np.einsum("iajb,a,b->ij", fine, weights / 2, weights / 2) * FINE**2 / self._on_cells().sum()

    def stamp(self) -> np.ndarray:
        """Return what is written: a star about the centre of a square array."""
        return self.star((self.size, self.size), ((self.size - 1) / 2, (self.size - 1) / 2))


def sersic_flux(re: float, e: float, ns: float) -> float:
    """Return the flux (sum over pixels) of a Sersic profile with Ie = 1; `re` in degrees."""
    b = gammaincinv(2 * ns, 0.5)
    return 2 * math.pi * ns * (re / PIXEL) ** 2 * (1 - e) * math.exp(b) * b ** (-2 * ns) * math.gamma(2 * ns)


def locate(shape: tuple[int, int], wcs: WCS | None, xc: float, yc: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (row, column) of a position, and the matrix from pixel offsets to degrees north and east there."""
    if wcs is None:
        middle = (np.array(shape) - 1) / 2
        return middle + np.array([yc, -xc]) / PIXEL, np.diag([PIXEL, -PIXEL])
    from astropy import units
    from astropy.coordinates import SkyCoord

    center, step = SkyCoord(xc, yc, unit="deg", frame="icrs"), 1 / 3600
    moved = [center.directional_offset_by(angle * units.deg, step * units.deg) for angle in (0, 90)]
    at, north, east = (np.array(wcs.world_to_pixel(point), dtype=float)[::-1] for point in (center, *moved))
    return at, np.linalg.inv(np.column_stack([north - at, east - at]) / step)


def _cell_means(
    brightness: Callable,
    rows: np.ndarray,
    cols: np.ndarray,
    size: float,
    at: np.ndarray,
    points: int = 2,
    levels: int = 8,
) -> np.ndarray:
    """Return the mean of brightness(row, column) in square cells, splitting those around `at` again and again."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    nodes, weights = nodes * size / 2, weights / 2
    means = np.zeros((len(rows), len(cols)))
    for y, wy in zip(nodes, weights, strict=True):
        for x, wx in zip(nodes, weights, strict=True):
            means += wy * wx * brightness(rows[:, None] + y, cols[None, :] + x)
    if levels:
        i, j = np.argmin(np.abs(rows - at[0])), np.argmin(np.abs(cols - at[1]))
        near = np.s_[max(i - 4, 0) : i + 5, max(j - 4, 0) : j + 5]
        split = (np.arange(4) - 1.5) / 4 * size
        finer_rows, finer_cols = ((k[:, None] + split).ravel() for k in (rows[near[0]], cols[near[1]]))
        finer = _cell_means(brightness, finer_rows, finer_cols, size / 4, at, 4, levels - 1)
        means[near] = finer.reshape(len(finer_rows) // 4, 4, -1, 4).mean((1, 3))
    return means


def _extended(source: Source, shape: tuple[int, int], wcs: WCS | None, pad: int) -> np.ndarray:
    """Average a Sersic or exponential profile over every cell of a frame widened by `pad` cells on each side."""
    from astropy.modeling.models import Sersic2D

    values = source.values
    if source.kind == "Exponential":
        b = gammaincinv(2, 0.5)
        settings = {"n": 1, "r_eff": b * values["rs"], "amplitude": values["Is"] * math.exp(-b)}
    else:
        settings = {"n": values["ns"], "r_eff": values["re"], "amplitude": values["Ie"]}
    # Its x is our north and its y our east: its angle then runs from north through east.
    profile = Sersic2D(**settings, ellip=values["e"], theta=values["theta"])
    at, to_sky = locate(shape, wcs, values["xc"], values["yc"])

    def brightness(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        north, east = (a * (rows - at[0]) + b * (cols - at[1]) for a, b in to_sky)
        return profile(north, east)

    rows, cols = ((np.arange(n * FINE + 2 * pad) - pad + 0.5) / FINE - 0.5 for n in shape)
    return _cell_means(brightness, rows, cols, 1 / FINE, at)


def _binned(cells: np.ndarray) -> np.ndarray:
    """Return the means over pixels."""
    ny, nx = (n // FINE for n in cells.shape)
    return cells.reshape(ny, FINE, nx, FINE).mean((1, 3))


def render(source: Source, shape: tuple[int, int], wcs: WCS | None = None, psf: Psf | None = None) -> np.ndarray:
    """Return the image of one source without noise; convolved if there is a PSF, which point sources need.

    Parameters
    ----------
    source : Source
        What to draw.
    shape, wcs
        Rows and columns, and where they lie; without a WCS, positions are offsets from the centre of the array.
    psf : Psf, optional
        The PSF.
    """
    if source.kind == "Background":
        return np.full(shape, source.values["a0"])
    if psf is None:
        return _binned(_extended(source, shape, wcs, 0))
    if source.kind == "Point":
        at, _ = locate(shape, wcs, source.values["xc"], source.values["yc"])
        return source.values["Ic"] * psf.star(shape, (at[0], at[1]))
    from scipy.signal import oaconvolve

    kernel = psf.kernel()
    return _binned(oaconvolve(_extended(source, shape, wcs, len(kernel) // 2), kernel, mode="valid"))
