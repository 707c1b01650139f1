"""Images of a few components, and what tests measure in them."""

import numpy as np

from socca.models import Model


def draw(image, *components, convolve=True, addbackground=False):
    model = Model()
    for component in components:
        model.addcomponent(component)
    return model.getmap(image, convolve, addbackground)


def render(image, *components):
    model = Model()
    for component in components:
        model.addcomponent(component)
    return model.getmodel(image, [])


def offsets(shape):
    """Return (north, east) of pixel centres from the centre of the array, in pixels."""
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return row, -col


def moments(image):
    """Return flux, centroid (row, column) and central second and third moments along both axes."""
    row, col = np.indices(image.shape)
    flux = image.sum()
    mean = [float((axis * image).sum() / flux) for axis in (row, col)]
    central = [
        float(((axis - m) ** k * image).sum() / flux) for k in (2, 3) for axis, m in zip((row, col), mean, strict=True)
    ]
    return flux, mean, central
