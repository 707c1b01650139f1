"""Integrals of Gaussians times priors, and draws from them, against adaptive quadrature."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from socca.likelihood.amplitude_draws import draw_within
from socca.likelihood.amplitude_priors import log_integral, window
from socca.priors import halfnormal, loguniform, truncnormal, uniform

#: Prior, and its bounds.
PRIORS = {
    "loguniform": (loguniform(1e-2, 1e3), (1e-2, 1e3)),
    "narrow": (truncnormal(1.0, 1e-2, 0.0, 20.0), (0.0, 20.0)),
    "halfnormal": (halfnormal(2.0), (0.0, 500.0)),
    "uniform": (uniform(0.0, 20.0), (0.0, 20.0)),
}
#: Prior, its bounds, and mean and deviation of a Gaussian that contradicts it: the product is far from both.
CONTRADICTIONS = [
    (truncnormal(1.0, 0.1, 0.0, 10.0), (0.0, 10.0), (1.8, 0.005)),
    (truncnormal(1.0, 0.1, 0.0, 10.0), (0.0, 10.0), (1.8, 0.05)),
    (halfnormal(1.0), (0.0, 200.0), (7.5, 0.01)),
    (halfnormal(1.0), (0.0, 200.0), (12.0, 1.0)),
    (loguniform(1e-2, 1e3), (1e-2, 1e3), (500.0, 0.01)),  # no contradiction, but little of the prior
]
#: Mean and standard deviation of a Gaussian: far within the bounds, at one, and beyond.
GAUSSIANS = {"bright": (8.0, 0.1), "faint": (0.3, 0.5), "nothing": (-0.4, 0.2), "beyond": (-3.0, 0.4)}


def of(priors, mean, covariance, bounds):
    """Return `log_integral`, compiled."""
    factor = np.linalg.cholesky(np.linalg.inv(covariance))
    families = [prior.family for prior in priors]
    numbers = [np.array([getattr(prior, name) for name in prior.family.arguments]) for prior in priors]
    with jax.enable_x64(True):
        low, high = np.array(bounds, float).T
        program = jax.jit(functools.partial(log_integral, families=families))
        return float(program(np.asarray(mean, float), factor, (low, high), numbers=numbers))


def pieces(prior, bounds, mean, sd):
    """Return where to cut an integral: spikes, bounds and the Gaussian's middle."""
    places = [prior.icdf(np.linspace(1e-6, 1 - 1e-6, 20)), mean + sd * np.arange(-9, 10)]
    places.append(np.linspace(float(prior.icdf(0.5)), mean, 40))
    return np.unique(np.clip(np.concatenate([*places, bounds]), *bounds))


@pytest.mark.parametrize("gaussian", GAUSSIANS.values(), ids=GAUSSIANS)
@pytest.mark.parametrize("name", PRIORS)
def test_one_variable(name, gaussian):
    check(*PRIORS[name], *gaussian)


@pytest.mark.parametrize(("prior", "bounds", "gaussian"), CONTRADICTIONS)
def test_image_and_prior_contradict_each_other(prior, bounds, gaussian):
    check(prior, bounds, *gaussian)


