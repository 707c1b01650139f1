"""The catalogue: rows from files of results, in memory, in FITS and in ECSV."""

import errno
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm

from socca.errors import MachineError
from socca.posterior import Posterior
from socca.posterior.container import write_container
from socca.posterior.record import Failure, FitRecord, Timing
from socca.posterior.storage import ResultLocation, header_of, save_failure
from socca.survey.catalog import best_of, build_catalog, catalog_of, gather
from socca.survey.catalog_files import ENDINGS, write_catalog
from socca.survey.catalog_units import DefaultUnits
from socca.survey.chunks import Chunk
from socca.survey.flags import DefaultThresholds, names_of
from socca.survey.status import survey_status

UNITS = {"xc": "deg", "re": "deg", "theta": "rad", "Ie": "image", "ns": ""}


def gaussian(means, sigma=0.1, *, logz=-10.0, n=2001, units=UNITS, bunit="nJy", **meta):
    """Make a posterior of independent Gaussians whose quantiles are those of the law itself."""
    labels = list(means)
    z = norm.ppf((np.arange(n) + 0.5) / n)
    samples = np.stack([mean + sigma * np.roll(z, 7 * k) for k, mean in enumerate(means.values())], axis=1)
    likelihood = -0.5 * np.sum(((samples - list(means.values())) / sigma) ** 2, axis=1)
    meta = {
        "converged": True,
        "n_calls": 1234,
        "timing": {"total": 12.5},
        "image": {"frame": "sky", "bunit": bunit, "n_pixels": 900, "pixel_scale": 5e-5},
        "fit": {"chi2_red": 1.01, "chi2_source": 1.2, "n_source": 80, "max_log_likelihood": -3.0},
    } | meta
    return Posterior(
        names=[f"comp_00_{label}" for label in labels],
        labels=labels,
        units=[units[label.split(".")[1]] for label in labels],
        samples=samples,
        log_weights=np.full(n, -math.log(n)),
        log_likelihood=likelihood,
        log_prior=np.zeros(n),
        logz=logz,
        logz_err=0.05,
        periods=[math.pi if label.endswith("theta") else None for label in labels],
        record=FitRecord.from_dict(meta),
    )


@pytest.fixture
def survey(tmp_path):
    """Write fits of two targets with two models: three done, one failed; one more missing, one damaged, one empty."""
    files = {
        ("a", "one"): gaussian({"galaxy.re": 3.0, "galaxy.Ie": 7.0}, logz=-20.0),
        ("a", "two"): gaussian(
            {"bulge.re": 2.0, "galaxy.re": 4.0},
            logz=-17.5,
            fit={"chi2_red": 1.01, "chi2_source": 1.8, "edge_probability": 0.3},
            converged=False,
        ),
        ("b", "one"): gaussian({"galaxy.re": 5.0, "galaxy.Ie": 8.0}, logz=-99.0),
    }
    results = []
    for (target, model), posterior in files.items():
        results.append((target, model, tmp_path / f"{target}_{model}.h5"))
        posterior.save(results[-1][2])
    failed = tmp_path / "failed.h5"
    failure = Failure("the PSF\nof “b” is\tflat")
    save_failure(failed, FitRecord(target="b", model="two", timing=Timing(total=1.5), failure=failure))
    (tmp_path / "damaged.h5").write_bytes((tmp_path / "a_one.h5").read_bytes()[:3000])
    (tmp_path / "empty.h5").write_bytes(b"")
    results.append(("b", "two", failed))
    return results + [("c", name, tmp_path / f"{name}.h5") for name in ("absent", "damaged", "empty")]


