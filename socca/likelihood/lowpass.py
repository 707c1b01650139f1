"""Grids and weights that sample light for a PSF.

A PSF on pixels passes spatial frequencies below the Nyquist frequency of its pixels. What it needs of a source is the
source's Fourier transform there, free of aliases. Grids of samples follow the light to ever smaller scales:

1. the centres of all pixels, for light that is smooth on the scale of a pixel;
2. patches of cells around the centre, each finer than the one before;
3. nodes on rays from the centre, crowded logarithmically towards it, for the cusp.

Smooth windows divide the light among them, since a sharp edge would alias. The window of each grid falls within a few
cells of the grid outside, which must resolve it. `onto_pixels` brings samples of a patch to the pixels by weights that
act as a low-pass filter, and `moments_onto_pixels` the moments of the light around the centre.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Pixels that a sample is spread over, on each axis.
TAPS = 16
#: Full width at half maximum, pixels, of the Gaussian PSF for which these weights are the best.
DESIGN_FWHM = 2.3


@dataclass(frozen=True)
class Window:
    """A factor that falls from 1 to 0 at some distance from a source's centre, as an error function.

    Parameters
    ----------
    edge : float
        Where it is one half, pixels.
    width : float
        Standard deviation of its edge, pixels.
    """

    edge: float
    width: float


@dataclass(frozen=True)
class Patch:
    """A square grid of cells around the pixel that holds a source's centre.

    Parameters
    ----------
    reach : int
        Pixels on each side of that pixel.
    cells : int
        Cells of a pixel, on each axis.
    window : Window
        The light that is sampled here, but for what the next finer grid takes.
    """

    reach: int
    cells: int
    window: Window

    @property
    def size(self) -> int:
        """Number of cells on each axis."""
        return (2 * self.reach + 1) * self.cells

    @property
    def offsets(self) -> np.ndarray:
        """Centres of the cells on an axis, in pixels from the centre of the middle pixel, shape (size,)."""
        return (np.arange(self.size) + 0.5) / self.cells - (self.reach + 0.5)


@dataclass(frozen=True)
class Scheme:
    """The grids around a source's centre.

    Parameters
    ----------
    patches : tuple of Patch
        From the outermost to the finest.
    core : Window
        Of the nodes on rays; along the minor axis, if it follows the isophotes.
    longest : float
        How far the edge of the core's window reaches along the major axis of thin isophotes, pixels. If it is no more
        than the edge, the window is a square of rows and columns.
    step : float
        Difference of the logarithms of neighbouring radii on a ray.
    """

    patches: tuple[Patch, ...]
    core: Window
    longest: float
    step: float = 0.3

    @property
    def turned(self) -> bool:
        """Whether the core's window follows the isophotes."""
        return self.longest > self.core.edge

    @property
    def radii(self) -> int:
        """Number of nodes on each ray."""
        return round(RANGE / self.step)

    @property
    def nodes(self) -> int:
        """How many samples there are, but for those at the pixels' centres."""
        return sum(patch.size**2 for patch in self.patches) + self.radii * ANGLES


#: Window of the outermost grids of `ROUND`, `SLIM` and `STRIPS`, which the pixels themselves must resolve.
OUTER = Window(4.3, 0.95)
#: Three schemes: for isophotes of an axis ratio of `THIN` or more; for thinner ones, which have finer cells, and
#: `STRIPS` further from the centre; and for sharp edges, which may be anywhere, so that all pixels of the image have
#: `SHARP_CELLS` cells on each axis. The width of a window is about a cell of the grid outside. Its edge lies 4.5 widths
#: from the centre, where a cusp would alias, and 3.5 widths or more from the end of its own grid, wherever in its pixel
#: the centre is. A cell that a sharp edge cuts has the window of its centre: there, cells are small and windows wide.
ROUND = Scheme((Patch(8, 3, OUTER),), Window(1.35, 0.3), 1.35)
SLIM = Scheme((Patch(8, 8, OUTER),), Window(0.5, 0.11), 1.35)
SHARP = Scheme((Patch(6, 12, Window(3.7, 0.65)),), Window(1.45, 0.3), 1.45, step=0.025)
THIN, SHARP_CELLS = 0.28, 6
#: Strips of cells along the ridge of thin isophotes, outside of `SLIM`: at every row (or column) that the major axis
#: crosses, a line of cells across it. Their windows are of the distance from the axis.
STRIPS = (Patch(11, 3, OUTER), Patch(4, 12, Window(1.35, 0.3)))
#: Number of angles of the nodes on rays, and the logarithm of the ratio of the outermost radius to the innermost.
ANGLES, RANGE = 32, 10.2
#: Distance from the centre to the outermost nodes, in units of the edge of the core's window.
OUTERMOST = 2.05
#: Degree of the moments of the core's light; its coordinates, measured from the middle pixel's centre, reach to `SPAN`
#: pixels on each axis, and it is spread over `REACH` pixels on each side of the middle one.
DEGREE, SPAN, REACH = 26, 2.9, 10


def phases() -> np.ndarray:
    """Return how far the nodes of each ray are shifted, in units of a step, shape (ANGLES,).

    They are equally spaced between -1/2 and 1/2, in the order of van der Corput: those of neighbouring rays differ.
    """
    bits = ANGLES.bit_length() - 1
    reversed_bits = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(ANGLES)]
    return (np.array(reversed_bits) + 0.5) / ANGLES - 0.5


