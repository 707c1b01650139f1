"""Noise models in a fit."""

import logging

import numpy as np
import pytest

from socca.fitting.goodness_of_fit import goodness_of_fit
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import REGISTRY, Normal, NormalCorrelated, NormalFourier, Poisson, StudentT
from socca.priors import loguniform, uniform
from tests.noise.cases import SHAPE, circulant, correlated, half, spectrum


def source(pixel, amplitude=8.0):
    """Return a bowl, which is quicker to compile than a galaxy."""
    return Model(Background(rs=8 * pixel, a2xx=loguniform(1, 30) if amplitude is None else amplitude))


FITTED = {
    "normal-scale": (lambda s, **p: Normal(sigma=s, **p), {"scale": 1.6}),
    "normal-floor": (lambda s, **p: Normal(sigma=s, **p), {"floor": 1.4}),
    "normal-both": (lambda s, **p: Normal(sigma=s, **p), {"scale": 0.8, "floor": 1.1}),
    "studentt": (lambda s, **p: StudentT(sigma=s, **p), {"nu": 3.0, "scale": 1.3}),
    "poisson": (lambda s, **p: Poisson(**p), {"background": 2.2}),
    "correlated": (None, {"scale": 1.5}),
    "fourier": (None, {"scale": 1.5}),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in ("normal-scale", "normal-floor") else n for n in sorted(FITTED)],
)
def test_noise_parameters_are_fitted(make_image, pixel, name):
    shape = (16, 17) if name in ("correlated", "fourier") else (30, 31)
    make, truth = FITTED[name]
    rng = np.random.default_rng(13)
    sigma = np.exp(rng.uniform(np.log(0.3), np.log(3), shape))  # scale and floor are told apart
    clean = source(pixel).getmap(make_image(shape=shape), addbackground=True)
    if name in ("correlated", "fourier"):
        power = spectrum(shape)
        data = correlated(rng, clean, circulant(power), truth)

        def make(s, **p):
            return (
                NormalCorrelated(cov=circulant(power), **p)
                if name == "correlated"
                else NormalFourier(cov=half(power), **p)
            )
    elif name == "poisson":
        data = rng.poisson(clean + truth["background"]).astype(float)
    elif name == "studentt":
        data = clean + truth["scale"] * sigma * rng.standard_t(truth["nu"], shape)
    else:
        data = rng.normal(clean, np.hypot(truth.get("scale", 1) * sigma, truth.get("floor", 0)))
    noise = make(sigma, **{key: loguniform(value / 4, 4 * value) for key, value in truth.items()})
    problem = Problem(make_image(data, noise=noise), source(pixel, None))
    assert problem.names == ["comp_00_a2xx", *[f"noise_{key}" for key in REGISTRY[noise.name].fields if key in truth]]
    assert problem.labels[1:] == [f"noise.{key}" for key in REGISTRY[noise.name].fields if key in truth]
    posterior, _ = sample(problem, "optimizer", seed=2, n_draws=200)
    spread = posterior.samples.std(0)
    for key, value in {"comp_00_a2xx": 8.0, **{f"noise_{key}": value for key, value in truth.items()}}.items():
        k = problem.names.index(key)
        # Within four of its own errors, which are small enough for that to mean something.
        assert abs(posterior.best[k] - value) < 4 * spread[k]
        assert spread[k] < 0.3 * value
    fit = goodness_of_fit(problem, make_image(data), posterior)
    # The fitted noise is what chi-square is measured in: of 272 independent pixels or more, its error is sqrt(2 / 272)
    # at most. Tails of nu = 3, which have no fourth moment, give it no error to be measured by.
    if name != "studentt":
        assert fit.chi2_red == pytest.approx(1, abs=4 * np.sqrt(2 / data.size))
    assert fit.n_used == data.size


def test_noise_that_is_tied(make_image, pixel):
    noise = Normal(sigma=1.0, scale=uniform(0.5, 2), floor=lambda comp_00_a2xx, noise_scale: comp_00_a2xx * noise_scale)
    problem = Problem(make_image(np.ones(SHAPE), noise=noise), source(pixel, None))
    values = problem.values([3.0, 1.5])
    assert values["noise_floor"] == pytest.approx(4.5)
    expected, sigma = problem.predict([3.0, 1.5])
    np.testing.assert_array_equal(expected, problem.render([3.0, 1.5]).total)
    np.testing.assert_allclose(sigma, np.hypot(1.5, 4.5))


def test_an_estimated_level_is_logged_once(make_image, pixel, caplog):
    image = make_image(np.random.default_rng(1).normal(0, 1, SHAPE), noise=Normal())
    with caplog.at_level(logging.INFO, "socca"):
        problem = Problem(image, source(pixel, None))
        problem.predict([1.0])
        problem.predict([2.0])
    assert caplog.text.count("median absolute deviation") == 1