def test_rows(survey):
    table = build_catalog(iter(survey))
    assert list(zip(table["target"], table["model"], strict=True)) == [(t, m) for t, m, _ in survey]
    assert list(table["status"]) == ["done", "done", "done", "failed", "missing", "failed", "failed"]
    assert table["message"][3] == "the PSF of “b” is flat"
    assert "damaged.h5" in table["message"][5]
    assert list(table["flag_names"]) == [
        "",
        "not_converged,poor_fit,at_prior_edge",
        "",
        "failed",
        "",
        "failed",
        "failed",
    ]
    assert [names_of(int(bits)) for bits in table["flags"]] == [
        [name for name in names.split(",") if name] for names in table["flag_names"]
    ]
    lenient = DefaultThresholds(poor_fit=2, prior_edge=0.5)
    assert list(build_catalog(survey, lenient)["flag_names"])[1] == "not_converged"
    assert list(table["converged"]) == [True, False, True, False, False, False, False]
    assert list(table["wall_time"].filled(-1)) == [12.5, 12.5, 12.5, 1.5, -1, -1, -1]
    assert list(table["n_calls"].filled()) == [1234] * 3 + [-1] * 4
    assert np.allclose(table["n_eff"][:3], 2001)
    assert np.ma.getmaskarray(table["n_eff"]).tolist() == [False] * 3 + [True] * 4


def test_parameters_are_the_law_itself(survey):
    table = build_catalog(survey, units=DefaultUnits(lengths="deg"))
    first = [name for name in table.colnames if name in ("galaxy_re", "galaxy_Ie", "bulge_re")]
    assert first == ["galaxy_re", "galaxy_Ie", "bulge_re"]
    assert table.colnames.index("galaxy_re_best") == table.colnames.index("galaxy_re") + 7
    assert np.allclose(table["galaxy_re"][:3], [3, 4, 5])
    assert np.allclose(table["galaxy_re_lower"][:3], [2.9, 3.9, 4.9], atol=1e-3)
    assert np.allclose(table["galaxy_re_upper"][:3], [3.1, 4.1, 5.1], atol=1e-3)
    assert np.allclose(table["galaxy_re_std"][:3], 0.1, rtol=0.01)
    assert np.allclose(table["galaxy_re_mean"][:3], [3, 4, 5], atol=1e-3)
    assert np.allclose(table["galaxy_re_err_minus"][:3], 0.1, atol=1e-3)
    assert np.allclose(table["galaxy_re_err_plus"][:3], 0.1, atol=1e-3)
    assert np.allclose(table["galaxy_re_best"][:3], [3, 4, 5], atol=0.01)
    assert np.ma.getmaskarray(table["galaxy_Ie"]).tolist() == [False, True, False, True, True, True, True]
    assert str(table["galaxy_re_std"].unit) == "deg"
    assert str(table["galaxy_Ie"].unit) == "nJy"


def test_evidences_are_compared_within_a_target(survey):
    table = build_catalog(survey)
    assert np.allclose(table["log_bayes_factor"][:3], [-2.5, 0, 0])
    assert table["log_bayes_factor"].mask[3:].all()
    assert list(table["best_model"]) == [False, True, True, False, False, False, False]


def test_without_evidence_only_a_sole_fit_is_the_best(tmp_path):
    results = [("a", "m", tmp_path / "0.h5"), ("b", "m", tmp_path / "1.h5"), ("b", "n", tmp_path / "2.h5")]
    for *_, path in results:
        gaussian({"galaxy.re": 1.0}, logz=math.nan).save(path)
    table = build_catalog(results)
    assert table["logz"].mask.all()
    assert table["log_bayes_factor"].mask.all()
    assert list(table["best_model"]) == [True, False, False]


@pytest.mark.parametrize(
    ("bunits", "unit", "description"),
    [
        (("nJy", "nJy"), "nJy", ""),
        (("nJy", "adu"), None, ""),
        (("nJy", ""), None, ""),
        (("nanomaggies", "nanomaggies"), None, "; unit: nanomaggies"),
    ],
)
def test_units_of_the_image(tmp_path, bunits, unit, description):
    results = [(f"t{k}", "m", tmp_path / f"{k}.h5") for k in range(2)]
    for bunit, (_, _, path) in zip(bunits, results, strict=True):
        gaussian({"galaxy.Ie": 1.0}, bunit=bunit).save(path)
    table = build_catalog(results)
    assert table["galaxy_Ie"].unit == unit
    assert table["galaxy_Ie"].description == f"galaxy.Ie: median{description}"
    write_catalog(table, tmp_path / "c")
    for name in ("c.fits", "c.ecsv"):
        assert Table.read(tmp_path / name)["galaxy_Ie"].unit == unit


