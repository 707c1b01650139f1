"""Reasons to fit a target again: its result is not up to date with its files, its settings or the likelihood.

What a result records of its inputs decides, by content. Snakemake's stamps only say whether that has to be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from socca.data.hdus import named_hdu
from socca.data.rereading import READER_REVISION
from socca.likelihood.revision import migrated
from socca.posterior.record import FitRecord, InputFile
from socca.survey.freshness.input_files import FileState, content_digest, file_state
from socca.survey.targets import FILE_COLUMNS


def relevant_row(row: str, columns: Collection[str]) -> str:
    """Return of a target's row what a fit depends on.

    Parameters
    ----------
    row : str
        The row as JSON; see `socca.survey.targets.Target`.
    columns : collection of str
        Columns that the config refers to.

    Returns
    -------
    str
        JSON: the name, the files, the segment and those columns, null where the row has no value.
    """
    values = json.loads(row)
    kept = {key: value for key, value in values.items() if key in _ALWAYS}
    return json.dumps(kept | {key: values.get(key) for key in columns}, sort_keys=True)


def reason_to_fit(
    record: FitRecord | None,
    files: Mapping[str, Path],
    params: Mapping[str, Any],
    caps: Mapping[str, float | None] | None = None,
    *,
    exact: bool = True,
    failed: bool = False,
    changed: Callable[[str], Collection[str]] | None = None,
    reread: Callable[[str], str] | None = None,
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
    exact : bool
        Whether to read each file that may be another one; otherwise those of the same size and time are believed.
    failed : bool
        Whether it is to be tried again if it failed.
    changed : callable, optional
        Names the settings that differ now, given the digest of those of the record.
    reread : callable, optional
        Says what of a file an earlier reader took for something else, given what the file is to the fit.

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
        if key == "row":
            if columns := _other_columns(before.get(key), value):
                return f"its row of the table has changed: {', '.join(columns)}"
        elif before.get(key) != value:
            reason = _OTHER.get(key, f"another {key}")
            if key == "likelihood" and "socca" in recorded:
                reason += f" since socca {recorded['socca']}"
            keys = changed(str(before.get(key))) if key == "settings" and changed is not None else ()
            return f"{reason}: {', '.join(keys)}" if keys else reason
    known = record.files
    states = {role: state for role, path in files.items() if (state := file_state(path)) is not None}
    if known.keys() != states.keys():
        return "other files: " + ", ".join(sorted(known.keys() ^ states.keys()))
    for role, state in states.items():
        entry = known[role]
        if _may_differ(entry, state, exact) and (
            entry.size != state.size or not entry.sha256 or entry.sha256 != content_digest(files[role])
        ):
            return f"{role} has changed"
        if exact and reread is not None and entry.reading < READER_REVISION and (words := reread(role)):
            return f"{role} is read in another way now: {words}"
    if record.failure is not None:
        if record.failure.died:
            return "its process had died"
        if record.failure.unreadable:
            return "one of its files could not be read"
        for key, limit in record.failure.capped.items():
            now = (caps or {}).get(key)
            if now is None or now > limit:
                return f"more than before of {key}"
        if failed:
            return "it failed, and is to be tried again"
    return ""


def _may_differ(entry: InputFile, state: FileState, exact: bool) -> bool:
    """Tell whether a file may be another than the recorded one. Older records lack the time of the entry."""
    if (entry.size, entry.mtime_ns) != (state.size, state.mtime_ns):
        return True
    return exact and entry.ctime_ns not in (-1, state.ctime_ns)


def _other_columns(before: Any, now: Any) -> list[str]:
    """Return the columns in which two rows differ. Of files, their HDUs are compared here, and their content apart."""
    earlier, later = _parsed(before), _parsed(now)
    keys = sorted((later.keys() | {"target", "segment"}).union(FILE_COLUMNS))
    return [key for key in keys if not _same_cell(key, earlier.get(key), later.get(key))]


def _same_cell(key: str, one: Any, other: Any) -> bool:
    if key in FILE_COLUMNS:
        one, other = (named_hdu(cell) if isinstance(cell, str) else None for cell in (one, other))
    return one == other or (one != one and other != other)  # NaN is no other value than NaN


def _parsed(row: Any) -> dict[str, Any]:
    try:
        found = json.loads(row)
    except (TypeError, ValueError):
        found = {}
    return found if isinstance(found, dict) else {}


#: What every fit depends on of its row.
_ALWAYS = ("target", *FILE_COLUMNS, "segment")
_OTHER = {
    "settings": "the config has changed",
    "likelihood": "the likelihood has changed",
    "plugins": "another version of a plug-in",
}
