"""Masks from regions and region files, and masks on pixels of their own."""

import logging
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from regions import (
    CirclePixelRegion,
    CircleSkyRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    PixCoord,
    PointPixelRegion,
    PolygonPixelRegion,
    PolygonSkyRegion,
    RectanglePixelRegion,
    RegionMeta,
    Regions,
)

from socca.data import Image
from socca.errors import DataError
from socca.survey.check import check_survey
from socca.survey.config.build import build_image
from socca.survey.config.schema import validate_config
from socca.survey.survey import Survey
from socca.survey.targets import from_columns

SHAPE = (31, 37)
Y, X = np.indices(SHAPE)
CIRCLE = np.hypot(X - 10, Y - 12) < 4
RING = np.hypot(X - 10, Y - 12) < 6


def plain(**kwargs):
    return Image(np.ones(SHAPE), pixel_scale=0.2, **kwargs)


@pytest.fixture
def sky(make_header):
    """Give a function that makes an image on the sky."""

    def make(**kwargs):
        return Image(fits.PrimaryHDU(np.ones(SHAPE), make_header(SHAPE, **kwargs)))

    return make


def masked(image, regions, **kwargs):
    image.addmask(regions, **kwargs)
    return image.mask == 0


def circle(x=10, y=12, r=4, **meta):
    return CirclePixelRegion(PixCoord(x, y), r, meta=RegionMeta(meta))


# Region objects.


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


# Region files.

CRTF = "#CRTFv0 CASA Region Text Format version 0\n"
FILES = {
    "ds9.reg": "# Region file format: DS9 version 4.1\nglobal color=green width=1\nimage\ncircle(11,13,4)\n",
    "semicolons.ds9": "image; circle(11, 13, 4) # text={a; b} color=#fff",
    "upper.REG": "IMAGE\nCircle 11 13 4i\n",
    "crtf.crtf": CRTF + "circle[[10pix, 12pix], 4pix]\n",
    "crtf.reg": CRTF + "circle[[10pix, 12pix], 4pix]\n",
    "by_content.txt": "# Region file format: DS9\nimage\ncircle(11,13,4)\n",
    "by_shape": "# stars\n\nimage;circle(11,13,4)\n",
    "by_content": CRTF + "circle[[10pix, 12pix], 4pix]\n",
    "physical.reg": "physical\ncircle(11,13,4)\n",
    "decorated.reg": "image\ncircle(11,13,4) # tag={a} font=a font=b dash=7\n# vector(3,3,5,0)\nvector(3,3,5,0)\n",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["string", "path"])
def test_region_files(tmp_path, name, kind):
    path = tmp_path / name
    path.write_text(FILES[name])
    np.testing.assert_array_equal(masked(plain(), kind(path)), CIRCLE)


def test_excluded_regions_of_files(tmp_path):
    path = tmp_path / "ring.reg"
    for text in (
        "image\n-circle(11,13,4)\ncircle(11,13,6)\n",
        CRTF + "-circle[[10pix, 12pix], 4pix]\ncircle[[10pix, 12pix], 6pix]\n",
    ):
        path.write_text(text)
        np.testing.assert_array_equal(masked(plain(), path), RING & ~CIRCLE)
    # Each file frees its own pixels alone.
    other = tmp_path / "other.reg"
    other.write_text("image\ncircle(11,13,2)\n")
    wanted = (RING & ~CIRCLE) | (np.hypot(X - 10, Y - 12) < 2)
    np.testing.assert_array_equal(masked(plain(), [other, path]), wanted)


@pytest.mark.parametrize("frame", ["fk5", "icrs", "galactic"])
def test_sky_coordinates_in_files(tmp_path, sky, frame):
    image = sky(rotation=15)
    center = SkyCoord(*image.frame._sky(12, 10), unit="deg").transform_to(frame)
    numbers = f"{center.spherical.lon.deg:.9f},{center.spherical.lat.deg:.9f}"
    path = tmp_path / "sky.reg"
    path.write_text(f'{frame}\ncircle({numbers},0.81")\n')
    wanted = np.hypot(X - 10, Y - 12) < 4.05
    np.testing.assert_array_equal(masked(image, path), wanted)
    with pytest.raises(DataError, match=r"sky\.reg holds a CircleSkyRegion, and the image has no celestial WCS"):
        plain().addmask(path)


