"""A small image of two points and a background, whose three amplitudes are integrated out."""

import numpy as np

from socca.models import Background, Model, Point, Tie
from socca.parameters.expressions import parse
from socca.priors import normal, uniform
from socca.samplers.base import Draws

SHAPE = (12, 13)
SIZE = SHAPE[0] * SHAPE[1]
SIGMA = np.random.default_rng(11).uniform(0.3, 0.6, SHAPE)
DATA = np.random.default_rng(13).normal(0.8, 0.5, SHAPE)

#: Mean and standard deviation of the three amplitudes' priors.
MEAN, WIDTH = np.array([1.2, 3.0, 0.1]), np.array([0.4, 2.0, 0.3])
AMPLITUDES = ("comp_00_Ic", "comp_01_Ic", "comp_02_a0")


def components(pixel, amplitudes=None, second=(2.2, 3.1)):
    """Return two points and a background: a position that is sampled, and three amplitudes."""
    one, two, three = amplitudes or [normal(*numbers) for numbers in zip(MEAN, WIDTH, strict=True)]
    return (
        Point(xc=uniform(1 * pixel, 3 * pixel), yc=-0.3 * pixel, Ic=one),
        Point(xc=second[0] * pixel, yc=second[1] * pixel, Ic=two),
        Background(a0=three),
    )


def model_of(*parts):
    model = Model()
    for part in parts:
        model.addcomponent(part)
    return model


def tied(text):
    """Return a tie to the parameters in an expression."""
    return Tie(tuple(sorted(parse(text).names())), parse(text))


def design(problem, theta, linear):
    """Return the images of unit amplitudes, shape (pixels, k), and that of none."""
    zero = np.array(theta, float)
    zero[linear] = 0
    rest = problem.render(zero).total
    columns = []
    for k in linear:
        one = zero.copy()
        one[k] = 1
        columns.append((problem.render(one).total - rest).ravel())
    return np.stack(columns, axis=1), rest.ravel()


def at(problem, position):
    theta = np.zeros(problem.ndim)
    theta[problem.names.index("comp_00_xc")] = position
    return theta


def covariance_of(solved, k=0):
    return np.linalg.inv(solved.factor[k] @ solved.factor[k].T)


def box(low, high, n):
    """Return points and weights of Gauss-Legendre quadrature over a box."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    axes = [0.5 * (a + b) + 0.5 * (b - a) * nodes for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(low))
    sides = [0.5 * (b - a) * weights for a, b in zip(low, high, strict=True)]
    return grid, np.prod(np.meshgrid(*sides, indexing="ij"), axis=0).ravel()


def draws_at(rows, logz=-100.0):
    rows = np.asarray(rows, float)
    n = len(rows)
    return Draws(rows, np.full(n, -np.log(n)), np.zeros(n), logz, 0.1, True)
