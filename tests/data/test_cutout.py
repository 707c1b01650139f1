"""Cutouts: pixels, WCS, maps of the whole image; in scripts and in surveys."""

import logging

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from astropy.wcs.utils import skycoord_to_pixel

from socca.data import Image
from socca.errors import ConfigError, DataError
from socca.survey.config.build_image import build_image
from socca.survey.config.schema import validate_config
from socca.survey.targets import from_columns

SHAPE = (41, 50)
RNG = np.random.default_rng(8)
VALUES = RNG.normal(10, 1, SHAPE)


def plain(**kwargs):
    return Image(VALUES, pixel_scale=0.2, **kwargs)


# Which pixels.


@pytest.mark.parametrize("center", [(20, 20), (20.4, 19.6), (20.5, 20.5), (3, 5), (48.2, 39), (0, 0), (-2, 38)])
@pytest.mark.parametrize("size", [11, 12, (9, 14), (14, 9), 200])
def test_pixels_are_those_of_astropy(center, size):
    image = plain(center=center, csize=size)
    wanted = Cutout2D(VALUES, center, size, mode="trim")
    np.testing.assert_array_equal(image.data, wanted.data)
    assert image.window == wanted.slices_original
    assert image.shape == wanted.shape == image.mask.shape == image.hdu.data.shape
    assert image.original_shape == SHAPE


def test_a_size_alone_cuts_about_the_centre():
    assert plain(csize=11).window == (slice(15, 26), slice(19, 30))


def test_a_cutout_is_no_view():
    image = plain(csize=11)
    image.data[:] = 0
    assert not np.shares_memory(image.data, VALUES)
    assert VALUES.all()


def test_trimming_is_told(caplog):
    plain(center=(20, 20), csize=11)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        plain(center=(0, 20), csize=11)
    assert "trimmed to (11, 6)" in caplog.text


def test_a_cutout_of_a_cutout():
    image = plain(center=(25, 20), csize=31)
    image.cutout((3, 4), (5, 7))
    np.testing.assert_array_equal(image.data, VALUES[image.window])
    assert image.window == (slice(7, 12), slice(10, 17))


def test_everything_is_cut():
    values = VALUES.copy()
    values[20, 25] = np.nan
    response, exposure = RNG.uniform(1, 2, (2, *SHAPE))
    image = Image(values, response, exposure, pixel_scale=0.2, addpsf={"img": np.outer(*2 * [[1, 4, 6, 4, 1]])})
    image.mask[19, 24] = 0
    image.cutout((25, 20), 9)
    assert set(map(tuple, np.argwhere(image.mask == 0))) == {(4, 4), (3, 3)}
    np.testing.assert_array_equal(image.response, response[image.window])
    np.testing.assert_array_equal(image.exposure, exposure[image.window])
    assert np.isnan(image.hdu.data[4, 4])
    assert image.psf.shape == (5, 5)
    image.addmask(np.ones((9, 9)), combine=False)
    assert set(map(tuple, np.argwhere(image.mask == 0))) == {(4, 4)}


@pytest.mark.parametrize(
    ("center", "size", "said"),
    [
        ((200, 20), 11, r"do not overlap with the image, shape \(41, 50\)"),
        ((20, -30), 11, "do not overlap"),
        ((-4, 20), 11, r"\(11, 2\) of them"),
        ((20, 20), 2, "3 x 3"),
        ((20, 20), 0, "whole number of at least 1"),
        ((20, 20), -5, "whole number"),
        ((20, 20), 5.5, "whole number"),
        ((20, 20), 10 / 3600, r"size in pixels \(csize; an angle needs a unit.*got 0.00277"),
        ((20, 20), (5, 5, 5), "one number or two"),
        ((20, 20), None, "csize"),
        ((20, 20), 5 * u.Jy, "pixels or an angle"),
        ((20, 20), np.nan * u.arcsec, "whole number"),
        (20, 11, "pixels .x, y. or a SkyCoord"),
        (("a", 1), 11, "pixels .x, y. or a SkyCoord"),
        ((np.nan, 1), 11, "at no pixel"),
        (SkyCoord(1, 2, unit="deg"), 11, "no celestial WCS"),
    ],
)
def test_bad_cutouts_change_nothing(center, size, said):
    image = plain()
    with pytest.raises(DataError, match=f"cutout.*{said}"):
        image.cutout(center, size)
    np.testing.assert_array_equal(image.data, VALUES)
    assert image.window == (slice(0, 41), slice(0, 50))


