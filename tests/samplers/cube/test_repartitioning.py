"""The change of coordinates that shows samplers where to look: its volume, its density, its edges."""

import itertools
import math

import jax
import numpy as np
import pytest

from socca.pool import SerialPool
from socca.priors import uniform
from socca.samplers.checkpoint import Checkpoint
from socca.samplers.cube.mixture import student_cdf
from socca.samplers.cube.repartitioning import PRIOR_SHARE, IdentityMap, Repartitioning, _Axis
from socca.samplers.cube.unit_cube import UnitCube
from socca.samplers.maxima.maximum import Maximum
from tests import fakes
from tests.fakes import Numpy


def focus(ndim, sigma=0.03, correlated=True, angle=None, place=0.3):
    """Give a focus on a maximum in a unit cube; `angle` is an axis that is a whole period."""
    rng = np.random.default_rng(ndim)
    root = np.linalg.qr(rng.normal(size=(ndim, ndim)))[0] if correlated else np.eye(ndim)
    covariance = sigma**2 * root @ np.diag(np.linspace(0.2, 1, ndim)) @ root.T
    periods = [1.0 if k == angle else None for k in range(ndim)]
    theta = np.full(ndim, place)
    return Repartitioning(
        Numpy(lambda theta: theta[:, 0], [uniform(0, 1)] * ndim, periods),
        Maximum(theta, 0.0, covariance, True, True, 1, 0),
    )


CASES = {
    "1-D": focus(1),
    "narrow": focus(1, sigma=1e-7),
    "at the edge": focus(1, place=0.0),
    "angle": focus(1, angle=0, place=0.01),
    "2-D": focus(2),
    "2-D, an angle": focus(2, angle=1, place=0.98),
    "2-D, at the corner": focus(2, place=1.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_volume_of_the_cube_is_kept(case):
    cube = CASES[case]
    ndim = cube.ndim
    n = {1: 50_000, 2: 250}[ndim]
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n] * ndim)
    _, log_density = cube.to_prior(np.stack([axis.ravel() for axis in axes], axis=1))
    assert np.mean(np.exp(-log_density)) == pytest.approx(1, abs={1: 3e-4, 2: 5e-3}[ndim])


@pytest.mark.parametrize("angle", [None, 0, 2])
@pytest.mark.parametrize("sigma", [0.03, 1e-4])
def test_the_density_is_the_jacobian(angle, sigma):
    cube = focus(3, sigma=sigma, angle=angle, place=0.4 if angle is None else 0.97)
    w = np.random.default_rng(8).uniform(0.02, 0.98, (200, 3))
    _, log_density = cube.to_prior(w)
    step = 1e-6
    columns = []
    for axis in step * np.eye(3):
        moved = cube.to_prior(w + axis)[0] - cube.to_prior(w - axis)[0]
        columns.append((moved - np.round(moved)) / (2 * step))  # across the end of a period too
    determinant = np.linalg.det(np.stack(columns, axis=-1))
    assert np.all(determinant > 0)
    assert np.log(determinant) == pytest.approx(-log_density, abs=2e-3)


@pytest.mark.parametrize("angle", [None, 1])
def test_the_cube_is_mapped_onto_itself(angle):
    cube = focus(3, angle=angle, place=0.95)
    corners = np.array(list(itertools.product([0.0, 0.5, 1.0], repeat=3)))
    v, log_density = cube.to_prior(corners)
    assert np.isfinite(v).all()
    assert np.isfinite(log_density).all()
    assert np.all((v >= 0) & (v <= 1))
    assert np.all(log_density >= math.log(PRIOR_SHARE) - 1e-12)
    line = np.stack([np.linspace(0, 1, 1001), np.full(1001, 0.3), np.full(1001, 0.6)], axis=1)
    first = cube.to_prior(line)[0][:, 0]
    assert np.all(np.diff(first) > 0)
    assert (first[0], first[-1]) == pytest.approx((0, 1), abs=1e-12)


