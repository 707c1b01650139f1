"""Automatic priors: around what galsim drew, wide enough, and for no parameter that has a value."""

import math

import galsim
import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS

import socca
from benchmarks.galaxies import sersic, sersic_flux, star
from socca.data import Image
from socca.data.light import measure_light
from socca.errors import ConfigError, DataError
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Disk, Exponential, Model, Point, Sersic
from socca.noise import Normal
from socca.priors import loguniform, normal, uniform
from socca.survey.config.build_image import build_image
from socca.survey.config.build_model import build_model
from socca.survey.config.schema import settings_digest
from socca.survey.survey import Survey

PSF = galsim.Gaussian(fwhm=3.0)
PIXEL = 0.2 / 3600
GALAXY = {"xc": 3.0, "yc": -4.0, "theta": 0.7, "e": 0.4, "re": 4.0, "ns": 1.5}


def drawn(flux, sky=10.0, seed=1, size=64):
    """An image of a galaxy on a sky, with noise of 1."""
    values = {**GALAXY, "Ie": flux / float(sersic_flux(GALAXY["re"], GALAXY["e"], GALAXY["ns"]))}
    return sersic(values, PSF, size) + sky + np.random.default_rng(seed).normal(size=(size, size))


def image_of(data, **options):
    image = Image(data, pixel_scale=0.2, noise=Normal(sigma=1.0), **options)
    image.addpsf(star(PSF, 25))
    return image


@pytest.mark.parametrize("seed", range(5))
def test_a_source_is_measured(seed):
    """Off the middle, with a third of the image masked and a star beside it."""
    data = drawn(3000.0, seed=seed)
    data[:, 45:] += 500.0
    data[5:9, 5:9] += 40.0
    image = image_of(data)
    mask = np.zeros(data.shape)
    mask[:, 45:] = 1
    image.addmask(mask, good="zero")
    light = measure_light(image)
    assert light.center[0] / PIXEL == pytest.approx(3.0, abs=0.5)
    assert light.center[1] / PIXEL == pytest.approx(-4.0, abs=0.5)
    assert 3 < light.radius / PIXEL < 5
    assert light.flux == pytest.approx(3000, rel=0.25)
    assert light.sky == pytest.approx(10, abs=0.3)
    assert light.noise == pytest.approx(1, rel=0.15)


def test_maps_are_divided_out():
    exposure = np.full((64, 64), 4.0)
    exposure[:, :8] = 0.0
    data = drawn(3000.0, sky=0.0)
    plain = measure_light(image_of(data))
    light = measure_light(image_of(data * exposure, exposure=exposure))
    assert light.flux == pytest.approx(plain.flux, rel=0.1)
    assert light.center == pytest.approx(plain.center, abs=0.5 * PIXEL)


def test_the_response_is_that_of_sources_alone():
    """The sky is seen without it: of a falling response, neither a source at the edge nor another sky is made up."""
    rows, cols = np.indices((64, 64)) - 31.5
    response = np.exp(-(rows**2 + cols**2) / (2 * 18.0**2))
    rng = np.random.default_rng(4)
    sky = 20.0 + rng.normal(size=(64, 64))
    light = measure_light(image_of(drawn(5000.0, sky=0.0) * response + sky, response=response))
    assert light.sky == pytest.approx(20, abs=0.5)
    assert light.noise == pytest.approx(1.4, abs=0.3)  # the sky's, and what `drawn` adds
    assert light.center[0] / PIXEL == pytest.approx(3.0, abs=0.5)
    assert light.center[1] / PIXEL == pytest.approx(-4.0, abs=0.5)
    assert 3 < light.radius / PIXEL < 5.5
    nothing = measure_light(image_of(sky, response=response))
    assert nothing.center == (0.0, 0.0)
    assert nothing.flux > 0


def test_a_masked_middle_is_filled():
    data, mask = drawn(5000.0), np.zeros((64, 64))
    plain = measure_light(image_of(data))
    rows, cols = np.indices((64, 64))
    mask[np.hypot(rows - 27.5, cols - 28.5) < 2] = 1
    image = image_of(data)
    image.addmask(mask, good="zero")
    light = measure_light(image)
    assert light.flux == pytest.approx(plain.flux, rel=0.3)
    assert light.radius == pytest.approx(plain.radius, rel=0.3)


