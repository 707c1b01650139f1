"""Damaged compiled programs: deleted, and replaced by the next process that needs them."""

import hashlib
import json
import os
import subprocess
import sys
import zlib

import pytest

from socca.utils.program_cache import DIGESTS, remove_damaged

PROGRAM = zlib.compress(bytes(range(256)) * 400)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three entries that were seen before, and one file that is none."""
    for name in "abc":
        (tmp_path / f"{name}-cache").write_bytes(PROGRAM)
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


@pytest.mark.parametrize("how", ["cut", "flipped", "zeros", "empty", "other", "pipe"])
def test_a_damaged_entry_is_deleted(folder, how, caplog):
    damage(folder / "b-cache", how)
    assert remove_damaged(folder) == ["b-cache"]
    assert f"{folder / 'b-cache'} is damaged, and its program is compiled anew" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == ["a-cache", "c-cache", DIGESTS, "notes"]
    # The one that takes its place is believed.
    (folder / "b-cache").write_bytes(zlib.compress(b"a new program"))
    assert remove_damaged(folder) == []
    assert (
        json.loads((folder / DIGESTS).read_text())["b-cache"]
        == hashlib.sha256(zlib.compress(b"a new program")).hexdigest()
    )


@pytest.mark.parametrize("how", ["cut", "flipped", "zeros", "empty"])
def test_an_entry_that_was_never_whole_is_deleted(tmp_path, how):
    (tmp_path / "a-cache").write_bytes(PROGRAM)
    damage(tmp_path / "a-cache", how)
    assert remove_damaged(tmp_path) == ["a-cache"]


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"a-cache": 3}', "[" * 100_000])
def test_damaged_digests_delete_nothing_that_is_whole(folder, text):
    (folder / DIGESTS).write_text(text)
    removed = remove_damaged(folder)
    assert removed == (["a-cache"] if text.startswith("{") else [])


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
    for path, how in zip(entries, ["cut", "flipped", "zeros", "empty"] * len(entries), strict=False):
        damage(path, how)
    assert entries
    damaged = {path: path.read_bytes() for path in entries}
    assert run().count("is compiled anew") == len(entries)
    for path, content in damaged.items():
        assert path.read_bytes() != content
        zlib.decompress(path.read_bytes())
