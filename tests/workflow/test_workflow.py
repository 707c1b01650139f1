"""The real Snakemake on a small survey: what runs, what runs again, and what one bad image costs."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from socca.posterior import Posterior
from tests.workflow.folder import COLUMNS, NAMES, ROOT, Folder, config, row, write_target


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A survey that was run once, to be copied and changed."""
    folder = Folder(tmp_path_factory.mktemp("survey"))
    folder.data.mkdir()
    for k, name in enumerate(NAMES):
        write_target(folder.data, name, seed=k)
    folder.write_table([row(name) for name in NAMES])
    folder.save(config())
    folder.snakemake()
    return folder


@pytest.fixture
def survey(finished, tmp_path):
    """A copy of the finished survey, with its times and with Snakemake's records."""
    return finished.copied(tmp_path / "survey")


def refit(target):
    """Return what has to run when everything about one target is fitted again."""
    fitted = {("fit", target, model) for model in ("plain", "sky")}
    return fitted | {("figure", target, model) for model in ("plain", "sky")} | {("catalog",)}


def test_catalog_holds_every_fit(finished):
    table = finished.catalog()
    assert list(zip(table["target"], table["model"], strict=True)) == [
        (name, model) for name in NAMES for model in ("plain", "sky")
    ]
    assert set(table["status"]) == {"done"}
    # Seen with a width of 2.5 pixels through a PSF of about 1, over a noise of 1/20 of its peak: sigma about 2 %.
    plain = table[table["model"] == "plain"]
    assert np.all(np.abs(plain["galaxy_rs"] / 0.2 - np.sqrt(2.5**2 - 1)) < 0.2)
    binary = Table.read(finished.path / "results" / "small" / "catalog.fits")
    assert list(binary["target"]) == list(table["target"])
    np.testing.assert_allclose(binary["galaxy_rs"], table["galaxy_rs"], rtol=1e-12)


def test_finished_survey_does_nothing(survey):
    jobs, text = survey.planned()
    assert jobs == set()
    assert "Nothing to be done" in text


@pytest.mark.parametrize("file", ["b.fits", "b_psf.fits"])
def test_new_content_refits_its_target_alone(survey, file):
    path = survey.data / file
    fits.writeto(path, fits.getdata(path) * 1.01, overwrite=True)
    jobs, text = survey.planned()
    assert jobs == refit("b")
    role = "psf" if "psf" in file else "image"
    assert f"b sky: to be fitted again: {role} has changed" in text


def test_new_content_with_an_older_time_refits_its_target_alone(survey):
    """As `cp -p` and `rsync -a` leave it, and a link that is pointed to another file."""
    fits.writeto(survey.path / "other.fits", fits.getdata(survey.data / "b.fits") * 1.01)
    os.utime(survey.path / "other.fits", (1e9, 1e9))
    (survey.data / "b.fits").unlink()
    (survey.data / "b.fits").symlink_to(survey.path / "other.fits")
    assert survey.planned()[0] == refit("b")


@pytest.mark.thorough
def test_new_time_with_old_content_fits_nothing(survey):
    before = survey.posterior("b").read_bytes()
    later = time.time() + 60
    os.utime(survey.data / "b.fits", (later, later))
    jobs, text = survey.planned()
    assert jobs == refit("b")  # which looks at the content
    assert "to be fitted again" not in text
    survey.snakemake()
    assert survey.posterior("b").read_bytes() == before
    assert survey.planned()[0] == set()


def test_without_snakemake_s_records_what_changed_is_fitted(survey):
    shutil.rmtree(survey.path / ".snakemake")
    assert survey.planned()[0] == set()
    settings = config()
    settings["models"]["sky"]["components"]["sky"]["a0"] = {"normal": [0, 2]}
    survey.save(settings)
    shutil.rmtree(survey.path / ".snakemake")
    jobs, text = survey.planned()
    assert {job for job in jobs if job[0] == "fit"} == {("fit", name, "sky") for name in NAMES}
    assert "a sky: to be fitted again: the config has changed: models.sky.components.sky.a0\n" in text


