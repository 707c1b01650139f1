"""Command ``socca fit``: single fits or chunks, with a heartbeat for `socca status`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import ConfigError, PoolError
from socca.pool import chosen_kind
from socca.survey.chunk_job import ChunkJob
from socca.survey.fit_targets import FitStatus, Outcome, fit_all, is_first, record_failure
from socca.survey.freshness import described
from socca.survey.status import Heartbeat
from socca.survey.supervisor import Caps, Supervisor
from socca.utils.launcher import launched

if TYPE_CHECKING:
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


def fit_separately(survey: Survey, fits: Sequence[tuple[str, str]]) -> Iterator[Outcome]:
    """Fit targets in this process, each with files of its own.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    fits : sequence of (str, str)
        Targets and models.

    Yields
    ------
    Outcome
        After each fit.
    """
    from socca.utils.xla import use_persistent_cache

    use_persistent_cache()
    with Heartbeat(survey.config.folder, writes=is_first(survey)) as progress:
        for target, model in fits:
            progress.now([(target, model)])
            yield from fit_all(survey, [(target, model)])


def fit_chunks(
    survey: Survey,
    config: Path,
    table: Path | None,
    chunks: Iterable[Chunk],
    *,
    again: Collection[str] = (),
    last_try: bool = True,
    log: Path | None = None,
) -> Iterator[Outcome]:
    """Fit what is not up to date, chunk by chunk, and gather each chunk in its file.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    config, table : Path
        Where they were read, for the workers.
    chunks : iterable of Chunk
        Which ones.
    again : collection of str
        Fit these targets and no others, in any case.
    last_try : bool
        Whether a fit whose process dies is recorded as failed; otherwise the whole job fails once all else is done.
    log : Path, optional
        Where the workers log.

    Yields
    ------
    Outcome
        After each fit.

    Raises
    ------
    ConfigError
        If a launcher of MPI started this process, and its ranks are not to share the fits.
    PoolError
        If a fit's process died and this is not the last try, or another process is at the same chunk.
    """
    ranks = launched()
    shared = ranks is not None and chosen_kind(survey.config.pool.kind) == "mpi"
    if ranks is not None and not shared:
        raise ConfigError(
            f"{ranks.launcher} started {ranks.size} processes, which would all fit the same chunk: let them share each "
            "fit (--pool mpi), or start one"
        )
    for chunk in chunks:
        job = ChunkJob(survey, chunk)
        if shared:
            yield from _on_ranks(job, again)
        else:
            with job.alone():
                yield from _on_workers(job, _task(survey, config, table, job, log), again, last_try)


def _task(survey: Survey, config: Path, table: Path | None, job: ChunkJob, log: Path | None) -> dict[str, Any]:
    pool, chunk = survey.config.pool, job.chunk
    own = pool.cores if pool.kind == "loky" else 1
    return {
        "config": str(config),
        "targets": None if table is None else str(table),
        "chunk": {"model": chunk.model, "number": chunk.number, "count": chunk.count},
        "members": job.targets,
        "pool": "loky" if own > 1 else "serial",
        "cores": own,
        "log": None if log is None else str(log),
    }


def _on_workers(job: ChunkJob, task: dict[str, Any], again: Collection[str], last_try: bool) -> Iterator[Outcome]:
    """Fit with processes that a supervisor watches."""
    survey, model = job.survey, job.chunk.model
    todo = job.to_fit(again)
    if todo:
        job.chunk.remove_stamps(survey.config.folder)
    before = {target: described(survey.files(target), digests=False) for target in todo}
    limits = survey.config.batch
    workers = min(survey.config.pool.cores // task["cores"], len(todo))
    died = []
    with Heartbeat(survey.config.folder) as progress:
        supervisor = Supervisor(
            task,
            model,
            workers,
            Caps(limits.max_minutes, limits.max_memory_mb),
            lambda targets: progress.now([(target, model) for target in targets]),
        )
        for outcome in supervisor.run(todo):
            lost = outcome.status is FitStatus.WORKER_DIED
            if lost and not last_try:
                died.append(outcome)
            elif lost or outcome.status in _LIMITS:
                target, key = outcome.target, _LIMITS.get(outcome.status, "")
                limit = limits.caps.get(key)
                record_failure(
                    survey,
                    target,
                    model,
                    job.outputs(survey, target, model),
                    before[target],
                    outcome.message,
                    outcome.seconds,
                    capped={} if limit is None else {key: limit},
                    died=lost,
                )
                log.error("%s %s failed: %s", target, model, outcome.message)
            yield outcome
    if died:
        names = ", ".join(outcome.target for outcome in died)
        raise PoolError(f"{names}: {died[0].message}; all else is done, and is kept for the next try")
    job.finish(complete=not again)


#: Statuses of fits that exceeded a limit, and its key in the config.
_LIMITS = {FitStatus.TIMEOUT: "max_minutes", FitStatus.MEMORY_LIMIT: "max_memory_mb"}


def _on_ranks(job: ChunkJob, again: Collection[str]) -> Iterator[Outcome]:
    """Fit with the ranks of MPI, which share each fit. The first one knows what is to be done, and writes."""
    from socca.pool import open_pool
    from socca.utils.xla import use_persistent_cache

    use_persistent_cache()
    survey, model = job.survey, job.chunk.model
    first = is_first(survey)
    with contextlib.ExitStack() as stack:
        if first:
            stack.enter_context(job.alone())
        with open_pool(lambda theta: theta[:, 0], kind="mpi") as ranks:
            todo = ranks.drive(lambda: job.to_fit(again))
        if first and todo:
            job.chunk.remove_stamps(survey.config.folder)
        progress = stack.enter_context(Heartbeat(survey.config.folder, writes=first))
        for target in todo:
            progress.now([(target, model)])
            yield from job.fit([target])
        if first:
            job.finish(complete=not again)


def write_stamp(stamp: Path, chunk: Chunk) -> None:
    """Write the file which says that a chunk is up to date, and delete those that said so of former states."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    chunk.remove_stamps(stamp.parents[2], keep=stamp.stem)
    stamp.touch()
