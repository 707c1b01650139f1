"""Ctrl-C during a fit: it ends within seconds, with one line, and keeps its state if it samples.

Python raises `KeyboardInterrupt` wherever it is. In the middle of a compilation that is a callback of JAX, which
swallows it. So the signal is noted only, and a thread ends the process if that does not suffice.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

#: Seconds that a fit has to keep its state, and that one has which keeps none.
PATIENCE, AT_ONCE = 5.0, 0.5
#: What a process returns that Ctrl-C ended, as the shell counts: 128 + 2.
INTERRUPTED = 130
_LINE = b"socca: stopped by Ctrl-C; the same command goes on from the last checkpoint, if there is one\n"
_OVER = b"\0"


@contextlib.contextmanager
def ending_on_interrupt(cleanup: Callable[[], None]) -> Iterator[None]:
    """Within this block, end this process on Ctrl-C; outside of the main thread, do nothing.

    Parameters
    ----------
    cleanup : callable
        Called before the process ends in the middle of something.

    Raises
    ------
    SystemExit
        With status 130, where the fit could end by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        if _keeps_state():
            signal.raise_signal(signal.SIGTERM)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=_watch, args=(reading, cleanup), daemon=True, name="socca-interrupt")
    handler = signal.signal(signal.SIGINT, note)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)  # written to even while C++ runs
    watcher.start()
    try:
        yield
    except SystemExit:
        if not asked:
            raise
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        os.write(writing, _OVER)
        watcher.join()
        os.close(reading)
        os.close(writing)
    if asked:
        os.write(2, _LINE)
        raise SystemExit(INTERRUPTED)


def _keeps_state() -> bool:
    """Tell whether a sampler runs that keeps its state on SIGTERM."""
    return callable(signal.getsignal(signal.SIGTERM))


def _watch(reading: int, cleanup: Callable[[], None]) -> None:
    """End the process some time after Ctrl-C, or at once at the second one."""
    deadline = None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        said = os.read(reading, 1) if select.select([reading], [], [], left)[0] else b""
        if said == _OVER:
            return
        if said == bytes([signal.SIGINT]) and deadline is None:
            deadline = time.monotonic() + (PATIENCE if _keeps_state() else AT_ONCE)
        elif said in (b"", bytes([signal.SIGINT])):
            cleanup()
            os.write(2, _LINE)
            os._exit(INTERRUPTED)
