"""Rows of results: what a catalogue and a status need of the files of the fits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.container import ContainerHeaders, read_container
from socca.posterior.header import ResultHeader
from socca.posterior.record import FitRecord
from socca.posterior.storage import ResultLocation, header_of, open_result
from socca.survey.chunks import Chunk
from socca.survey.flags import DEFAULTS, Thresholds, flags_of
from socca.utils.machine import raise_if_machine

#: Numbers of an entry of a posterior's summary, in the order of a row's ``numbers``.
NUMBERS = ("median", "lower", "upper", "mean", "std", "best")
#: The record of a fit of which nothing is known.
_UNKNOWN = FitRecord()
#: Longest message that a row keeps; FITS gives every row as much room as the longest one takes.
MESSAGE_LENGTH = 300
#: Says why the result of a target and model, with a record, is out of date, or nothing.
Staleness = Callable[[str, str, FitRecord], str]
#: Reads the row of a target and model from a file of its own.
Reader = Callable[[str, str, Path], dict[str, Any]]


class Entry(NamedTuple):
    """A parameter or derived quantity of a fit.

    Attributes
    ----------
    label, unit : str
        As in a posterior's summary; the unit of the image is named.
    description, ucd : str
        Empty where not known.
    """

    label: str
    unit: str
    description: str
    ucd: str


def never(target: str, model: str, record: FitRecord) -> str:
    """Take every result for up to date."""
    return ""


def read_rows(
    results: Sequence[tuple[str, str, Path | ResultLocation]],
    read: Reader,
    stale: Staleness,
    thresholds: Thresholds = DEFAULTS,
) -> list[dict[str, Any]]:
    """Return a row for each result, of files of one fit by `read`. Never raises for what the files hold."""
    rows: list[dict[str, Any]] = [{}] * len(results)
    gathered: dict[Path, dict[str, int]] = {}
    for k, (target, model, place) in enumerate(results):
        if isinstance(place, ResultLocation) and place.target is not None:
            gathered.setdefault(place.path, {})[place.target] = k
        else:
            rows[k] = read(target, model, place.path if isinstance(place, ResultLocation) else Path(place))
    # One file after another: all that a survey says of itself is too much to hold at once.
    counts: dict[Path, list[int]] = {}  # one look into each folder, which may hold thousands of files
    for path, members in gathered.items():
        if path.parent not in counts:
            counts[path.parent] = Chunk.of(path).former_counts(path.parents[2])
        for target, row in _rows_of_chunk(path, members, counts[path.parent], thresholds, stale).items():
            rows[members[target]] = row
    return rows


def _rows_of_chunk(
    path: Path, targets: Iterable[str], former_counts: list[int], thresholds: Thresholds, stale: Staleness
) -> dict[str, dict[str, Any]]:
    """Return the rows of a chunk's targets, while its job may be running."""
    chunk, folder = Chunk.of(path), path.parents[2]
    parts = chunk.parts(path)
    rows: dict[str, dict[str, Any]] = {}
    # Parts first: one that is gone when it is looked for has been gathered meanwhile.
    waiting = {part.stem for part in parts.glob("*.h5")} if parts.is_dir() else set()
    for target in waiting.intersection(targets):
        row = read_row(parts / f"{target}.h5", thresholds, functools.partial(stale, target, chunk.model))
        if row["status"] != "missing":
            rows[target] = row
    known: dict[Path, ContainerHeaders] = {}
    damage = ""
    for target in targets:
        if target in rows:
            continue
        for place in (path, *chunk.former(folder, target, former_counts)):
            if place not in known:
                try:
                    known[place] = read_container(place)
                except PosteriorError as error:
                    raise_if_machine(error)
                    known[place] = ContainerHeaders()
                    damage = damage or (str(error) if place == path else "")
                for own_damage in known[place].damaged.values():
                    raise_if_machine(own_damage)
            if target in known[place].intact:
                header = known[place].intact[target]
                rows[target] = _row_of(header, thresholds, stale(target, chunk.model, header.record))
                break
        else:
            own = damage or str(known[path].damaged.get(target, ""))
            rows[target] = _row("failed", own) if own else _row("missing", "there is no result")
    return rows


