"""Surveys of skies in one chunk: what the tests of chunks share."""

import numpy as np
from astropy.io import fits

from socca.survey.chunks import Chunk, number_of
from socca.survey.jobs.fit_command import fit_chunks

NAMES = ["a", "b", "c", "d", "e"]

ONE = Chunk("sky", 0, 1)


def write_image(folder, name, level, n=6):
    data = np.random.default_rng(number_of(name, 1000)).normal(level, 1, (n, n))
    fits.writeto(folder / f"{name}.fits", data, overwrite=True)


def run(survey, folder, **options):
    return list(fit_chunks(survey, folder / "survey.yaml", None, survey.chunks, **options))
