"""Freshness: whether a fit of a chunk is up to date with its files, its settings and the likelihood.

Fits that are jobs of their own are Snakemake's to compare: by their input files, and by `Survey.stated_params`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socca.likelihood.revision import migrated
from socca.posterior.record import FitRecord, InputFile
from socca.utils.files import file_digest


def size_and_time(path: Path) -> tuple[int, int] | None:
    """Return a file's size and time of last change; None if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116  (half the time of Path.stat, and there are many)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    """Return the digest of a file; empty, which is that of no file, if it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return ""


def described(files: Mapping[str, Path], *, digests: bool = True) -> dict[str, InputFile]:
    """Describe the files that a fit reads, as its result records them.

    Parameters
    ----------
    files : mapping of str to Path
        By what they are to the fit, such as ``image``. Those that do not exist are left out.
    digests : bool
        Whether to read them; without a digest, another time alone is taken for another content.

    Returns
    -------
    dict of InputFile
        Each as it is now.
    """
    found = {}
    for role, path in files.items():
        state = size_and_time(path)
        if state is not None:
            found[role] = InputFile(str(path), _digest(path) if digests else "", size=state[0], mtime_ns=state[1])
    return found


def reason_to_fit(
    record: FitRecord | None,
    files: Mapping[str, Path],
    params: Mapping[str, Any],
    caps: Mapping[str, float | None] | None = None,
) -> str:
    """Say why a target has to be fitted (again), or nothing if it has not.

    Parameters
    ----------
    record : FitRecord or None
        Of its result; None without one.
    files : mapping of str to Path
        What it would read now.
    params : mapping
        What else it depends on, as `Survey.fit_params`.
    caps : mapping, optional
        What a fit may take, by the key of the config: one that failed for want of it is tried again with more.

    Returns
    -------
    str
        One reason, or an empty text. A file of another time with the content of before is none; one that could not be
        read, or has changed while it was, is.
    """
    if record is None:
        return "no result yet"
    recorded = record.provenance.params
    before = migrated(recorded)
    for key, value in params.items():
        if before.get(key) != value:
            since = f" since socca {recorded['socca']}" if key == "likelihood" and "socca" in recorded else ""
            return _OTHER.get(key, f"another {key}") + since
    known = record.files
    states = {role: state for role, path in files.items() if (state := size_and_time(path)) is not None}
    if known.keys() != states.keys():
        return "other files: " + ", ".join(sorted(known.keys() ^ states.keys()))
    for role, state in states.items():
        entry = known[role]
        if (entry.size, entry.mtime_ns) != state and (
            entry.size != state[0] or not entry.sha256 or entry.sha256 != _digest(files[role])
        ):
            return f"{role} has changed"
    if record.failure is not None:
        if record.failure.died:
            return "its process had died"
        for key, limit in record.failure.capped.items():
            now = (caps or {}).get(key)
            if now is None or now > limit:
                return f"more than before of {key}"
    return ""


_OTHER = {
    "row": "its row of the table has changed",
    "settings": "the config has changed",
    "likelihood": "the likelihood has changed",
    "plugins": "another version of a plug-in",
}
