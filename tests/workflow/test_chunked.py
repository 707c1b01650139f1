"""The real Snakemake on a survey in chunks: what runs again, what one bad image costs, and what the profiles say."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from socca.posterior import Posterior
from socca.posterior.container import read_headers
from socca.survey.chunks import Chunk, number_of
from tests.workflow.folder import NAMES, ROOT, Folder, config, row, write_target

ONE = Chunk("sky", 0, 1)


def chunked(**changes):
    """Return the config of the survey that the other tests run, in chunks, with one of its models."""
    settings = config() | {"batch": {"chunk": 10}, "outputs": {"model_images": "flagged", "figures": "flagged"}}
    del settings["models"]["plain"]
    return settings | {"flags": {"poor_fit": 1e-9}} | changes


class Chunks(Folder):
    """A survey in one chunk."""

    @property
    def container(self):
        return ONE.path(self.path / "results" / "small")

    def jobs(self):
        """Return the rules of the jobs that a dry run announces, and its output."""
        text = self.snakemake("--dry-run")
        return sorted(set(re.findall(r"^(?:local)?rule (\w+):", text, re.M)) - {"all"}), text

    def log(self):
        logs = (self.path / "results" / "small" / "logs" / "fit" / "sky").glob("0of1-*.log")
        return max(logs, key=lambda path: path.stat().st_mtime).read_text()

    def fitted(self):
        """Return the targets that the last job of the chunk has fitted."""
        return re.findall(r"(\w+) sky: to be fitted", self.log())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = Chunks(tmp_path_factory.mktemp("chunked"))
    folder.data.mkdir()
    for k, name in enumerate(NAMES):
        write_target(folder.data, name, seed=k)
    folder.write_table([row(name) for name in NAMES])
    folder.save(chunked())
    folder.snakemake()
    return folder


@pytest.fixture
def survey(finished, tmp_path):
    copy = finished.copied(tmp_path / "survey")
    copy.save(chunked(outputs={"model_images": "none", "figures": "none"}))
    return copy


def test_everything_is_there(finished):
    table = finished.catalog()
    assert list(table["target"]) == NAMES
    assert set(table["status"]) == {"done"}
    assert list(read_headers(finished.container)) == NAMES
    for name in NAMES:
        assert (finished.path / "results" / "small" / "fits" / name / "sky" / "comparison.png").exists()
    assert finished.jobs()[0] == []


def test_an_image_that_changes_is_fitted_again_alone(survey):
    # Its time alone: the job runs, and fits nothing.
    os.utime(survey.data / "b.fits")
    assert survey.jobs()[0] == ["catalog", "fit"]
    survey.snakemake()
    assert survey.fitted() == []
    assert survey.jobs()[0] == []

    before = {name: Posterior.load(survey.container, name) for name in NAMES}
    path = survey.data / "b.fits"
    fits.writeto(path, 2 * fits.getdata(path), overwrite=True)
    jobs, text = survey.jobs()
    assert jobs == ["catalog", "fit"]
    assert re.search(r"Missing output files: results/small/chunks/sky/0of1-\w+\.done", text)
    survey.snakemake()
    assert survey.fitted() == ["b"]
    assert "b sky: to be fitted: image has changed" in survey.log()
    for name in "ac":
        assert np.array_equal(Posterior.load(survey.container, name).samples, before[name].samples)
    ratio = Posterior.load(survey.container, "b").median()[0] / before["b"].median()[0]
    assert ratio == pytest.approx(2, rel=0.05)
    assert survey.jobs()[0] == []


def test_new_rows_and_changed_rows_are_fitted_alone(survey):
    write_target(survey.data, "d", seed=9)
    survey.write_table([row("d"), row("a"), row("b", flux="2.5"), row("c")])
    survey.snakemake()
    assert sorted(survey.fitted()) == ["b", "d"]
    assert list(survey.catalog()["target"]) == ["d", "a", "b", "c"]


def test_flags_and_looks_fit_nothing(survey):
    # In a copy, Snakemake has no record of the figures: they are drawn once more.
    survey.save(chunked())
    (drawn,) = survey.container.parent.glob("*.drawn")
    drawn.unlink()
    survey.snakemake()
    survey.save(chunked(flags={"poor_fit": 1e9}, plots={"colormap": "magma"}))
    assert survey.jobs()[0] == ["catalog", "figure"]
    survey.snakemake()
    assert not list((survey.path / "results" / "small" / "fits").rglob("*.png"))


def test_a_lost_container_is_made_again(survey):
    survey.container.unlink()
    assert survey.jobs()[0] == ["catalog", "fit"]


def test_engines_for_the_outer_scale_take_the_workflow(survey):
    shutil.rmtree(survey.path / "results")
    names = [f"t{k}" for k in range(16)]
    survey.save(chunked(batch={"chunk": 2}))
    survey.write_table([row(name) for name in [*NAMES, *names]])
    chunks = len({number_of(name, 16) for name in [*NAMES, *names]})
    assert chunks > 6
    # The default target asks for all posteriors itself: a part of the survey is a part of the catalogue's inputs.
    text = survey.snakemake("catalog", "--dry-run", "--quiet", "rules")
    assert re.search(rf"^fit +{chunks}$", text, re.M), text
    text = survey.snakemake("catalog", "--dry-run", "--quiet", "rules", "--batch", "catalog=1/3")
    assert int(re.search(r"^fit +(\d+)$", text, re.M)[1]) < chunks / 2, text


def test_a_bad_image_costs_only_itself_and_the_catalogue_is_there_at_any_time(survey):
    whole = (survey.data / "b.fits").read_bytes()
    (survey.data / "b.fits").write_bytes(whole[: len(whole) // 2])
    survey.write_table([row(name) for name in [*NAMES, "missing"]])
    survey.snakemake("catalog_so_far")
    table = Table.read(survey.path / "results" / "small" / "catalog_so_far.ecsv")
    assert dict(zip(table["target"], table["status"], strict=True)) == {
        "a": "done",
        "b": "stale",
        "c": "done",
        "missing": "missing",
    }
    survey.snakemake()
    assert sorted(survey.fitted()) == ["b", "missing"]
    table = survey.catalog()
    status = dict(zip(table["target"], table["status"], strict=True))
    assert status == {"a": "done", "b": "failed", "c": "done", "missing": "failed"}
    (survey.data / "b.fits").write_bytes(whole)
    survey.snakemake()
    assert survey.fitted() == ["b"]
    assert survey.jobs()[0] == []


def test_a_job_that_fails_keeps_what_it_has(survey):
    """Even one that fails after its work is done; and without Snakemake's records, what changed is known."""
    fits.writeto(survey.data / "b.fits", 3 * fits.getdata(survey.data / "b.fits"), overwrite=True)
    before = {name: Posterior.load(survey.container, name) for name in NAMES}
    wrapper = survey.path / "bin" / "socca"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\n{Path(sys.executable).parent}/socca "$@"\nexit 9\n')
    wrapper.chmod(0o755)
    survey.first = [wrapper.parent]
    with pytest.raises(AssertionError, match="exit status 9"):
        survey.snakemake()
    for name in "ac":
        assert np.array_equal(Posterior.load(survey.container, name).samples, before[name].samples)
    ratio = Posterior.load(survey.container, "b").median()[0] / before["b"].median()[0]
    assert ratio == pytest.approx(3, rel=0.05)
    shutil.rmtree(survey.path / ".snakemake")
    survey.first = []
    survey.snakemake()
    assert survey.fitted() == []
    fits.writeto(survey.data / "c.fits", 3 * fits.getdata(survey.data / "c.fits"), overwrite=True)
    shutil.rmtree(survey.path / ".snakemake")
    assert "fit" in survey.jobs()[0]


