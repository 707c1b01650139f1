"""Poisson noise: counts, darkness, and models that a PSF makes ring below zero."""

import jax
import numpy as np
import pytest
from scipy import special, stats

from socca.errors import DataError
from socca.likelihood.problem import Problem
from socca.models import Background, Exponential, Model, Point
from socca.noise import Poisson
from socca.noise.poisson import ringing
from socca.priors import uniform
from tests.noise.cases import SHAPE, SIZE, TEMPLATE, drawn, evaluate


@pytest.mark.parametrize("background", [0.0, 2.5])
def test_probability_of_counts_sums_to_one(prepared, background):
    alone = np.zeros(SHAPE, bool)
    alone[2, 3] = True
    noise, image = prepared("poisson", used=alone, background=background)
    total = 0.0
    for count in range(60):
        image.data[2, 3] = count
        total += np.exp(evaluate(noise, image, TEMPLATE))
    # The mean is below six: more than sixty counts have a probability of 1e-35.
    assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("model", "count", "wanted"),
    [(0.0, 0, 0.0), (0.0, 3, 3 * np.log(np.finfo(float).eps) - np.log(6)), (-0.1, 0, -np.inf), (-1e-12, 0, -np.inf)],
)
def test_poisson_without_light(make_image, model, count, wanted):
    data = np.ones(SHAPE)
    data[0, 0] = count
    total = np.ones(SHAPE)
    total[0, 0] = model
    noise = Poisson()
    image = make_image(data, noise=noise)
    ones = SIZE - 1
    assert evaluate(noise, image, total) == pytest.approx(wanted - ones, rel=1e-12)
    arrays = noise.prepare(image)
    with jax.enable_x64(True):
        gradient = jax.grad(
            lambda a: noise.log_likelihood(drawn(a * total, jax.numpy), arrays, {"background": 0.0}, noise.spec())
        )(1.0)
    assert np.isfinite(gradient)


def test_poisson_takes_rounding_for_darkness(make_image):
    data = np.zeros(SHAPE)
    data[3, 3] = 1e3
    total = np.full(SHAPE, -1e-14)
    total[3, 3] = 1e3
    assert evaluate(Poisson(), make_image(data), total) == pytest.approx(stats.poisson.logpmf(1000, 1000), rel=1e-10)
    total[3, 3] = np.nan
    assert np.isnan(evaluate(Poisson(), make_image(data), total))


def test_no_light_at_all(make_image):
    assert evaluate(Poisson(), make_image(np.zeros(SHAPE)), np.zeros(SHAPE)) == 0
    assert evaluate(Poisson(), make_image(np.ones(SHAPE)), np.zeros(SHAPE)) == -np.inf
    assert evaluate(Poisson(), make_image(np.ones(SHAPE)), -TEMPLATE) == -np.inf


@pytest.mark.parametrize(
    ("precision", "error"), [("float64", 1e-6), pytest.param("float32", 0.05, marks=pytest.mark.slow)]
)
def test_counts_of_a_compact_source_through_a_psf(make_image, make_psf, pixel, precision, error):
    psf, shape = make_psf((25, 25), sigma=1.7), (48, 49)
    model = Model(Exponential(xc=0.3 * pixel, yc=0.2 * pixel, rs=0.4 * pixel, Is=uniform(1, 1e5)))
    mean = Problem(make_image(shape=shape, noise=Poisson(), psf=psf), model).render([3e4]).total
    # The light is sampled for the PSF to some 1e-4 of its peak, and falls below zero by as much.
    assert -5e-4 < mean.min() / mean.max() < -1e-7
    data = np.random.default_rng(8).poisson(np.maximum(mean, 0)).astype(float)
    # A photon of another source where next to nothing is expected.
    data[2, 3] = 1
    problem = Problem(make_image(data, noise=Poisson(), psf=psf), model, precision=precision)
    expected = problem.render([3e4]).total
    np.testing.assert_allclose(expected, mean, rtol=0, atol=1e-5 * mean.max())
    size = np.maximum(np.abs(expected), np.finfo(precision).eps * expected.max())
    wanted = (special.xlogy(data, size) - expected - special.gammaln(data + 1)).sum()
    assert problem.log_likelihood([3e4])[0] == pytest.approx(wanted, abs=error)