def test_files_hold_the_table(survey, tmp_path):
    table = build_catalog(survey)
    table["message"] = [*table["message"][:2], 'says "no", #2', *table["message"][3:]]
    table.meta["survey"] = "this"
    paths = write_catalog(table, tmp_path / "out" / "c", ENDINGS)
    assert [path.name for path in paths] == ["c.fits", "c.ecsv", "c.vot", "c.parquet"]
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    for name in ("c.fits", "c.ecsv", "c.vot"):
        back = Table.read(tmp_path / "out" / name)
        back.convert_bytestring_to_unicode()
        assert back.colnames == table.colnames
        for column in table.colnames:
            here, there = table[column], back[column]
            assert here.unit == there.unit, column
            if here.dtype.kind == "U":
                expected = [str(x) if name != "c.fits" else str(x).encode("ascii", "replace").decode() for x in here]
                assert [str(x) for x in (there.filled("") if hasattr(there, "filled") else there)] == expected, column
            else:
                mask = np.ma.getmaskarray(here)
                assert here.dtype.kind == there.dtype.kind, column
                assert np.array_equal(np.ma.getmaskarray(there), mask), column
                assert np.array_equal(np.asarray(here)[~mask], np.asarray(there)[~mask]), column


def test_parquet_holds_the_table(survey, tmp_path):
    from pyarrow import parquet

    table = build_catalog(survey)
    (path,) = write_catalog(table, tmp_path / "c", ["parquet"])
    back = parquet.read_table(path)
    assert back.column_names == table.colnames
    for name in table.colnames:
        mask = np.ma.getmaskarray(table[name])
        expected = [
            None if blank else value for value, blank in zip(np.asarray(table[name]).tolist(), mask, strict=True)
        ]
        assert back[name].to_pylist() == expected, name
    about = back.schema.field("galaxy_re").metadata
    assert about == {
        b"description": b"galaxy.re: median",
        b"unit": b"arcsec",
        b"ucd": b"phys.angSize.smajAxis;stat.median",
    }


def test_every_column_says_what_it_is(survey, tmp_path):
    from astropy.io import fits
    from astropy.io.votable import parse_single_table
    from astropy.io.votable.ucd import check_ucd

    table = build_catalog(survey)
    for name in table.colnames:
        assert table[name].description, name
        assert check_ucd(table[name].info.meta["ucd"], check_controlled_vocabulary=True), name
    write_catalog(table, tmp_path / "c", ["fits", "votable"])
    for one in parse_single_table(str(tmp_path / "c.vot")).fields:
        assert (" ".join(one.description.split()), one.ucd) == (
            table[one.name].description,
            table[one.name].info.meta["ucd"],
        )
    header = fits.getheader(tmp_path / "c.fits", 1)
    for number, name in enumerate(table.colnames, 1):
        assert header[f"TCOMM{number}"] == table[name].description
        assert header[f"TUCD{number}"] == table[name].info.meta["ucd"]


def test_a_votable_is_valid(survey, tmp_path):
    from astropy.io.votable import validate

    table = build_catalog(survey)
    table.meta |= {"survey": "this", "socca version": "1"}
    (path,) = write_catalog(table, tmp_path / "c", ["votable"])
    report = io.StringIO()
    assert validate(str(path), output=report), report.getvalue()


