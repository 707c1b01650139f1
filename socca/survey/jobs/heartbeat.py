"""Heartbeats: files which say what processes are fitting now."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from socca.utils.files import atomic_path, read_json

log = logging.getLogger(__name__)

#: Seconds between two heartbeats, and after how many without one a process is taken for dead.
BEAT, DEAD = 15.0, 60.0
_FORGOTTEN = 3600.0


class Heartbeat:
    """Says what this process is fitting, for as long as it does.

    Parameters
    ----------
    folder : Path
        Of the survey's results.
    writes : bool
        Whether to say anything; of the ranks of MPI, one should.
    """

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self._path = folder / "running" / f"{platform.node()}-{os.getpid()}.json"
        self._writes = writes
        self._over = threading.Event()

    def now(self, fits: Sequence[tuple[str, str]]) -> None:
        """Say which targets and models are being fitted from now on."""
        if not self._writes:
            return
        try:
            with atomic_path(self._path) as temporary:
                temporary.write_text(json.dumps({"fits": fits, "since": time.time()}), encoding="utf-8")
        except OSError as error:  # which costs no fit
            log.warning("%s cannot be written: %s", self._path, error)

    def __enter__(self) -> Self:
        if self._writes:
            for path in self._path.parent.glob("*.json"):  # of processes that were killed
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _FORGOTTEN:
                        path.unlink()
            threading.Thread(target=self._beat, daemon=True, name="socca-progress").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Say no more, and that nothing is being fitted."""
        self._over.set()
        if self._writes:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def running(folder: Path) -> set[tuple[str, str]]:
    """Return the targets and models that processes are fitting now.

    Parameters
    ----------
    folder : Path
        Of the survey's results.

    Returns
    -------
    set of (str, str)
        Of processes that had a heartbeat within the last `DEAD` seconds.
    """
    return {fit for path in (folder / "running").glob("*.json") for fit in _fits_at(path)}


def _fits_at(path: Path) -> list[tuple[str, str]]:
    """Return the targets and models of a heartbeat's file; none of one that has stopped, or is damaged."""
    try:
        return _fits_of(read_json(path)) if time.time() - path.stat().st_mtime < DEAD else []
    except (OSError, ValueError) as error:  # most often it has just ended
        log.debug("%s is left out: %s", path, error)
        return []


def leftovers(folder: Path, working: Path) -> list[str]:
    """Say what keeps Snakemake from starting again after it was killed.

    Parameters
    ----------
    folder : Path
        Of the survey's results.
    working : Path
        The directory in which Snakemake runs.

    Returns
    -------
    list of str
        Lines for the user; none unless Snakemake has locked the directory.
    """
    if not any((working / ".snakemake" / "locks").glob("*")):
        return []
    lines = [
        "Snakemake has locked this folder. If it was killed, and does not run any more, type `snakemake --unlock "
        "--config survey=...` before you start it again."
    ]
    for path in sorted((folder / "running").glob("*.json")):
        if fits := _fits_at(path):
            node, _, pid = path.stem.rpartition("-")
            names = ", ".join(f"{target} {model}" for target, model in fits)
            lines.append(f"Process {pid} on {node} is fitting {names}: let it end, or end it.")
    return lines


def _fits_of(heartbeat: Any) -> list[tuple[str, str]]:
    """Return the targets and models of a heartbeat; `ValueError` if it is none."""
    fits = heartbeat.get("fits") if isinstance(heartbeat, dict) else None
    if not isinstance(fits, list):
        raise ValueError("it lists no fits")
    for fit in fits:
        if not (isinstance(fit, list) and len(fit) == 2 and all(isinstance(name, str) for name in fit)):
            raise ValueError(f"{fit!r:.60} is no target and model")
    return [(target, model) for target, model in fits]
