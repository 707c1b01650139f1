"""The adaptive method: right where it passes, and a nested sampler where it does not."""

import math

import numpy as np
import pytest

from socca.errors import ConfigError
from socca.fitting.sample import sample
from socca.likelihood.marginal import Marginal
from socca.likelihood.problem import Problem
from socca.models import Gaussian, Model
from socca.noise import Normal
from socca.pool import SerialPool
from socca.priors import gamma, halfnormal, loguniform, truncnormal, uniform
from socca.samplers.adaptive import Adaptive
from tests.fakes import Numpy, gaussian


def explore(problem, seed=1, **options):
    return Adaptive(**options).run(problem, SerialPool(problem.log_likelihood), seed)


def moments(draws):
    """Return means and standard deviations of weighted samples."""
    weights = np.exp(draws.log_weights)
    mean = weights @ draws.samples
    return mean, np.sqrt(weights @ (draws.samples - mean) ** 2)


def two_heaps(shares=(0.7, 0.3), scale=0.01):
    """Two Gaussians in a square, the integral of whose sum is the density of the prior, 1/4."""

    def log_likelihood(theta):
        parts = [
            math.log(share) + gaussian(theta, np.array(at), scale)
            for share, at in zip(shares, ([-0.5, 0.2], [0.6, -0.3]), strict=True)
        ]
        return np.logaddexp(*parts)

    return Numpy(log_likelihood, [uniform(-1, 1)] * 2)


def test_evidence_and_moments_of_a_gaussian():
    loc, scale = np.array([0.3, -0.2, 0.1]), np.array([0.02, 0.05, 0.1])
    problem = Numpy(lambda theta: gaussian(theta, loc, scale), [uniform(-1, 1)] * 3)
    draws = explore(problem)
    assert draws.converged
    assert draws.notes["tier"] == "importance"
    assert draws.notes["escalated"] == []
    assert draws.n_eff >= 2000
    assert draws.logz_err < 0.03
    assert abs(draws.logz + 3 * math.log(2)) < 4 * draws.logz_err
    weights = np.exp(draws.log_weights)
    mean = weights @ draws.samples
    assert np.all(np.abs(mean - loc) < 4 * scale / math.sqrt(draws.n_eff))
    deviation = np.sqrt(weights @ (draws.samples - mean) ** 2)
    np.testing.assert_allclose(deviation, scale, rtol=4 / math.sqrt(2 * draws.n_eff) * 1.5)


def test_stated_errors_are_those_of_many_runs():
    """Of 40 runs with two maxima: pulls of ln Z have mean 0 to 4 of their 0.16, and a deviation of 1 to 4 of 0.11."""
    problem = two_heaps()
    pulls, shares = [], []
    for seed in range(1, 41):
        draws = explore(problem, seed, n_eff=500, n_first=300, n_prior=100)
        assert draws.converged
        pulls.append((draws.logz + math.log(4)) / draws.logz_err)
        shares.append(np.exp(draws.log_weights) @ (draws.samples[:, 0] < 0))
        assert draws.notes["maxima"] == 2
    assert abs(np.mean(pulls)) < 4 / math.sqrt(40)
    assert 0.55 < np.std(pulls) < 1.45
    assert np.mean(shares) == pytest.approx(0.7, abs=0.02)


def test_a_posterior_that_it_does_not_describe_goes_to_the_fallback():
    """A ring, and few draws: nautilus explores it, and the notes say why."""

    def ring(theta):
        return -0.5 * ((np.hypot(*theta.T) - 0.7) / 0.04) ** 2

    problem = Numpy(ring, [uniform(-1, 1)] * 2)
    known = math.log(2 * math.pi * 0.7 * 0.04 * math.sqrt(2 * math.pi) / 4)
    options = {"max_draws": 600, "n_first": 200, "fallback_options": {"n_live": 200, "n_eff": 500, "focus": False}}
    draws = explore(problem, **options)
    assert draws.notes["tier"] == "nautilus"
    assert draws.notes["escalated"]
    assert draws.converged
    assert abs(draws.logz - known) < 4 * draws.logz_err

    alone = explore(problem, **{**options, "fallback": "none"})
    assert alone.notes["tier"] == "importance"
    assert not alone.converged


def test_a_curved_posterior_is_described_by_more_than_one_student():
    """A banana, whose evidence is that of the Gaussian that it is a shear of: rounds find a proposal."""

    def banana(theta):
        x, y = theta.T
        return gaussian(np.stack([x, y - 3 * x**2], axis=1), np.array([0.0, -0.5]), np.array([0.25, 0.06]))

    draws = explore(Numpy(banana, [uniform(-2, 2)] * 2), max_draws=60_000)
    assert draws.notes["tier"] == "importance"
    assert draws.notes["rounds"] > 3
    assert draws.converged
    assert abs(draws.logz + 2 * math.log(4)) < 4 * draws.logz_err


