"""Intensities integrated out of the likelihood, against multivariate normals written down in full."""

import math

import numpy as np
import pytest
import yaml
from scipy import integrate, stats
from scipy.special import logsumexp

import socca
from socca.errors import ConfigError, ModelError
from socca.fitting.sample import completed
from socca.likelihood.marginal import Marginal
from socca.likelihood.problem import Problem
from socca.models import Background, CustomProfile, Gaussian, Model, Point, Sersic, Tie, boundto
from socca.noise import Normal, NormalCorrelated, NormalFourier, Poisson, StudentT
from socca.parameters.expressions import parse
from socca.posterior import Posterior
from socca.posterior.storage import header_of, open_result
from socca.priors import loguniform, normal, uniform
from socca.samplers.base import Draws
from socca.survey.check import check_survey
from socca.survey.fit_targets import fit_all
from socca.survey.survey import Survey

SHAPE = (12, 13)
SIZE = SHAPE[0] * SHAPE[1]
SIGMA = np.random.default_rng(11).uniform(0.3, 0.6, SHAPE)
MASK = np.random.default_rng(12).random(SHAPE) > 0.1
DATA = np.random.default_rng(13).normal(0.8, 0.5, SHAPE)
#: Correlated over a pixel or two.
_at = np.indices(SHAPE).reshape(2, -1).T
COVARIANCE = 0.2 * np.exp(-np.hypot(*(_at[:, None] - _at).transpose(2, 0, 1)) / 1.2) + 0.05 * np.eye(SIZE)
#: Even under reflection, as a real field's spectrum is.
_row, _col = np.meshgrid(np.fft.fftfreq(SHAPE[0]), np.fft.fftfreq(SHAPE[1]), indexing="ij")
POWER = 0.1 + 0.3 * np.exp(-(_row**2 + _col**2) / 0.02)


#: Mean and standard deviation of the three amplitudes' priors.
MEAN, WIDTH = np.array([1.2, 3.0, 0.1]), np.array([0.4, 2.0, 0.3])
AMPLITUDES = ("comp_00_Ic", "comp_01_Ic", "comp_02_a0")


def components(pixel, amplitudes=None, second=(2.2, 3.1)):
    """Return two points and a background: a position that is sampled, and three amplitudes."""
    one, two, three = amplitudes or [normal(*numbers) for numbers in zip(MEAN, WIDTH, strict=True)]
    return (
        Point(xc=uniform(1 * pixel, 3 * pixel), yc=-0.3 * pixel, Ic=one),
        Point(xc=second[0] * pixel, yc=second[1] * pixel, Ic=two),
        Background(a0=three),
    )


def model_of(*parts):
    model = Model()
    for part in parts:
        model.addcomponent(part)
    return model


@pytest.fixture(scope="module")
def problem_of(make_image, make_psf):
    """Give a function that makes problems. Points compile in a moment, and a PSF makes them smooth."""

    def make(parts, noise, data=DATA, **kwargs):
        return Problem(make_image(data, noise=noise, psf=make_psf((7, 7), sigma=1.4), **kwargs), model_of(*parts))

    return make


def tied(text):
    """Return a tie to the parameters in an expression."""
    return Tie(tuple(sorted(parse(text).names())), parse(text))


def design(problem, theta, linear):
    """Return the images of unit amplitudes, shape (pixels, k), and that of none."""
    zero = np.array(theta, float)
    zero[linear] = 0
    rest = problem.render(zero).total
    columns = []
    for k in linear:
        one = zero.copy()
        one[k] = 1
        columns.append((problem.render(one).total - rest).ravel())
    return np.stack(columns, axis=1), rest.ravel()


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


@pytest.fixture(scope="module")
def templates(problem_of, pixel):
    """Give a function from positions to the image without amplitudes and those of each, whatever their priors."""

    def get(position, second=(2.2, 3.1)):
        problem = problem_of(components(pixel, second=second), Normal(sigma=SIGMA))
        return design(problem, at(problem, position), [problem.names.index(name) for name in AMPLITUDES])

    return get


def at(problem, position):
    theta = np.zeros(problem.ndim)
    theta[problem.names.index("comp_00_xc")] = position
    return theta


def covariance_of(solved, k=0):
    return np.linalg.inv(solved.factor[k] @ solved.factor[k].T)


# Normal priors.


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


