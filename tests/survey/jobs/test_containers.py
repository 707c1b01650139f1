"""Containers: files that hold the results of many fits."""

import json
from pathlib import Path

import numpy as np
import pytest

import socca
from socca.errors import PosteriorError
from socca.posterior import Posterior
from socca.posterior.record import Failure, FitRecord, Provenance, SamplerRecord
from socca.posterior.storage import ResultLocation, read_headers, save_failure, write_container
from tests.survey.skies import ONE, run


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


def test_json_of_a_container_is_plain(make_survey, tmp_path):
    """Whoever reads records without socca finds JSON in them."""
    import h5py

    survey = make_survey(["a"], missing="")
    run(survey, tmp_path)
    with h5py.File(ONE.path(survey.config.folder)) as file:
        text = file["records"][()].tobytes().decode()
    assert json.loads(text)["a"]["meta"]["target"] == "a"
    assert Path(json.loads(text)["a"]["meta"]["files"]["image"]["path"]).name == "a.fits"