@pytest.mark.thorough
def test_a_round_source_passes(make_image, make_psf, pixel):
    """Its ellipticity is at the edge of the prior, and its position angle means nothing."""
    rng = np.random.default_rng(2)
    row, col = np.mgrid[:21, :21] - 10
    data = 20 * np.exp(-(row**2 + col**2) / (2 * 3.0**2)) + rng.normal(size=(21, 21))
    source = Gaussian(
        xc=0.0, yc=0.0, theta=uniform(0, math.pi), e=uniform(0, 0.8), rs=loguniform(pixel, 8 * pixel),
        Is=loguniform(1, 100),
    )  # fmt: skip
    problem = Problem(make_image(data), Model(source))
    ((angle, ellipticity),) = problem.ellipses
    assert (problem.names[angle], problem.names[ellipticity]) == ("comp_00_theta", "comp_00_e")
    posterior, draws = sample(problem, "adaptive", seed=1)
    assert draws.notes["tier"] == "importance"
    assert draws.notes["effective_share"] > 0.2
    other, _ = sample(problem, "nautilus", seed=1, focus=False, n_live=300)
    assert abs(posterior.logz - other.logz) < 4 * math.hypot(posterior.logz_err, other.logz_err)
    mean, deviation = moments(posterior)
    expected, scale = moments(other)
    free = [k for k in range(problem.ndim) if k != angle]
    assert np.all(np.abs(mean - expected)[free] < 0.15 * scale[free])
    np.testing.assert_allclose(deviation[free], scale[free], rtol=0.15)


def test_a_fallback_that_gives_no_evidence_is_refused():
    with pytest.raises(ConfigError, match=r"fallback must be nautilus or dynesty or pocomc or none; got 'emcee'"):
        Adaptive(fallback="emcee")
    with pytest.raises(ConfigError, match="nautilus has no option 'n_lve'"):
        Adaptive(fallback_options={"n_lve": 100})


def test_what_the_fallback_needs_is_what_the_method_needs():
    assert "nautilus-sampler" in Adaptive().requires
    assert "dynesty" in Adaptive(fallback="dynesty").requires
    assert "nautilus-sampler" not in Adaptive(fallback="none").requires


@pytest.fixture
def source_of(make_image, pixel):
    """The problem of a source in an image of noise, or of light, whose place and intensity are free."""

    def problem(intensity, peak=0.0, seed=5):
        row, col = np.mgrid[:15, :15] - 7
        data = peak * np.exp(-(row**2 + col**2) / (2 * 2.0**2)) + np.random.default_rng(seed).normal(size=(15, 15))
        free = {"xc": uniform(-5 * pixel, 5 * pixel), "Is": intensity}
        return Problem(
            make_image(data, noise=Normal(sigma=1.0)), Model(Gaussian(yc=0.0, theta=0.0, e=0.0, rs=2 * pixel, **free))
        )

    return problem


@pytest.mark.parametrize(
    ("intensity", "peak"),
    [
        (gamma(1.1, 1.0), 0.0),  # no density at 0, beyond which many places want the intensity to be
        (truncnormal(1.0, 0.3, 0.0, 20.0), 3.0),  # narrower than the likelihood, and off
        (halfnormal(0.5), 10.0),  # its light is 20 of its deviations out
        (loguniform(1e-6, 15.0), 0.0),  # a spike at 0
    ],
)
def test_priors_of_intensities_are_right_or_said_to_spoil_the_weights(source_of, pixel, intensity, peak):
    """Evidence and mean position by sums over a grid, finer where the intensity is small, of the likelihood itself."""
    problem = source_of(intensity, peak)
    x = np.linspace(-5, 5, 201) * pixel
    a = np.unique(np.concatenate([np.geomspace(1e-6, 1, 300), np.linspace(0.01, 15, 600)]))
    log_density = problem.log_likelihood(np.array([(one, other) for one in x for other in a])).reshape(len(x), len(a))
    with np.errstate(divide="ignore"):
        log_density = log_density + intensity.log_prob(a)
    top = log_density.max()
    along = np.trapezoid(np.exp(log_density - top), a, axis=1)
    total = np.trapezoid(along, x)
    expected = top + math.log(total / (10 * pixel))
    mean = np.trapezoid(along * x, x) / total
    spread = math.sqrt(np.trapezoid(along * (x - mean) ** 2, x) / total)
    sampler = Adaptive(fallback="none")
    draws = sampler.run(problem, SerialPool(sampler.likelihood(problem)), 1)
    if draws.notes["escalated"]:
        assert not draws.converged
        return
    # The grid is good to 0.005.
    assert abs(draws.logz - expected) < 4 * draws.logz_err + 0.005
    weights = np.exp(draws.log_weights)
    assert abs(weights @ draws.samples[:, 0] - mean) < 4 * spread * math.sqrt(weights @ weights)


