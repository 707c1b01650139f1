"""Derived quantities of whole posteriors: totals, what does not exist, and their place in files."""

import numpy as np
import pytest

from socca.data import Image
from socca.fitting.goodness_of_fit import describe_image, goodness_of_fit
from socca.fitting.quantities import quantities_of
from socca.fitting.run import run_fit
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model, SimpleBridge
from socca.noise import Normal
from socca.posterior import Posterior
from socca.posterior.quantities import QuantitySamples
from socca.priors import uniform

ARCSEC = 1 / 3600
PLACE = {"xc": 0.0, "yc": 0.0}


def image(*, psf_sum=None, **options):
    found = Image(np.random.default_rng(1).normal(size=(41, 41)), pixel_scale=0.2, noise=Normal(sigma=1.0), **options)
    if psf_sum is not None:
        y, x = np.mgrid[-7:8, -7:8]
        psf = np.exp(-(x**2 + y**2) / 8)
        found.addpsf(psf_sum * psf / psf.sum(), normalize=False)
    return found


def problem(img, *components):
    model = Model()
    for number, component in enumerate(components):
        model.addcomponent(component, label=f"c{number}")
    return Problem(img, model)


def derived(img, *components, peak=3.0, **options):
    one = problem(img, *components)
    return quantities_of(one, np.full((2, 1), peak), describe_image(img, None), **options)


def free(sigma=0.6):
    return Gaussian(**PLACE, rs=sigma * ARCSEC, Is=uniform(-10, 10))


def fixed(peak, sigma=0.6):
    return Gaussian(**PLACE, rs=sigma * ARCSEC, Is=peak)


def test_totals_and_fractions():
    found = derived(image(zero_point=25.0), free(), fixed(1.0), Background(a0=0.0))
    flux = 2 * np.pi * 9 * 4.0
    assert found["model.flux"].values == pytest.approx(flux, rel=1e-5)
    assert found["model.mag"].values == pytest.approx(25 - 2.5 * np.log10(flux), abs=1e-5)
    assert found["c0.flux_fraction"].values == pytest.approx(0.75, rel=1e-6)
    assert found["c1.flux_fraction"].values == pytest.approx(0.25, rel=1e-6)


def test_one_source_and_a_sky_have_no_total():
    found = derived(image(zero_point=25.0), free(), Background(a0=0.0))
    assert "c0.mag" in found
    assert not any(label.startswith("model.") or label.endswith("fraction") for label in found)


def test_without_the_flux_of_every_source_there_is_no_total():
    bridge = SimpleBridge(**PLACE, rs=ARCSEC, Is=1.0, theta=0.0)
    found = derived(image(), free(), fixed(1.0), bridge)
    assert "c0.flux" in found
    assert not any(label.startswith("model.") or label.endswith("fraction") for label in found)


def test_only_what_is_wanted():
    assert list(derived(image(), free(), fixed(1.0), wanted=("q", "flux"))) == [
        "c0.flux", "c0.q", "c1.flux", "c1.q", "model.flux",
    ]  # fmt: skip


@pytest.mark.parametrize("psf_sum", [None, 1.0, 0.5, 2.0])
def test_light_outside_of_the_image(psf_sum):
    """Half of the light of a source at the edge; none is told of where the PSF does not keep the flux."""
    img = image(psf_sum=psf_sum)
    edge = Gaussian(xc=0.0, yc=20.5 * 0.2 * ARCSEC, rs=0.6 * ARCSEC, Is=uniform(0, 10))
    for source, expected in ((edge, 0.5), (Gaussian(**PLACE, rs=0.6 * ARCSEC, Is=uniform(0, 10)), 0.0)):
        one = problem(img, source)
        posterior, _ = run_fit(one, img, "optimizer", seed=1, n_samples=50)
        found = goodness_of_fit(one, img, posterior).light_outside
        if psf_sum in (0.5, 2.0):
            assert found is None
        else:
            assert found == pytest.approx(expected, abs=0.02)


def posterior_of(values, weights, **fields):
    n = len(values)
    return Posterior(
        names=["comp_00_Is"], labels=["a.Is"], units=["image"], samples=np.zeros((n, 1)), log_weights=np.log(weights),
        log_likelihood=np.arange(n, dtype=float), log_prior=np.zeros(n), logz=0.0, logz_err=0.1,
        quantities={"a.mag": QuantitySamples(np.array(values), "mag", "total magnitude", "phot.mag")}, **fields,
    )  # fmt: skip


def test_what_exists_on_a_part_of_the_posterior():
    found = posterior_of([20.0, 21.0, np.nan, 20.0], [0.3, 0.3, 0.3, 0.1]).summary()[-1]
    assert found["mean"] == pytest.approx((0.4 * 20 + 0.3 * 21) / 0.7)
    found = posterior_of([20.0, np.nan, np.nan, np.nan], [0.3, 0.3, 0.3, 0.1]).summary()[-1]
    assert all(np.isnan(found[key]) for key in ("mean", "std", "median", "lower", "upper", "best"))


def test_an_angle_that_goes_around():
    found = posterior_of([1.0, 179.0, 178.0, 0.0], [0.25] * 4)
    found.quantities = {"a.pa": QuantitySamples(found.quantities["a.mag"].values, "deg", period=180.0)}
    row = found.summary()[-1]
    assert row["mean"] == pytest.approx(179.5)
    assert row["std"] == pytest.approx(np.std([1, -1, -2, 0]))


def test_any_label_can_be_written(tmp_path):
    before = posterior_of([20.0, 21.0], [0.5, 0.5])
    before.quantities = dict.fromkeys(("a/b.mag", ".", "ä b", "a.mag"), before.quantities["a.mag"])
    before.save(tmp_path / "p.h5")
    after = Posterior.load(tmp_path / "p.h5")
    assert list(after.quantities) == list(before.quantities)
    assert after.quantities["a/b.mag"].values.tolist() == [20.0, 21.0]
    assert after.quantities["."].description == "total magnitude"


def test_what_cannot_be_derived_loses_no_fit(monkeypatch, caplog):
    def broken(*args, **options):
        raise ValueError("no")

    monkeypatch.setattr("socca.fitting.run.quantities_of", broken)
    img = image()
    posterior, _ = run_fit(problem(img, free()), img, "optimizer", seed=1, n_samples=50)
    assert posterior.quantities == {}
    assert "no quantities are derived: ValueError: no" in caplog.text
