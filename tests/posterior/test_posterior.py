"""Results: summaries against closed forms, and files that come back as they were or say what is wrong with them."""

import copy
import json
import math

import h5py
import numpy as np
import pytest
from scipy import stats

from socca.errors import PosteriorError
from socca.posterior import Posterior
from socca.posterior.record import RECORD_VERSION, Failure, FitRecord, InputFile
from socca.posterior.sampler_record import SamplerRecord
from socca.posterior.storage import open_result, save_failure
from socca.utils.statistics import INTERVAL, unwrapped, weighted_quantiles

N = 20_000


def make(samples, log_weights=None, **changes):
    samples = np.asarray(samples, float)
    n, ndim = samples.shape
    if log_weights is None:
        log_weights = np.full(n, -math.log(n))
    values = {
        "names": [f"comp_00_p{k}" for k in range(ndim)],
        "labels": [f"disk.p{k}" for k in range(ndim)],
        "units": ["deg"] * ndim,
        "samples": samples,
        "log_weights": log_weights,
        "log_likelihood": -0.5 * np.sum(samples**2, axis=1),
        "log_prior": np.zeros(n),
        "logz": -1.5,
        "logz_err": 0.1,
        "periods": [None] * ndim,
    }
    return Posterior(**values | changes)


@pytest.fixture
def posterior():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(200, 2))
    weights = rng.dirichlet(np.ones(200))
    return make(
        samples,
        np.log(weights),
        periods=[None, math.pi],
        derived={"bulge.re": samples[:, 0] * 2},
        derived_units={"bulge.re": "deg"},
        fixed={"disk.e": 0.3},
        record=FitRecord.from_dict(
            {"record_version": RECORD_VERSION, "seed": 3, "notes": {"a": [1, 2.5, None, "x"]}, "flags": []}
        ),
        logz_prior=-0.3,
        logz_prior_err=0.01,
        logz_data=-20.5,
    )