def test_a_prior_of_an_intensity_may_be_far_narrower_than_the_likelihood(source_of):
    """Of a thousandth of its width: the fit passes, and has the intensity of the prior."""
    problem = source_of(truncnormal(1.0, 1e-3, 0.0, 20.0), 3.0)
    sampler = Adaptive(fallback="none")
    draws = sampler.run(problem, SerialPool(sampler.likelihood(problem)), 1)
    assert draws.converged
    weights = np.exp(draws.log_weights)
    error = 1e-3 / math.sqrt(draws.n_eff)
    mean = weights @ draws.samples[:, 1]
    assert abs(mean - 1.0) < 4 * error + 1e-4  # the likelihood pulls by less
    assert math.sqrt(weights @ (draws.samples[:, 1] - mean) ** 2) == pytest.approx(1e-3, rel=0.1)


def test_amplitudes_that_their_priors_spoil_go_to_the_whole_problem(source_of, pixel, monkeypatch):
    """An integral that is wrong by a steep function of the position, as none is known to be: the weights show it."""
    problem = source_of(loguniform(1e-2, 15.0), 3.0)
    true_solve = Marginal.solve

    def solve(self, theta):
        solved = true_solve(self, theta)
        wrong = 4e4 * np.atleast_2d(theta)[:, 0] / pixel
        return solved._replace(log_likelihood=solved.log_likelihood + wrong, log_share=solved.log_share + wrong)

    monkeypatch.setattr(Marginal, "solve", solve)
    sampler = Adaptive(fallback_options={"n_live": 200, "n_eff": 500})
    draws = sampler.run(problem, SerialPool(sampler.likelihood(problem)), 1)
    assert draws.notes["tier"] == "nautilus"
    assert any("effective draws" in why for why in draws.notes["escalated"])
    assert draws.notes.get("marginalized") is None
    assert draws.converged


def test_draws_that_amplitudes_cost_are_made_up_for(source_of, pixel, monkeypatch):
    """An integral that is wrong by a wide function of the position: more draws, and as many effective ones as asked."""
    problem = source_of(loguniform(1e-2, 15.0), 3.0)
    true_solve = Marginal.solve

    def solve(self, theta):
        solved = true_solve(self, theta)
        wrong = 0.7 * np.sin(np.atleast_2d(theta)[:, 0] / pixel * 40)
        return solved._replace(log_likelihood=solved.log_likelihood + wrong, log_share=solved.log_share + wrong)

    right = Adaptive(fallback="none")
    expected = right.run(problem, SerialPool(right.likelihood(problem)), 1)
    monkeypatch.setattr(Marginal, "solve", solve)
    sampler = Adaptive(fallback="none")
    draws = sampler.run(problem, SerialPool(sampler.likelihood(problem)), 1)
    assert draws.converged
    assert draws.n_eff > 0.9 * 2000
    assert len(draws.samples) > 1.1 * len(expected.samples)
    assert abs(draws.logz - expected.logz) < 4 * math.hypot(draws.logz_err, expected.logz_err)


def test_two_narrow_maxima_on_one_axis_are_found():
    """Starts lie far below the valley between them, and say nothing of which maximum they belong to."""
    places = np.full((2, 4), 0.5)
    places[:, 0] = 0.4, 0.6

    class Linear(Numpy):
        """Two Gaussians, with the information of the nearer one."""

        def log_likelihood_and_information(self, theta):
            value, gradient = self.log_likelihood_and_grad(theta)
            return value, gradient, np.tile(np.eye(4) / 0.01**2, (len(theta), 1, 1))

    def log_likelihood(theta):
        return np.logaddexp(*[math.log(0.5) + gaussian(theta, place, 0.01) for place in places])

    problem = Linear(log_likelihood, [uniform(0, 1)] * 4)
    problem.has_information = True
    for seed in range(1, 6):
        draws = explore(problem, seed, fallback="none")
        assert draws.notes["maxima"] == 2
        assert abs(draws.logz) < 4 * draws.logz_err
