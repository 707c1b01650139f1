"""What a check finds in real surveys, and what the fits of the same targets are then."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from socca.cli import app
from socca.fitting.plausibility.doubts import MEANINGS
from socca.survey.catalog import build_catalog
from socca.survey.check import shared_files
from socca.survey.check.inputs import Severity, check_survey
from socca.survey.check.parallel import check_with_processes
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey

N = 31


def blob(n=N, wide=4.0, high=3.0):
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return np.exp(-np.hypot(x / wide, y / high))


@pytest.fixture
def make(tmp_path, write_fits, monkeypatch):
    """Give a function that writes a survey of one bright galaxy under several rows, and loads it."""
    monkeypatch.chdir(tmp_path)
    data = 40 * blob() + np.random.default_rng(3).normal(size=(N, N))
    write_fits(tmp_path / "a.fits", data.astype("f4"))
    write_fits(tmp_path / "sigma.fits", np.ones((N, N), "f4"))

    def survey(rows, galaxy=None, **sections):
        columns = ["target", "image", "sigma"]
        rows = [{"image": "a.fits", "sigma": "sigma.fits"} | row for row in rows]
        columns += sorted({key for row in rows for key in row} - set(columns))
        with (tmp_path / "t.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        component = {
            "type": "Sersic",
            "position": {"within": "1 arcsec"},
            "theta": {"uniform": [0, "180 deg"]},
            "e": {"uniform": [0, 0.9]},
            "re": {"loguniform": ["0.1 arcsec", "4 arcsec"]},
            "Ie": {"loguniform": [0.1, 1000]},
            "ns": 1,
        } | (galaxy or {})
        config = {
            "survey": "s",
            "targets": "t.csv",
            "image": {"pixel_scale": "0.2 arcsec"},
            "models": {"m": {"components": {"g": component}}},
            "sampler": {"method": "optimizer", "options": {"n_draws": 50, "n_starts": 1, "n_samples": 100}},
            "outputs": {"figures": "none", "model_images": "none"},
        } | sections
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
        return Survey.load(tmp_path / "c.yaml")

    return survey


def found(survey):
    return [(finding.target, finding.flag, finding.severity) for finding in check_survey(survey)]


def fitted(survey):
    """Fit all targets; return status, flags and message of each."""
    list(fit_all(survey, survey.jobs()))
    table = build_catalog(survey.results(), survey.config.flags)
    return {
        str(row["target"]): (str(row["status"]), set(str(row["flag_names"]).split(",")), row["message"])
        for row in table
    }


def test_targets_that_are_not_on_their_image(make, tmp_path, make_header):
    """Two are far off, so that a fit is refused; of one, a quarter of the prior is on the image, and it is flagged."""
    data = fits.getdata("a.fits")
    for name, offset in (("own", (0, 0)), ("near", (-16, -16))):
        fits.PrimaryHDU(data, make_header((N, N), offset=offset)).writeto(f"{name}.fits")
    at = {"ra": 150.0, "dec": 2.0}
    survey = make(
        [
            {"target": "good", "image": "own.fits", **at},
            {"target": "other", "image": "own.fits", "ra": 150.5, "dec": 2.0},
            {"target": "nowcs", **at},
            {"target": "near", "image": "near.fits", **at},
        ],
        {"position": {"center": ["$ra", "$dec"], "within": "1 arcsec"}},
    )
    assert found(survey) == [
        ("other", "off_image", Severity.PROBLEM),
        ("nowcs", "off_image", Severity.PROBLEM),
        ("near", "off_image", Severity.DOUBT),
    ]
    results = fitted(survey)
    assert results["good"] == ("done", {""}, "")
    for name, file in (("other", "own.fits"), ("nowcs", "a.fits")):
        status, _, message = results[name]
        assert status == "failed"
        assert "off the image" in message
        assert file in message
    status, flags, _ = results["near"]
    assert status == "done"
    assert "off_image" in flags


def gaussian(n, sigma, center=None):
    y, x = np.mgrid[:n, :n] - ((n - 1) / 2 if center is None else center)
    return np.exp(-(x**2 + y**2) / 2 / sigma**2)


def test_masks_and_psfs(make, tmp_path, write_fits):
    """All of these can be fitted, and may even be meant: each fit has its flag.

    The source is a star and all PSFs have one shape, so that one small program serves all fits.
    """
    star = 40 * gaussian(N, 1.5) + np.random.default_rng(3).normal(size=(N, N))
    write_fits(tmp_path / "a.fits", star.astype("f4"))
    write_fits(tmp_path / "detected.fits", np.where(np.abs(np.arange(N) - 15) < 7, 32, 0) * np.ones((N, 1), "i4"))
    write_fits(tmp_path / "psf.fits", gaussian(16, 1.5))
    write_fits(tmp_path / "even.fits", gaussian(16, 1.5, 8.0))
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600})
    write_fits(tmp_path / "fine.fits", gaussian(16, 3), header)
    expected = {"masked": "target_masked", "even": "psf_center", "fine": "psf_scale"}
    point = {"type": "Point", "position": {"within": "1 arcsec"}, "Ic": {"loguniform": [10, 1e5]}}
    survey = make(
        [
            {"target": "good", "psf": "psf.fits"},
            {"target": "masked", "psf": "psf.fits", "mask": "detected.fits"},
            {"target": "even", "psf": "even.fits"},
            {"target": "fine", "psf": "fine.fits"},
        ],
        models={"m": {"components": {"star": point}}},
    )
    findings = list(check_survey(survey))
    assert {finding.target: finding.flag for finding in findings} == expected
    assert {finding.target: finding.file for finding in findings} == {
        "masked": "a.fits",
        "even": "even.fits",
        "fine": "fine.fits",
    }
    (even,) = [str(finding) for finding in findings if finding.target == "even"]
    assert even.startswith("even: psf_center: ")
    assert "image.psf.center" in even
    results = fitted(survey)
    assert {name: status for name, (status, _, _) in results.items()} == dict.fromkeys(results, "done")
    assert results["good"][1] == {""}
    assert all(flag in results[name][1] for name, flag in expected.items())


def test_numbers_without_a_unit(make):
    """Sizes in degrees for arcsec, an angle in radians for degrees, a distance in degrees, an intensity in maggies."""
    galaxy = {
        "re": {"uniform": [0.2, 20]},
        "theta": {"uniform": [0, 180]},
        "position": {"within": 2},
        "Ie": {"loguniform": [1e-13, 1e-8]},
    }
    flags = {"size_prior", "angle_prior", "wide_position", "intensity_prior"}
    survey = make([{"target": "a"}], galaxy)
    findings = list(check_survey(survey))
    assert {finding.flag for finding in findings} == flags
    assert len(findings) == 4
    assert all(finding.severity is Severity.DOUBT and "g" in finding.message for finding in findings)
    for name, value in galaxy.items():
        assert len(found(make([{"target": "a"}], {name: value}))) == 1
    status, of_fit, _ = fitted(make([{"target": "a"}], {"theta": galaxy["theta"]}))["a"]
    assert status == "done"
    assert "angle_prior" in of_fit


@pytest.mark.parametrize("scale", [5.5e-5, 2e4])
def test_a_pixel_scale_without_a_unit_that_cannot_be_arcsec(make, scale):
    survey = make([{"target": "a"}], image={"pixel_scale": scale})
    (finding,) = check_survey(survey)
    assert finding.severity is Severity.PROBLEM
    assert "image.pixel_scale" in finding.message
    assert "'0.2 arcsec'" in finding.message
    assert fitted(survey)["a"][0] == "failed"
    assert found(make([{"target": "a"}], image={"pixel_scale": 0.2})) == []


def test_noise_that_nothing_is_seen_above(make, tmp_path, write_fits):
    """A sigma map that is given as a variance: of small numbers, it is far above all pixels."""
    write_fits(tmp_path / "small.fits", 1e-12 * fits.getdata("a.fits").astype(float))
    write_fits(tmp_path / "level.fits", np.full((N, N), 1e-12))
    rows = [
        {"target": "sigma", "image": "small.fits", "sigma": "level.fits"},
        {"target": "variance", "image": "small.fits", "sigma": "", "variance": "level.fits"},
    ]
    survey = make(rows, {"Ie": {"loguniform": [1e-13, 1e-9]}})
    (finding,) = check_survey(survey)
    assert (finding.target, finding.flag, finding.severity) == ("variance", "noise_level", Severity.PROBLEM)
    assert "as a sigma it would agree" in finding.message
    assert finding.file == "level.fits"
    results = fitted(survey)
    assert results["sigma"][0] == "done"
    assert results["variance"][0] == "failed"
    assert "level" not in results["sigma"][1]


def test_a_constant_image_is_refused(make, tmp_path, write_fits):
    write_fits(tmp_path / "flat.fits", np.full((N, N), 7.0))
    survey = make([{"target": "flat", "image": "flat.fits"}, {"target": "good"}])
    assert found(survey) == [("flat", "constant_image", Severity.PROBLEM)]
    assert {name: status for name, (status, _, _) in fitted(survey).items()} == {"flat": "failed", "good": "done"}


def test_the_report(make, tmp_path, write_fits, capsys):
    """One line for a message and then its number, every finding counted, and a warning alone is no failure."""
    n = 12
    for k in range(n):  # each off by another distance
        header = fits.Header({"CRVAL1": 10.0, "CRVAL2": 0.0, "CRPIX1": 16.0 + 20 + k, "CRPIX2": 16.0})
        header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -5.5e-5, "CDELT2": 5.5e-5})
        write_fits(tmp_path / f"{k}.fits", fits.getdata("a.fits"), header)
    make(
        [{"target": f"t{k}", "image": f"{k}.fits"} for k in range(n)],
        {"position": {"center": [10, 0], "within": "1 arcsec"}},
    )

    def said(*arguments):
        with pytest.raises(SystemExit) as ended:
            app(["check", "--config", "c.yaml", *arguments])
        return ended.value.code, capsys.readouterr().out.splitlines()

    code, lines = said()
    assert code == 1
    assert [line.split(":")[0] for line in lines[:5]] == ["t0", "t1", "t2", "t3", "t4"]
    others = ", ".join(f"t{k}" for k in range(5, n))
    assert lines[5] == f"7 more target(s) ({others}): off_image: {MEANINGS['off_image']}"
    assert lines[6:] == ["12 target(s), 12 fit(s): 12 with doubts"]
    code, lines = said("--every")
    assert len(lines) == n + 1
    assert all(f"({k}.fits)" in line for k, line in enumerate(lines[:-1]))

    narrow = np.zeros((5, 5))
    narrow[2, 2] = 1.0
    write_fits(tmp_path / "narrow.fits", narrow)
    make([{"target": f"t{k}", "psf": "narrow.fits"} for k in range(3)])
    code, (first, more, summary) = said()
    assert code == 0
    assert first.startswith("t0: warning: psf: it is narrower than its pixels can tell")
    assert first.endswith("(narrow.fits)")
    assert more.startswith("2 more target(s) (t1, t2): psf: it is narrower")
    assert summary == "3 target(s), 3 fit(s): nothing wrong, 3 with warnings"


def test_a_shared_file_is_read_once_and_a_bad_one_is_told_of_each_target(make, tmp_path, write_fits, monkeypatch):
    read = Counter()
    original = shared_files.read_file

    def counted(kind, target, *rest):
        read[kind] += 1
        return original(kind, target, *rest)

    monkeypatch.setattr(shared_files, "read_file", counted)
    write_fits(tmp_path / "psf.fits", blob(9, 2, 2))
    rows = [{"target": f"t{k}", "psf": "psf.fits"} for k in range(4)]
    assert found(make(rows)) == []
    assert read == {"image": 1, "sigma": 1, "psf": 1}
    (tmp_path / "psf.fits").write_bytes(b"no FITS")
    findings = list(check_survey(make(rows)))
    assert [finding.target for finding in findings] == ["t0", "t1", "t2", "t3"]
    assert all(finding.file == "psf.fits" and finding.severity is Severity.PROBLEM for finding in findings)


def test_what_is_put_right_in_a_shared_image_is_told_of_each_target_once(make, tmp_path, make_header):
    header = make_header((N, N))
    header["CRVAL1"] = "150.0"
    fits.PrimaryHDU(fits.getdata("a.fits"), header).writeto(tmp_path / "text.fits")
    rows = [{"target": f"t{k}", "image": "text.fits", "mask": "text.fits" if k == 2 else ""} for k in range(3)]
    findings = [finding for finding in check_survey(make(rows)) if "CRVAL1" in finding.message]
    assert [finding.target for finding in findings if finding.message.startswith("image")] == ["t0", "t1", "t2"]
    assert {finding.severity for finding in findings} == {Severity.WARNING}


def test_models_of_equal_columns_are_shared_and_others_are_not(make):
    """A target whose column makes its model wrong is found among hundreds whose model is the same."""
    rows = [{"target": f"t{k}", "flat": 0.3, "other": k} for k in range(20)]
    rows[7]["flat"], rows[11]["flat"] = 7.0, ""
    findings = list(check_survey(make(rows, {"e": "$flat"})))
    assert [finding.target for finding in findings] == ["t7", "t11"]
    assert all(Path(finding.file).name == "t.csv" for finding in findings)
    lengths = [{"target": "small", "size": 1.0}, {"target": "large", "size": 3600.0}]
    assert found(make(lengths, {"re": "$size arcsec"})) == [("large", "size_prior", Severity.DOUBT)]


def test_every_model_is_checked_for_what_only_compiling_shows(make):
    """Of two overrides, one can be marginalised and the other not: neither is taken for the other."""
    sampler = {"method": "optimizer", "marginalize": True, "options": {"n_draws": 50}}
    survey = make(
        [{"target": "a"}, {"target": "b"}, {"target": "c"}],
        {"Ie": {"uniform": [0, 1000]}},
        sampler=sampler,
        overrides={"b": {"models": {"m": {"components": {"g": {"Ie": {"loguniform": [1, 1000]}}}}}}},
    )
    (finding,) = check_survey(survey)
    assert finding.target == "b"
    assert "marginalize" in finding.message


def test_the_command_names_no_traceback(make, tmp_path):
    make([{"target": "a", "image": "none.fits"}, {"target": "b"}])
    run = subprocess.run(
        [sys.executable, "-m", "socca.cli", "check", "--config", "c.yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert run.stdout.splitlines() == [
        "a: image: no such file: none.fits",
        "2 target(s), 2 fit(s): 1 with problems",
    ]
    assert run.stderr == ""


def test_several_processes_find_the_same(make, tmp_path):
    rows = [{"target": f"t{k}", "flat": 0.3} for k in range(6)]
    rows[1]["flat"], rows[4]["image"] = 7.0, "none.fits"
    survey = make(rows, {"e": "$flat", "theta": {"uniform": [0, 180]}})
    alone = list(check_survey(survey))
    assert len(alone) == 6
    assert list(check_with_processes(survey, tmp_path / "c.yaml", processes=2)) == alone
