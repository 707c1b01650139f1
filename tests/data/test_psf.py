"""Point-spread functions given as functions, oversampled, or without normalisation."""

import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling import models
from scipy.special import erf, j1

from socca.data import Image
from socca.data.psf import UndersampledPsfWarning
from socca.errors import DataError

SHAPE = (41, 37)


@pytest.fixture
def image():
    return Image(np.ones(SHAPE), pixel_scale=0.2)


def gaussian(x, y, sigma=1.1):
    return np.exp(-0.5 * (x**2 + y**2) / sigma**2)


def integrated_gaussian(shape, sigma, oversample=1):
    """Return a unit Gaussian's mean over a whole pixel of the image about the centre of each (part of a) pixel."""
    rows, cols = (
        0.5 * (erf((at + 0.5) / (np.sqrt(2) * sigma)) - erf((at - 0.5) / (np.sqrt(2) * sigma)))
        for at in ((np.arange(n) - (n - 1) / 2) / oversample for n in shape)
    )
    return np.outer(rows, cols)


# Functions.


@pytest.mark.parametrize("sigma", [0.5, 1.1, 3.0])
@pytest.mark.parametrize("shape", [(15, 15), (14, 11)])
@pytest.mark.parametrize("oversample", [1, 2, 3])
def test_a_function_is_integrated_over_pixels(image, sigma, shape, oversample):
    image.addpsf(
        lambda x, y: gaussian(x, y, sigma) / (2 * np.pi * sigma**2),
        normalize=False,
        shape=shape,
        oversample=oversample,
    )
    # The remainder of eight points is 1.7e-23 of the 16th derivative, which is 15!! / sigma^16 of the peak, once for
    # each axis: 2e-12 for the narrowest.
    wanted = integrated_gaussian(shape, sigma, oversample)
    np.testing.assert_allclose(image.psf, wanted, rtol=0, atol=3e-12)
    assert image.psf_oversample == oversample
    assert image.psf_includes_pixel


@pytest.mark.parametrize("oversample", [1, 3])
def test_a_function_that_holds_the_pixel_is_taken_as_it_is(image, oversample):
    image.addpsf(gaussian, normalize=False, shape=(15, 14), oversample=oversample, includes_pixel=True)
    rows, cols = ((np.arange(n) - (n - 1) / 2) / oversample for n in (15, 14))
    np.testing.assert_allclose(image.psf, gaussian(cols, rows[:, None]), rtol=1e-13)
    assert image.psf_includes_pixel


def test_whether_an_array_holds_the_pixel(image, make_psf):
    psf = make_psf((11, 11))
    for given, expected in (({}, True), ({"includes_pixel": False}, False), ({"includes_pixel": True}, True)):
        image.addpsf(psf, **given)
        assert image.psf_includes_pixel is expected
        np.testing.assert_allclose(image.psf, psf, rtol=1e-14)
    with pytest.raises(DataError, match="psf: includes_pixel must be True or False, got 'no'"):
        image.addpsf(psf, includes_pixel="no")


def test_x_are_columns_and_y_are_rows(image):
    image.addpsf(lambda x, y: x + 100 * y + 1000, normalize=False, shape=(3, 5))
    rows, cols = np.indices((3, 5)) - np.array([1, 2])[:, None, None]
    np.testing.assert_allclose(image.psf, cols + 100 * rows + 1000, rtol=1e-14)


def test_a_function_may_be_undefined_at_its_centre(image):
    def airy(x, y):
        r = 1.2 * np.hypot(x, y)
        return (2 * j1(r) / r) ** 2

    image.addpsf(airy, shape=15)
    assert np.unravel_index(np.argmax(image.psf), (15, 15)) == (7, 7)


@pytest.mark.parametrize("oversample", [1, 3])
def test_the_default_shape_holds_the_flux(image, oversample):
    image.addpsf(gaussian, normalize=False, oversample=oversample)
    rows, cols = image.psf.shape
    assert rows == cols
    assert rows % 2 == 1
    total = 2 * np.pi * 1.1**2 * oversample**2
    assert image.psf.sum() >= (1 - 1e-4) * total
    # One ring fewer would not do.
    assert image.psf[1:-1, 1:-1].sum() < (1 - 1e-4) * total