@pytest.fixture(scope="module")
def weighted():
    """Draws of a standard normal, weighted so that they stand for N(1, 0.5) and, along y, N(-2, 1)."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 2, N), rng.normal(-2, 1, N)
    log_weights = stats.norm.logpdf(x, 1, 0.5) - stats.norm.logpdf(x, 0, 2)
    log_weights -= np.logaddexp.reduce(log_weights)
    return make(np.stack([x, y], axis=1), log_weights, derived={"twice": 2 * x}, derived_units={"twice": "rad"})


def test_what_it_says_of_itself(posterior):
    said = "<Posterior of disk.p0, disk.p1: 200 samples, ln Z = -1.50 +- 0.10>"
    assert repr(posterior) == said
    posterior.logz, posterior.record = math.nan, FitRecord(sampler=SamplerRecord(method="emcee"))
    assert repr(posterior) == "<Posterior of disk.p0, disk.p1 by emcee: 200 samples>"


def test_summary_of_weighted_gaussians(weighted):
    rows = weighted.summary()
    assert [row["label"] for row in rows] == ["disk.p0", "disk.p1", "twice"]
    assert [row["unit"] for row in rows] == ["deg", "deg", "rad"]
    for row, (loc, scale) in zip(rows, [(1, 0.5), (-2, 1), (2, 1)], strict=True):
        error = 4.5 * scale / math.sqrt(weighted.n_eff)
        assert row["mean"] == pytest.approx(loc, abs=error)
        assert row["std"] == pytest.approx(scale, abs=error)
        assert row["median"] == pytest.approx(loc, abs=1.3 * error)
        assert row["lower"] == pytest.approx(loc - scale, abs=1.6 * error)
        assert row["upper"] == pytest.approx(loc + scale, abs=1.6 * error)
    best = weighted.samples[weighted.best_index]
    assert [row["best"] for row in rows] == pytest.approx([*best, 2 * best[0]])
    assert weighted.median() == pytest.approx([row["median"] for row in rows[:2]])
    assert np.array_equal(weighted.best, best)


def test_n_eff():
    assert make(np.zeros((10, 1))).n_eff == pytest.approx(10)
    one = np.log(np.array([1.0, 1e-300, 1e-300]))
    assert make(np.zeros((3, 1)), one).n_eff == pytest.approx(1)


def test_best_counts_the_prior_and_passes_over_nan():
    log_likelihood, log_prior = np.array([0.0, -1.0, np.nan, -5.0]), np.array([-3.0, 0.0, 0.0, -np.inf])
    found = make(np.arange(4.0)[:, None], log_likelihood=log_likelihood, log_prior=log_prior)
    assert found.best_index == 1


@pytest.mark.parametrize("center", [0.0, 0.02, 1.0, math.pi - 0.02, 3.0])
def test_angles_across_the_end_of_their_period(center):
    x = np.random.default_rng(2).normal(center, 0.1, N)
    row = make((x % math.pi)[:, None], periods=[math.pi]).summary()[0]
    error = 5 * 0.1 / math.sqrt(N)
    off = (row["mean"] - center + math.pi / 2) % math.pi - math.pi / 2
    assert abs(off) < error
    assert -1e-12 <= row["median"] + 0.02 < math.pi + 0.04
    assert row["std"] == pytest.approx(0.1, abs=error)
    assert row["upper"] - row["lower"] == pytest.approx(0.2, abs=3 * error)


def test_unwrapped_moves_by_whole_periods():
    rng = np.random.default_rng(5)
    x, weights = rng.uniform(0, 360, 50), rng.dirichlet(np.ones(50))
    moved = unwrapped(x, weights, 360)
    turns = (moved - x) / 360
    assert turns == pytest.approx(np.round(turns), abs=1e-12)
    assert np.ptp(moved) <= 360


def test_a_tied_angle_is_unwrapped_like_the_one_it_is_tied_to(make_image, pixel):
    """Tied to the same angle, across the end of its period."""
    from socca.fitting.sample import posterior_of
    from socca.likelihood.problem import Problem
    from socca.models import Exponential, Model, boundto
    from socca.priors import uniform
    from socca.samplers import Draws

    model = Model()
    disk = model.addcomponent(Exponential(xc=0, yc=0, theta=uniform(0, math.pi), rs=2 * pixel, Is=1))
    model.addcomponent(Exponential(xc=0, yc=0, theta=boundto(disk, "theta"), rs=pixel, Is=1))
    theta = np.random.default_rng(1).normal(0, 0.1, (500, 1)) % math.pi
    draws = Draws(theta, np.full(500, -math.log(500)), np.zeros(500), 0.0, 0.1, True)
    free, tied = posterior_of(Problem(make_image(), model), draws).summary()
    assert free["std"] == pytest.approx(0.1, rel=0.2)
    assert tied["std"] == pytest.approx(free["std"])


def test_quantiles_of_equal_weights_are_numpys():
    x = np.random.default_rng(6).normal(size=101)
    levels = [0.0, 0.01, 0.1587, 0.5, 0.9, 1.0]
    found = weighted_quantiles(x, np.full(101, 1 / 101), levels)
    assert found == pytest.approx(np.quantile(x, levels, method="hazen"), rel=1e-12)


def test_quantiles_take_weights_of_any_norm_and_order():
    rng = np.random.default_rng(7)
    x, weights = rng.normal(size=50), rng.integers(1, 5, 50)
    order = rng.permutation(50)
    found = weighted_quantiles(x, weights / weights.sum(), [0.2, 0.5])
    assert weighted_quantiles(x[order], 3.0 * weights[order], [0.2, 0.5]) == pytest.approx(found)
    assert found == pytest.approx(np.quantile(np.repeat(x, weights), [0.2, 0.5]), abs=0.15)


def test_interval_is_one_sigma():
    assert pytest.approx(stats.norm.cdf(1) - stats.norm.cdf(-1), rel=1e-12) == INTERVAL


def test_equal_weights(weighted):
    drawn = weighted.equal_weights(5000, np.random.default_rng(1))
    assert drawn.shape == (5000, 2)
    assert drawn[:, 0].mean() == pytest.approx(1, abs=4.5 * 0.5 / math.sqrt(weighted.n_eff))
    assert drawn[:, 0].std() == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(np.arange(5000), drawn[:, 0])[0, 1]) < 0.07  # shuffled
    assert np.array_equal(drawn, weighted.equal_weights(5000, np.random.default_rng(1)))


def test_equal_weights_draw_each_sample_as_often_as_it_weighs():
    weights = np.array([0.5, 0.0, 0.25, 0.2, 0.05])
    with np.errstate(divide="ignore"):
        found = make(np.arange(5.0)[:, None], np.log(weights)).equal_weights(1000, np.random.default_rng(3))
    counts = np.bincount(found[:, 0].astype(int), minlength=5)
    assert np.all(np.abs(counts - 1000 * weights) <= 1)


def test_round_trip(posterior, tmp_path):
    path = tmp_path / "new" / "posterior.h5"
    posterior.save(path)
    found = Posterior.load(path)
    for key, value in vars(posterior).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(found, key), value), key
        elif key == "derived":
            assert found.derived.keys() == value.keys()
            assert all(np.array_equal(found.derived[k], value[k]) for k in value)
        else:
            assert getattr(found, key) == value, key
    assert found.summary() == posterior.summary()
    assert [p.name for p in path.parent.iterdir()] == ["posterior.h5"]


def test_what_there_is_without_reading_samples(posterior, tmp_path):
    posterior.save(tmp_path / "p.h5")
    with open_result(tmp_path / "p.h5") as file:
        assert file.attrs["status"] == b"done"
        assert json.loads(file.attrs["meta"]) == posterior.meta == posterior.record.to_dict()
        assert json.loads(file.attrs["summary"]) == posterior.summary()
        assert file.attrs["logz"] == posterior.logz


def test_a_record_of_any_size_is_kept(posterior, tmp_path):
    files = {f"cube_{k:05d}": InputFile(f"images/{k:05d}.fits", "f" * 64, 5760, k) for k in range(1500)}
    posterior.record = FitRecord(files=files)
    posterior.save(tmp_path / "p.h5")
    assert Posterior.load(tmp_path / "p.h5").record == posterior.record


def test_meta_is_a_copy_that_cannot_be_changed(posterior):
    for change in (
        lambda meta: meta.__setitem__("seed", 4),
        lambda meta: meta.update(seed=4),
        lambda meta: meta.clear(),
    ):
        with pytest.raises(TypeError, match=r"posterior\.record"):
            change(posterior.meta)
    with pytest.raises(AttributeError):
        posterior.meta = {}
    assert json.loads(json.dumps(posterior.meta)) == copy.deepcopy(posterior.meta) == posterior.meta
    posterior.meta["notes"]["a"].append(4)
    assert posterior.meta["seed"] == posterior.record.sampler.seed == 3
    assert posterior.record.sampler.notes.extra == {"a": [1, 2.5, None, "x"]}


def test_evidence_may_be_missing(posterior, tmp_path):
    posterior.logz_err = math.nan
    posterior.save(tmp_path / "p.h5")
    assert math.isnan(Posterior.load(tmp_path / "p.h5").logz_err)


def test_files_of_earlier_versions_know_fewer_evidences(posterior, tmp_path):
    posterior.save(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5", "a") as file:
        for key in ("logz_prior", "logz_prior_err", "logz_data", "sha256", "samples_sha256"):
            del file.attrs[key]
    found = Posterior.load(tmp_path / "p.h5")
    assert found.logz == posterior.logz
    assert np.isnan([found.logz_prior, found.logz_prior_err, found.logz_data]).all()


def test_table_gives_positions_the_digits_they_have():
    samples = 150.1234567 + 2e-6 * np.random.default_rng(1).normal(size=(500, 1))
    median = np.median(samples)
    printed = float(make(samples).parameters().splitlines()[1].split()[1])
    assert abs(printed - median) < 2e-7  # a tenth of the error


def test_a_failure_is_recorded(tmp_path):
    path = tmp_path / "p.h5"
    save_failure(path, FitRecord(target="a", failure=Failure("psf: no such file")))
    with open_result(path) as file:
        assert (file.attrs["status"], file.attrs["message"]) == (b"failed", b"psf: no such file")
        assert json.loads(file.attrs["meta"]) == {"record_version": RECORD_VERSION, "target": "a"}
    with pytest.raises(PosteriorError, match=r"p\.h5: the fit failed: psf: no such file"):
        Posterior.load(path)


def damage(path, how):
    content = path.read_bytes()
    if how == "absent":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "junk":
        path.write_bytes(b"no HDF5 at all" * 100)
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "other":
        path.unlink()
        with h5py.File(path, "w") as file:
            file["x"] = 1
    elif how == "newer":
        with h5py.File(path, "a") as file:
            file.attrs["format_version"] = 99
    elif how == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["absent", "empty", "junk", "cut", "other", "newer", "folder"])
def test_files_that_are_no_results_are_named(posterior, tmp_path, how):
    path = tmp_path / "p.h5"
    posterior.save(path)
    damage(path, how)
    with pytest.raises(PosteriorError, match=r"p\.h5: "):
        Posterior.load(path)
    with pytest.raises(PosteriorError, match=r"p\.h5: "), open_result(path):
        pass


@pytest.mark.parametrize("lost", ["samples", "names", "periods", "attr:meta", "attr:status", "attr:format_version"])
def test_results_that_lack_a_part_are_named(posterior, tmp_path, lost):
    path = tmp_path / "p.h5"
    posterior.save(path)
    with h5py.File(path, "a") as file:
        if lost.startswith("attr:"):
            del file.attrs[lost.removeprefix("attr:")]
        else:
            del file[lost]
    with pytest.raises(PosteriorError, match=r"p\.h5: "):
        Posterior.load(path)


def test_damaged_numbers_are_named(posterior, tmp_path):
    path = tmp_path / "p.h5"
    posterior.save(path)
    with h5py.File(path) as file:
        start = file["samples"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(PosteriorError, match=r"p\.h5: "):
        Posterior.load(path)


def test_an_error_while_saving_leaves_the_old_file(posterior, tmp_path):
    path = tmp_path / "p.h5"
    posterior.save(path)
    before = path.read_bytes()
    posterior.record = FitRecord(extra={"not": object()})
    with pytest.raises(TypeError):
        posterior.save(path)
    posterior.record, posterior.samples = FitRecord(), "no numbers"
    with pytest.raises(TypeError):
        posterior.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.h5"]