def test_points_of_the_mapped_cube_have_the_density_that_is_stated():
    """Histogram of mapped uniform points against the density, where it varies by a factor of hundreds."""
    cube = focus(2, sigma=0.05)
    w = np.random.default_rng(9).random((50_000, 2))
    v, log_density = cube.to_prior(w)
    cell = np.floor(v * 10).astype(int) @ [10, 1]
    volume = np.bincount(cell, np.exp(-log_density), 100) / len(w)
    error = np.sqrt(np.bincount(cell, np.exp(-2 * log_density), 100)) / len(w)
    assert np.all(np.abs(volume - 0.01) < 4.5 * error + 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_density_is_the_same_both_ways(case):
    cube = CASES[case]
    v, log_density = cube.to_prior(np.random.default_rng(3).random((500, cube.ndim)))
    assert cube.log_density(v) == pytest.approx(log_density, abs=1e-6)


def test_the_focus_lies_at_the_maximum():
    cube = focus(3, angle=2, place=0.95)
    v, _ = cube.to_prior(np.random.default_rng(1).random((20_000, 3)))
    off = np.abs(v - 0.95)
    off[:, 2] = np.minimum(off[:, 2], 1 - off[:, 2])
    assert np.mean(np.all(off < 0.1, axis=1)) > 0.3
    assert np.median(off, axis=0) == pytest.approx([0.03] * 3, abs=0.025)


def test_without_focus_the_cube_stays():
    w = np.random.default_rng(1).random((5, 2))
    v, log_density = IdentityMap().to_prior(w)
    assert np.array_equal(v, w)
    assert not log_density.any()


def explored(known, seed=1, state=None):
    """Give the cube of a problem; `state` is of a checkpoint."""
    checkpoint = Checkpoint()
    checkpoint.state = state
    return UnitCube(known.problem, SerialPool(known.problem.log_likelihood), seed, checkpoint, focus=True)


@pytest.fixture(scope="module")
def known(make_image, make_psf):
    def make(name):
        kind, _, ndim = name.partition(" ")
        if kind == "linear":
            return fakes.linear_image(make_image, int(ndim))
        if kind == "faint":
            return fakes.faint_source(make_image, make_psf)
        return getattr(fakes, name.replace(" ", "_"))()

    return make


@pytest.mark.parametrize("name", ["linear 2", "linear 5", "linear 10", "partly impossible", "two modes"])
def test_gaussians_are_focused_on(known, name):
    """Even if a part of one is cut off, or there are two of them."""
    problem = known(name)
    assert all(isinstance(explored(problem, seed)._map, Repartitioning) for seed in range(3))


@pytest.mark.parametrize("name", ["banana", pytest.param("faint source", marks=pytest.mark.slow)])
def test_what_is_no_gaussian_is_not_focused_on(known, name):
    problem = known(name)
    assert all(isinstance(explored(problem, seed)._map, IdentityMap) for seed in range(5))


@pytest.mark.parametrize("name", ["linear 2", "banana", "two modes"])
def test_a_checkpoint_knows_the_cube(known, name):
    problem = known(name)
    first = explored(problem)
    problem.problem.log_likelihood = None  # nothing is evaluated again
    again = explored(problem, state=first.checkpoint_state)
    w = np.random.default_rng(1).random((20, 2))
    for one, other in zip(again._map.to_prior(w), first._map.to_prior(w), strict=True):
        assert np.array_equal(one, other)
    assert again.checkpoint_state.keys() == first.checkpoint_state.keys()


def test_an_angle_keeps_its_period_without_a_focus():
    """A bow in the plane of an angle and a second parameter, across the end of the angle's period."""

    def log_likelihood(theta):
        off = (theta[:, 0] + np.pi / 2) % np.pi - np.pi / 2
        return -0.5 * ((off / 0.4) ** 2 + ((theta[:, 1] - 2 * off**2) / 0.05) ** 2)

    problem = Numpy(log_likelihood, [uniform(0, np.pi), uniform(-3, 6)], [np.pi, None])
    cube = UnitCube(problem, SerialPool(log_likelihood), 1, Checkpoint(), focus=True)
    assert isinstance(cube._map, IdentityMap)
    assert cube.periodic == [0]


@pytest.mark.parametrize("sigma", [0.1, 1e-3, 1e-6])
def test_the_density_far_from_the_maximum(sigma):
    """Many axes: the product of the Student densities underflows where the first ones are far off."""
    cube = focus(12, sigma=sigma)
    v, log_density = cube.to_prior(np.random.default_rng(9).random((2000, 12)))
    assert np.all((v >= 0) & (v <= 1))
    assert log_density.min() >= math.log(PRIOR_SHARE)
    # Where the prior's share is all there is, and where it is next to nothing.
    assert np.any(log_density < math.log(PRIOR_SHARE) + 1e-6)
    assert log_density.max() > 5


@pytest.mark.parametrize("scale", [0.3, 1e-2, 1e-4, 1e-7, 1e-12])
def test_an_axis_is_inverted(scale):
    rng = np.random.default_rng(5)
    center = np.concatenate([rng.random(500), np.zeros(250), np.ones(250)])
    share = np.tile([0.1, 0.999, 1.0, 1e-9, 1e-300], 200)
    w = np.concatenate([[0, 1, 1e-15, 1 - 1e-15], rng.random(996)])

    def there_and_back(center, share, w):
        below = student_cdf(-center / scale)
        axis = _Axis(center, scale, below, student_cdf((1 - center) / scale) - below, share)
        x = axis.inverse(w)
        return x, axis.cdf(x)

    with jax.enable_x64(True):
        x, back = jax.vmap(there_and_back)(center, share, w)
    x, back = np.asarray(x), np.asarray(back)
    assert x.min() >= 0
    assert x.max() <= 1
    # The last digit of x, at the peak.
    np.testing.assert_allclose(back, w, rtol=0, atol=2e-15 + 2e-16 * 0.36 / scale)
