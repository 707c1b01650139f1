"""PSFs: centred, positive, no noise, and with the pixels that they are used with."""

import re

import numpy as np
import pytest
from astropy.io import fits

from socca.fitting.plausibility.psf import header_pixel_scale

TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}


def gaussian(n, x0=0.0, y0=0.0, sigma=1.5):
    """Return a Gaussian on n x n pixels whose centre is off that of the array."""
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / sigma**2)


@pytest.mark.parametrize(("off", "found"), [(0.0, False), (0.25, False), (0.35, True), (-1.0, True)])
@pytest.mark.parametrize("sigma", [0.9, 1.5, 4.0])
def test_centroids(flags, off, found, sigma):
    expected = [("psf_center", False)] if found else []
    assert flags(psf=gaussian(25, x0=off, sigma=sigma)) == expected
    assert flags(psf=gaussian(25, y0=off, sigma=sigma)) == expected


def test_even_sizes(make_image, flags):
    """Symmetric about the array's centre, or about the pixel n / 2, half a pixel off on both axes."""
    assert flags(psf=gaussian(16)) == []
    assert flags(psf=gaussian(16, 0.5, 0.5)) == [("psf_center", False)]
    image = make_image()
    image.addpsf(gaussian(16, 0.5, 0.5), center="centroid")
    assert flags(psf=image.psf) == []


def test_the_message_says_where_and_what_to_do(make_image):
    from socca.fitting.plausibility.psf import psf_doubts

    (doubt,) = psf_doubts(make_image(psf=gaussian(15, x0=0.7, y0=-0.4)))
    x, y = map(float, re.search(r"\((-?[\d.]+), (-?[\d.]+)\) pixels", doubt.message).groups())
    assert (x, y) == (pytest.approx(0.7, abs=0.05), pytest.approx(-0.4, abs=0.05))
    assert "image.psf.center" in doubt.message
    assert doubt.about == "psf"


def test_an_oversampled_psf_is_off_in_pixels_of_the_image(flags):
    fine = gaussian(25, x0=1.0, sigma=4)
    assert flags(psf=fine) == [("psf_center", False)]
    assert flags(psf=fine, oversample=4) == []


def test_what_is_no_psf(flags):
    rng = np.random.default_rng(1)
    wings = gaussian(15) + 0.02 * rng.normal(size=(15, 15))
    assert flags(psf=wings) == []
    lobes = np.sinc(np.hypot(*(np.mgrid[:21, :21] - 10)) / 3)  # down to -0.2, as of a beam
    assert flags(psf=lobes, normalize=False) == []
    one_pixel = np.zeros((15, 15))
    one_pixel[7, 7] = 1.0
    assert flags(psf=one_pixel, normalize=False) == []
    assert flags(psf=np.ones((15, 15)), normalize=False) == [("psf_shape", False)]
    assert flags(psf=rng.uniform(size=(15, 15)), normalize=False) == [("psf_shape", False)]
    noise = rng.normal(0.5, 1, (15, 15))
    assert noise.sum() > 0
    assert flags(psf=noise, normalize=False) == [("psf_shape", False)]
    upside_down = 2.0 - gaussian(15, sigma=3)
    assert flags(psf=upside_down - 1.95, normalize=False) == [("psf_shape", False)]


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ({}, None),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600}, 0.05),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 0.0, "CD1_2": 2e-5, "CD2_1": 2e-5}, 0.072),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, None),  # one degree, by default
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 1e-5, "CD2_2": float("1e-5"), "CRVAL1": "x"}, None),
        # A matrix that scales as well as turns.
        ({**TAN, "CDELT1": -1e-5, "CDELT2": 1e-5, "PC1_1": 0.0, "PC1_2": 2.0, "PC2_1": 2.0, "PC2_2": 0.0}, 0.072),
        ({**TAN, "PC1_1": -1e-5, "PC2_2": 1e-5}, 0.036),
        ({**TAN, "CD1_1": "-1e-5", "CD2_2": "1e-5"}, 0.036),
        ({"CTYPE1": "LINEAR", "CDELT1": 0.3, "CDELT2": 0.3}, None),
        ({"PIXELSCL": 0.031}, 0.031),
        ({"PIXSCALE": "unknown"}, None),
    ],
)
def test_scales_of_headers(header, scale):
    found = header_pixel_scale(fits.Header(header), (25, 25))
    assert found == (None if scale is None else pytest.approx(scale))


@pytest.mark.parametrize(
    ("scale", "oversample", "found"), [(0.2, 1, []), (0.21, 1, []), (0.05, 1, ["psf_scale"]), (0.05, 4, [])]
)
def test_a_psf_of_other_pixels(flags, scale, oversample, found):
    hdu = fits.PrimaryHDU(gaussian(25, sigma=5.0), fits.Header({"PIXELSCL": scale}))
    assert [flag for flag, _ in flags(psf=hdu, oversample=oversample)] == found
