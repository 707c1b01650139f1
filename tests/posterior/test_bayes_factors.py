"""The evidence of the empty model and of the prior, against densities and integrals of scipy."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

import socca
from socca.data import Image
from socca.fitting.null_evidence import log_integral, null_evidence, prior_mass
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import Normal, NormalCorrelated, Poisson, StudentT
from socca.posterior.criteria import bayes_factor
from socca.priors import loguniform, normal, uniform

SHAPE = (9, 9)


def image(noise, data=None, seed=0):
    data = 3 + np.random.default_rng(seed).normal(size=SHAPE) if data is None else data
    found = Image(data, noise=noise, pixel_scale=0.2)
    hidden = np.zeros(SHAPE)
    hidden[2, 3:6] = 1
    found.addmask(hidden == 0)
    return found


def problem(noise, data=None, **values):
    return Problem(image(noise, data), Model(Background(**{"a0": normal(0, 1), **values})))


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(1).poisson(2.5, SHAPE).astype(float)


@pytest.mark.parametrize(
    ("noise", "density"),
    [
        (Normal(sigma=1.5), lambda d: stats.norm.logpdf(d, 0, 1.5)),
        (StudentT(scale=2.0, sigma=0.8, nu=3.0), lambda d: stats.t.logpdf(d, 3.0, 0, 1.6)),
        (Poisson(background=2.0), lambda d: stats.poisson.logpmf(d, 2.0)),
    ],
)
def test_empty_model_is_noise_alone(noise, density, counts):
    made = problem(noise, counts)
    used = image(noise, counts).mask > 0
    assert made.n_data == used.sum() == 78
    assert null_evidence(made) == pytest.approx(density(counts[used]).sum(), rel=1e-12)


def test_empty_model_with_correlated_noise():
    covariance = stats.wishart.rvs(200, np.eye(81) / 200, random_state=1)
    data = np.random.default_rng(2).normal(size=SHAPE)
    made = Problem(Image(data, noise=NormalCorrelated(cov=covariance), pixel_scale=0.2), Model(Background(a0=1.0)))
    assert made.n_data == 81
    truth = stats.multivariate_normal.logpdf(data.ravel(), np.zeros(81), covariance)
    assert null_evidence(made) == pytest.approx(truth, rel=1e-9)


def test_photons_where_none_are_expected(counts):
    assert null_evidence(problem(Poisson(), counts)) == -math.inf


def integrated(data, sigma_of, prior):
    """Return the log of the integral over one noise parameter, by adaptive quadrature of scipy."""

    def log_f(x):
        return stats.norm.logpdf(data, 0, sigma_of(x)).sum() + prior.log_prob(x)

    grid = np.linspace(*prior.support, 2001)
    values = np.array([log_f(x) for x in grid])
    peak = values.max()
    near = grid[values > peak - 40]
    found, _ = integrate.quad(lambda x: math.exp(log_f(x) - peak), near[0], near[-1], epsabs=0, epsrel=1e-10, limit=200)
    return math.log(found) + peak


def test_free_noise_is_integrated_over():
    prior = loguniform(0.5, 20)
    img = image(Normal(sigma=1.0, scale=prior))
    made = Problem(img, Model(Background(a0=normal(0, 1))))
    truth = integrated(img.data[img.mask > 0], lambda scale: scale, prior)
    assert null_evidence(made) == pytest.approx(truth, abs=1e-6)


def test_noise_tied_to_a_component_is_integrated_over_that():
    prior = uniform(0.1, 9)
    img = image(Normal(sigma=1.0))
    img.noise.scale = lambda comp_00_a0: 0.4 + comp_00_a0
    made = Problem(img, Model(Background(a0=prior)))
    truth = integrated(img.data[img.mask > 0], lambda a0: 0.4 + a0, prior)
    assert null_evidence(made) == pytest.approx(truth, abs=1e-6)


def test_two_levels_that_add_up():
    prior, other = uniform(0.5, 6), uniform(0, 6)
    img = image(Normal(sigma=1.0, scale=prior, floor=other))
    data = img.data[img.mask > 0]
    made = Problem(img, Model(Background(a0=normal(0, 1))))
    # Only the sum of the squares of the two matters: a midpoint rule of 2000 x 2000.
    scale, floor = 0.5 + 5.5 * (np.arange(2000) + 0.5) / 2000, 6 * (np.arange(2000) + 0.5) / 2000
    variance = scale[:, None] ** 2 + floor[None, :] ** 2
    log_f = -0.5 * (np.sum(data**2) / variance + data.size * np.log(2 * np.pi * variance))
    truth = np.logaddexp.reduce(log_f, axis=None) - 2 * math.log(2000)
    assert null_evidence(made) == pytest.approx(truth, abs=1e-4)


def test_integrals_in_closed_form():
    narrow = log_integral(lambda u: stats.norm.logpdf(u[:, 0], 0.3137, 1e-4), 1)
    assert narrow == pytest.approx([0.0], abs=1e-8)
    half = log_integral(lambda u: stats.norm.logpdf(u[:, 0], 1.0, 0.01), 1)
    assert half == pytest.approx([-math.log(2)], abs=1e-8)
    flat = log_integral(lambda u: np.zeros(len(u)), 2)
    assert flat == pytest.approx([0.0], abs=1e-12)
    width = 1e-3
    # A quarter of a ring: (pi / 2) times the integral over r dr = d(r^2) / 2. Where the ring is parallel to the second
    # axis, the integral along that has a pole of 1 / sqrt(x), hardly blurred: 48 points leave 5 % of it.
    ring = log_integral(lambda u: -0.5 * ((u**2).sum(1) - 0.5) ** 2 / width**2, 2)
    assert ring == pytest.approx([math.log(math.pi / 4 * width * math.sqrt(2 * math.pi))], abs=0.06)


def test_share_of_the_prior_that_is_possible():
    made = problem(Normal(sigma=1.0), a0=normal(0.5, 1), positive=True)
    truth = float(stats.norm.cdf(0.5))
    found, error = prior_mass(made, seed=1)
    assert error == pytest.approx(math.sqrt((1 - truth) / truth / 4096), rel=0.03)
    assert abs(found - math.log(truth)) < 4 * error
    assert prior_mass(made, seed=1) == (found, error)
    assert prior_mass(made, seed=2)[0] != found


def test_all_or_nothing_of_the_prior(caplog):
    found, error = prior_mass(problem(Normal(sigma=1.0)), seed=1, n=300)
    assert found == 0
    assert 1e-4 < error < 1e-2
    nothing = prior_mass(problem(Normal(sigma=1.0), a0=normal(-9, 0.1), positive=True), seed=1, n=300)
    assert np.isnan(nothing).all()
    assert "none of 300 draws" in caplog.text
    with pytest.raises(ValueError, match="n must be"):
        prior_mass(problem(Normal(sigma=1.0)), seed=1, n=0)


def test_bayes_factor_by_hand():
    found = bayes_factor(-100.0, -108.0, math.log(0.25))
    assert found == pytest.approx([8.0, 4.0, 8 + math.log(4), math.sqrt(2 * (8 + math.log(4)))])
    worse = bayes_factor(-110.0, -108.0)
    assert worse[:2] == pytest.approx([-2.0, -2.0])
    assert np.isnan(worse[2:]).all()


def test_a_fit_against_the_empty_model(tmp_path, capsys):
    """One amplitude under Gaussian noise: the Bayes factor is known, and Laplace's approximation is exact."""
    img = image(Normal(sigma=1.0))
    fit = socca.fitter(img, Model(Background(a0=normal(0, 2), positive=True)))
    fit.run("optimizer", seed=1, n_draws=100, n_samples=200, getzprior=True)
    data = img.data[img.mask > 0]
    # The posterior is far from zero, so that positivity takes nothing of it.
    n, s = data.size, 2.0
    truth = 0.5 * data.sum() ** 2 / (n + 1 / s**2) - 0.5 * math.log(1 + n * s**2)
    raw, sigma, deboosted, _ = fit.bmc()
    assert raw == pytest.approx(truth, abs=1e-4)
    assert sigma == pytest.approx(math.sqrt(2 * truth), rel=1e-6)
    assert f"{raw:.3f}" in capsys.readouterr().out
    # Half of the prior is possible; its error is 0.016.
    assert deboosted - raw == pytest.approx(math.log(2), abs=4 * fit.posterior.logz_prior_err)
    assert fit.logz_data == pytest.approx(stats.norm.logpdf(data).sum(), rel=1e-12)
    fit.dump(tmp_path / "fit.h5")
    again = socca.load(tmp_path / "fit.h5")
    assert again.bmc(verbose=False) == fit.bmc(verbose=False)
    assert capsys.readouterr().out.count("sigma") == 0
    assert (again.logz_prior, again.logz_data) == (fit.logz_prior, fit.logz_data)
