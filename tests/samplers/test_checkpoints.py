"""Checkpoints: a run that is cut short and goes on ends as one without a break; what must not be read is refused."""

import errno
import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from socca.errors import CheckpointError
from socca.fitting.sample import sample
from socca.pool import SerialPool
from socca.samplers import METHODS, get_sampler
from socca.samplers.checkpoint import CheckpointFile
from tests import fakes

RESUMABLE = [method for method in METHODS if get_sampler(method).resumable]
#: pocoMC trains networks for a while before it has anything to keep.
QUICK = [pytest.param(method, marks=pytest.mark.slow) if method == "pocomc" else method for method in RESUMABLE]
ROOT = Path(__file__).parents[2]
#: Runs of a few seconds, that have something to go on from at many points.
SHORT = {
    "nautilus": {"n_live": 100, "n_eff": 500},
    "dynesty": {"nlive": 60},
    "pocomc": {"n_active": 32, "n_effective": 64, "n_total": 300, "n_evidence": 500, "flow": "nsf3", "focus": False},
    "emcee": {"n_eff": 1000},
    "numpyro": {"num_warmup": 150, "num_samples": 250, "num_chains": 2},
    "adaptive": {"n_first": 100, "n_eff": 800},
}
CASES = {
    **{method: (method, SHORT[method]) for method in RESUMABLE},
    "adaptive, nautilus": ("adaptive", {"n_first": 100, "max_draws": 300, "fallback_options": SHORT["nautilus"]}),
    "adaptive, audit": ("adaptive", {"n_first": 100, "n_eff": 300, "audit": 1.0}),
    "nautilus, networks": ("nautilus", {"n_live": 100, "n_eff": 300, "focus": False, "n_networks": 1}),
    "dynesty, dynamic": ("dynesty", {"nlive": 50, "dynamic": True, "n_effective": 300}),
    "dynesty, walks": ("dynesty", {"nlive": 60, "sample": "rwalk", "focus": False}),
}
LONG = ("pocomc", "nautilus, networks", "dynesty, dynamic")


@pytest.fixture(scope="module")
def known(make_image):
    return fakes.linear_image(make_image, 2)


@pytest.fixture(autouse=True)
def own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def eager(monkeypatch):
    """Write a checkpoint whenever one is offered, and let nautilus offer one after every batch.

    dynesty offers one after every point, of which every fortieth is taken.
    """
    offer, count = CheckpointFile.offer, [0]

    def eagerly(self, state, *, last=False):
        count[0] += 1
        if last or "dynesty" not in str(self._identity) or count[0] % 40 == 0:
            self._due = 0.0
            offer(self, state, last=last)

    monkeypatch.setattr(CheckpointFile, "offer", eagerly)
    monkeypatch.setattr("socca.samplers.nautilus._SLICE", 1e-3)


class CutShortError(Exception):
    pass


def test_a_checkpoint_does_not_depend_on_the_share_that_is_audited(known, tmp_path):
    """The state is the same: the run goes on from it, and asks for no likelihood again but those of the audit."""
    problem, path = known.problem, tmp_path / "run.socca"
    before, _ = sample(problem, "adaptive", seed=1, n_eff=300, checkpoint=path)
    after, _ = sample(problem, "adaptive", seed=1, n_eff=300, audit=1.0, checkpoint=path)
    assert before.record.sampler.notes.audit == {}
    assert after.record.sampler.notes.audit["reasons"] == []
    np.testing.assert_array_equal(after.samples, before.samples)


def cut_after(monkeypatch, writes):
    """Let the run die, as by SIGKILL, at the start of its next write but `writes`."""
    write, left = CheckpointFile._write, [writes]

    def counted(self, state):
        if left[0] == 0:
            raise CutShortError
        left[0] -= 1
        write(self, state)

    monkeypatch.setattr(CheckpointFile, "_write", counted)


def equal(one, other):
    for key in ("samples", "log_weights", "log_likelihood"):
        assert np.array_equal(getattr(one, key), getattr(other, key)), key
    assert np.array_equal([one.logz, one.logz_err], [other.logz, other.logz_err], equal_nan=True)
    assert one.meta["n_eff"] == other.meta["n_eff"]


