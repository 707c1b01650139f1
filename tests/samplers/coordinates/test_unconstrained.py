"""The space in which chains have no edges: its Jacobian, and where its middle lies."""

import jax
import numpy as np
import pytest

from socca.priors import halfnormal, normal, uniform
from socca.samplers.coordinates.unconstrained import UnconstrainedSpace, to_parameters
from socca.samplers.maxima.maximum import Maximum
from tests.fakes import Numpy

LOW, HIGH = [-np.inf, 0.0, -1.0, 0.0], [np.inf, np.inf, 3.0, np.pi]


def space(theta, sigma=0.01):
    priors = [normal(0, 1), halfnormal(2.0), uniform(-1, 3), uniform(0, np.pi)]
    fake = Numpy(lambda theta: theta[:, 0], priors, [None, None, None, np.pi])
    root = sigma * np.tril(np.full((4, 4), 0.4) + 0.6 * np.eye(4))
    return UnconstrainedSpace.around(
        fake, Maximum(np.array(theta), 0.0, root @ root.T, True, True, 1, 0)
    ), root @ root.T


def test_every_kind_of_bound_is_told_apart():
    found, _ = space([0.5, 1.0, 2.0, 3.0])
    assert found.kinds == ("real", "above", "between", "circle")


def test_the_volume_factor_is_the_jacobian():
    found, _ = space([0.5, 1.0, 2.0, 3.1], sigma=0.3)
    points = np.random.default_rng(1).normal(size=(50, 4))
    theta, log_slope = found.to_parameters(points)
    with jax.enable_x64(True):
        jacobian = jax.vmap(jax.jacobian(lambda y: to_parameters(found.kinds, found.arrays, y)[0]))(points)
    _, log_det = np.linalg.slogdet(jacobian)
    constant = np.log(np.diag(found.root)).sum()
    assert log_slope + constant == pytest.approx(log_det, abs=1e-9)
    assert np.all((theta >= LOW) & (theta <= HIGH))


def test_a_unit_gaussian_there_is_the_maximum_s_here():
    """To first order in its width, which is small: a percent and less of a standard deviation."""
    found, covariance = space([0.5, 1.0, 2.0, 1.0], sigma=1e-3)
    theta, _ = found.to_parameters(np.random.default_rng(2).normal(size=(200_000, 4)))
    sigma = np.sqrt(np.diag(covariance))
    assert (theta.mean(axis=0) - [0.5, 1.0, 2.0, 1.0]) / sigma == pytest.approx(0, abs=0.012)
    # 0.001 of the correlation matrix is the identity; the rest is the error of 200,000 draws.
    assert np.cov((theta / sigma).T) == pytest.approx(covariance / np.outer(sigma, sigma), abs=0.015)


@pytest.mark.parametrize("theta", [[0.5, 0.0, -1.0, 0.0], [0.5, 1e-30, 3.0, np.pi]])
def test_a_maximum_on_an_edge_is_a_finite_start(theta):
    found, _ = space(theta)
    start, log_slope = found.to_parameters(np.zeros((1, 4)))
    assert np.isfinite(log_slope).all()
    assert start[0, 1] > 0
    assert -1 < start[0, 2] < 3
    assert abs(start[0, 1:3] - theta[1:3]).max() < 0.03
