"""Fits of several targets in one process, from a config, and what each leaves behind."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS

from socca.posterior import Posterior
from socca.posterior.storage import header_of, open_result
from socca.samplers.checkpoint import CheckpointFile
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey

SCALE = 0.2 / 3600


def sky_header(ra, dec):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [13, 13]
    wcs.wcs.cd = [[-SCALE, 0], [0, SCALE]]
    return wcs.to_header()


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    y, x = np.mgrid[:25, :25] - 12.0
    psf = np.exp(-(x**2 + y**2)[8:17, 8:17] / 2)
    rows = ["target,image,psf,sigma,flux"]
    for k, name in enumerate(["one", "two", "three"]):
        rng = np.random.default_rng(k)
        light = 30 * np.exp(-((x - 0.3) ** 2 + y**2) / 2 / 2.5**2)
        header = sky_header(150.0 + 30 * k, 2.0 - 20 * k)
        header["BUNIT"] = "adu"
        fits.writeto(folder / f"{name}.fits", light + rng.normal(size=(25, 25)) * (1 + k), header)
        fits.writeto(folder / f"{name}_psf.fits", psf * (1 + 0.1 * k))
        fits.writeto(folder / f"{name}_rms.fits", np.full((25, 25), 1.0 + k))
        rows.append(f"{name},{name}.fits,{name}_psf.fits,{name}_rms.fits,{10.0 * (k + 1)}")
    (folder / "targets.csv").write_text("\n".join(rows) + "\n")
    galaxy = {
        "type": "Gaussian",
        "position": {"within": "1 arcsec"},
        "rs": {"loguniform": ["0.5 pix", "6 pix"]},
        "Is": {"uniform": [0, "$flux * 100"]},
        "e": "0.001 * $flux",
    }
    config = {
        "survey": "three",
        "targets": "targets.csv",
        "output": str(folder / "results"),
        "models": {
            "gauss": {
                "components": {
                    "galaxy": galaxy,
                    "nucleus": {"type": "Point", "position": "galaxy", "Ic": {"normal": [0, 10]}},
                    "sky": {"type": "Background", "a0": {"normal": [0, 1]}},
                }
            }
        },
        "sampler": {"method": "optimizer", "options": {"n_draws": 100, "n_starts": 1, "n_samples": 300}},
    }
    (folder / "survey.yaml").write_text(yaml.safe_dump(config))
    loaded = Survey.load(folder / "survey.yaml")
    outcomes = list(fit_all(loaded, loaded.jobs()))
    assert [o.status for o in outcomes] == ["done"] * 3, outcomes
    return loaded


@pytest.fixture
def resumable(survey, tmp_path):
    """Give the survey with a sampler that keeps checkpoints, one fit of it, and where its checkpoint lies."""
    config = yaml.safe_load((Path(survey.config.table).parent / "survey.yaml").read_text())
    config["output"] = str(tmp_path / "results")
    config["targets"] = str(survey.config.table)
    config["sampler"] = {"method": "nautilus", "options": {"n_live": 100, "n_eff": 200}}
    (tmp_path / "survey.yaml").write_text(yaml.safe_dump(config))
    loaded = Survey.load(tmp_path / "survey.yaml")
    return loaded, loaded.path("one", "gauss", "posterior.h5").with_name("checkpoint.socca")


def test_a_checkpoint_is_removed_once_its_fit_is_done(resumable, monkeypatch):
    loaded, place = resumable
    seen = []
    offer = CheckpointFile.offer

    def watched(self, state, *, last=False):
        offer(self, state, last=last)
        seen.append((self.path, self.path.exists()))

    monkeypatch.setattr(CheckpointFile, "offer", watched)
    assert [outcome.status for outcome in fit_all(loaded, [("one", "gauss")])] == ["done"]
    assert seen[-1] == (place, True)
    assert not place.exists()


def test_a_checkpoint_that_cannot_be_used_costs_no_fit(resumable, caplog):
    loaded, place = resumable
    place.parent.mkdir(parents=True)
    place.write_bytes(b"socca checkpoint 1\nnonsense")
    assert [outcome.status for outcome in fit_all(loaded, [("one", "gauss")])] == ["done"]
    assert "starting afresh" in caplog.text
    assert not place.exists()


def record(survey, target):
    with open_result(survey.path(target, "gauss", "posterior.h5")) as result:
        return header_of(result).record


def test_second_target_of_the_same_shape_and_model_compiles_nothing(survey):
    # Data, noise, PSF, WCS, the numbers in priors and fixed values all differ between the three.
    assert record(survey, "one").timing.programs_compiled > 0
    assert record(survey, "two").timing.programs_compiled == 0
    assert record(survey, "three").timing.programs_compiled == 0


def test_each_fit_has_its_own_seed_and_says_what_it_read(survey):
    one, two = record(survey, "one"), record(survey, "two")
    assert one.sampler.seed == survey.seed("one", "gauss") != two.sampler.seed
    assert {role: Path(file.path).name for role, file in one.files.items()} == {
        "image": "one.fits",
        "psf": "one_psf.fits",
        "sigma": "one_rms.fits",
    }
    assert one.provenance.params == survey.fit_params("one", "gauss")
    assert one.provenance.versions["socca"]
    assert one.image.frame == "sky"
    assert one.image.bunit == "adu"


def test_posterior_has_free_tied_and_fixed_parameters(survey):
    posterior = Posterior.load(survey.path("two", "gauss", "posterior.h5"))
    assert posterior.labels == ["galaxy.xc", "galaxy.yc", "galaxy.rs", "galaxy.Is", "nucleus.Ic", "sky.a0"]
    np.testing.assert_array_equal(posterior.derived["nucleus.xc"], posterior.samples[:, 0])
    assert posterior.fixed["galaxy.e"] == pytest.approx(0.02)
    assert posterior.periods[0] == 360.0


def test_model_images_add_up_and_keep_the_wcs(survey):
    with fits.open(survey.path("one", "gauss", "model.fits")) as hdus:
        assert hdus[0].header["STATUS"] == "done"
        assert [h.name for h in hdus[1:6]] == ["DATA", "MODEL", "RESIDUAL", "SIGMA", "MASK"]
        parts = {h.header["COMPONEN"]: h.data for h in hdus[6:]}
        assert list(parts) == ["galaxy", "nucleus", "sky"]
        # Stored in single precision: sums agree to a few of its last digits.
        np.testing.assert_allclose(sum(parts.values()), hdus["MODEL"].data, atol=2e-5)
        np.testing.assert_allclose(hdus["DATA"].data - hdus["MODEL"].data, hdus["RESIDUAL"].data, atol=2e-5)
        assert WCS(hdus["MODEL"].header).wcs.crval[0] == 150.0
        assert hdus["DATA"].header["BUNIT"] == "adu"


def test_goodness_of_fit_is_near_one(survey):
    fit = record(survey, "one").quality
    # chi-square of 625 pixels: standard deviation sqrt(2 / 625) = 0.06; of the source's pixels, sqrt(2 / n).
    assert fit.chi2_red == pytest.approx(1, abs=4 * np.sqrt(2 / 625))
    assert fit.chi2_source == pytest.approx(1, abs=4 * np.sqrt(2 / fit.n_source))
    assert 20 < fit.n_source < 625
