"""Positions of components: on the image, on used pixels, narrower than the image."""

import numpy as np
import pytest

from socca.fitting.plausibility import find_doubts
from socca.fitting.plausibility.parts import parts_of_model
from socca.fitting.plausibility.positions import LEAST_USED
from socca.models import Gaussian
from socca.parameters.ties import boundto
from socca.priors import loguniform, normal, uniform


def test_a_galaxy_in_the_middle_is_plausible(flags, make_header, sky_galaxy):
    assert flags() == []
    assert flags(sky_galaxy(), header=make_header()) == []
    assert flags(sky_galaxy(dec=-88.0), header=make_header(dec=-88.0, rotation=40.0)) == []
    assert flags(sky_galaxy(ra=359.9999), header=make_header(ra=0.0001)) == []


@pytest.mark.parametrize(
    ("position", "nonsense"),
    [((150.0, 2.0), True), ((0.05, 0.0), True), ((20, 0), False), ((0, -20), False)],
    ids=["RA and Dec without a WCS", "degrees", "east of the edge", "south of the edge"],
)
def test_a_prior_off_an_image_without_a_wcs(flags, galaxy, pixel, position, nonsense):
    xc, yc = position if nonsense else (position[0] * pixel, position[1] * pixel)
    model = galaxy(xc=uniform(xc - 3 * pixel, xc + 3 * pixel), yc=uniform(yc - 3 * pixel, yc + 3 * pixel))
    assert flags(model) == [("off_image", nonsense)]


def test_the_stamp_of_another_galaxy(flags, make_header, sky_galaxy):
    assert flags(sky_galaxy(ra=150.5), header=make_header()) == [("off_image", True)]
    assert flags(sky_galaxy(ra=330.0, dec=-2.0), header=make_header()) == [("off_image", True)]  # the other hemisphere


def test_a_prior_that_is_mostly_off_the_image(flags, galaxy, pixel):
    """With its centre a pixel beyond the corner, as of a CRPIX that was read as zero, a quarter is on the image."""
    near = {"xc": uniform(11 * pixel, 21 * pixel), "yc": uniform(-21 * pixel, -11 * pixel)}
    assert flags(galaxy(**near)) == [("off_image", False)]
    half_on = {"xc": uniform(9 * pixel, 19 * pixel)}
    assert flags(galaxy(**half_on)) == []


def test_a_neighbour_beyond_the_edge_is_plausible_unless_it_is_far(flags, galaxy, pixel):
    model = galaxy()
    star = {"yc": 0.0, "rs": pixel, "Is": loguniform(1, 100)}
    model.addcomponent(Gaussian(xc=uniform(20 * pixel, 25 * pixel), **star))
    assert flags(model) == []
    model.addcomponent(Gaussian(xc=uniform(60 * pixel, 65 * pixel), **star))
    assert flags(model) == [("off_image", False)]


def test_ties_and_numbers(flags, galaxy, pixel):
    model = galaxy(xc=0.05, yc=0.0)
    disk = model.components[0]
    model.addcomponent(Gaussian(xc=boundto(disk, "xc"), yc=boundto(disk, "yc"), rs=pixel, Is=uniform(1, 2)))
    assert flags(model) == [("off_image", True)]
    assert flags(galaxy(xc=2 * pixel, yc=normal(0, pixel))) == []


@pytest.mark.parametrize("half", [20, 36000], ids=["wider by a third", "degrees for arcsec"])
def test_a_prior_wider_than_the_image(flags, galaxy, pixel, half):
    wide = {name: uniform(-half * pixel, half * pixel) for name in ("xc", "yc")}
    assert flags(galaxy(**wide)) == [("wide_position", False)]
    expected = [] if half == 20 else [("wide_position", False)]  # three quarters of the former are on the image
    assert flags(galaxy(xc=wide["xc"])) == expected


def test_a_prior_on_masked_pixels(make_image, galaxy, light):
    y, x = np.mgrid[:31, :31] - 15
    image = make_image(light)
    inputs = parts_of_model(galaxy(), image.noise), image.noise.prepare(image)
    image.addmask(np.hypot(x, y) > 3.0)
    assert find_doubts(image, *inputs) == []  # a core that is left out
    image.addmask(np.hypot(x, y) > 8.0)
    (doubt,) = find_doubts(image, *inputs)
    assert (doubt.flag, doubt.nonsense) == ("target_masked", False)
    assert "100 %" in doubt.message
    assert LEAST_USED == 0.1
