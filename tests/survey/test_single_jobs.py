"""Fits with files of their own: what is fitted again, retried and stamped."""

import errno
import os

import numpy as np
import pytest
from astropy.io import fits

from socca.errors import MachineError, PoolError
from socca.survey.catalog import survey_status
from socca.survey.chunk_job import ChunkJob, part_record
from socca.survey.fit_command import fit_separately
from socca.survey.single_job import SingleJob
from socca.survey.stamps import chunk_stamp, fit_stamp, reasons_to_fit, stamps_of, write_chunk_stamp, write_fit_stamp
from tests.survey.skies import ONE, run, write_image


@pytest.fixture
def single(make_survey, tmp_path):
    """Give a function that loads a survey of single fits, and one that fits it."""

    def load(names=("a", "b"), **changes):
        return make_survey(list(names), missing=changes.pop("missing", ""), **{"batch": {"chunk": 1}} | changes)

    def fit(survey, **options):
        found = fit_separately(survey, tmp_path / "survey.yaml", None, options.pop("fits", survey.jobs()), **options)
        return [(outcome.target, str(outcome.status)) for outcome in found]

    return load, fit


def why(survey, retry=False):
    """Return what a dry run says of fits that are done again."""
    return list(reasons_to_fit(survey, stamps_of(survey, retry=retry), retry=retry))


def refuse(monkeypatch, number, name):
    """Let the machine refuse to open files of that name."""
    opened = fits.open

    def open_or_refuse(stream, *arguments, **options):
        if name in str(getattr(stream, "name", stream)):
            raise OSError(number, os.strerror(number), name)
        return opened(stream, *arguments, **options)

    monkeypatch.setattr("astropy.io.fits.open", open_or_refuse)


def test_what_is_up_to_date_is_left_alone(single, tmp_path):
    load, fit = single
    assert fit(load()) == [("a", "done"), ("b", "done")]
    assert fit(load()) == []
    assert fit(load(), fits=[("b", "sky")], again=["b"]) == [("b", "done")]
    # New content with an older time.
    write_image(tmp_path, "a", 30.0)
    os.utime(tmp_path / "a.fits", (1e9, 1e9))
    survey = load()
    assert survey_status(survey.results(), survey.config.folder, survey.stale).counts["stale"] == 1
    assert why(survey) == [("a", "sky", "image has changed")]
    assert fit(survey) == [("a", "done")]
    # Another time of the same content.
    os.utime(tmp_path / "a.fits")
    assert fit(load()) == []
    models = {"sky": {"components": {"sky": {"type": "Background", "a0": {"normal": [0, 11]}}}}}
    reason = "the config has changed: models.sky.components.sky.a0"
    assert why(load(models=models)) == [(name, "sky", reason) for name in "ab"]


@pytest.mark.parametrize("chunk", [1, 10])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_the_machine_refuses_is_nobody_s_failure(single, monkeypatch, chunk, number):
    load, fit = single
    survey = load(batch={"chunk": chunk})
    job = ChunkJob(survey, ONE)
    with monkeypatch.context() as patched:
        refuse(patched, number, "a.fits")
        if chunk == 1:
            with pytest.raises(MachineError, match=rf"^a: \[Errno {number}\] .* not recorded as failed"):
                fit(survey)
            assert part_record(survey.path("b", "sky", "posterior.h5")).failure is None
        else:
            found = {outcome.target: str(outcome.status) for outcome in job.fit("ab")}
            assert found == {"a": "machine_fault", "b": "done"}
    counts = survey_status(survey.results(), survey.config.folder, survey.stale).counts
    assert (counts["done"], counts["failed"], counts["pending"]) == (1, 0, 1)
    assert (SingleJob(survey, "a", "sky").reason() if chunk == 1 else job.reason("a")) == "no result yet"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")])
def test_a_lack_of_memory_is_the_machine_s(single, monkeypatch, error):
    load, fit = single
    survey = load(["a"])

    def lacks(*_, **__):
        raise error

    monkeypatch.setattr("socca.fitting.run.run_fit", lacks)
    with pytest.raises(MachineError, match=r"out of memory|RESOURCE_EXHAUSTED"):
        fit(survey)
    assert not survey.path("a", "sky", "posterior.h5").exists()


