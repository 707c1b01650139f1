"""What pools cost, and when they pay: `python -m benchmarks.pool [--methods nautilus,dynesty]`, on two cores.

Prints three tables, in Markdown. (1) Microseconds that handing a batch of n rows of seven numbers to two workers takes
beyond the likelihood: for loky and MPI; for loky's own executor, and for a broadcast, scatter and gather by MPI, which
the pools could be made of; and the limit, one message with a worker's share there and its values back, over a bare
pipe or between two ranks. (2) How many times faster than one process two workers are, for likelihoods of known cost.
(3) For each sampler, on the image of `samplers.py` (64 x 64 pixels, a Sersic profile with seven free parameters): calls
and batches of a fit, and the processor's time for all else that it does; from these and the first table, the cost of a
likelihood above which two workers take less time than one process, once they have started; and how many times faster a
whole fit then is, for two costs of a likelihood. For whole fits with the start of their workers, see `samplers.py`.

MPI is measured where mpi4py and mpirun are. Measure on an idle machine: two workers need both cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from socca.utils.xla import single_thread_environment

os.environ.update(single_thread_environment())  # before JAX and BLAS load

import numpy as np

from socca.likelihood.problem import Problem
from socca.pool import Pool, SerialPool
from socca.pool.mp import MultiPool

NDIM, WORKERS = 7, 2
ROWS = (2, 16, 64, 256, 4096)
COSTS, BATCHES = (5e-5, 2e-4, 1e-3, 5e-3), (2, 16, 64)


def free(theta: np.ndarray) -> np.ndarray:
    """Return a likelihood that costs nothing."""
    return theta[:, 0]


def costly(seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a likelihood that keeps a core busy for so many seconds per row."""

    def likelihood(theta: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + seconds * len(theta)
        while time.perf_counter() < end:
            pass
        return theta[:, 0]

    return likelihood


def fastest(call: Callable[[], object], seconds: float = 0.01, total: float = 0.5) -> float:
    """Return the time of a call, of the best of many short rounds: another process may be in the way of any of them."""
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    number = max(1, int(seconds / once))
    found = []
    for _ in range(min(50, max(3, int(total / number / once)))):
        start = time.perf_counter()
        for _ in range(number):
            call()
        found.append((time.perf_counter() - start) / number)
    return min(found)


def rows(number: int) -> np.ndarray:
    """Return a batch."""
    return np.random.default_rng(0).random((number, NDIM))


def echo(connection) -> None:
    """Answer each message with as many numbers as it has rows, in a process of its own."""
    while message := connection.recv_bytes():
        connection.send_bytes(message[: len(message) // NDIM])


def loky_overheads() -> dict[str, list[float]]:
    """Return seconds per batch: of our pool, of loky's executor, and of one message through a pipe."""
    from loky import ProcessPoolExecutor
    from loky.backend import get_context

    found: dict[str, list[float]] = {"loky": [], "loky's executor": [], "one message, pipe": []}
    context = get_context("loky")
    ours, theirs = context.Pipe()
    process = context.Process(target=echo, args=(theirs,))
    process.start()
    with MultiPool(WORKERS, free) as pool, ProcessPoolExecutor(WORKERS, timeout=None) as executor:
        for number in ROWS:
            batch = rows(number)
            share = batch[: number // WORKERS].tobytes()

            def executed(batch: np.ndarray = batch) -> np.ndarray:
                return np.concatenate([*executor.map(free, np.array_split(batch, WORKERS))])

            def piped(share: bytes = share) -> bytes:
                ours.send_bytes(share)
                return ours.recv_bytes()

            found["loky"].append(fastest(lambda batch=batch: pool.evaluate(batch)))
            found["loky's executor"].append(fastest(executed))
            found["one message, pipe"].append(fastest(piped))
        ours.send_bytes(b"")
        process.join()
    return found


def mpi_overheads() -> dict[str, list[float]]:
    """Return seconds per batch: of our pool, of collective calls, and of one message. On every rank at once."""
    from mpi4py import MPI

    from socca.pool.mpi import MPIPool

    comm = MPI.COMM_WORLD
    found: dict[str, list[float]] = {"MPI": [], "MPI, collective calls": [], "one message, MPI": []}

    def collective(batch: np.ndarray) -> None:
        sizes = comm.bcast(batch.shape if comm.rank == 0 else None)
        mine = np.empty((sizes[0] // comm.size, sizes[1]))
        comm.Scatterv(batch if comm.rank == 0 else None, mine)
        values = np.empty(sizes[0]) if comm.rank == 0 else None
        comm.Gatherv(np.ascontiguousarray(free(mine)), values)

    def message(share: np.ndarray, values: np.ndarray) -> None:
        if comm.rank == 0:
            comm.Send(share, 1)
            comm.Recv(values, 1)
        else:
            comm.Recv(share, 0)
            comm.Send(values, 0)

    def in_step(call: Callable[[], object], number: int = 100, rounds: int = 30) -> float:
        times = []
        for _ in range(rounds):
            comm.Barrier()
            start = time.perf_counter()
            for _ in range(number):
                call()
            times.append((time.perf_counter() - start) / number)
        return min(times)

    with MPIPool(likelihood=free) as pool:
        batches = [rows(number) for number in ROWS]
        found["MPI"] = pool.drive(lambda: [fastest(lambda batch=batch: pool.evaluate(batch)) for batch in batches])
    for batch in batches:
        share = batch[: len(batch) // WORKERS].copy()
        found["MPI, collective calls"].append(in_step(lambda batch=batch: collective(batch)))
        found["one message, MPI"].append(in_step(lambda share=share: message(share, np.empty(len(share)))))
    return found


def gains(open_pool: Callable[[Callable], Pool]) -> list[list[float]]:
    """Return how many times faster than in one process batches are, for each cost of a likelihood."""
    found = []
    for cost in COSTS:
        likelihood = costly(cost)
        with open_pool(likelihood) as pool:

            def measure(pool: Pool = pool, likelihood: Callable = likelihood) -> list[float]:
                serial = SerialPool(likelihood)
                pool.evaluate(rows(WORKERS))
                return [
                    fastest(lambda batch=batch: serial.evaluate(batch))
                    / fastest(lambda batch=batch: pool.evaluate(batch))
                    for batch in map(rows, BATCHES)
                ]

            found.append(pool.drive(measure))
    return found


class Recording(SerialPool):
    """One process that makes samplers believe in two workers, and notes the sizes of batches."""

    size = WORKERS

    def __init__(self, likelihood: Callable) -> None:
        super().__init__(likelihood)
        self.batches: list[int] = []
        self.seconds = 0.0

    def evaluate(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row."""
        self.batches.append(len(theta))
        start = time.process_time()
        found = super().evaluate(theta)
        self.seconds += time.process_time() - start
        return found


def batches_of(method: str, problem: Problem) -> tuple[np.ndarray, float]:
    """Return the sizes of the batches of a fit with the sampler's defaults, and the seconds of all else it does."""
    from socca.samplers import get_sampler

    for _ in range(2):  # the first one compiles
        pool = Recording(problem.log_likelihood)
        start = time.process_time()
        get_sampler(method)().run(problem, pool, 1)
    return np.array(pool.batches), time.process_time() - start - pool.seconds


def start_of_pool(problem: Problem) -> float:
    """Return the seconds until the first batch is back, of a likelihood that was compiled before, and is on disk."""
    theta = problem.prior_transform(np.full((WORKERS, NDIM), 0.5))
    for _ in range(2):
        start = time.perf_counter()
        with MultiPool(WORKERS, problem.log_likelihood) as pool:
            pool.evaluate(theta)
            seconds = time.perf_counter() - start
    return seconds


def ranks() -> dict | None:
    """Return what two ranks of MPI measure; None where they cannot be had."""
    beside = Path(sys.executable).with_name("mpirun")
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    if mpirun is None:
        return None
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [mpirun, "-n", str(WORKERS), sys.executable, "-m", "benchmarks.pool", "--ranks", str(found)]
        done = subprocess.run(command, env=os.environ | root, check=False)
        return json.loads(found.read_text()) if done.returncode == 0 else None


def table(head: list[str], lines: list[list[object]]) -> None:
    """Print a table in Markdown."""
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for line in lines:
        print("| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in line) + " |")


def main() -> None:
    """Measure and print."""
    from socca.samplers import METHODS, get_sampler

    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(name for name in METHODS if get_sampler(name).mpi))
    parser.add_argument("--ranks", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ranks:
        from mpi4py import MPI

        from socca.pool.mpi import MPIPool

        found = {"overheads": mpi_overheads(), "gains": gains(MPIPool)}
        if MPI.COMM_WORLD.rank == 0:
            options.ranks.write_text(json.dumps(found))
        return
    mpi = ranks()
    overheads = loky_overheads() | (mpi["overheads"] if mpi else {})
    names = [f"n = {number}" for number in ROWS]
    print("Microseconds per batch of n rows, two workers:")
    table(["", *names], [[name, *[1e6 * t for t in times]] for name, times in overheads.items()])
    kinds = {"loky": gains(lambda likelihood: MultiPool(WORKERS, likelihood))} | ({"MPI": mpi["gains"]} if mpi else {})
    print("\nTimes faster than one process:")
    table(
        ["pool", "cost of a likelihood [ms]", *[f"n = {number}" for number in BATCHES]],
        [[kind, 1e3 * cost, *row] for kind, found in kinds.items() for cost, row in zip(COSTS, found, strict=True)],
    )
    from benchmarks.samplers import galaxy

    problem = galaxy()
    start = start_of_pool(problem)
    lines = []
    for method in filter(None, options.methods.split(",")):
        batches, own = batches_of(method, problem)
        shares = -(-batches // WORKERS)
        handing = {kind: float(np.interp(batches, ROWS, overheads[kind]).sum()) for kind in kinds}
        saved = float(np.sum(batches - shares))  # calls that are made beside others
        even = [1e3 * handing[kind] / saved if kind in handing else "-" for kind in ("loky", "MPI")]
        gain = [(own + cost * batches.sum()) / (own + cost * shares.sum() + handing["loky"]) for cost in (2e-4, 5e-3)]
        median = f"{np.median(batches):.0f}"
        lines.append([method, int(batches.sum()), len(batches), median, own, *even, *gain])
    print(f"\nBreak-even cost of a likelihood, ms (two workers of loky start in {start:.2g} s):")
    head = ["method", "calls", "batches", "median rows", "own work [s]"]
    table([*head, "loky", "MPI", "gain at 0.2 ms", "at 5 ms"], lines)


if __name__ == "__main__":
    main()
