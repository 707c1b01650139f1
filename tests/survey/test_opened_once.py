"""How often files are opened: each input of a target once a fit, once a check, and once to be drawn."""

import gzip
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from socca.data import Image
from socca.fitting.script import fitter
from socca.models import Background, Model
from socca.noise import Normal
from socca.priors import normal
from socca.survey.check.inputs import check_survey
from socca.survey.chunks import Chunk
from socca.survey.freshness.input_files import described
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.chunk_products import draw_chunk
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey

SHAPE = (15, 17)
MODEL = {"sky": {"components": {"sky": {"type": "Background", "a0": {"normal": [0, 10]}}}}}
SAMPLER = {"method": "optimizer", "options": {"n_draws": 50, "n_starts": 1, "n_samples": 100}}


class Opened:
    """Counts every file that Python opens within a `with` block, by its name, however it is done."""

    def __init__(self):
        self._counts = None
        sys.addaudithook(self._hear)  # which lasts as long as the process

    def _hear(self, event, arguments):
        if event == "open" and self._counts is not None and isinstance(arguments[0], str | bytes | os.PathLike):
            self._counts[Path(os.fsdecode(arguments[0])).name] += 1

    def __enter__(self):
        self._counts = Counter()
        return self._counts

    def __exit__(self, *_):
        self._counts = None


@pytest.fixture(scope="module")
def opened():
    return Opened()


@pytest.fixture
def row(tmp_path, write_fits, make_psf):
    """Files of every kind that a target may have, and its row of the table."""
    rng = np.random.default_rng(1)
    write_fits(tmp_path / "image.fits", rng.normal(size=SHAPE))
    (tmp_path / "image.fits.gz").write_bytes(gzip.compress((tmp_path / "image.fits").read_bytes()))
    mask, segments = np.zeros(SHAPE), np.zeros(SHAPE)
    mask[0, 0], segments[5:8, 5:8], segments[12, 12] = 1, 1, 2
    planes = {
        "psf": make_psf((5, 5)),
        "sigma": np.ones(SHAPE),
        "mask": mask,
        "segmentation": segments,
        "response": np.ones(SHAPE),
        "exposure": np.ones(SHAPE),
    }
    files = {kind: write_fits(tmp_path / f"{kind}.fits", plane).name for kind, plane in planes.items()}
    # Known for a region file by what is in it alone.
    (tmp_path / "stars.txt").write_text("# Region file format: DS9\nimage\ncircle(3,14,2)\n")
    return {"target": "t", "image": "image.fits.gz", **files, "regions": "stars.txt", "segment": 1}


@pytest.fixture
def survey(tmp_path, row, write_fits):
    """Give a function that makes a survey of that target."""

    def make(noise=None, **changes):
        columns = row
        if noise is not None:  # which wants all pixels used
            columns = {key: row[key] for key in ("target", "image", "psf", "response")}
            rng = np.random.default_rng(2)
            write_fits(tmp_path / "cube.fits", rng.normal(size=(30, *SHAPE)))
            write_fits(tmp_path / "window.fits", np.ones(SHAPE))
        (tmp_path / "targets.csv").write_text(",".join(columns) + "\n" + ",".join(map(str, columns.values())) + "\n")
        settings = {"survey": "s", "targets": "targets.csv", "output": str(tmp_path / "results"), "models": MODEL}
        settings |= {"image": {"pixel_scale": "0.2 arcsec", "cutout": {"size": "11 pix"}}, "sampler": SAMPLER}
        settings |= {"noise": noise} if noise else {}
        (tmp_path / "survey.yaml").write_text(yaml.safe_dump(settings | changes))
        return Survey.load(tmp_path / "survey.yaml")

    return make


FOURIER = {"kind": "normal_fourier", "cube": "cube.fits", "apodization": "window.fits"}


def once(survey):
    return dict.fromkeys((path.name for path in survey.files("t").values()), 1)


def of_inputs(counts, survey):
    return {path.name: counts[path.name] for path in survey.files("t").values()}


@pytest.mark.parametrize("noise", [None, FOURIER], ids=["maps", "cube"])
def test_a_fit_opens_each_file_once_and_once_more_for_its_digest(survey, noise, opened):
    made = survey(noise)
    assert len(made.files("t")) == (8 if noise is None else 5)
    with opened as counts:
        outcomes = list(fit_all(made, made.jobs()))
    assert [outcome.status for outcome in outcomes] == ["done"], outcomes
    assert of_inputs(counts, made) == dict.fromkeys(once(made), 2)
    with opened as counts:
        described(made.files("t"))
    assert of_inputs(counts, made) == once(made)


@pytest.mark.parametrize("noise", [None, FOURIER], ids=["maps", "cube"])
def test_a_check_opens_each_file_once(survey, noise, opened):
    made = survey(noise)
    with opened as counts:
        assert list(check_survey(made)) == []
    assert of_inputs(counts, made) == once(made)


def test_model_images_and_figures_of_a_chunk(survey, opened):
    made, chunk = survey(batch={"chunk": 2}), Chunk("sky", 0, 1)
    job = ChunkJob(made, chunk)
    assert [outcome.status for outcome in job.fit(["t"])] == ["done"]
    job.finish()
    with opened as counts:
        assert draw_chunk(made, chunk) == 1
    assert of_inputs(counts, made) == once(made)
    # The figure is drawn from what was written, not from the file.
    assert made.path("t", "sky", "model.fits").exists()
    assert made.figure("t", "sky").exists()
    assert counts["model.fits"] == 0
    # Once there are model images, a figure takes nothing else.
    made.figure("t", "sky").unlink()
    with opened as counts:
        draw_chunk(made, chunk)
    assert made.figure("t", "sky").exists()
    assert of_inputs(counts, made) == dict.fromkeys(once(made), 0)
    assert counts["model.fits"] == 1


def test_a_script_opens_each_file_once(row, tmp_path, opened):
    path = {kind: tmp_path / str(name) for kind, name in row.items() if kind not in ("target", "segment")}
    with opened as counts:
        image = Image(
            path["image"],
            path["response"],
            path["exposure"],
            Normal(sigma=path["sigma"]),
            pixel_scale=0.2,
            csize=11,
            addmask={"regions": [path["mask"], path["regions"]], "good": "zero"},
            addpsf={"img": path["psf"]},
        )
        image.keep_segment(path["segmentation"], 1)
        fit = fitter(img=image, mod=Model(Background(a0=normal(0, 10))))
        fit.run("optimizer", n_draws=50, n_starts=1, n_samples=100)
        fit.plot.comparison(tmp_path / "comparison.png")
    names = {each.name for each in path.values()}
    assert {name: counts[name] for name in names} == dict.fromkeys(names, 1)
    # Nothing was written for the figure, to be read again.
    assert {name for name in counts if name.endswith(".fits")} <= names
