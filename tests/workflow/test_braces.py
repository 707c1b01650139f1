"""Braces in the names of folders and files, which Snakemake takes for wildcards."""

import pytest
import yaml
from astropy.io import fits

from tests.workflow.folder import Folder, config, write_target


@pytest.fixture
def survey(tmp_path):
    """A survey of one target, with braces wherever a user can have them."""
    folder = Folder(tmp_path / "a{b}c")
    folder.data = folder.path / "da{t}a"
    folder.data.mkdir(parents=True)
    write_target(folder.data, "a", seed=1)
    (folder.data / "a.fits").rename(folder.data / "a{0}.fits")
    (folder.data / "targets.csv").write_text("target,image,sigma\nT0,a{0}.fits,a_rms.fits\n")
    settings = config()
    del settings["models"]["plain"], settings["overrides"]
    settings |= {"targets": "da{t}a/targets.csv", "output": "results/{x,.*}/{target}"}
    (folder.path / "survey.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_braces_are_no_wildcards(survey):
    jobs, _ = survey.planned()
    assert jobs == {("fit", "T0", "sky"), ("figure", "T0", "sky"), ("catalog",)}


@pytest.mark.slow
def test_a_survey_with_braces_in_all_its_names(survey):
    survey.snakemake()
    results = survey.path / "results" / "{x,.*}" / "{target}"
    assert (results / "catalog.fits").is_file()
    assert (results / "fits" / "T0" / "sky" / "posterior.h5").is_file()
    assert (results / "fits" / "T0" / "sky" / "comparison.png").is_file()
    assert survey.planned()[0] == set()
    survey.snakemake("catalog_so_far")
    assert (results / "catalog_so_far.ecsv").is_file()
    image = survey.data / "a{0}.fits"
    fits.writeto(image, fits.getdata(image) * 1.01, overwrite=True)
    assert ("fit", "T0", "sky") in survey.planned()[0]
