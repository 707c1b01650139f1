"""Fits with files of their own: what is fitted again, retried and stamped."""

import errno
import os
import socket

import numpy as np
import pytest
from astropy.io import fits

from socca.errors import MachineError, PoolError
from socca.fitting.plausibility.doubts import Doubt
from socca.posterior.container import read_headers
from socca.survey.freshness.records import read_record
from socca.survey.freshness.stamps import (
    chunk_stamp,
    fit_stamp,
    is_chunk_stamped,
    is_fit_stamped,
    jobs_to_run,
    write_chunk_stamp,
    write_fit_stamp,
)
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.fit_command import fit_separately
from socca.survey.jobs.reasons import reasons_to_fit
from socca.survey.jobs.single_job import SingleJob
from socca.survey.jobs.unreadable import unreadable_file
from socca.survey.status import survey_status
from socca.survey.survey import Survey
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
    return list(reasons_to_fit(survey, jobs_to_run(survey, retry=retry), retry=retry))


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
def test_what_the_machine_refuses_is_no_failure_of_the_target(single, monkeypatch, chunk, number):
    load, fit = single
    survey = load(batch={"chunk": chunk})
    job = ChunkJob(survey, ONE)
    with monkeypatch.context() as patched:
        refuse(patched, number, "a.fits")
        if chunk == 1:
            with pytest.raises(MachineError, match=rf"^a: \[Errno {number}\] .* not recorded as failed"):
                fit(survey)
            assert read_record(survey.path("b", "sky", "posterior.h5")).failure is None
        else:
            found = {outcome.target: str(outcome.status) for outcome in job.fit("ab")}
            assert found == {"a": "machine_fault", "b": "done"}
    counts = survey_status(survey.results(), survey.config.folder, survey.stale).counts
    assert (counts["done"], counts["failed"], counts["pending"]) == (1, 0, 1)
    assert (SingleJob(survey, "a", "sky").reason() if chunk == 1 else job.reason("a")) == "no result yet"


def test_an_image_that_can_never_be_read_costs_itself_alone(make_survey, tmp_path):
    """As with a bad sector: to read the memory of a process from its beginning is an EIO, for root too."""
    (tmp_path / "a.fits").symlink_to("/proc/self/mem")
    survey = make_survey(["a", "b"], missing="")
    path = ONE.path(survey.config.folder)
    list(ChunkJob(survey, ONE).fit(["b"]))
    with pytest.raises(MachineError, match=r"^a: \[Errno 5\] .* not recorded as failed"):
        run(survey, tmp_path, last_try=False)
    assert list(read_headers(path)) == ["b"]
    assert [(outcome.target, str(outcome.status)) for outcome in run(survey, tmp_path)] == [("a", "failed")]
    failure = read_headers(path)["a"].record.failure
    assert failure.unreadable
    assert failure.message.startswith(f"image: cannot read {tmp_path / 'a.fits'}: [Errno 5] Input/output error. Make")
    # It is tried again whenever its job runs, changed or not.
    assert ChunkJob(survey, ONE).to_fit() == ["a"]


def test_a_single_image_that_can_never_be_read(single, tmp_path):
    load, fit = single
    (tmp_path / "a.fits").symlink_to("/proc/self/mem")
    survey = load(["a", "b"])
    with pytest.raises(MachineError):
        fit(survey, last_try=False)
    assert fit(survey) == [("a", "failed")]
    assert read_record(survey.path("a", "sky", "posterior.h5")).failure.unreadable
    # A file that others need too is nobody's own.
    (tmp_path / "targets.csv").write_text("target,image\na,a.fits\nb,a.fits\n")
    with pytest.raises(MachineError, match=r"^a, b: \[Errno 5\]"):
        fit(Survey.load(tmp_path / "survey.yaml"))