def test_pools_are_the_profiles_choice(survey):
    """The same survey, with ranks of MPI: no other launcher or number of them is a reason to fit again."""
    shutil.rmtree(survey.path / "results")
    ranks = ["--set-resources", "fit:mpi=mpirun --oversubscribe", "fit:tasks=2", "--set-threads", "fit=2"]
    settings = chunked(outputs={"model_images": "none", "figures": "none"})
    settings["sampler"] = {"method": "nautilus", "options": {"n_live": 60, "n_eff": 60}}
    survey.save(settings)
    own = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in own.items():
            patched.setenv(name, value)
        survey.snakemake(*ranks)
    shared = Posterior.load(survey.container, "a")
    assert (shared.meta["pool"], shared.meta["workers"]) == ("mpi", 2)
    assert survey.jobs()[0] == []


# what the profiles resolve to


def resolved(profile):
    from snakemake.cli import parse_args

    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        return parse_args(["--profile", profile] if profile else [])[1]


@pytest.mark.parametrize("profile", ["", "slurm", "slurm-mpi", "mpi"])
def test_every_profile_has_the_keys_for_all(profile):
    found = resolved(profile)
    assert (found.scheduler, found.keep_going) == ("greedy", True)
    assert {trigger.name for trigger in found.rerun_triggers} == {"MTIME", "PARAMS", "INPUT", "CODE"}


@pytest.mark.parametrize(
    ("profile", "executor", "jobs", "cores"),
    [("slurm", "slurm", 500, None), ("slurm-mpi", "slurm", 100, None), ("mpi", None, None, os.cpu_count())],
)
def test_profiles_say_where_and_on_how_much(profile, executor, jobs, cores):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    found = resolved(profile)
    assert (found.executor, found.jobs, found.cores) == (executor, jobs, cores)
    if executor:
        assert found.slurm_status_command == "squeue"
        assert {"runtime", "mem_mb"} <= set(found.default_resources)
    if "mpi" in profile:
        wanted = yaml.safe_load((ROOT / profile / "config.yaml").read_text())["set-resources"]["fit"]
        assert set(found.set_resources["fit"]) == set(wanted) >= {"mpi", "tasks"}


def test_profiles_are_found_by_their_names():
    for profile in ("slurm", "slurm-mpi", "mpi"):
        assert (ROOT / profile).is_symlink()
        assert (ROOT / profile / "config.yaml").samefile(ROOT / "profiles" / profile / "config.yaml")