def test_a_column_that_no_fit_uses_fits_nothing(survey):
    rows = [row(name) + ",0.1" for name in NAMES]
    (survey.data / "targets.csv").write_text("\n".join([COLUMNS + ",z", *rows]) + "\n")
    assert survey.planned()[0] == set()


def test_another_config_of_the_same_survey_is_refused(survey, finished):
    note = survey.path / "results" / "small" / "config.json"
    note.write_text(note.read_text().replace(str(finished.path), str(survey.path)))  # it was copied with the results
    shutil.copy(survey.path / "survey.yaml", survey.path / "other.yaml")
    with pytest.raises(AssertionError, match=r"other\.yaml and .*survey\.yaml write their results into the same"):
        survey.snakemake("--dry-run", "--config", "survey=other.yaml")


def test_a_posterior_that_is_deleted_is_made_again(survey):
    survey.posterior("b", "sky").unlink()
    fitted = {("fit", "b", "sky"), ("figure", "b", "sky"), ("catalog",)}
    assert survey.planned()[0] == fitted


def test_changed_row_refits_its_target_alone(survey):
    survey.write_table([row("a"), row("b", flux="2.5"), row("c")])
    jobs, text = survey.planned()
    assert jobs == refit("b")
    assert "b plain: to be fitted again: its row of the table has changed: flux" in text


def test_new_row_is_fitted_alone(survey):
    write_target(survey.data, "d", seed=9)
    survey.write_table([row(name) for name in [*NAMES, "d"]])
    assert survey.planned()[0] == refit("d")


def test_changed_model_refits_what_uses_it(survey):
    settings = config()
    settings["models"]["sky"]["components"]["sky"]["a0"] = {"normal": [0, 2]}
    survey.save(settings)
    expected = {(rule, name, "sky") for rule in ("fit", "figure") for name in NAMES} | {("catalog",)}
    assert survey.planned()[0] == expected


def test_changed_sampler_refits_everything(survey):
    settings = config()
    settings["sampler"]["options"]["n_samples"] = 600
    survey.save(settings)
    assert survey.planned()[0] == set().union(*map(refit, NAMES))


def test_changed_override_refits_its_target_alone(survey):
    settings = config()
    settings["overrides"]["c"]["image"]["psf"]["normalize"] = False
    survey.save(settings)
    assert survey.planned()[0] == refit("c")


def test_changed_plot_option_fits_nothing(survey):
    settings = config()
    settings["plots"] = {"colormap": "magma"}
    survey.save(settings)
    assert survey.planned()[0] == {("figure", name, model) for name in NAMES for model in ("plain", "sky")}


@pytest.mark.thorough
def test_changed_flags_remake_the_catalog_alone(survey):
    settings = config()
    settings["flags"] = {"poor_fit": 0.01}
    survey.save(settings)
    assert survey.planned()[0] == {("catalog",)}
    survey.snakemake()
    assert all("poor_fit" in flags for flags in survey.catalog()["flag_names"])


def test_rerun_gives_the_new_result_and_leaves_the_others(survey):
    before = {name: survey.posterior(name).read_bytes() for name in NAMES}
    fits.writeto(survey.data / "b.fits", 2 * fits.getdata(survey.data / "b.fits"), overwrite=True)
    survey.snakemake()
    for name in ("a", "c"):
        assert survey.posterior(name).read_bytes() == before[name]
    table = survey.catalog()
    brightness = {r["target"]: r["galaxy_Is"] for r in table if r["model"] == "plain"}
    # Twice the light in b; the others differ from each other by noise only (a few percent).
    assert brightness["b"] / brightness["a"] == pytest.approx(2, rel=0.2)
    assert survey.planned()[0] == set()