def test_a_full_disk_that_cannot_even_take_the_failure(single, tmp_path, monkeypatch):
    load, fit = single
    survey = load(["a"])
    (tmp_path / "a.fits").write_bytes(b"cut off")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("socca.survey.fit_targets.save_failure", full)
        with pytest.raises(MachineError, match="No space left"):
            fit(survey)
    assert fit(survey) == [("a", "failed")]
    assert fit(survey) == []
    assert fit(survey, failed=True) == [("a", "failed")]
    write_image(tmp_path, "a", 1.0)
    assert fit(survey) == [("a", "done")]


def test_a_result_that_cannot_be_read_now_is_not_made_again(single, monkeypatch):
    load, fit = single
    survey = load(["a"])
    fit(survey)

    def refused(*_, **__):
        raise OSError("[Errno 37] Unable to open file (unable to lock file, errno = 37, error message = 'No locks')")

    with monkeypatch.context() as patched:
        patched.setattr("h5py.File", refused)
        with pytest.raises(MachineError, match=r"\[Errno 37\] No locks available"):
            fit(survey)
    assert fit(survey) == []


def test_one_process_at_a_time(single):
    load, fit = single
    survey = load(["a"])
    with SingleJob(survey, "a", "sky").alone(), pytest.raises(PoolError, match=rf"a sky: process {os.getpid()} on"):
        fit(survey)


def test_a_stamp_stands_for_a_state(single, tmp_path):
    load, fit = single
    survey = load(["a"])
    stamp = fit_stamp(survey, "a", "sky")
    fit(survey, stamp=stamp)
    assert fit_stamp(survey, "a", "sky").exists()
    assert fit_stamp(survey, "a", "sky", retry=True).exists()
    assert fit_stamp(load(["a"], seed=5), "a", "sky") == stamp
    assert not stamp.exists()  # it was that of another config
    write_fit_stamp(stamp, load(["a"]).state_of(["a"], "sky"))
    survey.path("a", "sky", "posterior.h5").unlink()
    assert not fit_stamp(survey, "a", "sky").exists()
    (tmp_path / "a.fits").write_bytes(b"cut off")
    survey = load(["a"])
    assert fit(survey, stamp=stamp) == [("a", "failed")]
    assert fit_stamp(survey, "a", "sky").exists()
    assert not fit_stamp(survey, "a", "sky", retry=True).exists()
    assert why(survey, retry=True) == [("a", "sky", "it failed, and is to be tried again")]


def test_an_older_result_gets_no_stamp_if_the_machine_stops_the_fit(single, tmp_path, monkeypatch):
    load, fit = single
    survey = load(["a"])
    fit(survey)
    write_image(tmp_path, "a", 7.0)
    refuse(monkeypatch, errno.EIO, "a.fits")
    with pytest.raises(MachineError):
        fit(survey, stamp=fit_stamp(survey, "a", "sky"))
    assert not fit_stamp(survey, "a", "sky").exists()


def test_failures_of_a_chunk_are_tried_again_on_request(make_survey, tmp_path):
    survey = make_survey(["a", "c"])
    run(survey, tmp_path)
    write_chunk_stamp(chunk_stamp(survey, ONE), ONE)
    assert chunk_stamp(survey, ONE).exists()
    assert not chunk_stamp(survey, ONE, retry=True).exists()
    assert why(survey, retry=True) == [("c", "sky", "it failed, and is to be tried again")]
    assert ChunkJob(survey, ONE).to_fit(failed=True) == ["c"]
    assert ChunkJob(survey, ONE).to_fit() == []


def test_missing_model_images_are_drawn_without_a_fit(single):
    load, fit = single
    survey = load(["a"])
    fit(survey)
    before = survey.path("a", "sky", "posterior.h5").read_bytes()
    survey = load(["a"], outputs={"model_images": "all", "figures": "none"})
    assert not fit_stamp(survey, "a", "sky").exists()
    assert fit(survey) == []
    with fits.open(survey.path("a", "sky", "model.fits")) as hdus:
        np.testing.assert_allclose(hdus["DATA"].data, fits.getdata(survey.target("a").files["image"]), atol=1e-5)
    assert survey.path("a", "sky", "posterior.h5").read_bytes() == before


def test_a_single_fit_has_limits_too(single):
    load, fit = single
    survey = load(["a"], batch={"max_memory_mb": 1.0})
    assert fit(survey) == [("a", "memory_limit")]
    assert part_record(survey.path("a", "sky", "posterior.h5")).failure.capped == {"max_memory_mb": 1.0}
    assert fit(survey) == []
    assert fit(load(["a"], batch={"max_memory_mb": 1e5, "max_minutes": 9})) == [("a", "done")]
