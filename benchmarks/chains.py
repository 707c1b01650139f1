"""Time of as many NUTS chains as there are workers, beside that of one chain, on the image of `samplers.py`.

Workers have started and compiled; with ``--whole`` the time is that of a fit in a new process, start of the workers and
tracing included (compiled programs are on disk from the first run on). Run it on an idle machine, as

    python -m benchmarks.chains [--workers 2] [--repeats 3] [--whole]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.samplers import galaxy, warm_up
from socca.fitting.sample import sample
from socca.pool import open_pool
from socca.samplers import get_sampler
from socca.utils.xla import use_persistent_cache


def chains(number: int) -> float:
    """Run chains, one per worker; return the seconds."""
    problem = galaxy()
    with open_pool(problem.log_likelihood, number) as pool:
        warm_up(problem, pool, "numpyro")
        start = time.perf_counter()
        get_sampler("numpyro")().run(problem, pool, 1)
        return time.perf_counter() - start


def whole(number: int) -> float:
    """Return the seconds of a whole fit in a new process, without what it takes to import socca and JAX."""
    command = [sys.executable, "-m", "benchmarks.chains", "--one", str(number)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print one line per repeat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        use_persistent_cache()
        problem = galaxy()
        start = time.perf_counter()
        sample(problem, "numpyro", seed=1, ncores=given.one)
        print(time.perf_counter() - start)
        return
    if given.whole:
        whole(1), whole(given.workers)  # compile
    for _ in range(given.repeats):
        seconds = whole if given.whole else chains
        one, many = seconds(1), seconds(given.workers)
        print(f"one chain {one:.1f} s, {given.workers} chains {many:.1f} s: {many / one:.2f} times")


if __name__ == "__main__":
    main()
