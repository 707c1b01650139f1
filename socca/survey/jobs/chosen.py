"""Fits that a command is asked for, and the log of their job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from socca.errors import ConfigError, nearest
from socca.survey.chunks import Chunk
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.fit_targets import is_first
from socca.survey.jobs.single_job import SingleJob
from socca.utils.logs import start_logging

if TYPE_CHECKING:
    from socca.survey.survey import Survey


def one_chunk(models: Sequence[str] | None, name: str | None) -> Chunk | None:
    """Return the chunk of that name of the only model; None without a name."""
    if name is None:
        return None
    if models is None or len(models) != 1:
        raise ConfigError("--chunk needs the --model whose chunk it is")
    return Chunk.named(models[0], name)


def chosen_fits(survey: Survey, targets: Sequence[str] | None, models: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return the fits of some targets and models; without names, of all.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    targets, models : sequence of str, optional
        Their names.

    Returns
    -------
    list of (str, str)
        Targets and models.

    Raises
    ------
    ConfigError
        If a name is unknown, or none of these targets is fitted with any of these models.
    """
    for name in targets or ():
        survey.target(name)
    for name in models or ():
        if name not in survey.config.models:
            raise ConfigError(f"unknown model {name!r}{nearest(name, survey.config.models)}")
    wanted = [
        (target, model)
        for target, model in survey.jobs()
        if (not targets or target in targets) and (not models or model in models)
    ]
    if not wanted:
        raise ConfigError("no target is fitted with that model: see the column models of the table")
    return wanted


def failed_fits(survey: Survey, chosen: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those of the fits, with files of their own, that are recorded as failed."""
    records = [(fit, SingleJob(survey, *fit).record()) for fit in chosen]
    return [fit for fit, record in records if record is not None and record.failure is not None]


def start_fit_log(log: Path | None, survey: Survey, chosen: Sequence[tuple[str, str]], one: Chunk | None) -> None:
    """Log to the file; what an earlier try has said is kept if this one goes on where that was.

    Parameters
    ----------
    log : Path, optional
        The file.
    survey : Survey
        Config and targets.
    chosen : sequence of (str, str)
        Targets and models that are fitted.
    one : Chunk, optional
        The chunk that is asked for, if it is a chunk.
    """
    if survey.chunked:
        begun = any(ChunkJob(survey, chunk).begun for chunk in ([one] if one else survey.chunks_of(chosen)))
    else:
        begun = any(SingleJob(survey, target, model).begun for target, model in chosen)
    start_logging(log, logging.INFO if is_first(survey) else logging.WARNING, append=begun)
