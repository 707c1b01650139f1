"""Checkpoints: the state of a running fit in one file, written whole or not at all, and checked before it is used.

A checkpoint is a line that names the format, a manifest in one line of JSON (of which method, options, seed, problem
and versions it is), and the state as an archive of arrays (``.npz``), whose SHA-256 the manifest holds. State that a
back end can only pickle lies in it as bytes. A pickle runs code when it is read, so that the manifest and such a state
are signed with a key that only the user can read, and no pickle without this signature is ever opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import logging
import math
import os
import signal
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from socca.errors import CheckpointError
from socca.utils.files import atomic_path, open_regular
from socca.utils.timestamps import utc_now

log = logging.getLogger(__name__)

_MAGIC = b"socca checkpoint 1\n"
#: Seconds between two checkpoints, at least; writing them takes no more than one part in `_SHARE` of the time.
EVERY = 30.0
_SHARE = 50
#: What to do about a file that cannot be used.
_REMEDY = "delete it, or start afresh with resume=False"
#: Bytes of the longest manifest.
_LONGEST = 2**24
#: Calls or seconds that no fit ever spends.
_MOST_SPENT = 1e18
#: Seconds within which SIGTERM is the same notice as the one before.
_TOGETHER = 3.0
#: What a process returns that SIGTERM ended, as the shell counts: 128 + 15.
TERMINATED = 143

#: What a sampler goes on from: numbers, arrays, and bytes.
State = Mapping[str, Any]


class Checkpoint:
    """Interface of a checkpoint, for runs that keep none.

    Attributes
    ----------
    state : dict of ndarray or None
        What to go on from; None at a fresh start.
    spent : dict of float
        What earlier runs of this fit have spent already, by name.
    """

    state: dict[str, np.ndarray] | None = None
    spent: Mapping[str, float] = {}

    def begin(self) -> None:
        """Keep, before the first step, that the run has begun. What cannot be written is found now and not after it."""

    def offer(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Keep a state, if it is time to.

        Samplers call this wherever they could go on from, however often that is.

        Parameters
        ----------
        state : callable
            Makes the state; called only if it is kept.
        last : bool
            Whether the sampler is done: then it is kept in any case.

        Raises
        ------
        SystemExit
            With status 143, after the state is kept, if SIGTERM was received.
        """

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within this block, take SIGTERM as the wish to keep the state and end."""
        yield


class CheckpointFile(Checkpoint):
    """A checkpoint in a file.

    Parameters
    ----------
    path : str or Path
        The file, or an existing folder, in which it is then ``checkpoint.socca``.
    identity : mapping
        What the state belongs to: JSON-serialisable. A file of another identity is refused.
    resume : bool
        Whether to go on from a file that exists; otherwise it is replaced.
    signed : bool
        Whether the state may hold pickles.
    spent : callable, optional
        Says what this run has spent so far, kept with the state.
    every : float
        Seconds between two writes, at least.

    Raises
    ------
    CheckpointError
        If the file is damaged, of another fit, or holds pickles that this user did not write.
    """

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        resume: bool = True,
        signed: bool = False,
        spent: Callable[[], Mapping[str, float]] = dict,
        every: float | None = None,
    ) -> None:
        path = Path(path)
        self.path = path / "checkpoint.socca" if path.is_dir() else path
        self._identity = json.loads(json.dumps(identity))
        self._key = _signing_key() if signed else None
        self._spent = spent
        self._every = EVERY if every is None else every
        self._due = time.monotonic()  # the first state is kept at once
        self._asked_to_end = False
        if resume and self.path.exists():
            state, self.spent = self._read()
            if state:  # none if the earlier run had no time to make one
                self.state = state
                log.info("going on from %s", self.path)

    def begin(self) -> None:
        """Keep, before the first step, that the run has begun; see `Checkpoint.begin`."""
        if self.state is None:
            self._write({})

    def offer(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Keep a state if it is time to, and end if SIGTERM was received; see `Checkpoint.offer`."""
        if last or self._asked_to_end or time.monotonic() >= self._due:
            start = time.monotonic()
            self._write(state())
            now = time.monotonic()
            self._due = now + max(self._every, _SHARE * (now - start))
        if self._asked_to_end:
            log.warning("ended on request; the same run goes on from %s", self.path)
            raise SystemExit(TERMINATED)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within this block, SIGTERM sets a mark that `offer` heeds; another, some time later, ends the process.

        Not one that comes together with the first: a batch system tells all processes, and so may their parents.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may say what a signal does
            return

        asked: list[float] = []

        def note(number: int, frame: Any) -> None:
            asked.append(time.monotonic())
            if asked[-1] - asked[0] > _TOGETHER:
                raise SystemExit(TERMINATED)
            self._asked_to_end = True

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def remove(self) -> None:
        """Delete the file: its fit is done."""
        self.path.unlink(missing_ok=True)

    def _write(self, state: State) -> None:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {key: _as_array(value) for key, value in state.items()}
        np.savez(buffer, **arrays)
        payload = buffer.getvalue()
        manifest = {
            "identity": self._identity,
            "spent": dict(self._spent()),
            "written": utc_now(),
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        if self._key is not None:
            manifest["signature"] = _signature(self._key, manifest)
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            stream.write(_MAGIC + json.dumps(manifest).encode() + b"\n" + payload)
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        try:
            with open_regular(self.path) as stream:
                return self._read_from(stream)
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({error}): {_REMEDY}") from error

    def _read_from(self, stream: io.BufferedReader) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise CheckpointError(f"{self.path} is no checkpoint of this version of socca: {_REMEDY}")
        try:
            manifest = _parse_manifest(stream.readline(_LONGEST))
            identity, spent, payload = manifest["identity"], manifest["spent"], stream.tell()
            if manifest["sha256"] != hashlib.file_digest(stream, "sha256").hexdigest():
                raise ValueError("its content does not match its checksum")
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.path} is damaged ({error}): {_REMEDY}") from error
        if identity != self._identity:
            keys = self._identity.keys() | identity.keys()
            other = [key for key in sorted(keys) if identity.get(key) != self._identity.get(key)]
            raise CheckpointError(f"{self.path} belongs to another fit: {_differences(other, identity, self._identity)}"
                                  f". Give that one its own path; or {_REMEDY}")  # fmt: skip
        if self._key is not None and not hmac.compare_digest(
            str(manifest.pop("signature", "")).encode(), _signature(self._key, manifest).encode()
        ):
            raise CheckpointError(
                f"{self.path} was not written by this user (its signature is not made with {_key_path()}), and "
                f"reading it could run foreign code: {_REMEDY}"
            )
        try:
            stream.seek(payload)
            return _arrays(io.BytesIO(stream.read())), spent
        except MemoryError:
            raise
        except Exception as error:  # a damaged archive raises whatever zipfile and NumPy raise where they stumble
            raise CheckpointError(f"{self.path} is damaged ({error}): {_REMEDY}") from error


