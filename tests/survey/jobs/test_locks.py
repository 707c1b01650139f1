"""One process at a time fits a target."""

import errno
import os
import subprocess
import sys

import pytest

from socca.errors import PoolError
from socca.survey.jobs.locks import exclusive_lock

HOLDER = """
import sys
from pathlib import Path
from socca.survey.jobs.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "a sky"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_holder_is_named_and_its_death_frees_the_lock(tmp_path):
    path = tmp_path / "fits" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(PoolError, match=rf"^a sky: process {holder.pid} on .* is fitting this now"),
            exclusive_lock(path, "a sky"),
        ):
            pass
        holder.kill()
    assert path.exists()
    with exclusive_lock(path, "a sky"):
        assert f"process {os.getpid()} on" in path.read_text()
    assert not path.exists()


def test_a_file_system_without_locks_stops_nothing(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with exclusive_lock(tmp_path / "lock", "a"):
        pass
