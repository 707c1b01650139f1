"""The script of the README: image, model, fitter."""

import numpy as np
import pytest
from astropy.io import fits

import socca
from socca.data import Image
from socca.errors import DataError
from socca.fitting.null_evidence import null_evidence
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model
from socca.noise import Normal, StudentT
from socca.priors import normal, uniform

SCALE = 0.2 / 3600


def make_model():
    """Return the model of all fits here: of one structure, so that it is compiled once."""
    mod = Model(Gaussian(xc=0.0, yc=0.0, rs=uniform(SCALE, 6 * SCALE), Is=uniform(1, 100)))
    mod.addcomponent(Background(a0=normal(0, 1)))
    return mod


@pytest.fixture(scope="module")
def fit():
    y, x = np.mgrid[:25, :25] - 12.0
    data = 30 * np.exp(-(x**2 + y**2) / 2 / 2.5**2) + np.random.default_rng(0).normal(size=(25, 25))
    img = Image(data, noise=Normal(sigma=1.0), pixel_scale=0.2)
    fit = socca.fitter(img=img, mod=make_model())
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
    assert "comp_00_rs" in fit.posterior.parameters()
    # 2.5 pixels, to about 0.5 / sqrt(flux in units of the noise): a percent or two.
    assert fit.posterior.median()[0] / SCALE == pytest.approx(2.5, rel=0.06)


def test_its_record(fit):
    record = fit.posterior.record
    assert (record.target, record.model, record.files) == ("", "", {})
    assert (record.sampler.method, record.sampler.seed, record.n_data) == ("optimizer", 3, 625)
    assert (record.image.n_pixels, record.image.shape) == (625, (25, 25))
    # As results of a survey have it. Of 625 pixels of unit noise: five standard deviations of sqrt(2 / 625).
    quality = record.quality
    assert quality.chi2_red == pytest.approx(1, abs=5 * np.sqrt(2 / 625))
    residual = fit.img.data - fit.getmodel("total", statistic="best")
    assert quality.chi2_red == pytest.approx(np.sum(residual**2) / (625 - 3), rel=1e-9)
    source = fit.getmodel("sources", statistic="best") > 1
    assert quality.n_source == source.sum()
    assert quality.chi2_source == pytest.approx(np.mean(residual[source] ** 2), rel=1e-9)
    assert quality.max_log_likelihood == fit.posterior.log_likelihood.max()
    assert quality.edge_probability == 0


def test_model_at_the_best_sample(fit):
    drawn = fit.getmodel(statistic="best")
    assert drawn.smoothed.shape == fit.img.shape
    np.testing.assert_array_equal(fit.getmodel("background", statistic="best"), drawn.background)
    alone = fit.getmodel(component="comp_01")
    assert not alone.raw.any()
    chi2 = np.mean((fit.img.data - drawn.smoothed) ** 2)
    assert chi2 == pytest.approx(1, abs=4 * np.sqrt(2 / 625))
    with pytest.raises(ValueError, match="background"):
        fit.getmodel("everything")


@pytest.mark.parametrize("noise", [Normal, StudentT])
def test_model_on_another_image(noise):
    img = Image(np.random.default_rng(0).normal(size=(9, 9)), noise=noise(sigma=np.ones((9, 9))), pixel_scale=0.2)
    img.noise.scale = uniform(0.5, 2)
    mod = Model(Background(a0=normal(0, 1), a1x=lambda noise_scale: noise_scale / 10))
    fit = socca.fitter(img, mod)
    fit.run("optimizer", seed=1, n_draws=100)
    other = Image(np.zeros((11, 12)), pixel_scale=0.2)
    drawn = fit.getmodel(img=other, statistic="best")
    assert drawn.smoothed.shape == (11, 12)
    a0, scale = fit.posterior.best
    slope = np.mean(np.diff(drawn.background, axis=1))
    assert drawn.background.mean() == pytest.approx(a0, abs=1e-12)
    assert slope == pytest.approx(-0.2 * scale / 10, rel=1e-9)


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


def test_pixelwise_statistics(fit, monkeypatch):
    """Over the same samples as one by one; the sky's in closed form."""
    rows = fit.posterior.equal_weights(40, np.random.default_rng([2, 5]))
    drawn = [fit.problem.render(row, response=False, exposure=False) for row in rows]
    total = np.array([one.total for one in drawn])
    options = {"n_draws": 40, "seed": 2}
    median = fit.getmodel("total", statistic="pixel_median", **options)
    np.testing.assert_allclose(median, np.median(total, axis=0), rtol=1e-12)
    std = fit.getmodel("total", statistic="pixel_std", **options)
    np.testing.assert_allclose(std, np.std(total, axis=0, ddof=1), rtol=1e-9, atol=1e-12)
    sky = fit.getmodel(component="comp_01", statistic="pixel_std", **options)
    np.testing.assert_allclose(sky.background, np.std(rows[:, 2], ddof=1), rtol=1e-9)
    assert not fit.getmodel("sources", "comp_01", statistic="pixel_std", **options).any()
    # In blocks of a few pixels, and another seed.
    monkeypatch.setattr("socca.posterior.pixelwise._HELD", 40 * 100)
    np.testing.assert_array_equal(fit.getmodel("total", statistic="pixel_median", **options), median)
    assert np.any(fit.getmodel("total", statistic="pixel_median", n_draws=40, seed=3) != median)


