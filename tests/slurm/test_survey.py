"""Whole surveys under a real Slurm, by the profiles alone: `tests/slurm/start` makes one (as root, on Debian)."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

import socca
from socca.posterior.storage import header_of, open_result
from socca.survey.chunks import Chunk
from socca.survey.survey import Survey
from tests.slurm.running import needs_slurm

pytestmark = needs_slurm
ROOT = Path(__file__).parents[2]
#: What only tests ask of Slurm's executor: to look at once, since these jobs are short.
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10"]


class Clone:
    """A copy of the repository, in whose root Snakemake is run as a user would."""

    def __init__(self, path):
        self.path = path
        leave = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, path, symlinks=True, ignore=leave)
        scripts = Path(sys.executable).parent
        own = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.environment = {**os.environ, **own, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}

    def save(self, config):
        (self.path / "survey.yaml").write_text(yaml.safe_dump(config))

    def start(self, *arguments, config=()):
        """Start Snakemake on the survey."""
        command = [sys.executable, "-m", "snakemake", *arguments, "--config", "survey=survey.yaml", *config]
        return subprocess.Popen(
            command, cwd=self.path, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments, config=(), timeout=900):
        job = self.start(*arguments, config=config)
        try:
            text, _ = job.communicate(timeout=timeout)
        finally:
            job.kill()
        assert job.returncode == 0, text
        return text

    def results(self):
        """Return the place of each result."""
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(self.path)
            survey = Survey.load("survey.yaml")
            return {(t, m): place._replace(path=self.path / place.path) for t, m, place in survey.results()}


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "socca")


def sky_survey(folder, names, *, shape=(8, 8), **changes):
    """Write images of a flat sky, and return the config of their survey."""
    for k, name in enumerate(names):
        data = np.random.default_rng(k).normal(0.5, 1, shape)
        fits.writeto(folder / f"{name}.fits", data)
    (folder / "targets.csv").write_text("target,image\n" + "".join(f"{name},{name}.fits\n" for name in names))
    prior = {"normal": [0, 1]}
    return {
        "survey": "skies",
        "targets": "targets.csv",
        "image": {"pixel_scale": "0.2 arcsec"},
        "noise": {"level": 1},
        "models": {"sky": {"components": {"sky": {"type": "Background", "a0": prior, "a1x": prior}}}},
        "sampler": {"method": "nautilus", "options": {"n_live": 100, "n_eff": 200}},
        "outputs": {"model_images": "none", "figures": "none"},
    } | changes


def running_jobs(comment):
    """Return the ids of running jobs whose comment, Snakemake's rule and wildcards, has this in it."""
    done = subprocess.run(["squeue", "-h", "-t", "R", "-o", "%i %k"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines() if comment in line]


def test_the_demo_survey_with_a_job_that_is_cancelled(clone):
    """Through ``snakemake --profile slurm``, fewer galaxies than the demo has, in chunks; one job is cancelled."""
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    config["simulate"]["number"] = 2
    config["batch"] = {"chunk": 2}
    config["sampler"] = {"method": "nautilus", "options": {"n_live": 100, "n_eff": 300}}
    config["outputs"] = {"model_images": "none", "figures": "none"}
    clone.save(config)
    job = clone.start("--profile", "slurm", *QUICK)
    try:
        cancelled, deadline = [], time.monotonic() + 200
        while not cancelled and time.monotonic() < deadline and job.poll() is None:
            time.sleep(0.3)
            cancelled = running_jobs("rule_fit")
        subprocess.run(["scancel", cancelled[0]], check=True)
        text, _ = job.communicate(timeout=900)
    finally:
        job.kill()
    assert job.returncode == 0, text
    assert "Trying to restart job" in text
    folder = clone.path / "results" / "demo"
    catalog = Table.read(folder / "catalog.ecsv")
    assert list(catalog["status"]) == ["done"] * 2, text
    assert (folder / "recovery.png").exists()
    # Nothing is left to do, on this machine or the cluster.
    assert "Nothing to be done" in clone.run("--profile", "slurm", "--dry-run")


def test_ranks_share_a_fit_and_a_bad_image_costs_only_itself(clone):
    config = sky_survey(clone.path, ["a", "bad"])
    whole = (clone.path / "bad.fits").read_bytes()
    (clone.path / "bad.fits").write_bytes(whole[: len(whole) // 3])
    clone.save(config)
    # The profile's own fit needs more cores than this machine has.
    ranks = ["fit:mpi=srun --mpi=pmix", "fit:tasks=2", "fit:mem_mb=2000"]
    clone.run("--profile", "slurm-mpi", *QUICK, "--set-resources", *ranks)
    found = clone.results()
    shared = socca.load(*found["a", "sky"])
    assert (shared.meta["pool"], shared.meta["workers"]) == ("mpi", 2)
    table = Table.read(clone.path / "results" / "skies" / "catalog.ecsv")
    assert dict(zip(table["target"], table["status"], strict=True)) == {"a": "done", "bad": "failed"}

    # The same on this machine, with processes of loky, which is what the config asks for.
    clone.save(config | {"output": "results/local", "pool": {"cores": 2}})
    clone.run("--cores", "2")
    alone = socca.load(*clone.results()["a", "sky"])
    assert (alone.meta["pool"], alone.meta["workers"]) == ("loky", 2)
    assert np.array_equal(shared.samples, alone.samples)
    assert np.array_equal(shared.log_weights, alone.log_weights)
    assert shared.logz == alone.logz


@pytest.mark.parametrize("chunk", [1, 2])
def test_recorded_failures_are_tried_again_if_that_is_asked_for(clone, chunk):
    """By the job on the node too, which hears of it from the Snakemake that submits it."""
    sampler = {"method": "optimizer", "options": {"n_draws": 50, "n_starts": 1, "n_samples": 100}}
    config = sky_survey(clone.path, ["a", "bad"], sampler=sampler, batch={"chunk": chunk})
    fits.writeto(clone.path / "bad.fits", np.full((8, 8), np.nan), overwrite=True)
    clone.save(config)
    slurm = ["--profile", "slurm", *QUICK]
    clone.run(*slurm)

    def finished():
        """Return when the result of each target was made."""
        found = {}
        for (target, _), place in clone.results().items():
            with open_result(*place) as group:
                header = header_of(group)
            found[target] = (header.status, header.record.provenance.finished)
        return found

    before = finished()
    assert {target: status for target, (status, _) in before.items()} == {"a": "done", "bad": "failed"}
    assert "Nothing to be done" in clone.run(*slurm, "--dry-run")
    time.sleep(1.1)  # results say to the second when they were made
    text = clone.run(*slurm, config=["retry=failed"])
    assert "bad sky: to be fitted again: it failed, and is to be tried again" in text
    after = finished()
    assert after["a"] == before["a"]
    assert after["bad"][0] == "failed"
    assert after["bad"][1] > before["bad"][1]
    assert "Nothing to be done" in clone.run(*slurm, "--dry-run")


def stop_fits(folder):
    """Suspend the processes that fit in this folder, as a machine that stands still would; return how many."""
    stopped = 0
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = process.info["cmdline"] or []
            if "fit" in words and any(word.endswith("socca") for word in words) and process.cwd() == str(folder):
                process.suspend()
                stopped += 1
    return stopped


@pytest.mark.slow
def test_a_fit_that_meets_its_time_limit_goes_on_in_the_next_job(clone):
    """Slurm's limits are whole minutes, so that this test takes two. The fit stands still until it meets its limit."""
    sampler = {"method": "emcee", "options": {"n_eff": 10_000_000, "max_steps": 2000}}
    config = sky_survey(clone.path, ["a", "b"], shape=(500, 500), sampler=sampler, batch={"chunk": 2})
    clone.save(config)
    job = clone.start("--profile", "slurm", *QUICK, "--set-resources", "fit:runtime=1 if attempt == 1 else 20")
    try:
        deadline = time.monotonic() + 60
        while not list(clone.path.glob("results/skies/**/*.parts/**/checkpoint*")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert stop_fits(clone.path) > 0
        text, _ = job.communicate(timeout=900)
    finally:
        job.kill()
    assert job.returncode == 0, text
    assert "Trying to restart job" in text
    (log,) = (clone.path / "results" / "skies" / "logs" / "fit" / "sky").glob("*.log")
    said = log.read_text()
    assert "going on from" in said
    results = clone.results()
    for target in "ab":
        posterior = socca.load(*results[target, "sky"])
        # Of all steps, those of the job before included.
        assert posterior.meta["n_calls"] >= 2000 * 16
    assert not Chunk.parts(results["a", "sky"].path).exists()
