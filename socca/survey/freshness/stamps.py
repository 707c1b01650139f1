"""Stamps: files that tell Snakemake which fits are up to date, as a short cut.

A stamp stands for a state of all that goes into a fit or a chunk (rows, settings, sizes and times of files), and for
the file of its results. Another state, or another file, is another stamp. The job that then runs decides by what the
results record, and fits nothing in vain. So neither a lost ``.snakemake`` nor an older time of a new file leaves a fit
out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import SoccaError
from socca.posterior.container import read_headers
from socca.survey.freshness.input_files import file_state
from socca.survey.freshness.records import read_record
from socca.survey.outputs import own_outputs
from socca.utils.files import atomic_path, read_json

if TYPE_CHECKING:
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey


def chunk_stamp(survey: Survey, chunk: Chunk) -> Path:
    """Return the file that is there once a chunk is up to date; its name has the state that it stands for."""
    return chunk.stamp(survey.config.folder, survey.state(chunk))


def is_chunk_stamped(survey: Survey, chunk: Chunk, *, retry: bool = False) -> bool:
    """Tell whether a stamp says that a chunk is up to date.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    chunk : Chunk
        The chunk.
    retry : bool
        Whether failed fits are to be tried again: then a chunk that has any is not up to date.

    Returns
    -------
    bool
        False without the chunk's posteriors too, or if their file is another one than when the stamp was written.
    """
    path = chunk.path(survey.config.folder)
    stamp = chunk_stamp(survey, chunk)
    # Those that earlier versions wrote are empty.
    if not path.exists() or not (_content(stamp) == _result(path) or _is_empty(stamp)):
        return False
    return not retry or not _has_failed(path)


def write_chunk_stamp(stamp: Path, chunk: Chunk) -> None:
    """Write the file which says that a chunk is up to date, and delete those that said so of former states."""
    folder = stamp.parents[2]
    chunk.remove_stamps(folder, keep=stamp.stem)
    _write(stamp, _result(chunk.path(folder)))


def fit_stamp(survey: Survey, target: str, model: str) -> Path:
    """Return the file that is there once a fit with files of its own is up to date; it holds what it stands for."""
    return survey.path(target, model, "fit.done")


def is_fit_stamped(survey: Survey, target: str, model: str, *, retry: bool = False) -> bool:
    """Tell whether a stamp says that a fit with files of its own is up to date.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    retry : bool
        Whether the fit is to be tried again if it failed: then it is not up to date.

    Returns
    -------
    bool
        False without the result or the model images that the config asks for too, or if the file of the result is
        another one than when the stamp was written.
    """
    content = _content(fit_stamp(survey, target, model))
    if content is None or content != _fit_content(survey, target, model, None):
        return False
    outputs = own_outputs(survey, target, model)
    return outputs.complete and not (retry and _is_failed(outputs.posterior))


def write_fit_stamp(stamp: Path, survey: Survey, target: str, model: str, state: str | None = None) -> None:
    """Write the file which says that a fit is up to date.

    Parameters
    ----------
    stamp : Path
        The file.
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    state : str, optional
        That of its inputs before it began, as `Survey.state_of` gives it; by default, that of now.
    """
    _write(stamp, _fit_content(survey, target, model, state))


def stamps_of(survey: Survey) -> list[Path]:
    """Return the stamps of all jobs of a survey, in the order of `Survey.chunks` or `Survey.jobs`."""
    if survey.chunked:
        return [chunk_stamp(survey, chunk) for chunk in survey.chunks]
    return [fit_stamp(survey, target, model) for target, model in survey.jobs()]


def jobs_to_run(survey: Survey, *, retry: bool = False) -> list[Any]:
    """Return the jobs of a survey that no stamp says to be up to date; nothing is written or deleted.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    retry : bool
        Whether failed fits are to be tried again.

    Returns
    -------
    list of Chunk, or of (str, str)
        Chunks, or targets and models.
    """
    if survey.chunked:
        return [chunk for chunk in survey.chunks if not is_chunk_stamped(survey, chunk, retry=retry)]
    return [fit for fit in survey.jobs() if not is_fit_stamped(survey, *fit, retry=retry)]


def stamp_of(survey: Survey, job: Any) -> Path:
    """Return the stamp of a job, as `jobs_to_run` gives it."""
    return chunk_stamp(survey, job) if survey.chunked else fit_stamp(survey, *job)


def _result(path: Path) -> dict[str, Any]:
    """Return what a stamp holds of the file of its results."""
    state = file_state(path)
    return {"result": None if state is None else list(state)}


def _fit_content(survey: Survey, target: str, model: str, state: str | None) -> dict[str, Any]:
    """Return what the stamp of a fit holds."""
    found = survey.state_of([target], model) if state is None else state
    return {"state": found, **_result(survey.path(target, model, "posterior.h5"))}


def _content(stamp: Path) -> Any:
    """Return what a stamp holds; None without one, or of one that is damaged."""
    try:
        return read_json(stamp)
    except (OSError, ValueError):
        return None


def _is_empty(stamp: Path) -> bool:
    state = file_state(stamp)
    return state is not None and state.size == 0


def _write(stamp: Path, content: dict[str, Any]) -> None:
    with atomic_path(stamp) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def _has_failed(path: Path) -> bool:
    """Tell whether the file of a chunk records a failure, or cannot be read, which its job deals with."""
    try:
        return any(header.status == "failed" for header in read_headers(path).values())
    except SoccaError:
        return True


def _is_failed(path: Path) -> bool:
    """Tell whether the result of a fit is a failure, or cannot be read, which its job deals with."""
    try:
        record = read_record(path)
    except SoccaError:
        return True
    return record is None or record.failure is not None
