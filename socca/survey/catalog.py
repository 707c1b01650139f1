"""Catalogue: one row for each target and model, gathered from the files of the fits."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.container import ContainerHeaders, read_container
from socca.posterior.endings import read_ending
from socca.posterior.header import ResultHeader
from socca.posterior.record import FitRecord
from socca.posterior.storage import ResultLocation, header_of, open_result
from socca.survey.chunks import Chunk
from socca.survey.flags import DEFAULTS, Thresholds, flags_of
from socca.survey.status import finished_at, rate, running
from socca.utils.files import atomic_path
from socca.utils.machine import raise_if_machine

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import UnitBase


__all__ = ["build_catalog", "survey_status", "write_catalog"]

#: Says why the result of a target and model, with a record, is out of date, or nothing.
Staleness = Callable[[str, str, FitRecord], str]
#: Reads the row of a target and model from a file of its own.
Reader = Callable[[str, str, Path], dict[str, Any]]


def _never(target: str, model: str, record: FitRecord) -> str:
    """Take every result for up to date."""
    return ""


#: What each parameter's columns are called after its label, and their keys in a posterior's summary.
QUANTITIES = {"": "median", "_lower": "lower", "_upper": "upper", "_std": "std", "_best": "best"}
#: The record of a fit of which nothing is known.
UNKNOWN = FitRecord()
#: Longest message that a row keeps; FITS gives every row as much room as the longest one takes.
MESSAGE_LENGTH = 300
#: Columns before the parameters, and after them.
FIRST = ("target", "model", "status", "message", "flags")
LAST = (
    "logz",
    "logz_err",
    "log_bayes_factor",
    "best_model",
    "chi2_red",
    "chi2_source",
    "frame",
    "n_pixels",
    "n_eff",
    "n_calls",
    "wall_time",
    "converged",
    "tier",
)


def build_catalog(
    results: Iterable[tuple[str, str, Path | ResultLocation]],
    thresholds: Thresholds = DEFAULTS,
    stale: Staleness = _never,
) -> Table:
    """Gather fits into a table.

    Parameters
    ----------
    results : iterable of (str, str, Path or ResultLocation)
        Target, model and the file that its fit wrote, or was to write, or its place in a file of many.
    thresholds : Thresholds, optional
        When a fit is flagged.
    stale : callable, optional
        Says why a result (of a target, a model, with a record) is out of date, or nothing.

    Returns
    -------
    astropy.table.Table
        One row each, in their order. `status` is ``done``, ``stale`` (its inputs have changed since), ``failed`` (so is
        a damaged file) or ``missing``, and `message` says why. A parameter ``bulge.re`` has the columns ``bulge_re``
        (median), ``bulge_re_lower`` and ``bulge_re_upper`` (the central 68 per cent), ``bulge_re_std`` and
        ``bulge_re_best`` (highest density); where a model lacks it they are masked. `log_bayes_factor` is `logz` less
        the highest of the target's models.

    Raises
    ------
    MachineError
        If the machine does not let a result be read, which says nothing about the fit.
    """
    from astropy.table import Column, MaskedColumn, Table

    results = [(str(target), str(model), place) for target, model, place in results]

    def read(target: str, model: str, path: Path) -> dict[str, Any]:
        return _read(path, thresholds, functools.partial(stale, target, model))

    rows = _rows(results, read, stale, thresholds)
    table = Table(masked=False)
    for name, texts in {
        "target": [target for target, _, _ in results],
        "model": [model for _, model, _ in results],
        **{key: [row[key] for row in rows] for key in ("status", "message", "flags")},
    }.items():
        table[name] = Column(texts, dtype=str)

    for label, (values, unit) in _parameters(rows).items():
        stem = _stem(label, table.colnames)
        for k, suffix in enumerate(QUANTITIES):
            column = values[:, k]
            table[stem + suffix] = MaskedColumn(column, mask=np.isnan(column))
            _set_unit(table[stem + suffix], unit)

    logz = _floats(rows, "logz")
    done = np.array([row["status"] == "done" for row in rows], dtype=bool)
    factors, best = _compare([target for target, _, _ in results], logz, done)
    floats = {key: _floats(rows, key) for key in LAST if rows and isinstance(rows[0].get(key), float)} | {
        "log_bayes_factor": factors
    }
    for name in LAST:
        if name == "best_model":
            table[name] = Column(best)
        elif name == "converged":
            table[name] = Column([row[name] for row in rows], dtype=bool)
        elif name in ("frame", "tier"):
            table[name] = Column([row[name] for row in rows], dtype=str)
        else:
            column = floats.get(name, np.empty(0))
            if name in ("n_pixels", "n_calls"):
                table[name] = MaskedColumn(np.nan_to_num(column).astype(np.int64), mask=np.isnan(column))
                table[name].fill_value = -1
            else:
                table[name] = MaskedColumn(column, mask=np.isnan(column))
    table["wall_time"].unit = "s"
    return table


def write_catalog(table: Table, fits_path: str | Path, ecsv_path: str | Path) -> None:
    """Write a catalogue as FITS and as ECSV, each whole or not at all.

    Parameters
    ----------
    table : astropy.table.Table
        From `build_catalog`. FITS knows ASCII alone: other characters of its texts become ``?`` there.
    fits_path, ecsv_path : str or Path
        The files; existing ones are replaced.
    """
    ascii_only = table.copy()
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            texts = [str(text).encode("ascii", "replace").decode() for text in table[name]]
            ascii_only.replace_column(name, type(table[name])(texts, dtype=str, name=name))
    with atomic_path(fits_path) as temporary:
        ascii_only.write(temporary, format="fits", overwrite=True)
    with atomic_path(ecsv_path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table[:0].write(stream, format="ascii.ecsv")
        cells = [_cells(table[name]) for name in table.colnames]
        stream.writelines(" ".join(row) + "\n" for row in zip(*cells, strict=True))


def _cells(column: Any) -> list[str]:
    """Return a column as ECSV has it. Astropy's own writer takes a hundred times as long over many masked columns."""
    values = np.asarray(column).tolist()
    if column.dtype.kind == "U":
        values = [
            '"' + text.replace('"', '""') + '"' if not text or set(text) & set(" \"'#,") else text for text in values
        ]
    masked = np.ma.getmaskarray(column).tolist()
    return ['""' if blank else str(value) for value, blank in zip(values, masked, strict=True)]