def test_lengths_and_angles_have_the_units_that_are_asked_for(tmp_path):
    units = {"xc": "deg", "re": "deg", "theta": "rad", "q": ""}
    means = {"a.xc": 0.01, "a.re": 0.001, "a.theta": 0.5}
    for frame in ("sky", "pixel"):
        gaussian(means, units=units, image={"frame": frame}).save(tmp_path / f"{frame}.h5")
    for frame, position in (("sky", ("deg", 0.01)), ("pixel", ("arcmin", 0.6))):
        found = build_catalog([("t", "m", tmp_path / f"{frame}.h5")], units=DefaultUnits(lengths="arcmin"))
        assert (str(found["a_xc"].unit), float(found["a_xc"][0])) == (position[0], pytest.approx(position[1], rel=1e-3))
        assert found["a_re"][0] == pytest.approx(0.06, rel=1e-3)
        assert found["a_theta"][0] == pytest.approx(np.degrees(0.5), rel=1e-3)
        assert str(found["a_theta_std"].unit) == "deg"


def test_one_row_for_each_target(survey):
    table = build_catalog(survey)
    found = best_of(table)
    assert list(found["target"]) == ["a", "b", "c"]
    assert list(found["model"]) == ["two", "one", "absent"]
    assert list(found["best_model"]) == [True, True, False]
    odds = np.exp(-2.5)
    assert found["probability_one"][0] == pytest.approx(odds / (1 + odds))
    assert found["probability_two"][0] == pytest.approx(1 / (1 + odds))
    assert found["probability"][0] == pytest.approx(1 / (1 + odds))
    assert found["logz_one"].tolist() == [-20.0, -99.0, None]
    assert np.ma.getmaskarray(found["logz_damaged"]).all()


def test_columns_of_the_targets_are_carried_over(survey):
    fits, rows = gather(survey)
    table = catalog_of(fits, rows, carried={"z": [0.1, 0.1, None, 2, 2, 2, 2], "name": ["x", *"yyyyy", None]})
    assert table["z"].tolist() == [0.1, 0.1, None, 2, 2, 2, 2]
    assert list(table["name"]) == ["x", *"yyyyy", ""]


@pytest.mark.parametrize("results", [[], [("a", "m", "nowhere.h5")]])
def test_without_a_single_fit(results, tmp_path):
    table = build_catalog(results)
    assert len(table) == len(results)
    write_catalog(table, tmp_path / "c")
    assert len(Table.read(tmp_path / "c.ecsv")) == len(Table.read(tmp_path / "c.fits")) == len(results)


def test_labels_that_would_collide(tmp_path):
    units = dict.fromkeys(("b_c", "c", "c_std", "err", "RE", "re"), "")
    means = {"a.b_c": 1.0, "a_b.c": 2.0, "x.c": 3.0, "x.c_std": 4.0, "logz.err": 5.0, "a.re": 6.0, "A.RE": 7.0}
    gaussian(means, units=units, logz=-3.0).save(tmp_path / "p.h5")
    table = build_catalog([("t", "m", tmp_path / "p.h5")])
    names = [name.lower() for name in table.colnames]
    assert len(set(names)) == len(names)
    assert [float(table[name][0]) for name in ("a_b_c", "a_b.c", "x_c", "x.c_std", "logz.err", "a_re", "A.RE")] == (
        pytest.approx(list(means.values()))
    )
    assert table["logz_err"][0] == 0.05
    write_catalog(table, tmp_path / "c")
    assert Table.read(tmp_path / "c.fits").colnames == table.colnames


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.__delitem__("summary"),
        lambda file: file.attrs.__delitem__("status"),
        lambda file: file.attrs.__setitem__("meta", "{broken"),
        lambda file: file.attrs.__setitem__("meta", "[1, 2]"),
        lambda file: file.attrs.__setitem__("summary", json.dumps([{"label": "galaxy.re"}])),
        lambda file: file.__delitem__("log_weights"),
    ],
)
def test_what_is_wrong_inside_a_file_is_a_failed_row(tmp_path, change):
    path = tmp_path / "p.h5"
    gaussian({"galaxy.re": 1.0}).save(path)
    with h5py.File(path, "a") as file:
        change(file)
    table = build_catalog([("t", "m", path), ("u", "m", path)])
    assert list(table["status"]) == ["failed"] * 2
    assert all("p.h5" in message for message in table["message"])


