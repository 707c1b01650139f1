"""Stamps: files that tell Snakemake which fits are up to date, as a short cut.

A stamp stands for a state of all that goes into a fit or a chunk: rows, settings, sizes and times of files. Another
state is another stamp. The job that it then runs decides by what the results record, and fits nothing in vain. So
neither a lost ``.snakemake`` nor an older time of a new file leaves a fit out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import SoccaError
from socca.posterior.storage import read_headers
from socca.survey.chunk_job import ChunkJob
from socca.survey.single_job import SingleJob
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

#: How many results are looked at for reasons to fit them again, before any job does.
LOOKS = 200


def chunk_stamp(survey: Survey, chunk: Chunk, *, retry: bool = False) -> Path:
    """Return the file that is there once a chunk is up to date.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    chunk : Chunk
        The chunk.
    retry : bool
        Whether failed fits are to be tried again.

    Returns
    -------
    Path
        The stamp. One that is there without the chunk's posteriors says nothing, and is deleted; so is one with failed
        fits that are to be tried again.
    """
    stamp = chunk.stamp(survey.config.folder, survey.state(chunk))
    if stamp.exists():
        path = chunk.path(survey.config.folder)
        if not path.exists() or (retry and any(header.status == "failed" for header in read_headers(path).values())):
            stamp.unlink(missing_ok=True)
    return stamp


def write_chunk_stamp(stamp: Path, chunk: Chunk) -> None:
    """Write the file which says that a chunk is up to date, and delete those that said so of former states."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    chunk.remove_stamps(stamp.parents[2], keep=stamp.stem)
    stamp.touch()


def fit_stamp(survey: Survey, target: str, model: str, *, retry: bool = False) -> Path:
    """Return the file that is there once a fit with files of its own is up to date.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    retry : bool
        Whether to try the fit again if it failed.

    Returns
    -------
    Path
        The stamp, which holds the state that it stands for. One of another state is deleted, and one whose result or
        model images are missing; so is that of a failed fit that is to be tried again.
    """
    stamp = survey.path(target, model, "fit.done")
    if stamp.exists():
        job = SingleJob(survey, target, model)
        valid = stamp.read_text(encoding="utf-8") == survey.state_of([target], model) and job.complete
        if valid and retry:
            record = job.record()
            valid = record is None or record.failure is None
        if not valid:
            stamp.unlink(missing_ok=True)
    return stamp


def is_stamped(survey: Survey, target: str, model: str) -> bool:
    """Tell whether a stamp says that a fit with files of its own is up to date; nothing is deleted."""
    stamp = survey.path(target, model, "fit.done")
    try:
        return stamp.read_text(encoding="utf-8") == survey.state_of([target], model)
    except OSError:
        return False


def write_fit_stamp(stamp: Path, state: str) -> None:
    """Write the file which says that a fit is up to date for a state of its inputs, as `Survey.state_of` gives it."""
    with atomic_path(stamp) as temporary:
        temporary.write_text(state, encoding="utf-8")


def stamps_of(survey: Survey, *, retry: bool = False) -> list[Path]:
    """Return the stamps of all jobs of a survey, in the order of `Survey.chunks` or `Survey.jobs`."""
    if survey.chunked:
        return [chunk_stamp(survey, chunk, retry=retry) for chunk in survey.chunks]
    return [fit_stamp(survey, target, model, retry=retry) for target, model in survey.jobs()]


def reasons_to_fit(survey: Survey, stamps: Iterable[Path], *, retry: bool = False) -> Iterator[tuple[str, str, str]]:
    """Say why fits have to be done again, for the jobs whose stamps are missing.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    stamps : iterable of Path
        From `stamps_of`.
    retry : bool
        Whether failed fits are to be tried again.

    Yields
    ------
    target, model, reason : str
        Of fits that have a result and are to be fitted again; of the first `LOOKS` results only, for each may have to
        be compared with the content of its files.
    """
    jobs: Iterable[Any] = survey.chunks if survey.chunked else survey.jobs()
    missing = (job for job, stamp in zip(jobs, stamps, strict=True) if not stamp.exists())
    looks = _looks_at_chunks(survey, missing) if survey.chunked else _looks_at_fits(survey, missing)
    try:
        for target, model, reason in itertools.islice(looks, LOOKS):
            if text := reason(failed=retry):
                yield target, model, text
    except SoccaError:
        return  # what cannot be read now is told by the job that needs it


def _looks_at_chunks(survey: Survey, chunks: Iterable[Chunk]) -> Iterator[tuple[str, str, Callable[..., str]]]:
    for chunk in chunks:
        if chunk.path(survey.config.folder).exists():
            job = ChunkJob(survey, chunk)
            for target in job.targets:
                if job.record(target) is not None:
                    yield target, chunk.model, functools.partial(job.reason, target)


def _looks_at_fits(survey: Survey, fits: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, Callable[..., str]]]:
    for target, model in fits:
        job = SingleJob(survey, target, model)
        if job.record() is not None:
            yield target, model, job.reason
