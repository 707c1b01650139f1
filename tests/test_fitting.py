"""The script of the README: image, model, fitter."""

import numpy as np
import pytest
from astropy.io import fits

import socca
from socca.data import Image
from socca.models import Background, Gaussian, Model
from socca.noise import Normal
from socca.priors import normal, uniform

SCALE = 0.2 / 3600


@pytest.fixture(scope="module")
def fit():
    y, x = np.mgrid[:25, :25] - 12.0
    data = 30 * np.exp(-(x**2 + y**2) / 2 / 2.5**2) + np.random.default_rng(0).normal(size=(25, 25))
    img = Image(data, noise=Normal(sigma=1.0), pixel_scale=0.2)
    mod = Model(Gaussian(xc=0.0, yc=0.0, rs=uniform(SCALE, 6 * SCALE), Is=uniform(1, 100)))
    mod.addcomponent(Background(a0=normal(0, 1)))
    fit = socca.fitter(img=img, mod=mod)
    fit.run(method="optimizer", seed=3)
    return fit


def test_results_are_there(fit):
    n = len(fit.samples)
    assert fit.samples.shape == (n, 3)
    assert fit.weights.shape == fit.logw.shape == (n,)
    assert fit.weights.sum() == pytest.approx(1)
    assert np.isfinite(fit.logz)
    assert fit.labels == ["comp_00_rs", "comp_00_Is", "comp_01_a0"]
    assert fit.units == ["deg", "image", "image"]
    assert "comp_00_rs" in fit.parameters()
    # 2.5 pixels, to about 0.5 / sqrt(flux in units of the noise): a percent or two.
    assert fit.posterior.median()[0] / SCALE == pytest.approx(2.5, rel=0.06)


def test_model_at_the_best_sample(fit):
    drawn = fit.getmodel()
    assert drawn.smoothed.shape == fit.img.shape
    np.testing.assert_array_equal(fit.getmodel("background"), drawn.background)
    alone = fit.getmodel(component="comp_01")
    assert not alone.raw.any()
    chi2 = np.mean((fit.img.data - drawn.smoothed - drawn.background) ** 2)
    assert chi2 == pytest.approx(1, abs=4 * np.sqrt(2 / 625))
    with pytest.raises(ValueError, match="background"):
        fit.getmodel("everything")


def test_files(fit, tmp_path):
    fit.savemodel(tmp_path / "model.fits")
    with fits.open(tmp_path / "model.fits") as hdus:
        assert "COMP_00" in hdus
    fit.plot.comparison(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 5000
    fit.dump(tmp_path / "fit.h5")
    again = socca.load(tmp_path / "fit.h5")
    np.testing.assert_array_equal(again.samples, fit.samples)
    assert again.logz == fit.logz


def test_next_run_sees_a_change(fit):
    other = socca.fitter(fit.img, Model(Gaussian(xc=0.0, yc=0.0, rs=2.5 * SCALE, Is=uniform(1, 100))))
    first = other.run("optimizer", seed=1).median()[0]
    other.mod.components[0].rs = 5 * SCALE
    assert other.run("optimizer", seed=1).median()[0] < 0.8 * first


def test_mistakes(fit):
    with pytest.raises(ValueError, match="nautilus"):
        fit.run("nautlius")
    with pytest.raises(ValueError, match="n_starts"):
        fit.run("optimizer", n_start=3)
    with pytest.raises(ValueError, match="not both"):
        fit.run("nautilus", ncores=2, pool=2)
    with pytest.raises(ValueError, match="run"):
        _ = socca.fitter(fit.img, fit.mod).samples
