"""Coordinates in which a bounded prior is flat."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from socca.priors import loguniform, normal, uniform
from socca.samplers.coordinates.flat import FlatCoordinates
from socca.samplers.coordinates.normal import NormalCoordinates
from tests.fakes import Numpy

#: A disc (angle and ellipticity), two bounded parameters, one without bounds, and an angle on a whole period.
PRIORS = [
    uniform(0, math.pi),
    uniform(0, 0.8),
    loguniform(1, 100),
    uniform(-1, 2),
    normal(3, 2),
    uniform(0, 2 * math.pi),
]
PERIODS = [math.pi, None, None, None, None, 2 * math.pi]
MIDDLE = np.array([[1.0, 0.2, 10.0, 0.0, 3.0, 0.3]])


@pytest.fixture(scope="module")
def normal_coordinates():
    return NormalCoordinates(Numpy(None, PRIORS, PERIODS, ellipses=[(0, 1)]), MIDDLE)


@pytest.fixture(scope="module")
def coordinates(normal_coordinates):
    return FlatCoordinates(Numpy(None, PRIORS, PERIODS, ellipses=[(0, 1)]), normal_coordinates)


@pytest.fixture(scope="module")
def points(coordinates):
    return coordinates.draw_prior(4000, np.random.default_rng(5))


def test_there_and_back(coordinates, points):
    np.testing.assert_allclose(coordinates.from_places(coordinates.places(points)), points, atol=1e-8)


def test_draws_from_the_prior_have_uniform_places(coordinates, points):
    for column in coordinates.places(points).T:
        assert kstest(column, "uniform").pvalue > 1e-4


def test_the_density_of_the_prior_is_that_of_its_draws(coordinates, points):
    """Uniform points in a box around it: the mean of the density times the volume is 1."""
    rng = np.random.default_rng(6)
    z = rng.uniform(-2.2, 2.2, (200_000, len(PRIORS)))
    z[:, 4] = rng.normal(0, 1.5, len(z))
    density = np.exp(coordinates.log_prior(z)) * 4.4**5
    density /= np.exp(-0.5 * (z[:, 4] / 1.5) ** 2) / (1.5 * math.sqrt(2 * math.pi))
    assert abs(density.mean() - 1) < 4 * density.std() / math.sqrt(len(z))
    # Flat along all axes but the one without bounds and those of the disc, where it is 1 / (u + 0.1).
    by_disc = sum(np.log(coordinates.places(points)[:, plane[1]] + 0.1) for plane in coordinates._planes)
    np.testing.assert_allclose(np.ptp(coordinates.log_prior(points) + 0.5 * points[:, 4] ** 2 + by_disc), 0, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_there_is_nothing_beyond_a_bound(coordinates, points, axis):
    z = points[:5].copy()
    z[:, axis] = 2.01  # the disc ends at 2, and a flat prior of unit variance at 1.73
    assert np.isneginf(coordinates.log_prior(z)).all()


def test_a_gaussian_of_the_normal_coordinates(coordinates, normal_coordinates):
    """A narrow one, drawn there and seen here."""
    rng = np.random.default_rng(7)
    center = normal_coordinates.from_parameters(MIDDLE)[0]
    root = 1e-3 * rng.standard_normal((6, 6))
    middle, covariance = coordinates.from_normal(center, root @ root.T)
    seen = coordinates.from_places(normal_coordinates.places(center + rng.standard_normal((20_000, 6)) @ root.T))
    np.testing.assert_allclose(seen.mean(axis=0), middle, atol=1e-4)
    sigma = np.sqrt(np.diag(covariance))
    off = (np.cov(seen, rowvar=False) - covariance) / np.outer(sigma, sigma)
    assert np.abs(off).max() < 4 * math.sqrt(2 / len(seen))


def test_a_posterior_that_a_bound_cuts_off_keeps_its_shape(coordinates):
    """Half of a Gaussian at the upper bound of a uniform prior."""
    x = 2 - np.abs(np.random.default_rng(8).normal(0, 0.01, 4000))
    theta = np.tile(MIDDLE, (len(x), 1))
    theta[:, 3] = x
    u = np.column_stack([prior.cdf(theta[:, k]) for k, prior in enumerate(PRIORS)])
    z = coordinates.from_places(u)[:, 3]
    scale = 0.01 * math.sqrt(12) / 3
    assert kstest((math.sqrt(3) - z) / scale, "halfnorm").pvalue > 1e-3
