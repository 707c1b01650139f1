"""Status of a survey: how far it is, from its files alone."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socca.posterior.endings import read_ending
from socca.posterior.storage import ResultLocation
from socca.survey.flags import DEFAULTS
from socca.survey.jobs.heartbeat import running
from socca.survey.result_rows import Reader, Staleness, finished_at, never, read_row, read_rows, shortened

#: Seconds of the past over which a rate is taken.
WINDOW = 3600.0


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
    stale: Staleness = never,
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
    rows = read_rows(results, _status_reader(stale, settled), stale)
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
        known = stale is never if settled is None else settled(target, model)
        found = read_ending(path) if known else None
        if found is None:  # no such file, or one that cannot be used: the whole row says why
            return read_row(path, DEFAULTS, functools.partial(stale, target, model))
        return {
            "status": found.status,
            "message": shortened(found.message),
            "finished": finished_at(found.finished),
        }

    return read


def rate(finished: Iterable[float], now: float) -> float:
    """Return how many fits per second end, of late.

    Parameters
    ----------
    finished : iterable of float
        When fits ended, seconds since the epoch.
    now : float
        The present, likewise.

    Returns
    -------
    float
        Over the last `WINDOW` seconds, or since the first fit if that is less; 0 if none ended then.
    """
    recent = sorted(when for when in finished if now - when < WINDOW)
    if len(recent) < 2:
        return 0.0
    # Between the first of these and now, all but that first one ended.
    return (len(recent) - 1) / max(now - recent[0], 1.0)


def summary_line(survey: str, counts: dict[str, int], per_second: float) -> str:
    """Say in one line how far a survey is."""
    total = sum(counts.values())
    text = f"{survey}: {total} fit(s): " + ", ".join(f"{number} {status}" for status, number in counts.items())
    left = sum(counts.get(status, 0) for status in ("stale", "running", "pending"))
    if per_second and left:
        text += f"; {_per_time(per_second)}, {_duration(left / per_second)} left"
    return text


def _per_time(per_second: float) -> str:
    return f"{per_second * 60:.1f} a minute" if per_second * 60 >= 1 else f"{per_second * 3600:.1f} an hour"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
