"""Watchdog of MPI ranks, so that all of them end together.

MPI leaves a rank that waits for a dead one waiting forever. A rank that only left with an exception is waited for too,
in ``MPI_Finalize``. mpirun ends all ranks when one is killed; srun does so on request only (``--kill-on-bad-exit``).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import platform
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from socca.utils.launcher import abort

log = logging.getLogger(__name__)

#: Seconds that a rank has for its first connection to rank 0.
_CONNECT = 5.0
#: Seconds that the launcher gets to end all ranks by itself, before others do.
_GRACE = 2.0
_FAREWELL = b"."
_TOKEN = 16


@functools.cache
def end_together() -> None:
    """Make all ranks end when one ends by an exception or is killed, from now to the end of this process.

    To be called on all ranks at the same time. Each rank keeps a connection to rank 0, which the operating system
    closes when a process dies, however it does. Uncaught exceptions, in threads too, are reported as before, and end
    all ranks then.
    """
    from mpi4py import MPI

    modules: tuple[Any, Any] = (sys, threading)
    for module in modules:
        module.excepthook = _Aborting(module.excepthook)
    comm = MPI.COMM_WORLD.Dup()
    peers = _connected(comm)
    if peers:
        threading.Thread(target=_watch, args=(peers,), daemon=True, name="socca-ranks").start()
        atexit.register(_take_leave, peers)


class _Aborting:
    """A hook for uncaught exceptions that ends all ranks after the hook that was there before.

    Parameters
    ----------
    before : callable
        Reports the exception.
    """

    def __init__(self, before: Callable[..., Any]) -> None:
        self._before = before

    def __call__(self, *exception: Any) -> None:
        try:
            self._before(*exception)
        finally:
            abort()


def _connected(comm: Any) -> dict[socket.socket, str]:
    """Return a connection to rank 0, or on rank 0 one from each other rank, with their names; none if any fails."""
    nodes = comm.allgather(platform.node())
    names = [f"rank {rank} ({node})" for rank, node in enumerate(nodes)]
    # Only who knows the word may connect, and on a single node only processes on it.
    word = comm.bcast(secrets.token_bytes(_TOKEN))
    local = len(set(nodes)) == 1
    peers: dict[socket.socket, str] = {}
    try:
        with contextlib.ExitStack() as stack:
            server = None
            if comm.rank == 0:
                with contextlib.suppress(OSError):
                    server = stack.enter_context(socket.create_server(("127.0.0.1" if local else "", 0)))
            port = comm.bcast(server.getsockname()[1] if server else None)
            if port is None:
                return {}
            if server:
                peers = accepted(server, word, names)
            else:
                host = "127.0.0.1" if nodes[comm.rank] == nodes[0] else nodes[0]
                connection = socket.create_connection((host, port), timeout=_CONNECT)
                connection.sendall(word + comm.rank.to_bytes(4, "big"))
                peers = {connection: names[0]}
    except OSError as error:
        log.debug("no connection between the ranks: %s", error)
    if not all(comm.allgather(len(peers) == (comm.size - 1 if comm.rank == 0 else 1))):
        for connection in peers:
            connection.close()
        if comm.rank == 0:
            log.warning("the ranks cannot watch each other: use srun --kill-on-bad-exit=1, or mpirun, which does it")
        return {}
    for connection in peers:
        connection.settimeout(None)
    return peers


def accepted(server: socket.socket, word: bytes, names: list[str]) -> dict[socket.socket, str]:
    """Return connections of all other ranks, as many as come in time."""
    peers: dict[socket.socket, str] = {}
    deadline = time.monotonic() + _CONNECT
    while len(peers) < len(names) - 1 and (left := deadline - time.monotonic()) > 0:
        server.settimeout(left)
        with contextlib.suppress(TimeoutError):
            connection, _ = server.accept()
            connection.settimeout(left)
            said = connection.recv(_TOKEN + 4, socket.MSG_WAITALL)
            if secrets.compare_digest(said[:_TOKEN], word):
                peers[connection] = names[int.from_bytes(said[_TOKEN:], "big")]
            else:
                connection.close()
    return peers


def _watch(peers: Mapping[socket.socket, str]) -> None:
    """End all ranks when a connection ends without a farewell, in a thread."""
    with selectors.DefaultSelector() as selector:
        for connection in peers:
            selector.register(connection, selectors.EVENT_READ, data=connection)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.data
                selector.unregister(connection)
                said = b""
                with contextlib.suppress(OSError):
                    said = connection.recv(1)
                if said != _FAREWELL:
                    time.sleep(_GRACE)
                    sys.stderr.write(
                        f"socca: {peers[connection]} died, and all ranks end. If it was killed for memory, use fewer "
                        "ranks on a node or ask for more memory\n"
                    )
                    abort()


def _take_leave(peers: Iterable[socket.socket]) -> None:
    for connection in peers:
        with contextlib.suppress(OSError):
            connection.sendall(_FAREWELL)
