"""Information criteria against hand formulas, closed forms and those of ArviZ."""

import math

import numpy as np
import pytest
from scipy import stats

from socca.data import Image
from socca.errors import ConfigError, DataError, PosteriorError
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import REGISTRY, Normal, NormalCorrelated, Poisson, StudentT
from socca.posterior import Posterior, criteria, exports, pixelwise
from socca.posterior.record import FitRecord
from socca.priors import normal, uniform

SHAPE = (12, 11)
NOISE = {
    "normal": lambda: Normal(sigma=0.7, scale=1.3, floor=0.4),
    "studentt": lambda: StudentT(sigma=0.7, scale=1.3, nu=3.5),
    "poisson": lambda: Poisson(background=0.5),
}


def posterior_of(samples, log_likelihood, log_weights=None, **meta):
    n, ndim = samples.shape
    return Posterior(
        names=[f"comp_00_p{k}" for k in range(ndim)],
        labels=[f"p{k}" for k in range(ndim)],
        units=[""] * ndim,
        samples=samples,
        log_weights=np.full(n, -math.log(n)) if log_weights is None else log_weights,
        log_likelihood=log_likelihood,
        log_prior=np.zeros(n),
        logz=0.0,
        logz_err=0.1,
        record=FitRecord.from_dict(meta),
    )


@pytest.fixture(scope="module")
def level():
    """A constant level under unit noise with a flat prior: its posterior is N(mean, 1/n). Problem, data, posterior."""
    rng = np.random.default_rng(5)
    img = Image(2 + rng.normal(size=SHAPE), noise=Normal(sigma=1.0), pixel_scale=0.2)
    hidden = np.zeros(SHAPE)
    hidden[4, 2:6] = 1
    img.addmask(hidden == 0)
    problem = Problem(img, Model(Background(a0=uniform(-1000, 1000))))
    data = img.data[img.mask > 0]
    samples = stats.norm.rvs(data.mean(), data.size**-0.5, size=(1500, 1), random_state=rng)
    return problem, data, posterior_of(samples, problem.log_likelihood(samples))


def matrix(posterior, data, n_draws):
    """Return the log-likelihood of each pixel at the samples that the criteria draw."""
    rows = posterior.equal_weights(n_draws, np.random.default_rng([1, 3]))
    return stats.norm.logpdf(data, rows, 1.0)


def test_aic_and_bic_by_hand():
    found = posterior_of(np.zeros((3, 4)), np.array([-50.0, -41.5, -60.0]), n_data=100)
    assert criteria.aic(found) == 2 * 4 + 83
    assert criteria.bic(found) == pytest.approx(4 * math.log(100) + 83)
    found.record = FitRecord()
    with pytest.raises(PosteriorError, match="how many pixels"):
        criteria.bic(found)


def for_arviz(arviz, values):
    """Return log-likelihoods of pixels, one row per sample, as the version of ArviZ has them."""
    groups = {"posterior": {"a": np.zeros((1, len(values)))}, "log_likelihood": {"d": values[None]}}
    return arviz.from_dict(**groups) if hasattr(arviz, "psislw") else arviz.from_dict(groups)


def test_waic_is_the_closed_form_and_that_of_arviz(level, arviz):
    problem, data, posterior = level
    found = criteria.waic(problem, posterior, n_draws=1000)
    if hasattr(arviz, "waic"):  # version 1 has none
        theirs = arviz.waic(for_arviz(arviz, matrix(posterior, data, 1000)), scale="log", pointwise=True)
        # ArviZ divides variances by the number of samples, not by one less.
        assert found.p_eff == pytest.approx(theirs.p_waic * 1000 / 999, rel=1e-9)
        assert found.elpd == pytest.approx(theirs.elpd_waic - theirs.p_waic / 999, rel=1e-9)
        assert found.se == pytest.approx(theirs.se, rel=1e-3)
        np.testing.assert_allclose(found.pointwise, theirs.waic_i, rtol=1e-4)
    assert found.ic == -2 * found.elpd
    assert found.k_hat is None
    # Of N(a, 1/n): the density of a pixel is N(mean, 1 + 1/n), its variance over a (r^2 + 1/(2n)) / n. The scatter of
    # the variance over 1000 draws is 4.5 %.
    n, r = data.size, data - data.mean()
    exact = stats.norm.logpdf(r, 0, math.sqrt(1 + 1 / n)) - (r**2 + 0.5 / n) / n
    assert found.elpd == pytest.approx(exact.sum(), abs=4 * 0.045)