def _parse_manifest(line: bytes) -> dict[str, Any]:
    """Return the manifest of a checkpoint; `ValueError` or `KeyError` if it is not what is written."""
    try:
        manifest = json.loads(line)
    except RecursionError:
        raise ValueError("its manifest is nested too deeply") from None
    if not isinstance(manifest, dict):
        raise ValueError("its manifest is no mapping")
    if not isinstance(manifest["identity"], dict):
        raise ValueError("it does not say which fit it belongs to")
    spent = manifest["spent"]
    numbers = isinstance(spent, dict) and all(isinstance(value, int | float) for value in spent.values())
    if not numbers or not all(0 <= value < _MOST_SPENT for value in spent.values()):
        raise ValueError("what it says was spent is none")
    return manifest


def _arrays(payload: io.BytesIO) -> dict[str, np.ndarray]:
    """Return the arrays of a state. They are not compressed: none is larger than its archive."""
    with zipfile.ZipFile(payload) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(payload.getbuffer()):
                raise ValueError(f"{entry.filename} is not as it was written")
            with archive.open(entry) as stream:
                read = np.lib.format.read_magic(stream)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[read](stream)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"{entry.filename} says that it has the shape {shape}, which is more than there is")
    payload.seek(0)
    with np.load(payload, allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def _as_array(value: Any) -> np.ndarray:
    array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)
    if array.dtype.hasobject:
        raise TypeError(f"a state is made of numbers, text and bytes, not of {value!r}")
    return array


def _differences(keys: list[str], theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return a description of what differs, without digests, which say nothing to a reader."""
    parts = []
    for key in keys:
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            inner = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
            parts += [f"{key} {name} (there {a.get(name)!r}, here {b.get(name)!r})" for name in inner]
        else:
            parts.append(f"the {key}" if key == "problem" else f"{key} (there {a!r}, here {b!r})")
    return ", ".join(parts) + (" differ" if len(parts) > 1 else " differs")


def _key_path() -> Path:
    root = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(root).expanduser() / "socca" / "checkpoint.key"


def _signing_key() -> bytes:
    """Return the user's key, made at the first call: 32 random bytes that nobody else may read."""
    path = _key_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent)  # private from the start
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(os.urandom(32))
                # A link, unlike a rename, leaves the key alone that another process may have made meanwhile.
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, path)
            finally:
                Path(temporary).unlink()
        if path.stat().st_mode & 0o077 or path.stat().st_uid != os.getuid():
            raise CheckpointError(f"{path} must be yours and for your eyes only: chmod 600, or delete it")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoints of this sampler are signed, and the key {path} cannot be made or read ({error}): set "
            "XDG_STATE_HOME to a folder of yours, or run without a checkpoint"
        ) from error


def _signature(key: bytes, manifest: Mapping[str, Any]) -> str:
    return hmac.new(key, json.dumps(manifest, sort_keys=True).encode(), "sha256").hexdigest()
