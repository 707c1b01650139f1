"""Worker process: fits targets one after another for `socca.survey.jobs.supervisor`.

It reads lines of JSON, what to work on and then one target at a time, and answers each with a line: an outcome, or the
error that ends it. When its input ends it ends too, in the middle of a fit if there is one: whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Serve until the input ends."""
    answers = _private_output()
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    from socca.utils.xla import single_thread_environment

    os.environ.update(single_thread_environment())
    from socca.survey.chunks import Chunk
    from socca.survey.jobs.chunk_job import ChunkJob
    from socca.survey.jobs.single_job import SingleJob
    from socca.survey.survey import Survey
    from socca.utils.logs import start_logging
    from socca.utils.machine import machine_fault
    from socca.utils.xla import use_persistent_cache

    start_logging(Path(task["log"]) if task["log"] else None, append=True)
    try:
        targets = set(task["members"])
        survey = Survey.load(task["config"], task["targets"], only=targets).with_pool(task["pool"], task["cores"])
        chunk = ChunkJob(survey, Chunk(**task["chunk"])) if "chunk" in task else None
        use_persistent_cache()
        _say(answers, {"ready": True})
        for target in _names():
            job = SingleJob(survey, target, task["model"]) if chunk is None else chunk
            for outcome in job.fit([target]):
                _say(answers, {"status": outcome.status, "message": outcome.message, "seconds": outcome.seconds})
    except Exception as error:
        logging.getLogger("socca").exception("a worker ends")
        logging.shutdown()
        # While the interpreter shut down, the end of the input would end the process with status 0.
        with contextlib.suppress(OSError):
            _say(answers, {"error": machine_fault(error) or f"{type(error).__name__}: {error}"})
        os._exit(1)


def _say(answers: TextIO, words: dict[str, Any]) -> None:
    answers.write(json.dumps(words) + "\n")
    answers.flush()


def _private_output() -> TextIO:
    """Return the standard output, and send what anything else writes there to the standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _names() -> Any:
    """Yield targets as they come, and end the process when the input does."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True, name="socca-input").start()
    while True:
        yield json.loads(lines.get())


if __name__ == "__main__":
    main()
