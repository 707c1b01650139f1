"""Images as scripts call them."""

import inspect

import numpy as np
import pytest

from socca.data import Image
from socca.errors import DataError
from socca.models import Gaussian
from socca.noise import Normal
from tests.data.gaussians import erf_gaussian

SHAPE = (21, 24)


def test_arguments_by_position(write_fits, tmp_path, make_header, make_psf):
    rng = np.random.default_rng(1)
    data, response, exposure = rng.normal(size=SHAPE), rng.uniform(0.5, 1, SHAPE), rng.uniform(1, 2, SHAPE)
    path, noise = write_fits(tmp_path / "image.fits", data, make_header(SHAPE)), Normal(sigma=2.0)
    psf, mask = 5 * make_psf((5, 5)), np.ones((9, 10))
    mask[2, 3] = 0
    names = list(inspect.signature(Image).parameters)
    assert names[:5] == ["img", "response", "exposure", "noise", "subgrid"]
    options = {"img_idx": 0, "center": (11, 9), "csize": (9, 10), "addmask": {"regions": mask, "combine": True}}
    options["addpsf"] = {"img": psf, "normalize": True, "idx": 0}
    one = Image(path, response, exposure, noise, 3, **options)
    other = Image(img=path, response=response, exposure=exposure, noise=noise, subgrid=3, **options)
    for image in (one, other):
        assert (image.shape, image.subgrid, image.noise) == ((9, 10), 3, noise)
        np.testing.assert_allclose(image.data, data[5:14, 6:16], rtol=1e-12)
        np.testing.assert_array_equal(image.response, response[5:14, 6:16])
        assert (image.mask.sum(), image.mask[2, 3]) == (89, 0)
        np.testing.assert_allclose(image.psf, psf / 5, rtol=1e-12)


def test_masks_and_psfs_by_position():
    image = Image(np.zeros(SHAPE), pixel_scale=0.2)
    image.addpsf(np.ones((3, 5)), False)
    np.testing.assert_array_equal(image.psf, np.ones((3, 5)))
    first, second = np.ones(SHAPE), np.ones(SHAPE)
    first[0], second[1] = 0, 0
    image.addmask(first)
    image.addmask(second, False)
    assert (image.mask[0].all(), image.mask[1].any()) == (True, False)


def test_the_grid_of_pixels(make_image, make_header, pixel):
    x, y = make_image(shape=SHAPE).grid
    rows, cols = np.indices(SHAPE)
    np.testing.assert_allclose(x, (11.5 - cols) * pixel, rtol=0, atol=1e-15)
    np.testing.assert_allclose(y, (rows - 10) * pixel, rtol=0, atol=1e-15)
    image = make_image(shape=SHAPE, header=make_header(SHAPE, ra=359.9999, dec=-60, rotation=33))
    ra, dec = image.wcs.all_pix2world(cols, rows, 0)
    np.testing.assert_allclose(image.grid.x, ra, rtol=1e-12)
    np.testing.assert_allclose(image.grid.y, dec, rtol=1e-12)
    # What a model takes as a position: a source there is at that pixel.
    at = (4, 17)
    light = Gaussian(xc=image.grid.x[at], yc=image.grid.y[at], rs=pixel, Is=1.0).getmap(image)
    assert np.unravel_index(light.argmax(), SHAPE) == at
    np.testing.assert_allclose(image.frame.to_pixel(image.grid.x[at], image.grid.y[at]), at, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 9), (8, 8), (7, 8)])
def test_convolution_of_an_array(make_image, make_psf, shape):
    """A Gaussian through a Gaussian: the PSF's reference point is its centre, between pixels where its size is even."""
    image = make_image(shape=(31, 34), psf=make_psf((19 + shape[0] % 2, 19 + shape[1] % 2), sigma=1.6))
    plane = erf_gaussian((31, 34), 1.0, -2.0, 2.5, 1.0)
    found = image.convolve(plane)
    assert found.shape == plane.shape
    wide = np.sqrt(2.5**2 + 1.6**2)
    truth = erf_gaussian((31, 34), 1.0, -2.0, wide, (2.5 / wide) ** 2)
    np.testing.assert_allclose(found, truth, rtol=0, atol=3e-4 * truth.max())
    assert found.sum() == pytest.approx(plane.sum(), rel=1e-3)


def test_convolution_does_not_wrap(make_image, make_psf):
    image = make_image(shape=(15, 16), psf=make_psf((9, 9), skewed=True))
    plane = np.zeros((15, 16))
    plane[0, 3] = 1
    found = image.convolve(plane)
    np.testing.assert_allclose(found[:5, :8], image.psf[4:, 1:], rtol=0, atol=1e-15)
    assert np.abs(found[5:]).max() < 1e-15


def test_convolution_needs_a_psf_on_the_pixels_of_the_image(make_image, make_psf):
    image = make_image(shape=SHAPE)
    assert image.convolve is None
    image.addpsf(make_psf((9, 9), sigma=2.5), oversample=2)
    with pytest.raises(DataError, match=r"2 times finer .* getmap\(img, convolve=True\)"):
        image.convolve(np.zeros(SHAPE))
    image.addpsf(make_psf())
    with pytest.raises(DataError, match=r"expected a two-dimensional image, got shape \(3,\)"):
        image.convolve(np.zeros(3))