def test_without_response_where_pixels_are_used_there_is_an_error():
    response = np.zeros((64, 64))
    response[:, :32] = 1.0
    image = image_of(drawn(3000.0), response=response)
    image.addmask((response > 0).astype(float), good="zero")
    with pytest.raises(DataError, match="no pixel that is used has response and exposure"):
        measure_light(image)


def test_of_a_source_that_is_not_seen_the_middle_is_taken():
    light = measure_light(image_of(np.random.default_rng(3).normal(size=(64, 64))))
    assert light.center == (0.0, 0.0)
    assert light.flux > 0
    assert light.radius == pytest.approx(6.4 * PIXEL)
    constant = measure_light(image_of(np.full((64, 64), 2.0)))
    assert (constant.sky, constant.noise) == (2.0, 1.0)


@pytest.mark.parametrize("flux", [300.0, 3000.0, 300_000.0])
def test_the_truth_is_within_the_priors(flux):
    image = image_of(drawn(flux))
    model = Model(Sersic())
    model.addcomponent(Point(), label="nucleus")
    model.addcomponent(Background(), label="sky")
    given = socca.auto_priors(image, model)
    truth = {key: value * (PIXEL if key in ("xc", "yc", "re") else 1) for key, value in GALAXY.items()}
    truth["Ie"] = flux / float(sersic_flux(GALAXY["re"], GALAXY["e"], GALAXY["ns"]))
    assert set(given) == {*(f"comp_00_{key}" for key in truth), "nucleus.xc", "nucleus.yc", "nucleus.Ic", "sky.a0"}
    for key, value in truth.items():
        assert 0.02 < given[f"comp_00_{key}"].cdf(value) < 0.98, key
    # A source of a tenth or ten times the radius would be within too.
    assert 0 < given["comp_00_re"].cdf(0.1 * truth["re"]) < given["comp_00_re"].cdf(10 * truth["re"]) < 1
    assert 0.3 < given["nucleus.Ic"].cdf(flux) < 0.7
    assert 0.1 < given["sky.a0"].cdf(10.0) < 0.9
    assert Problem(image, model).ndim == 11


def test_what_has_a_value_stays():
    image = image_of(drawn(3000.0))
    galaxy = Sersic(xc=0.0, yc=normal(0, PIXEL), re=loguniform(PIXEL, 5 * PIXEL), ns=4.0)
    galaxy.Ie = lambda comp_00_re: 1 / comp_00_re
    model = Model(galaxy)
    assert set(socca.auto_priors(image, model)) == {"comp_00_theta", "comp_00_e"}
    assert galaxy.values["ns"] == 4.0


def test_the_inclination_of_a_disk_stands_for_its_ellipticity():
    image = image_of(drawn(3000.0))
    model = Model(Disk(Exponential()))
    given = socca.auto_priors(image, model)
    names = {"radial.xc", "radial.yc", "radial.theta", "radial.rs", "radial.Is", "vertical.inc", "vertical.zs"}
    assert set(given) == {f"comp_00_{name}" for name in names}


def survey_of(folder, data, components, header=None, **more):
    fits.writeto(folder / "a.fits", data, header, overwrite=True)
    (folder / "targets.csv").write_text("target,image\na,a.fits\n")
    config = {
        "survey": "auto",
        "targets": "targets.csv",
        "output": str(folder / "results"),
        "noise": {"level": 1},
        "models": {"galaxy": {"components": components, **more}},
    }
    if header is None:
        config["image"] = {"pixel_scale": "0.2 arcsec"}
    (folder / "survey.yaml").write_text(yaml.safe_dump(config))
    return Survey.load(folder / "survey.yaml")


def built(survey):
    image = build_image(survey.target("a"), survey.config)
    return image, build_model("galaxy", survey.target("a"), survey.config, image)


