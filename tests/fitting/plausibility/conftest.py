"""Fixtures of the tests of plausibility."""

import numpy as np
import pytest

from socca.fitting.plausibility import find_doubts
from socca.fitting.plausibility.parts import parts_of_model
from socca.models import Background, Model, Sersic
from socca.priors import loguniform, normal, uniform


@pytest.fixture(scope="session")
def galaxy(pixel):
    """Give a function that makes a plausible model of a galaxy and a sky; priors may be replaced."""

    def make(**changes):
        values = {
            "xc": uniform(-5 * pixel, 5 * pixel),
            "yc": uniform(-5 * pixel, 5 * pixel),
            "theta": uniform(0, np.pi),
            "e": uniform(0, 0.9),
            "re": loguniform(pixel, 20 * pixel),
            "Ie": loguniform(0.1, 1000),
            "ns": uniform(0.5, 6),
        }
        model = Model()
        model.addcomponent(Sersic(**values | changes), label="galaxy")
        model.addcomponent(Background(a0=normal(0, 1)), label="sky")
        return model

    return make


@pytest.fixture(scope="session")
def sky_galaxy(galaxy, pixel):
    """Give a function that makes the same model about RA and Dec."""

    def make(ra=150.0, dec=2.0, **changes):
        half = 5 * pixel
        east = half / np.cos(np.radians(dec))
        return galaxy(xc=uniform(ra - east, ra + east), yc=uniform(dec - half, dec + half), **changes)

    return make


@pytest.fixture(scope="session")
def light():
    """An exponential disk, 30 times as bright as the noise, which is 1, on 31 x 31 pixels."""
    y, x = np.mgrid[:31, :31] - 15
    return 30 * np.exp(-np.hypot(x / 4, y / 3)) + np.random.default_rng(3).normal(size=(31, 31))


@pytest.fixture(scope="session")
def flags(make_image, galaxy, light):
    """Give a function that returns the flags of a fit of a galaxy, or of another image and model."""

    def found(model=None, data=None, *, psf=None, oversample=1, normalize=True, **image):
        made = make_image(light if data is None else data, **image)
        if psf is not None:
            made.addpsf(psf, oversample=oversample, normalize=normalize)
        doubts = find_doubts(made, parts_of_model(model or galaxy(), made.noise), made.noise.prepare(made))
        assert all(doubt.message and "\n" not in doubt.message for doubt in doubts)
        return [(doubt.flag, doubt.nonsense) for doubt in doubts]

    return found
