"""The likelihood, prior and parameters of one problem, and points that are impossible in it."""

import numpy as np
import pytest
from scipy import stats

from socca.errors import ModelError
from socca.likelihood.compiled import BATCH
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model
from socca.noise import Normal
from socca.priors import normal, uniform
from tests.likelihood.scenes import DATA, MASK, SHAPE, SIGMA, background


def test_names(problem):
    assert problem.names == ["comp_00_xc", "comp_00_rs", "comp_00_Is"]
    assert problem.labels == ["disk.xc", "disk.rs", "disk.Is"]
    assert problem.units == ["deg", "deg", "image"]
    assert problem.ndim == 3
    assert problem.periods == [None, None, None]


def test_log_likelihood_is_scipys(problem, theta):
    got = problem.log_likelihood(theta)
    for row, value in zip(theta, got, strict=True):
        drawn = problem.render(row)
        logpdf = stats.norm.logpdf(DATA, drawn.smoothed + drawn.background, SIGMA)
        # A few hundred terms of order one in doubles.
        assert value == pytest.approx(logpdf[MASK].sum(), rel=1e-11)


def test_masked_pixels_do_not_matter(make_problem, problem, theta):
    data = np.where(MASK, DATA, 1e9)
    np.testing.assert_array_equal(make_problem(data=data).log_likelihood(theta), problem.log_likelihood(theta))
    data = np.where(MASK, DATA, np.nan)
    np.testing.assert_array_equal(make_problem(data=data).log_likelihood(theta), problem.log_likelihood(theta))


def test_density_of_one_pixel_integrates_to_one(make_problem, problem, theta):
    at = (8, 9)
    alone = np.zeros(SHAPE, bool)
    alone[at] = True
    center, sigma = problem.render(theta[0]).smoothed[at], SIGMA[at]
    total = 0.0
    for step in np.arange(-8, 8.25, 0.5):
        data = DATA.copy()
        data[at] = center + step * sigma
        total += np.exp(make_problem(data=data, mask=alone).log_likelihood(theta[0])[0]) * 0.5 * sigma
    # The sum of a Gaussian at steps of sigma / 2 differs from its integral by exp(-79), its tails by 1e-15.
    assert total == pytest.approx(1, abs=1e-12)


def test_batches_are_one_by_one(problem):
    unit = np.random.default_rng(4).random((BATCH + 7, problem.ndim))
    theta = problem.prior_transform(unit)
    assert theta.shape == unit.shape
    many, prior = problem.log_likelihood(theta), problem.log_prior(theta)
    assert many.shape == prior.shape == (BATCH + 7,)
    for k in (0, 1, BATCH - 1, BATCH, BATCH + 6):
        assert problem.log_likelihood(theta[k]) == many[k : k + 1]
        assert problem.log_prior(theta[k]) == prior[k : k + 1]
        assert problem.log_likelihood(theta[k : k + 2])[0] == many[k]
    assert len(set(many)) == len(many)


def test_no_rows(problem):
    none = np.empty((0, problem.ndim))
    assert problem.log_likelihood(none).shape == (0,)
    assert problem.log_prior(none).shape == (0,)
    assert problem.prior_transform(none).shape == none.shape
    value, gradient = problem.log_likelihood_and_grad(none)
    assert value.shape == (0,)
    assert gradient.shape == none.shape


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 4), (2, 2, 3), ()])
def test_wrong_shapes(problem, shape):
    for method in ("log_likelihood", "log_prior", "prior_transform", "values"):
        with pytest.raises(ModelError, match=rf"{method}.*\(n, 3\)"):
            getattr(problem, method)(np.zeros(shape))
    with pytest.raises(ModelError, match=r"render.*\(3,\)"):
        problem.render(np.zeros(shape))


def test_prior(problem):
    unit = np.random.default_rng(5).random((20, problem.ndim))
    theta = problem.prior_transform(unit)
    for k, prior in enumerate(problem.priors):
        # NumPy and JAX in doubles; ndtri differs in the last digits.
        np.testing.assert_allclose(theta[:, k], prior.icdf(unit[:, k]), rtol=1e-10)
    wanted = sum(prior.log_prob(theta[:, k]) for k, prior in enumerate(problem.priors))
    np.testing.assert_allclose(problem.log_prior(theta), wanted, rtol=1e-10)
    theta[0, 1] *= 100
    assert problem.log_prior(theta)[0] == -np.inf


def test_gradient(problem, theta):
    value, gradient = problem.log_likelihood_and_grad(theta)
    np.testing.assert_allclose(value, problem.log_likelihood(theta), rtol=1e-12)
    # Through the tie: the brightness is a linear parameter, so the likelihood is a parabola in it.
    step = np.array([0, 0, 0.1])
    numeric = (problem.log_likelihood(theta + step) - problem.log_likelihood(theta - step)) / 0.2
    np.testing.assert_allclose(gradient[:, 2], numeric, rtol=1e-9, atol=1e-9)


def test_values(problem, theta, pixel):
    values = problem.values(theta)
    assert set(values) == set(problem.all_labels)
    np.testing.assert_array_equal(values["comp_00_rs"], theta[:, 1])
    np.testing.assert_allclose(values["comp_01_Ic"], 0.5 * theta[:, 2])
    np.testing.assert_allclose(values["comp_00_yc"], np.full(len(theta), 0.3 * pixel))


def test_nan_is_impossible(problem, theta):
    bad = theta[:2].copy()
    bad[0, 2] = np.nan
    got = problem.log_likelihood(bad)
    assert got[0] == -np.inf
    assert np.isfinite(got[1])


def test_free_out_of_range(make_image, pixel):
    model = Model(Gaussian(xc=0, yc=0, rs=2 * pixel, Is=1.0, e=normal(0.1, 0.2)))
    got = Problem(make_image(DATA), model).log_likelihood([[0.1], [-0.1]])
    assert np.isfinite(got[0])
    assert got[1] == -np.inf


def test_positive(make_image, pixel):
    for positive in (True, False):
        model = Model(Gaussian(xc=0, yc=0, rs=2 * pixel, Is=uniform(-1, 1)), positive=positive)
        got = Problem(make_image(DATA), model).log_likelihood([[0.5], [-0.5]])
        assert np.isfinite(got[0])
        assert np.isfinite(got[1]) == (not positive)


def test_models_without_free_parameters(make_image):
    problem = Problem(make_image(DATA, noise=Normal(sigma=SIGMA)), Model(Background(a0=0.4)))
    assert problem.ndim == 0
    wanted = stats.norm.logpdf(DATA, 0.4, SIGMA).sum()
    assert problem.log_likelihood(np.empty((1, 0)))[0] == pytest.approx(wanted, rel=1e-12)
    assert problem.log_prior(np.empty((2, 0))).tolist() == [0, 0]


def test_prior_transform_without_free_parameters(make_image):
    problem = Problem(make_image(DATA), Model(Background(a0=0.4)))
    assert problem.prior_transform(np.empty((2, 0))).shape == (2, 0)


def test_another_noise(make_image):
    model = background()
    image = make_image(DATA, noise=Normal(sigma=1.0))
    default, other = Problem(image, model), Problem(image, model, noise=Normal(var=SIGMA**2))
    assert default.log_likelihood([0.4])[0] == pytest.approx(stats.norm.logpdf(DATA, 0.4, 1).sum(), rel=1e-12)
    assert other.log_likelihood([0.4])[0] == pytest.approx(stats.norm.logpdf(DATA, 0.4, SIGMA).sum(), rel=1e-12)