def test_loo_is_the_closed_form_and_that_of_arviz(level, arviz):
    problem, data, posterior = level
    found = criteria.loo(problem, posterior, n_draws=1000)
    old = hasattr(arviz, "psislw")  # version 1 has one scale, that of the elpd, and other names
    scale = {"scale": "log"} if old else {}
    theirs = arviz.loo(for_arviz(arviz, matrix(posterior, data, 1000)), pointwise=True, reff=1.0, **scale)
    assert found.elpd == pytest.approx(theirs.elpd_loo if old else theirs.elpd, rel=1e-9)
    # From 1.0 on, ArviZ divides the variance between pixels by their number less one.
    ratio = theirs.se / found.se
    assert ratio == pytest.approx(1, rel=1e-9) or ratio == pytest.approx(
        math.sqrt(data.size / (data.size - 1)), rel=1e-9
    )
    assert found.p_eff == pytest.approx(theirs.p_loo if old else theirs.p, rel=1e-6)
    np.testing.assert_allclose(found.k_hat, theirs.pareto_k, rtol=1e-6, atol=1e-9)
    assert found.n_bad == 0
    # Each pixel is predicted by N(mean of the others, 1 + 1/(n - 1)).
    n = data.size
    others = (data.sum() - data) / (n - 1)
    exact = stats.norm.logpdf(data, others, math.sqrt(1 + 1 / (n - 1)))
    assert found.elpd == pytest.approx(exact.sum(), abs=4 * 0.045)


def test_blocks_change_nothing(level, monkeypatch):
    problem, _, posterior = level
    whole = criteria.waic(problem, posterior, n_draws=100)
    monkeypatch.setattr(pixelwise, "_HELD", 100 * 50)  # 50 of 132 pixels at a time
    assert np.array_equal(criteria.waic(problem, posterior, n_draws=100).pointwise, whole.pointwise)


def test_seed_and_number_of_draws(level, caplog):
    problem, _, posterior = level
    first = criteria.waic(problem, posterior, n_draws=50, seed=1)
    assert criteria.waic(problem, posterior, n_draws=50, seed=1).elpd == first.elpd
    assert criteria.waic(problem, posterior, n_draws=50, seed=2).elpd != first.elpd
    assert not caplog.text
    criteria.waic(problem, posterior, n_draws=3000)
    assert "3000 draws of a posterior of 1500 effective samples" in caplog.text
    with pytest.raises(ConfigError, match="n_draws"):
        criteria.waic(problem, posterior, n_draws=1)


@pytest.mark.parametrize("name", [name for name, kind in REGISTRY.items() if kind.independent])
def test_pixels_add_up_to_the_likelihood(name):
    rng = np.random.default_rng(3)
    img = Image(rng.poisson(4.0, SHAPE).astype(float), noise=NOISE[name](), pixel_scale=0.2)
    hidden = np.zeros(SHAPE)
    hidden[:2, 3] = 1
    img.addmask(hidden == 0)
    problem = Problem(img, Model(Background(a0=uniform(0, 10))), buckets=True)
    rows = rng.uniform(2, 6, (5, 1))
    pixels = np.concatenate(list(pixelwise.log_likelihoods(problem, rows)), axis=1)
    assert pixels.shape == (5, 130)
    np.testing.assert_allclose(pixels.sum(1), problem.log_likelihood(rows), rtol=1e-12)


