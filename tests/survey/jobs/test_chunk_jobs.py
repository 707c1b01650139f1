"""Jobs of a chunk: what they fit, take over and keep."""

import json
import os

import h5py
import numpy as np
import pytest

import socca
from socca.errors import ConfigError, PoolError, PosteriorError
from socca.posterior.container import read_headers
from socca.survey.catalog import build_catalog
from socca.survey.chunks import Chunk, Members, number_of
from socca.survey.freshness.stamps import chunk_stamp, is_chunk_stamped, write_chunk_stamp
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.status import survey_status
from socca.survey.survey import Survey
from tests.survey.skies import NAMES, ONE, run, write_image


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
        ChunkJob(survey, ONE).exclusive_lock(),
        pytest.raises(PoolError, match=rf"0of1\.h5: process {os.getpid()} on .* is fitting this now"),
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
        raise OSError("was cut off")  # as astropy does, without a number

    with monkeypatch.context() as patched:
        patched.setattr("socca.survey.config.build_image.build_image", completes)
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
    assert found.counts == {"done": 2, "stale": 0, "failed": 0, "running": 0, "pending": 3}
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


@pytest.mark.parametrize(
    "where", ["record", *(pytest.param(w, marks=pytest.mark.thorough) for w in ("samples", "link"))]
)
def test_a_damaged_fit_of_a_container_is_made_again_alone(make_survey, tmp_path, where, caplog):
    survey = make_survey(["a", "b", "d"], missing="")
    run(survey, tmp_path)
    path = ONE.path(survey.config.folder)
    before = {name: socca.load(path, name) for name in "abd"}
    with h5py.File(path, "a") as file:
        if where == "record":
            entries = json.loads(file["records"][()].tobytes())
            entries["b"]["meta"]["files"] = 3
            del file["records"]
            file["records"] = np.frombuffer(json.dumps(entries).encode(), np.uint8)
        elif where == "samples":
            file["fits/b/samples"][3, 0] += 1
        else:
            del file["fits/b"]
            file["fits/b"] = h5py.ExternalLink("elsewhere.h5", "/fits/b")
    if where == "record":
        # The catalogue says so until then, of this target alone.
        table = build_catalog(survey.results())
        assert list(table["status"]) == ["done", "failed", "done"]
        assert "0of1.h5: fit of b: is damaged" in table["message"][1]
    assert [outcome.target for outcome in run(make_survey(["a", "b", "d"], missing=""), tmp_path)] == ["b"]
    assert "0of1.h5: fit of b: is damaged" in caplog.text
    for name, one in before.items():
        after = socca.load(path, name)
        assert np.array_equal(after.samples, one.samples)
        assert (after.record == one.record) is (name != "b")


def test_a_part_whose_samples_are_damaged_is_fitted_again(make_survey, tmp_path):
    survey = make_survey(["a", "b"], missing="")
    job = ChunkJob(survey, ONE)
    list(job.fit(["a", "b"]))
    part = Chunk.parts(job.path) / "a.h5"
    with h5py.File(part, "a") as file:
        file["samples"][3, 0] += 1
    assert [outcome.target for outcome in run(make_survey(["a", "b"], missing=""), tmp_path)] == ["a"]
    assert list(read_headers(job.path)) == ["a", "b"]


def test_a_file_of_a_former_division_that_cannot_be_is_left_out(make_survey, tmp_path):
    survey = make_survey(["a"], missing="")
    path = ONE.path(survey.config.folder)
    path.parent.mkdir(parents=True)
    path.with_name("0of0.h5").touch()
    assert [outcome.target for outcome in run(survey, tmp_path)] == ["a"]


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
    stamp = chunk_stamp(survey, ONE)
    former = stamp.with_name("0of1-0123456789abcdef.done")
    former.touch()
    write_chunk_stamp(stamp, ONE)
    assert stamp.exists()
    assert not former.exists()
    assert is_chunk_stamped(survey, ONE)
    # What another process than Snakemake's job fits has to be gathered and drawn.
    assert run(survey, tmp_path) == []
    assert is_chunk_stamped(survey, ONE)
    assert [outcome.target for outcome in run(survey, tmp_path, again=["b"])] == ["b"]
    assert not is_chunk_stamped(survey, ONE)
    write_chunk_stamp(stamp, ONE)
    ONE.path(survey.config.folder).unlink()
    assert not is_chunk_stamped(survey, ONE)


def test_a_process_reads_no_more_of_the_table_than_its_chunk(make_survey, tmp_path):
    make_survey()
    survey = Survey.load(tmp_path / "survey.yaml", only=Members(Chunk("sky", 1, 2)))
    expected = [name for name in NAMES if number_of(name, 2) == 1]
    assert list(survey.targets) == expected
    assert survey.members(Chunk("sky", 1, 2)) == expected