def test_files_without_regions_are_told(tmp_path, caplog):
    path = tmp_path / "empty.reg"
    path.write_text("# Region file format: DS9\nimage\n")
    assert not masked(plain(), path).any()
    assert "there is none in" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello world\n", '"hello" frame or shape is not a valid'),
        ("circle(11,13,4)\n", "A coordinate frame was not found"),
        ("image\ncircle(11,13)\n", "radius"),
        ("image\ncircle(a,13,4)\n", "could not convert"),
        ('image\ncircle(11,13,4")\n', "must not be in angular units"),
        ("image\ncircle(3,3,2)\npanda(11,13,0,90,1,3,5,1)\n", "panda"),
        ("detector\ncircle(11,13,4)\n", '"detector"'),
        (CRTF + "rubbish\n", "Not a valid CRTF line"),
        (CRTF + "circle[[10pix, 12pix]]\n", "circle"),
        (b"\xff\xfe\x00circle(", "decode"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, said):
    path = tmp_path / "broken.reg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"regions: cannot read .*broken\.reg: .*{said}") as caught:
        plain().addmask(path)
    assert "skipping" not in str(caught.value)


def test_other_files(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*missing\.reg"):
        plain().addmask(tmp_path / "missing.reg")
    with pytest.raises(DataError, match=r"mask: no such file: .*missing\.fits"):
        plain().addmask(tmp_path / "missing.fits")
    path = tmp_path / "a.crtf"
    path.write_text("image\ncircle(11,13,4)\n")
    with pytest.raises(DataError, match="begins with #CRTF"):
        plain().addmask(path)
    path = tmp_path / "note.txt"
    path.write_text("circles are round")
    with pytest.raises(DataError, match=r"mask: cannot read .*note\.txt"):
        plain().addmask(path)


def test_physical_coordinates_of_a_section_are_refused(tmp_path):
    path = tmp_path / "a.reg"
    path.write_text("physical\ncircle(11,13,4)\n")
    header = fits.Header({"LTV1": -100.0})
    with pytest.raises(DataError, match="physical"):
        Image(fits.PrimaryHDU(np.ones(SHAPE), header), pixel_scale=1, addmask={"regions": path})


# Masks on pixels of their own.


def nearest(image, mask_wcs, mask):
    """Look each pixel's centre up in a mask; True where it is excluded, and whether that is sure."""
    ra, dec = image.frame._sky(Y, X)
    cols, rows = mask_wcs.all_world2pix(ra, dec, 0)
    row, col = np.round(rows).astype(int), np.round(cols).astype(int)
    on = (row >= 0) & (row < mask.shape[0]) & (col >= 0) & (col < mask.shape[1])
    found = on & (mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(col, 0, mask.shape[1] - 1)] == 0)
    return found, np.maximum(np.abs(rows - row), np.abs(cols - col)) < 0.5 - 1e-5