def test_a_cutout_must_hold_the_psf_and_a_pixel(make_psf):
    image = plain(addpsf={"img": make_psf((11, 11))})
    with pytest.raises(DataError, match=r"psf.*larger"):
        image.cutout((20, 20), 9)
    image.addpsf(make_psf((17, 17)), oversample=2)
    image.cutout((20, 20), 9)
    with pytest.raises(DataError, match="larger"):
        plain(csize=9, addpsf={"img": make_psf((11, 11))})
    image = plain()
    image.mask[:20] = 0
    with pytest.raises(DataError, match="cutout: all pixels of rows 2:7, columns 3:8 are masked"):
        image.cutout((5, 4), 5)


# Where they lie.


@pytest.mark.parametrize(
    "sky", [{}, {"rotation": 33.0}, {"rotation": -20.0, "sip": 2.0}, {"dec": -80.0, "ra": 0.001}, {"mirrored": True}]
)
def test_the_sky_stays_where_it_is(make_header, sky):
    header = make_header(SHAPE, **sky)
    # A second WCS, and one with its reference pixel left at the default.
    header["CTYPE1A"], header["CTYPE2A"], header["CRPIX1A"] = "LINEAR", "LINEAR", 3.0
    image = Image(fits.PrimaryHDU(VALUES, header))
    rows, cols = np.mgrid[12:20, 9:25]
    before = image.frame._sky(rows, cols)
    image.cutout((17, 16), (8, 16))
    assert image.window == (slice(12, 20), slice(9, 25))
    after = image.frame._sky(*np.indices((8, 16)))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-11)
    np.testing.assert_allclose(image.frame.to_pixel(*before), np.indices((8, 16)), rtol=0, atol=1e-5)
    # The header says the same as the attribute.
    ra, dec = WCS(image.hdu.header).celestial.all_pix2world(cols - 9, rows - 12, 0)
    np.testing.assert_allclose((ra, dec), before, rtol=0, atol=1e-11)
    assert (image.hdu.header["CRPIX1A"], image.hdu.header["CRPIX2A"]) == (-6, -12)


def test_the_sky_of_an_image_with_more_axes(make_header):
    header = make_header(SHAPE)
    header["CTYPE3"], header["CRVAL3"], header["CRPIX3"], header["CD3_3"] = "FREQ", 1e9, 1.0, 1.0
    image = Image(fits.PrimaryHDU(VALUES[None], header), center=(30, 10), csize=7)
    whole = Image(fits.PrimaryHDU(VALUES[None], header))
    np.testing.assert_allclose(image.frame._sky(3, 3), whole.frame._sky(10, 30), rtol=0, atol=1e-11)


def test_offsets_of_a_pixel_frame_count_from_the_new_centre():
    image = plain(center=(10, 8), csize=7)
    assert image.frame.to_pixel(0, 0) == (3, 3)
    assert image.frame.pixel_scale == 0.2 / 3600


@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk5"])
def test_a_centre_on_the_sky(make_header, frame):
    header = make_header(SHAPE, rotation=20, sip=1.0)
    image = Image(fits.PrimaryHDU(VALUES, header))
    ra, dec = image.frame._sky(14, 31)
    center = SkyCoord(ra, dec, unit="deg").transform_to(frame)
    image.cutout(center, 7)
    assert image.window == (slice(11, 18), slice(28, 35))
    assert skycoord_to_pixel(center, image.wcs) == pytest.approx((3, 3), abs=1e-5)


def test_bad_centres_on_the_sky(make_header):
    for sip in (0.0, 2.0):
        image = Image(fits.PrimaryHDU(VALUES, make_header(SHAPE, sip=sip)))
        for ra in (151, 250, 330):
            with pytest.raises(DataError, match="cutout"):
                image.cutout(SkyCoord(ra, -2, unit="deg"), 7)
    with pytest.raises(DataError, match="one position, got 2"):
        image.cutout(SkyCoord([150, 151], [2, 2], unit="deg"), 7)


