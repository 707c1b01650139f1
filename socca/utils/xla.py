"""Settings of XLA: compile times, the persistent cache of programs, and threads."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socca.utils.program_cache import remove_damaged

log = logging.getLogger(__name__)

_STAGES = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")


@dataclass
class Meter:
    """Programs compiled (or fetched from the cache on disk) and the seconds spent on it, in this process."""

    programs: int = 0
    seconds: float = 0.0

    def listen(self, event: str, duration_secs: float, **_: Any) -> None:
        """Take note of an event of `jax.monitoring`."""
        stage = event.rsplit("/", 1)[-1]
        if stage in _STAGES:
            self.seconds += duration_secs
            self.programs += stage == _STAGES[-1]

    def reading(self) -> tuple[int, float]:
        """Return programs and seconds so far; differences of two readings mean something, one alone does not."""
        return self.programs, self.seconds


@functools.cache
def meter() -> Meter:
    """Return the process's meter, which counts from the first call on."""
    import jax.monitoring

    found = Meter()
    jax.monitoring.register_event_duration_secs_listener(found.listen)
    return found


def cache_folder() -> Path:
    """Return the folder of compiled programs for this kind of machine.

    ``SOCCA_CACHE``, or ``socca`` below the user's cache folder. Programs are machine code, so nodes of a cluster with
    other processors, or another version of JAX, get a folder of their own.
    """
    import jax

    root = os.environ.get("SOCCA_CACHE")
    base = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "socca"
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        flags = [line for line in info.read_text().splitlines() if line.startswith(("flags", "Features"))]
        processor += flags[0] if flags else ""
    tag = hashlib.sha256(f"{jax.__version__} {platform.machine()} {processor}".encode()).hexdigest()[:12]
    return base / f"programs-{tag}"


def use_persistent_cache() -> None:
    """Keep compiled programs on disk, so that the next process of the same shapes need not compile.

    For programs (the command line, pool workers), not for the library: it changes JAX's configuration.
    """
    import jax

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("no cache of compiled programs: cannot make %s (%s)", folder, error)
        return
    remove_damaged(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


#: Environment of a process that shall use one core: set before JAX and BLAS load.
SINGLE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "NPROC": "1",  # of threads that run a program's independent parts, two of which are busy for what one could do
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def single_thread_environment() -> dict[str, str]:
    """Return variables for a process that shall use one core, keeping XLA flags that are set already."""
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = SINGLE_THREAD["XLA_FLAGS"]
    merged = flags if wanted.split("=")[0] in flags else f"{flags} {wanted}".strip()
    return {**SINGLE_THREAD, "XLA_FLAGS": merged}
