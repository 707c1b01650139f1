"""Whether a fit is up to date: what its result says it was made from, against what there is now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socca.fits import file_digest

#: Of each input: its path, digest, size and time of last change in nanoseconds.
Inputs = dict[str, dict[str, Any]]


def size_and_time(path: Path) -> tuple[int, int] | None:
    """Return a file's size and time of last change; None if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116  (half the time of Path.stat, and there are many)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def described(files: Mapping[str, Path]) -> Inputs:
    """Describe the files that a fit reads, as its result records them.

    Parameters
    ----------
    files : mapping of str to Path
        By what they are to the fit, such as ``image``. Those that do not exist are left out.

    Returns
    -------
    dict of dict
        ``path, sha256, size, mtime_ns`` of each.
    """
    found = {}
    for role, path in files.items():
        state = size_and_time(path)
        if state is not None and path.is_file():
            found[role] = {"path": str(path), "sha256": file_digest(path), "size": state[0], "mtime_ns": state[1]}
    return found


def reason_to_fit(
    record: Mapping[str, Any] | None, files: Mapping[str, Path], params: Mapping[str, Any], cap: float | None = None
) -> str:
    """Say why a target has to be fitted (again), or nothing if it has not.

    Parameters
    ----------
    record : mapping or None
        What its result says of itself, as `socca.storage.record_of`; None without one.
    files : mapping of str to Path
        What it would read now.
    params : mapping
        What else it depends on, as `Survey.fit_params`.
    cap : float, optional
        Minutes that a fit may take: one that failed for want of time is tried again with more.

    Returns
    -------
    str
        One reason, or an empty text. A file of another time with the content of before is none.
    """
    if record is None:
        return "no result yet"
    meta = record["meta"]
    before = meta.get("params", {})
    for key, value in params.items():
        if before.get(key) != value:
            return _OTHER.get(key, f"another {key}")
    known: Inputs = meta.get("files", {})
    states = {role: state for role, path in files.items() if (state := size_and_time(path)) is not None}
    if known.keys() != states.keys():
        return "other files: " + ", ".join(sorted(known.keys() ^ states.keys()))
    for role, state in states.items():
        entry = known[role]
        if (entry["size"], entry["mtime_ns"]) != state and (
            entry["size"] != state[0] or entry["sha256"] != file_digest(files[role])
        ):
            return f"{role} has changed"
    limit = meta.get("cap_minutes")
    if record["status"] == "failed" and limit is not None and (cap is None or cap > limit):
        return "more time than before"
    return ""


_OTHER = {"row": "its row of the table has changed", "settings": "the config has changed", "socca": "another socca"}
