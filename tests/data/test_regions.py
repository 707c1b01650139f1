"""Masks from regions, in pixels and on the sky."""

import logging
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from regions import (
    CircleSkyRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    PixCoord,
    PointPixelRegion,
    PolygonPixelRegion,
    PolygonSkyRegion,
    RectanglePixelRegion,
    Regions,
)

from socca.data import Image
from socca.errors import DataError
from tests.data.circles import CIRCLE, RING, SHAPE, X, Y, circle, masked, plain


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        (circle(), CIRCLE),
        (circle(r=4.3) & circle(12, 14, 3), (np.hypot(X - 10, Y - 12) < 4.3) & (np.hypot(X - 12, Y - 14) < 3)),
        (circle(-1, 30, 5), np.hypot(X + 1, Y - 30) < 5),
        (
            EllipsePixelRegion(PixCoord(20.2, 13.1), 12, 5, angle=90 * u.deg),
            ((X - 20.2) / 2.5) ** 2 + ((Y - 13.1) / 6) ** 2 < 1,
        ),
        (RectanglePixelRegion(PixCoord(20, 13), 7, 4.5), (np.abs(X - 20) < 3.5) & (np.abs(Y - 13) < 2.25)),
        (PolygonPixelRegion(PixCoord([2.5, 20.5, 2.5], [2.5, 2.5, 20.5])), (X > 2.5) & (Y > 2.5) & (X + Y < 23)),
    ],
    ids=["circle", "compound", "edge", "ellipse", "rectangle", "polygon"],
)
def test_pixels_inside_are_excluded(region, inside):
    if isinstance(region, PolygonPixelRegion):
        # Whether the boundary belongs to it is the package's affair.
        inside = np.where(X + Y == 23, plain_contains(region), inside)
    np.testing.assert_array_equal(masked(plain(), region), inside)


def plain_contains(region):
    return region.contains(PixCoord(X, Y))


def test_several_at_once():
    other = np.ones(SHAPE)
    other[0, 0] = 0
    wanted = CIRCLE | (np.hypot(X - 30, Y - 20) < 2) | (other == 0)
    circles = [circle(), circle(30, 20, 2)]
    np.testing.assert_array_equal(masked(plain(), [*circles, other]), wanted)
    np.testing.assert_array_equal(masked(plain(addmask={"regions": other}), Regions(circles)), wanted)
    np.testing.assert_array_equal(masked(plain(), [Regions(circles[:1]), circles[1], other]), wanted)


def test_combine():
    image = plain(addmask={"regions": circle()})
    np.testing.assert_array_equal(masked(image, circle(30, 20, 2), combine=False), np.hypot(X - 30, Y - 20) < 2)


@pytest.mark.parametrize("regions", [list, Regions])
def test_excluded_regions_free_pixels(regions):
    given = regions([circle(include=False), circle(r=6), circle(30, 20, 2, include=0)])
    np.testing.assert_array_equal(masked(plain(), given), RING & ~CIRCLE)
    # What something else masks stays masked.
    image = plain(addmask={"regions": circle(r=3)})
    np.testing.assert_array_equal(masked(image, given), (RING & ~CIRCLE) | (np.hypot(X - 10, Y - 12) < 3))


def test_a_mask_that_leaves_next_to_nothing_is_told(caplog):
    """As one does that is the wrong way round."""
    bad = np.zeros((31, 31))
    bad[:5, :5] = 1
    image = Image(np.zeros((31, 31)), pixel_scale=0.2)
    image.addmask(bad, good="zero")
    assert not caplog.records
    image.addmask(1 - bad)
    assert not caplog.records
    image.addmask(np.roll(bad, 10, axis=0))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("mask: it leaves 25 of 961 pixels, non-zero values being taken for good (good=")


def test_regions_that_cover_nothing_are_told(caplog):
    given = [circle(), circle(500, 12, 4), PointPixelRegion(PixCoord(3, 3)), circle(10.5, 12.5, 0.2)]
    np.testing.assert_array_equal(masked(plain(), given), CIRCLE)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "regions: 3 of the 4 in the given regions cover no pixel of the image"
    ]


