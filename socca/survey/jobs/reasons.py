"""Reasons for which the jobs of a survey fit anything again, told before they run."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from socca.errors import SoccaError
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.single_job import SingleJob

if TYPE_CHECKING:
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

#: How many results are looked at for reasons to fit them again, before any job does.
LOOKS = 200


def reasons_to_fit(survey: Survey, jobs: Iterable[Any], *, retry: bool = False) -> Iterator[tuple[str, str, str]]:
    """Say why fits have to be done again.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    jobs : iterable of Chunk, or of (str, str)
        From `socca.survey.freshness.stamps.jobs_to_run`.
    retry : bool
        Whether failed fits are to be tried again.

    Yields
    ------
    target, model, reason : str
        Of fits that have a result and are to be fitted again; of the first `LOOKS` results only, for each may have to
        be compared with the content of its files.
    """
    looks = _looks_at_chunks(survey, jobs) if survey.chunked else _looks_at_fits(survey, jobs)
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
