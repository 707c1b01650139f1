"""Batches of dynesty."""

import numpy as np
import pytest

from socca.pool import SerialPool
from socca.priors import uniform
from socca.samplers import get_sampler
from tests.fakes import Numpy, gaussian


@pytest.mark.parametrize(("options", "size"), [({}, 64), ({"nlive": 2000}, 250), ({"nlive": 2000, "n_batch": 7}, 7)])
def test_batches_of_dynesty(options, size):
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 0.6]), 0.1), [uniform(0, 1)] * 2)
    sizes = []

    class Sizes(SerialPool):
        def evaluate(self, theta):
            sizes.append(len(theta))
            return super().evaluate(theta)

    get_sampler("dynesty")(focus=False, maxiter=300, **options).run(fake, Sizes(fake.log_likelihood), 1)
    live = options.get("nlive", 500)
    assert max(n for n in sizes if n != live) == size
