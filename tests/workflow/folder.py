"""A small survey, and the working directory in which Snakemake runs it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from socca.survey.freshness.stamps import chunk_stamp, write_chunk_stamp, write_fit_stamp
from socca.survey.survey import Survey

ROOT = Path(__file__).parents[2]
NAMES = ["a", "b", "c"]
COLUMNS = "target,image,psf,sigma,mask,flux"


def gaussian(shape, sigma):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((x - (shape[1] - 1) / 2) ** 2 + (y - (shape[0] - 1) / 2) ** 2) / 2 / sigma**2)


def write_target(folder, name, seed):
    rng = np.random.default_rng(seed)
    fits.writeto(folder / f"{name}.fits", 20 * gaussian((21, 21), 2.5) + rng.normal(size=(21, 21)), overwrite=True)
    fits.writeto(folder / f"{name}_psf.fits", gaussian((7, 7), 1.0), overwrite=True)
    fits.writeto(folder / f"{name}_rms.fits", np.ones((21, 21)), overwrite=True)
    fits.writeto(folder / f"{name}_mask.fits", np.zeros((21, 21), dtype=np.int16), overwrite=True)


def row(name, flux="1.5"):
    return f"{name},{name}.fits,{name}_psf.fits,{name}_rms.fits,{name}_mask.fits,{flux}"


def config():
    galaxy = {
        "type": "Gaussian",
        "xc": 0.0,
        "yc": 0.0,
        "rs": {"uniform": ["1 pix", "5 pix"]},
        "Is": {"uniform": [1, "$flux * 60"]},
    }
    star = {"type": "Point", "xc": 0.0, "yc": 0.0, "Ic": {"uniform": [1, "$flux * 600"]}}  # which compiles in no time
    return {
        "survey": "small",
        "targets": "data/targets.csv",
        "image": {"pixel_scale": 0.2},
        "models": {
            "plain": {"components": {"galaxy": galaxy}},
            "sky": {"components": {"star": star, "sky": {"type": "Background", "a0": {"normal": [0, 1]}}}},
        },
        "sampler": {"method": "optimizer", "options": {"n_draws": 50, "n_starts": 1, "n_samples": 500}},
        "outputs": {"figures": True},
        "overrides": {"c": {"image": {"psf": {"normalize": True}}}},
    }


class Folder:
    """A working directory in which Snakemake runs the repository's Snakefile."""

    def __init__(self, path):
        self.path = path
        self.data = path / "data"
        self.first = []  # folders in which commands are looked for first

    def copied(self, path):
        """Return a copy of the whole folder, with its times, in which nothing has to be looked at again.

        Copies of images are other files, whatever their times: their stamps are written anew, with the times of before.
        """
        shutil.copytree(self.path, path)
        copy = type(self)(path)
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(path)
            survey = Survey.load("survey.yaml")
            for stamp in list(Path("results").rglob("*.done")):
                times = stamp.stat()
                if stamp.name == "fit.done":
                    target, model = stamp.parts[-3:-1]
                    write_fit_stamp(stamp, survey, target, model)
                else:
                    chunk = next(iter(survey.chunks))
                    stamp = stamp.rename(chunk_stamp(survey, chunk))
                    for drawn in stamp.parent.glob("*.drawn"):
                        drawn.rename(stamp.with_suffix(".drawn"))
                    write_chunk_stamp(stamp, chunk)
                os.utime(stamp, ns=(times.st_atime_ns, times.st_mtime_ns))
        return copy

    def save(self, settings):
        (self.path / "survey.yaml").write_text(yaml.safe_dump(settings))

    def write_table(self, rows):
        (self.data / "targets.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")

    def snakemake(self, *arguments):
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", self.path),
            *("--workflow-profile", ROOT / "profiles" / "default", "--config", "survey=survey.yaml", "--cores", "2"),
        ]
        paths = [*self.first, Path(sys.executable).parent, os.environ["PATH"]]
        environment = {**os.environ, "PATH": os.pathsep.join(map(str, paths))}
        done = subprocess.run([*command, *arguments], cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self):
        """Return the (rule, target, model) of each job that a dry run announces, and its output."""
        text = self.snakemake("--dry-run")
        jobs = set()
        for block in re.split(r"\n(?=(?:local)?rule )", text):
            rule = re.match(r"(?:local)?rule (\w+):", block)
            if rule is None or rule[1] == "all":
                continue
            wildcards = re.search(r"wildcards: target=([^,\s]+), model=(\S+)", block)
            jobs.add((rule[1], *wildcards.groups()) if wildcards else (rule[1],))
        return jobs, text

    def posterior(self, target, model="plain"):
        return self.path / "results" / "small" / "fits" / target / model / "posterior.h5"

    def catalog(self):
        return Table.read(self.path / "results" / "small" / "catalog.ecsv")
