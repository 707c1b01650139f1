"""Command ``socca fit``: single fits or chunks, with a heartbeat for `socca status`."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import ConfigError, PoolError
from socca.pool import chosen_kind
from socca.survey.freshness.input_files import described
from socca.survey.freshness.stamps import write_fit_stamp
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.fit_targets import FitStatus, Outcome, is_first, is_shared, record_failure, require_machine
from socca.survey.jobs.heartbeat import Heartbeat
from socca.survey.jobs.interrupts import ending_on_interrupt
from socca.survey.jobs.single_job import SingleJob
from socca.survey.jobs.supervisor import Caps, Supervisor
from socca.survey.jobs.unreadable import record_unreadable
from socca.survey.outputs import Outputs
from socca.utils.launcher import launched

if TYPE_CHECKING:
    from socca.posterior.record import InputFile
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

_log = logging.getLogger(__name__)


def fit_separately(
    survey: Survey,
    config: Path,
    table: Path | None,
    fits: Sequence[tuple[str, str]],
    *,
    again: Collection[str] = (),
    failed: bool = False,
    last_try: bool = True,
    stamp: Path | None = None,
    log: Path | None = None,
) -> Iterator[Outcome]:
    """Fit what is not up to date, each target with files of its own.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    config, table : Path
        Where they were read, for a worker.
    fits : sequence of (str, str)
        Targets and models.
    again : collection of str
        Fit these targets in any case.
    failed : bool
        Whether to try fits again that failed.
    last_try : bool
        Whether a fit is recorded as failed whose process dies, or one of whose files cannot be read; otherwise there is
        an error.
    stamp : Path, optional
        Written once a single fit is up to date.
    log : Path, optional
        Where a worker logs.

    Yields
    ------
    Outcome
        After each fit.

    Raises
    ------
    PoolError
        If another process is at the same fit, or the fit's process died and this is not the last try.
    MachineError
        If the machine stopped any fit that is not recorded, once the others are done.
    """
    from socca.utils.xla import use_persistent_cache

    use_persistent_cache()
    jobs = [SingleJob(survey, target, model) for target, model in fits]
    outcomes: list[Outcome] = []
    with Heartbeat(survey.config.folder, writes=is_first(survey)) as progress:
        for job, wanted in zip(jobs, _wanted(survey, jobs, again, failed, last_try), strict=True):
            state = survey.state_of([job.target], job.model)
            with job.exclusive_lock() if is_first(survey) else contextlib.nullcontext():
                if wanted():
                    progress.now([(job.target, job.model)])
                    # Of a job of Snakemake, the death of its process is recorded by another one.
                    apart = last_try and stamp is not None
                    for outcome in _fitted(job, config, table, progress, log, last_try, apart):
                        outcomes.append(outcome)
                        yield outcome
                elif is_first(survey):
                    with ending_on_interrupt(progress.stop):
                        job.draw()
                require_machine(outcomes if stamp is not None else ())  # an older result may be there
                if stamp is not None and is_first(survey) and job.complete:
                    write_fit_stamp(stamp, survey, job.target, job.model, state)
    require_machine(outcomes)


def _wanted(
    survey: Survey, jobs: Sequence[SingleJob], again: Collection[str], failed: bool, last_try: bool
) -> Iterator[Callable[[], bool]]:
    """Yield functions that tell whether each job has something to fit. Ranks of MPI are told by the first one."""

    def wanted(job: SingleJob) -> bool:
        reason = "asked for" if job.target in again else job.reason(failed=failed)
        if reason:
            _log.info("%s %s: to be fitted: %s", job.target, job.model, reason)
        return bool(reason)

    def readable(job: SingleJob) -> bool:
        return not (last_try and record_unreadable(survey, job.target, job.model, job.outputs))

    if is_shared(survey):
        from socca.pool import open_pool

        with open_pool(lambda theta: theta[:, 0], kind="mpi") as ranks:
            found = ranks.drive(lambda: [wanted(job) and readable(job) for job in jobs])
        yield from (functools.partial(bool, one) for one in found)
    else:
        yield from (functools.partial(wanted, job) for job in jobs)


def _fitted(
    job: SingleJob,
    config: Path,
    table: Path | None,
    progress: Heartbeat,
    log: Path | None,
    last_try: bool,
    apart: bool,
) -> Iterator[Outcome]:
    """Fit in this process, or, if the fit has a limit or is to be apart, in one that can be ended."""
    survey, limits = job.survey, job.survey.config.batch
    if is_shared(survey) or not (apart or any(limit is not None for limit in limits.caps.values())):
        with ending_on_interrupt(progress.stop):
            for outcome in job.fit():
                yield _settled(survey, outcome, job.outputs, {}, last_try)
        return
    pool = survey.config.pool
    task = _task(survey, config, table, log) | {
        "model": job.model, "members": [job.target], "pool": chosen_kind(pool.kind, pool.cores), "cores": pool.cores,
    }  # fmt: skip
    before = described(survey.files(job.target), digests=False)
    supervisor = Supervisor(task, job.model, 1, Caps(limits.max_minutes, limits.max_memory_mb), lambda targets: None)
    for outcome in supervisor.run([job.target]):
        if outcome.status is FitStatus.WORKER_DIED and not last_try:
            raise PoolError(f"{job.target} {job.model}: {outcome.message}")
        yield _settled(survey, outcome, job.outputs, before, last_try)


def fit_chunks(
    survey: Survey,
    config: Path,
    table: Path | None,
    chunks: Iterable[Chunk],
    *,
    again: Collection[str] = (),
    failed: bool = False,
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
    failed : bool
        Whether to try fits again that failed.
    last_try : bool
        Whether a fit is recorded as failed whose process dies, or one of whose files cannot be read; otherwise the
        whole job fails once all else is done.
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
    MachineError
        If the machine stopped any fit that is not recorded, once the others of its chunk are done and gathered.
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
            yield from _on_ranks(job, again, failed, last_try)
        else:
            with job.exclusive_lock():
                task = _task(survey, config, table, log) | _members(job)
                yield from _on_workers(job, task, job.to_fit(again, failed=failed), not again, last_try)


def _task(survey: Survey, config: Path, table: Path | None, log: Path | None) -> dict[str, Any]:
    """Return what every worker is told."""
    return {
        "config": str(config),
        "targets": None if table is None else str(table),
        "log": None if log is None else str(log),
    }


def _members(job: ChunkJob) -> dict[str, Any]:
    """Return what the worker of a chunk is told besides."""
    pool, chunk = job.survey.config.pool, job.chunk
    own = pool.cores if pool.kind == "loky" else 1
    return {
        "chunk": {"model": chunk.model, "number": chunk.number, "count": chunk.count},
        "members": job.targets,
        "pool": "loky" if own > 1 else "serial",
        "cores": own,
    }


def _on_workers(
    job: ChunkJob, task: dict[str, Any], todo: list[str], complete: bool, last_try: bool
) -> Iterator[Outcome]:
    """Fit with processes that a supervisor watches."""
    survey, model = job.survey, job.chunk.model
    if todo:
        job.chunk.remove_stamps(survey.config.folder)
    before = {target: described(survey.files(target), digests=False) for target in todo}
    limits = survey.config.batch
    workers = min(survey.config.pool.cores // task["cores"], len(todo))
    died, stopped = [], []
    with Heartbeat(survey.config.folder) as progress:
        supervisor = Supervisor(
            task,
            model,
            workers,
            Caps(limits.max_minutes, limits.max_memory_mb),
            lambda targets: progress.now([(target, model) for target in targets]),
        )
        for outcome in supervisor.run(todo):
            if outcome.status is FitStatus.WORKER_DIED and not last_try:
                died.append(outcome)
            else:
                target = outcome.target
                outcome = _settled(survey, outcome, job.outputs(survey, target, model), before[target], last_try)
            if outcome.status is FitStatus.MACHINE_FAULT:
                stopped.append(outcome)
            yield outcome
    # What is done is gathered, whatever is left: one image must not keep the others from the catalogue.
    job.finish(complete=complete and not (died or stopped))
    require_machine(stopped)
    if died:
        names = ", ".join(outcome.target for outcome in died)
        raise PoolError(f"{names}: {died[0].message}; all else is done, and is kept for the next try")


def _settled(
    survey: Survey, outcome: Outcome, outputs: Outputs, before: Mapping[str, InputFile], last_try: bool
) -> Outcome:
    """Record a fit as failed that exceeded a limit, whose process died, or, on the last try, that cannot read a file.

    Returns the outcome, which in the last case is another one.
    """
    if outcome.status in _LIMITS or outcome.status is FitStatus.WORKER_DIED:
        _record_limit(survey, outcome, outputs, before)
    elif outcome.status is FitStatus.MACHINE_FAULT and last_try:
        message = record_unreadable(survey, outcome.target, outcome.model, outputs, outcome.seconds)
        if message:
            return replace(outcome, status=FitStatus.FAILED, message=message)
    return outcome


def _record_limit(survey: Survey, outcome: Outcome, outputs: Outputs, before: Mapping[str, InputFile]) -> None:
    """Record a fit as failed that exceeded a limit, or whose process died."""
    key = _LIMITS.get(outcome.status, "")
    limit = survey.config.batch.caps.get(key)
    record_failure(
        survey,
        outcome.target,
        outcome.model,
        outputs,
        before,
        outcome.message,
        outcome.seconds,
        capped={} if limit is None else {key: limit},
        died=outcome.status is FitStatus.WORKER_DIED,
    )
    _log.error("%s %s failed: %s", outcome.target, outcome.model, outcome.message)


#: Statuses of fits that exceeded a limit, and its key in the config.
_LIMITS = {FitStatus.TIMEOUT: "max_minutes", FitStatus.MEMORY_LIMIT: "max_memory_mb"}


def _on_ranks(job: ChunkJob, again: Collection[str], failed: bool, last_try: bool) -> Iterator[Outcome]:
    """Fit with the ranks of MPI, which share each fit. The first one knows what is to be done, and writes."""
    from socca.pool import open_pool
    from socca.utils.xla import use_persistent_cache

    use_persistent_cache()
    survey, model = job.survey, job.chunk.model
    first = is_first(survey)

    def readable(target: str) -> bool:
        return not (last_try and record_unreadable(survey, target, model, job.outputs(survey, target, model)))

    with contextlib.ExitStack() as stack:
        if first:
            stack.enter_context(job.exclusive_lock())
        with open_pool(lambda theta: theta[:, 0], kind="mpi") as ranks:
            todo = ranks.drive(lambda: [target for target in job.to_fit(again, failed=failed) if readable(target)])
        if first and todo:
            job.chunk.remove_stamps(survey.config.folder)
        progress = stack.enter_context(Heartbeat(survey.config.folder, writes=first))
        for target in todo:
            progress.now([(target, model)])
            yield from job.fit([target])
        if first:
            job.finish(complete=not again)