@pytest.mark.parametrize(
    ("shape", "where"),
    [
        ((50, 60), {}),
        (SHAPE, {"rotation": 50.0}),
        ((20, 15), {"rotation": 10.0, "scale": 0.35}),
        ((90, 80), {"rotation": 10.0, "scale": 0.1, "mirrored": True}),
        (SHAPE, {"offset": (1.3, -4.2)}),
        (SHAPE, {"sip": 20.0}),
        ((12, 9), {}),
    ],
    ids=["larger", "turned", "coarser", "finer", "moved", "distorted", "smaller"],
)
@pytest.mark.parametrize("source", ["hdu", "path", "hdulist"])
def test_masks_are_laid_on_the_image(sky, make_header, tmp_path, shape, where, source):
    mask = (np.random.default_rng(4).uniform(size=shape) > 0.4).astype(float)
    header = make_header(shape, **where)
    image = sky(rotation=5.0, sip=1.0)
    hdu = fits.PrimaryHDU(mask, header)
    hdu.writeto(tmp_path / "mask.fits")
    given = {"hdu": hdu, "path": tmp_path / "mask.fits", "hdulist": fits.HDUList([fits.PrimaryHDU(), hdu])}[source]
    if source == "hdulist":
        given[1] = fits.ImageHDU(mask, header)
    found = masked(image, given)
    wanted, sure = nearest(image, WCS(header), mask)
    np.testing.assert_array_equal(found[sure], wanted[sure])
    assert wanted.any()
    assert sure.sum() > 0.9 * sure.size


def test_values_of_masks_that_are_laid_on_the_image(sky, make_header):
    shape = (45, 50)
    mask = np.zeros(shape)
    mask[20:24, 22:30], mask[30, 30] = 7, np.nan
    hdu = fits.PrimaryHDU(mask, make_header(shape))
    # By whole pixels: (45 - 31) / 2 rows, (50 - 37) / 2 columns and a half, which the offset takes away.
    hdu.header["CRPIX1"] -= 0.5
    part = mask[7:38, 6:43]
    np.testing.assert_array_equal(masked(sky(), hdu, good="zero"), part != 0)
    np.testing.assert_array_equal(masked(sky(), hdu, good="nonzero"), ~(part > 0))


def test_a_mask_with_the_images_own_wcs_is_used_as_it_is(sky, make_header, monkeypatch):
    monkeypatch.setattr("socca.data.masks._reprojected", None)
    mask = np.random.default_rng(4).uniform(size=SHAPE) > 0.4
    for where in ({}, {"sip": 3.0, "rotation": 20}):
        header = make_header(SHAPE, **where)
        header["CRVAL1"] += 1e-7
        np.testing.assert_array_equal(masked(sky(**where), fits.PrimaryHDU(mask.astype("u1"), header)), ~mask)
        image = sky(**where)
        image.cutout((20, 13), 9)
        np.testing.assert_array_equal(masked(image, fits.PrimaryHDU(mask.astype("u1"), header)), ~mask[image.window])
    # Without a WCS on either side there is only the shape to go by.
    np.testing.assert_array_equal(masked(sky(), fits.PrimaryHDU(mask.astype("u1"))), ~mask)
    np.testing.assert_array_equal(masked(plain(), fits.PrimaryHDU(mask.astype("u1"), make_header(SHAPE))), ~mask)


def test_masks_in_other_sky_frames(sky):
    image = sky(rotation=20)
    header = image.wcs.to_header()
    center = SkyCoord(150, 2, unit="deg").galactic
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    header["CRVAL1"], header["CRVAL2"] = center.l.deg, center.b.deg
    for key in ("RADESYS", "LONPOLE", "LATPOLE"):
        header.remove(key, ignore_missing=True)
    mask = np.random.default_rng(4).uniform(size=SHAPE) > 0.4
    found = masked(image, fits.PrimaryHDU(mask.astype("u1"), header))
    sky_ = SkyCoord(*image.frame._sky(Y, X), unit="deg").galactic
    cols, rows = WCS(header).all_world2pix(sky_.l.deg, sky_.b.deg, 0)
    row, col = np.round(rows).astype(int), np.round(cols).astype(int)
    on = (row >= 0) & (row < SHAPE[0]) & (col >= 0) & (col < SHAPE[1])
    sure = np.maximum(np.abs(rows - row), np.abs(cols - col)) < 0.499
    wanted = np.zeros(SHAPE, bool)
    wanted[on] = ~mask[row[on], col[on]]
    np.testing.assert_array_equal(found[sure], wanted[sure])


