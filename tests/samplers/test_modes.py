"""Samplers on posteriors with several maxima, curved ridges and edges: none is wrong without saying so.

All of it takes hours; ``-k nautilus`` about half an hour. ``docs/modes.md`` has what came out.
"""

import pytest

from socca.pool import SerialPool
from socca.samplers import get_sampler
from tests import posteriors
from tests.posteriors import CASES, OPTIONS

#: Seeds of each sampler: those that are slow get fewer.
SEEDS = {"nautilus": 10, "adaptive": 10, "dynesty": 10, "pocomc": 3, "emcee": 10, "numpyro": 3}


def test_there_are_answers_to_all():
    known = posteriors.reference()
    assert known.keys() == CASES.keys()
    assert len(CASES) >= 30
    for one in known.values():
        assert one.logz_err < 0.01
        assert all(one.mean_err[name] <= 0.01 * one.deviation[name] for name in one.mean)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", OPTIONS)
def test_no_sampler_is_wrong_in_silence(method, name):
    """Evidence and means to four stated errors, or `converged` is false; for each seed."""
    if method == "pocomc":
        pytest.importorskip("pocomc")
    problem, known = CASES[name][1](), posteriors.reference()[name]
    for seed in range(1, SEEDS[method] + 1):
        sampler = get_sampler(method)(**OPTIONS[method])
        draws = sampler.run(problem, SerialPool(sampler.likelihood(problem)), seed)
        off = posteriors.deviations(known, posteriors.summary(problem, draws))
        assert max(map(abs, off.values())) < 4 or not draws.converged, (seed, off, draws.notes)
