"""The table of audited fits, from the records of results, and by the command that makes the catalogue."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table

from socca.errors import ConfigError
from socca.posterior import Posterior
from socca.survey.audit_table import NUMBERS, audit_line, audit_table
from socca.survey.catalog import gather
from socca.survey.config.schema import settings_digest
from tests.survey.test_catalog import gaussian

AGREES = {
    "logz": -10.0, "logz_err": 0.02, "nested_logz": -10.03, "nested_logz_err": 0.02, "off_logz": 1.06,
    "off_median": 0.04, "off_deviation": 0.02, "reasons": [],
}  # fmt: skip
DIFFERS = {**AGREES, "nested_logz": -9.0, "off_logz": -35.4, "reasons": ["ln Z differs by -1.00", "and so on"]}


def test_audited_fits_are_its_rows(tmp_path):
    """Of four fits, two were audited; their records come back from the files."""
    notes = {"a": {"tier": "importance", "audit": AGREES}, "b": {"tier": "nautilus", "audit": DIFFERS}, "c": {}}
    results = [(name, "m", tmp_path / f"{name}.h5") for name in "abcd"]
    for (name, _, path), own in zip(results, notes.values(), strict=False):
        gaussian({"galaxy.re": 1.0}, notes=own).save(path)
        assert Posterior.load(path).record.sampler.notes.audit == own.get("audit", {}), name
    table = audit_table(*gather(results))
    assert list(table["target"]) == ["a", "b"]
    assert list(table["agrees"]) == [True, False]
    assert list(table["reasons"]) == ["", "ln Z differs by -1.00; and so on"]
    assert list(table["nested_logz"]) == [-10.03, -9.0]
    assert set(table.colnames) == {"target", "model", *NUMBERS, "agrees", "reasons"}
    assert all(table[name].description for name in NUMBERS)
    assert audit_line(table) == "2 fit(s) audited, 1 of them agree with nested sampling"
    assert audit_line(table[:0]) == "no fit was audited"


def test_the_catalogue_comes_with_it(make_survey):
    """For `adaptive`, unless nothing is audited; a survey without audited fits has a table without rows."""
    survey = make_survey(sampler={"method": "adaptive"})
    assert survey.config.audited
    assert survey.config.sampler.run_options == {"audit": 0.01}
    command = [
        sys.executable,
        "-m",
        "socca.cli",
        "catalog",
        "--config",
        str(survey.config.table.parent / "survey.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no fit was audited" in done.stdout
    table = Table.read(survey.config.folder / "audit.ecsv")
    assert len(table) == 0
    assert set(NUMBERS) < set(table.colnames)


@pytest.mark.parametrize("sampler", [{"method": "nautilus"}, {"method": "adaptive", "audit": 0}])
def test_without_audits_there_is_none(make_survey, sampler):
    survey = make_survey(sampler=sampler)
    assert not survey.config.audited
    assert "audit" not in survey.config.sampler.run_options


def test_how_many_are_audited_is_no_reason_to_fit_again(make_survey):
    digests = {
        settings_digest(make_survey(sampler={"method": "adaptive", **more}).config.fit_settings("a", "sky"))
        for more in ({}, {"audit": 0.5})
    }
    assert len(digests) == 1


def test_an_override_is_audited_too(make_survey):
    survey = make_survey(sampler={"method": "nautilus"}, overrides={"a": {"sampler": {"method": "adaptive"}}})
    assert survey.config.audited


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        ({"method": "adaptive", "audit": 2}, "less than or equal to 1|at most 1"),
        ({"method": "adaptive", "options": {"audit": 0.1}}, "write it without options, as sampler.audit"),
    ],
)
def test_wrong_shares_are_refused(make_survey, sampler, said):
    with pytest.raises(ConfigError, match=said):
        make_survey(sampler=sampler)


def test_numbers_are_plain(tmp_path):
    path = tmp_path / "a.h5"
    gaussian({"galaxy.re": 1.0}, notes={"audit": AGREES}).save(path)
    table = audit_table(*gather([("a", "m", path)]))
    assert np.isfinite([float(table[name][0]) for name in NUMBERS]).all()
