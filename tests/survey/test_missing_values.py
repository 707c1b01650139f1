"""Cells without a value: a matter of the targets that need them, and of no other."""

import json

import pytest

from socca.errors import ConfigError
from socca.survey.check.inputs import check_survey
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey


@pytest.fixture
def survey(make_survey, tmp_path):
    """Give a function that makes a survey of three targets, whose prior needs the column mag."""

    def make(*cells, **changes):
        prior = {"normal": [0, "$mag"]}
        models = {"sky": {"components": {"sky": {"type": "Background", "a0": prior}}}}
        make_survey(models=models, batch={"chunk": 1}, **changes)
        rows = "".join(f"{name},{name}.fits,{cell}\n" for name, cell in zip("abd", cells, strict=True))
        (tmp_path / "targets.csv").write_text("target,image,mag\n" + rows)
        return Survey.load(tmp_path / "survey.yaml")

    return make


@pytest.mark.parametrize("blank", ["", "N/A", "n/a", "NA", "nan", "null", "None", "--", "..."])
def test_a_missing_value_that_is_used_is_found(survey, blank):
    found = list(check_survey(survey(17, blank, 18.5)))
    assert [(one.target, one.message) for one in found] == [
        ("b", "models.sky.sky.a0: $mag: the target has no value in this column")
    ]


def test_a_text_among_numbers_is_found(survey):
    found = list(check_survey(survey("1e1", "17:3", "18.5")))
    assert [(one.target, one.message) for one in found] == [
        ("b", "models.sky.sky.a0: $mag: the target has '17:3' in this column, which is no number")
    ]


def test_a_column_of_text_is_no_column_of_numbers(survey):
    found = list(check_survey(survey("bright", "faint", "N/A")))
    assert [one.target for one in found] == ["a", "b", "d"]
    assert all("has no numeric column 'mag'" in one.message for one in found)


def test_the_other_targets_are_fitted(survey):
    ended = list(fit_all(loaded := survey(17, "N/A", 18.5), loaded.jobs()))
    assert [(one.target, one.status) for one in ended] == [("a", "done"), ("b", "failed"), ("d", "done")]
    assert "$mag: the target has no value in this column" in ended[1].message


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"noise": {"level": "$mag"}}, "noise.level"),
        ({"image": {"pixel_scale": "$mag arcsec"}}, "image.pixel_scale"),
        ({"image": {"pixel_scale": 0.2, "cutout": {"size": "$mag pix"}}}, "image.cutout.size"),
        ({"image": {"pixel_scale": 0.2, "cutout": {"size": "$mag"}}}, "image.cutout.size"),
    ],
)
def test_the_key_that_needs_the_value_is_named(survey, change, where):
    messages = {one.target: one.message for one in check_survey(survey(9, "N/A", 9, **change))}
    assert messages["b"] == f"{where}: $mag: the target has no value in this column"


def test_a_missing_value_that_is_not_used_is_no_mistake(survey, tmp_path):
    survey(17, 18, 19)
    table = (tmp_path / "targets.csv").read_text().replace(",mag", ",z,mag").replace(",1", ",N/A,1")
    (tmp_path / "targets.csv").write_text(table)
    loaded = Survey.load(tmp_path / "survey.yaml")
    assert list(check_survey(loaded)) == []
    assert json.loads(loaded.targets["b"].row)["z"] == "N/A"


def test_a_segment_that_is_left_out_is_found(make_survey, tmp_path, write_fits):
    make_survey(batch={"chunk": 1})
    write_fits(tmp_path / "s.fits", [[1]])
    (tmp_path / "targets.csv").write_text("target,image,segmentation,segment\na,a.fits,,\nb,b.fits,s.fits,N/A\n")
    found = list(check_survey(Survey.load(tmp_path / "survey.yaml")))
    assert [(one.target, one.message) for one in found] == [("b", "segment: the target has no value in this column")]


@pytest.mark.parametrize("name", ["sampler", "overrides"])
def test_options_of_the_sampler_are_checked(survey, name):
    wrong = {"method": "optimizer", "options": {"n_starts": "many"}}
    change = {"sampler": wrong} if name == "sampler" else {"overrides": {"b": {"sampler": wrong}}}
    found = [(one.target, one.message) for one in check_survey(survey(17, 18, 19, **change))]
    said = "sampler: optimizer: n_starts must be a whole number of at least 1; got 'many'"
    assert found == [("b" if name == "overrides" else "", said)]


def test_names_of_files_and_unknown_targets_come_with_the_config(survey, tmp_path):
    with pytest.raises(ConfigError, match=r"survey\.yaml: overrides: unknown target 'x'"):
        survey(17, 18, 19, overrides={"x": {"noise": {"level": 2}}})
    survey(17, 18, 19)
    for name in ("absent.csv", "a" * 300):
        with pytest.raises(ConfigError, match=r"survey\.yaml: targets: no such file: "):
            Survey.load(tmp_path / "survey.yaml", tmp_path / name)
