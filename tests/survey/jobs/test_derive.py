"""Derived quantities of a survey's fits, at the fit and made anew."""

import gzip
import shutil

import h5py
import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

from socca.cli import app
from socca.data import Image
from socca.fitting.goodness_of_fit import describe_image
from socca.fitting.quantities import quantities_of
from socca.likelihood.problem import Problem
from socca.models import Model, Point
from socca.noise import Normal
from socca.priors import uniform
from socca.survey.freshness.stamps import jobs_to_run, stamp_of, write_chunk_stamp, write_fit_stamp
from socca.survey.survey import Survey

STAR = {
    "components": {
        "star": {"type": "Gaussian", "xc": 0, "yc": 0, "rs": "2 pix", "e": 0.2, "Is": {"uniform": [0, 100]}},
        "sky": {"type": "Background", "a0": 0},
    }
}
RUNNER = CliRunner()


@pytest.fixture
def config(tmp_path):
    """Write a survey of two Gaussians, of known fluxes, and return a function that writes its config."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:31, :31] - 15
    for name, peak in (("a", 20.0), ("b", 60.0)):
        light = peak * np.exp(-(y**2 + (x / 0.8) ** 2) / 8) + rng.normal(size=(31, 31))
        fits.PrimaryHDU(light, fits.Header({"BUNIT": "nJy", "MAGZP": 26.0})).writeto(tmp_path / f"{name}.fits")
    (tmp_path / "targets.csv").write_text("target,image,zp,z\na,a.fits,25.5,0.1\nb,b.fits,27.5,0.3\n")

    def write(chunk=1, **image):
        settings = {
            "survey": "stars",
            "targets": "targets.csv",
            "output": str(tmp_path / "results"),
            "models": {"star": STAR},
            "image": {"pixel_scale": "0.2 arcsec", **image},
            "noise": {"level": 1.0},
            "sampler": {"method": "optimizer", "options": {"n_samples": 500}},
            "batch": {"chunk": chunk},
            "catalog": {"columns": ["z"], "formats": ["fits", "ecsv", "votable", "parquet"]},
            "outputs": {"model_images": "none", "figures": "none"},
        }
        path = tmp_path / "survey.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    return write


def run(*words):
    found = RUNNER.invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.output


def catalog(path):
    run("catalog", "--config", path)
    return Table.read(Survey.load(path).config.folder / "catalog.ecsv")


def flux(peak):
    """Return the flux of a Gaussian whose peak is given."""
    return 2 * np.pi * 4 * 0.8 * peak


@pytest.mark.parametrize("chunk", [1, 10])
def test_magnitudes_come_with_a_zero_point_without_a_new_fit(config, chunk):
    path = config(chunk)
    run("fit", "--config", path)
    before = catalog(path)
    assert "star_mag" not in before.colnames
    assert before["star_flux"] == pytest.approx([flux(20), flux(60)], rel=0.1)
    assert str(before["star_flux"].unit) == "nJy"
    assert before["star_r50"] == pytest.approx(0.4 * np.sqrt(2 * np.log(2)), rel=1e-3)
    assert before["z"].tolist() == [0.1, 0.3]

    zero_points = {27.0: [27.0, 27.0], "$zp": [25.5, 27.5], "header:MAGZP": [26.0, 26.0], "AB": [31.4, 31.4]}
    for given, expected in zero_points.items():
        path = config(chunk, zero_point=given)
        assert "2 of 2 fit(s)" in run("derive", "--config", path)
        now = catalog(path)
        assert list(now["status"]) == ["done", "done"]
        # AB magnitudes of 1 nJy: 31.4000, with the zero point of 3631 Jy.
        assert now["star_mag"] == pytest.approx(np.array(expected) - 2.5 * np.log10(before["star_flux"]), abs=1e-3)
        assert now["zero_point"] == pytest.approx(expected, abs=1e-4)
        for name in ("logz", "star_Is", "star_flux", "wall_time"):
            assert now[name].tolist() == before[name].tolist(), name


def test_chosen_targets_and_quantities(config, tmp_path):
    path = config(10, zero_point=27.0)
    run("fit", "--config", path)
    text = path.read_text() + "derived: {quantities: [q, petrosian]}\n"
    path.write_text(text)
    assert "1 of 1 fit(s)" in run("derive", "--config", path, "--target", "b")
    now = catalog(path)
    assert np.ma.getmaskarray(now["star_petrosian"]).tolist() == [True, False]
    assert np.ma.getmaskarray(now["star_mag"]).tolist() == [False, True]
    assert now["star_q"] == pytest.approx([0.8, 0.8])


def test_what_cannot_be_derived_keeps_what_it_has(config, tmp_path):
    path = config(1, zero_point=27.0)
    run("fit", "--config", path)
    before = catalog(path)
    shutil.move(tmp_path / "a.fits", tmp_path / "gone.fits")
    (tmp_path / "a.fits").write_bytes(gzip.compress(b"no image"))
    path = config(1, zero_point=28.0)
    assert "1 of 2 fit(s)" in run("derive", "--config", path)
    shutil.move(tmp_path / "gone.fits", tmp_path / "a.fits")
    now = catalog(path)
    assert now["star_mag"].tolist() == pytest.approx([before["star_mag"][0], before["star_mag"][1] + 1])


@pytest.mark.parametrize("zero_point", ["header:NONE", "header:BUNIT", "$nothing"])
def test_a_wrong_zero_point_costs_no_fit(config, zero_point):
    path = config(1, zero_point=zero_point)
    run("fit", "--config", path)
    found = catalog(path)
    assert list(found["status"]) == ["done", "done"]
    assert "star_mag" not in found.colnames
    assert np.ma.getmaskarray(found["zero_point"]).all()
    path = config(1, zero_point=27.0)
    assert "2 of 2 fit(s)" in run("derive", "--config", path)
    assert not np.ma.getmaskarray(catalog(path)["star_mag"]).any()


@pytest.mark.parametrize("chunk", [1, 10])
def test_what_is_up_to_date_stays_so(config, chunk):
    """After `derive`, no job runs; the catalogue says where it is needed."""
    path = config(chunk, zero_point=27.0)
    run("fit", "--config", path)
    survey = Survey.load(path)
    for job in jobs_to_run(survey):
        if survey.chunked:
            write_chunk_stamp(stamp_of(survey, job), job)
        else:
            write_fit_stamp(stamp_of(survey, job), survey, *job)
    assert jobs_to_run(survey) == []
    assert catalog(path)["flags"].tolist() == [0, 0]
    path = config(chunk, zero_point=26.0)
    assert "2 fit(s) have other derived quantities" in run("catalog", "--config", path)
    assert list(catalog(path)["flag_names"]) == ["quantities_outdated"] * 2
    run("derive", "--config", path)
    assert catalog(path)["flags"].tolist() == [0, 0]
    assert jobs_to_run(Survey.load(path)) == []


def test_results_of_another_model_keep_their_quantities(config):
    path = config(10, zero_point=27.0)
    run("fit", "--config", path)
    before = catalog(path)
    text = path.read_text()
    assert "rs: 2 pix" in text
    path.write_text(text.replace("rs: 2 pix", "rs: 4 pix"))
    assert "0 of 2 fit(s)" in run("derive", "--config", path)
    path.write_text(text)
    now = catalog(path)
    assert list(now["status"]) == ["done", "done"]
    assert now["star_flux"].tolist() == before["star_flux"].tolist()


def test_one_damaged_fit_costs_only_itself(config):
    path = config(10)
    run("fit", "--config", path)
    (chunk,) = Survey.load(path).chunks
    with h5py.File(chunk.path(Survey.load(path).config.folder), "r+") as opened:
        opened["fits/a/samples"][0] = 3.0
    path = config(10, zero_point=27.0)
    assert "1 of 2 fit(s)" in run("derive", "--config", path)
    found = catalog(path)
    assert found["star_mag"][1] == pytest.approx(27 - 2.5 * np.log10(found["star_flux"][1]), abs=1e-3)


def test_zero_points_of_surface_brightnesses():
    """A number is the magnitude of a source whose pixels sum to one, whatever the unit; AB says what that is."""
    header = fits.Header({"BUNIT": "MJy/sr"})
    area = float(np.radians(0.2 / 3600) ** 2)
    plane = fits.PrimaryHDU(np.random.default_rng(1).normal(size=(15, 15)), header)
    for given, expected in ((28.0, 28.0), ("AB", -2.5 * np.log10(1e6 * area / 3631))):
        image = Image(plane, pixel_scale=0.2, noise=Normal(sigma=1.0), zero_point=given)
        assert image.zero_point == pytest.approx(expected)
        problem = Problem(image, Model(Point(xc=0.0, yc=0.0, Ic=uniform(0, 10))))
        (mag, flux) = (
            quantities_of(problem, np.array([[2.0]]), describe_image(image, None))[f"comp_00.{name}"]
            for name in ("mag", "flux")
        )
        assert mag.values == pytest.approx(expected - 2.5 * np.log10(2), abs=1e-5)
        assert flux.values == pytest.approx(2 * area, rel=1e-6)
        assert flux.unit == "MJy"


def test_quantities_of_the_users_own(config):
    path = config(10, zero_point=27.0)
    extra = {
        "half_mag": "star.mag + 2.5 * log10(2)",
        "area": {"value": "pi * star.rs^2 * (1 - star.e)", "unit": "deg2", "description": "area within a sigma"},
        "five": "gamma(4) - exp(lgamma(1))",
        "without": "other.q",
    }
    text = yaml.safe_load(path.read_text())
    text["models"]["another"] = {"components": {"other": STAR["components"]["star"], "sky": STAR["components"]["sky"]}}
    text["derived"] = {"extra": extra}
    path.write_text(yaml.safe_dump(text))
    run("fit", "--config", path)
    now = catalog(path)
    rows = {(row["target"], row["model"]): row for row in now}
    row = rows["a", "star"]
    assert row["half_mag"] == pytest.approx(row["star_mag"] + 0.7526, abs=1e-3)
    assert row["area"] == pytest.approx(np.pi * (0.4 / 3600) ** 2 * 0.8, rel=1e-5)
    assert row["five"] == pytest.approx(5)
    assert row["without"] is np.ma.masked
    assert rows["b", "another"]["without"] == pytest.approx(0.8)
    assert rows["b", "another"]["half_mag"] is np.ma.masked
    assert str(now["area"].unit) == "deg2"
    assert now["area"].description == "area within a sigma: median"


@pytest.mark.parametrize(
    ("expression", "message"),
    [("star.fluxx", "there is no 'star.fluxx'; did you mean 'star.flux'"), ("sta.flux", "no model has a component")],
)
def test_wrong_expressions(config, expression, message):
    path = config(1)
    path.write_text(path.read_text() + f"derived: {{extra: {{wrong: {expression}}}}}\n")
    run("fit", "--config", path)
    found = catalog(path)
    assert list(found["status"]) == ["failed", "failed"]
    assert message in str(found["message"][0])
