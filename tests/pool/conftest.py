"""Fixtures that tests of pools share."""

import pytest

from tests.pool.ranks import SERIAL


@pytest.fixture
def no_launcher(monkeypatch):
    """Let a test begin without a launcher, wherever the tests themselves run."""
    for name in SERIAL:
        monkeypatch.delenv(name, raising=False)
