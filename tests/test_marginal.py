"""Intensities integrated out of the likelihood, against multivariate normals written down in full."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import socca
from socca.errors import ModelError
from socca.expressions import parse
from socca.marginal import Marginal
from socca.models import Background, Gaussian, Model, Point, Tie, boundto
from socca.noise import Normal, NormalCorrelated, NormalFourier, Poisson, StudentT
from socca.priors import loguniform, normal, uniform
from socca.problem import Problem
from socca.samplers.base import Draws

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


def components(pixel):
    """Return two points and a background: a position that is sampled, and three amplitudes."""
    return (
        Point(xc=uniform(1 * pixel, 3 * pixel), yc=-0.3 * pixel, Ic=normal(1.2, 0.4)),
        Point(xc=2.2 * pixel, yc=3.1 * pixel, Ic=normal(3.0, 2.0)),
        Background(a0=normal(0.1, 0.3)),
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
    """Return a tie to the first intensity."""
    return Tie(("comp_00_Ic",), parse(text))


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
def pairs(problem_of, pixel):
    """Problems and their marginals, compiled once for each noise."""
    found = {}

    def get(name):
        if name not in found:
            masked = {} if name == "fourier" else {"addmask": {"regions": MASK}}
            problem = problem_of(components(pixel), NOISES[name][0](), **masked)
            used = np.ones(SIZE, bool) if name == "fourier" else MASK.ravel()
            found[name] = problem, Marginal(problem), NOISES[name][1]()[np.ix_(used, used)], used
        return found[name]

    return get


#: Mean and standard deviation of the three amplitudes' priors.
MEAN, WIDTH = np.array([1.2, 3.0, 0.1]), np.array([0.4, 2.0, 0.3])


@pytest.mark.parametrize("noise", NOISES)
def test_normal_priors(pairs, pixel, noise):
    problem, marginal, covariance, used = pairs(noise)
    assert marginal.names == ["comp_00_xc"]
    assert marginal.ndim == 1
    assert problem.ndim == 4
    linear = [problem.names.index(name) for name in ("comp_00_Ic", "comp_01_Ic", "comp_02_a0")]
    positions = np.array([[1.2], [1.9], [2.8]]) * pixel
    got = marginal.log_likelihood(positions)
    mean, root = marginal.amplitudes(positions)
    for k, position in enumerate(positions):
        theta = np.zeros(problem.ndim)
        theta[problem.names.index("comp_00_xc")] = position[0]
        t, rest = design(problem, theta, linear)
        t, off = t[used], (DATA.ravel() - rest)[used]
        whole = covariance + (t * WIDTH**2) @ t.T
        expected = stats.multivariate_normal.logpdf(off, t @ MEAN, whole)
        # Doubles through matrices of condition 1e3.
        assert got[k] == pytest.approx(expected, rel=1e-9)
        # The posterior by the gain matrix, which never inverts what socca does.
        gain = np.linalg.solve(whole, t * WIDTH**2).T
        np.testing.assert_allclose(mean[k], MEAN + gain @ (off - t @ MEAN), rtol=1e-8)
        spread = np.diag(WIDTH**2) - gain @ (t * WIDTH**2)
        np.testing.assert_allclose(root[k] @ root[k].T, spread, rtol=1e-7, atol=1e-10)


def test_integral_over_the_whole_likelihood(pairs, pixel):
    # Nothing but the problem's own likelihood and the priors' densities, on a grid of all three amplitudes.
    problem, marginal, _, _ = pairs("normal")
    mean, root = marginal.amplitudes([[1.9 * pixel]])
    center, spread = mean[0], np.sqrt(np.diag(root[0] @ root[0].T))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    # Seven standard deviations each way leave out 1e-11.
    axes = [c + 7 * s * nodes for c, s in zip(center, spread, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    volume = np.prod(np.meshgrid(*[7 * s * weights for s in spread], indexing="ij"), axis=0).ravel()
    theta = np.zeros((len(grid), problem.ndim))
    for name, column in zip(("comp_00_Ic", "comp_01_Ic", "comp_02_a0"), grid.T, strict=True):
        theta[:, problem.names.index(name)] = column
    theta[:, problem.names.index("comp_00_xc")] = 1.9 * pixel
    log_prior = stats.norm.logpdf(grid, MEAN, WIDTH).sum(1)
    expected = logsumexp(problem.log_likelihood(theta) + log_prior, b=volume)
    # 24 points over fourteen standard deviations are enough for 1e-4.
    assert marginal.log_likelihood([[1.9 * pixel]])[0] == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def flat(problem_of, pixel):
    """Two flat priors, far wider than their posteriors, and the position of a point of fixed light."""
    parts = (
        Point(xc=uniform(1 * pixel, 3 * pixel), yc=-0.3 * pixel, Ic=1.0),
        Point(xc=2.2 * pixel, yc=3.1 * pixel, Ic=uniform(-30, 50)),
        Background(a0=uniform(-8, 8)),
    )
    problem = problem_of(parts, Normal(sigma=SIGMA))
    return problem, Marginal(problem)


def test_flat_priors(flat, pixel):
    problem, marginal = flat
    linear = [1, 2]
    assert problem.names == ["comp_00_xc", "comp_01_Ic", "comp_02_a0"]
    for position in (1.3 * pixel, 2.5 * pixel):
        t, rest = design(problem, [position, 0, 0], linear)
        weight = 1 / SIGMA.ravel() ** 2
        precision = (t.T * weight) @ t
        best = np.linalg.solve(precision, (t.T * weight) @ (DATA.ravel() - rest))
        peak = stats.norm.logpdf(DATA.ravel(), rest + t @ best, SIGMA.ravel()).sum()
        expected = peak + np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1] - np.log(80 * 16)
        assert marginal.log_likelihood([[position]])[0] == pytest.approx(expected, rel=1e-10)
        mean, root = marginal.amplitudes([[position]])
        np.testing.assert_allclose(mean[0], best, rtol=1e-8)
        np.testing.assert_allclose(root[0] @ root[0].T, np.linalg.inv(precision), rtol=1e-8)
        # By quadrature over the likelihood itself: trapezoids converge exponentially for a Gaussian.
        spread = np.sqrt(np.diag(np.linalg.inv(precision)))
        axes = [b + s * np.arange(-9, 9.01, 0.5) for b, s in zip(best, spread, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        theta = np.column_stack([np.full(len(grid), position), grid])
        numeric = logsumexp(problem.log_likelihood(theta)) + np.log(0.25 * spread.prod()) - np.log(80 * 16)
        assert marginal.log_likelihood([[position]])[0] == pytest.approx(numeric, abs=1e-8)


def draws_at(rows, logz=-100.0):
    rows = np.asarray(rows, float)
    n = len(rows)
    return Draws(rows, np.full(n, -np.log(n)), np.zeros(n), logz, 0.1, True)


def test_draws_have_the_moments(pairs, pixel):
    problem, marginal, _, _ = pairs("normal")
    n, position = 20000, 1.9 * pixel
    done = marginal.complete(draws_at(np.full((n, 1), position)), np.random.default_rng(5))
    assert done.samples.shape == (n, 4)
    assert done.logz == -100.0
    assert done.logz_err == 0.1
    np.testing.assert_array_equal(done.samples[:, problem.names.index("comp_00_xc")], position)
    linear = [problem.names.index(name) for name in ("comp_00_Ic", "comp_01_Ic", "comp_02_a0")]
    mean, root = marginal.amplitudes([[position]])
    covariance = root[0] @ root[0].T
    found = done.samples[:, linear]
    spread = np.sqrt(np.diag(covariance))
    # Four standard errors.
    assert np.all(np.abs(found.mean(0) - mean[0]) < 4 * spread / np.sqrt(n))
    off = (np.cov(found, rowvar=False) - covariance) / np.outer(spread, spread)
    assert np.abs(off).max() < 4 * np.sqrt(2 / n)
    np.testing.assert_allclose(done.log_likelihood[:5], problem.log_likelihood(done.samples[:5]))
    again = marginal.complete(draws_at(np.full((3, 1), position)), np.random.default_rng(5))
    twice = marginal.complete(draws_at(np.full((3, 1), position)), np.random.default_rng(5))
    np.testing.assert_array_equal(again.samples, twice.samples)
    assert done.notes["marginalized"] == marginal.linear_labels


@pytest.mark.parametrize("cut", [0.0, -1.0, 1.0])
def test_flat_bounds_cut_the_posterior(problem_of, flat, pixel, caplog, cut):
    problem, _ = flat
    position = 1.9 * pixel
    t, rest = design(problem, [position, 0, 0], [2])
    weight = 1 / SIGMA.ravel() ** 2
    precision = float((t[:, 0] ** 2 * weight).sum())
    best = float((t[:, 0] * weight) @ (DATA.ravel() - rest)) / precision
    bound = best + cut / np.sqrt(precision)
    parts = (
        Point(xc=uniform(1 * pixel, 3 * pixel), yc=-0.3 * pixel, Ic=1.0),
        Point(xc=2.2 * pixel, yc=3.1 * pixel, Ic=0.0),
        Background(a0=uniform(-8, bound)),
    )
    small = problem_of(parts, Normal(sigma=SIGMA))
    marginal = Marginal(small)
    # The exact integral over what the prior allows, up to the bound.
    share = stats.norm.cdf(cut)
    peak = stats.norm.logpdf(DATA.ravel(), rest + t[:, 0] * best, SIGMA.ravel()).sum()
    expected = peak + 0.5 * np.log(2 * np.pi / precision) + np.log(share) - np.log(bound + 8)
    n = 20000
    start = float(marginal.log_likelihood([[position]])[0])
    with caplog.at_level("WARNING"):
        done = marginal.complete(draws_at(np.full((n, 1), position), logz=start), np.random.default_rng(6))
    # A binomial share: four standard errors.
    assert done.logz == pytest.approx(expected, abs=4 * np.sqrt((1 - share) / share / n))
    assert done.samples[:, 1].max() <= bound
    assert len(done.samples) == pytest.approx(n * share, abs=4 * np.sqrt(n * share * (1 - share)))
    assert logsumexp(done.log_weights) == pytest.approx(0, abs=1e-9)
    assert done.notes["within_flat_priors"] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))
    assert "cut off" in caplog.text
    # The mean of half a Gaussian.
    found = (done.samples[:, 1] - best) * np.sqrt(precision)
    assert found.mean() == pytest.approx(stats.truncnorm.mean(-np.inf, cut), abs=4 / np.sqrt(n * share))


def test_nothing_within_the_bounds(problem_of, pixel):
    parts = (Point(xc=uniform(1 * pixel, 3 * pixel), yc=0, Ic=uniform(500, 600)),)
    marginal = Marginal(problem_of(parts, Normal(sigma=0.1)))
    with pytest.raises(ModelError, match="lies outside the bounds"):
        marginal.complete(draws_at(np.full((10, 1), 2 * pixel)), np.random.default_rng(1))


def test_gradients(pairs, pixel):
    _, marginal, _, _ = pairs("normal")
    positions = np.array([[1.3], [2.4]]) * pixel
    value, gradient = marginal.log_likelihood_and_grad(positions)
    np.testing.assert_allclose(value, marginal.log_likelihood(positions), rtol=1e-12)
    step = 1e-4 * pixel
    numeric = (marginal.log_likelihood(positions + step) - marginal.log_likelihood(positions - step)) / (2 * step)
    # Truncation 1e-8, rounding 1e-13 / 1e-4.
    np.testing.assert_allclose(gradient[:, 0], numeric, rtol=1e-5, atol=1e-6 / pixel)


def test_gradients_of_noise_parameters(problem_of, pixel):
    noise = Normal(sigma=SIGMA, scale=uniform(0.5, 2), floor=uniform(0.05, 0.5))
    problem = problem_of(components(pixel), noise)
    marginal = Marginal(problem)
    # The noise's own level has the unit of the image, and is no amplitude.
    assert marginal.names == ["comp_00_xc", "noise_scale", "noise_floor"]
    assert len(marginal.linear_labels) == 3
    theta = np.array([[1.8 * pixel, 0.9, 0.2], [2.3 * pixel, 1.3, 0.4]])
    value, gradient = marginal.log_likelihood_and_grad(theta)
    linear = [problem.names.index(name) for name in ("comp_00_Ic", "comp_01_Ic", "comp_02_a0")]
    whole = np.zeros(problem.ndim)
    for row, got in zip(theta, value, strict=True):
        whole[[problem.names.index(name) for name in marginal.names]] = row
        t, rest = design(problem, whole, linear)
        covariance = np.diag((row[1] * SIGMA.ravel()) ** 2 + row[2] ** 2) + (t * WIDTH**2) @ t.T
        assert got == pytest.approx(
            stats.multivariate_normal.logpdf(DATA.ravel() - rest, t @ MEAN, covariance), rel=1e-9
        )
    steps = np.array([1e-4 * pixel, 1e-5, 1e-5])
    for k, step in enumerate(steps):
        move = step * np.eye(3)[k]
        numeric = (marginal.log_likelihood(theta + move) - marginal.log_likelihood(theta - move)) / (2 * step)
        np.testing.assert_allclose(gradient[:, k] * step, numeric * step, rtol=1e-5, atol=1e-9)


def test_prior_and_transform_are_of_what_is_sampled(pairs, pixel):
    problem, marginal, _, _ = pairs("normal")
    got = marginal.prior_transform([[0.25], [0.75]])
    np.testing.assert_allclose(got[:, 0], [1.5 * pixel, 2.5 * pixel])
    np.testing.assert_allclose(marginal.log_prior(got), -np.log(2 * pixel))
    assert np.isneginf(marginal.log_prior([[4 * pixel]])[0])
    assert marginal.digest() != problem.digest()


def test_impossible_models(problem_of, pixel):
    # A tied parameter out of its range rules a model out as it does without.
    parts = (
        Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=normal(1, 1)),
        Background(a0=0.1, rs=Tie(("comp_00_xc",), parse(f"{1.5 * pixel} - comp_00_xc"))),
    )
    marginal = Marginal(problem_of(parts, Normal(sigma=SIGMA)))
    value = marginal.log_likelihood([[1.2 * pixel], [1.7 * pixel]])
    assert np.isfinite(value[0])
    assert np.isneginf(value[1])


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


def test_positive_components_are_refused(problem_of, pixel):
    parts = (Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10), positive=True), Background(a0=0.1))
    with pytest.raises(ModelError, match=r"comp_00.*must be positive"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


@pytest.mark.parametrize(
    "more",
    [
        lambda pixel: Point(xc=tied(f"{pixel} * comp_00_Ic"), yc=0, Ic=1.0),
        lambda pixel: Point(xc=0, yc=0, Ic=tied("comp_00_Ic ** 2")),
        lambda pixel: Point(xc=0, yc=0, Ic=tied("sqrt((comp_00_Ic - 1) ** 2)")),
    ],
    ids=["position", "square", "kink"],
)
def test_what_is_not_linear_is_refused(problem_of, pixel, more):
    parts = (Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)), more(pixel))
    with pytest.raises(ModelError, match="not linear in comp_00"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


def test_a_radius_tied_to_an_intensity_is_refused(problem_of, pixel):
    parts = (
        Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)),
        Gaussian(xc=0, yc=0, rs=tied(f"{pixel} * comp_00_Ic"), Is=1.0),
    )
    with pytest.raises(ModelError, match="not linear in comp_00"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


def test_a_noise_level_tied_to_an_amplitude_is_refused(problem_of, pixel):
    # The image is linear in it, and the likelihood no Gaussian of it.
    parts = (Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)),)
    for level in ({"floor": tied("comp_00_Ic / 10")}, {"scale": tied("comp_00_Ic + 1")}):
        with pytest.raises(ModelError):
            Marginal(problem_of(parts, Normal(sigma=1.0, **level)))


def test_ties_in_proportion(problem_of, pixel):
    first = Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=normal(1.0, 0.5))
    first.id = "comp_00"
    parts = (
        first,
        Point(xc=-3 * pixel, yc=0, Ic=tied("0.5 * comp_00_Ic + 0.2")),
        Point(xc=-2 * pixel, yc=pixel, Ic=boundto(first, "Ic")),
    )
    problem = problem_of(parts, Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    assert marginal.names == ["comp_00_xc"]
    t, rest = design(problem, [1.7 * pixel, 0.0], [1])
    covariance = np.diag(SIGMA.ravel() ** 2) + 0.25 * t @ t.T
    expected = stats.multivariate_normal.logpdf(DATA.ravel() - rest, t[:, 0], covariance)
    assert marginal.log_likelihood([[1.7 * pixel]])[0] == pytest.approx(expected, rel=1e-9)


def test_extended_light(problem_of, pixel):
    parts = (
        Gaussian(xc=0.4 * pixel, yc=-0.3 * pixel, rs=uniform(pixel, 3 * pixel), Is=normal(1.2, 0.4), e=0.2),
        Background(a0=normal(0.1, 0.3)),
    )
    problem = problem_of(parts, Normal(sigma=SIGMA))
    marginal = Marginal(problem)
    assert marginal.names == ["comp_00_rs"]
    t, rest = design(problem, [1.7 * pixel, 0, 0], [1, 2])
    covariance = np.diag(SIGMA.ravel() ** 2) + (t * WIDTH[[0, 2]] ** 2) @ t.T
    expected = stats.multivariate_normal.logpdf(DATA.ravel() - rest, t @ MEAN[[0, 2]], covariance)
    assert marginal.log_likelihood([[1.7 * pixel]])[0] == pytest.approx(expected, rel=1e-9)


# Samplers.


@pytest.fixture(scope="module")
def small(make_image, make_psf, pixel):
    """A point whose position is sampled in any case, with a flat amplitude, and a background with a normal one."""
    psf = make_psf((7, 7), sigma=1.4)
    truth = Point(xc=0.3 * pixel, yc=0.2 * pixel, Ic=60.0).getmap(make_image(shape=SHAPE, psf=psf), convolve=True)
    data = truth + 0.3 + np.random.default_rng(21).normal(size=SHAPE)
    model = model_of(
        Point(xc=uniform(-2 * pixel, 2 * pixel), yc=uniform(-2 * pixel, 2 * pixel), Ic=uniform(-50, 150)),
        Background(a0=normal(0, 1)),
    )
    return socca.fitter(img=make_image(data, noise=Normal(sigma=1.0), psf=psf), mod=model)


@pytest.mark.slow
def test_evidence_and_posterior_are_those_of_sampling(small):
    options = {"n_live": 200, "seed": 3}
    sampled = small.run(method="nautilus", **options)
    marginal = small.run(method="nautilus", marginalize=True, **options)
    assert marginal.names == sampled.names == ["comp_00_xc", "comp_00_yc", "comp_00_Ic", "comp_01_a0"]
    assert marginal.meta["n_calls"] < sampled.meta["n_calls"]
    assert marginal.meta["notes"]["marginalized"] == ["comp_00_Ic", "comp_01_a0"]
    # Five standard errors, and never less than what importance sampling's own estimate of them is worth.
    error = np.hypot(sampled.logz_err, marginal.logz_err)
    assert marginal.logz == pytest.approx(sampled.logz, abs=max(5 * error, 0.05))
    n = min(sampled.n_eff, marginal.n_eff)
    for k in range(4):
        moments = []
        for posterior in (sampled, marginal):
            mean = np.average(posterior.samples[:, k], weights=posterior.weights)
            moments.append(
                (mean, np.sqrt(np.average((posterior.samples[:, k] - mean) ** 2, weights=posterior.weights)))
            )
        (one, spread), (two, other) = moments
        assert abs(one - two) < 5 * spread * np.sqrt(2 / n)
        assert other / spread == pytest.approx(1, abs=5 / np.sqrt(n))


def test_every_method_gives_all_parameters(small):
    posterior = small.run(method="optimizer", marginalize=True, seed=1, n_starts=1, n_samples=300)
    assert posterior.names == ["comp_00_xc", "comp_00_yc", "comp_00_Ic", "comp_01_a0"]
    assert posterior.samples.shape[1] == 4
    assert np.all(np.isfinite(posterior.samples))
    np.testing.assert_allclose(posterior.log_likelihood[:4], small.problem.log_likelihood(posterior.samples[:4]))
    # Its standard error is 2 sqrt(pi) 1.4 sigma.
    assert np.average(posterior.samples[:, 2], weights=posterior.weights) == pytest.approx(60.0, abs=20)


def test_a_config_asks_for_it(tmp_path, write_fits):
    import yaml

    from socca.batch import fit_all
    from socca.posterior import Posterior, open_result
    from socca.survey import Survey

    row, col = np.indices((16, 17)) - 8.0
    psf = np.exp(-(row**2 + col**2) / 2 / 1.4**2)
    light = 20 * psf + 0.5
    write_fits(tmp_path / "one.fits", light + np.random.default_rng(4).normal(size=light.shape))
    write_fits(tmp_path / "psf.fits", psf[4:13, 4:13])
    (tmp_path / "targets.csv").write_text("target,image,psf\none,one.fits,psf.fits\n")
    config = {
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
    (tmp_path / "survey.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    survey = Survey.load(tmp_path / "survey.yaml")
    (outcome,) = fit_all(survey, survey.fits())
    assert outcome.status == "done", outcome.message
    path = survey.path("one", "gauss", "posterior.h5")
    posterior = Posterior.load(path)
    assert posterior.labels == ["star.xc", "star.yc", "star.Ic", "sky.a0"]
    mean = np.average(posterior.samples, axis=0, weights=posterior.weights)
    # Five standard errors: 2 sqrt(pi) 1.4 of the flux, and 1 / 16.
    assert mean[2] == pytest.approx(20 * 2 * np.pi * 1.4**2, abs=25)
    assert mean[3] == pytest.approx(0.5, abs=0.4)
    with open_result(path) as result:
        assert json.loads(result.attrs["meta"])["notes"]["marginalized"] == ["star.Ic", "sky.a0"]
