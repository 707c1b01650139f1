"""The data and numbers of one scene, of which problems are made."""

import numpy as np

from socca.models import Background, Model
from socca.parameters.expressions import parse
from socca.priors import uniform

SHAPE = (16, 17)
RNG = np.random.default_rng(12)
DATA = RNG.normal(0.4, 1, SHAPE)
SIGMA = RNG.uniform(0.5, 2, SHAPE)
MASK = RNG.random(SHAPE) > 0.3

#: Numbers of the scene that `make_problem` makes; each is tested for being seen.
BASE = {
    "e": 0.3,
    "factor": 0.5,
    "low": 1.0,
    "data": DATA,
    "sigma": SIGMA,
    "mask": MASK,
    "psf": 1.3,
    "loc": 1.0,
    "pixel_scale": 0.2,
}
OTHER = {
    "e": 0.4,
    "factor": 0.6,
    "low": 1.2,
    "data": DATA + 0.1,
    "sigma": SIGMA * 1.1,
    "mask": ~MASK,
    "psf": 1.5,
    "loc": 1.1,
}


def parse_constant(name):
    """Return the tree of a constant times a parameter, as it is made of ``$column * parameter``."""
    from socca.parameters.expressions import bind_columns

    tree, _ = bind_columns(parse(f"$column * {name}"), lambda column: 0.0, lambda unit: 1.0)
    return tree


def background(**values):
    return Model(Background(a0=uniform(0, 2), **values))
