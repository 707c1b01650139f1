"""Intensities with normal priors integrated out, against multivariate normals written down in full."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from socca.likelihood.marginal import Marginal
from socca.models import Background, Gaussian, Point, Tie, boundto
from socca.noise import Normal, NormalCorrelated, NormalFourier
from socca.priors import normal, uniform
from socca.samplers.base import completed
from tests.likelihood.amplitudes import (
    AMPLITUDES,
    DATA,
    MEAN,
    SHAPE,
    SIGMA,
    SIZE,
    WIDTH,
    at,
    box,
    components,
    covariance_of,
    design,
    draws_at,
    tied,
)

MASK = np.random.default_rng(12).random(SHAPE) > 0.1
#: Correlated over a pixel or two.
_at = np.indices(SHAPE).reshape(2, -1).T
COVARIANCE = 0.2 * np.exp(-np.hypot(*(_at[:, None] - _at).transpose(2, 0, 1)) / 1.2) + 0.05 * np.eye(SIZE)
#: Even under reflection, as a real field's spectrum is.
_row, _col = np.meshgrid(np.fft.fftfreq(SHAPE[0]), np.fft.fftfreq(SHAPE[1]), indexing="ij")
POWER = 0.1 + 0.3 * np.exp(-(_row**2 + _col**2) / 0.02)
NOISES = {
    "normal": (lambda: Normal(sigma=SIGMA), lambda: np.diag(SIGMA.ravel() ** 2)),
    "correlated": (lambda: NormalCorrelated(cov=COVARIANCE, scale=0.8), lambda: 0.64 * COVARIANCE),
    "fourier": (lambda: NormalFourier(cov=POWER, ftype="full"), lambda: circulant()),
}


def circulant():
    """Return the covariance of periodic noise: that of two pixels is the transform of the power at their distance."""
    correlation = np.fft.ifft2(POWER).real
    difference = _at[:, None] - _at
    return correlation[difference[..., 0], difference[..., 1]]


@pytest.mark.parametrize("noise", NOISES)
def test_normal_priors(problem_of, templates, pixel, noise):
    masked = {} if noise == "fourier" else {"addmask": {"regions": MASK}}
    marginal = Marginal(problem_of(components(pixel), NOISES[noise][0](), **masked))
    used = np.ones(SIZE, bool) if noise == "fourier" else MASK.ravel()
    covariance = NOISES[noise][1]()[np.ix_(used, used)]
    assert marginal.names == ["comp_00_xc"]
    assert marginal.linear_labels == list(AMPLITUDES)
    positions = np.array([[1.2], [1.9], [2.8]]) * pixel
    solved = marginal.solve(positions)
    np.testing.assert_array_equal(marginal.log_likelihood(positions), solved.log_likelihood)
    for k, position in enumerate(positions[:, 0]):
        t, rest = templates(position)
        t, off = t[used], (DATA.ravel() - rest)[used]
        whole = covariance + (t * WIDTH**2) @ t.T
        expected = stats.multivariate_normal.logpdf(off, t @ MEAN, whole)
        # Doubles through matrices of condition 1e3.
        assert solved.log_likelihood[k] == pytest.approx(expected, rel=1e-9)
        # The posterior by the gain matrix, which never inverts what socca does.
        gain = np.linalg.solve(whole, t * WIDTH**2).T
        np.testing.assert_allclose(solved.mean[k], MEAN + gain @ (off - t @ MEAN), rtol=1e-8)
        spread = np.diag(WIDTH**2) - gain @ (t * WIDTH**2)
        np.testing.assert_allclose(covariance_of(solved, k), spread, rtol=1e-7, atol=1e-10)


def test_integral_over_the_whole_likelihood(problem_of, pixel):
    # Nothing but the problem's own likelihood and the priors' densities, on a grid of all three amplitudes.
    problem = problem_of(components(pixel), Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    solved = marginal.solve([[1.9 * pixel]])
    center, spread = solved.mean[0], np.sqrt(np.diag(covariance_of(solved)))
    # Seven standard deviations each way leave out 1e-11, and 24 points are enough for 1e-4.
    grid, volume = box(center - 7 * spread, center + 7 * spread, 24)
    theta = np.tile(at(problem, 1.9 * pixel), (len(grid), 1))
    theta[:, [problem.names.index(name) for name in AMPLITUDES]] = grid
    log_prior = stats.norm.logpdf(grid, MEAN, WIDTH).sum(1)
    expected = logsumexp(problem.log_likelihood(theta) + log_prior, b=volume)
    assert solved.log_likelihood[0] == pytest.approx(expected, abs=1e-3)


def test_draws_have_the_moments(problem_of, pixel):
    problem = problem_of(components(pixel), Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    n, position = 4000, 1.9 * pixel
    done = completed(draws_at(np.full((n, 1), position)), marginal, np.random.default_rng(5))
    assert done.samples.shape == (n, 4)
    assert done.logz == -100.0
    assert done.logz_err == 0.1
    np.testing.assert_array_equal(done.samples[:, problem.names.index("comp_00_xc")], position)
    solved = marginal.solve([[position]])
    covariance = covariance_of(solved)
    found = done.samples[:, [problem.names.index(name) for name in AMPLITUDES]]
    spread = np.sqrt(np.diag(covariance))
    # Four standard errors.
    assert np.all(np.abs(found.mean(0) - solved.mean[0]) < 4 * spread / np.sqrt(n))
    off = (np.cov(found, rowvar=False) - covariance) / np.outer(spread, spread)
    assert np.abs(off).max() < 4 * np.sqrt(2 / n)
    np.testing.assert_allclose(done.log_likelihood[:5], problem.log_likelihood(done.samples[:5]), rtol=1e-10)
    again = completed(draws_at(np.full((3, 1), position)), marginal, np.random.default_rng(5))
    twice = completed(draws_at(np.full((3, 1), position)), marginal, np.random.default_rng(5))
    np.testing.assert_array_equal(again.samples, twice.samples)
    assert done.notes["marginalized"] == marginal.linear_labels


# Other parameters.


def test_noise_parameters_and_gradients(problem_of, pixel):
    noise = Normal(sigma=SIGMA, scale=uniform(0.5, 2), floor=uniform(0.05, 0.5))
    *points, background = components(pixel)
    # A tied parameter out of its range rules a model out as it does without.
    background.rs = tied(f"{2.7 * pixel} - comp_00_xc")
    problem = problem_of((*points, background), noise)
    marginal = Marginal(problem)
    # The noise's own level has the unit of the image, and is no amplitude.
    assert marginal.names == ["comp_00_xc", "noise_scale", "noise_floor"]
    assert len(marginal.linear_labels) == 3
    assert np.isneginf(marginal.log_likelihood([[2.8 * pixel, 0.9, 0.2]])[0])
    theta = np.array([[1.8 * pixel, 0.9, 0.2], [2.3 * pixel, 1.3, 0.4]])
    value, gradient = marginal.log_likelihood_and_grad(theta)
    np.testing.assert_allclose(value, marginal.log_likelihood(theta), rtol=1e-12)
    linear = [problem.names.index(name) for name in AMPLITUDES]
    whole = np.zeros(problem.ndim)
    for row, got in zip(theta, value, strict=True):
        whole[[problem.names.index(name) for name in marginal.names]] = row
        t, rest = design(problem, whole, linear)
        covariance = np.diag((row[1] * SIGMA.ravel()) ** 2 + row[2] ** 2) + (t * WIDTH**2) @ t.T
        expected = stats.multivariate_normal.logpdf(DATA.ravel() - rest, t @ MEAN, covariance)
        assert got == pytest.approx(expected, rel=1e-9)
    for k, step in enumerate([1e-4 * pixel, 1e-5, 1e-5]):
        move = step * np.eye(3)[k]
        numeric = (marginal.log_likelihood(theta + move) - marginal.log_likelihood(theta - move)) / 2
        # Truncation 1e-8, rounding 1e-13.
        np.testing.assert_allclose(gradient[:, k] * step, numeric, rtol=1e-5, atol=1e-9)


def test_prior_and_transform_are_of_what_is_sampled(problem_of, pixel):
    problem = problem_of(components(pixel), Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    got = marginal.prior_transform([[0.25], [0.75]])
    np.testing.assert_allclose(got[:, 0], [1.5 * pixel, 2.5 * pixel])
    np.testing.assert_allclose(marginal.log_prior(got), -np.log(2 * pixel))
    assert np.isneginf(marginal.log_prior([[4 * pixel]])[0])
    assert marginal.digest() != problem.digest()
    assert marginal.digest() == Marginal(problem_of(components(pixel), Normal(sigma=SIGMA))).digest()


def scaled(**values):
    return values["comp_02_Ic"] * values["comp_00_rs"] * 3600


def test_extended_light_and_ties(problem_of, pixel):
    galaxy = Gaussian(xc=0.4 * pixel, yc=-0.3 * pixel, rs=uniform(pixel, 3 * pixel), Is=normal(1.2, 0.4), e=0.2)
    galaxy.id = "comp_00"
    sky = Background(a0=normal(0.1, 0.3))
    # What is only reported may be anything: at zero light, this has no value.
    sky.addparameter("contrast", tied("comp_01_a0 / comp_00_Is"))
    parts = (
        galaxy,
        sky,
        Point(xc=-3 * pixel, yc=0, Ic=tied("0.5 * comp_00_Is - comp_01_a0 / 4 + 0.2")),
        Point(xc=-2 * pixel, yc=pixel, Ic=boundto(galaxy, "Is")),
        Point(xc=2 * pixel, yc=pixel, Ic=Tie(("comp_02_Ic", "comp_00_rs"), scaled)),
    )
    problem = problem_of(parts, Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    assert marginal.names == ["comp_00_rs"]
    t, rest = design(problem, [1.7 * pixel, 0, 0], [1, 2])
    covariance = np.diag(SIGMA.ravel() ** 2) + (t * WIDTH[[0, 2]] ** 2) @ t.T
    expected = stats.multivariate_normal.logpdf(DATA.ravel() - rest, t @ MEAN[[0, 2]], covariance)
    assert marginal.log_likelihood([[1.7 * pixel]])[0] == pytest.approx(expected, rel=1e-9)


def test_light_that_a_function_adds_to_an_amplitude(problem_of, pixel):
    """The second source has 3 more than the first: that is light without amplitudes, on a component that it acts on."""
    first = Gaussian(xc=0.0, yc=0.0, rs=uniform(pixel, 3 * pixel), Is=normal(1, 2))
    second = Gaussian(xc=2 * pixel, yc=pixel, rs=1.5 * pixel)
    second.Is = lambda comp_00_Is: comp_00_Is + 3.0  # noqa: N803
    problem = problem_of((first, second), Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    theta = np.zeros(problem.ndim)
    theta[problem.names.index("comp_00_rs")] = 1.7 * pixel
    (columns, rest) = design(problem, theta, [problem.names.index("comp_00_Is")])
    assert rest.max() > 1
    covariance = np.diag(SIGMA.ravel() ** 2) + 4 * columns @ columns.T
    expected = stats.multivariate_normal(rest + columns[:, 0], covariance).logpdf(DATA.ravel())
    assert marginal.log_likelihood(np.array([[1.7 * pixel]]))[0] == pytest.approx(expected, abs=1e-7)