def require(method):
    if method == "pocomc":
        pytest.importorskip("pocomc")


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow) if c in LONG else c for c in CASES])
def test_resumed_equals_uninterrupted(known, tmp_path, eager, case):
    """Cut twice, once early and once later, bit for bit."""
    method, options = CASES[case]
    require(method)
    place = tmp_path / "fit.socca"
    whole, _ = sample(known.problem, method, seed=4, **options)
    for writes in (2, 1):
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, writes)
            with pytest.raises(CutShortError):
                sample(known.problem, method, seed=4, checkpoint=place, **options)
        assert place.is_file()
    resumed, _ = sample(known.problem, method, seed=4, checkpoint=place, **options)
    equal(resumed, whole)


@pytest.mark.parametrize("method", QUICK)
def test_a_finished_run_is_read_back(known, tmp_path, method):
    require(method)
    first, _ = sample(known.problem, method, seed=4, checkpoint=tmp_path, **SHORT[method])
    again, _ = sample(known.problem, method, seed=4, checkpoint=tmp_path, **SHORT[method])
    assert (tmp_path / "checkpoint.socca").is_file()
    equal(again, first)
    # What mapped the last points, or confirmed the end, is all that was evaluated again.
    assert again.meta["n_calls"] - first.meta["n_calls"] <= 0.1 * first.meta["n_calls"]


SCRIPT = """
import logging, sys, time
import numpy as np
import socca.samplers.checkpoint
from socca.fitting.sample import sample
from tests import fakes
from socca.data import Image
from socca.pool import SerialPool
logging.basicConfig(level="INFO")
socca.samplers.checkpoint.EVERY = 0.1
evaluate = SerialPool.evaluate
def slowly(self, theta):
    time.sleep({pause!r})
    return evaluate(self, theta)
SerialPool.evaluate = slowly
def make_image(data, noise):
    return Image(data, pixel_scale=fakes.PIXEL, noise=noise)
known = fakes.linear_image(make_image, 3)
print("ready", flush=True)
posterior, _ = sample(known.problem, {method!r}, seed=2, checkpoint={place!r}, **{options!r})
np.savez({out!r}, samples=posterior.samples, logz=posterior.logz)
"""


def launch(tmp_path, method, out, place, options, pause=0.0):
    """Start a fit in a process of its own, which sleeps for `pause` seconds before each batch of likelihoods."""
    text = SCRIPT.format(method=method, out=str(out), place=str(place), options=options, pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def wait_for(place, process):
    limit = time.monotonic() + 120
    while not (place.exists() and b".npy" in place.read_bytes()):  # the first one holds no state
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.02)


WALKS = {"nlive": 250, "sample": "rwalk"}
#: Long enough for a run of WALKS to last for a minute after its first checkpoint: it is ended long before.
PAUSE = 0.05


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a process finds that nobody ends."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(folder / "state"))
        process = launch(folder, "dynesty", folder / "whole.npz", folder / "fit.socca", WALKS)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "going on from" not in said
    return np.load(folder / "whole.npz")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_goes_on(tmp_path, whole, end):
    """With SIGTERM the state is written and the status is that of a process it ended; with SIGKILL nothing is."""
    place = tmp_path / "fit.socca"
    process = launch(tmp_path, "dynesty", tmp_path / "cut.npz", place, WALKS, pause=PAUSE)
    wait_for(place, process)
    process.send_signal(end)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (143 if end == signal.SIGTERM else -signal.SIGKILL), said
    assert ("ended on request; the same run goes on from" in said) == (end == signal.SIGTERM)
    assert not (tmp_path / "cut.npz").exists()
    process = launch(tmp_path, "dynesty", tmp_path / "resumed.npz", place, WALKS)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "going on from" in said
    resumed = np.load(tmp_path / "resumed.npz")
    assert np.array_equal(resumed["samples"], whole["samples"])
    assert resumed["logz"] == whole["logz"]


# the file


IDENTITY = {"method": "x", "options": {"a": 1, "b": 2}, "seed": 1, "problem": "abc", "version": {"y": "1.0"}}


def written(path, state, **settings):
    CheckpointFile(path, IDENTITY, **settings).offer(lambda: state, last=True)
    return path


