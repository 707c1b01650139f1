"""Catalogue: one row for each target and model, gathered from the files of the fits."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.posterior.storage import ResultLocation
from socca.survey.flags import DEFAULTS, Thresholds
from socca.survey.result_rows import QUANTITIES, Staleness, never, read_row, read_rows
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import UnitBase


__all__ = ["build_catalog", "catalog_of", "gather", "write_catalog"]

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


def gather(
    results: Iterable[tuple[str, str, Path | ResultLocation]],
    thresholds: Thresholds = DEFAULTS,
    stale: Staleness = never,
) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Read what a catalogue needs of each fit.

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
    fits : list of (str, str)
        Targets and models.
    rows : list of dict
        Of each; see `socca.survey.result_rows`.

    Raises
    ------
    MachineError
        If the machine does not let a result be read, which says nothing about the fit.
    """
    results = [(str(target), str(model), place) for target, model, place in results]

    def read(target: str, model: str, path: Path) -> dict[str, Any]:
        return read_row(path, thresholds, functools.partial(stale, target, model))

    rows = read_rows(results, read, stale, thresholds)
    return [(target, model) for target, model, _ in results], rows


def build_catalog(
    results: Iterable[tuple[str, str, Path | ResultLocation]],
    thresholds: Thresholds = DEFAULTS,
    stale: Staleness = never,
) -> Table:
    """Gather fits into a table; see `gather` and `catalog_of`."""
    return catalog_of(*gather(results, thresholds, stale))


def catalog_of(fits: Sequence[tuple[str, str]], rows: Sequence[dict[str, Any]]) -> Table:
    """Make a table of fits.

    Parameters
    ----------
    fits : sequence of (str, str)
        Targets and models.
    rows : sequence of dict
        Of each, from `gather`.

    Returns
    -------
    astropy.table.Table
        One row each, in their order. `status` is ``done``, ``stale`` (its inputs have changed since), ``failed`` (so is
        a damaged file) or ``missing``, and `message` says why. A parameter ``bulge.re`` has the columns ``bulge_re``
        (median), ``bulge_re_lower`` and ``bulge_re_upper`` (the central 68 per cent), ``bulge_re_std`` and
        ``bulge_re_best`` (highest density); where a model lacks it they are masked. `log_bayes_factor` is `logz` less
        the highest of the target's models.
    """
    from astropy.table import Column, MaskedColumn, Table

    table = Table(masked=False)
    for name, texts in {
        "target": [target for target, _ in fits],
        "model": [model for _, model in fits],
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
    factors, best = _compare([target for target, _ in fits], logz, done)
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
