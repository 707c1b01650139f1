"""Ascents with the Fisher information, and the maxima that they find."""

import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Gaussian, Model
from socca.noise import Normal
from socca.priors import uniform
from socca.samplers.importance.ascent import Tops
from tests.samplers.plane import PRIORS, Counting

SIDE, WIDTH, SIGMA = 21, 2.0, 0.5


def sources(*places):
    """Round sources of 5 at their peaks, at some columns of the middle row, and noise."""
    row, col = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    light = sum(5 * np.exp(-((col - x) ** 2 + row**2) / (2 * WIDTH**2)) for x in places)
    return light + SIGMA * np.random.default_rng(3).normal(size=(SIDE, SIDE))


@pytest.fixture
def source(make_image, pixel):
    """The problem of one source whose position, size and intensity are free, in an image of some."""

    def problem(*places):
        image = make_image(sources(*places), noise=Normal(sigma=SIGMA))
        free = {"xc": uniform(-9 * pixel, 9 * pixel), "yc": uniform(-2 * pixel, 2 * pixel)}
        free |= {"rs": uniform(pixel, 4 * pixel), "Is": uniform(0, 20)}
        return Problem(image, Model(Gaussian(theta=0.0, e=0.0, **free)))

    return problem


def test_one_step_is_enough_where_the_model_is_linear(problem, exact):
    """The plane: its maximum is that of linear algebra, and a start elsewhere leads to the same one."""
    counted = Counting(problem)
    tops = Tops(counted, counted.log_likelihood, 50)
    tops.ascend_from(np.array([[0.3, 0.6, 0.4], [0.9, 0.1, 0.9]]))
    (top,) = tops.found
    assert top.proper
    assert tops.searches == tops.agreeing == 2
    # From afar steps are short. The second start ends where it comes to the known maximum.
    assert top.n_gradients <= 8
    assert top.n_gradients < tops.n_gradients <= 2 * top.n_gradients + 2
    scale = np.array([numbers[1] for numbers in PRIORS.values()])
    covariance = np.linalg.inv(top.information + np.diag(scale**-2.0))
    np.testing.assert_allclose(covariance, exact.covariance, rtol=1e-6, atol=1e-12)
    # An ascent ends where 0.005 of the log density is left.
    off = top.theta - exact.mean
    assert off @ np.linalg.solve(exact.covariance, off) < 2 * 0.005


def test_all_maxima_are_found_once(source):
    problem = source(-6, 6)
    tops = Tops(problem, problem.log_likelihood, 50)
    starts = np.random.default_rng(1).uniform(0.1, 0.9, (8, problem.ndim))
    starts[:2, 0] = 0.18, 0.82
    tops.ascend_from(starts)
    columns = np.sort([top.theta[0] for top in tops.found if top.log_posterior > tops.best.log_posterior - 60])
    np.testing.assert_allclose(np.abs(columns), 6 * 0.2 / 3600, atol=0.3 * 0.2 / 3600)
    assert np.sign(columns).tolist() == [-1, 1]


def test_the_information_is_that_of_differences(source, pixel):
    """The Jacobian of the whitened model, by differences of its image."""
    problem = source(0)
    theta = np.array([0.3 * pixel, 0.1 * pixel, 2 * pixel, 5.0])
    value, gradient, information = problem.log_likelihood_and_information(theta[None])
    assert value == pytest.approx(problem.log_likelihood(theta[None]), rel=1e-12)
    np.testing.assert_allclose(gradient, problem.log_likelihood_and_grad(theta[None])[1], rtol=1e-9)
    steps = 1e-4 * np.diag([pixel, pixel, pixel, 1.0])
    slopes = [
        (problem.predict(theta + step)[0] - problem.predict(theta - step)[0]).ravel() / (2 * step.max())
        for step in steps
    ]
    expected = np.array(slopes) @ np.array(slopes).T / SIGMA**2
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(information[0] / np.outer(scale, scale), expected / np.outer(scale, scale), atol=1e-5)
