"""Freshness: whether the result of a fit is up to date with its files, its settings and the likelihood.

What a result records of its inputs decides, by content. Snakemake's stamps only say whether that has to be looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from socca.data.hdus import named_hdu
from socca.data.rereading import READER_REVISION
from socca.likelihood.revision import migrated
from socca.posterior.record import FitRecord, InputFile
from socca.survey.targets import FILE_COLUMNS
from socca.utils.files import file_digest
from socca.utils.machine import machine_fault


class FileState(NamedTuple):
    """A file as the file system describes it, without its content.

    Parameters
    ----------
    size : int
        In bytes.
    mtime_ns : int
        Time of the last change of its content, nanoseconds. Copying may keep it, and anyone may set it.
    ctime_ns : int
        Time of the last change of its entry in the file system. It cannot be set: another file has another one.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


def file_state(path: Path, *, strict: bool = False) -> FileState | None:
    """Return the state of a file; None if there is no such file.

    Nor if the machine does not tell (a folder that may not be entered, a stale mount), unless that is to be an error.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  (half the time of Path.stat, and there are many)
    except OSError as error:
        if strict and machine_fault(error):
            raise
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


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

    Raises
    ------
    OSError
        If they are to be read, and the machine does not tell whether one is there.
    """
    found = {}
    for role, path in files.items():
        state = file_state(path, strict=digests)
        if state is not None:
            digest = _digest(path) if digests else ""
            found[role] = InputFile(str(path), digest, **state._asdict(), reading=READER_REVISION)
    return found


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
            entry.size != state.size or not entry.sha256 or entry.sha256 != _digest(files[role])
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
