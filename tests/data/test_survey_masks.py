"""Regions, masks and maps of a survey, and what its check says of them."""

import numpy as np
import pytest

from socca.errors import DataError
from socca.survey.check.inputs import Severity, check_survey
from socca.survey.config.build_image import build_image
from socca.survey.config.schema import validate_config
from socca.survey.survey import Survey
from socca.survey.targets import from_columns
from tests.data.circles import CIRCLE, FILES, SHAPE


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
    findings = [found for found in check_survey(survey(**columns)) if found.severity is Severity.PROBLEM]
    assert len(findings) == 1
    assert all(part in findings[0].message for part in said), findings


def test_regions_in_a_file_that_looks_like_none(survey, tmp_path):
    (tmp_path / "stars.txt").write_text("ra dec\n150 2\n")
    own = survey(regions="stars.txt")
    with pytest.raises(DataError, match=r"regions: .*stars\.txt is no DS9 or CRTF region file; FITS masks go in"):
        build_image(own.target("t"), own.config)
    assert [found.severity for found in check_survey(own)] == [Severity.PROBLEM]