def test_what_is_written_is_read(tmp_path):
    state = {"n": 3, "name": "MT19937", "array": np.arange(6.0).reshape(2, 3), "bytes": b"\x00\xffabc"}
    path = written(tmp_path / "deep" / "a.socca", state, spent=lambda: {"calls": 7})
    found = CheckpointFile(path, IDENTITY)
    assert found.spent == {"calls": 7}
    assert int(found.state["n"]) == 3
    assert str(found.state["name"]) == "MT19937"
    assert np.array_equal(found.state["array"], state["array"])
    assert found.state["bytes"].tobytes() == state["bytes"]
    assert [file.name for file in path.parent.iterdir()] == ["a.socca"]
    assert CheckpointFile(path, IDENTITY, resume=False).state is None
    found.remove()
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, r"seed \(there 1, here 2\) differs"),
        ({"options": {"a": 1, "b": 3}}, r"options b \(there 2, here 3\) differs"),
        ({"problem": "xyz"}, "belongs to another fit: the problem differs"),
        ({"method": "z", "seed": 5}, r"method \(there 'x', here 'z'\), seed \(there 1, here 5\) differ"),
        ({"version": {"y": "1.1"}}, r"version y \(there '1.0', here '1.1'\) differs"),
    ],
)
def test_the_state_of_another_fit_is_refused(tmp_path, change, said):
    path = written(tmp_path / "a.socca", {"n": 1})
    with pytest.raises(CheckpointError, match=said) as caught:
        CheckpointFile(path, IDENTITY | change)
    assert str(path) in str(caught.value)
    assert CheckpointFile(path, IDENTITY | change, resume=False).state is None


