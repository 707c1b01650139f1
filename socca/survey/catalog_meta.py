"""What a catalogue says of its survey, and the columns of the table of targets that it carries over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import socca
from socca.errors import ConfigError, nearest
from socca.survey.flags import OUTDATED
from socca.utils.timestamps import utc_now

if TYPE_CHECKING:
    from socca.survey.survey import Survey


def table_meta(survey: Survey) -> dict[str, Any]:
    """Return the metadata of a survey's catalogue: survey, version, date, seed and sampler, by name."""
    config = survey.config
    zero_point = config.image.zero_point
    return {
        "survey": config.survey,
        "socca version": socca.__version__,
        "date": utc_now(),
        "seed": config.seed,
        "sampler": config.sampler.method,
        **({} if zero_point is None else {"zero point": zero_point}),
    }


def carried_columns(survey: Survey, fits: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """Return the columns of the table of targets that the config asks for, a value for each fit.

    Raises
    ------
    ConfigError
        If the table has no such column.
    """
    if not survey.config.catalog.columns:
        return {}
    found: dict[str, list[Any]] = {}
    rows: list[dict[str, Any]] = [json.loads(survey.target(target).row or "{}") for target, _ in fits]
    known = {key for row in rows for key in row}
    for name in survey.config.catalog.columns:
        if rows and name not in known:
            raise ConfigError(f"catalog.columns: the table of targets has no column {name!r}{nearest(name, known)}")
        found[name] = [row.get(name) for row in rows]
    return found


def flag_outdated(survey: Survey, fits: Sequence[tuple[str, str]], rows: Sequence[dict[str, Any]]) -> int:
    """Flag the rows whose derived quantities are not those that the config asks for; return their number."""
    number = 0
    for (target, _), row in zip(fits, rows, strict=True):
        if row["status"] in ("done", "stale") and row["entries"] and row["derived"] != survey.derived_settings(target):
            row["flag_names"].append(OUTDATED)
            number += 1
    return number