@pytest.mark.parametrize("size", [2.2 * u.arcsec, 11 * u.pix, (11, 2.2 * u.arcsec), [2.2, 2.2] * u.arcsec])
def test_sizes_with_units(make_header, size):
    for image in (plain(), Image(fits.PrimaryHDU(VALUES, make_header(SHAPE, rotation=30)))):
        image.cutout((25, 20), size)
        assert image.shape == (11, 11)


def test_angles_of_oblong_pixels(make_header):
    header = make_header(SHAPE)
    header["CD2_2"] = header["CD2_2"] * 2
    image = Image(fits.PrimaryHDU(VALUES, header))
    image.cutout(None, 4 * u.arcsec)
    assert image.shape == (10, 20)


# Maps of the whole image, or of the cutout.


def test_maps_of_either_shape_match():
    image = plain(center=(25, 20), csize=(11, 9))
    np.testing.assert_array_equal(image.matching(VALUES, "map"), image.data)
    np.testing.assert_array_equal(image.matching(image.data, "map"), image.data)
    for bad in (np.ones((9, 11)), np.ones(()), np.ones(SHAPE[::-1])):
        with pytest.raises(DataError, match=r"weight: its shape .* the image's \(11, 9\) \(cut out of \(41, 50\)\)"):
            image.matching(bad, "weight")
    with pytest.raises(DataError, match=r"weight: its shape is \(3, 3\), the image's \(41, 50\)$"):
        plain().matching(np.ones((3, 3)), "weight")


@pytest.mark.parametrize("what", ["response", "exposure"])
def test_response_and_exposure_of_either_shape(what):
    full = RNG.uniform(1, 2, SHAPE)
    for given in (full, full[20:29, 10:19]):
        image = plain(center=(14, 24), csize=9, **{what: given})
        np.testing.assert_array_equal(getattr(image, what), full[20:29, 10:19])


def test_masks_and_segments_of_either_shape():
    mask = RNG.uniform(size=SHAPE) > 0.3
    segments = np.zeros(SHAPE)
    segments[20:24, 10:14], segments[26:28, 15:18] = 1, 2
    window = (slice(20, 29), slice(10, 19))
    for cut in (slice(None), window):
        image = plain(center=(14, 24), csize=9, addmask={"regions": mask[cut]})
        np.testing.assert_array_equal(image.mask > 0, mask[window])
        mine = image.keep_segment(segments[cut], 2)
        np.testing.assert_array_equal(mine, segments[window] == 2)
        np.testing.assert_array_equal(image.mask > 0, mask[window] & (segments[window] != 1))
    segments[0, 0] = 3
    with pytest.raises(DataError, match="segment 3"):
        plain(center=(14, 24), csize=9).keep_segment(segments, 3)


# Surveys.


@pytest.fixture
def survey(tmp_path, config_data, write_fits):
    """Give a function that builds the image of a survey from settings of its images and planes of its row."""

    def make(settings, header=None, **columns):
        config = validate_config(config_data | {"image": settings}, "survey.yaml")
        row = {"target": "t", "image": "image.fits"}
        write_fits(tmp_path / "image.fits", VALUES, header)
        for key, value in columns.items():
            if isinstance(value, np.ndarray):
                value = write_fits(tmp_path / f"{key}.fits", value).name
            row[key] = value
        target = from_columns({key: [value] for key, value in row.items()}, tmp_path, "table")["t"]
        return build_image(target, config)

    return make


