"""Radial profiles, against laws of brightness."""

import math

import numpy as np
import pytest

from socca.data import Image
from socca.errors import ModelError
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model
from socca.noise import Normal
from socca.plotting.radial_profiles import radial_profiles
from socca.posterior import Posterior
from socca.priors import normal

ARCSEC = 1 / 3600
SHAPE = (61, 61)


@pytest.fixture(scope="module")
def found():
    """An elliptical Gaussian of known amplitude, off centre, with a sky; a masked star, and noise of 0.5."""
    faint = Gaussian(xc=-4 * ARCSEC, yc=-4 * ARCSEC, rs=0.4 * ARCSEC, Is=0.5)
    bright = Gaussian(xc=0.5 * ARCSEC, yc=0.3 * ARCSEC, theta=0.6, e=0.5, rs=2 * ARCSEC, Is=normal(50, 1))
    model = Model()
    for component, label in ((faint, "faint"), (bright, "bright"), (Background(a0=normal(3, 1)), "sky")):
        model.addcomponent(component, label=label)
    blank = Image(np.zeros(SHAPE), pixel_scale=0.2, noise=Normal(sigma=0.5))
    truth = Problem(blank, model).render([50.0, 3.0]).total
    data = truth + 0.5 * np.random.default_rng(2).normal(size=SHAPE)
    hidden = np.zeros(SHAPE)
    hidden[40:43, 22:25] = 1
    data[hidden > 0] = 1e6
    img = Image(data, pixel_scale=0.2, noise=Normal(sigma=0.5))
    img.addmask(hidden == 0)
    problem = Problem(img, model)
    samples = np.array([[50.0, 3.0]]) + np.random.default_rng(4).normal(size=(4000, 2)) * [0.4, 0.02]
    samples[0] = [50.0, 3.0]
    log_likelihood = np.zeros(4000)
    log_likelihood[0] = 1.0
    posterior = Posterior(
        problem.names, problem.labels, problem.units, samples, np.full(4000, -math.log(4000)),
        log_likelihood, np.zeros(4000), 0.0, 0.1, periods=problem.periods,
    )  # fmt: skip
    return radial_profiles(problem, img, model, posterior, n_draws=1000)


def test_annuli_follow_the_brightest_component(found):
    assert (found.center, found.theta, found.q) == ("bright", 0.6, 0.5)
    law = 50 * np.exp(-0.5 * (found.radius / 2) ** 2)
    # The mean over an annulus of width w is not the value at its mean radius, but w^2 / 24 of the second derivative
    # above it: 2.3 % where the light has fallen to 3 (w = 0.7 arcsec at 4.7 arcsec).
    bright = law > 2
    np.testing.assert_allclose(found.components["bright"][bright], law[bright], rtol=0.025)
    np.testing.assert_allclose(found.components["sky"], 3, rtol=1e-12)
    np.testing.assert_allclose(sum(found.components.values()), found.model, rtol=1e-12)


def test_data_scatter_about_the_model_by_their_errors(found):
    assert np.all(found.data < 60)  # the star is masked
    pulls = (found.data - found.model) / found.error
    assert len(pulls) > 12
    chi2 = np.sum(pulls**2)
    assert abs(chi2 - len(pulls)) < 4 * math.sqrt(2 * len(pulls))


def test_band_is_that_of_the_samples(found):
    half = (found.upper - found.lower) / 2
    law = np.hypot(0.4 * found.components["bright"] / 50, 0.02)
    # Quantiles of 1000 draws: to about 4 %.
    np.testing.assert_allclose(half, law, rtol=4 * 0.04)


def test_nothing_to_centre_on():
    img = Image(np.zeros((5, 5)), pixel_scale=0.2, noise=Normal(sigma=1.0))
    model = Model(Background(a0=normal(0, 1)))
    problem = Problem(img, model)
    one = np.zeros((1, 1))
    posterior = Posterior(problem.names, problem.labels, problem.units, one, one[0], one[0], one[0], 0.0, 0.1)
    with pytest.raises(ModelError, match="no component has a position"):
        radial_profiles(problem, img, model, posterior)