def test_statistics_by_name(fit):
    best, median = fit.getmodel("total", statistic="best"), fit.getmodel("total")
    np.testing.assert_array_equal(best, fit.problem.render(fit.posterior.best).total)
    np.testing.assert_array_equal(median, fit.problem.render(fit.posterior.median()).total)
    np.testing.assert_array_equal(fit.getmodel("total", statistic="median", usebest=False), median)
    assert np.any(best != median)
    # Close to one another, in units of the deviation.
    middle, std = (fit.getmodel("total", statistic=f"pixel_{which}") for which in ("median", "std"))
    assert np.all(np.abs(middle - median) < std)
    assert std.max() < 1
    with pytest.raises(ValueError, match="pixel_median"):
        fit.getmodel(statistic="pixel_medain")
    with pytest.raises(ValueError, match="n_draws"):
        fit.getmodel(statistic="pixel_std", n_draws=1)


def test_saved_medians(fit, tmp_path):
    fit.savemodel(tmp_path / "model.fits", statistic="pixel_median", n_draws=40, seed=2)
    median = fit.getmodel("total", statistic="pixel_median", n_draws=40, seed=2)
    with fits.open(tmp_path / "model.fits") as hdus:
        np.testing.assert_allclose(hdus["MODEL"].data, median, rtol=1e-6)
        np.testing.assert_allclose(hdus["RESIDUAL"].data, fit.img.data - median, rtol=1e-4, atol=1e-5)
        std = fit.getmodel("total", statistic="pixel_std", n_draws=40, seed=2)
        np.testing.assert_allclose(hdus["MODEL_STD"].data, std, rtol=1e-5)
        np.testing.assert_allclose(hdus["COMP_01"].data, np.median(hdus["COMP_01"].data), rtol=1e-6)
    with pytest.raises(ValueError, match="MODEL_STD"):
        fit.savemodel(tmp_path / "other.fits", statistic="pixel_std")


def test_figures_and_criteria(fit, tmp_path):
    for name in ("corner", "trace", "profile"):
        path = getattr(fit.plot, name)(tmp_path / f"{name}.png")
        assert path.stat().st_size > 20_000
    # Three parameters, 625 pixels of unit noise.
    assert fit.bic() - fit.aic() == pytest.approx(3 * (np.log(625) - 2))
    waic, loo = fit.waic(n_draws=500), fit.loo(n_draws=500)
    assert waic.p_eff == pytest.approx(3, abs=1.2)
    assert waic.elpd == pytest.approx(loo.elpd, abs=0.2)
    assert loo.n_bad == 0
    assert fit.aic() == pytest.approx(waic.ic, abs=3)


def test_what_a_loaded_posterior_can_do(fit, tmp_path):
    fit.dump(tmp_path / "fit.h5")
    again = socca.load(tmp_path / "fit.h5")
    again = again.posterior
    assert again.parameters() == fit.posterior.parameters()
    assert again.bmc(verbose=False) == pytest.approx(fit.bmc(verbose=False), nan_ok=True)
    assert (again.aic(), again.bic()) == (fit.aic(), fit.bic())
    assert again.k_hat() == fit.posterior.k_hat() < 0.5  # Laplace's approximation is good here
    assert again.to_table().colnames[:3] == fit.labels
    assert list(again.to_arviz().posterior) == fit.labels
    for name in ("corner", "trace"):
        assert getattr(again.plot, name)(tmp_path / f"{name}.png").stat().st_size > 20_000


def test_a_loaded_fit_on_other_data_needs_noise(fit, tmp_path):
    """Its noise is known as it was compiled, and not by what it was made from."""
    fit.dump(tmp_path / "fit.h5")
    again = socca.load(tmp_path / "fit.h5")
    again.img.data = again.img.data + 1
    with pytest.raises(DataError, match=r"own image and mask: assign a new one to img\.noise"):
        again.run("optimizer", seed=1)
    again.img.noise = Normal(sigma=1.0)
    level = again.run("optimizer", seed=1).median()[2]
    assert level == pytest.approx(fit.posterior.median()[2] + 1, abs=0.1)


def test_noise_of_many_parameters_has_no_null_evidence(caplog):
    img = Image(np.ones((9, 9)), noise=Normal(sigma=1.0), pixel_scale=0.2)
    sky = Background(a0=uniform(0, 1), a1x=uniform(0, 1), a1y=uniform(0, 1))
    img.noise.scale = lambda comp_00_a0, comp_00_a1x, comp_00_a1y: 1 + comp_00_a0 + comp_00_a1x + comp_00_a1y
    assert np.isnan(null_evidence(Problem(img, Model(sky))))
    assert "the noise depends on 3 free parameters: no evidence of the null model" in caplog.text


def test_next_run_sees_a_change(fit):
    other = socca.fitter(fit.img, make_model())
    first = other.run("optimizer", seed=1).median()[1]
    other.mod.components[0].xc = 3 * SCALE
    assert other.run("optimizer", seed=1).median()[1] < 0.8 * first


def test_mistakes(fit):
    with pytest.raises(ValueError, match="nautilus"):
        fit.run("nautlius")
    with pytest.raises(ValueError, match="n_starts"):
        fit.run("optimizer", n_start=3)
    with pytest.raises(ValueError, match="not both"):
        fit.run("nautilus", ncores=2, pool=2)
    with pytest.raises(ValueError, match="run"):
        _ = socca.fitter(fit.img, fit.mod).samples
