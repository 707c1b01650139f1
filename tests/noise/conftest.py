"""Fixtures of the tests of noise models."""

import numpy as np
import pytest

from socca.noise import REGISTRY
from tests.noise.cases import CASES, SHAPE, TEMPLATE


@pytest.fixture(scope="module")
def prepared(make_image, make_psf):
    """Give a function that makes a noise model and its image: data drawn for a case, perhaps masked."""

    def make(name, data=None, used=None, free=None, **values):
        case = CASES[name]
        used = np.ones(SHAPE, bool) if used is None else used
        data = case.draw(np.random.default_rng(8), TEMPLATE, values) if data is None else data
        noise = case.make(used, **{**values, **(free or {})})
        noise.id = "noise"
        beam = make_psf((5, 5)) * 5 if REGISTRY[name].needs_sky else None
        image = make_image(np.where(used, data, 0), noise=noise)
        image.mask[:] = used
        if beam is not None:
            image.addpsf(beam, normalize=False)
        image.data = np.array(data)
        return noise, image

    return make
