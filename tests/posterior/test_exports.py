"""Posteriors as tables and for ArviZ."""

import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from socca.errors import ConfigError
from socca.posterior import Posterior
from socca.posterior.record import FitRecord, ImageDescription
from socca.posterior.sampler_record import SamplerRecord

N = 4000


@pytest.fixture
def posterior():
    """Weighted so that `re` is N(2, 1), and an angle on both sides of its period's end."""
    rng = np.random.default_rng(7)
    re, flux, theta = rng.normal(1, 1.5, N), rng.normal(5, 1, N), rng.normal(0, 0.1, N) % np.pi
    log_weights = -0.5 * (re - 2) ** 2 + 0.5 * ((re - 1) / 1.5) ** 2
    log_weights -= np.logaddexp.reduce(log_weights)
    return Posterior(
        names=["comp_00_re", "comp_00_Ie", "comp_00_theta"],
        labels=["disk.re", "disk.Ie", "disk.theta"],
        units=["deg", "image", "rad"],
        samples=np.stack([re, flux, theta], axis=1),
        log_weights=log_weights,
        log_likelihood=-0.5 * re**2,
        log_prior=np.full(N, -0.3),
        logz=-12.5,
        logz_err=0.1,
        periods=[None, None, np.pi],
        derived={"bulge.re": re / 5},
        derived_units={"bulge.re": "deg"},
        fixed={"disk.ns": 1.0},
        record=FitRecord(sampler=SamplerRecord(seed=3), image=ImageDescription(bunit="nJy")),
        logz_data=-20.0,
    )


def test_table_with_units_goes_to_ecsv_and_back(posterior, tmp_path):
    table = posterior.to_table()
    assert table["disk.re"].unit == table["bulge.re"].unit == u.deg
    assert table["disk.Ie"].unit == u.nJy
    assert table["disk.theta"].unit == u.rad
    np.testing.assert_array_equal(table["bulge.re"].value, posterior.derived["bulge.re"])
    mean = np.sum(table["weight"] * table["disk.re"]).to_value(u.arcsec)
    assert mean == pytest.approx(7200, abs=4 * 3600 / np.sqrt(posterior.n_eff))
    table.write(tmp_path / "samples.ecsv")
    again = QTable.read(tmp_path / "samples.ecsv")
    assert again.meta["logz"] == -12.5
    assert again.meta["fixed"] == {"disk.ns": 1.0}
    assert again.meta["seed"] == 3
    np.testing.assert_array_equal(again["disk.Ie"], table["disk.Ie"])
    assert again["disk.Ie"].info.description == "in the unit of the image: nJy"


@pytest.mark.parametrize("bunit", ["", "photons per hour"])
def test_table_without_a_known_unit(posterior, bunit):
    posterior.record = FitRecord(image=ImageDescription(bunit=bunit))
    column = posterior.to_table()["disk.Ie"]
    assert not isinstance(column, u.Quantity)
    assert (bunit or "not known") in column.info.description


def test_arviz(posterior, arviz):
    found = posterior.to_arviz(n_draws=1500, seed=2)
    assert type(found).__name__ == ("InferenceData" if hasattr(arviz, "psislw") else "DataTree")
    assert list(found.posterior.data_vars) == ["disk.re", "disk.Ie", "disk.theta", "bulge.re"]
    assert found.posterior["disk.re"].shape == (1, 1500)
    error = 4 / np.sqrt(1500)
    assert float(found.posterior["disk.re"].mean()) == pytest.approx(2, abs=error)
    assert float(found.posterior["disk.re"].std()) == pytest.approx(1, abs=error)
    assert float(found.posterior["disk.theta"].std()) == pytest.approx(0.1, abs=0.1 * error)
    assert found.posterior["disk.Ie"].attrs["unit"] == "nJy"
    assert found.posterior["disk.theta"].attrs["unit"] == "rad"
    assert found.posterior.attrs["logz"] == -12.5
    re = found.posterior["disk.re"].values
    np.testing.assert_array_equal(found.posterior["bulge.re"], re / 5)
    np.testing.assert_array_equal(found.sample_stats["log_likelihood_total"], -0.5 * re**2)
    np.testing.assert_array_equal(found.sample_stats["lp"], -0.5 * re**2 - 0.3)
    same, other = (posterior.to_arviz(n_draws=1500, seed=seed).posterior["disk.re"].values for seed in (2, 3))
    assert np.array_equal(same, re)
    assert not np.array_equal(other, re)
    # ArviZ reads what it was given: its mean of a parameter is that of the samples.
    summary = arviz.summary(found, var_names=["disk.re"], round_to="none")
    assert float(summary["mean"].iloc[0]) == pytest.approx(re.mean(), rel=1e-12)


@pytest.mark.usefixtures("arviz")
def test_arviz_gets_samples_of_equal_weight_as_they_are(posterior):
    posterior.log_weights = np.full(N, -np.log(N))
    found = posterior.to_arviz(n_draws=10)
    np.testing.assert_array_equal(found.posterior["disk.re"][0], posterior.samples[:, 0])


def test_the_number_of_draws_is_positive(posterior):
    with pytest.raises(ConfigError, match="n_draws must be at least 1, got 0"):
        posterior.to_arviz(n_draws=0)


def test_without_arviz(posterior, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ConfigError, match=r"pip install 'socca\[arviz\]'"):
        posterior.to_arviz()
    with pytest.raises(ConfigError, match=r"socca\[arviz\]"):
        posterior.k_hat()
    assert posterior.aic() == pytest.approx(2 * 3 - 2 * posterior.log_likelihood.max())
