"""A small image of noise, and how it is read."""

import numpy as np

from socca.data import Image

SHAPE = (11, 13)
VALUES = np.random.default_rng(5).normal(10, 2, SHAPE)


def read(source, **kwargs):
    kwargs.setdefault("pixel_scale", 0.2)
    return Image(source, **kwargs)
