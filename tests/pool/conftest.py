"""Fixtures that tests of pools share."""

import numpy as np
import pytest

from socca.pool.mp import MultiPool
from tests.pool.likelihoods import OFFSET, likelihood
from tests.pool.ranks import SERIAL


@pytest.fixture
def no_launcher(monkeypatch):
    """Let a test begin without a launcher, wherever the tests themselves run."""
    for name in SERIAL:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def multi():
    """Two workers whose likelihood is a closure; it fails or kills on special values."""
    shift = OFFSET

    def closure(theta):
        if np.any(theta == -99):
            raise ZeroDivisionError("the likelihood has no value at -99")
        return likelihood(theta) + shift

    with MultiPool(2, closure) as pool:
        yield pool