@dataclass(frozen=True)
class Status:
    """How far a survey is.

    Parameters
    ----------
    counts : dict of int
        How many fits are ``done, stale, failed, running, pending``.
    failures : list of (str, str, str)
        Target, model and message of those that failed.
    rate : float
        Fits that end per second, of late.
    """

    counts: dict[str, int]
    failures: list[tuple[str, str, str]]
    rate: float


def survey_status(
    results: Iterable[tuple[str, str, Path | ResultLocation]],
    folder: Path,
    stale: Staleness = _never,
    settled: Callable[[str, str], bool] | None = None,
) -> Status:
    """Say how far a survey is, from its files alone.

    Parameters
    ----------
    results : iterable of (str, str, Path or ResultLocation)
        As of `build_catalog`.
    folder : Path
        Of the survey's results.
    stale : callable, optional
        As of `build_catalog`.
    settled : callable, optional
        Tells of a target and model whether its result is known to be up to date, so that its record need not be read.

    Returns
    -------
    Status
        A fit that runs counts as running whatever there is of an earlier one.
    """
    results = list(results)
    rows = _rows(results, _status_reader(stale, settled), stale)
    now_running = running(folder)
    counts = dict.fromkeys(("done", "stale", "failed", "running", "pending"), 0)
    failures = []
    for (target, model, _), row in zip(results, rows, strict=True):
        state = "pending" if row["status"] == "missing" else row["status"]
        if (target, model) in now_running:
            state = "running"
        elif state == "failed":
            failures.append((target, model, row["message"]))
        counts[state] += 1
    finished = [row["finished"] for row in rows if row["finished"] is not None]
    return Status(counts, failures, rate(finished, time.time() if now_running else max(finished, default=0.0)))


def _status_reader(stale: Staleness, settled: Callable[[str, str], bool] | None) -> Reader:
    """Return the function that reads what a row of `survey_status` needs of a file of one fit."""

    def read(target: str, model: str, path: Path) -> dict[str, Any]:
        known = stale is _never if settled is None else settled(target, model)
        found = read_ending(path) if known else None
        if found is None:  # no such file, or one that cannot be used: the whole row says why
            return _read(path, DEFAULTS, functools.partial(stale, target, model))
        return {
            "status": found.status,
            "message": _shortened(found.message),
            "finished": finished_at(found.finished),
        }

    return read