def test_the_default_shape_ends_at_the_image(image):
    image.addpsf(lambda x, y: (1 + (x**2 + y**2) / 9) ** -1.5)
    assert image.psf.shape == SHAPE
    assert image.psf.sum() == pytest.approx(1, abs=1e-12)
    image.addpsf(lambda x, y: (1 + (x**2 + y**2) / 9) ** -1.5, oversample=2)
    assert image.psf.shape == (81, 73)


def test_a_narrow_function_is_one_pixel(image):
    with pytest.warns(UndersampledPsfWarning, match="narrower than its pixels"):
        image.addpsf(lambda x, y: gaussian(x, y, 0.05))
    assert image.psf.shape == (1, 1)


def test_a_function_is_recentred_on_request(image):
    def skewed(x, y):
        return gaussian(x - 1, y + 2)

    image.addpsf(skewed, shape=17, center="peak")
    assert np.unravel_index(np.argmax(image.psf), (17, 17)) == (8, 8)
    image.addpsf(skewed, shape=17)
    assert np.unravel_index(np.argmax(image.psf), (17, 17)) == (6, 9)


@pytest.mark.parametrize(
    "model",
    [
        models.Gaussian2D(7.0, 12.3, -4.5, 1.1, 1.1),
        models.Moffat2D(3.0, 12.3, -4.5, 3.0, 4.0),
        models.AiryDisk2D(3.0, 12.3, -4.5, 4.0),
    ],
    ids=lambda model: model.name or type(model).__name__,
)
def test_models_of_astropy_are_taken_about_their_own_centre(image, model):
    image.addpsf(model, shape=(15, 17))
    found = image.psf
    x, y = ("x_mean", "y_mean") if isinstance(model, models.Gaussian2D) else ("x_0", "y_0")
    centred = model.copy()
    setattr(centred, x, 0.0)
    setattr(centred, y, 0.0)
    image.addpsf(lambda x, y: centred(x, y), shape=(15, 17))
    np.testing.assert_allclose(found, image.psf, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found, found[::-1, ::-1], rtol=0, atol=1e-13)
    if isinstance(model, models.Gaussian2D):
        wanted = integrated_gaussian((15, 17), 1.1)
        np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=0, atol=1e-12)


def test_models_of_photutils(image):
    psf = pytest.importorskip("photutils.psf")
    wanted = integrated_gaussian((15, 15), 1.1)
    wanted = wanted / wanted.sum()
    fwhm = 1.1 * 2 * np.sqrt(2 * np.log(2))
    for model in (
        psf.CircularGaussianPSF(flux=3, x_0=5.2, y_0=-1, fwhm=fwhm),
        psf.CircularGaussianPRF(flux=3, x_0=5.2, y_0=-1, fwhm=fwhm),
        psf.GaussianPRF(flux=3, x_0=5.2, y_0=-1, x_fwhm=fwhm, y_fwhm=fwhm),
    ):
        image.addpsf(model, shape=15)
        np.testing.assert_allclose(image.psf, wanted, rtol=0, atol=1e-9, err_msg=type(model).__name__)
    image.addpsf(psf.ImagePSF(wanted, x_0=3, y_0=4), shape=15)
    np.testing.assert_allclose(image.psf, wanted, rtol=0, atol=1e-12)
    # A finer ePSF is read off at the image's pixels.
    fine = np.exp(-0.5 * np.add.outer(*[(np.arange(61) - 30.0) ** 2] * 2) / (4 * 1.1) ** 2)
    image.addpsf(psf.ImagePSF(fine, oversampling=4), shape=15)
    picked = fine[2:60:4, 2:60:4]
    np.testing.assert_allclose(image.psf, picked / picked.sum(), rtol=0, atol=1e-12)
    # On finer pixels, those that are integrated over the image's pixels are evaluated between these, and others are
    # integrated over them.
    wanted = integrated_gaussian((30, 30), 1.1, 2)
    for model in (psf.CircularGaussianPSF(fwhm=fwhm), psf.CircularGaussianPRF(fwhm=fwhm)):
        image.addpsf(model, shape=30, oversample=2)
        np.testing.assert_allclose(image.psf, wanted / wanted.sum(), rtol=0, atol=1e-9, err_msg=type(model).__name__)
        assert image.psf_includes_pixel
    with pytest.raises(DataError, match=r"psf: CircularGaussianPRF is integrated .* leave out includes_pixel=False"):
        image.addpsf(psf.CircularGaussianPRF(fwhm=fwhm), includes_pixel=False)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, y: np.ones(3), r"one for each point.*returned shape \(3,\)"),
        (lambda x, y: 1.0, r"returned shape \(\)"),
        (lambda x, y: np.full(x.shape, "a"), "real numbers"),
        (lambda x, y: x + 1j, "real numbers.*complex"),
        (lambda x, y: np.where(x > 1, np.nan, 1), "not finite at"),
        (lambda x: x, "cannot be evaluated: TypeError"),
        (lambda x, y: x * 0, "zero"),
        (lambda x, y: x, "positive sum"),
    ],
)
@pytest.mark.parametrize("shape", [None, 9])
def test_functions_that_cannot_be_used(image, function, said, shape):
    with pytest.raises(DataError, match=f"psf.*{said}"):
        image.addpsf(function, shape=shape)
    assert image.psf is None


