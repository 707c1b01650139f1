"""How fits ended, read without their records: as the records say it, or not at all."""

import fcntl
import gzip
import shutil
from pathlib import Path

import h5py
import pytest

from socca.posterior.endings import Ending, read_ending
from socca.posterior.record import Failure, FitRecord, Provenance
from socca.posterior.storage import header_of, open_result, save_failure

GOLDEN = Path(__file__).parent / "golden"
FINISHED = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def failed(tmp_path):
    record = FitRecord(failure=Failure("image: n'a pas été lu"), provenance=Provenance(finished=FINISHED))
    save_failure(tmp_path / "failed.h5", record)
    return tmp_path / "failed.h5"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("name", ["alone", "failed", "script"])
def test_files_of_all_versions_say_what_their_records_say(tmp_path, version, name):
    with gzip.open(GOLDEN / version / f"{name}.h5.gz") as packed, (tmp_path / "one.h5").open("wb") as stream:
        shutil.copyfileobj(packed, stream)
    with open_result(tmp_path / "one.h5") as group:
        header = header_of(group)
    wanted = Ending(header.status, header.message, header.record.provenance.finished)
    assert read_ending(tmp_path / "one.h5") == wanted


def test_a_failure(failed):
    assert read_ending(failed) == Ending("failed", "image: n'a pas été lu", FINISHED)


def _without(name):
    return lambda file: file.attrs.__delitem__(name)


def _with(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    "damage",
    [
        *(_without(name) for name in ("format", "format_version", "status", "message", "meta")),
        *(_with("meta", text) for text in ("{", "[]", "3")),
        *(_with(name, value) for name, value in (("format", "other"), ("format_version", 99), ("status", "odd"))),
        *(_with(name, 3.5) for name in ("format", "status", "meta")),
        *(_with(name, "failed") for name in ("status", "message")),  # of any length, in a heap
        _with("message", ["a", "b"]),
        _with("format_version", [2, 2]),
    ],
)
def test_of_a_damaged_file_nothing_is_said(failed, damage):
    with h5py.File(failed, "a") as file:
        damage(file)
    assert read_ending(failed) is None


def test_a_locked_file_is_read(failed):
    with failed.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert read_ending(failed).status == "failed"


def test_of_a_missing_or_cut_file_nothing_is_said(failed, tmp_path):
    assert read_ending(tmp_path / "absent.h5") is None
    failed.write_bytes(failed.read_bytes()[:-100])
    assert read_ending(failed) is None
    failed.write_bytes(b"")
    assert read_ending(failed) is None
