"""Cards of a header that astropy finds no value in."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.errors import DataError
from socca.survey.config.build_image import build_image
from socca.survey.config.schema import validate_config
from socca.survey.targets import Target
from tests.fuzz.fits_roles import CONFIG

SHAPE = (11, 13)
VALUES = np.random.default_rng(5).normal(10, 2, SHAPE)


@pytest.fixture
def damaged(make_header, tmp_path):
    """Return a function that writes an image with a WCS, of which a card has a value that none can read."""

    def make(key, name="a.fits"):
        header = make_header(SHAPE, ra=150.0, dec=2.0, scale=0.2)
        header["BUNIT"], header["CUNIT1"], header["RADESYS"], header["OBSERVER"] = "adu", "deg", "ICRS", "me"
        hdu = fits.PrimaryHDU(VALUES, header)
        hdu.header["BSCALE"], hdu.header["ABLANK"] = 1.0, 0
        path = tmp_path / name
        hdu.writeto(path)
        content = bytearray(path.read_bytes())
        # astropy writes no BLANK beside floats.
        at = content.index(f"{'ABLANK' if key == 'BLANK' else key:<8}=".encode())
        content[at : at + 80] = f"{f'{key:<8}=  8..1 [5 x':<80}".encode()
        path.write_bytes(content)
        return path

    return make


WCS_KEYS = ("CRPIX1", "CRVAL2", "CD2_1", "CTYPE1", "CUNIT1", "RADESYS")


@pytest.mark.parametrize("key", WCS_KEYS)
def test_those_of_a_wcs_are_refused(damaged, key):
    with pytest.raises(DataError, match=rf"a\.fits: {key} of its WCS has a value that cannot be read: correct it"):
        Image(damaged(key))


@pytest.mark.parametrize("key", WCS_KEYS)
def test_those_of_a_wcs_that_is_not_used_do_no_harm(damaged, key):
    config = validate_config({**CONFIG, "image": {"frame": "pixel", "pixel_scale": "0.2 arcsec"}}, "c.yaml")
    image = build_image(Target("t", {"image": damaged(key)}), config)
    assert np.array_equal(image.data, VALUES)


def test_a_cutout_by_pixels_refuses_a_reference_pixel_that_cannot_be_read(damaged):
    with pytest.raises(DataError, match="CRPIX2 of its WCS has a value that cannot be read"):
        Image(damaged("CRPIX2"), center=(6, 5), csize=5)


@pytest.mark.parametrize("key", ["BUNIT", "OBSERVER"])
def test_others_are_left_out(damaged, key, caplog):
    caplog.set_level(logging.INFO, "socca")
    image = Image(damaged(key))
    assert np.array_equal(image.data, VALUES)
    assert image.frame.center == pytest.approx((150.0, 2.0))
    assert key not in image.hdu.header
    assert image.hdu.header.get("BUNIT") == (None if key == "BUNIT" else "adu")
    assert f"a.fits: {key} of its header has a value that cannot be read: left out" in caplog.text


@pytest.mark.parametrize("key", ["BSCALE", "BLANK"])
def test_one_that_says_what_the_numbers_mean_is_refused(damaged, key):
    with pytest.raises(DataError, match=rf"(?s)a\.fits.*{key}"):
        Image(damaged(key))


@pytest.mark.parametrize("as_list", [False, True])
def test_hdus_that_are_open_are_read_the_same_way(damaged, as_list):
    paths = damaged("CRVAL1"), damaged("BUNIT", "b.fits")
    with fits.open(paths[0]) as bad, fits.open(paths[1]) as good:
        with pytest.raises(DataError, match="CRVAL1 of its WCS has a value that cannot be read"):
            Image(bad if as_list else bad[0])
        image = Image(good if as_list else good[0])
        assert np.array_equal(image.data, VALUES)
        assert "BUNIT" not in image.hdu.header


def test_masks_too(damaged):
    image = Image(damaged("OBSERVER"))
    with pytest.raises(DataError, match=r"mask: .*CRPIX1 of its WCS has a value that cannot be read"):
        image.addmask(damaged("CRPIX1", "mask.fits"))
