"""Surveys whose processes are killed at random moments end with the same results, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from astropy.io import fits

from socca.posterior import Posterior
from socca.survey.chunks import Chunk
from socca.survey.survey import Survey

ROOT = Path(__file__).parents[3]
NAMES = [f"T{k}" for k in range(8)]
CHUNK = Chunk("g", 0, 1)
CONFIG = {
    "survey": "killed",
    "targets": "t.csv",
    "image": {"pixel_scale": "0.2 arcsec"},
    "noise": {"level": 1},
    "models": {
        "g": {
            "components": {
                "blob": {"type": "Gaussian", "xc": 0, "yc": 0, "rs": "0.4 arcsec", "Is": {"uniform": [0, 200]}},
                "sky": {"type": "Background", "a0": {"normal": [0, 1]}},
            }
        }
    },
    "sampler": {"method": "nautilus", "options": {"n_live": 60, "n_eff": 100}},
    "pool": {"cores": 2},
    "batch": {"chunk": 10},
    "outputs": {"model_images": "none", "figures": "none"},
}


def write_survey(folder):
    """Write a survey of images of 17 x 17 pixels, with two free parameters."""
    folder.mkdir()
    row, col = np.mgrid[:17, :17] - 8.0
    for k, name in enumerate(NAMES):
        noise = np.random.default_rng([7, k]).normal(size=row.shape)
        light = (30 + 10 * k) * np.exp(-0.5 * (row**2 + col**2) / 2**2)
        fits.writeto(folder / f"{name}.fits", (light + noise).astype(np.float32))
    (folder / "t.csv").write_text("target,image\n" + "".join(f"{name},{name}.fits\n" for name in NAMES))
    (folder / "survey.yaml").write_text(yaml.safe_dump({**CONFIG, "output": str(folder / "results")}))
    return folder


def start(folder):
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "socca.cli", "fit", "--config", str(folder / "survey.yaml")],
            stdout=said,
            stderr=said,
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )


def kill(process, rng):
    """Kill the job, its workers, one worker, or all of them, with SIGKILL; return what was killed."""
    what = rng.choice(["all", "all", "job", "worker"])
    job = psutil.Process(process.pid)
    workers = job.children(recursive=True)
    rng.shuffle(workers)
    chosen = {"all": [job, *workers], "job": [job], "worker": workers[:1]}[what]
    for one in chosen:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    if what != "worker":
        process.wait()
        psutil.wait_procs(workers, timeout=60)  # which end by themselves when the job is gone
    return what


def results(folder):
    """Return the posteriors of a survey that is done."""
    path = CHUNK.path(Survey.load(folder / "survey.yaml").config.folder)
    return {name: Posterior.load(path, name) for name in NAMES}


def same(one, other):
    """Tell whether two posteriors are the same, bit for bit."""
    arrays = ("samples", "log_weights", "log_likelihood", "log_prior", "logz", "logz_err")
    return all(np.array_equal(getattr(one, key), getattr(other, key)) for key in arrays)


def saved(folder):
    """Return how many results and checkpoints of unfinished jobs there are."""
    parts = CHUNK.parts(CHUNK.path(folder / "results"))
    return len(list(parts.glob("*.h5"))) + len(list(parts.glob("*.socca")))


def endure(folder, kills, seed):
    """Run a survey again and again, killing it, and return what was killed and how much was saved at that moment.

    Whenever the survey gets to its end, its results are compared with those of an undisturbed one, and it starts
    afresh.
    """
    rng = random.Random(seed)  # noqa: S311
    whole, struck = write_survey(folder / "whole"), write_survey(folder / "struck")
    begun = time.monotonic()
    assert start(whole).wait() == 0, (whole / "said").read_text()
    takes = time.monotonic() - begun
    expected = results(whole)
    log, ended = [], 0

    def compare():
        found = results(struck)
        assert [name for name in NAMES if not same(found[name], expected[name])] == []
        for path in sorted((struck / "results").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    while len(log) < kills:
        process, before = start(struck), saved(struck)
        # Half of the moments just after something was saved, half of them at any time.
        patience = time.monotonic() + rng.uniform(0.2, 1.0) * takes
        wanted = before + rng.randint(1, 3) if rng.random() < 0.5 else len(NAMES) + 1
        while process.poll() is None and time.monotonic() < patience and saved(struck) < wanted:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        if process.poll() is None:
            kept = saved(struck)
            log.append((kill(process, rng), kept))
        if process.wait() == 0:
            compare()
            ended += 1
    assert start(struck).wait() == 0, (struck / "said").read_text()
    compare()
    return log, ended + 1


def test_a_job_that_is_killed_once_with_work_saved_goes_on(tmp_path):
    log, ended = endure(tmp_path, 1, seed=4)
    assert (len(log), ended) in {(1, 1), (1, 2)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills(tmp_path):
    log, ended = endure(tmp_path, 50, seed=1)
    with_work = sum(kept > 0 for _, kept in log)
    sys.stdout.write(f"{len(log)} kills, {with_work} with work saved; {ended} surveys compared\n")
    assert with_work >= 20


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        found, compared = endure(Path(name), int(sys.argv[1]), int(sys.argv[2]))
        for what, kept in found:
            sys.stdout.write(f"killed {what} with {kept} saved\n")
        with_saved = sum(kept > 0 for _, kept in found)
        sys.stdout.write(f"{len(found)} kills, {with_saved} with work saved; {compared} surveys compared, all equal\n")