def test_unknown_numbers_are_masked_and_long_messages_cut(tmp_path):
    gaussian({"galaxy.re": 1.0}, fit={"chi2_red": None}, image={}, flags=None).save(tmp_path / "p.h5")
    save_failure(tmp_path / "f.h5", FitRecord(failure=Failure("word " * 500)))
    table = build_catalog([("t", "m", tmp_path / "p.h5"), ("t", "n", tmp_path / "f.h5")])
    assert table["chi2_red"].mask.all()
    assert table["n_pixels"].mask.all()
    assert len(table["message"][1]) == 300


def test_status(survey, tmp_path):
    found = survey_status(survey, tmp_path)
    assert found.counts == {"done": 3, "stale": 0, "failed": 3, "running": 0, "pending": 1}
    assert [failure[:2] for failure in found.failures] == [("b", "two"), ("c", "damaged"), ("c", "empty")]
    assert found.failures[0][2].startswith("the PSF")
    assert found.rate == 0


def test_status_reads_the_records_of_unreadable_files_only(survey, tmp_path, monkeypatch):
    """Of thousands of files, records take a second for each thousand."""
    read = []
    monkeypatch.setattr("socca.survey.result_rows.header_of", lambda group: read.append(group) or header_of(group))
    survey_status(survey, tmp_path)
    assert read == []
    with h5py.File(survey[0][2], "a") as file:
        del file.attrs["meta"]
    assert survey_status(survey, tmp_path).counts["failed"] == 4


