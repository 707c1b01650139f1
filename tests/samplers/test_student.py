"""Student's density against scipy's, and its draws against the density."""

import numpy as np
import pytest
from scipy.stats import f, kstest, multivariate_t, t

from socca.samplers.student import Student

CENTER = np.array([1.0, -0.2, 300.0])
ROOT = np.diag([2.0, 0.01, 50.0]) @ np.array([[1.0, 0, 0], [0.8, 0.6, 0], [-0.3, 0.2, 0.9]])


def test_density():
    x = CENTER + np.random.default_rng(1).normal(size=(50, 3)) * [5.0, 0.03, 200.0]
    truth = multivariate_t(CENTER, ROOT @ ROOT.T, df=5).logpdf(x)
    np.testing.assert_allclose(Student(CENTER, ROOT, 5).log_density(x), truth, rtol=1e-9)


def test_scales_may_differ_by_any_factor():
    """scipy's own takes such a scale matrix for singular; the density is that in other units, times their factor."""
    units = np.array([1e-7, 1.0, 1e3])
    x = CENTER + np.random.default_rng(1).normal(size=(50, 3)) * [5.0, 0.03, 200.0]
    with pytest.raises(np.linalg.LinAlgError):
        multivariate_t(CENTER * units, ROOT @ ROOT.T * np.outer(units, units), df=5)
    scaled = Student(CENTER * units, ROOT * units[:, None], 5).log_density(x * units)
    np.testing.assert_allclose(scaled, Student(CENTER, ROOT, 5).log_density(x) - np.log(units).sum(), rtol=1e-9)


def test_draws():
    """Each direction is a Student variable, and the joint radius one of Fisher's: a seed in 1000 would be refused."""
    x = Student(CENTER, ROOT, 5).draw(20_000, np.random.default_rng(2)) - CENTER
    scale = ROOT @ ROOT.T
    for direction in (*np.eye(3), np.array([0.4, 30.0, -0.01])):
        along = x @ direction / np.sqrt(direction @ scale @ direction)
        assert kstest(along, t(5).cdf).pvalue > 2e-4
    z = np.linalg.solve(ROOT, x.T)
    assert kstest((z**2).sum(axis=0) / 3, f(3, 5).cdf).pvalue > 2e-4
