"""What is up to date, and what is a reason to fit a target again."""

import errno
import json
import os
import time
from dataclasses import replace

import pytest

from socca.posterior.record import Failure, FitRecord, Provenance
from socca.survey.freshness.input_files import described
from socca.survey.freshness.reasons import reason_to_fit, relevant_row


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.fits").write_text("image")
    (tmp_path / "b.fits").write_text("psf")
    return {"image": tmp_path / "a.fits", "psf": tmp_path / "b.fits"}


ROW = {"target": "t", "image": "a.fits", "mag": 17.0}
PARAMS = {"row": json.dumps(ROW), "settings": "s", "likelihood": 1}


@pytest.fixture
def record(files):
    return FitRecord(provenance=Provenance(params=dict(PARAMS)), files=described(files))


def test_what_is_up_to_date_is_not_fitted_again(record, files):
    assert reason_to_fit(record, files, PARAMS) == ""
    assert reason_to_fit(None, files, PARAMS) == "no result yet"


@pytest.mark.parametrize("key", PARAMS)
def test_other_params_are_a_reason(record, files, key):
    assert reason_to_fit(record, files, PARAMS | {key: json.dumps({"target": "t", "mag": 18})})


def with_row(**changes):
    return PARAMS | {"row": json.dumps(ROW | changes)}


def test_a_row_is_compared_by_the_columns_that_the_fit_uses(record, files):
    assert reason_to_fit(record, files, with_row(mag=18.0)) == "its row of the table has changed: mag"
    assert reason_to_fit(record, files, with_row(mag=None, segment=3.0)) == (
        "its row of the table has changed: mag, segment"
    )
    # Files are compared by content.
    assert reason_to_fit(record, files, with_row(image="elsewhere/a.fits")) == ""
    text = json.dumps(ROW | {"z": 1.0, "segment": 4.0, "models": "m"})
    assert json.loads(relevant_row(text, ["mag", "sb"])) == ROW | {"segment": 4.0, "sb": None}
    unused = replace(record, provenance=Provenance(params=PARAMS | {"row": text}))  # as earlier versions recorded it
    assert reason_to_fit(unused, files, with_row(segment=4.0)) == ""


def test_another_hdu_of_the_same_file_is_a_reason(record, files):
    def of(before, now):
        earlier = replace(record, provenance=Provenance(params=with_row(image=before)))
        return reason_to_fit(earlier, files, with_row(image=now))

    for before, now in (("a.fits[1]", "a.fits[2]"), ("a.fits", "a.fits[1]"), ("a.fits[1]", "a.fits")):
        assert of(before, now) == "its row of the table has changed: image"
    assert of("a.fits[SCI,2]", "a.fits[SCI,1]") == "its row of the table has changed: image"
    # Elsewhere, and written in another way.
    assert of("a.fits[1]", "moved/b.fits[ 01 ]") == ""
    assert of("a.fits[SCI,2]", "a.fits[SCI, 2]") == ""
    assert of("a[1].fits", "a[2].fits") == ""


def test_a_number_that_is_none_stays_none(record, files):
    nan = with_row(mag=float("nan"))
    before = replace(record, provenance=Provenance(params=nan))
    assert reason_to_fit(before, files, dict(nan)) == ""
    assert reason_to_fit(before, files, PARAMS) == "its row of the table has changed: mag"
    assert reason_to_fit(record, files, nan) == "its row of the table has changed: mag"


@pytest.mark.parametrize("row", ["r", "[1]", None, 3])
def test_a_row_that_is_none_is_a_reason(record, files, row):
    damaged = replace(record, provenance=Provenance(params=PARAMS | {"row": row}))
    assert reason_to_fit(damaged, files, PARAMS).startswith("its row of the table has changed")


def test_the_settings_that_changed_are_named(record, files):
    now = PARAMS | {"settings": "new"}
    assert (
        reason_to_fit(record, files, now, changed=lambda digest: [digest, "seed"]) == "the config has changed: s, seed"
    )
    assert reason_to_fit(record, files, now, changed=lambda digest: []) == "the config has changed"


def test_new_content_with_an_older_time_is_a_reason(record, files):
    files["image"].write_text("IMAGE")
    os.utime(files["image"], (1e9, 1e9))
    assert reason_to_fit(record, files, PARAMS) == "image has changed"


def test_new_content_with_the_same_size_and_time_is_a_reason(record, files, tmp_path):
    """As where a link is pointed to another file of an archive, whose files all have one time."""
    os.utime(files["image"], (1e9, 1e9))
    before = replace(record, files=described(files))
    (tmp_path / "other.fits").write_text("IMAGE")
    os.utime(tmp_path / "other.fits", (1e9, 1e9))
    files["image"].unlink()
    files["image"].symlink_to(tmp_path / "other.fits")
    assert reason_to_fit(before, files, PARAMS) == "image has changed"
    # A look at a whole survey does not read every image that was copied with its time.
    assert reason_to_fit(before, files, PARAMS, exact=False) == ""


def test_what_the_machine_does_not_tell_is_no_missing_file(record, files, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("socca.survey.freshness.input_files.os.stat", refused)
    with pytest.raises(PermissionError):
        described(files)
    assert described(files, digests=False) == {}


@pytest.mark.parametrize("content", ["IMAGE", "a longer one"])
def test_other_content_is_a_reason_and_another_time_is_none(record, files, content):
    later = time.time() + 60
    os.utime(files["psf"], (later, later))
    assert reason_to_fit(record, files, PARAMS) == ""
    files["image"].write_text(content)
    os.utime(files["image"], (later, later))
    assert reason_to_fit(record, files, PARAMS) == "image has changed"


def test_files_that_come_and_go_are_a_reason(record, files):
    files["psf"].unlink()
    assert reason_to_fit(record, files, PARAMS) == "other files: psf"
    before = replace(record, files=described(files), failure=Failure("no PSF"))
    assert reason_to_fit(before, files, PARAMS) == ""
    files["psf"].write_text("psf")
    assert reason_to_fit(before, files, PARAMS) == "other files: psf"


def test_a_file_that_changes_while_it_is_read_is_a_reason(record, files):
    record = replace(record, files=described(files, digests=False), failure=Failure("cut off"))
    assert reason_to_fit(record, files, PARAMS) == ""
    files["image"].write_text("whole")
    assert reason_to_fit(record, files, PARAMS) == "image has changed"


def test_a_file_that_cannot_be_read_stops_nothing(record, files, monkeypatch):
    os.utime(files["psf"])

    def refused(path):
        raise PermissionError(path)

    monkeypatch.setattr("socca.survey.freshness.input_files.file_digest", refused)
    assert reason_to_fit(record, files, PARAMS) == "psf has changed"
    assert described(files)["psf"].sha256 == ""


@pytest.mark.parametrize(("cap", "again"), [(1.0, False), (2.0, True), (None, True), (0.5, False)])
@pytest.mark.parametrize("key", ["max_minutes", "max_memory_mb"])
def test_more_time_or_memory_is_a_reason_for_what_lacked_it(record, files, key, cap, again):
    record = replace(record, failure=Failure("took more", capped={key: 1.0}))
    other = {"max_minutes": 1e9, "max_memory_mb": 1e9}
    assert bool(reason_to_fit(record, files, PARAMS, other | {key: cap})) is again


def test_a_death_is_a_reason_whenever_one_asks(record, files):
    record = replace(record, failure=Failure("died", died=True))
    assert reason_to_fit(record, files, PARAMS) == "its process had died"
