"""Logs: what the terminal shows, and what the file keeps."""

import logging

import pytest

from socca.errors import DataError
from socca.utils.logs import start_logging


@pytest.fixture(autouse=True)
def restored():
    """Put the handlers back that pytest has."""
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    level, own = root.level, logging.getLogger("socca").level
    yield
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("socca").setLevel(own)
    logging.captureWarnings(False)


def fail(error):
    try:
        raise error
    except Exception:
        logging.getLogger("socca").exception("%s failed", "a")


def test_a_file_that_is_damaged_is_one_line_on_the_terminal(capfd):
    start_logging(None)
    fail(DataError("image: cannot read a.fits:\n  no end"))
    said = capfd.readouterr().err
    assert said.endswith("ERROR socca: a failed: image: cannot read a.fits: no end\n")
    assert said.count("\n") == 1
    fail(KeyError("a bug"))
    assert "Traceback" in capfd.readouterr().err


def test_the_file_has_the_traceback(tmp_path, capfd):
    start_logging(tmp_path / "a.log")
    fail(DataError("image: cannot read a.fits"))
    text = (tmp_path / "a.log").read_text()
    assert "Traceback" in text
    assert "DataError: image: cannot read a.fits" in text
    assert capfd.readouterr().err == ""
