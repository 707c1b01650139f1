"""Ten real galaxies, by the workflow's own config, with fewer live points."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.table import Table

from socca.fitting.sample import sample
from socca.samplers import get_sampler
from socca.survey.catalog import build_catalog
from socca.survey.check.inputs import check_survey
from socca.survey.config.build_image import build_image
from socca.survey.config.build_model import build_problem
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey

DATA = Path(os.environ.get("SOCCA_TEST_DATA", "/nonexistent")) / "kids"
ROOT = Path(__file__).parents[2]
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="SOCCA_TEST_DATA does not name a folder with kids/")


def load(tmp_path, **options):
    config = yaml.safe_load((ROOT / "config" / "kids.yaml").read_text())
    config["output"] = str(tmp_path / "results")
    config["sampler"]["options"].update(options)
    (tmp_path / "kids.yaml").write_text(yaml.safe_dump(config))
    return Survey.load(tmp_path / "kids.yaml", DATA / "targets.csv")


@needs_data
def test_inputs_pass_the_check(tmp_path):
    assert list(check_survey(load(tmp_path))) == []


@needs_data
@pytest.mark.slow
def test_all_ten_are_fitted_and_two_stand_out(tmp_path):
    survey = load(tmp_path, n_live=200, n_eff=500)
    outcomes = list(fit_all(survey, survey.jobs()))
    assert [o.status for o in outcomes] == ["done"] * 10, outcomes
    table: Table = build_catalog(survey.results(), survey.config.flags)
    poor = {str(r["target"]) for r in table if "poor_fit" in str(r["flag_names"])}
    assert {"G265940", "G278109"} <= poor
    # Two disks are fair; the galaxy with a bulge across its disk is by far the worst.
    assert not {"G266035", "G267199"} & poor
    assert table["target"][np.argmax(table["chi2_source"])] == "G278109"
    assert table["chi2_source"].max() > 10
    # Galaxies of r = 15 to 19 mag: sizes of arcseconds, no index at an edge of its prior, a sky that is not quite zero.
    radius = np.asarray(table["galaxy_re"]) * 3600
    assert np.all((radius > 0.4) & (radius < 30))
    assert np.all((table["galaxy_ns"] > 0.35) & (table["galaxy_ns"] < 9.5))
    assert np.all(np.abs(table["sky_a0"]) < 3e-12)
    assert np.all(np.hypot(table["galaxy_xc"], table["galaxy_yc"]) * 3600 < 1.9)


def median_of(posterior, k, center):
    """Return a median, its standard error for a Gaussian, and the deviation; angles as they lie around `center`."""
    x = posterior.samples[:, k]
    if (period := posterior.periods[k]) is not None:
        x = center + (x - center + period / 2) % period - period / 2
    order = np.argsort(x)
    below = np.cumsum(posterior.weights[order])
    median = np.interp(0.5, below, x[order])
    deviation = np.sqrt(posterior.weights @ (x - posterior.weights @ x) ** 2)
    return median, np.sqrt(np.pi / 2) * deviation / np.sqrt(posterior.n_eff), deviation


@needs_data
@pytest.mark.slow
def test_samplers_agree_on_a_galaxy(tmp_path):
    """Medians to 4.5 of their standard errors, deviations to 5: 32 comparisons of either kind. Evidences to 3."""
    survey = load(tmp_path)
    row, config = survey.target("G266035"), survey.config.for_target("G266035")
    problem, _ = build_problem("sersic", row, config, build_image(row, config))
    options = {
        "nautilus": {},
        "dynesty": {},
        "emcee": {"n_eff": 3000},
        "numpyro": {"num_chains": 2, "num_samples": 1500},
    }
    if importlib.util.find_spec("pocomc"):
        options["pocomc"] = {}
    found = {method: sample(problem, method, seed=1, **given)[0] for method, given in options.items()}
    assert all(posterior.meta["converged"] for posterior in found.values())
    first = found.pop("nautilus")
    for method, other in found.items():
        for k, name in enumerate(first.names):
            (one, error, spread), (two, its_error, its_spread) = (
                median_of(posterior, k, first.best[k]) for posterior in (first, other)
            )
            assert abs(one - two) < 4.5 * np.hypot(error, its_error), (method, name)
            n = 1 / (1 / first.n_eff + 1 / other.n_eff)
            assert its_spread / spread == pytest.approx(1, abs=5 / np.sqrt(2 * n)), (method, name)
    for method, other in found.items():
        if get_sampler(method).evidence:
            assert abs(first.logz - other.logz) < 3 * np.hypot(first.logz_err, other.logz_err), method
