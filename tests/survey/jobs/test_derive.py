"""Derived quantities of a survey's fits, at the fit and made anew."""

import gzip
import shutil

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

from socca.cli import app
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


@pytest.mark.parametrize(
    ("zero_point", "message"),
    [("header:NONE", "no card 'NONE'"), ("header:BUNIT", "expected a number"), ("$nothing", "no numeric column")],
)
def test_wrong_zero_points(config, zero_point, message):
    path = config(1, zero_point=zero_point)
    run("fit", "--config", path)
    found = catalog(path)
    assert list(found["status"]) == ["failed", "failed"]
    assert all(message in str(text) for text in found["message"])
