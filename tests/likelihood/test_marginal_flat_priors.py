"""Intensities with flat priors integrated out. Those of three share one program: bounds are arguments."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from socca.likelihood.marginal import Marginal
from socca.noise import Normal
from socca.priors import uniform
from socca.samplers.base import completed
from tests.likelihood.amplitudes import AMPLITUDES, DATA, SIGMA, box, components, draws_at


def gaussian_of(templates, position, second=(2.2, 3.1)):
    """Return precision, mean, and log of the likelihood at the mean, of the three amplitudes."""
    t, rest = templates(position, second)
    weight = 1 / SIGMA.ravel() ** 2
    precision = (t.T * weight) @ t
    mean = np.linalg.lstsq(precision, (t.T * weight) @ (DATA.ravel() - rest), rcond=1e-12)[0]
    return precision, mean, stats.norm.logpdf(DATA.ravel(), rest + t @ mean, SIGMA.ravel()).sum()


def within(precision, mean, peak, low, high):
    """Return the log of the integral within bounds, mean and covariance, by quadrature over nine deviations at most."""
    spread = 9 * np.sqrt(np.diag(np.linalg.inv(precision)))
    grid, volume = box(np.maximum(low, mean - spread), np.minimum(high, mean + spread), 60)
    heights = -0.5 * np.einsum("ni,ij,nj->n", grid - mean, precision, grid - mean)
    total = logsumexp(heights, b=volume)
    weights = volume * np.exp(heights - total)
    center = weights @ grid
    return peak + total, center, (grid - center).T @ (weights[:, None] * (grid - center))


#: Bounds in standard deviations from the mean: (low, high) of each amplitude.
BITES = {
    "none": ((-30, 40), (-50, 20), (-20, 20)),
    "one": ((0.5, 9), (-50, 20), (-20, 20)),
    "two": ((0.5, 9), (-50, -1), (-20, 20)),
    "three": ((-2, 0.3), (1, 8), (0.2, 1.5)),
    "tails": ((5, 9), (-30, 20), (-9, -3)),
}


@pytest.fixture(scope="module")
def flat(problem_of, pixel):
    """Give a function from bounds to the problem of three flat priors, and its marginal."""

    def make(low, high, **kwargs):
        flats = [uniform(a, b) for a, b in zip(low, high, strict=True)]
        problem = problem_of(components(pixel, flats, **kwargs), Normal(sigma=SIGMA))
        return problem, Marginal(problem)

    return make


@pytest.mark.parametrize("bite", BITES)
def test_flat_priors(flat, templates, pixel, bite):
    position = 1.3 * pixel
    precision, mean, peak = gaussian_of(templates, position)
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    low, high = (mean + np.array(BITES[bite]).T * sd).round(6)
    expected, center, covariance = within(precision, mean, peak, low, high)
    expected -= np.log(high - low).sum()
    problem, marginal = flat(low, high)
    got = float(marginal.log_likelihood([[position]])[0])
    # Exact where no bound is near, or else as good as 256 quasi-random points, which is 3e-3 at worst.
    assert got == pytest.approx(expected, abs=1e-6 if bite == "none" else 5e-3)
    n = 4000
    done = completed(draws_at(np.full((n, 1), position), logz=got), marginal, np.random.default_rng(6))
    # The draws correct the evidence, within the error that they state.
    error = math.sqrt(done.logz_err**2 - 0.1**2)
    assert error < 5e-3
    assert done.logz == pytest.approx(expected, abs=4 * error + 1e-6)
    weights, found = np.exp(done.log_weights), done.samples[:, [problem.names.index(name) for name in AMPLITUDES]]
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert np.all((found >= low) & (found <= high))
    n_eff = 1 / (weights**2).sum()
    assert n_eff > n / 2
    spread = np.sqrt(np.diag(covariance))
    # Four standard errors, those of the variances for kurtoses up to 9, that of an exponential tail.
    assert np.all(np.abs(weights @ found - center) < 4 * spread / np.sqrt(n_eff))
    off = (np.cov(found, rowvar=False, aweights=weights) - covariance) / np.outer(spread, spread)
    assert np.abs(off).max() < 4 * np.sqrt(8 / n_eff)
    np.testing.assert_allclose(done.log_likelihood[:5], problem.log_likelihood(done.samples[:5]), rtol=1e-9)


def test_an_amplitude_that_the_image_does_not_constrain(flat, templates, pixel):
    # The second point lies far outside the image: its light is nowhere in it.
    second, position = (50.0, 3.1), 1.3 * pixel
    assert np.abs(templates(position, second)[0][:, 1]).max() == 0
    precision, mean, peak = (
        (np.delete(part, 1, -1) for part in gaussian_of(templates, position, second)[:2]),
        None,
        None,
    )
    precision, mean, peak = gaussian_of(templates, position, second)
    kept = np.array([0, 2])
    precision, mean = precision[np.ix_(kept, kept)], mean[kept]
    low, high = np.array([mean[0], -7.0, -8.0]), np.array([30.0, 5.0, 8.0])
    expected, *_ = within(precision, mean, peak, low[kept], high[kept])
    _, marginal = flat(low, high, second=second)
    got = float(marginal.log_likelihood([[position]])[0])
    # The prior of the amplitude that is not seen integrates to one, and the cut of the first to 3e-3 as above.
    assert got == pytest.approx(expected - np.log((high - low)[kept]).sum(), abs=5e-3)
    n = 4000
    done = completed(draws_at(np.full((n, 1), position), logz=got), marginal, np.random.default_rng(7))
    posterior = done.samples[:, 2]
    assert stats.kstest(posterior, stats.uniform(-7, 12).cdf).pvalue > 1e-3


def test_amplitudes_of_which_only_the_sum_is_known(flat, templates, pixel):
    # Both points in the same place.
    second, position = (1.3, -0.3), 1.3 * pixel
    t, rest = templates(position, second)
    np.testing.assert_allclose(t[:, 0], t[:, 1], atol=1e-12)
    low, high = np.array([-10.0, -20.0, -8.0]), np.array([30.0, 20.0, 8.0])
    _, marginal = flat(low, high, second=second)
    got = float(marginal.log_likelihood([[position]])[0])
    weight = 1 / SIGMA.ravel() ** 2
    two = t[:, [0, 2]]
    precision = (two.T * weight) @ two
    mean = np.linalg.solve(precision, (two.T * weight) @ (DATA.ravel() - rest))
    peak = stats.norm.logpdf(DATA.ravel(), rest + two @ mean, SIGMA.ravel()).sum()
    log_norm = np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1]
    # The first term of a given sum can be anything for which the second is within its bounds too.
    length = min(30.0, mean[0] + 20) - max(-10.0, mean[0] - 20)
    assert got == pytest.approx(peak + log_norm + np.log(length / (40 * 40 * 16)), abs=5e-3)
    done = completed(draws_at(np.full((4000, 1), position), logz=got), marginal, np.random.default_rng(8))
    total = done.samples[:, 1] + done.samples[:, 2]
    sd = np.sqrt(np.linalg.inv(precision)[0, 0])
    assert np.average(total, weights=np.exp(done.log_weights)) == pytest.approx(mean[0], abs=5 * sd / np.sqrt(2000))


def test_far_beyond_the_bounds(flat, pixel):
    _, marginal = flat([500, 500, 500], [600, 501, 600])
    value = marginal.log_likelihood([[1.3 * pixel], [2.5 * pixel]])
    assert np.all(np.isfinite(value))
    assert np.all(value < -1e4)
