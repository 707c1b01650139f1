"""Catalogue: one row for each target and model, gathered from the files of the fits."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.posterior.storage import ResultLocation
from socca.survey.catalog_columns import FIRST, LAST, About, columns_of, describe, stem_of
from socca.survey.catalog_units import DEFAULTS as DEFAULT_UNITS
from socca.survey.catalog_units import Units
from socca.survey.flags import DEFAULTS, Thresholds, bits_of
from socca.survey.model_comparison import compare
from socca.survey.result_rows import NUMBERS, Entry, Staleness, never, read_row, read_rows

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["best_of", "build_catalog", "catalog_of", "gather"]

#: Columns of whole numbers, and of texts.
_WHOLE, _TEXTS = ("n_pixels", "n_calls"), ("frame", "tier", "edge_parameter")


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
    units: Units = DEFAULT_UNITS,
) -> Table:
    """Gather fits into a table; see `gather` and `catalog_of`."""
    return catalog_of(*gather(results, thresholds, stale), units)


def catalog_of(
    fits: Sequence[tuple[str, str]],
    rows: Sequence[dict[str, Any]],
    units: Units = DEFAULT_UNITS,
    carried: Mapping[str, Sequence[Any]] | None = None,
) -> Table:
    """Make a table of fits.

    Parameters
    ----------
    fits : sequence of (str, str)
        Targets and models.
    rows : sequence of dict
        Of each, from `gather`.
    units : Units, optional
        Units of lengths and angles.
    carried : mapping of sequence, optional
        Further columns, such as those of the table of targets: a value for each row, None where there is none.

    Returns
    -------
    astropy.table.Table
        One row each, in their order. `status` is ``done``, ``stale`` (its inputs have changed since), ``failed`` (so is
        a damaged file) or ``missing``, and `message` says why. A parameter ``bulge.re`` has the columns ``bulge_re``
        (median), ``bulge_re_lower`` and so on, see `socca.survey.catalog_columns.STATISTICS`; where a model lacks it
        they are masked. `log_bayes_factor` is `logz` less the highest of the target's models, and `probability` what
        it says if all of them were equally likely before. Columns have descriptions and UCDs.
    """
    from astropy.table import Column, Table

    table = Table(masked=False)
    firsts: dict[str, Any] = {
        "target": [target for target, _ in fits],
        "model": [model for _, model in fits],
        "status": [row["status"] for row in rows],
        "message": [row["message"] for row in rows],
        "flags": np.array([bits_of(row["flag_names"]) for row in rows], np.int64),
        "flag_names": [",".join(row["flag_names"]) for row in rows],
    }
    for name, about in FIRST.items():
        table[name] = Column(firsts[name], dtype=None if name == "flags" else str)
        describe(table[name], about)
    own = {name.lower() for name in (*FIRST, *LAST)}
    for given, values in (carried or {}).items():
        name = f"input_{given}" if given.lower() in own else given
        table[name] = _carried(values)
        describe(table[name], About(f"{given} of the table of targets", ""))
    on_sky = any(row["frame"] == "sky" for row in rows)
    for label, (known, numbers) in _parameters(rows).items():
        stem = stem_of(label, table.colnames)
        for suffix, (column, about) in columns_of(known, numbers, on_sky, units).items():
            table[stem + suffix] = _masked(column)
            describe(table[stem + suffix], about)
    done = np.array([row["status"] == "done" for row in rows], dtype=bool)
    compared = compare(firsts["target"], np.array([row["logz"] for row in rows], dtype=float), done)
    for name, about in LAST.items():
        found = compared.get(name, [row.get(name) for row in rows])
        if name in ("best_model", "converged"):
            table[name] = Column(found, dtype=bool)
        elif name in _TEXTS:
            table[name] = Column(found, dtype=str)
        else:
            table[name] = _masked(np.array(found, dtype=float), whole=name in _WHOLE)
        describe(table[name], about)
    return table


def best_of(table: Table) -> Table:
    """Return one row for each target of a catalogue: that of its best model, and how the others compare with it.

    Parameters
    ----------
    table : astropy.table.Table
        From `catalog_of`.

    Returns
    -------
    astropy.table.Table
        Its columns, and for each model ``logz_<model>`` and ``probability_<model>``. A target without any best model
        has the row of its first one.
    """
    from astropy.table import MaskedColumn

    rows: dict[str, list[int]] = {}
    for k, target in enumerate(table["target"]):
        rows.setdefault(str(target), []).append(k)
    best = np.asarray(table["best_model"])
    chosen = [next((k for k in members if best[k]), members[0]) for members in rows.values()]
    found = table[np.array(chosen, dtype=int)]
    models = list(dict.fromkeys(str(model) for model in table["model"]))
    for name in ("logz", "probability"):
        source = table[name]
        values, mask = np.asarray(source.data.data, float), np.ma.getmaskarray(source.data)
        for model in models if len(models) > 1 else ():
            column = np.full(len(rows), np.nan)
            for place, members in enumerate(rows.values()):
                own = [k for k in members if str(table["model"][k]) == model and not mask[k]]
                if own:
                    column[place] = values[own[0]]
            wanted = f"{name}_{model}"
            wanted = f"{name}_of_{model}" if wanted.lower() in {known.lower() for known in table.colnames} else wanted
            found[wanted] = MaskedColumn(column, mask=np.isnan(column))
            describe(found[wanted], LAST[name]._replace(description=f"{LAST[name].description}: {model}"))
    return found


def _masked(values: np.ndarray, *, whole: bool = False) -> Any:
    """Return a column in which NaN is masked."""
    from astropy.table import MaskedColumn

    blank = np.isnan(values)
    if not whole:
        return MaskedColumn(values, mask=blank)
    column = MaskedColumn(np.nan_to_num(values).astype(np.int64), mask=blank)
    column.fill_value = -1
    return column


def _carried(values: Sequence[Any]) -> Any:
    """Return a column of the table of targets: numbers if all of its values are, otherwise texts."""
    from astropy.table import Column, MaskedColumn

    missing = np.array([value is None for value in values], dtype=bool)
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        filled = [0 if value is None else value for value in values]
        return MaskedColumn(np.array(filled), mask=missing)
    return Column(["" if value is None else " ".join(str(value).split()) for value in values], dtype=str)


def _parameters(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[list[Entry], np.ndarray]]:
    """Return, for each label in order of appearance, what rows say of it and its numbers, one column for each row."""
    known: dict[str, list[Entry]] = {}
    numbers: dict[str, np.ndarray] = {}
    for k, row in enumerate(rows):
        for entry, values in zip(row["entries"], row["numbers"], strict=True):
            if entry.label not in known:
                known[entry.label], numbers[entry.label] = [], np.full((len(NUMBERS), len(rows)), np.nan)
            if entry not in known[entry.label]:
                known[entry.label].append(entry)
            numbers[entry.label][:, k] = values
    return {label: (entries, numbers[label]) for label, entries in known.items()}
