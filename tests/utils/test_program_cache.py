"""Damaged compiled programs: deleted, and replaced by the next process that needs them."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
import zlib

import pytest

from socca.utils.files import open_regular
from socca.utils.program_cache import DIGESTS, remove_damaged

PROGRAM = zlib.compress(bytes(range(256)) * 400)


def write(path, content, age=3600):
    """Write an entry as if it was written that many seconds ago."""
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three entries that were seen before, and one file that is none."""
    for name in "abc":
        write(tmp_path / f"{name}-cache", PROGRAM)
    (tmp_path / "notes").write_text("mine")
    assert remove_damaged(tmp_path) == []
    return tmp_path


def damage(path, how):
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "cut":
        path.write_bytes(content[:100])
    elif how == "flipped":
        content[300] ^= 1
        path.write_bytes(content)
    elif how == "zeros":
        path.write_bytes(bytes(len(content)))
    elif how == "empty":
        path.touch()
    elif how == "other":
        path.write_bytes(zlib.compress(b"another program"))
    elif how == "pipe":
        os.mkfifo(path)
    os.utime(path, (time.time() - 1800,) * 2)


@pytest.mark.parametrize("how", ["cut", "flipped", "zeros", "empty", "other", "pipe"])
def test_a_damaged_entry_is_deleted(folder, how, caplog):
    damage(folder / "b-cache", how)
    assert remove_damaged(folder) == ["b-cache"]
    assert f"{folder / 'b-cache'} is damaged, and its program is compiled anew" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == ["a-cache", "c-cache", DIGESTS, "notes"]
    # The one that takes its place is believed.
    content = zlib.compress(b"a new program")
    write(folder / "b-cache", content)
    assert remove_damaged(folder) == []
    assert json.loads((folder / DIGESTS).read_text())["b-cache"][0] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("how", ["cut", "flipped", "zeros", "empty"])
def test_an_entry_that_was_never_whole_is_deleted(tmp_path, how):
    write(tmp_path / "a-cache", PROGRAM)
    damage(tmp_path / "a-cache", how)
    assert remove_damaged(tmp_path) == ["a-cache"]


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"a-cache": 3}', "[" * 100_000])
def test_damaged_digests_delete_nothing_that_is_whole(folder, text):
    (folder / DIGESTS).write_text(text)
    assert remove_damaged(folder) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_what_the_machine_cannot_read_is_left_alone(folder, monkeypatch, number, caplog):
    """Neither the entry nor what is known of it is lost."""
    os.utime(folder / "b-cache", (time.time() - 900,) * 2)  # so that it is read again
    before = json.loads((folder / DIGESTS).read_text())

    def refused(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("socca.utils.program_cache.open_regular", refused)
    assert remove_damaged(folder) == []
    assert f"{folder / 'b-cache'} cannot be read" in caplog.text
    assert (folder / "b-cache").read_bytes() == PROGRAM
    assert json.loads((folder / DIGESTS).read_text()) == before


def test_an_entry_that_is_being_written_is_left_alone(folder):
    write(folder / "d-cache", PROGRAM[:100], age=5)
    # Another process has put a program in the place of a former one.
    write(folder / "b-cache", zlib.compress(b"another program"), age=5)
    assert remove_damaged(folder) == []
    for name in "bd":
        os.utime(folder / f"{name}-cache", (time.time() - 70,) * 2)
    assert remove_damaged(folder) == ["d-cache"]
    assert (folder / "b-cache").exists()


def test_entries_are_read_once_a_day(folder, monkeypatch):
    read = []
    monkeypatch.setattr(
        "socca.utils.program_cache.open_regular", lambda path: read.append(path.name) or open_regular(path)
    )
    assert remove_damaged(folder) == []
    assert read == []
    # A bit that changed on the disk, which changes no time.
    state = (folder / "b-cache").stat()
    content = bytearray(PROGRAM)
    content[300] ^= 1
    (folder / "b-cache").write_bytes(content)
    os.utime(folder / "b-cache", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert remove_damaged(folder) == []
    tomorrow = time.time() + 90000
    monkeypatch.setattr("time.time", lambda: tomorrow)
    assert remove_damaged(folder) == ["b-cache"]
    assert read == ["a-cache", "b-cache", "c-cache"]


def test_a_folder_in_the_place_of_an_entry_stops_nothing(folder, caplog):
    (folder / "a-cache").unlink()
    (folder / "a-cache").mkdir()
    assert remove_damaged(folder) == []
    assert "cannot be deleted" in caplog.text


CODE = """
import logging, sys, jax
logging.basicConfig(level="WARNING")
logging.captureWarnings(True)
from socca.utils.xla import use_persistent_cache
use_persistent_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(float(jax.jit(lambda x: (x * 3 + 1).sum())(jax.numpy.arange(7.0))))
"""


def test_programs_run_and_are_replaced(tmp_path):
    """In processes of their own, as fits are."""

    def run():
        variables = {**os.environ, "SOCCA_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=variables)
        assert (done.returncode, done.stdout.strip()) == (0, "70.0"), done.stderr
        return done.stderr

    run()
    (folder,) = tmp_path.iterdir()
    entries = sorted(folder.glob("*-cache"))
    for path in entries:
        os.utime(path, (time.time() - 3600,) * 2)
    for path, how in zip(entries, ["cut", "flipped", "zeros", "empty"] * len(entries), strict=False):
        damage(path, how)
    assert entries
    damaged = {path: path.read_bytes() for path in entries}
    assert run().count("is compiled anew") == len(entries)
    for path, content in damaged.items():
        assert path.read_bytes() != content
        zlib.decompress(path.read_bytes())
