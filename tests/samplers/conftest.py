"""Fixtures that tests of samplers share: a problem with a known answer, and its posteriors."""

from types import SimpleNamespace

import numpy as np
import pytest

from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import Normal
from socca.priors import normal
from tests.samplers.plane import PRIORS, QUICK, SHAPE, SIGMA, Counting


@pytest.fixture(scope="session")
def problem(make_image):
    """A plane in an image: linear in its three parameters, so that everything is known."""
    data = np.random.default_rng(5).normal(0.5, SIGMA, SHAPE)
    model = Model(Background(**{name: normal(*numbers) for name, numbers in PRIORS.items()}))
    return Problem(make_image(data, noise=Normal(sigma=SIGMA)), model)


@pytest.fixture(scope="session")
def exact(problem):
    """Evidence, mean and covariance of the plane's posterior, by linear algebra."""
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    x, y = -0.2 * col.ravel(), 0.2 * row.ravel()  # arcsec to the east and north; rs is 1 arcsec
    design = np.stack([np.ones(x.size), x, y], axis=1)
    data = problem.arrays["noise"].data.ravel()
    loc, scale = np.array(list(PRIORS.values())).T
    covariance = np.linalg.inv(design.T @ design / SIGMA**2 + np.diag(scale**-2.0))
    mean = covariance @ (design.T @ data / SIGMA**2 + loc / scale**2)
    marginal = SIGMA**2 * np.eye(data.size) + design @ np.diag(scale**2) @ design.T
    off = data - design @ loc
    _, logdet = np.linalg.slogdet(2 * np.pi * marginal)
    return SimpleNamespace(
        mean=mean, covariance=covariance, logz=-0.5 * (off @ np.linalg.solve(marginal, off) + logdet)
    )


@pytest.fixture(scope="session")
def fits(problem):
    """Give the posterior of the plane by nautilus, with focus or without, counting calls."""
    found = {}
    for focus in (True, False):
        counting = Counting(problem)
        posterior, draws = sample(counting, "nautilus", seed=3, focus=focus, **QUICK)
        found[focus] = SimpleNamespace(posterior=posterior, draws=draws, problem=counting)
    return found


@pytest.fixture(scope="session")
def optimum(problem):
    counting = Counting(problem)
    posterior, draws = sample(counting, "optimizer", seed=3)
    return SimpleNamespace(posterior=posterior, draws=draws, problem=counting)
