"""Sources behind the observer, 90 degrees or more from the centre of the image: they are dark, and no prior."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from socca import models
from socca.data.frames import is_behind, reaches_behind
from socca.errors import ModelError
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, Disk, Gaussian, Model, Point, boundto
from socca.priors import normal, uniform
from tests.models.laws import numbers

SHAPE = (11, 12)
DATA = np.random.default_rng(3).normal(size=SHAPE)


@pytest.fixture
def sky(make_image, make_header, make_psf):
    """Give a function that makes images at RA 150 and Dec 2."""

    def make(psf=False, **kwargs):
        return make_image(DATA, header=make_header(SHAPE, ra=150, dec=2, **kwargs), psf=make_psf() if psf else None)

    return make


#: The antipode, another place on the far side, the horizon but for a hair, and one beyond 360 degrees.
FAR = [(330.0, -2.0), (280.0, 10.0), (240.000001, 0.0), (690.0, -2.0)]


@pytest.mark.parametrize(
    ("kind", "psf"),
    [(kind, False) for kind in ("Gaussian", "Power", "TopHat", "Disk", "SimpleBridge", "Point")]
    + [("Gaussian", True), ("Point", True)],
)
def test_it_gives_no_light(sky, kind, psf):
    component = REGISTRY[kind](**numbers(REGISTRY[kind](), np.random.default_rng(5)))
    x, y = component.position_names
    image = sky(psf)
    for ra, dec in FAR:
        setattr(component, x, ra)
        setattr(component, y, dec)
        found = component.getmap(image, convolve=psf)
        assert not found.any(), (ra, dec)  # nor NaN, which is true


def test_near_the_horizon_it_is_a_number(sky):
    for ra in (239.0, 239.9999, 239.99999999):
        found = Gaussian(xc=ra, yc=0.0, rs=1e-3, Is=1.0).getmap(sky())
        assert np.all(np.isfinite(found))
        assert np.abs(found).max() < 1e-300


def test_a_tied_source_behind_adds_nothing_to_the_likelihood(sky):
    """Nor to its derivatives."""
    image = sky(psf=True)
    seen = Point(xc=uniform(149.9, 150.1), yc=2.0, Ic=5.0)
    model = Model(seen)
    model.addcomponent(Point(xc=lambda comp_00_xc: comp_00_xc + 180, yc=2.0, Ic=3.0))
    alone = Problem(image, Model(Point(xc=uniform(149.9, 150.1), yc=2.0, Ic=5.0)))
    rows = [[150.0], [150.0001]]
    for found, wanted in zip(
        Problem(image, model).log_likelihood_and_grad(rows), alone.log_likelihood_and_grad(rows), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_position_that_is_no_number_is_seen(sky):
    problem = Problem(sky(), Model(Gaussian(xc=uniform(149, 151), yc=2.0, rs=1e-4, Is=1.0)))
    assert problem.log_likelihood([[np.nan]])[0] == -np.inf


@pytest.mark.parametrize(
    ("xc", "yc"),
    [
        (uniform(0, 360), 2.0),
        (uniform(100, 240.1), 0.0),
        (150.0, uniform(-90, 90)),
        (uniform(149, 151), uniform(-89, 0)),
        (normal(150, 60), 2.0),
        (normal(330, 1e-3), normal(-2, 1e-3)),
    ],
)
def test_priors_that_reach_there_are_refused(sky, xc, yc):
    said = r"comp_00_.*: the prior reaches positions 90 degrees or more from the centre .* narrow it"
    source = Gaussian(xc=xc, yc=yc, rs=1e-4, Is=1.0)
    with pytest.raises(ModelError, match=said):
        Problem(sky(), Model(source))
    disk = Disk(Gaussian(xc=xc, yc=yc, rs=1e-4, Is=1.0), **{"vertical.zs": 1e-5})
    with pytest.raises(ModelError, match=said.replace("comp_00_", r"comp_00_radial\.")):
        Problem(sky(), Model(disk))
    # To draw it elsewhere on the sky is another matter.
    elsewhere = [at for at, value in ((330.0, xc), (-88.5, yc)) if not isinstance(value, float)]
    assert not Model(source).getmodel(sky(), elsewhere).smoothed.any()


@pytest.mark.parametrize(
    ("xc", "yc"),
    [
        (uniform(149, 151), uniform(1, 3)),
        (uniform(509, 511), 2.0),
        (normal(150, 0.1), normal(2, 0.1)),
        (uniform(61, 239), 0.0),
        (150.0, uniform(-87, 91)),
    ],
)
def test_other_priors_are_not(sky, make_image, xc, yc):
    source = Gaussian(xc=xc, yc=yc, rs=1e-4, Is=1.0)
    model = Model(source)
    model.addcomponent(Point(xc=boundto(source, "xc"), yc=boundto(source, "yc"), Ic=1.0))
    assert Problem(sky(), model).ndim > 0
    Problem(make_image(DATA), Model(Gaussian(xc=uniform(-180, 180), yc=0.0, rs=1e-4, Is=1.0)))  # offsets, not RA


def test_near_a_pole_every_right_ascension_is_near(make_image, make_header):
    image = make_image(DATA, header=make_header(SHAPE, ra=20, dec=89.9))
    Problem(image, Model(models.Point(xc=uniform(0, 360), yc=uniform(89, 90), Ic=1.0)))


angles = st.floats(-400, 760)


@given(
    reference=st.tuples(st.floats(0, 360), st.floats(-90, 90)),
    ra=st.tuples(angles, angles),
    dec=st.tuples(st.floats(-90, 90), st.floats(-90, 90)),
)
def test_a_range_reaches_behind_where_a_point_of_it_does(reference, ra, dec):
    ra, dec = tuple(sorted(ra)), tuple(sorted(dec))
    # Steps of 2 degrees in either coordinate: what they miss lies within 3 degrees of the horizon.
    points = np.meshgrid(*[np.linspace(*ends, 2 + int((ends[1] - ends[0]) / 2)) for ends in (ra, dec)])
    found = reaches_behind(ra, dec, reference)
    if is_behind(*points, reference, np).any():
        assert found
    elif found:
        east, north, dec0 = np.radians(points[0] - reference[0]), np.radians(points[1]), np.radians(reference[1])
        nearest = np.sin(north) * np.sin(dec0) + np.cos(north) * np.cos(dec0) * np.cos(east)
        assert nearest.min() < np.sin(np.radians(3))


def test_in_jax_as_in_numpy():
    reference = np.array([150.0, 2.0])
    with jax.enable_x64(True):
        for ra, dec in [(150.0, 2.0), (239.0, 0.0), (241.0, 0.0), (330.0, -2.0), (np.nan, 0.0)]:
            found = [bool(is_behind(xp.float64(ra), xp.float64(dec), reference, xp)) for xp in (np, jax.numpy)]
            assert found == [ra > 240] * 2
