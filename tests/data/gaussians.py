"""Gaussians on pixels in closed form, and models of several components."""

import numpy as np
from scipy.special import erf

from socca.models import Model


def offsets(shape):
    """Return (north, east) of pixel centres from the centre of the array, in pixels."""
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return row, -col


def erf_gaussian(shape, north, east, sigma, amplitude=1.0):
    """Return a round Gaussian integrated over pixels, in closed form; all lengths in pixels."""
    rows, cols = offsets(shape)

    def integral(x):
        return np.sqrt(np.pi / 2) * sigma * erf(x / (np.sqrt(2) * sigma))

    along = integral(rows[:, :1] - north + 0.5) - integral(rows[:, :1] - north - 0.5)
    across = integral(cols[:1] - east + 0.5) - integral(cols[:1] - east - 0.5)
    return amplitude * along * across


def point_gaussian(shape, north, east, sigma, amplitude=1.0):
    """Return a round Gaussian at the pixels' centres; all lengths in pixels."""
    rows, cols = offsets(shape)
    return amplitude * np.exp(-0.5 * ((rows - north) ** 2 + (cols - east) ** 2) / sigma**2)


def centroid(image):
    """Return flux, row and column of an image."""
    row, col = np.indices(image.shape)
    flux = image.sum()
    return flux, (row * image).sum() / flux, (col * image).sum() / flux


def gaussian_psf(shape, sigma):
    row, col = offsets(shape)
    return np.exp(-0.5 * (row**2 + col**2) / sigma**2)


def model_of(*components):
    model = Model()
    for component in components:
        model.addcomponent(component)
    return model
