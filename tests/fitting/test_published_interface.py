"""`fitter` as scripts of the published interface call it, positionally and by keyword."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from scipy import signal

import socca
from socca.data import Image
from socca.errors import CheckpointError, ConfigError, ModelError, PosteriorError
from socca.models import Background, Gaussian, Model, Point
from socca.noise import Normal
from socca.priors import normal, uniform

SCALE = 0.2 / 3600


@pytest.fixture(scope="module")
def make_fit(make_psf):
    """Give a function that makes a fit that has not been run: a galaxy, a star and a sky behind a PSF."""

    def make():
        psf = make_psf()
        rng = np.random.default_rng(1)
        response, exposure = (1 + 0.1 * rng.random((21, 21)) for _ in range(2))
        img = Image(np.zeros((21, 21)), response, exposure, Normal(sigma=1.0), addpsf={"img": psf}, pixel_scale=0.2)
        # East is to the left, and the PSF holds the pixel.
        north, east = np.mgrid[:21, :21] - 10.0
        east = -east
        light = 40.0 * response * np.exp(-((east - 1) ** 2 + north**2) / 2 / 2.0**2)
        light[13, 14] += 150.0 * response[13, 14]
        img.data = exposure * (signal.fftconvolve(light, psf, mode="same") + 2.0) + rng.normal(size=img.shape)
        galaxy = Gaussian(xc=SCALE, yc=0.0, rs=uniform(SCALE, 6 * SCALE), Is=uniform(1, 100))
        mod = Model(galaxy)
        mod.addcomponent(Point(xc=-4 * SCALE, yc=3 * SCALE, Ic=uniform(1, 1000)))
        mod.addcomponent(Background(a0=normal(0, 5)), label="sky")
        return socca.fitter(img, mod)

    return make


@pytest.fixture(scope="module")
def fit(make_fit):
    found = make_fit()
    found.run("optimizer", seed=3, n_samples=200)
    return found


# run, and what is there before and after it


def test_before_a_run(make_fit):
    fit = make_fit()
    assert fit.labels == ["comp_00_rs", "comp_00_Is", "comp_01_Ic", "sky.a0"]
    assert fit.units == ["deg", "image", "image", "image"]
    assert fit.method is None
    np.testing.assert_array_equal(fit.mask, fit.img.mask)
    for name in ("samples", "weights", "results", "logz"):
        with pytest.raises(PosteriorError, match="call run"):
            getattr(fit, name)
    with pytest.raises(AttributeError, match="method='emcee'"):
        _ = fit.tau
    assert not hasattr(fit, "nothing")


def test_after_a_run(fit):
    assert fit.method == "optimizer"
    assert fit.sampler_prior is None
    results = fit.results
    assert results.samples is results["samples"] is fit.samples
    np.testing.assert_array_equal(results.logwt, fit.logw)
    np.testing.assert_array_equal(results.x, fit.posterior.best)
    top = fit.problem.log_likelihood([results.x]) + fit.problem.log_prior([results.x])
    assert results.fun == pytest.approx(-top[0])
    assert results.success
    # What else the posterior has.
    assert fit.summary() == fit.posterior.summary()


def test_run_positionally(make_fit, tmp_path):
    options = {"n_live": 60, "n_eff": 60, "focus": False, "n_networks": 0}
    by_place, by_name = make_fit(), make_fit()
    by_place.run("nautilus", tmp_path / "a.checkpoint", True, True, **options)
    by_name.run(method="nautilus", checkpoint=tmp_path / "b.checkpoint", resume=True, getzprior=True, **options)
    assert (tmp_path / "a.checkpoint").exists()
    np.testing.assert_array_equal(by_place.samples, by_name.samples)
    assert by_place.logz_prior == by_name.logz_prior == 0.0
    # `resume` is the third: another seed would be refused, unless it is false.
    with pytest.raises(CheckpointError, match="another fit"):
        by_place.run("nautilus", tmp_path / "a.checkpoint", True, seed=2, **options)
    by_place.run("nautilus", tmp_path / "a.checkpoint", False, seed=2, **options)


@pytest.mark.parametrize(
    "workers", [{"ncores": 2}, {"n_cores": 2}, {"pool": 2}, {"ncores": 1}, {"pool": 1}, {"num_chains": 2}]
)
def test_the_optimizer_refuses_workers(make_fit, workers):
    with pytest.raises(ValueError, match="runs in one process"):
        make_fit().run("optimizer", **workers)


@pytest.mark.parametrize("workers", [{"ncores": 2, "pool": 2}, {"n_cores": 2, "pool": 2}, {"ncores": 2, "n_cores": 2}])
def test_workers_have_one_name(make_fit, workers):
    with pytest.raises(ValueError, match="not both"):
        make_fit().run("nautilus", **workers)


def test_assigned_samples_and_weights(make_fit):
    fit = make_fit()
    fit.run("optimizer", seed=3, n_samples=200)
    before, half = fit.posterior, fit.samples[::2]
    fit.samples = half
    with pytest.raises(PosteriorError, match="there are 101 samples and 201 weights: assign both"):
        _ = fit.posterior
    fit.weights = np.arange(len(half))
    assert fit.weights.sum() == pytest.approx(1)
    found = fit.posterior
    np.testing.assert_array_equal(found.samples, half)
    np.testing.assert_allclose(found.log_likelihood, before.log_likelihood[::2], rtol=1e-12)
    np.testing.assert_allclose(found.log_prior, before.log_prior[::2], rtol=1e-12)
    np.testing.assert_allclose(np.exp(fit.logw), np.arange(101) / 5050, atol=1e-15)
    assert (found.logz, found.record) == (before.logz, before.record)
    # The model follows.
    np.testing.assert_array_equal(fit.getmodel("smo"), fit.problem.render(found.median(), None, False, False).total)
    for wrong in (half[:, :2], half[0], np.zeros((0, 4))):
        with pytest.raises(PosteriorError, match="samples must have shape"):
            fit.samples = wrong
    for wrong in (-np.ones(101), np.zeros(101), np.full(101, np.nan), np.ones((101, 1))):
        with pytest.raises(PosteriorError, match="weights must be"):
            fit.weights = wrong


# getmodel


def test_three_maps(fit):
    raw, smoothed, background = fit.getmodel()
    drawn = fit.problem.render(fit.posterior.median(), None, False, False)
    np.testing.assert_array_equal(raw, drawn.raw)
    np.testing.assert_array_equal(smoothed, drawn.smoothed + drawn.background)
    np.testing.assert_array_equal(background, drawn.background)
    assert background.mean() == pytest.approx(2, abs=0.5)
    np.testing.assert_array_equal(fit.getmodel("sources"), drawn.smoothed)


@pytest.mark.parametrize(
    ("names", "which"),
    [(["raw"], 0), (["smo", "smooth", "smoothed", "conv", "convolved"], 1), (["bkg", "background"], 2)],
)
def test_names_of_maps(fit, names, which):
    for name in names:
        np.testing.assert_array_equal(fit.getmodel(name), fit.getmodel(what="all")[which])
    listed = fit.getmodel([*names, "raw"])
    assert len(listed) == len(names) + 1
    np.testing.assert_array_equal(listed[0], fit.getmodel(names[0]))
    np.testing.assert_array_equal(listed[-1], fit.getmodel("raw"))


def test_choices_of_components(fit):
    galaxy, star, sky = fit.mod.components
    for one, forms in (
        (galaxy, (0, "comp_00", galaxy)),
        (star, (1, "comp_01", star)),
        (sky, (2, "comp_02", "sky", sky)),
    ):
        alone = fit.getmodel("smo", one)
        for form in forms:
            np.testing.assert_array_equal(fit.getmodel("smo", component=form), alone)
            np.testing.assert_array_equal(fit.getmodel("smo", [form]), alone)
    both = fit.getmodel("smo", [0, star])
    np.testing.assert_allclose(both, fit.getmodel("smo", 0) + fit.getmodel("smo", 1), rtol=1e-10, atol=1e-12)
    assert np.ptp(fit.getmodel("smo", sky)) == 0
    for wrong in (7, "bulge", True, Gaussian(), 1.5):
        with pytest.raises(ModelError, match="no component"):
            fit.getmodel("smo", wrong)


def test_usebest_chooses_between_medians(fit):
    np.testing.assert_array_equal(
        fit.getmodel("smo", None, True), fit.problem.render(fit.posterior.median(), None, False, False).total
    )
    np.testing.assert_array_equal(fit.getmodel("smo", None, False), fit.getmodel("smo", statistic="pixel_median"))
    best = fit.problem.render(fit.posterior.best, None, False, False).total
    np.testing.assert_array_equal(fit.getmodel("smo", statistic="best"), best)


@pytest.mark.thorough
def test_response_exposure_and_another_image(fit):
    img, theta = fit.img, fit.posterior.median()
    for response in (False, True):
        for exposure in (False, True):
            drawn = fit.problem.render(theta, None, response, exposure)
            np.testing.assert_array_equal(fit.getmodel("smo", None, True, None, response, exposure), drawn.total)
            np.testing.assert_array_equal(fit.getmodel("smo", doresp=response, doexp=exposure), drawn.total)
    other = Image(np.zeros((15, 17)), pixel_scale=0.2)
    by_place, by_name = fit.getmodel("all", None, True, other), fit.getmodel(img=other)
    assert by_place[0].shape == (15, 17)
    np.testing.assert_array_equal(by_place[1], by_name[1])
    assert img is fit.img


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("smoth", r"no map 'smoth'; did you mean 'smooth'\? known: smooth, .*raw"),
        (["raw", "x"], "no map 'x'; known: all, raw"),
        ([], "no map is"),
    ],
)
def test_unknown_maps(fit, what, said):
    with pytest.raises(ConfigError, match=said):
        fit.getmodel(what)


# savemodel


def test_saved_maps(fit, tmp_path):
    fit.savemodel(tmp_path / "model")
    maps = fit.getmodel()
    with fits.open(tmp_path / "model.fits") as hdus:
        for name, plane in zip(("RAW", "SMOOTHED", "BACKGROUND"), maps, strict=True):
            np.testing.assert_allclose(hdus[name].data, plane, rtol=1e-6)
        expected, _ = fit.problem.predict(fit.posterior.median())
        np.testing.assert_allclose(hdus["MODEL"].data, expected, rtol=1e-6)
        np.testing.assert_allclose(hdus["RESIDUAL"].data, fit.img.data - expected, atol=1e-4)
        assert [hdu.name for hdu in hdus[-3:]] == ["COMP_00", "COMP_01", "SKY"]


@pytest.mark.thorough
def test_saved_components_and_maps(fit, tmp_path):
    fit.savemodel(tmp_path / "a.fits", 0, usebest=False, doexp=True)
    fit.savemodel(str(tmp_path / "a.v2"), component=["comp_00"], what="smo")
    assert {path.name for path in tmp_path.iterdir()} == {"a.fits", "a.v2.fits"}
    with fits.open(tmp_path / "a.fits") as hdus:
        np.testing.assert_allclose(hdus["SMOOTHED"].data, fit.getmodel("smo", 0, False, doexp=True), rtol=1e-6)
        assert "COMP_01" not in hdus
        assert hdus["MODEL_STD"].data.max() > 0
    with fits.open(tmp_path / "a.v2.fits") as hdus:
        np.testing.assert_allclose(hdus["SMOOTHED"].data, fit.getmodel("smo", 0), rtol=1e-6)
        assert "RAW" not in hdus
        drawn = fit.problem.render(fit.posterior.median(), (0,)).total
        np.testing.assert_allclose(hdus["MODEL"].data, drawn, rtol=1e-6, atol=1e-6)
    with pytest.raises(ModelError, match="no component False"):
        fit.savemodel(tmp_path / "b.fits", False)
    assert not (tmp_path / "b.fits").exists()


def test_saved_maps_have_one_name(fit, tmp_path):
    """By whichever of its names a map is asked for; by two of them, it is saved once."""
    fit.savemodel(tmp_path / "a.fits", what=["conv", "bkg", "total", "sources"])
    with fits.open(tmp_path / "a.fits") as hdus:
        saved = [hdu.name for hdu in hdus]
        assert saved[saved.index("MASK") + 1 : saved.index("COMP_00")] == ["SMOOTHED", "BACKGROUND", "SOURCES"]
        for name in ("SMOOTHED", "BACKGROUND", "SOURCES"):
            np.testing.assert_allclose(hdus[name].data, fit.getmodel(name.lower()), rtol=1e-6)
    with pytest.raises(ConfigError, match="no map 'x'"):
        fit.savemodel(tmp_path / "b.fits", what="x")
    assert not (tmp_path / "b.fits").exists()


@pytest.mark.thorough
def test_saved_on_another_image(fit, tmp_path):
    other = Image(np.zeros((15, 17)), pixel_scale=0.2)
    fit.savemodel(tmp_path / "model.fits", img=other)
    with fits.open(tmp_path / "model.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "RAW", "SMOOTHED", "BACKGROUND"]
        np.testing.assert_allclose(hdus["SMOOTHED"].data, fit.getmodel("smo", img=other), rtol=1e-6)


# parameters and bmc


def test_the_table_is_printed(fit, capsys):
    assert fit.parameters() is None
    assert capsys.readouterr().out == fit.posterior.parameters() + "\n"


def test_bmc(fit, capsys):
    four = fit.bmc()
    assert len(four) == 4
    assert f"{four[0]:.3f}" in capsys.readouterr().out
    assert fit.bmc(False)[:2] == fit.bmc(verbose=False)[:2] == four[:2]
    assert capsys.readouterr().out == ""


# emcee and its plot


def test_autocorrelation_times(make_fit, tmp_path):
    fit = make_fit()
    fit.run("emcee", nwalkers=16, n_steps=240, check_every=60)
    assert fit.tau.shape == (4,)
    assert fit.tau_history.shape == (4, 4)
    np.testing.assert_array_equal(fit.tau_history[-1], fit.tau)
    np.testing.assert_allclose(fit.tau, fit.sampler.get_autocorr_time(tol=0), rtol=0.5)
    assert fit.plot.autocorrelation(tmp_path / "tau").name == "tau.pdf"
    found = fit.plot.autocorrelation(tmp_path / "tau", "png", 0.6, 0.4, 100, 20, True)
    assert (tmp_path / "tau.png").stat().st_size > 10_000
    assert found == tmp_path / "tau.png"
    fit.dump(tmp_path / "fit.h5")
    np.testing.assert_array_equal(socca.load(tmp_path / "fit.h5").tau_history, fit.tau_history)


def test_other_methods_have_no_autocorrelation(fit):
    with pytest.raises(ConfigError, match="method='emcee'"):
        fit.plot.autocorrelation("tau.pdf")


# figures


def test_comparison_positionally(fit, tmp_path):
    from matplotlib.image import imread

    style = ("magma", "viridis", None, "coolwarm", {"wspace": 0.1}, {"usebest": False})
    found = fit.plot.comparison(tmp_path / "one", None, "png", 1.0, 0.38, 50, *style)
    assert found == tmp_path / "one.png"
    wide = fit.plot.comparison(
        tmp_path / "two.png", component=0, fx=0.5, fy=0.76, dpi=50, cmaps=["magma", "gray", "bwr"]
    )
    assert imread(found).shape[:2] == (250, 850)
    assert imread(wide).shape[:2] == (500, 425)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cmaps": ["magma", "gray"]}, "three for data, model, residual"),
        ({"cmaps": {"date": "magma"}}, "did you mean 'data'"),
        ({"cmap_model": "magmaa"}, "did you mean 'magma'"),
        ({"model_kwargs": {"usebset": True}}, "did you mean 'usebest'"),
        ({"model_kwargs": {"statistic": "pixel_std"}}, "cannot be pixel_std"),
        ({"fx": 0}, "must be positive"),
        ({"component": 9}, "no component 9"),
    ],
)
def test_comparisons_that_cannot_be(fit, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        fit.plot.comparison(tmp_path / "c.png", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_keeps_response_and_exposure(fit, tmp_path):
    with pytest.warns(UserWarning, match="doexp=False has no effect"):
        fit.plot.comparison(tmp_path / "c.png", dpi=20, model_kwargs={"doexp": False})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit.plot.comparison(tmp_path / "c.png", dpi=20, model_kwargs={"doexp": True, "doresp": True})


def test_corner_positionally(fit, tmp_path):
    found = fit.plot.corner(tmp_path / "c", [0, "sky"], "png", 5.0, None, [0.05, 0.95], 20, color="C0", dpi=40)
    assert found == tmp_path / "c.png"
    assert found.stat().st_size > 5000
