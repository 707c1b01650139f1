"""Supervisor of worker processes, with limits on their time and memory.

A process that does no more than watch hands out one target at a time. A fit that takes too long, or too much memory,
is ended with its worker, and recorded as failed; another worker goes on with the next. A worker that dies on its own
(killed for memory, or crashed) takes its target with it: whether that is to be tried again is for the caller to say.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from socca.errors import PoolError
from socca.survey.jobs.fit_targets import FitStatus, Outcome

log = logging.getLogger(__name__)

#: Seconds between two looks at how long fits take, and how much memory.
_LOOK = 0.5
#: Seconds that a worker has to write a checkpoint once it is told to end. Slurm's own patience is 30.
GRACE = 20.0
#: A fit whose worker died is tried so many times.
TRIES = 2


@dataclass(frozen=True)
class Caps:
    """What one fit may take.

    Parameters
    ----------
    minutes : float, optional
        Of wall time.
    memory_mb : float, optional
        Of its worker, with all that this started.
    """

    minutes: float | None = None
    memory_mb: float | None = None


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    target: str = ""
    since: float = 0.0
    fitted: int = 0
    ready: bool = False
    #: Why it was ended: one of the statuses of `Supervisor.run`, and in words.
    why: tuple[FitStatus, str] | None = None
    #: The error that it told before it ended by itself.
    error: str = ""
    buffer: bytes = field(default=b"")


class Supervisor:
    """Workers, and the targets that they fit.

    Parameters
    ----------
    task : dict
        What `socca.survey.jobs.worker` is told first.
    model : str
        Named in outcomes.
    workers : int
        How many.
    caps : Caps
        What one fit may take.
    on_change : callable
        Called with the targets being fitted, whenever these change.
    """

    def __init__(
        self, task: dict[str, Any], model: str, workers: int, caps: Caps, on_change: Callable[[list[str]], None]
    ) -> None:
        self._task, self._model, self._size, self._caps = task, model, workers, caps
        self._on_change = on_change
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._ending = 0  # by which signal

    def run(self, targets: Iterable[str]) -> Iterator[Outcome]:
        """Fit targets.

        Parameters
        ----------
        targets : iterable of str
            In the order in which they are begun.

        Yields
        ------
        Outcome
            As fits end. Besides those of `socca.survey.jobs.fit_targets.fit_all`, there are ``timeout`` and
            ``memory_limit`` (ended for want of time or memory) and ``worker_died`` (`TRIES` times); none has written
            anything.

        Raises
        ------
        PoolError
            If a worker dies before it could begin, which is no fault of a target.
        SystemExit
            On SIGTERM or Ctrl-C, with status 143 or 130, once the workers have kept their checkpoints.
        """
        waiting, deaths, grown = list(targets), dict[str, int](), set[str]()
        with self._watching():
            while waiting or any(worker.target for worker in self._workers):
                self._end_if_told()
                if self._hand_out(waiting):
                    self._on_change([worker.target for worker in self._workers if worker.target])
                self._cap()
                for worker, outcome in self._answers():
                    self._end_if_told()
                    target = outcome.target
                    if outcome.status is FitStatus.WORKER_DIED:
                        deaths[target] = deaths.get(target, 0) + 1
                        if deaths[target] < TRIES:
                            log.warning("%s %s: %s; trying again", target, self._model, outcome.message)
                            waiting.append(target)
                            continue
                    if outcome.status is FitStatus.MEMORY_LIMIT and worker.fitted and target not in grown:
                        # The memory of a process grows with what it compiles and keeps; a new one has its own alone.
                        grown.add(target)
                        waiting.insert(0, target)
                        continue
                    yield outcome
            self._end_if_told()

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        def note(number: int, frame: Any) -> None:
            self._ending = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for worker in list(self._workers):
                self._drop(worker)
            self._selector.close()

    def _end_if_told(self) -> None:
        """End the workers, and this process, if a signal said so."""
        if not self._ending:
            return
        log.warning("ended by %s; the same job goes on where these fits are", signal.Signals(self._ending).name)
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        raise SystemExit(128 + self._ending)

    def _hand_out(self, waiting: list[str]) -> bool:
        """Give idle workers something to do, and tell whether there was any."""
        changed = False
        while waiting:
            idle = next((worker for worker in self._workers if not worker.target), None)
            if idle is None:
                if len(self._workers) >= self._size:
                    break
                idle = self._started()
            idle.target, idle.since, idle.why = waiting.pop(0), time.monotonic(), None
            self._say(idle, idle.target)
            changed = True
        return changed

    def _started(self) -> _Worker:
        process = subprocess.Popen(
            [sys.executable, "-m", "socca.survey.jobs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone
        )
        worker = _Worker(process)
        assert process.stdout is not None  # noqa: S101  (for the type checker)
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._workers.append(worker)
        self._say(worker, self._task)
        return worker

    def _say(self, worker: _Worker, words: Any) -> None:
        assert worker.process.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it has died, which its output tells next
            worker.process.stdin.write(json.dumps(words) + "\n")
            worker.process.stdin.flush()

    def _answers(self) -> Iterator[tuple[_Worker, Outcome]]:
        for key, _ in self._selector.select(_LOOK):
            worker: _Worker = key.data
            try:
                said = os.read(key.fd, 1 << 16)
            except BlockingIOError:
                continue
            worker.buffer += said
            while b"\n" in worker.buffer:
                line, worker.buffer = worker.buffer.split(b"\n", 1)
                answer = json.loads(line)
                if "error" in answer:  # it ends now
                    worker.error = " ".join(str(answer["error"]).split())
                    continue
                if not worker.ready:
                    worker.ready = True
                    continue
                target, worker.target = worker.target, ""
                worker.fitted += 1
                status = FitStatus(answer["status"])
                yield worker, Outcome(target, self._model, status, answer["message"], answer["seconds"])
            if not said:
                code = self._drop(worker)
                how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}, see the log"
                if worker.error:
                    how = f"ended: {worker.error}"
                if not (worker.ready or worker.why or self._ending):
                    raise PoolError(f"a worker, before it could begin, {how}")
                if worker.target:
                    seconds = time.monotonic() - worker.since
                    hint = ": out of memory?" if code < 0 else ""
                    kind, message = worker.why or (FitStatus.WORKER_DIED, f"its process {how}{hint}")
                    yield worker, Outcome(worker.target, self._model, kind, message, seconds)

    def _cap(self) -> None:
        """End the workers whose fits take too much."""
        for worker in self._workers:
            if not worker.target or worker.why:
                continue
            minutes = (time.monotonic() - worker.since) / 60
            if self._caps.minutes is not None and minutes > self._caps.minutes:
                worker.why = FitStatus.TIMEOUT, f"took longer than {self._caps.minutes:g} minutes (batch.max_minutes)"
            elif self._caps.memory_mb is not None and (used := _memory_mb(worker.process.pid)) > self._caps.memory_mb:
                worker.why = (
                    FitStatus.MEMORY_LIMIT,
                    f"took {used:.0f} MB, more than {self._caps.memory_mb:g} (batch.max_memory_mb)",
                )
            else:
                continue
            log.warning("%s %s: %s", worker.target, self._model, worker.why[1])
            _end(worker.process, GRACE if worker.why[0] is FitStatus.TIMEOUT else 0)

    def _drop(self, worker: _Worker) -> int:
        """Forget a worker that has ended or is idle, and return its status."""
        assert worker.process.stdout is not None  # noqa: S101
        assert worker.process.stdin is not None  # noqa: S101
        self._selector.unregister(worker.process.stdout)
        self._workers.remove(worker)
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.close()
        try:
            status = worker.process.wait(5)
        except subprocess.TimeoutExpired:
            status = _end(worker.process, 0)
        worker.process.stdout.close()
        return status


def _memory_mb(pid: int) -> float:
    """Return the memory of a process and all that it started."""
    used = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                used += one.memory_info().rss
    return used / 2**20


def _end(process: subprocess.Popen[str], patience: float) -> int:
    """End a process and all that it started, by force if it is not gone in time."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    if patience:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    process.kill()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    return process.wait()
