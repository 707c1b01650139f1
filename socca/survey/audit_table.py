"""Table of the audited fits: how far importance sampling and nested sampling of the same posterior differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from astropy.table import Table

#: Numbers of an audit, by column: what they are.
NUMBERS = {
    "logz": "log-evidence by importance sampling",
    "logz_err": "its standard error",
    "nested_logz": "log-evidence by nested sampling",
    "nested_logz_err": "its standard error",
    "off_logz": "difference of the two, in their combined errors",
    "off_median": "largest difference of probabilities below a parameter's median, in standard deviations of a normal",
    "off_deviation": "largest difference of a parameter's standard deviations, as a part of them",
}


def audit_table(fits: Iterable[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the audited fits of a survey that are up to date, one row each.

    Parameters
    ----------
    fits : iterable of (str, str)
        Targets and models.
    rows : sequence of mapping
        What was read of each, from `socca.survey.catalog.gather`.

    Returns
    -------
    astropy.table.Table
        Columns `target`, `model`, those of `NUMBERS`, `agrees`, and `reasons`: what of the difference is more than
        scatter.
    """
    from astropy.table import Column, Table

    audited = [
        (*fit, row["audit"]) for fit, row in zip(fits, rows, strict=True) if row["audit"] and row["status"] == "done"
    ]
    table = Table()
    table["target"] = Column([target for target, _, _ in audited], dtype=str)
    table["model"] = Column([model for _, model, _ in audited], dtype=str)
    for name, description in NUMBERS.items():
        values = [float(audit.get(name, float("nan"))) for _, _, audit in audited]
        table[name] = Column(values, dtype=float, description=description)
    reasons = [list(audit.get("reasons", [])) for _, _, audit in audited]
    table["agrees"] = Column([not said for said in reasons], dtype=bool)
    table["reasons"] = Column(["; ".join(said) for said in reasons], dtype=str)
    return table


def write_audit(table: Table, path: str | Path) -> None:
    """Write the table as ECSV, whole or not at all."""
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def audit_line(table: Table) -> str:
    """Return in one line what the audit found."""
    number = len(table)
    if not number:
        return "no fit was audited"
    return f"{number} fit(s) audited, {int(table['agrees'].sum())} of them agree with nested sampling"
