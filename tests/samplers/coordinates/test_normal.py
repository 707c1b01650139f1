"""Coordinates in which the prior is standard normal."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from socca.priors import loguniform, normal, uniform
from socca.samplers.coordinates.normal import NormalCoordinates
from tests.fakes import Numpy

PRIORS = [
    uniform(0, math.pi),
    uniform(0, 0.8),
    loguniform(1, 100),
    normal(3, 2),
    uniform(-1, 2),
    uniform(0, 2 * math.pi),
]
PERIODS = [math.pi, None, None, None, None, 2 * math.pi]
MIDDLE = np.array([1.0, 0.2, 10.0, 3.0, 0.0, 0.3])


def log_likelihood(theta):
    """A smooth function in which the angles have their periods, and mean nothing where the source is round."""
    angle, e, size, level, slope, phase = theta.T
    shape = e * np.cos(2 * (angle - 0.4))
    return 3 * shape - 2 * e**2 - 0.5 * (np.log(size) - 2) ** 2 + 0.1 * level * slope + np.cos(phase - 1)


@pytest.fixture(scope="module")
def coordinates():
    return NormalCoordinates(Numpy(log_likelihood, PRIORS, PERIODS, ellipses=[(0, 1)]), MIDDLE[None])


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(5).standard_normal((4000, len(PRIORS)))


def test_there_and_back(coordinates, points):
    np.testing.assert_allclose(coordinates.from_parameters(coordinates.to_parameters(points)), points, atol=1e-8)


def test_places_of_normal_points_are_uniform(coordinates, points):
    for column in coordinates.places(points).T:
        assert kstest(column, "uniform").pvalue > 1e-4


def test_the_density_of_the_prior_is_standard_normal(coordinates, points):
    expected = -0.5 * (points**2).sum(axis=1) - 3 * math.log(2 * math.pi)
    np.testing.assert_allclose(coordinates.log_prior(points), expected)


def test_derivatives_are_those_of_differences(coordinates, points):
    z, step = points[:50], 1e-5 * np.eye(len(PRIORS))
    value, gradient = coordinates.log_posterior_and_grad(z)
    np.testing.assert_allclose(value, log_likelihood(coordinates.to_parameters(z)) + coordinates.log_prior(z))
    for axis, one in enumerate(step):
        above, below = (coordinates.log_posterior_and_grad(z + sign * one)[0] for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, axis], (above - below) / 2e-5, rtol=1e-4, atol=1e-6)


def test_a_round_source_is_no_edge(coordinates):
    """All around it the model is nearly the same, whatever the angle."""
    turned = np.linspace(0, 2 * math.pi, 20)
    around = np.zeros((20, len(PRIORS)))
    around[:, 0], around[:, 1] = 1e-3 * np.cos(turned), 1e-3 * np.sin(turned)
    theta = coordinates.to_parameters(around)
    assert np.ptp(theta[:, 0]) > 2.9
    assert theta[:, 1].max() < 1e-6
    assert np.ptp(log_likelihood(theta)) < 1e-5


def test_other_angles_are_cut_open_opposite_to_a_single_maximum(coordinates):
    theta = np.tile(MIDDLE, (3, 1))
    theta[:, 5] = MIDDLE[5] + np.array([-0.1, 0.0, 0.1])
    z = coordinates.from_parameters(theta)[:, 5]
    np.testing.assert_allclose(z, [-z[2], 0, z[2]], atol=1e-12)
    assert 0 < z[2] < 0.1


def test_no_maximum_lies_where_an_angle_is_cut_open():
    """Not even of two that are opposite to each other."""
    problem = Numpy(lambda theta: np.zeros(len(theta)), [uniform(0, math.pi)], [math.pi])
    maxima = np.array([[0.3], [0.3 + math.pi / 2]])
    z = NormalCoordinates(problem, maxima).from_parameters(maxima)[:, 0]
    np.testing.assert_allclose(np.sort(z), [-0.6744897501960817, 0.6744897501960817])  # quartiles


def test_a_covariance_is_carried_over_by_slopes(coordinates):
    """Of parameters that are normal numbers already, it is exact."""
    priors = [normal(1, 2), normal(-1, 0.5)]
    plain = NormalCoordinates(Numpy(lambda theta: np.zeros(len(theta)), priors), np.zeros((1, 2)))
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    expected = covariance / np.outer([2, 0.5], [2, 0.5])
    np.testing.assert_allclose(plain.covariance(np.array([1.2, -0.8]), covariance), expected, rtol=1e-6)
