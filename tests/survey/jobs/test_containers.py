"""Containers: files that hold the results of many fits."""

import json
from pathlib import Path

import numpy as np
import pytest

import socca
from socca.errors import PosteriorError
from socca.fitting.stored_fit import Packed
from socca.posterior import Posterior
from socca.posterior.container import read_container, read_headers, write_container
from socca.posterior.record import Failure, FitRecord, Provenance
from socca.posterior.sampler_record import SamplerRecord
from socca.posterior.storage import ResultLocation, save_failure, save_posterior
from socca.survey.freshness.records import read_record
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


@pytest.fixture
def dumped(posterior, tmp_path):
    """Write a posterior with image and model, as `fitter.dump` does, and return its file."""
    path = tmp_path / "dumped.h5"
    stored = Packed({"version": 0}, [np.arange(100.0), np.array(["sky"])], [b"a pickle"])
    save_posterior(path, posterior, stored.write)
    return path


def test_a_dumped_fit_is_a_whole_result_and_stays_one_in_a_container(dumped, posterior, tmp_path):
    import h5py

    assert read_record(dumped) == posterior.record
    path = tmp_path / "many.h5"
    write_container(path, {"a": ResultLocation(dumped)})
    found = read_container(path, whole=True)
    assert (list(found.intact), found.damaged) == (["a"], {})
    assert np.array_equal(socca.load(path, "a").samples, posterior.samples)
    with h5py.File(path) as file, h5py.File(dumped) as before:
        kept, own = file["fits/a/fit"], before["fit"]
        assert set(kept) == set(own) == {"tree", "array_0", "array_1", "pickle_0"}
        assert all(np.array_equal(kept[name], own[name]) for name in own)
        assert kept.attrs["sha256"] == own.attrs["sha256"]


@pytest.mark.parametrize("name", ["fits/a/fit/array_0", "fits/a/own", "fits/a/fit"])
def test_what_no_result_holds_is_damage(dumped, tmp_path, name):
    """A dataset that lies in another file, a group that socca does not write, and a dataset in place of a group."""
    import h5py

    path = tmp_path / "many.h5"
    write_container(path, {"a": ResultLocation(dumped), "b": ResultLocation(dumped)})
    with h5py.File(path, "a") as file:
        file.pop(name, None)
        if name == "fits/a/own":
            file.create_group(name)
        elif name == "fits/a/fit":
            file[name] = np.zeros(3)
        else:
            file.create_dataset(name, (100,), "f8", external=[("/etc/hostname", 0, 800)])
    found = read_container(path, whole=True)
    assert (list(found.intact), list(found.damaged)) == (["b"], ["a"])


def test_json_of_a_container_is_plain(make_survey, tmp_path):
    """Whoever reads records without socca finds JSON in them."""
    import h5py

    survey = make_survey(["a"], missing="")
    run(survey, tmp_path)
    with h5py.File(ONE.path(survey.config.folder)) as file:
        text = file["records"][()].tobytes().decode()
    assert json.loads(text)["a"]["meta"]["target"] == "a"
    assert Path(json.loads(text)["a"]["meta"]["files"]["image"]["path"]).name == "a.fits"
