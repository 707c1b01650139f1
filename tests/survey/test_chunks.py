"""Surveys in chunks: which fits share a job, what is fitted again, and what one bad fit costs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from astropy.io import fits

import socca
from socca.errors import ConfigError, PoolError, PosteriorError
from socca.posterior import Posterior
from socca.posterior.record import Failure, FitRecord, Provenance, SamplerRecord
from socca.posterior.storage import ResultLocation, header_of, open_result, read_headers, save_failure, write_container
from socca.survey.catalog import survey_status
from socca.survey.chunk_job import ChunkJob
from socca.survey.chunk_products import draw_chunk
from socca.survey.chunks import Chunk, Members, divided, number_of
from socca.survey.fit_command import fit_chunks, write_stamp
from socca.survey.freshness import described, reason_to_fit
from socca.survey.status import Heartbeat, rate, running, summary_line
from socca.survey.supervisor import Caps, Supervisor
from socca.survey.survey import Survey

# which fits share a job


@pytest.mark.parametrize("n", [1, 49, 50, 51, 1000, 1601])
def test_chunks_hold_every_target_once(n):
    names = [f"NGC{k}" for k in range(n)]
    chunks = divided("m", names, 50)
    assert sorted(name for members in chunks.values() for name in members) == sorted(names)
    count = next(iter(chunks)).count
    assert count & (count - 1) == 0
    assert 25 < n / count <= 50 or count == 1
    for chunk, members in chunks.items():
        assert members == [name for name in names if name in Members(chunk)]
        assert Chunk.named("m", chunk.name) == chunk


def test_chunks_are_about_equal():
    sizes = [len(members) for members in divided("m", [f"t{k}" for k in range(6400)], 50).values()]
    # 128 chunks of 50 on average: counts of a multinomial, of which none should be five deviations off.
    assert len(sizes) == 128
    assert max(abs(np.array(sizes) - 50)) < 5 * np.sqrt(50)


def test_rows_that_come_and_go_move_no_other_target():
    names = [f"t{k}" for k in range(120)]
    before = divided("m", names, 50)
    after = divided("m", [*names[:30], "new", *names[31:]], 50)
    moved = {name for chunk, members in before.items() for name in members if name not in after[chunk]}
    assert moved == {"t30"}


@pytest.mark.parametrize("name", ["", "3", "3of", "of4", "3of4.h5", "-1of4", "4of4", "0of0"])
def test_names_of_chunks(name):
    with pytest.raises(ConfigError, match="007of128"):
        Chunk.named("m", name)


# containers


@pytest.fixture
def posterior():
    rng = np.random.default_rng(1)
    return Posterior(
        names=["comp_00_a0", "comp_00_a1x"],
        labels=["sky.a0", "sky.a1x"],
        units=["image", ""],
        samples=rng.normal(size=(50, 2)),
        log_weights=np.full(50, -np.log(50)),
        log_likelihood=rng.normal(size=50),
        log_prior=rng.normal(size=50),
        logz=-3.0,
        logz_err=0.1,
        periods=[None, None],
        derived={"b.x": rng.normal(size=50)},
        derived_units={"b.x": "deg"},
        fixed={"sky.rs": 1.0},
        record=FitRecord(sampler=SamplerRecord(n_eff=50.0), provenance=Provenance(finished="2026-01-01T00:00:00Z")),
    )


def test_a_container_holds_what_its_files_held(posterior, tmp_path):
    posterior.save(tmp_path / "a.h5")
    save_failure(tmp_path / "b.h5", FitRecord(target="b", failure=Failure("no PSF")))
    path = tmp_path / "many.h5"
    write_container(path, {"a+1": ResultLocation(tmp_path / "a.h5"), "b": ResultLocation(tmp_path / "b.h5")})
    found = socca.load(path, "a+1")
    for key in ("samples", "log_weights", "log_likelihood", "log_prior"):
        assert np.array_equal(getattr(found, key), getattr(posterior, key))
    for key in ("names", "labels", "units", "periods", "derived_units", "fixed", "record", "logz", "logz_err"):
        assert getattr(found, key) == getattr(posterior, key)
    assert np.array_equal(found.derived["b.x"], posterior.derived["b.x"])
    with pytest.raises(PosteriorError, match="the fit failed: no PSF"):
        socca.load(path, "b")
    headers = read_headers(path)
    assert [(name, header.status) for name, header in headers.items()] == [("a+1", "done"), ("b", "failed")]
    assert headers["a+1"].summary == posterior.summary()
    assert headers["a+1"].record == posterior.record
    # Taken over into another, the first one itself among its sources.
    write_container(path, {"b": ResultLocation(path, "b"), "c": ResultLocation(path, "a+1")})
    assert list(read_headers(path)) == ["b", "c"]
    assert np.array_equal(socca.load(path, "c").samples, posterior.samples)


def test_containers_and_files_of_one_fit_are_told_apart(posterior, tmp_path):
    posterior.save(tmp_path / "a.h5")
    write_container(tmp_path / "many.h5", {"a": ResultLocation(tmp_path / "a.h5")})
    with pytest.raises(PosteriorError, match=r"many\.h5: holds many fits: say of which target"):
        socca.load(tmp_path / "many.h5")
    with pytest.raises(PosteriorError, match=r"a\.h5: holds a single fit"):
        socca.load(tmp_path / "a.h5", "a")
    with pytest.raises(PosteriorError, match=r"many\.h5: has no fit of 'x'"):
        socca.load(tmp_path / "many.h5", "x")
    assert read_headers(tmp_path / "absent.h5") == {}


def test_an_error_leaves_the_old_container(posterior, tmp_path):
    posterior.save(tmp_path / "a.h5")
    path = tmp_path / "many.h5"
    write_container(path, {"a": ResultLocation(tmp_path / "a.h5")})
    before = path.read_bytes()
    with pytest.raises(PosteriorError):
        write_container(path, {"a": ResultLocation(path, "a"), "b": ResultLocation(tmp_path / "absent.h5")})
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"a.h5", "many.h5"}


# what is up to date


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.fits").write_text("image")
    (tmp_path / "b.fits").write_text("psf")
    return {"image": tmp_path / "a.fits", "psf": tmp_path / "b.fits"}


PARAMS = {"row": "r", "settings": "s", "likelihood": 1}


@pytest.fixture
def record(files):
    return FitRecord(provenance=Provenance(params=dict(PARAMS)), files=described(files))


def test_what_is_up_to_date_is_not_fitted_again(record, files):
    assert reason_to_fit(record, files, PARAMS) == ""
    assert reason_to_fit(None, files, PARAMS) == "no result yet"


@pytest.mark.parametrize("key", PARAMS)
def test_other_params_are_a_reason(record, files, key):
    assert reason_to_fit(record, files, PARAMS | {key: "x"})


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

    monkeypatch.setattr("socca.survey.freshness.file_digest", refused)
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


# a chunk's job


NAMES = ["a", "b", "c", "d", "e"]


def write_image(folder, name, level, n=6):
    data = np.random.default_rng(number_of(name, 1000)).normal(level, 1, (n, n))
    fits.writeto(folder / f"{name}.fits", data, overwrite=True)


@pytest.fixture
def make_survey(tmp_path):
    """Give a function that writes a survey of five skies, one of them without an image, and loads it."""

    def make(names=NAMES, *, missing="c", **changes):
        for k, name in enumerate(names):
            if name != missing and not (tmp_path / f"{name}.fits").exists():
                write_image(tmp_path, name, k + 1.0, 40 if name == "e" else 6)
        (tmp_path / "targets.csv").write_text("target,image\n" + "".join(f"{name},{name}.fits\n" for name in names))
        config = {
            "survey": "skies",
            "targets": "targets.csv",
            "output": str(tmp_path / "results"),
            "image": {"pixel_scale": "0.2 arcsec"},
            "noise": {"level": 1},
            "models": {"sky": {"components": {"sky": {"type": "Background", "a0": {"normal": [0, 10]}}}}},
            "sampler": {"method": "optimizer", "options": {"n_draws": 20, "n_starts": 1, "n_samples": 50}},
            "batch": {"chunk": 10},
            "outputs": {"model_images": "none", "figures": "none"},
        } | changes
        (tmp_path / "survey.yaml").write_text(yaml.safe_dump(config))
        return Survey.load(tmp_path / "survey.yaml")

    return make


ONE = Chunk("sky", 0, 1)


def run(survey, folder, **options):
    return list(fit_chunks(survey, folder / "survey.yaml", None, survey.chunks, **options))


def test_a_job_fits_what_is_not_up_to_date(make_survey, tmp_path):
    survey = make_survey()
    outcomes = run(survey, tmp_path)
    # The largest first; the one that has no image last.
    assert [(outcome.target, outcome.status) for outcome in outcomes] == [
        *[(name, "done") for name in "eabd"],
        ("c", "failed"),
    ]
    path = tmp_path / "results" / "chunks" / "sky" / "0of1.h5"
    assert list(read_headers(path)) == NAMES
    assert not Chunk.parts(path).exists()
    for k, name in enumerate(NAMES):
        if name != "c":
            # The mean of n pixels of noise 1: five standard deviations.
            assert socca.load(path, name).median()[0] == pytest.approx(k + 1, abs=5 / 6)
    assert run(make_survey(), tmp_path) == []

    before = {name: socca.load(path, name).samples for name in "abde"}
    write_image(tmp_path, "b", 20.0)
    write_image(tmp_path, "c", 30.0)
    assert {outcome.target for outcome in run(make_survey(), tmp_path)} == {"b", "c"}
    assert socca.load(path, "b").median()[0] == pytest.approx(20, abs=5 / 6)
    assert socca.load(path, "c").median()[0] == pytest.approx(30, abs=5 / 6)
    for name in "ade":
        assert np.array_equal(socca.load(path, name).samples, before[name])

    write_image(tmp_path, "e", 7.0)
    again = run(make_survey(), tmp_path, again=["a"])
    assert [outcome.target for outcome in again] == ["a"]
    assert [outcome.target for outcome in run(make_survey(), tmp_path)] == ["e"]
    assert np.array_equal(socca.load(path, "a").samples, before["a"])  # of the same seed

    # A row that is gone is gone from the file too.
    assert run(make_survey(NAMES[1:]), tmp_path) == []
    assert list(read_headers(path)) == NAMES[1:]


def test_a_target_is_fitted_alone_before_the_rest(make_survey, tmp_path):
    survey = make_survey()
    assert [outcome.target for outcome in run(survey, tmp_path, again=["b"])] == ["b"]
    assert list(read_headers(ONE.path(survey.config.folder))) == ["b"]
    assert "b" not in {outcome.target for outcome in run(make_survey(), tmp_path)}
    assert list(read_headers(ONE.path(survey.config.folder))) == NAMES


def test_one_process_at_a_time_has_a_chunk(make_survey, tmp_path):
    survey = make_survey(["a"], missing="")
    with (
        ChunkJob(survey, ONE).alone(),
        pytest.raises(PoolError, match=r"0of1\.h5: another process is fitting this chunk"),
    ):
        run(survey, tmp_path)
    assert [outcome.target for outcome in run(survey, tmp_path)] == ["a"]


def test_ranks_that_would_each_fit_the_same_chunk_are_refused(make_survey, tmp_path, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    survey = make_survey(["a"], missing="", pool={"kind": "serial"})
    with pytest.raises(ConfigError, match="would all fit the same chunk"):
        run(survey, tmp_path)


def test_an_image_that_is_completed_while_its_fit_fails_is_fitted_again(make_survey, tmp_path, monkeypatch):
    survey = make_survey(["a"], missing="")
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(whole[:1000])
    job = ChunkJob(survey, ONE)

    def completes(*_):
        (tmp_path / "a.fits").write_bytes(whole)
        raise OSError("was cut off")

    with monkeypatch.context() as patched:
        patched.setattr("socca.survey.config.build.build_image", completes)
        assert [outcome.status for outcome in job.fit(["a"])] == ["failed"]
    assert ChunkJob(survey, ONE).to_fit() == ["a"]


def test_a_damaged_part_is_fitted_again(make_survey, tmp_path):
    survey = make_survey(["a", "b"], missing="")
    run(survey, tmp_path)
    parts = Chunk.parts(ONE.path(survey.config.folder))
    parts.mkdir()
    (parts / "a.h5").write_bytes(b"")
    assert run(make_survey(["a", "b"], missing=""), tmp_path) == []
    assert set(read_headers(ONE.path(survey.config.folder))) == {"a", "b"}
    assert not parts.exists()


def test_a_job_that_was_interrupted_goes_on(make_survey, tmp_path):
    survey = make_survey()
    job = ChunkJob(survey, ONE)
    assert [outcome.target for outcome in job.fit(["d", "b"])] == ["d", "b"]
    with pytest.raises(PosteriorError, match="not fitted: a, c, e"):
        job.finish()
    found = survey_status(survey.results(), survey.config.folder)
    assert found.counts == {"done": 2, "failed": 0, "running": 0, "pending": 3}
    assert {outcome.target for outcome in run(make_survey(), tmp_path)} == {"a", "c", "e"}
    assert list(read_headers(job.path)) == NAMES


def test_fits_are_taken_over_from_former_chunks(make_survey, tmp_path):
    survey = make_survey()
    run(survey, tmp_path)
    former = ONE.path(survey.config.folder)
    samples = socca.load(former, "a").samples
    more = make_survey(batch={"chunk": 3})
    assert {chunk.count for chunk in more.chunks} == {2}
    # Known before the jobs have run, too.
    assert survey_status(more.results(), more.config.folder).counts["done"] == 4
    assert run(more, tmp_path) == []
    places = {target: place for target, _, place in more.results()}
    assert places["a"].path != former
    assert np.array_equal(socca.load(*places["a"]).samples, samples)


def test_a_damaged_container_is_made_again(make_survey, tmp_path):
    survey = make_survey(["a", "b"])
    run(survey, tmp_path)
    path = ONE.path(survey.config.folder)
    path.write_bytes(path.read_bytes()[:1000])
    assert {outcome.target for outcome in run(make_survey(["a", "b"]), tmp_path)} == {"a", "b"}
    assert set(read_headers(path)) == {"a", "b"}


def test_the_state_of_a_chunk_follows_its_images(make_survey, tmp_path):
    before = make_survey(["a", "b"]).state(ONE)
    assert make_survey(["a", "b"]).state(ONE) == before
    write_image(tmp_path, "a", 5.0, 6)
    other = make_survey(["a", "b"]).state(ONE)
    assert other != before
    models = {"sky": {"components": {"sky": {"type": "Background", "a0": {"normal": [0, 11]}}}}}
    assert make_survey(["a", "b"], models=models).state(ONE) != other
    assert make_survey(["a", "b", "z"]).state(ONE) != other
    assert make_survey(["b", "a"]).state(ONE) == other
    assert make_survey(["b", "a"]).order != make_survey(["a", "b"]).order
    assert make_survey(["a", "b"], batch={"chunk": 10, "max_minutes": 3}).state(ONE) != other


def test_a_stamp_without_its_posteriors_says_nothing(make_survey, tmp_path):
    survey = make_survey(["a", "b"], missing="")
    run(survey, tmp_path)
    stamp = survey.stamp(ONE)
    former = stamp.with_name("0of1-0123456789abcdef.done")
    former.touch()
    write_stamp(stamp, ONE)
    assert stamp.exists()
    assert not former.exists()
    assert survey.stamp(ONE).exists()
    # What another process than Snakemake's job fits has to be gathered and drawn.
    assert run(survey, tmp_path) == []
    assert survey.stamp(ONE).exists()
    assert [outcome.target for outcome in run(survey, tmp_path, again=["b"])] == ["b"]
    assert not survey.stamp(ONE).exists()
    write_stamp(stamp, ONE)
    ONE.path(survey.config.folder).unlink()
    assert not survey.stamp(ONE).exists()


def test_a_process_reads_no_more_of_the_table_than_its_chunk(make_survey, tmp_path):
    make_survey()
    survey = Survey.load(tmp_path / "survey.yaml", only=Members(Chunk("sky", 1, 2)))
    expected = [name for name in NAMES if number_of(name, 2) == 1]
    assert list(survey.targets) == expected
    assert survey.members(Chunk("sky", 1, 2)) == expected


# model images and figures


def test_images_and_figures_of_flagged_fits_only(make_survey, tmp_path):
    outputs = {"model_images": "all", "figures": "flagged"}
    changes = {"missing": "", "outputs": outputs, "flags": {"poor_fit": 50.0}}
    write_image(tmp_path, "b", 5.0)
    data = fits.getdata(tmp_path / "b.fits")
    data[:3] *= 30
    fits.writeto(tmp_path / "b.fits", data, overwrite=True)
    survey = make_survey(["a", "b"], **changes)
    run(survey, tmp_path)
    assert draw_chunk(survey, ONE) == 2
    images = {name: survey.path(name, "sky", "model.fits") for name in "ab"}
    figures = {name: survey.path(name, "sky", "comparison.png") for name in "ab"}
    assert fits.getheader(images["a"])["STATUS"] == "done"
    assert figures["b"].exists()
    assert not figures["a"].exists()

    times = {path: path.stat().st_mtime_ns for path in (*images.values(), figures["b"])}
    assert draw_chunk(survey, ONE) == 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    figures["b"].unlink()
    draw_chunk(survey, ONE)
    assert figures["b"].exists()

    # Other looks: the figure alone; flags that spare b: no figure; images of none: nothing at all.
    draw_chunk(make_survey(["a", "b"], **changes, plots={"format": "pdf"}), ONE)
    assert figures["b"].with_suffix(".pdf").exists()
    assert not figures["b"].exists()
    assert images["b"].stat().st_mtime_ns == times[images["b"]]
    draw_chunk(make_survey(["a", "b"], **changes | {"flags": {"poor_fit": 1e9}}), ONE)
    assert not figures["b"].with_suffix(".pdf").exists()
    draw_chunk(make_survey(["a", "b"], **changes | {"outputs": {"model_images": "none", "figures": "none"}}), ONE)
    assert not any(path.exists() for path in images.values())


# what one fit may take, and what it costs if it takes more

WORKER = """
import json, os, sys, time
task = json.loads(sys.stdin.readline())
if task.get("broken"):
    sys.exit(1)
