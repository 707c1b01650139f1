"""Files that earlier versions read in another way: their results are made again, and no others."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from socca.posterior.record import FitRecord, Provenance
from socca.survey.freshness.input_files import described
from socca.survey.survey import Survey

SHAPE = (8, 9)


@pytest.fixture
def why(tmp_path, make_survey, make_header):
    """Give a function that writes an image and says why its results of now, and of before, are to be made again."""

    def write(values, header=None, name="a.fits", **image):
        written = make_header(SHAPE)
        written.update(header or {})
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(values, written)]
        fits.HDUList(hdus).writeto(tmp_path / "a.fits", overwrite=True)
        make_survey(["a"], missing="", image=image)
        (tmp_path / "targets.csv").write_text(f'target,image\na,"{name}"\n')
        survey = Survey.load(tmp_path / "survey.yaml")
        files = described(survey.files("a"))
        now = FitRecord(provenance=Provenance(params=survey.fit_params("a", "sky")), files=files)
        before = replace(now, files={role: replace(file, reading=0) for role, file in files.items()})
        assert survey.reason_to_fit("a", "sky", before, exact=False) == ""
        return survey.reason_to_fit("a", "sky", now), survey.reason_to_fit("a", "sky", before)

    return write


PLAIN = np.ones(SHAPE, "f4")
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-4}


def test_a_file_that_is_read_as_before_stays(why, make_header):
    assert why(PLAIN) == ("", "")
    suffix = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    assert why(PLAIN, SIP | suffix) == ("", "")
    cd = make_header(SHAPE)
    same = {"PC1_1": 1.0, "PC2_2": 1.0, "CDELT1": cd["CD1_1"], "CDELT2": cd["CD2_2"]}
    assert why(PLAIN, same) == ("", "")
    assert why(np.full(SHAPE, 7, "i2"), {"BLANK": 7}) == ("", "")
    assert why(np.full(SHAPE, 7, "u2"), {"BLANK": -5}) == ("", "")  # which no pixel is


def test_coordinates_that_are_others_now(why):
    now, before = why(PLAIN, SIP)
    assert now == ""
    assert before.startswith("image is read in another way now: its WCS is read without, or with other, A_ORDER, B_O")
    assert why(PLAIN, SIP, frame="pixel", pixel_scale="0.2 arcsec") == ("", "")
    assert why(PLAIN, SIP, name="a.fits[1]")[1] == before
    assert "CRVAL1" in why(PLAIN, {"CRVAL1": "150.0"})[1]
    assert "refused" in why(PLAIN, {"PC1_1": 1.0, "CDELT1": 5.0})[1]


def test_pixels_that_are_masked_now(why):
    values = np.full(SHAPE, 40000, "u2")
    values[3, 4] = 32768 + 11
    words = "image is read in another way now: its pixels with BLANK = 11 are masked"
    assert why(values, {"BLANK": 11}) == ("", words)
    assert why(values.astype("i4") * 0, {"BLANK": 0})[1].endswith("BLANK = 0 are masked")