@pytest.mark.parametrize("precision", [pytest.param("float64", marks=pytest.mark.slow), "float32"])
def test_counts_of_a_point_source(make_image, make_psf, pixel, precision):
    row, col = np.indices((41, 41)) - 20.0
    psf = make_psf((25, 25), sigma=1.3)
    model = Model(Point(xc=uniform(-pixel, pixel), yc=0.4 * pixel, Ic=uniform(1, 1e4)))
    at = 0.5 * pixel, 2000.0
    mean = at[1] * np.exp(-0.5 * ((row - 0.4) ** 2 + (col + 0.5) ** 2) / 1.3**2) / (2 * np.pi * 1.3**2)
    data = np.random.default_rng(9).poisson(mean).astype(float)
    problem = Problem(make_image(data, noise=Poisson(), psf=psf), model, precision=precision)
    assert problem.render(at).total.min() < -1e-3  # counts: it rings
    # The rings, of 1e-2 counts at most, matter where fewer than 0.1 counts are expected: to a handful of photons, each
    # of which has the logarithm of its expectation wrong by about one.
    faint = data[mean < 0.1].sum()
    assert 0 < faint < 10
    assert problem.log_likelihood([at])[0] == pytest.approx(stats.poisson.logpmf(data, mean).sum(), abs=faint)
    # All of the light is on the image, so that the likeliest flux is the number of photons.
    _, gradient = problem.log_likelihood_and_grad([[at[0], data.sum()]])
    assert gradient[0, 1] == pytest.approx(0, abs=1e-4)
    assert np.isfinite(gradient[0, 0])
    # What is truly negative is still ruled out.
    below = Model(Point(xc=0.5 * pixel, yc=0.4 * pixel, Ic=2000.0))
    below.addcomponent(Background(a0=uniform(-1, 1)))
    sky = Problem(make_image(data, noise=Poisson(), psf=psf), below, precision=precision)
    assert list(np.isfinite(sky.log_likelihood([[-0.01], [0.0], [0.01]]))) == [False, True, True]


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.85, 5e-3, 2e-2), (1.3, 2e-5, 1e-4), (2.0, 1e-10, 1e-8)])
def test_ringing_of_a_psf(make_image, make_psf, pixel, sigma, least, most):
    psf = make_psf((31, 31), sigma=sigma)
    assert ringing(None) == 0
    assert least < ringing(psf) < most
    problem = Problem(make_image(shape=(41, 41), psf=psf), Model(Point(xc=uniform(-1, 1), yc=uniform(-1, 1), Ic=1.0)))
    for at in np.random.default_rng(3).uniform(-1, 1, (5, 2)) * pixel:
        drawn = problem.render(at).total
        assert drawn.min() > -1.1 * ringing(psf) * drawn.max()


def test_counts_in_single_precision_are_counts(make_image):
    data = np.float32(np.arange(SIZE).reshape(SHAPE) * 1.0000001)
    arrays = Poisson().prepare(make_image(data))
    np.testing.assert_array_equal(arrays.data, np.arange(SIZE).reshape(SHAPE))


@pytest.mark.parametrize("wrong", [0.5, -1.0])
def test_poisson_data_are_counts(make_image, wrong):
    data = np.ones(SHAPE)
    data[2, 3] = data[4, 4] = wrong
    with pytest.raises(DataError, match=rf"2 used pixel\(s\) are not, such as {wrong:g} in row 2, column 3"):
        Poisson().prepare(make_image(data))
    image = make_image(data)
    image.mask[2, 3] = image.mask[4, 4] = 0
    assert np.isfinite(evaluate(Poisson(), image, TEMPLATE))