print(json.dumps({"ready": True}), flush=True)
kept = []
for line in sys.stdin:
    name = json.loads(line)
    if name.startswith("dies"):
        os.kill(os.getpid(), 9)
    if name.startswith("leaves"):
        os._exit(3)
    if name.startswith("keeps"):
        kept.append(bytearray(150 << 20))
        kept[-1][::4096] = bytes(len(kept[-1][::4096]))
        time.sleep(1.2)
    if name.startswith("eats"):
        food = bytearray(400 << 20)
        food[::4096] = bytes(len(food[::4096]))
        time.sleep(60)
    if name.startswith("sleeps"):
        time.sleep(60)
    print(json.dumps({"status": "done", "message": "", "seconds": 0.0}), flush=True)
"""


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    """Give a function that runs targets by workers of the tests' own, whose names say what happens to them."""
    (tmp_path / "worker.py").write_text(WORKER)
    popen = subprocess.Popen

    def start(command, **options):
        assert command[1:] == ["-m", "socca.survey.worker"]
        return popen([sys.executable, str(tmp_path / "worker.py")], **options)

    monkeypatch.setattr("socca.survey.supervisor.subprocess.Popen", start)

    def run(targets, workers=2, task=None, **caps):
        made = Supervisor(task or {}, "m", workers, Caps(**caps), lambda now: None)
        return Counter((outcome.target, outcome.status) for outcome in made.run(targets))

    return run