def test_what_a_single_file_is_refused_with(tmp_path, monkeypatch):
    (tmp_path / "well").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        assert unreadable_file({"mask": tmp_path / "socket"}).startswith(
            f"mask: cannot read {tmp_path / 'socket'}: [Er"
        )
    os.mkfifo(tmp_path / "pipe")
    assert unreadable_file({name: tmp_path / name for name in ("well", "pipe", "absent")}) == ""
    (tmp_path / "mem").symlink_to("/proc/self/mem")
    assert unreadable_file({"image": tmp_path / "mem"})

    def stale(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("socca.survey.jobs.unreadable.os.scandir", stale)
    assert unreadable_file({"image": tmp_path / "mem"}) == ""


def test_what_is_implausible_is_looked_for_once(single, monkeypatch):
    load, fit = single
    survey, calls = load(["a"]), []

    def found(*inputs):
        calls.append(inputs)
        return [Doubt("psf_center", "far off")]

    for place in ("plausibility", "run"):
        monkeypatch.setattr(f"socca.fitting.{place}.find_doubts", found)
    fit(survey)
    assert len(calls) == 1
    assert read_record(survey.path("a", "sky", "posterior.h5")).doubts == {"psf_center": "far off"}


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
        patched.setattr("socca.survey.jobs.fit_targets.save_failure", full)
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
    with (
        SingleJob(survey, "a", "sky").exclusive_lock(),
        pytest.raises(PoolError, match=rf"a sky: process {os.getpid()} on"),
    ):
        fit(survey)


def test_a_stamp_stands_for_a_state(single, tmp_path):
    load, fit = single
    survey = load(["a"])
    stamp = fit_stamp(survey, "a", "sky")
    assert not is_fit_stamped(survey, "a", "sky")
    fit(survey, stamp=stamp, last_try=False)
    assert is_fit_stamped(survey, "a", "sky")
    assert is_fit_stamped(survey, "a", "sky", retry=True)
    before = stamp.read_bytes()
    assert not is_fit_stamped(load(["a"], seed=5), "a", "sky")
    assert stamp.read_bytes() == before  # to look deletes nothing
    survey.path("a", "sky", "posterior.h5").unlink()
    assert not is_fit_stamped(survey, "a", "sky")
    (tmp_path / "a.fits").write_bytes(b"cut off")
    survey = load(["a"])
    assert fit(survey, stamp=stamp, last_try=False) == [("a", "failed")]
    assert is_fit_stamped(survey, "a", "sky")
    assert not is_fit_stamped(survey, "a", "sky", retry=True)
    assert why(survey, retry=True) == [("a", "sky", "it failed, and is to be tried again")]
    stamp.write_bytes(b"\xff\xfe")
    assert not is_fit_stamped(survey, "a", "sky")


@pytest.mark.parametrize("retry", [False, True])
def test_a_result_that_is_replaced_by_rubbish_has_no_stamp(single, retry):
    load, fit = single
    survey = load(["a"])
    fit(survey, stamp=fit_stamp(survey, "a", "sky"), last_try=False)
    path = survey.path("a", "sky", "posterior.h5")
    path.write_bytes(bytes(path.stat().st_size))
    assert not is_fit_stamped(survey, "a", "sky", retry=retry)
    # As of a machine that keeps a stamp of before, for a result that was damaged before.
    write_fit_stamp(fit_stamp(survey, "a", "sky"), survey, "a", "sky")
    assert is_fit_stamped(survey, "a", "sky", retry=retry) is not retry
    assert fit(survey, last_try=False) == [("a", "done")]


@pytest.mark.parametrize("retry", [False, True])
def test_a_container_that_is_replaced_by_rubbish_has_no_stamp(make_survey, tmp_path, retry):
    survey = make_survey(["a"], missing="")
    job = ChunkJob(survey, ONE)
    list(job.fit(["a"]))
    job.finish()
    path = ONE.path(survey.config.folder)
    stamp = chunk_stamp(survey, ONE)
    write_chunk_stamp(stamp, ONE)
    assert jobs_to_run(survey, retry=retry) == []
    path.write_bytes(bytes(path.stat().st_size))
    assert jobs_to_run(survey, retry=retry) == [ONE]
    # One of an earlier version is empty, and stands for whatever is there; it stops nothing that cannot be read.
    stamp.write_bytes(b"")
    assert jobs_to_run(survey, retry=retry) == ([ONE] if retry else [])
    assert ChunkJob(survey, ONE).to_fit() == ["a"]


def test_an_older_result_gets_no_stamp_if_the_machine_stops_the_fit(single, tmp_path, monkeypatch):
    load, fit = single
    survey = load(["a"])
    fit(survey)
    write_image(tmp_path, "a", 7.0)
    refuse(monkeypatch, errno.EIO, "a.fits")
    with pytest.raises(MachineError):
        fit(survey, stamp=fit_stamp(survey, "a", "sky"), last_try=False)
    assert not fit_stamp(survey, "a", "sky").exists()


def test_failures_of_a_chunk_are_tried_again_on_request(make_survey, tmp_path):
    survey = make_survey(["a", "c"])
    run(survey, tmp_path)
    write_chunk_stamp(chunk_stamp(survey, ONE), ONE)
    assert is_chunk_stamped(survey, ONE)
    assert not is_chunk_stamped(survey, ONE, retry=True)
    assert why(survey, retry=True) == [("c", "sky", "it failed, and is to be tried again")]
    assert ChunkJob(survey, ONE).to_fit(failed=True) == ["c"]
    assert ChunkJob(survey, ONE).to_fit() == []


def test_missing_model_images_are_drawn_without_a_fit(single):
    load, fit = single
    survey = load(["a"])
    fit(survey)
    before = survey.path("a", "sky", "posterior.h5").read_bytes()
    survey = load(["a"], outputs={"model_images": "all", "figures": "none"})
    assert not is_fit_stamped(survey, "a", "sky")
    assert fit(survey) == []
    with fits.open(survey.path("a", "sky", "model.fits")) as hdus:
        np.testing.assert_allclose(hdus["DATA"].data, fits.getdata(survey.target("a").files["image"]), atol=1e-5)
    assert survey.path("a", "sky", "posterior.h5").read_bytes() == before


def test_the_limit_of_pixels_is_no_setting_of_a_fit(single):
    load, fit = single
    image = {"pixel_scale": "0.2 arcsec"}
    survey = load(["a"], image=image | {"max_pixels": 35})
    assert fit(survey) == [("a", "failed")]
    assert read_record(survey.path("a", "sky", "posterior.h5")).failure.capped == {"max_pixels": 35}
    assert fit(load(["a"], image=image | {"max_pixels": 30})) == []
    more = load(["a"], image=image | {"max_pixels": 36})
    assert more.state_of(["a"], "sky") != survey.state_of(["a"], "sky")
    assert why(more) == [("a", "sky", "more than before of max_pixels")]
    assert fit(more) == [("a", "done")]
    # Of what is done, no other limit is a reason.
    assert fit(survey) == []
    assert fit(load(["a"])) == []


def test_a_single_fit_has_limits_too(single):
    load, fit = single
    survey = load(["a"], batch={"max_memory_mb": 1.0})
    assert fit(survey) == [("a", "memory_limit")]
    assert read_record(survey.path("a", "sky", "posterior.h5")).failure.capped == {"max_memory_mb": 1.0}
    assert fit(survey) == []
    assert fit(load(["a"], batch={"max_memory_mb": 1e5, "max_minutes": 9})) == [("a", "done")]