def test_what_is_out_of_date_is_no_result(survey, tmp_path):
    """It keeps its numbers, and does not count as done or failed."""

    def stale(target, model, record):
        return "image has changed" if (target, model) in {("a", "two"), ("b", "two")} else ""

    found = survey_status(survey, tmp_path, stale)
    assert found.counts == {"done": 2, "stale": 2, "failed": 2, "running": 0, "pending": 1}
    table = build_catalog(survey, stale=stale)
    assert list(table["status"]) == ["done", "stale", "done", "stale", "missing", "failed", "failed"]
    assert list(table["message"][[1, 3]]) == ["image has changed"] * 2
    assert table["galaxy_re"][1] == pytest.approx(4 * 3600)
    # An evidence that is out of date compares with nothing.
    assert list(table["best_model"][:2]) == [True, False]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_result_that_the_machine_does_not_give_is_no_failed_fit(survey, tmp_path, monkeypatch, number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("h5py.File", refused)
    with pytest.raises(MachineError, match=os.strerror(number)):
        build_catalog(survey)


def test_a_container_has_the_rows_of_its_fits(survey, tmp_path):
    alone = [entry for entry in survey if entry[2].stem in ("a_one", "failed")]
    places = {target: ResultLocation(path) for target, _, path in alone}
    path = Chunk("one", 0, 1).path(tmp_path)
    write_container(path, places)
    gathered = [(target, model, ResultLocation(path, target)) for target, model, _ in alone]
    gathered.append(("z", "one", ResultLocation(path, "z")))
    expected = build_catalog([*alone, ("z", "one", tmp_path / "no.h5")])
    found = build_catalog(gathered)
    assert found.colnames == expected.colnames
    assert list(map(str, found)) == list(map(str, expected))


def test_what_is_not_gathered_yet_is_in_the_catalogue(survey, tmp_path):
    path = Chunk("two", 0, 1).path(tmp_path)
    write_container(path, {"b": ResultLocation(survey[3][2])})
    parts = Chunk.parts(path)
    parts.mkdir()
    (parts / "b.h5").write_bytes(survey[0][2].read_bytes())
    table = build_catalog([("b", "two", ResultLocation(path, "b"))])
    assert list(table["status"]) == ["done"]
    assert table["logz"][0] == -20


def test_a_damaged_container_is_named_in_each_of_its_rows(tmp_path):
    path = Chunk("m", 0, 1).path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no HDF5")
    table = build_catalog([(name, "m", ResultLocation(path, name)) for name in "ab"])
    assert list(table["status"]) == ["failed"] * 2
    assert all("0of1.h5" in message for message in table["message"])


def test_imports_are_light():
    code = (
        "import sys, socca.survey.catalog, socca.plotting.comparison, socca.simulation.recovery;"
        "sys.exit(bool({'jax', 'matplotlib', 'astropy', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_of_the_table_of_targets_do_not_hide_those_of_the_catalogue(survey):
    fits, rows = gather(survey)
    carried = {"flags": [1] * 7, "zero_point": [2.5] * 7, "Model": ["a\nb"] * 7}
    table = catalog_of(fits, rows, carried=carried)
    assert table["input_flags"].tolist() == [1] * 7
    assert table["input_zero_point"].tolist() == [2.5] * 7
    assert list(table["input_Model"]) == ["a b"] * 7
    assert table["zero_point"].mask.all()
    assert table["flags"][0] == 0


def test_a_model_whose_name_ends_a_column(tmp_path):
    results = [("t", name, tmp_path / f"{name}.h5") for name in ("err", "other")]
    for number, (_, _, path) in enumerate(results):
        gaussian({"a.re": 1.0}, logz=-3.0 - number).save(path)
    found = best_of(build_catalog(results))
    assert found["logz_err"][0] == pytest.approx(0.05)
    assert found["logz_of_err"][0] == -3.0
    assert found["logz_other"][0] == -4.0


def test_more_columns_than_fits_has(tmp_path):
    means = {f"a{k}.re": float(k) for k in range(130)}
    gaussian(means, logz=-3.0).save(tmp_path / "p.h5")
    table = build_catalog([("t", "m", tmp_path / "p.h5")])
    assert len(table.colnames) > 999
    write_catalog(table, tmp_path / "c", ["fits", "ecsv"])
    back = Table.read(tmp_path / "c.fits")
    assert set(table.colnames) - set(back.colnames) == {
        f"a{k}_re_{suffix}" for k in range(130) for suffix in ("err_minus", "err_plus", "mean")
    }
    assert Table.read(tmp_path / "c.ecsv").colnames == table.colnames


def test_other_programs_read_the_votable(survey, tmp_path):
    """STIL reads no bits in binary tables, and wants every ID once."""
    table = build_catalog(survey)
    table.meta |= {"zero point": 27.0, "survey": "this"}
    (path,) = write_catalog(table, tmp_path / "c", ["votable"])
    text = path.read_text()
    ids = re.findall(r'\bID="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert 'datatype="bit"' not in text
    assert 'datatype="boolean"' in text
    back = Table.read(path)
    assert back["converged"].tolist() == table["converged"].tolist()
    if shutil.which("stilts"):
        command = ["stilts", "tpipe", f"in={path}", "cmd=keepcols 'target converged galaxy_re'", "ofmt=csv"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert lines[0] == "target,converged,galaxy_re"
        assert lines[1].startswith("a,true,10800.0")
        report = subprocess.run(["stilts", "votlint", str(path)], check=True, capture_output=True, text=True)
        assert "ERROR" not in report.stdout + report.stderr


def test_which_parameter_is_at_the_edge(tmp_path):
    for name, probability in (("inside", 0.0), ("edge", 0.5)):
        quality = {"edge_probability": probability, "edge_parameter": "galaxy.ns"}
        gaussian({"galaxy.re": 1.0}, fit=quality).save(tmp_path / f"{name}.h5")
    table = build_catalog([("t", name, tmp_path / f"{name}.h5") for name in ("inside", "edge")])
    assert list(table["edge_parameter"]) == ["", "galaxy.ns"]