@pytest.fixture
def children():
    """Give a function that returns the processes that a test has started, and that still run."""
    before = psutil.Process().children()
    return lambda: [
        child for child in psutil.Process().children() if child not in before and child.status() != psutil.STATUS_ZOMBIE
    ]


def test_each_target_is_fitted_once(supervisor, children):
    names = [f"t{k}" for k in range(30)]
    assert supervisor(names) == Counter((name, "done") for name in names)
    assert not children()


@pytest.mark.parametrize("how", ["dies", "leaves"])
def test_a_dead_worker_costs_its_target_alone(supervisor, children, how, caplog):
    assert supervisor([how, "x", "y", "z"]) == Counter(
        [(how, "worker_died"), ("x", "done"), ("y", "done"), ("z", "done")]
    )
    assert caplog.text.count("trying again") == 1
    assert ("killed by signal 9" if how == "dies" else "ended with status 3") in caplog.text
    assert not children()


def test_a_straggler_is_ended(supervisor, children):
    start = time.monotonic()
    assert supervisor(["sleeps", "x"], workers=1, minutes=0.02) == Counter([("sleeps", "timeout"), ("x", "done")])
    assert time.monotonic() - start < 30
    assert not children()


def test_a_glutton_is_ended(supervisor, children):
    assert supervisor(["eats", "x"], memory_mb=300) == Counter([("eats", "memory_limit"), ("x", "done")])
    assert not children()


