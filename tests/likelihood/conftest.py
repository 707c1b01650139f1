"""Fixtures of the tests of the likelihood."""

import pytest

from socca.likelihood.problem import Problem
from socca.noise import Normal
from tests.likelihood.amplitudes import AMPLITUDES, DATA, SIGMA, at, components, design, model_of


@pytest.fixture(scope="module")
def problem_of(make_image, make_psf):
    """Give a function that makes problems. Points compile in a moment, and a PSF makes them smooth."""

    def make(parts, noise, data=DATA, **kwargs):
        return Problem(make_image(data, noise=noise, psf=make_psf((7, 7), sigma=1.4), **kwargs), model_of(*parts))

    return make


@pytest.fixture(scope="module")
def templates(problem_of, pixel):
    """Give a function from positions to the image without amplitudes and those of each, whatever their priors."""

    def get(position, second=(2.2, 3.1)):
        problem = problem_of(components(pixel, second=second), Normal(sigma=SIGMA))
        return design(problem, at(problem, position), [problem.names.index(name) for name in AMPLITUDES])

    return get