@functools.cache
def onto_pixels(patch: Patch, averaged: bool = False) -> np.ndarray:
    """Return the weights that bring samples in a patch's cells to the pixels.

    Parameters
    ----------
    patch : Patch
        The grid of cells.
    averaged : bool
        Whether the samples are means over the cells, and not values at their centres.

    Returns
    -------
    ndarray, shape (2 reach + 1 + TAPS, size)
        For one axis: from cells to the pixels from ``-(reach + TAPS / 2)`` to ``reach + TAPS / 2`` about the middle
        one. The weights of a cell sum to its length in pixels.
    """
    found = np.zeros((2 * patch.reach + 1 + TAPS, patch.size))
    # Seen from its own pixel, every cell at one place within a pixel has the same weights.
    for k, x in enumerate((np.arange(patch.cells) + 0.5) / patch.cells - 0.5):
        first = int(np.floor(x)) - TAPS // 2 + 1
        weights = _weights(np.arange(first, first + TAPS), _shifted(x, patch.cells if averaged else 0))[:, 0]
        for pixel in range(2 * patch.reach + 1):
            start = pixel + TAPS // 2 + first
            found[start : start + TAPS, pixel * patch.cells + k] = weights / patch.cells
    return found


@functools.cache
def moments_onto_pixels() -> np.ndarray:
    """Return the weights that bring moments of the core's light to the pixels.

    Returns
    -------
    ndarray, shape (2 REACH + 1, DEGREE + 1)
        For one axis: the moment with ``(x / SPAN)^k``, where x is measured from the middle pixel's centre, to the
        pixels from ``-REACH`` to `REACH` about it.
    """
    from scipy.special import jv

    order = np.arange(DEGREE + 1)

    def expansion(frequency: np.ndarray) -> np.ndarray:
        # Jacobi and Anger: exp(-i z t) = sum_k (2 - [k = 0]) (-i)^k J_k(z) T_k(t); Abramowitz & Stegun 9.1.44 f.
        factor = np.where(order == 0, 1, 2) * (-1j) ** order
        return factor * jv(order, 2 * np.pi * SPAN * frequency[:, None])

    chebyshev = [np.polynomial.chebyshev.cheb2poly([0] * k + [1]) for k in order]
    powers = np.array([np.pad(row, (0, DEGREE + 1 - len(row))) for row in chebyshev])
    return _weights(np.arange(-REACH, REACH + 1), expansion) @ powers


@functools.cache
def binomials() -> np.ndarray:
    """Return the binomial coefficients (k over j), shape (DEGREE + 1, DEGREE + 1); zero where j > k."""
    from scipy.special import comb

    order = np.arange(DEGREE + 1)
    return comb(order[:, None], order)


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
    angle = (-2 * np.pi * frequency).astype(xp.result_type(shift)) * shift
    return xp.where(np.abs(frequency) == 0.5, xp.cos(angle), xp.exp(1j * angle))


@functools.lru_cache(maxsize=64)
def from_cells(n: int, m: int, cells: int) -> np.ndarray:
    """Return what makes of the transform of means over the cells of pixels that of the light on pixels.

    Parameters
    ----------
    n, m : int
        Rows and columns of pixels.
    cells : int
        Cells of a pixel, on each axis.

    Returns
    -------
    ndarray, complex, shape (n, m // 2 + 1)
        To be multiplied with the lowest frequencies of a real transform.
    """
    # From the centre of a pixel's first cell to its own.
    shift = np.float64(0.5 / cells - 0.5)
    rows = shift_phase(n, shift, False, np) / np.sinc(np.fft.fftfreq(n) / cells) / cells
    cols = shift_phase(m, shift, True, np) / np.sinc(np.fft.rfftfreq(m) / cells) / cells
    return rows[:, None] * cols


def _shifted(x: float, cells: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from frequencies to the transform of a point at `x`.

    With `cells`, of what has a point there as its mean over a cell, so many of which make a pixel.
    """

    def transform(frequency: np.ndarray) -> np.ndarray:
        smoothing = np.sinc(frequency / cells) if cells else 1.0
        return (np.exp(-2j * np.pi * frequency * x) / smoothing)[:, None]

    return transform


#: The frequency, cycles per pixel, that stands for flux and centroid.
_LOWEST = 1e-3


def _weights(pixels: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the weights on pixels that replace some light, seen through a PSF, as well as can be.

    The PSF is a Gaussian of `DESIGN_FWHM`, sampled at the pixels. Its image of the light holds the frequencies beyond
    Nyquist's too, as aliases: the weights imitate that image and not its idealisation without aliases, which would
    need many more pixels.

    Parameters
    ----------
    pixels : ndarray of int, shape (taps,)
        Positions of the pixels.
    transform : callable
        From frequencies (cycles per pixel), shape (n,), to the Fourier transform of the light, shape (n, m).

    Returns
    -------
    ndarray, shape (taps, m)
        Least squares over the frequencies of the image.
    """
    # Flux and centroid, at the lowest frequencies, count most.
    frequency = np.concatenate([(np.arange(160) + 0.5) / 160 - 0.5, [-_LOWEST, _LOWEST]])
    importance = np.where(np.abs(frequency) == _LOWEST, 1000.0, 1.0)[:, None]
    wanted, passed = 0.0, 0.0
    for order in range(-2, 3):
        at = frequency + order
        gain = np.exp(-2 * (np.pi * DESIGN_FWHM / np.sqrt(8 * np.log(2)) * at) ** 2)
        wanted = wanted + gain[:, None] * transform(at)
        passed = passed + gain
    basis = np.asarray(passed)[:, None] * np.exp(-2j * np.pi * frequency[:, None] * pixels)
    basis, wanted = (np.concatenate([part.real, part.imag]) * np.tile(importance, (2, 1)) for part in (basis, wanted))
    return np.linalg.lstsq(basis, wanted, rcond=1e-12)[0]