def test_regions_that_leave_nothing():
    image = plain()
    with pytest.raises(DataError, match="all pixels are masked"):
        image.addmask(circle(r=100))
    assert image.mask.all()


@pytest.mark.parametrize("frame", ["icrs", "fk5", "galactic"])
@pytest.mark.parametrize(
    "where", [{}, {"rotation": 40.0}, {"rotation": 40.0, "sip": 3.0}, {"dec": -75.0}, {"ra": 0.0, "mirrored": True}]
)
def test_circles_on_the_sky(sky, where, frame):
    image = sky(**where)
    center = SkyCoord(*image.frame._sky(13.3, 16.2), unit="deg")
    apart = SkyCoord(*image.frame._sky(Y, X), unit="deg").separation(center)
    found = masked(image, CircleSkyRegion(center.transform_to(frame), 1.3 * u.arcsec))
    wanted = apart < 1.3 * u.arcsec
    # Pixels that no boundary comes near: the scale of the WCS is taken at the centre of the circle.
    sure = np.abs(apart - 1.3 * u.arcsec) > 1e-4 * u.arcsec
    np.testing.assert_array_equal(found[sure], wanted[sure])
    assert wanted.sum() > 100


def test_ellipses_on_the_sky(sky):
    image = sky(rotation=25.0)
    region = EllipseSkyRegion(SkyCoord(150, 2, unit="deg"), 4 * u.arcsec, 1.4 * u.arcsec, angle=30 * u.deg)
    x, y = image.frame.plane(Y, X)
    # The angle of the first axis, from west towards north.
    turn = np.radians(30)
    along, across = -x * np.cos(turn) + y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    wanted = (along / 2) ** 2 + (across / 0.7) ** 2 < (1 / 3600) ** 2
    np.testing.assert_array_equal(masked(image, region), wanted)


def test_polygons_that_reach_far_beyond_a_distorted_image(sky):
    """A distortion has no inverse degrees away from its image."""
    corners = SkyCoord([149.9, 150.1, 155], [2.00005, 2.00005, 12], unit="deg")
    for sip in (0.0, 3.0):
        image = sky(rotation=25.0, sip=sip)
        dec = image.frame._sky(Y, X)[1]
        found = masked(image, PolygonSkyRegion(corners))
        # The side is a great circle, which bulges by (0.1 deg)^2 sin(dec) / 2 = 3e-6 deg.
        sure = np.abs(dec - 2.00005) > 4e-6
        np.testing.assert_array_equal(found[sure], dec[sure] > 2.00005)


@pytest.mark.parametrize("sip", [0.0, 3.0])
def test_regions_anywhere_on_the_sky(sky, sip, caplog):
    centers = SkyCoord([151, 170, 240, 330, 330, 10], [2, 80, 2, -2, -90, 3], unit="deg")
    given = [CircleSkyRegion(center, 3 * u.arcsec) for center in centers]
    given.append(PolygonSkyRegion(centers[2:5]))
    image = sky(sip=sip)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image.addmask(given)
    assert image.mask.all()
    assert "7 of the 7" in caplog.text


def test_sky_regions_need_a_wcs():
    with pytest.raises(DataError, match="CircleSkyRegion, and the image has no celestial WCS"):
        plain().addmask(CircleSkyRegion(SkyCoord(150, 2, unit="deg"), 1 * u.arcsec))


def test_pixel_regions_of_a_cutout(tmp_path):
    image = plain(center=(12, 14), csize=15)
    window = image.window
    assert window == (slice(7, 22), slice(5, 20))
    path = tmp_path / "a.reg"
    path.write_text("image\ncircle(11,13,4)\n")
    # A file was drawn on the whole image; an object is given for the image that there is.
    np.testing.assert_array_equal(masked(image, path), CIRCLE[window])
    image = plain(center=(12, 14), csize=15)
    np.testing.assert_array_equal(masked(image, circle(5, 5)), CIRCLE[window])


def test_a_region_that_cannot_be_placed_is_named(sky):
    """As one of the observer's horizon, without an observer."""
    with pytest.raises(DataError, match="regions: the given regions: cannot place a CircleSkyRegion: "):
        sky().addmask(CircleSkyRegion(SkyCoord(10, 20, unit="deg", frame="altaz"), 1 * u.arcsec))