def test_in_a_config(tmp_path):
    """The same as in a script, but for what the config says."""
    components = {
        "galaxy": {"type": "Sersic", "ns": {"uniform": [0.5, 6]}},
        "nucleus": {"type": "Point", "position": "galaxy"},
        "sky": {"type": "Background"},
    }
    image, model = built(survey_of(tmp_path, drawn(3000.0), components, priors="auto"))
    script = Model()
    for label, component in {"galaxy": Sersic(), "nucleus": Point(), "sky": Background()}.items():
        script.addcomponent(component, label=label)
    expected = socca.auto_priors(image, script)
    galaxy, nucleus, sky = model.components
    assert galaxy.values["re"] == expected["galaxy.re"]
    assert galaxy.values["ns"] == uniform(0.5, 6)
    assert nucleus.values["Ic"] == expected["nucleus.Ic"]
    assert callable(nucleus.values["xc"]) or not isinstance(nucleus.values["xc"], float)
    assert sky.values["a0"] == expected["sky.a0"]
    assert sky.values["a1x"] == 0.0


def test_on_the_sky_the_position_is_as_wide_to_the_east_as_to_the_north(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 60.0], [32.5, 32.5], [-PIXEL, PIXEL]
    _, model = built(survey_of(tmp_path, drawn(3000.0), {"galaxy": {"type": "Sersic"}}, wcs.to_header(), priors="auto"))
    ra, dec = (model.components[0].values[name].support for name in ("xc", "yc"))
    assert np.mean(ra) == pytest.approx(150 + 3 * PIXEL / math.cos(math.radians(60)), abs=PIXEL)
    assert np.mean(dec) == pytest.approx(60 - 4 * PIXEL, abs=0.5 * PIXEL)
    assert (ra[1] - ra[0]) * math.cos(math.radians(np.mean(dec))) == pytest.approx(dec[1] - dec[0], rel=1e-6)


def test_what_no_prior_is_known_for_must_be_given(tmp_path):
    survey = survey_of(tmp_path, drawn(3000.0), {"galaxy": {"type": "ModExponential"}}, priors="auto")
    with pytest.raises(ConfigError, match=r"models\.galaxy\.galaxy: no value for alpha$"):
        built(survey)


def test_without_the_key_nothing_changes(tmp_path):
    """Values must be given, and the settings that digests are made of have no such key."""
    survey = survey_of(tmp_path, drawn(3000.0), {"galaxy": {"type": "Sersic"}})
    with pytest.raises(ConfigError, match="no value for xc, yc, re, Ie"):
        built(survey)
    assert set(survey.config.fit_settings("a", "galaxy")["model"]) == {"components"}


def test_a_default_that_is_written_is_another_model(tmp_path):
    """It is a number, where what is left out is free: another digest."""
    components = [{"galaxy": {"type": "Sersic", **given}} for given in ({}, {"e": 0.0}, {"ns": 0.5})]
    surveys = [survey_of(tmp_path, drawn(3000.0), one, priors="auto") for one in components]
    assert len({settings_digest(survey.config.fit_settings("a", "galaxy")) for survey in surveys}) == 3
    free = [built(survey)[1].components[0].values for survey in surveys]
    assert [values["e"] == 0.0 for values in free] == [False, True, False]
    assert [values["ns"] == 0.5 for values in free] == [False, False, True]


@pytest.mark.thorough
@pytest.mark.parametrize("flux", [400.0, 20_000.0])
def test_a_fit_with_them_is_right(flux):
    """Posteriors hold the truth: within 4 standard deviations, of 7 numbers (a chance of 4e-4)."""
    image = image_of(drawn(flux))
    model = Model()
    model.addcomponent(Sersic(), label="galaxy")
    model.addcomponent(Background(), label="sky")
    socca.auto_priors(image, model)
    problem = Problem(image, model)
    posterior, _ = sample(problem, "adaptive", seed=1, n_eff=1000)
    assert posterior.record.sampler.converged
    truth = {key: value * (PIXEL if key in ("xc", "yc", "re") else 1) for key, value in GALAXY.items()} | {"a0": 10.0}
    weights = posterior.weights
    for k, name in enumerate(problem.names):
        short = name.rpartition("_")[2]
        if short in ("Ie", "theta"):
            continue
        mean = weights @ posterior.samples[:, k]
        deviation = math.sqrt(weights @ (posterior.samples[:, k] - mean) ** 2)
        assert abs(mean - truth[short]) < 4 * deviation, name