def test_what_earlier_fits_left_in_memory_is_no_fit_s_own(supervisor):
    names = [f"keeps{k}" for k in range(4)]
    assert supervisor(names, workers=1, memory_mb=300) == Counter((name, "done") for name in names)


def test_workers_that_cannot_begin_blame_no_target(supervisor, children):
    with pytest.raises(PoolError, match="a worker ended with status 1, see the log, before it could begin"):
        supervisor(["x", "y"], task={"broken": True})
    assert not children()


def test_fits_that_fail_for_want_of_time_are_recorded(make_survey, tmp_path):
    slow = {"method": "emcee", "options": {"n_eff": 10_000_000, "max_steps": 1_000_000}}
    changes = {"missing": "", "batch": {"chunk": 10, "max_minutes": 0.3}, "sampler": slow}
    survey = make_survey(["a"], **changes)
    assert [outcome.status for outcome in run(survey, tmp_path)] == ["timeout"]
    path = ONE.path(survey.config.folder)
    failure = read_headers(path)["a"].record.failure
    assert "took longer than 0.3 minutes (batch.max_minutes)" in failure.message
    assert failure.capped == {"max_minutes": 0.3}
    assert not failure.died
    assert run(survey, tmp_path) == []
    # It goes on from where it was once it may take longer.
    assert (Chunk.parts(path) / "a.socca").exists()
    longer = make_survey(["a"], **changes | {"batch": {"chunk": 10, "max_minutes": 0.4}})
    assert ChunkJob(longer, ONE).to_fit() == ["a"]