def test_a_cutout_of_a_survey(survey, tmp_path, make_psf):
    mask, segments = np.zeros(SHAPE), np.zeros(SHAPE)
    mask[18, 30], segments[20:22, 28:30], segments[19, 33] = 1, 1, 2
    exposure = RNG.uniform(1, 2, SHAPE)
    (tmp_path / "stars.reg").write_text("image\ncircle(33,22,0.9)\n")
    image = survey(
        {
            "pixel_scale": "0.2 arcsec",
            "cutout": {"center": ["-$dx", "0 pix"], "size": "13 pix"},
            "subgrid": 3,
            "psf": {"oversample": 2},
        },
        dx=1.1 / 3600,
        mask=mask,
        segmentation=segments,
        segment=1,
        exposure=exposure,
        response=exposure + 1,
        regions="stars.reg",
        psf=make_psf((21, 21)),
    )
    assert image.window == (slice(14, 27), slice(24, 37))
    rows, cols = np.nonzero(image.mask == 0)
    assert set(zip(rows + 14, cols + 24, strict=True)) == {(18, 30), (19, 33), (21, 32)}
    np.testing.assert_array_equal(image.exposure, exposure[image.window])
    np.testing.assert_array_equal(image.response, exposure[image.window] + 1)
    assert (image.subgrid, image.psf_oversample, image.psf.shape) == (3, 2, (21, 21))


def test_a_cutout_on_the_sky(survey, make_header):
    whole = survey({}, make_header(SHAPE))
    ra, dec = whole.frame._sky(14, 31)
    image = survey(
        {"cutout": {"center": ["$ra", "$dec"], "size": "$r arcsec"}},
        make_header(SHAPE),
        ra=float(ra),
        dec=float(dec),
        r=2,
    )
    assert image.window == (slice(9, 19), slice(26, 36))
    assert survey({"cutout": {"size": "9 pix"}}, make_header(SHAPE)).window == (slice(16, 25), slice(20, 29))


def test_centres_far_off_the_image(survey, make_header):
    for sip in (0.0, 2.0):
        for ra in (151.0, 240.0, 330.0):
            with pytest.raises((ConfigError, DataError), match="cutout"):
                survey({"cutout": {"center": [ra, -2], "size": "9 pix"}}, make_header(SHAPE, sip=sip))


def test_noise_maps_of_the_whole_image(survey):
    sigma = RNG.uniform(1, 2, SHAPE)
    image = survey({"pixel_scale": 0.2, "cutout": {"size": "9 pix"}}, sigma=sigma)
    np.testing.assert_allclose(image.noise.sigma(image), sigma[image.window], rtol=1e-14)


@pytest.mark.parametrize("column", ["exposure", "response", "regions", "mask"])
def test_columns_of_numbers_are_no_files(survey, column):
    with pytest.raises(ConfigError, match=f"{column} must be the path of a file, got the number 600"):
        survey({"pixel_scale": 0.2}, **{column: 600.0})


def test_maps_by_hdu(survey, tmp_path):
    fits.HDUList([fits.PrimaryHDU(VALUES), fits.ImageHDU(np.full(SHAPE, 2.0), name="EXP")]).writeto(tmp_path / "m.fits")
    settings = {"pixel_scale": 0.2, "exposure": {"hdu": "EXP"}, "response": {"hdu": 1}}
    image = survey(settings, exposure="m.fits", response="m.fits")
    assert (image.exposure == 2).all()
    assert (image.response == 2).all()


@pytest.mark.parametrize(
    ("cutout", "said"),
    [
        ({"size": 64}, r"image\.cutout\.size: it needs a unit"),
        ({"size": "$r"}, r"image\.cutout\.size: it needs a unit"),
        ({"size": "$q pix"}, r"image\.cutout\.size: .*no numeric column 'q'"),
        ({"size": "9 pix", "center": ["$q", 0]}, r"image\.cutout\.center: .*no numeric column 'q'"),
        ({"size": "0 pix"}, "whole number"),
        ({"size": "9 pix", "center": [1, 0]}, "do not overlap"),
        ({"center": [0, 0]}, r"image\.cutout\.size: is needed"),
        ({"size": "9 pix", "centre": [0, 0]}, "unknown key; did you mean 'center'"),
    ],
)
def test_bad_cutouts_of_a_survey(survey, cutout, said):
    with pytest.raises((ConfigError, DataError), match=said):
        survey({"pixel_scale": 0.2, "cutout": cutout}, r=5.0)


@pytest.mark.parametrize("settings", [{"subgrid": 0}, {"subgrid": 1.5}, {"psf": {"oversample": 0}}])
def test_bad_settings_of_a_survey(survey, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        survey({"pixel_scale": 0.2} | settings)
