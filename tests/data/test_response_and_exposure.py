"""Response and exposure in models and likelihoods."""

import numpy as np
import pytest
from scipy import signal, stats

from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Point
from socca.noise import Normal
from socca.priors import uniform
from tests.data.gaussians import erf_gaussian, model_of, offsets, point_gaussian

SHAPE = (31, 34)
#: Different along rows and columns, and from either end.
RESPONSE = 0.5 + np.add.outer(np.linspace(0, 1, SHAPE[0]) ** 2, 0.3 * np.linspace(0, 1, SHAPE[1]) ** 3)
EXPOSURE = 1.0 + np.add.outer(np.linspace(1, 0, SHAPE[0]) ** 3, 0.7 * np.linspace(0, 1, SHAPE[1]) ** 2)


@pytest.fixture(scope="module")
def scene(make_image, make_psf, pixel):
    """An image with both maps and a PSF, and a model: a galaxy across the edge, a point, a background."""
    noise = Normal(sigma=0.3)
    data = np.random.default_rng(1).normal(1, 1, SHAPE)
    image = make_image(data, psf=make_psf((9, 9), skewed=True), response=RESPONSE, exposure=EXPOSURE, noise=noise)
    model = model_of(
        Gaussian(xc=-4.3 * pixel, yc=13.2 * pixel, rs=3 * pixel, Is=uniform(0, 9)),
        Point(xc=5.5 * pixel, yc=-6 * pixel, Ic=10.0),
        Background(a0=0.7, a1x=0.001),
    )
    return image, model


def expected_light(make_psf, response):
    """Return the Gaussian times a response, through the PSF, on the frame."""
    margin = 12
    large = tuple(n + 2 * margin for n in SHAPE)
    # The PSF holds the pixel. Light of 3 pixels has nothing beyond the Nyquist frequency: to sum over pixels will do.
    light = point_gaussian(large, 13.2, -4.3, 3.0, 1.5) * np.pad(response, margin, mode="edge")
    return signal.fftconvolve(light, make_psf((9, 9), skewed=True), mode="same")[margin:-margin, margin:-margin]


def expected_point(make_psf, response):
    """Return the point, which lies on a pixel: column 16.5 - 5.5, row 15 - 6."""
    found = np.zeros(SHAPE)
    found[9 - 4 : 9 + 5, 11 - 4 : 11 + 5] = 10 * response[9, 11] * make_psf((9, 9), skewed=True)
    return found


@pytest.mark.parametrize(
    ("doresp", "doexp"),
    [(True, True), *(pytest.param(*r, marks=pytest.mark.slow) for r in ((False, True), (True, False), (False, False)))],
)
def test_response_and_exposure(scene, make_psf, doresp, doexp):
    image, model = scene
    response, exposure = (RESPONSE if doresp else np.ones(SHAPE)), (EXPOSURE if doexp else 1.0)
    raw, smoothed, background, negative = model.getmodel(image, [1.5], doresp=doresp, doexp=doexp)
    truth = (expected_light(make_psf, response) + expected_point(make_psf, response)) * exposure
    # The weights that bring cells to the pixels, by least squares, leave 3e-4 of a source's peak.
    np.testing.assert_allclose(smoothed - background, truth, rtol=0, atol=4e-4 * truth.max())
    # The background is nobody's light that the response could dim.
    _, east = offsets(SHAPE)
    np.testing.assert_allclose(background, (0.7 + 0.001 * east * 0.2) * exposure, rtol=1e-10)
    light = erf_gaussian(SHAPE, 13.2, -4.3, 3.0, 1.5)
    # The stencil's error for rs = 3 pixels is 1e-5 of the peak.
    np.testing.assert_allclose(raw, light * response, rtol=0, atol=5e-5 * light.max())
    assert not negative


@pytest.mark.thorough
def test_getmodel_leaves_both_out_by_default(scene):
    image, model = scene
    plain, without = model.getmodel(image, [1.5]), model.getmodel(image, [1.5], doresp=False, doexp=False)
    np.testing.assert_array_equal(plain.smoothed, without.smoothed)
    np.testing.assert_array_equal(plain.background, without.background)


def test_the_likelihood_uses_both(scene):
    image, model = scene
    problem = Problem(image, model)
    both = model.getmodel(image, [1.5], doresp=True, doexp=True)
    expected = stats.norm.logpdf(image.data, both.smoothed, 0.3).sum()
    assert problem.log_likelihood([1.5])[0] == pytest.approx(expected, rel=1e-11)


@pytest.mark.thorough
def test_predictions_have_both(scene):
    image, model = scene
    both = model.getmodel(image, [1.5], doresp=True, doexp=True)
    np.testing.assert_allclose(Problem(image, model).predict([1.5])[0], both.smoothed, rtol=1e-12)


@pytest.mark.parametrize("finer", [pytest.param({}, marks=pytest.mark.slow), {"subgrid": 2}])
def test_response_and_exposure_without_a_psf(make_image, pixel, finer):
    image = make_image(shape=SHAPE, response=RESPONSE, exposure=EXPOSURE, **finer)
    model = model_of(
        Gaussian(xc=-4.3 * pixel, yc=3.2 * pixel, rs=3 * pixel, Is=1.5), Point(xc=5.5 * pixel, yc=-6 * pixel, Ic=10.0)
    )
    raw, smoothed, _, _ = model.getmodel(image, [], doresp=True, doexp=True)
    truth = erf_gaussian(SHAPE, 3.2, -4.3, 3.0, 1.5)
    truth[9, 11] += 10
    # On the finer grid a point lies between pixels, whose responses are interpolated in steps.
    atol = 5e-5 if not finer else 2e-2
    np.testing.assert_allclose(raw, truth * RESPONSE, rtol=0, atol=atol * truth.max())
    np.testing.assert_allclose(smoothed, raw * EXPOSURE, rtol=1e-12)


def test_response_between_pixels_is_interpolated(make_image, make_psf, pixel):
    # A plane is what linear interpolation gets right; at the edge the response stays that of the edge.
    rows, cols = np.indices(SHAPE)
    response = 1 + 0.02 * rows + 0.005 * cols
    image = make_image(shape=SHAPE, response=response, psf=make_psf((9, 9), sigma=1.3))
    for row, col, expected in [(10.3, 20.6, 1 + 0.206 + 0.103), (14.2, 6.9, 1 + 0.284 + 0.0345)]:
        point = Point(xc=(16.5 - col) * pixel, yc=(row - 15) * pixel, Ic=1.0)
        got = model_of(point).getmodel(image, [], doresp=True).smoothed
        # The Gaussian's spectrum at the Nyquist frequency: 2e-4; its sum is the zero frequency, and exact.
        assert got.sum() == pytest.approx(expected, rel=1e-3)