def box(low, high, n):
    """Return points and weights of Gauss-Legendre quadrature over a box."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    axes = [0.5 * (a + b) + 0.5 * (b - a) * nodes for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(low))
    sides = [0.5 * (b - a) * weights for a, b in zip(low, high, strict=True)]
    return grid, np.prod(np.meshgrid(*sides, indexing="ij"), axis=0).ravel()


def draws_at(rows, logz=-100.0):
    rows = np.asarray(rows, float)
    n = len(rows)
    return Draws(rows, np.full(n, -np.log(n)), np.zeros(n), logz, 0.1, True)


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


# Flat priors. All of these share one program: bounds and positions are arguments.


def gaussian_of(templates, position, second=(2.2, 3.1)):
    """Return precision, mean, and log of the likelihood at the mean, of the three amplitudes."""
    t, rest = templates(position, second)
    weight = 1 / SIGMA.ravel() ** 2
    precision = (t.T * weight) @ t
    mean = np.linalg.lstsq(precision, (t.T * weight) @ (DATA.ravel() - rest), rcond=1e-12)[0]
    return precision, mean, stats.norm.logpdf(DATA.ravel(), rest + t @ mean, SIGMA.ravel()).sum()


def within(precision, mean, peak, low, high):
    """Return the log of the integral within bounds, mean and covariance, by quadrature over nine deviations at most."""
    spread = 9 * np.sqrt(np.diag(np.linalg.inv(precision)))
    grid, volume = box(np.maximum(low, mean - spread), np.minimum(high, mean + spread), 60)
    heights = -0.5 * np.einsum("ni,ij,nj->n", grid - mean, precision, grid - mean)
    total = logsumexp(heights, b=volume)
    weights = volume * np.exp(heights - total)
    center = weights @ grid
    return peak + total, center, (grid - center).T @ (weights[:, None] * (grid - center))


#: Bounds in standard deviations from the mean: (low, high) of each amplitude.
BITES = {
    "none": ((-30, 40), (-50, 20), (-20, 20)),
    "one": ((0.5, 9), (-50, 20), (-20, 20)),
    "two": ((0.5, 9), (-50, -1), (-20, 20)),
    "three": ((-2, 0.3), (1, 8), (0.2, 1.5)),
    "tails": ((5, 9), (-30, 20), (-9, -3)),
}


@pytest.fixture(scope="module")
def flat(problem_of, pixel):
    """Give a function from bounds to the problem of three flat priors, and its marginal."""

    def make(low, high, **kwargs):
        flats = [uniform(a, b) for a, b in zip(low, high, strict=True)]
        problem = problem_of(components(pixel, flats, **kwargs), Normal(sigma=SIGMA))
        return problem, Marginal(problem)

    return make


@pytest.mark.parametrize("bite", BITES)
def test_flat_priors(flat, templates, pixel, bite):
    position = 1.3 * pixel
    precision, mean, peak = gaussian_of(templates, position)
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    low, high = (mean + np.array(BITES[bite]).T * sd).round(6)
    expected, center, covariance = within(precision, mean, peak, low, high)
    expected -= np.log(high - low).sum()
    problem, marginal = flat(low, high)
    got = float(marginal.log_likelihood([[position]])[0])
    # Exact where no bound is near, or else as good as 256 quasi-random points, which is 3e-3 at worst.
    assert got == pytest.approx(expected, abs=1e-6 if bite == "none" else 5e-3)
    n = 4000
    done = completed(draws_at(np.full((n, 1), position), logz=got), marginal, np.random.default_rng(6))
    # The draws correct the evidence, within the error that they state.
    error = math.sqrt(done.logz_err**2 - 0.1**2)
    assert error < 5e-3
    assert done.logz == pytest.approx(expected, abs=4 * error + 1e-6)
    weights, found = np.exp(done.log_weights), done.samples[:, [problem.names.index(name) for name in AMPLITUDES]]
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert np.all((found >= low) & (found <= high))
    n_eff = 1 / (weights**2).sum()
    assert n_eff > n / 2
    spread = np.sqrt(np.diag(covariance))
    # Four standard errors, those of the variances for kurtoses up to 9, that of an exponential tail.
    assert np.all(np.abs(weights @ found - center) < 4 * spread / np.sqrt(n_eff))
    off = (np.cov(found, rowvar=False, aweights=weights) - covariance) / np.outer(spread, spread)
    assert np.abs(off).max() < 4 * np.sqrt(8 / n_eff)
    np.testing.assert_allclose(done.log_likelihood[:5], problem.log_likelihood(done.samples[:5]), rtol=1e-9)


def test_an_amplitude_that_the_image_does_not_constrain(flat, templates, pixel):
    # The second point lies far outside the image: its light is nowhere in it.
    second, position = (50.0, 3.1), 1.3 * pixel
    assert np.abs(templates(position, second)[0][:, 1]).max() == 0
    precision, mean, peak = (
        (np.delete(part, 1, -1) for part in gaussian_of(templates, position, second)[:2]),
        None,
        None,
    )
    precision, mean, peak = gaussian_of(templates, position, second)
    kept = np.array([0, 2])
    precision, mean = precision[np.ix_(kept, kept)], mean[kept]
    low, high = np.array([mean[0], -7.0, -8.0]), np.array([30.0, 5.0, 8.0])
    expected, *_ = within(precision, mean, peak, low[kept], high[kept])
    _, marginal = flat(low, high, second=second)
    got = float(marginal.log_likelihood([[position]])[0])
    # The prior of the amplitude that is not seen integrates to one, and the cut of the first to 3e-3 as above.
    assert got == pytest.approx(expected - np.log((high - low)[kept]).sum(), abs=5e-3)
    n = 4000
    done = completed(draws_at(np.full((n, 1), position), logz=got), marginal, np.random.default_rng(7))
    posterior = done.samples[:, 2]
    assert stats.kstest(posterior, stats.uniform(-7, 12).cdf).pvalue > 1e-3


def test_amplitudes_of_which_only_the_sum_is_known(flat, templates, pixel):
    # Both points in the same place.
    second, position = (1.3, -0.3), 1.3 * pixel
    t, rest = templates(position, second)
    np.testing.assert_allclose(t[:, 0], t[:, 1], atol=1e-12)
    low, high = np.array([-10.0, -20.0, -8.0]), np.array([30.0, 20.0, 8.0])
    _, marginal = flat(low, high, second=second)
    got = float(marginal.log_likelihood([[position]])[0])
    weight = 1 / SIGMA.ravel() ** 2
    two = t[:, [0, 2]]
    precision = (two.T * weight) @ two
    mean = np.linalg.solve(precision, (two.T * weight) @ (DATA.ravel() - rest))
    peak = stats.norm.logpdf(DATA.ravel(), rest + two @ mean, SIGMA.ravel()).sum()
    log_norm = np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1]
    # The first term of a given sum can be anything for which the second is within its bounds too.
    length = min(30.0, mean[0] + 20) - max(-10.0, mean[0] - 20)
    assert got == pytest.approx(peak + log_norm + np.log(length / (40 * 40 * 16)), abs=5e-3)
    done = completed(draws_at(np.full((4000, 1), position), logz=got), marginal, np.random.default_rng(8))
    total = done.samples[:, 1] + done.samples[:, 2]
    sd = np.sqrt(np.linalg.inv(precision)[0, 0])
    assert np.average(total, weights=np.exp(done.log_weights)) == pytest.approx(mean[0], abs=5 * sd / np.sqrt(2000))


def test_far_beyond_the_bounds(flat, pixel):
    _, marginal = flat([500, 500, 500], [600, 501, 600])
    value = marginal.log_likelihood([[1.3 * pixel], [2.5 * pixel]])
    assert np.all(np.isfinite(value))
    assert np.all(value < -1e4)


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


# What is refused.


@pytest.mark.parametrize("noise", [StudentT(sigma=1.0), Poisson(background=1.0)], ids=["studentt", "poisson"])
def test_other_noise_is_refused(problem_of, pixel, noise):
    problem = problem_of(components(pixel), noise, data=np.ones(SHAPE))
    with pytest.raises(ModelError, match="is not Gaussian"):
        Marginal(problem)


def test_no_amplitude_is_refused(problem_of, pixel):
    parts = (Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=loguniform(0.1, 10)),)
    for noise in (Normal(sigma=1.0), Normal(sigma=1.0, floor=uniform(0, 1))):
        with pytest.raises(ModelError, match="no intensity of a component has a normal or a uniform prior"):
            Marginal(problem_of(parts, noise))


def test_nothing_left_to_sample_is_refused(problem_of):
    parts = (Point(xc=0, yc=0, Ic=uniform(0, 10)), Background(a0=normal(0, 1)))
    with pytest.raises(ModelError, match=r"comp_00_Ic, comp_01_a0 would all be integrated out.*leave marginalize out"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


def test_an_added_parameter_is_refused(problem_of, pixel):
    source = Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10))
    source.addparameter("twice", uniform(0, 20), "image")
    with pytest.raises(ModelError, match=r"comp_00_twice was added.*another prior"):
        Marginal(problem_of((source,), Normal(sigma=1.0)))


def test_positive_components_are_refused(problem_of, pixel):
    parts = (Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10), positive=True), Background(a0=0.1))
    with pytest.raises(ModelError, match=r"comp_00.*must be positive"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))
    # By a tie too.
    parts = (
        Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10)),
        Point(xc=0, yc=0, Ic=tied("2 * comp_00_Ic"), positive=True),
    )
    with pytest.raises(ModelError, match=r"comp_01_Ic.*must be positive"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


@pytest.mark.parametrize("number", [10, 100])
def test_a_hundred_components(problem_of, pixel, number):
    # comp_100 begins like comp_10.
    parts = [Point(xc=k * pixel / 20, yc=0, Ic=1.0) for k in range(101)]
    parts[10].positive = True
    parts[number].xc, parts[number].Ic = uniform(0, pixel), uniform(0, 10)
    problem = problem_of(parts, Normal(sigma=1.0))
    if number == 10:
        with pytest.raises(ModelError, match="comp_10_Ic belongs to a component that must be positive"):
            Marginal(problem)
    else:
        assert Marginal(problem).linear_labels == ["comp_100_Ic"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (lambda pixel: Point(xc=tied(f"{pixel} * comp_00_Ic"), yc=0, Ic=1.0), "comp_01_xc is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("comp_00_Ic ** 2")), "comp_01_Ic is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("comp_00_Ic * comp_00_Ic")), "comp_01_Ic is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("1 / comp_00_Ic")), "comp_01_Ic is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("max(comp_00_Ic, 0)")), "comp_01_Ic is tied to comp_00_Ic"),
        (
            lambda pixel: Point(xc=0, yc=0, Ic=Tie(("comp_00_Ic",), lambda **v: v["comp_00_Ic"] ** 2)),
            "comp_01 is not linear in comp_00_Ic",
        ),
        (
            lambda pixel: Point(xc=0, yc=0, Ic=Tie(("comp_00_Ic",), lambda **v: abs(v["comp_00_Ic"] - 1))),
            "comp_01 is not linear in",
        ),
        (
            lambda pixel: Gaussian(xc=0, yc=0, rs=Tie(("comp_00_Ic",), lambda **v: v["comp_00_Ic"]), Is=1.0),
            "comp_01_rs is tied",
        ),
        (lambda pixel: custom("I0 ** 2 * exp(-r)", uniform(0.5, 2)), "comp_01 is not linear in comp_00_Ic, comp_01_I0"),
        (lambda pixel: custom("exp(-r / I0)", tied("comp_00_Ic")), "comp_01 is not linear in comp_00_Ic"),
    ],
)
def test_what_is_not_linear_is_refused(problem_of, pixel, more, message):
    parts = (Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)), more(pixel))
    with pytest.raises(ModelError, match=message):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


def custom(profile, value):
    return CustomProfile([{"name": "I0", "unit": "image"}], profile, xc=0, yc=0, I0=value)


def test_an_added_parameter_between_two_intensities_is_refused(problem_of, pixel):
    first = Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2))
    first.addparameter("half", tied("comp_00_Ic / 2"), "image")
    parts = (first, Point(xc=0, yc=0, Ic=tied("comp_00_half")))
    with pytest.raises(ModelError, match="comp_01_Ic is tied to comp_00_half"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


@pytest.mark.parametrize("level", [{"floor": "comp_00_Ic / 10"}, {"scale": "comp_00_Ic + 1"}], ids=["floor", "scale"])
def test_a_noise_level_tied_to_an_amplitude_is_refused(problem_of, pixel, level):
    # The image is linear in it, and the likelihood no Gaussian of it.
    parts = (Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)),)
    noise = Normal(sigma=1.0, **{name: tied(text) for name, text in level.items()})
    with pytest.raises(ModelError, match=r"noise\.(floor|scale) is tied to comp_00_Ic"):
        Marginal(problem_of(parts, noise))


# Samplers.


@pytest.fixture(scope="module")
def small(make_image, make_psf, pixel):
    """Give a function from bounds to a fitter: a point with a flat amplitude, and a background with a normal one."""
    psf = make_psf((7, 7), sigma=1.4)
    truth = Point(xc=0.3 * pixel, yc=0.2 * pixel, Ic=60.0).getmap(make_image(shape=SHAPE, psf=psf), convolve=True)
    data = truth + 0.3 + np.random.default_rng(21).normal(size=SHAPE)

    def make(low, high):
        model = model_of(
            Point(xc=uniform(-2 * pixel, 2 * pixel), yc=uniform(-2 * pixel, 2 * pixel), Ic=uniform(low, high)),
            Background(a0=normal(0, 1)),
        )
        return socca.fitter(img=make_image(data, noise=Normal(sigma=1.0), psf=psf), mod=model)

    return make


@pytest.mark.parametrize("bounds", [(-50, 150), (0, 55), (75, 110), (-20, 0)])
def test_one_flat_prior_beside_a_normal_one(small, pixel, bounds):
    problem = small(*bounds).problem
    marginal = Marginal(problem)
    theta = np.array([[0.2 * pixel, 0.1 * pixel]])
    t, rest = design(problem, [*theta[0], 0, 0], [2, 3])
    data = small(-50, 150).img.data.ravel() - rest
    noise = stats.multivariate_normal(np.zeros(SIZE), np.eye(SIZE) + np.outer(t[:, 1], t[:, 1]))
    precision = t[:, 0] @ np.linalg.solve(noise.cov, t[:, 0])
    best = t[:, 0] @ np.linalg.solve(noise.cov, data) / precision
    peak = noise.logpdf(data - best * t[:, 0])
    # Adaptive quadrature, scaled by the highest value within the bounds.
    top = np.clip(best, *bounds)
    height = -0.5 * precision * (top - best) ** 2
    area, _ = integrate.quad(
        lambda a: math.exp(-0.5 * precision * (a - best) ** 2 - height), *bounds, points=[top], epsabs=0, epsrel=1e-10
    )
    expected = peak + height + math.log(area) - math.log(bounds[1] - bounds[0])
    value, gradient = marginal.log_likelihood_and_grad(theta)
    assert value[0] == pytest.approx(expected, abs=1e-7)
    step = 1e-4 * pixel * np.eye(2)
    numeric = (marginal.log_likelihood(theta + step) - marginal.log_likelihood(theta - step)) / 2e-4
    np.testing.assert_allclose(gradient[0] * pixel, numeric, rtol=1e-5, atol=1e-6)
    n = 4000
    done = completed(draws_at(np.tile(theta, (n, 1)), logz=value[0]), marginal, np.random.default_rng(6))
    assert (done.logz, done.logz_err) == (value[0], 0.1)  # nothing to correct
    sd = precision**-0.5
    cut = stats.truncnorm((bounds[0] - best) / sd, (bounds[1] - best) / sd, best, sd)
    assert stats.kstest(done.samples[:, 2], cut.cdf).pvalue > 1e-3


def test_every_method_gives_all_parameters(small):
    fit = small(-50, 150)
    posterior = fit.run(method="optimizer", marginalize=True, seed=1, n_starts=1, n_samples=300)
    assert posterior.names == ["comp_00_xc", "comp_00_yc", "comp_00_Ic", "comp_01_a0"]
    assert posterior.samples.shape[1] == 4
    assert np.all(np.isfinite(posterior.samples))
    np.testing.assert_allclose(posterior.log_likelihood[:4], fit.problem.log_likelihood(posterior.samples[:4]))
    assert posterior.meta["problem_digest"] == Marginal(fit.problem).digest()
    # Its standard error is 2 sqrt(pi) 1.4 sigma.
    assert np.average(posterior.samples[:, 2], weights=posterior.weights) == pytest.approx(60.0, abs=20)


@pytest.mark.slow
def test_evidence_and_posterior_are_those_of_sampling(make_image, make_psf, pixel):
    # Bright, so that the posterior of all parameters is round, and sampling has no difficulty.
    psf = make_psf((9, 9), sigma=1.4)
    galaxy = {"xc": 0.0, "yc": 0.0, "e": 0.3, "theta": 0.7}
    light = Sersic(**galaxy, re=3 * pixel, ns=1.5, Ie=200.0)
    truth = light.getmap(make_image(shape=(24, 24), psf=psf), convolve=True)
    data = truth + 2.0 + np.random.default_rng(22).normal(scale=2, size=truth.shape)
    model = model_of(
        Sersic(**galaxy, re=uniform(pixel, 6 * pixel), ns=uniform(0.5, 4), Ie=uniform(0, 1000)),
        Background(a0=uniform(0, 10)),
    )
    fit = socca.fitter(img=make_image(data, noise=Normal(sigma=2.0), psf=psf), mod=model)
    sampled = fit.run(method="nautilus", seed=3)
    marginal = fit.run(method="nautilus", seed=3, marginalize=True)
    assert marginal.names == sampled.names
    assert marginal.meta["n_calls"] < sampled.meta["n_calls"]
    assert marginal.meta["notes"]["marginalized"] == ["comp_00_Ie", "comp_01_a0"]
    # Four standard errors of the difference, as stated.
    error = np.hypot(sampled.logz_err, marginal.logz_err)
    assert error < 0.05
    assert marginal.logz == pytest.approx(sampled.logz, abs=4 * error)
    n = min(sampled.n_eff, marginal.n_eff)
    for k in range(sampled.samples.shape[1]):
        (one, spread), (two, other) = (moments(posterior, k) for posterior in (sampled, marginal))
        assert abs(one - two) < 5 * spread * np.sqrt(2 / n)
        # For kurtoses up to 9.
        assert other / spread == pytest.approx(1, abs=5 * np.sqrt(2 * 2 / n))


def moments(posterior, k):
    mean = np.average(posterior.samples[:, k], weights=posterior.weights)
    return mean, np.sqrt(np.average((posterior.samples[:, k] - mean) ** 2, weights=posterior.weights))


# Configs.


@pytest.fixture
def config(tmp_path, write_fits):
    """Return a config of one star that asks for it, its files beside it."""
    row, col = np.indices((16, 17)) - 8.0
    psf = np.exp(-(row**2 + col**2) / 2 / 1.4**2)
    light = 20 * psf + 0.5
    write_fits(tmp_path / "one.fits", light + np.random.default_rng(4).normal(size=light.shape))
    write_fits(tmp_path / "psf.fits", psf[4:13, 4:13])
    (tmp_path / "targets.csv").write_text("target,image,psf\none,one.fits,psf.fits\n")
    return {
        "survey": "one",
        "targets": "targets.csv",
        "output": str(tmp_path / "results"),
        "image": {"pixel_scale": "0.2 arcsec"},
        "noise": {"level": 1.0},
        "models": {
            "gauss": {
                "components": {
                    "star": {"type": "Point", "position": {"within": "0.4 arcsec"}, "Ic": {"uniform": [0, 900]}},
                    "sky": {"type": "Background", "a0": {"normal": [0, 1]}},
                }
            }
        },
        "sampler": {"method": "optimizer", "marginalize": True, "options": {"n_starts": 1, "n_samples": 300}},
    }


def written(tmp_path, config):
    (tmp_path / "survey.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return Survey.load(tmp_path / "survey.yaml")


def test_a_config_asks_for_it(tmp_path, config):
    survey = written(tmp_path, config)
    assert list(check_survey(survey)) == []
    (outcome,) = fit_all(survey, survey.jobs())
    assert outcome.status == "done", outcome.message
    path = survey.path("one", "gauss", "posterior.h5")
    posterior = Posterior.load(path)
    assert posterior.labels == ["star.xc", "star.yc", "star.Ic", "sky.a0"]
    mean = np.average(posterior.samples, axis=0, weights=posterior.weights)
    # Five standard errors: 2 sqrt(pi) 1.4 of the flux, and 1 / 16.
    assert mean[2] == pytest.approx(20 * 2 * np.pi * 1.4**2, abs=25)
    assert mean[3] == pytest.approx(0.5, abs=0.4)
    with open_result(path) as result:
        assert header_of(result).record.sampler.notes.marginalized == ["star.Ic", "sky.a0"]


def test_a_check_finds_what_cannot_be_integrated_out(tmp_path, config):
    components = config["models"]["gauss"]["components"]
    components["star"]["positive"] = True
    (found,) = check_survey(written(tmp_path, config))
    assert found.target == "one"
    assert "star.Ic belongs to a component that must be positive" in found.message
    components["star"].update(positive=None, xc="1 arcsec", yc=0)
    del components["star"]["position"]
    (found,) = check_survey(written(tmp_path, config))
    assert "star.Ic, sky.a0 would all be integrated out" in found.message


def test_a_config_with_other_noise_is_refused(tmp_path, config):
    config["noise"]["kind"] = "studentt"
    with pytest.raises(ConfigError, match=r"marginalize needs Gaussian noise \(.*normal\), and noise.kind is studentt"):
        written(tmp_path, config)
    config["noise"]["kind"] = "normal"
    config["overrides"] = {"one": {"noise": {"kind": "studentt"}}}
    with pytest.raises(ConfigError, match=r"overrides of one.*\n.*marginalize needs Gaussian noise"):
        written(tmp_path, config)
