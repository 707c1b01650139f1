"""Check of a large survey by several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from socca.survey.check.findings import Finding
from socca.survey.check.inputs import check_survey, check_targets, survey_findings
from socca.utils.xla import single_thread_environment

if TYPE_CHECKING:
    from socca.survey.survey import Survey

#: Fewer targets than this are checked by one process: others would take longer to start.
MANY = 1000
#: Processes are no more than this, unless they are asked for: on the login node of a cluster, others work too.
MOST = 4
#: Targets that a process checks at a time; each time it reads the table.
_BATCH = 2500


def check_with_processes(
    survey: Survey, config: Path, targets: Path | None = None, processes: int | None = None
) -> Iterator[Finding]:
    """Check a survey as `socca.survey.check.inputs.check_survey` does.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    config : Path
        Where its config was read.
    targets : Path, optional
        The table of targets that was read instead of the config's.
    processes : int, optional
        By default as many as there are cores, up to `MOST`, for surveys of at least `MANY` targets.

    Yields
    ------
    Finding
        In the order of the table. A file that targets share is read once by each process.
    """
    if processes is None:
        processes = min(MOST, len(os.sched_getaffinity(0))) if len(survey.targets) >= MANY else 1
    if processes == 1:
        yield from check_survey(survey)
        return
    from loky import ProcessPoolExecutor

    names = list(survey.targets)
    size = min(_BATCH, -(-len(names) // processes))
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    executor = ProcessPoolExecutor(min(processes, len(batches)), env=single_thread_environment())
    try:
        # They start while this process looks at the survey as a whole.
        parts = executor.map(_check_batch, *zip(*((config, targets, batch) for batch in batches), strict=True))
        found, complete = survey_findings(survey)
        yield from found
        for part in parts if complete else ():
            yield from part
    finally:
        executor.shutdown(kill_workers=True)


def _check_batch(config: Path, targets: Path | None, names: list[str]) -> list[Finding]:
    from socca.survey.survey import Survey

    return list(check_targets(Survey.load(config, targets, only=set(names))))