def test_a_fit_whose_process_dies_fails_the_job_until_its_last_try(make_survey, tmp_path, supervisor, monkeypatch):
    survey = make_survey(["a", "dies"], missing="")
    monkeypatch.setattr(ChunkJob, "finish", lambda self, *, complete: None)
    with pytest.raises(PoolError, match="dies: its process was killed by signal 9"):
        run(survey, tmp_path, last_try=False)
    assert not (Chunk.parts(ONE.path(survey.config.folder)) / "dies.h5").exists()
    run(survey, tmp_path, last_try=True)
    with open_result(Chunk.parts(ONE.path(survey.config.folder)) / "dies.h5") as group:
        failure = header_of(group).record.failure
    assert "killed by signal 9: out of memory?" in failure.message
    assert failure.died
    assert failure.capped == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_keeps_checkpoints(make_survey, tmp_path, number):
    """A batch system's notice, to the job's process alone: the workers pass it on to their fits."""
    sampler = {"method": "emcee", "options": {"n_eff": 10_000_000, "max_steps": 1_000_000}}
    survey = make_survey(["a", "b"], missing="", sampler=sampler)
    command = [sys.executable, "-m", "socca.cli", "fit", "--config", "survey.yaml", "--cores", "2", "--log", "log.txt"]
    job = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    # Each tells when it begins to sample.
    while time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.2)
        log = (tmp_path / "log.txt").read_text() if (tmp_path / "log.txt").exists() else ""
        if log.count("reached the highest of") == 2:
            break
    assert survey_status(survey.results(), survey.config.folder).counts["running"] == 2
    job.send_signal(number)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 128 + number, said
    assert "Traceback" not in said + (tmp_path / "log.txt").read_text()
    parts = Chunk.parts(ONE.path(survey.config.folder))
    assert {path.name for path in parts.iterdir()} == {"a.socca", "b.socca"}
    assert not running(survey.config.folder)


