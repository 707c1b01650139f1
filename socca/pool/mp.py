"""Pool of loky processes on this machine, which needs no fork after JAX has started and no ``__main__`` guard.

Each worker has a pipe of its own, over which rows go as raw bytes: a batch costs a fifth of what loky's executor, with
its threads and pickles, takes for it (`benchmarks/pool.py`), and a worker's death is seen at once as the pipe's end.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle
import numpy as np

from socca.errors import PoolError
from socca.pool.base import Likelihood, Pool
from socca.pool.messages import load, packed_error, packed_rows, shares, unpacked_error, unpacked_rows, values_of
from socca.utils.xla import single_thread_environment

log = logging.getLogger(__name__)

# The first bytes of a message to a worker, eight so that the numbers after them are aligned. The first two have no
# answer.
_LIKELIHOOD, _FUNCTION, _ROWS, _ITEM = b"likelihd", b"function", b"rows    ", b"item    "
# The first bytes of an answer.
_VALUES, _RESULT, _ERROR = b"values  ", b"result  ", b"error   "
_HEAD = len(_ROWS)
#: Ctrl-C and a batch system's notice go to all processes; the parent decides what becomes of them.
_NOTICES = (signal.SIGINT, signal.SIGTERM)
#: Seconds that a worker gets to end by itself.
_PATIENCE = 5.0
#: Seconds after which this process, at work in the place of its workers, looks whether they have started.
_GLANCE = 0.05
#: Seconds after which it is said that they have not.
_LATE = 60.0


def _serve(connection: Connection, life: Connection) -> None:
    """Answer messages, in a worker, for as long as the parent lives."""
    from socca.utils.xla import use_persistent_cache

    for number in _NOTICES:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOTICES)
    threading.Thread(target=_end_with_the_parent, args=(life,), daemon=True).start()
    use_persistent_cache()
    held: dict[bytes, Callable[[Any], Any]] = {}
    with contextlib.suppress(EOFError, OSError):  # the parent is gone, or has closed the pool
        while True:
            message = memoryview(connection.recv_bytes())
            kind, body = bytes(message[:_HEAD]), message[_HEAD:]
            if kind in (_LIKELIHOOD, _FUNCTION):
                held[kind] = load(body)
            else:
                connection.send_bytes(_answer(kind, body, held))


def _answer(kind: bytes, body: memoryview, held: dict[bytes, Callable[[Any], Any]]) -> bytes:
    try:
        if kind == _ITEM:
            result: bytes = cloudpickle.dumps(held[_FUNCTION](cloudpickle.loads(body)))
            return _RESULT + result
        return _VALUES + values_of(held[_LIKELIHOOD], unpacked_rows(body)).tobytes()
    except BaseException as error:  # whatever it is, it is the parent's to deal with
        return _ERROR + packed_error(error)


def _end_with_the_parent(life: Connection) -> None:
    """End this process when the other end of the pipe closes, in the middle of a likelihood too."""
    with contextlib.suppress(EOFError, OSError):
        life.recv_bytes()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


class _Start:
    """Start of the workers: a thread gives each the likelihood, and a row to compile it with.

    Parameters
    ----------
    connections : sequence of Connection
        To the workers. Nobody else uses them before the start is done.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections
        self._messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._begun = self._has_row = False
        self._done = threading.Event()  # and not the thread's own state, which Ctrl-C can set wrong (Python 3.11)
        self._error: BaseException | None = None

    def _give(self) -> None:
        try:
            payload = self._messages.get()
            for connection in self._connections:  # all of them start while the first one takes its copy
                connection.send_bytes(payload)
            if row := self._messages.get():
                _exchange(self._connections, [row] * len(self._connections))
        except BaseException as error:  # which is for `finish` to raise
            self._error = error
        finally:
            self._done.set()

    def begin(self, payload: bytes) -> None:
        """Hand over the likelihood, once there are workers."""
        self._begun = True
        self._messages.put(payload)
        threading.Thread(target=self._give, daemon=True).start()

    def compile_with(self, row: np.ndarray) -> None:
        """Hand over a row, shape (1, ndim). The first one counts."""
        if not self._has_row:
            self._messages.put(_ROWS + packed_rows(row).tobytes())
        self._has_row = True

    @property
    def done(self) -> bool:
        """Whether all workers have come so far, or one has failed."""
        return self._done.is_set()

    def wait(self) -> None:
        """Wait until it is done; without a row until now, none is compiled with."""
        self._messages.put(b"")
        if self._begun:
            self._done.wait()

    def finish(self) -> None:
        """Wait, and raise what kept workers from it."""
        self.wait()
        if self._error is not None:
            raise self._error


def _end(life: Connection, start: _Start, connections: Sequence[Connection], processes: Sequence[Any]) -> None:
    """End the workers: by themselves first, and then by force. Those that have not started have nothing to lose."""
    life.close()
    deadline = time.monotonic() + (_PATIENCE if start.done else 0.0)
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # loky's processes have no kill() that works
            process.join()
    start.wait()
    for connection in connections:
        connection.close()


