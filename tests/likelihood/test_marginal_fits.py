"""Fits with intensities integrated out, from a script and from a config."""

import math

import numpy as np
import pytest
import yaml
from scipy import integrate, stats

import socca
from socca.errors import ConfigError
from socca.fitting.sample import completed
from socca.likelihood.marginal import Marginal
from socca.models import Background, Point, Sersic
from socca.noise import Normal
from socca.posterior import Posterior
from socca.posterior.storage import header_of, open_result
from socca.priors import normal, uniform
from socca.survey.check.inputs import check_survey
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey
from tests.likelihood.amplitudes import SHAPE, SIZE, design, draws_at, model_of


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