def test_noise_that_correlates_pixels_is_refused():
    img = Image(np.zeros((4, 4)), noise=NormalCorrelated(cov=np.eye(16)), pixel_scale=0.2)
    problem = Problem(img, Model(Background(a0=normal(0, 1))))
    samples = np.zeros((5, 1))
    with pytest.raises(DataError, match="normal_correlated: the likelihood is no product over pixels"):
        criteria.loo(problem, posterior_of(samples, np.zeros(5)), n_draws=5)


@pytest.mark.parametrize("shape", [0.3, 0.9])
@pytest.mark.usefixtures("arviz")
def test_k_hat_of_pareto_weights(shape):
    rng = np.random.default_rng(8)
    log_weights = -shape * np.log(rng.random(20_000))
    log_weights -= np.logaddexp.reduce(log_weights)
    found = criteria.k_hat(posterior_of(np.zeros((20_000, 1)), np.zeros(20_000), log_weights))
    assert found == pytest.approx(shape, abs=4 * 0.05)  # (1 + k) / sqrt(tail of 3 sqrt(n) = 424): 0.06, 0.09


def test_pareto_smoothing(arviz):
    """It changes the largest weights alone, those of the tail, and keeps their order; the sum of weights is one."""
    log_weights = np.sort(-0.6 * np.log(np.random.default_rng(8).random((2, 20_000))), axis=1)
    given = log_weights.copy()
    smoothed, tails = exports.pareto_smoothed(given)
    np.testing.assert_array_equal(given, log_weights)  # ArviZ 0.19 writes into what it is given
    if hasattr(arviz, "psislw"):
        np.testing.assert_array_equal(smoothed, arviz.psislw(given)[0])
    assert smoothed.shape == log_weights.shape
    np.testing.assert_allclose(tails, 0.6, atol=4 * 0.078)  # (1 + k) / sqrt(tail of 3 sqrt(n) = 424)
    np.testing.assert_allclose(np.logaddexp.reduce(smoothed, axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(smoothed[:, :-430]), np.diff(log_weights[:, :-430]), atol=1e-12)
    assert np.all(np.diff(smoothed) >= 0)
    assert not np.allclose(np.diff(smoothed[:, -400:]), np.diff(log_weights[:, -400:]))


@pytest.mark.usefixtures("arviz")
def test_k_hat_of_laplace():
    """Draws of a Gaussian for a posterior with wider tails, and for that Gaussian itself."""
    rng = np.random.default_rng(2)
    draws = np.concatenate([[[0.0]], rng.normal(size=(4000, 1))])
    notes = {"maximum": [0.0], "covariance": [[1.0]]}
    exact = posterior_of(draws, stats.norm.logpdf(draws[:, 0]), notes=notes)
    assert criteria.k_hat(exact) == -math.inf
    marginal = posterior_of(draws, stats.norm.logpdf(draws[:, 0]), notes={**notes, "marginalized": ["sky.a0"]})
    assert math.isnan(criteria.k_hat(marginal))
    narrow = posterior_of(draws, stats.norm.logpdf(draws[:, 0], 0, 0.8), notes=notes)
    wide = posterior_of(draws, stats.t.logpdf(draws[:, 0], 2), notes=notes)
    # The ratio of a narrower one is bounded; exp(x^2 / 2) / |x|^3 of a Gaussian's draws has the shape 1 at last.
    assert criteria.k_hat(narrow) < 0.3
    assert criteria.k_hat(wide) > 0.5
    ratio = stats.t.logpdf(draws[1:, 0], 2) - stats.norm.logpdf(draws[1:, 0])
    assert criteria.k_hat(wide) == pytest.approx(float(exports.pareto_smoothed(ratio)[1]), rel=1e-9)


def test_k_hat_without_weights():
    assert math.isnan(criteria.k_hat(posterior_of(np.zeros((50, 1)), np.zeros(50))))