class MultiPool(Pool):
    """Worker processes, each with its own copy of the likelihood, sent once.

    Parameters
    ----------
    processes : int
        Number of workers. Each uses one thread.
    likelihood : callable
        Batched log-likelihood, shape (n, ndim) to (n,).
    meanwhile : bool
        Evaluate likelihoods in this process until all workers have started and compiled. Otherwise `evaluate` waits
        for them.

    Attributes
    ----------
    likelihood : callable
        As given. The workers have copies of it from the start.

    Raises
    ------
    PoolError
        From `map` and `evaluate`, if a worker died, at whatever time that was. The pool is of no more use then.
    """

    name = "loky"

    def __init__(self, processes: int, likelihood: Likelihood, *, meanwhile: bool = False) -> None:
        from loky.backend import get_context

        self.size = int(processes)
        self.likelihood = likelihood
        payload = _LIKELIHOOD + cloudpickle.dumps(likelihood)
        context = get_context("loky")
        theirs, ours = context.Pipe(duplex=False)  # open for as long as this process lives, and no message ever
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        self._start = _Start(self._connections)
        self._started = False
        self._late = time.monotonic() + _LATE
        # Also when the pool is forgotten, and at the end of this process, before it waits for its children.
        self._end = util.Finalize(
            self, _end, args=(ours, self._start, self._connections, self._processes), exitpriority=10
        )
        with self._watched(), theirs:
            for _ in range(self.size):
                self._add(context, theirs)
            self._start.begin(payload)
        if not meanwhile:
            self._finish_start()

    def _add(self, context: Any, life: Connection) -> None:
        connection, theirs = context.Pipe()
        self._connections.append(connection)
        # A worker begins with them blocked, until it is so far as to ignore them. Python's own helper, which is started
        # with the first process, would unblock them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOTICES)
        try:
            with theirs:
                process = context.Process(target=_serve, args=(theirs, life), env=single_thread_environment())
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._processes.append(process)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on the workers; the results are in order."""
        return [
            cloudpickle.loads(result)
            for result in self._results(
                [_ITEM + cloudpickle.dumps(item) for item in items], _FUNCTION + cloudpickle.dumps(function)
            )
        ]

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row: one message per worker, once they have started."""
        theta = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        if not len(theta):
            return np.zeros(0)
        here = self._evaluated_here(theta)
        n_here = sum(map(len, here))
        if n_here == len(theta):
            return np.concatenate(here)
        messages = [_ROWS + packed_rows(part).tobytes() for part in shares(theta[n_here:], self.size)]
        return np.concatenate([*here, *[np.frombuffer(result) for result in self._results(messages)]])

    @property
    def started(self) -> bool:
        """Whether `evaluate` has the workers at work; until then, this process is in their place."""
        return self._started

    def _finish_start(self) -> None:
        if not self._started:
            with self._watched():
                self._start.finish()
            self._started = True

    def _evaluated_here(self, theta: np.ndarray) -> list[np.ndarray]:
        """Evaluate rows in this process, from the first one on, for as long as workers are starting."""
        if self._started:
            return []
        self._start.compile_with(theta[:1])
        found: list[np.ndarray] = []
        done, count = 0, 1
        while done < len(theta) and not self._start.done:
            if time.monotonic() > self._late:
                self._late = math.inf
                log.warning("%d workers have not started after %.0f s: this process goes on alone", self.size, _LATE)
            rows = theta[done : done + count].copy()
            begin = time.perf_counter()
            found.append(values_of(self.likelihood, rows))
            done += len(rows)
            count = int(np.clip(len(rows) * _GLANCE / (time.perf_counter() - begin), 1, 256))
        return found

    def _results(self, messages: Sequence[bytes], first: bytes = b"") -> list[memoryview]:
        """Return the answers to messages, in order; `first` goes to each worker before them."""
        self._finish_start()
        with self._watched():
            connections = self._connections[: len(messages)]
            for connection in connections if first else ():
                connection.send_bytes(first)
            answers = _exchange(connections, messages)
        for answer in answers:
            if answer[:_HEAD] == _ERROR:
                raise unpacked_error(answer[_HEAD:], f"a worker of the pool of {self.size}")
        return [memoryview(answer)[_HEAD:] for answer in answers]

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """End the pool if anything comes between a message and its answer, such as the death of a worker."""
        if not self._end.still_active():
            raise PoolError(f"the pool of {self.size} workers has ended")
        try:
            yield
        except (EOFError, OSError) as error:
            ended = wait([process.sentinel for process in self._processes], timeout=1.0)  # a little after its pipe
            deaths = ", ".join(_death(process) for process in self._processes if process.sentinel in ended)
            self.close()
            raise PoolError(
                f"a worker of the pool of {self.size} died ({deaths or error}). If it was killed for memory, use "
                "fewer workers or ask for more memory"
            ) from error
        except BaseException:
            self.close()
            raise

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """End the workers."""
        self._end()


def _exchange(connections: Sequence[Connection], messages: Sequence[bytes]) -> list[bytes]:
    """Give each worker a message, and the next one when it has answered, until an error; the answers are in order."""
    answers = [b""] * len(messages)
    todo = iter(range(len(messages)))
    busy: dict[Any, int] = {}
    connection: Any
    for connection, k in zip(connections, todo, strict=False):
        connection.send_bytes(messages[k])
        busy[connection] = k
    failed = False
    while busy:
        # An error ends the work, but what others are at is waited for, so that the pool can go on.
        for connection in wait(list(busy)):
            k = busy.pop(connection)
            answers[k] = connection.recv_bytes()
            failed = failed or answers[k][:_HEAD] == _ERROR
            if not failed and (following := next(todo, None)) is not None:
                connection.send_bytes(messages[following])
                busy[connection] = following
    return answers


def _death(process: Any) -> str:
    process.join(1.0)
    code = process.exitcode
    return f"process {process.pid}: " + (f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")