def read_row(path: Path, thresholds: Thresholds, stale: Callable[[FitRecord], str]) -> dict[str, Any]:
    """Return what a row needs of a file of one fit; NaN for what is not known."""
    if not path.exists():
        return _row("missing", "there is no result")
    try:
        with open_result(path) as group:
            header = header_of(group)
        return _row_of(header, thresholds, stale(header.record))
    except PosteriorError as error:
        raise_if_machine(error)
        return _row("failed", str(error))


def _row_of(header: ResultHeader, thresholds: Thresholds, stale: str) -> dict[str, Any]:
    """Return the row of a result; `stale` says why it is out of date. A stale one keeps its numbers."""
    row = _row("stale" if stale else header.status, stale or header.message, header.record)
    row["flag_names"] = flags_of(header.record, thresholds)
    if "at_prior_edge" in row["flag_names"]:
        row["edge_parameter"] = header.record.quality.edge_parameter or ""
    if header.status == "done":
        row["entries"] = tuple(_entry(entry, header.record.image.bunit) for entry in header.summary)
        # In one array: a survey has millions of them.
        row["numbers"] = np.array([[_number(entry[key]) for key in NUMBERS] for entry in header.summary])
        row["logz"], row["logz_err"], row["n_eff"] = map(_number, (header.logz, header.logz_err, header.n_eff))
    return row


def _row(status: str, message: str, record: FitRecord = _UNKNOWN) -> dict[str, Any]:
    """Return one fit as a flat dictionary, from its status and its record."""
    return {
        "status": status,
        "message": shortened(message),
        "flag_names": ["failed"] if status == "failed" else [],
        "entries": (),
        "numbers": np.zeros((0, len(NUMBERS))),
        "logz": math.nan,
        "logz_err": math.nan,
        "chi2_red": _number(record.quality.chi2_red),
        "chi2_source": _number(record.quality.chi2_source),
        "frame": record.image.frame,
        "n_pixels": _number(record.image.n_pixels),
        "n_eff": math.nan,
        "n_calls": _number(record.sampler.n_calls),
        "wall_time": _number(record.timing.total),
        "error_factor": _error_factor(record.quality.chi2_source),
        "edge_parameter": "",
        "zero_point": _number(record.image.zero_point),
        "converged": bool(record.sampler.converged),
        "tier": record.sampler.notes.tier or record.sampler.method,
        "audit": record.sampler.notes.audit,
        "derived": record.provenance.derived,
        "finished": finished_at(record.provenance.finished),
    }


def _entry(entry: Mapping[str, Any], bunit: str) -> Entry:
    unit = str(entry["unit"])
    texts = (str(entry["label"]), bunit if unit == "image" else unit)
    return _same(Entry(*texts, *(str(entry.get(key, "")) for key in ("description", "ucd"))))


@functools.lru_cache(maxsize=4096)
def _same(entry: Entry) -> Entry:
    """Return one object for equal entries: those of most rows are alike."""
    return entry


def shortened(message: str) -> str:
    """Return a message in one line, of `MESSAGE_LENGTH` characters at most."""
    message = " ".join(message.split())
    return message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 3] + "..."


def _number(value: Any) -> float:
    """Return a number; NaN for None and for what is not finite, since FITS and readers know only one blank."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan


def _error_factor(chi2_source: float | None) -> float:
    """Return by what errors would grow if the noise were as large as the residuals of the source; 1 at least."""
    return math.nan if chi2_source is None else math.sqrt(max(chi2_source, 1.0))


def finished_at(finished: str) -> float | None:
    """Return when a fit ended, seconds since the epoch, from its record's `finished`; None where it does not say."""
    try:
        return datetime.fromisoformat(finished).timestamp()
    except ValueError:
        return None
