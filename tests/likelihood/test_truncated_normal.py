"""Gaussians cut off at bounds, against SciPy's multivariate normal distribution function and quadrature."""

import jax
import numpy as np
import pytest
from scipy import stats

from socca.likelihood.amplitude_draws import draw_within
from socca.likelihood.truncated_normal import log_share

#: Bounds in units of the standard deviation, from the mean.
BOUNDS = {
    "inside": (-1.0, 2.0),
    "half": (0.0, 9.0),
    "tail": (2.0, 5.0),
    "narrow": (-0.3, -0.2),
    "far": (-30.0, 40.0),
}


CORRELATION = np.array([[1.0, 0.4, -0.2], [0.4, 1.0, 0.3], [-0.2, 0.3, 1.0]])
#: Variables may differ by orders of magnitude.
SCALE = np.array([1e-9, 30.0, 0.2])


def gaussian(k):
    """Return mean, covariance, and factor of the inverse covariance."""
    scale = SCALE[:k]
    factor = np.linalg.cholesky(np.linalg.inv(CORRELATION[:k, :k])) / scale[:, None]
    return np.array([0.5, -1.0, 2.0])[:k] * scale, CORRELATION[:k, :k] * np.outer(scale, scale), factor


def bounds_of(mean, covariance, bounds):
    sd = np.sqrt(np.diag(covariance))
    return mean + bounds[0] * sd, mean + bounds[1] * sd


@pytest.fixture(scope="module")
def share():
    """Compiled `log_share` and its derivatives."""
    value, gradient = jax.jit(log_share), jax.jit(jax.grad(log_share, argnums=(0, 1, 2, 3)))

    def call(function):
        def run(*args):
            with jax.enable_x64(True):
                return jax.tree.map(np.asarray, function(*args))

        return run

    return call(value), call(gradient)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_share(share, k, bounds):
    mean, covariance, factor = gaussian(k)
    low, high = bounds_of(mean, covariance, bounds)
    whole = stats.multivariate_normal(np.zeros(k), CORRELATION[:k, :k], abseps=1e-10, releps=1e-8, maxpts=10**6, seed=1)
    expected = np.log(whole.cdf(np.full(k, bounds[1]), lower_limit=np.full(k, bounds[0])))
    got = share[0](mean, factor, low, high)
    # The points' error grows with the number of variables; for one there are none.
    assert got == pytest.approx(expected, abs={1: 1e-9, 2: 2e-3, 3: 5e-3}[k])
    # And the weights of draws have the share as their mean: four standard errors, and what SciPy states.
    n = 4000
    draws, log_weights = draw_within(
        np.tile(mean, (n, 1)), np.tile(factor, (n, 1, 1)), low, high, np.random.default_rng(2)
    )
    ratio = np.exp(log_weights - expected)
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(n) + 1e-5)
    assert np.all((draws >= low) & (draws <= high))


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_draws_of_one_variable(bounds):
    mean, covariance, factor = gaussian(1)
    low, high = bounds_of(mean, covariance, bounds)
    n = 4000
    draws, log_weights = draw_within(
        np.tile(mean, (n, 1)), np.tile(factor, (n, 1, 1)), low, high, np.random.default_rng(3)
    )
    assert np.ptp(log_weights) == 0
    cut = stats.truncnorm(*bounds, mean[0], np.sqrt(covariance[0, 0]))
    assert stats.kstest(draws[:, 0], cut.cdf).pvalue > 1e-3


def test_draws_of_two_variables():
    mean, factor = np.zeros(2), np.linalg.cholesky(np.linalg.inv([[1.0, -0.8], [-0.8, 1.0]]))
    low, high = np.array([0.5, 0.2]), np.array([3.0, 4.0])
    n = 20000
    draws, log_weights = draw_within(
        np.tile(mean, (n, 1)), np.tile(factor, (n, 1, 1)), low, high, np.random.default_rng(4)
    )
    axes = [np.linspace(a, b, 2001)[:-1] + (b - a) / 4000 for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    density = stats.multivariate_normal([0, 0], [[1, -0.8], [-0.8, 1]]).pdf(grid)
    density /= density.sum()
    weights = np.exp(log_weights) / np.exp(log_weights).sum()
    n_eff = 1 / (weights**2).sum()
    assert n_eff > 0.8 * n
    for k in range(2):
        mean = (density * grid[..., k]).sum()
        spread = np.sqrt((density * (grid[..., k] - mean) ** 2).sum())
        assert weights @ draws[:, k] == pytest.approx(mean, abs=4 * spread / np.sqrt(n_eff))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("bounds", [*BOUNDS.values(), (20.0, 30.0), (-70.0, -50.0)])
def test_gradients(share, k, bounds):
    mean, covariance, factor = gaussian(k)
    low, high = bounds_of(mean, covariance, bounds)
    args = [mean, factor, low, high]
    gradient = share[1](*args)
    # Of the function as it is computed, points included: truncation 1e-6, and steps of 1e-7 where branches meet.
    sd = np.sqrt(np.diag(covariance))
    for which, size in [(0, sd), (1, np.abs(factor)), (2, sd), (3, sd)]:
        direction = size * np.random.default_rng(5).uniform(0.5, 1, size.shape)
        ends = []
        for sign in (1, -1):
            moved = list(args)
            moved[which] = args[which] + sign * 1e-3 * direction
            ends.append(share[0](*moved))
        expected = (ends[0] - ends[1]) / 2e-3
        assert np.sum(gradient[which] * direction) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("distance", [1e2, 1e4, 1e6, -1e6])
@pytest.mark.parametrize("width", [1e-6, 1.0, 1e6])
def test_all_is_finite(share, k, distance, width):
    _, covariance, factor = gaussian(k)
    sd = np.sqrt(np.diag(covariance))
    args = distance * sd, factor, np.zeros(k), width * sd
    assert np.isfinite(share[0](*args))
    assert all(np.all(np.isfinite(part)) for part in share[1](*args))
    draws, log_weights = draw_within(args[0][None], factor[None], *args[2:], np.random.default_rng(6))
    assert np.all((draws >= 0) & (draws <= width * sd))
    assert np.all(np.isfinite(log_weights))


def test_nothing_to_cut():
    draws, log_weights = draw_within(
        np.zeros((3, 0)), np.zeros((3, 0, 0)), np.zeros(0), np.zeros(0), np.random.default_rng(1)
    )
    assert draws.shape == (3, 0)
    np.testing.assert_array_equal(log_weights, 0)
