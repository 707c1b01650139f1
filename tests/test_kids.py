"""Ten real galaxies, by the workflow's own config, with fewer live points."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.table import Table

from socca.batch import fit_all
from socca.catalog import build_catalog
from socca.check import check_survey
from socca.survey import Survey

DATA = Path(os.environ.get("SOCCA_TEST_DATA", "/nonexistent")) / "kids"
ROOT = Path(__file__).parents[1]
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
    outcomes = list(fit_all(survey, survey.fits()))
    assert [o.status for o in outcomes] == ["done"] * 10, outcomes
    table: Table = build_catalog(survey.results(), survey.config.flags)
    poor = {str(r["target"]) for r in table if "poor_fit" in r["flags"]}
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
