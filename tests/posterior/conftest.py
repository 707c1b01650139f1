"""Fixtures for posteriors: ArviZ, of both interfaces."""

import sys

import pytest

from socca.posterior.exports import load_arviz


@pytest.fixture(params=["0.x", "1"])
def arviz(request, monkeypatch):
    """Return ArviZ, of the interface before version 1 and of version 1, as far as they are installed.

    ArviZ 1 needs Python 3.12. Its packages arviz-base and arviz-stats, of which it is made, are also there for Python
    3.11 (in version 0.8), and ArviZ 0.2x offers them as `arviz.preview`. It takes the place of `arviz` here.
    """
    installed = load_arviz()
    if not hasattr(installed, "psislw"):
        if request.param == "0.x":
            pytest.skip("ArviZ 1 is installed")
        return installed
    if request.param == "0.x":
        return installed
    for name in ("arviz_base", "arviz_stats"):
        pytest.importorskip(name)
    preview = pytest.importorskip("arviz.preview")
    if not hasattr(preview, "loo"):
        pytest.skip("this version of ArviZ does not offer arviz-stats")
    monkeypatch.setitem(sys.modules, "arviz", preview)
    return preview