def check(prior, bounds, mean, sd):
    """Compare integral and draws with adaptive quadrature."""
    cuts = pieces(prior, bounds, mean, sd)

    def log_integrand(a):
        return stats.norm.logpdf(a, mean, sd) + prior.log_prob(a)

    log_peak = max(log_integrand(a) for a in np.linspace(cuts[:-1], cuts[1:], 20).ravel())

    def integrand(a):
        return np.exp(log_integrand(a) - log_peak)

    parts = [integrate.quad(integrand, *ends, epsabs=1e-12, epsrel=1e-9)[0] for ends in itertools.pairwise(cuts)]
    expected = log_peak + np.log(sum(parts)) + np.log(bounds[1] - bounds[0])
    # 32 nodes.
    assert of([prior], [mean], [[sd**2]], [bounds]) == pytest.approx(expected, abs=0.002)
    # Draws have the same integral as the mean of their weights, and as many of them the right mean.
    n = 4000
    draws, log_weights = draw_within(
        np.full((n, 1), mean), np.full((n, 1, 1), 1 / sd), *np.array([bounds]).T, np.random.default_rng(1), [prior]
    )
    ratio = np.exp(log_weights - expected)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(n) + 1e-6
    moments = [
        sum(integrate.quad(lambda a, k=k: a**k * integrand(a), *ends, epsabs=1e-12, epsrel=1e-9)[0]
            for ends in itertools.pairwise(cuts)) / sum(parts)
        for k in (1, 2)
    ]  # fmt: skip
    weights = ratio / ratio.sum()
    spread = np.sqrt(moments[1] - moments[0] ** 2)
    assert abs(weights @ draws[:, 0] - moments[0]) < 4 * spread * np.sqrt(weights @ weights)
    # Candidates make up for what the priors do to single draws.
    assert 1 / (weights @ weights) > 0.5 * n


@pytest.mark.parametrize("mean", [(5.0, 3.0), (0.5, 6.0), (-0.5, 5.0)])
def test_two_variables_of_which_the_sum_is_known(mean):
    """Priors with a spike at zero: a grid in the logarithms of both."""
    prior, bounds = PRIORS["loguniform"]
    covariance = np.array([[1.0, -0.95], [-0.95, 1.0]])
    grid = np.geomspace(*bounds, 6001)
    near = grid[grid < 20]
    both = np.stack(np.meshgrid(near, near, indexing="ij"), axis=-1)
    # Per unit of a logarithm the prior is flat.
    density = stats.multivariate_normal(mean, covariance).pdf(both)
    step = np.log(grid[1] / grid[0]) / np.log(bounds[1] / bounds[0])
    expected = np.log(density.sum() * step**2) + 2 * np.log(bounds[1] - bounds[0])
    assert of([prior] * 2, mean, covariance, [bounds] * 2) == pytest.approx(expected, abs=0.1)
    n = 4000
    factor = np.linalg.cholesky(np.linalg.inv(covariance))
    draws, log_weights = draw_within(
        np.tile(mean, (n, 1)), np.tile(factor, (n, 1, 1)), *np.array([bounds] * 2).T, np.random.default_rng(2),
        [prior] * 2,
    )  # fmt: skip
    ratio = np.exp(log_weights - expected)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(n) + 1e-3
    weights, share = ratio / ratio.sum(), density / density.sum()
    for axis in range(2):
        middle = (share * both[..., axis]).sum()
        spread = np.sqrt((share * (both[..., axis] - middle) ** 2).sum())
        assert abs(weights @ draws[:, axis] - middle) < 4 * spread * np.sqrt(weights @ weights) + 1e-3


def test_variables_that_do_not_know_of_each_other():
    """Three of them: the sum of their own integrals."""
    names = ("loguniform", "halfnormal", "narrow")
    mean, sd = [GAUSSIANS[name][0] for name in ("bright", "faint", "nothing")], [0.1, 0.5, 0.2]
    priors, bounds = [PRIORS[name][0] for name in names], [PRIORS[name][1] for name in names]
    alone = sum(
        of([prior], [one], [[width**2]], [ends])
        for prior, one, width, ends in zip(priors, mean, sd, bounds, strict=True)
    )
    assert of(priors, mean, np.diag(np.square(sd)), bounds) == pytest.approx(alone, abs=0.05)


def test_the_window_has_all_of_a_gaussian():
    """Within bounds, at one and beyond: what lies outside is exp(-12.5) of the largest value, or less."""
    start, end = window(np.array([5.0, 0.5, -8.0]), np.array([0.1, 1.0, 1.0]), np.zeros(3), np.full(3, 20.0), np)
    np.testing.assert_allclose(start, [4.5, 0.0, 0.0])
    np.testing.assert_allclose(end, [5.5, 5.5, np.sqrt(89) - 8])
