"""Fixtures of the tests of the likelihood."""

import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Gaussian, Model, Point, Tie
from socca.noise import Normal
from socca.priors import loguniform, normal, uniform
from tests.likelihood.amplitudes import AMPLITUDES, DATA, SIGMA, at, components, design, model_of
from tests.likelihood.scenes import BASE, parse_constant


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


@pytest.fixture(scope="module")
def make_problem(make_image, make_psf, pixel):
    """Give a function that makes one scene with changed numbers: a Gaussian, and a point tied to it."""

    def make(**changes):
        n = {**BASE, **changes}
        image = make_image(
            n["data"], noise=Normal(sigma=n["sigma"]), psf=make_psf((9, 9), n["psf"]), addmask={"regions": n["mask"]}
        )
        model = Model()
        model.addcomponent(
            Gaussian(
                xc=uniform(-2 * pixel, 2 * pixel),
                yc=0.3 * pixel,
                rs=loguniform(n["low"] * pixel, 4 * pixel),
                Is=normal(n["loc"], 0.3),
                e=n["e"],
            ),
            label="disk",
        )
        scaled = Tie(("comp_00_Is",), parse_constant("comp_00_Is"), (n["factor"],))
        model.addcomponent(Point(xc=-pixel, yc=pixel, Ic=scaled))
        return Problem(image, model)

    return make


@pytest.fixture(scope="module")
def problem(make_problem):
    return make_problem()


@pytest.fixture(scope="module")
def theta(problem):
    return problem.prior_transform(np.random.default_rng(3).uniform(0.1, 0.9, (6, problem.ndim)))