def test_bad_images_cost_only_themselves(survey):
    write_target(survey.data, "d", seed=4)
    names = ["a", "truncated", "psf", "masked", "missing", "d"]
    for name in names[1:5]:
        write_target(survey.data, name, seed=5)
    whole = (survey.data / "truncated.fits").read_bytes()
    (survey.data / "truncated.fits").write_bytes(whole[: len(whole) // 2])
    fits.writeto(survey.data / "psf_psf.fits", np.ones((50, 50)), overwrite=True)
    fits.writeto(survey.data / "masked_mask.fits", np.ones((21, 21), dtype=np.int16), overwrite=True)
    (survey.data / "missing.fits").unlink()
    survey.write_table([row(name) for name in names])
    settings = config() | {"outputs": {"figures": False}}
    del settings["models"]["plain"], settings["overrides"]
    survey.save(settings)

    checked = subprocess.run(
        [sys.executable, "-m", "socca.cli", "check", "--config", "survey.yaml"],
        cwd=survey.path, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 1
    for name in names[1:5]:
        assert f"\n{name}: " in "\n" + checked.stdout
    assert "\na: " not in "\n" + checked.stdout

    survey.snakemake()
    table = survey.catalog()
    table.add_index("target")
    assert {name: table.loc[name]["status"] for name in names} == {
        **dict.fromkeys(names, "failed"),
        "a": "done",
        "d": "done",
    }
    words = {"truncated": "truncated.fits", "psf": "psf", "masked": "masked", "missing": "no such file"}
    for name, word in words.items():
        assert word in table.loc[name]["message"]
        log = (survey.path / "results" / "small" / "logs" / "fit" / name / "sky.log").read_text()
        assert "Traceback (most recent call last)" in log
    status = subprocess.run(
        [sys.executable, "-m", "socca.cli", "status", "--config", "survey.yaml"],
        cwd=survey.path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "missing sky: failed: " in status
    assert f"Their logs are in {Path('results/small/logs/fit')}." in status
    assert survey.planned()[0] == set()

    # A failure is tried again on request.
    retried = survey.snakemake("--dry-run", "--config", "survey=survey.yaml", "retry=failed")
    assert retried.count("sky: to be fitted again: it failed, and is to be tried again") == 4
    assert len(re.findall(r"^rule fit:", retried, re.M)) == 4
    assert survey.planned()[0] == set()  # a dry run has changed nothing
    retry = ["--config", "survey=survey.yaml", "retry=failed"]
    before = survey.posterior("psf", "sky").stat().st_mtime_ns
    survey.snakemake(*retry)
    assert survey.posterior("psf", "sky").stat().st_mtime_ns > before
    assert list(survey.catalog()["status"]).count("failed") == 4
    # The job of the catalogue on a node finds all that it is made from, failed again or not.
    stamps = {path: path.read_bytes() for path in (survey.path / "results").rglob("fit.done")}
    on_node = ["--mode", "remote", "--target-jobs", "catalog:", "--allowed-rules", "catalog", "--force", "--nolock"]
    survey.snakemake(*on_node, *retry)
    assert {path: path.read_bytes() for path in (survey.path / "results").rglob("fit.done")} == stamps
    assert survey.planned()[0] == set()

    # Once what is wrong is put right, that target is tried again.
    write_target(survey.data, "missing", seed=5)
    (survey.data / "truncated.fits").write_bytes(whole)
    expected = {("fit", name, "sky") for name in ("missing", "truncated")}
    assert survey.planned()[0] == expected | {("catalog",)}
    survey.snakemake()
    assert list(survey.catalog()["status"]).count("failed") == 2
    assert Posterior.load(survey.posterior("missing", "sky")).meta["target"] == "missing"


def test_mistakes_in_the_config_end_with_a_message(survey):
    settings = config()
    settings["modles"] = settings.pop("models")
    survey.save(settings)
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "-n", "--config", "survey=survey.yaml"]
    done = subprocess.run(command, cwd=survey.path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "did you mean 'models'" in done.stdout + done.stderr