# how far a survey is


def test_what_is_running_is_known_from_files(tmp_path):
    with Heartbeat(tmp_path) as progress:
        progress.now([("a", "m"), ("b", "m")])
        assert running(tmp_path) == {("a", "m"), ("b", "m")}
        (file,) = (tmp_path / "running").iterdir()
        long_ago = time.time() - 100
        os.utime(file, (long_ago, long_ago))
        assert running(tmp_path) == set()
        file.write_text("{")
        assert running(tmp_path) == set()
        progress.now([("c", "m")])
        assert running(tmp_path) == {("c", "m")}
    assert list((tmp_path / "running").iterdir()) == []
    with Heartbeat(tmp_path / "other", writes=False) as progress:
        progress.now([("a", "m")])
    assert not (tmp_path / "other").exists()


def test_rate_and_time_left():
    now = 1e9
    # One a minute, for an hour and more: 60 in the last hour.
    assert rate([now - 60 * k for k in range(200)], now) == pytest.approx(1 / 60, rel=0.02)
    assert rate([], now) == rate([now], now) == rate([now - 5000] * 9, now) == 0
    counts = {"done": 10, "failed": 1, "running": 2, "pending": 118}
    assert summary_line("s", counts, 1 / 60) == (
        "s: 131 fit(s): 10 done, 1 failed, 2 running, 118 pending; 1.0 a minute, 2.0 h left"
    )
    assert summary_line("s", counts, 0).endswith("118 pending")
    assert summary_line("s", {"done": 3, "pending": 0}, 1.0).endswith("0 pending")


def test_json_of_a_container_is_plain(make_survey, tmp_path):
    """Whoever reads records without socca finds JSON in them."""
    import h5py

    survey = make_survey(["a"], missing="")
    run(survey, tmp_path)
    with h5py.File(ONE.path(survey.config.folder)) as file:
        text = file["records"][()].tobytes().decode()
    assert json.loads(text)["a"]["meta"]["target"] == "a"
    assert Path(json.loads(text)["a"]["meta"]["files"]["image"]["path"]).name == "a.fits"