@pytest.mark.parametrize(
    ("shape", "said"),
    [((43, 5), "larger"), (0, "whole number"), (2.5, "whole number"), ((3, 3, 3), "one number or two")],
)
def test_bad_shapes(image, shape, said):
    with pytest.raises(DataError, match=f"psf.*{said}"):
        image.addpsf(gaussian, shape=shape)


def test_an_array_keeps_its_shape(image):
    with pytest.raises(DataError, match="never altered"):
        image.addpsf(np.ones((5, 5)), shape=3)


# Oversampled arrays.


def test_an_oversampled_array_may_be_larger_than_the_image(image, make_psf):
    psf = make_psf((81, 111), sigma=4)
    with pytest.raises(DataError, match="larger"):
        image.addpsf(psf)
    with pytest.raises(DataError, match=r"larger.*divided by 2"):
        image.addpsf(psf, oversample=2)
    assert (image.psf, image.psf_oversample) == (None, 1)
    image.addpsf(psf, oversample=3)
    assert image.psf_oversample == 3
    np.testing.assert_allclose(image.psf, psf, rtol=1e-14)
    image.addpsf(psf[20:60, 40:70])
    assert image.psf_oversample == 1


@pytest.mark.parametrize("oversample", [0, -1, 1.5, "2", None, True, np.nan])
def test_bad_oversampling(image, oversample):
    with pytest.raises(DataError, match=f"psf: oversample .*{re.escape(repr(oversample))}"):
        image.addpsf(np.ones((3, 3)), oversample=oversample)


# Beams.


def test_beams_of_any_sum_are_kept_as_they_are(image):
    beam = np.outer([-1.0, 2, -1], [-1.0, 2, -1])
    assert beam.sum() == 0
    image.addpsf(beam, normalize=False)
    np.testing.assert_array_equal(image.psf, beam)
    with pytest.raises(DataError, match="positive sum"):
        image.addpsf(beam)
    with pytest.raises(DataError, match="zero"):
        image.addpsf(np.zeros((3, 3)), normalize=False)
    with pytest.raises(DataError, match="finite"):
        image.addpsf(np.full((3, 3), np.nan), normalize=False)
    with pytest.raises(DataError, match="centroid"):
        image.addpsf(beam, normalize=False, center="centroid")


@pytest.mark.parametrize("shape", [(1, 9, 7), (1, 1, 9, 7)])
def test_degenerate_axes(image, tmp_path, shape, make_psf):
    path = tmp_path / "psf.fits"
    fits.PrimaryHDU(make_psf((9, 7)).reshape(shape)).writeto(path)
    image.addpsf(path)
    assert image.psf.shape == (9, 7)