def _rows(
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
        row = _read(parts / f"{target}.h5", thresholds, functools.partial(stale, target, chunk.model))
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


def _read(path: Path, thresholds: Thresholds, stale: Callable[[FitRecord], str]) -> dict[str, Any]:
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
    if header.status == "done":
        row["flags"] = ",".join(flags_of(header.record, thresholds))
        row["summary"] = [
            (str(entry["label"]), str(entry["unit"]), [_number(entry[key]) for key in QUANTITIES.values()])
            for entry in header.summary
        ]
        row["logz"], row["logz_err"], row["n_eff"] = map(_number, (header.logz, header.logz_err, header.n_eff))
    return row


def _row(status: str, message: str, record: FitRecord = UNKNOWN) -> dict[str, Any]:
    """Return one fit as a flat dictionary, from its status and its record."""
    return {
        "status": status,
        "message": _shortened(message),
        "flags": "",
        "summary": [],
        "bunit": record.image.bunit,
        "logz": math.nan,
        "logz_err": math.nan,
        "chi2_red": _number(record.quality.chi2_red),
        "chi2_source": _number(record.quality.chi2_source),
        "frame": record.image.frame,
        "n_pixels": _number(record.image.n_pixels),
        "n_eff": math.nan,
        "n_calls": _number(record.sampler.n_calls),
        "wall_time": _number(record.timing.total),
        "converged": bool(record.sampler.converged),
        "tier": record.sampler.notes.tier or record.sampler.method,
        "finished": finished_at(record.provenance.finished),
    }


def _shortened(message: str) -> str:
    """Return a message in one line, of `MESSAGE_LENGTH` characters at most."""
    message = " ".join(message.split())
    return message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 3] + "..."


def _number(value: Any) -> float:
    """Return a number; NaN for None and for what is not finite, since FITS and readers know only one blank."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan


def _floats(rows: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    return np.array([row[key] for row in rows], dtype=float)


def _parameters(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[np.ndarray, str]]:
    """Return, for each label in order of appearance, values of shape (rows, quantities) and the unit they share."""
    values: dict[str, np.ndarray] = {}
    units: dict[str, set[str]] = {}
    for k, row in enumerate(rows):
        for label, unit, numbers in row["summary"]:
            if label not in values:
                values[label] = np.full((len(rows), len(QUANTITIES)), math.nan)
                units[label] = set()
            values[label][k] = numbers
            units[label].add(row["bunit"] if unit == "image" else unit)
    return {label: (values[label], units[label].pop() if len(units[label]) == 1 else "") for label in values}


def _stem(label: str, taken: Iterable[str]) -> str:
    """Turn a label into the name of a column. Where that would be taken (FITS ignores case), keep the label."""
    known = {name.lower() for name in (*taken, *FIRST, *LAST)}
    for stem in (label.replace(".", "_"), label):
        if not any((stem + suffix).lower() in known for suffix in QUANTITIES):
            return stem
    return _stem(label + "_", taken)


def _set_unit(column: Any, unit: str) -> None:
    """Give a column its unit; one that FITS does not know goes into the description."""
    known = _fits_unit(unit)
    if known is not None:
        column.unit = known
    elif unit:
        column.description = f"unit: {unit}"


def _fits_unit(unit: str) -> UnitBase | None:
    """Return a unit if it can be written to FITS and read back, without a warning."""
    from astropy.units import Unit

    if not unit:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            known = Unit(unit)
            return known if Unit(known.to_string("fits"), format="fits") == known else None
    except (ValueError, TypeError, Warning):
        return None


def _compare(targets: Sequence[str], logz: np.ndarray, done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the log Bayes factor of each fit against the best of its target, and which is that best.

    The only fit of a target is its best, though its sampler may give no evidence.
    """
    groups: dict[str, list[int]] = {}
    for k in np.flatnonzero(done).tolist():
        groups.setdefault(targets[k], []).append(k)
    factors, best = np.full(len(targets), math.nan), np.zeros(len(targets), dtype=bool)
    for members in groups.values():
        evidence = logz[members]
        if np.any(np.isfinite(evidence)):
            factors[members] = evidence - np.nanmax(evidence)
            best[members[int(np.nanargmax(evidence))]] = True
        elif len(members) == 1:
            best[members[0]] = True
    return factors, best
