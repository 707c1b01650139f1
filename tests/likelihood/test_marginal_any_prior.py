"""Intensities with any prior integrated out approximately, and weights that make up for it."""

import numpy as np
import pytest
from scipy.special import logsumexp

from socca.likelihood.marginal import Marginal
from socca.likelihood.problem import Problem
from socca.models import Gaussian, Model
from socca.noise import Normal
from socca.priors import loguniform, truncnormal, uniform
from socca.samplers.base import completed
from tests.likelihood.amplitudes import draws_at

SIDE, SIGMA = 15, 1.0


@pytest.fixture(params=["faint", "bright"])
def problem(request, make_image, pixel):
    """A source whose intensity has a prior that is not flat, known to about 20 % or 2 %."""
    peak, prior = {"faint": (1.5, truncnormal(1.0, 0.5, 0.0, 5.0)), "bright": (15.0, loguniform(0.1, 100))}[
        request.param
    ]
    row, col = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    data = peak * np.exp(-(row**2 + col**2) / (2 * 2.0**2)) + np.random.default_rng(4).normal(size=(SIDE, SIDE))
    source = Gaussian(xc=0.0, yc=0.0, theta=0.0, e=0.0, rs=uniform(pixel, 4 * pixel), Is=prior)
    return Problem(make_image(data, noise=Normal(sigma=SIGMA)), Model(source))


def test_weights_make_up_for_the_prior(problem, pixel):
    """The corrected integral and moments, against a sum over the intensity of the problem's own likelihood."""
    marginal = Marginal(problem, any_prior=True)
    (size, intensity) = (problem.names.index(f"comp_00_{name}") for name in ("rs", "Is"))
    n, position = 4000, 2.0 * pixel
    prior = problem.priors[intensity]
    grid = prior.icdf(np.linspace(0, 1, 200_001)[1:-1])
    near = grid[np.searchsorted(grid, 0.2) :: 40]
    theta = np.empty((len(near), 2))
    theta[:, size], theta[:, intensity] = position, near
    heights = problem.log_likelihood(theta) + prior.log_prob(near)
    expected = logsumexp(heights, b=np.gradient(near))
    got = float(marginal.log_likelihood([[position]])[0])
    assert got == pytest.approx(expected, abs=1)
    done = completed(draws_at(np.full((n, 1), position), logz=got), marginal, np.random.default_rng(7))
    assert done.logz_err < 0.11  # 0.1 is that of the draws that were completed
    assert abs(done.logz - expected) < 4 * np.sqrt(done.logz_err**2 - 0.1**2) + 1e-3
    weights = np.exp(done.log_weights)
    share = np.exp(heights - expected) * np.gradient(near)
    mean, found = share @ near, weights @ done.samples[:, intensity]
    spread = np.sqrt(share @ (near - mean) ** 2)
    assert abs(found - mean) < 4 * spread * np.sqrt(weights @ weights)
    np.testing.assert_allclose(done.log_likelihood[:5], problem.log_likelihood(done.samples[:5]), rtol=1e-10)


def test_only_the_prior_says_whether_weights_are_needed(problem):
    marginal = Marginal(problem, any_prior=True)
    assert marginal.linear_labels == ["comp_00_Is"]
    assert marginal.digest() != problem.digest()
    with pytest.raises(Exception, match="no intensity of a component has a normal or a uniform prior"):
        Marginal(problem)


def test_the_information_is_that_of_the_problem_whatever_the_intensity(problem, pixel):
    marginal = Marginal(problem, any_prior=True)
    theta = np.array([2.0 * pixel])
    whole = marginal.with_amplitudes(theta)
    value, gradient, information = marginal.log_likelihood_and_information(theta[None])
    assert value == pytest.approx(problem.log_likelihood(whole[None]), rel=1e-12)
    _, full_gradient, full = problem.log_likelihood_and_information(whole[None])
    size = problem.names.index("comp_00_rs")
    assert gradient[0, 0] == pytest.approx(full_gradient[0, size], rel=1e-9)
    assert 1 / information[0, 0, 0] == pytest.approx(np.linalg.inv(full[0])[size, size], rel=1e-6)


def test_what_is_remembered_is_what_is_computed(problem, pixel):
    """The same draws, whether or not the integrals of some rows are known."""
    marginal, other = (Marginal(problem, any_prior=True) for _ in range(2))
    theta = pixel * np.linspace(1.5, 2.5, 7)[:, None]
    other.remember()
    other.log_likelihood(theta[:4])
    other.log_likelihood(theta[2:3])
    one, again = (completed(draws_at(theta), each, np.random.default_rng(3)) for each in (marginal, other))
    np.testing.assert_array_equal(one.samples, again.samples)
    np.testing.assert_array_equal(one.log_weights, again.log_weights)