@pytest.mark.parametrize("where", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_file_is_refused(tmp_path, where, harm):
    path = written(tmp_path / "a.socca", {"array": np.random.default_rng(1).random(500)})
    content = bytearray(path.read_bytes())
    place = int(where * len(content))
    if harm == "cut":
        del content[place:]
    else:
        content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.socca (is damaged|is no checkpoint|belongs to another fit)"):
        CheckpointFile(path, IDENTITY)


MANIFESTS = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "list": b"[]",
    "null": b"null",
    "nested": b"[" * 100_000,
    **{
        f"{key} is {value!r}": (key, value)
        for key in ("identity", "spent", "sha256", "written")
        for value in (None, 3, "x", [], {"calls": "many"}, {"seconds": float("nan")}, {"calls": 10**400})
        if key != "written"
    },
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_of_any_shape_is_refused(tmp_path, case):
    path = written(tmp_path / "a.socca", {"n": 1})
    magic, manifest, payload = path.read_bytes().split(b"\n", 2)
    found = MANIFESTS[case]
    if isinstance(found, tuple):
        found = json.dumps({**json.loads(manifest), found[0]: found[1]}).encode()
    path.write_bytes(b"\n".join([magic, found, payload]))
    with pytest.raises(CheckpointError, match=r"a\.socca .*delete it, or start afresh with resume=False"):
        CheckpointFile(path, IDENTITY)
    assert CheckpointFile(path, IDENTITY, resume=False).state is None


def resealed(path, payload):
    """Put another state in the place of a checkpoint's, with its right checksum."""
    magic, manifest, _ = path.read_bytes().split(b"\n", 2)
    manifest = json.dumps({**json.loads(manifest), "sha256": hashlib.sha256(payload).hexdigest()}).encode()
    path.write_bytes(b"\n".join([magic, manifest, payload]))


def archive(content, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as found:
        found.writestr("array.npy", content)
    return stream.getvalue()


def claims(shape):
    """Return the header of an array without its numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"no archive", "not a zip file"),
        (archive(claims((10**12,))), "more than there is"),
        (archive(claims((10**6,)) + bytes(8 * 10**6), compression=zipfile.ZIP_DEFLATED), "is not as it was written"),
        (archive(b"no array"), "is damaged"),
        (archive(pickle.dumps(3)), "is damaged"),
    ],
)
def test_a_state_that_is_no_archive_of_arrays_is_refused(tmp_path, payload, said):
    path = written(tmp_path / "a.socca", {"n": 1})
    resealed(path, payload)
    with pytest.raises(CheckpointError, match=said):
        CheckpointFile(path, IDENTITY)


def test_what_is_no_file_is_refused_and_replaced(tmp_path):
    path = tmp_path / "a.socca"
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        CheckpointFile(path, IDENTITY)
    CheckpointFile(path, IDENTITY, resume=False).offer(lambda: {"n": 2}, last=True)
    assert CheckpointFile(path, IDENTITY).state["n"] == 2


class Boom:
    def __reduce__(self):
        return os.mkdir, ("boom",)


@pytest.mark.parametrize("method", ["dynesty", pytest.param("pocomc", marks=pytest.mark.slow)])
def test_a_pickle_of_somebody_else_is_never_opened(known, tmp_path, method, monkeypatch):
    """With the right manifest and checksum, but signed with another key, or not at all."""
    require(method)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "fit.socca"
    sample(known.problem, method, seed=4, checkpoint=place, **SHORT[method])
    identity = json.loads(place.read_bytes().split(b"\n")[1])["identity"]
    evil = {**CheckpointFile(place, identity, signed=True).state, method: pickle.dumps(Boom())}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
    for signed in (True, False):
        forged = CheckpointFile(place, identity, resume=False, signed=signed)
        forged.offer(lambda: evil, last=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
            with pytest.raises(CheckpointError, match="was not written by this user"):
                sample(known.problem, method, seed=4, checkpoint=place, **SHORT[method])
    assert not (tmp_path / "boom").exists()


def test_arrays_are_never_unpickled(tmp_path):
    path = tmp_path / "a.socca"
    with pytest.raises(TypeError, match="numbers, text and bytes"):
        written(path, {"array": np.array([Boom()], dtype=object)})
    assert not path.exists()


def test_the_key_is_private(tmp_path):
    written(tmp_path / "a.socca", {"n": 1}, signed=True)
    key = tmp_path / "state" / "socca" / "checkpoint.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    written(tmp_path / "b.socca", {"n": 1}, signed=True)
    assert CheckpointFile(tmp_path / "a.socca", IDENTITY, signed=True).state is not None
    key.chmod(0o644)
    with pytest.raises(CheckpointError, match="for your eyes only"):
        CheckpointFile(tmp_path / "a.socca", IDENTITY, signed=True)


def test_a_write_that_fails_leaves_the_last_state(tmp_path, monkeypatch):
    path = written(tmp_path / "a.socca", {"n": 1})
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        CheckpointFile(path, IDENTITY).offer(lambda: {"n": 2}, last=True)
    assert CheckpointFile(path, IDENTITY).state["n"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_states_are_made_only_when_it_is_time(tmp_path):
    made = []
    place = CheckpointFile(tmp_path / "a.socca", IDENTITY, every=3600)
    for k in range(5):
        place.offer(lambda k=k: made.append(k) or {"n": k})
    assert made == [0]  # the first at once: a run that is killed early leaves something
    place.offer(lambda: made.append(9) or {"n": 9}, last=True)
    assert made == [0, 9]


def test_a_run_leaves_a_checkpoint_before_its_first_step(tmp_path):
    place = CheckpointFile(tmp_path / "a.socca", IDENTITY)
    place.begin()
    assert CheckpointFile(place.path, IDENTITY).state is None
    with pytest.raises(CheckpointError, match="belongs to another fit"):
        CheckpointFile(place.path, {**IDENTITY, "seed": 99})
    place.offer(lambda: {"n": 1})
    again = CheckpointFile(place.path, IDENTITY)
    again.begin()  # which leaves what there is alone
    assert CheckpointFile(place.path, IDENTITY).state["n"] == 1


def test_a_full_disk_is_found_before_the_first_step(known, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        sample(known.problem, "nautilus", seed=1, checkpoint=tmp_path / "a.socca", n_live=50)


def terminated(place, times):
    with place.watching():
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        place.offer(lambda: {"n": 5})


def test_the_signal_is_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    place = CheckpointFile(tmp_path / "a.socca", IDENTITY, every=3600)
    with pytest.raises(SystemExit) as caught:
        terminated(place, 1)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert CheckpointFile(place.path, IDENTITY).state["n"] == 5


def test_a_later_signal_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("socca.samplers.checkpoint._TOGETHER", 0.005)
    place = CheckpointFile(tmp_path / "a.socca", IDENTITY, every=3600)
    with pytest.raises(SystemExit) as caught:
        terminated(place, 2)
    assert caught.value.code == 143
    assert not place.path.exists()


def test_a_signal_that_comes_twice_is_one(tmp_path):
    """Slurm tells all processes of a job, and a parent its workers."""
    place = CheckpointFile(tmp_path / "a.socca", IDENTITY, every=3600)
    with pytest.raises(SystemExit):
        terminated(place, 3)
    assert CheckpointFile(place.path, IDENTITY).state["n"] == 5


def test_without_a_checkpoint_nothing_is_kept(known):
    draws = get_sampler("optimizer")(n_samples=10).run(known.problem, SerialPool(known.problem.log_likelihood), 1)
    assert len(draws.samples) == 11