def test_a_mask_of_another_place_is_told(sky, make_header, caplog):
    hdu = fits.PrimaryHDU(np.zeros(SHAPE), make_header(SHAPE, ra=151))
    assert not masked(sky(), hdu).any()
    assert "covers no pixel" in caplog.text


def test_masks_that_cannot_be_placed(sky, make_header):
    with pytest.raises(DataError, match=r"mask: its shape is \(5, 5\), the image's \(31, 37\)"):
        sky().addmask(fits.PrimaryHDU(np.ones((5, 5))))
    with pytest.raises(DataError, match=r"mask: its shape is \(5, 5\)"):
        plain().addmask(fits.PrimaryHDU(np.ones((5, 5)), make_header((5, 5))))
    header = make_header(SHAPE)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        header[key] = 1e-5
    with pytest.raises(DataError, match=r"mask: .*WCS"):
        sky().addmask(fits.PrimaryHDU(np.ones(SHAPE), header))


@pytest.mark.parametrize("shape", [(1, *SHAPE), (1, 1, *SHAPE)])
def test_degenerate_axes(sky, make_header, shape):
    header = make_header(SHAPE)
    for axis, kind in [(3, "FREQ"), (4, "STOKES")][: len(shape) - 2]:
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, 1.0, 1.0
        header[f"CD{axis}_{axis}"] = 1.0
    mask = ~CIRCLE.astype(bool)
    found = masked(sky(), fits.PrimaryHDU(mask.astype("u1").reshape(shape), header))
    np.testing.assert_array_equal(found, CIRCLE)


# Surveys.


@pytest.fixture
def survey(tmp_path, config_data, write_fits):
    """Give a function that makes a survey of one target with the given files."""

    def make(**columns):
        write_fits(tmp_path / "image.fits", np.random.default_rng(1).normal(size=SHAPE))
        row = {"target": "t", "image": "image.fits"}
        for key, value in columns.items():
            if isinstance(value, np.ndarray):
                value = write_fits(tmp_path / f"{key}.fits", value).name
            row[key] = value
        config = validate_config(config_data, "survey.yaml")
        return Survey(config, from_columns({key: [value] for key, value in row.items()}, tmp_path, "table"))

    return make


def test_regions_of_a_survey(survey, tmp_path):
    (tmp_path / "a.reg").write_text(FILES["ds9.reg"])
    own = survey(regions="a.reg", exposure=np.ones(SHAPE), response=np.ones(SHAPE))
    image = build_image(own.target("t"), own.config)
    np.testing.assert_array_equal(image.mask == 0, CIRCLE)
    assert list(check_survey(own)) == []
    assert {"regions", "exposure", "response"} < set(own.target("t").files)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"regions": "missing.reg"}, ["regions: no such file"]),
        ({"regions": "text.reg"}, ["regions: cannot read", "text.reg", '"hello"']),
        ({"regions": "sky.reg"}, ["sky.reg", "no celestial WCS"]),
        ({"regions": "all.reg"}, ["all pixels are masked"]),
        ({"regions": np.ones(SHAPE)}, ["regions: cannot read", "regions.fits"]),
        ({"exposure": "missing.fits"}, ["exposure: no such file"]),
        ({"exposure": np.ones((4, 4))}, ["exposure: its shape is (4, 4), the image's (31, 37)"]),
        ({"response": -np.ones(SHAPE)}, ["response: it is negative in 1147 pixel(s)"]),
        ({"mask": np.ones((4, 4))}, ["mask: its shape is (4, 4)"]),
    ],
)
def test_the_check_finds_mistakes(survey, tmp_path, columns, said):
    (tmp_path / "text.reg").write_text("hello\n")
    (tmp_path / "sky.reg").write_text('fk5\ncircle(150,2,1")\n')
    (tmp_path / "all.reg").write_text("image\ncircle(10,10,100)\n")
    findings = list(check_survey(survey(**columns)))
    assert len(findings) == 1
    assert all(part in findings[0].message for part in said), findings
