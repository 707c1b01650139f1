"""Galaxies and stars as galsim draws them: through the PSF and the pixel, by nothing of socca."""

from __future__ import annotations

import math
from collections.abc import Mapping

import galsim
import numpy as np
from scipy.special import gamma, gammaincinv

#: Wrapped and cut-off frequencies are kept below 1e-4 of the peak, a hundredth of the noise at a peak of 100 times it.
SETTINGS = galsim.GSParams(folding_threshold=1e-3, maxk_threshold=1e-4)


def sersic_flux(re: np.ndarray, e: np.ndarray, ns: np.ndarray) -> np.ndarray:
    """Return the flux of Sersic profiles with Ie = 1; `re` in pixels."""
    b = gammaincinv(2 * np.asarray(ns), 0.5)
    return 2 * math.pi * ns * re**2 * (1 - e) * np.exp(b) * b ** (-2 * ns) * gamma(2 * ns)


def sersic(values: Mapping[str, float], psf: galsim.GSObject, size: int) -> np.ndarray:
    """Draw a Sersic galaxy.

    Parameters
    ----------
    values : mapping
        ``xc, yc, theta, e, re, Ie, ns`` as socca has them, but lengths in pixels.
    psf : galsim.GSObject
        Without the pixel.
    size : int
        Side of the image.

    Returns
    -------
    ndarray, shape (size, size)
        Without noise.
    """
    e, re, ns = values["e"], values["re"], values["ns"]
    flux = float(values["Ie"] * sersic_flux(re, e, ns))
    # A shear keeps the area. Its angle counts from x, where ours counts from north, y, through east, -x.
    light = galsim.Sersic(n=ns, half_light_radius=re * math.sqrt(1 - e), flux=flux)
    light = light.shear(q=1 - e, beta=(values["theta"] + math.pi / 2) * galsim.radians)
    seen = galsim.Convolve([light, psf]).withGSParams(SETTINGS).shift(-values["xc"], values["yc"])
    return seen.drawImage(nx=size, ny=size, scale=1.0, dtype=float).array


def point(values: Mapping[str, float], psf: galsim.GSObject, size: int) -> np.ndarray:
    """Draw a point source of a position ``xc, yc`` (pixels) and a ``flux``, shape (size, size)."""
    seen = psf.withFlux(values["flux"]).withGSParams(SETTINGS).shift(-values["xc"], values["yc"])
    return seen.drawImage(nx=size, ny=size, scale=1.0, dtype=float).array


def star(psf: galsim.GSObject, size: int, *, oversample: int = 1, pixel: bool = True) -> np.ndarray:
    """Draw a PSF about the centre of a square array.

    Parameters
    ----------
    psf : galsim.GSObject
        Without the pixel.
    size : int
        Side of the array, in pixels of the image.
    oversample : int
        How many times finer than the image's the array's pixels are; odd.
    pixel : bool
        Whether it is what a star shows, the image's pixel included.
    """
    shown = galsim.Convolve([psf, galsim.Pixel(1.0)]) if pixel else psf
    side, scale = size * oversample, 1 / oversample
    drawn = shown.withGSParams(SETTINGS).drawImage(nx=side, ny=side, scale=scale, method="no_pixel", dtype=float)
    return drawn.array
