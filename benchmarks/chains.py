"""Time of as many NUTS chains as there are workers, beside that of one chain, on the image of `samplers.py`.

Workers have started and compiled; with ``--whole`` the time is that of `fitter.run`, their start and tracing included
(compiled programs are on disk from the first run on). Run it on an idle machine, as

    python benchmarks/chains.py [--workers 2] [--repeats 3] [--whole]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from samplers import galaxy

from socca.inference import sample
from socca.pool import open_pool
from socca.samplers import get_sampler


def chains(number: int) -> tuple[float, int]:
    """Run chains, one per worker; return the seconds, and the gradients of the longest chain."""
    problem = galaxy()
    with open_pool(problem.log_likelihood, number) as pool:
        get_sampler("numpyro")(num_samples=4).run(problem, pool, 1)
        start = time.perf_counter()
        draws = get_sampler("numpyro")().run(problem, pool, 1)
        return time.perf_counter() - start, int(draws.sampler["n_steps"].sum(axis=1).max())


def whole(number: int) -> float:
    """Return the seconds of a whole fit in a new process, without what it takes to import socca and JAX."""
    command = [sys.executable, __file__, "--one", str(number)]
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
        problem = galaxy()
        start = time.perf_counter()
        sample(problem, "numpyro", seed=1, ncores=given.one)
        print(time.perf_counter() - start)
        return
    if given.whole:
        whole(1), whole(given.workers)  # compile
    for _ in range(given.repeats):
        if given.whole:
            one, many = whole(1), whole(given.workers)
            print(f"whole fit: one chain {one:.1f} s, {given.workers} chains {many:.1f} s, {many / one:.2f} times")
        else:
            (one, short), (many, long) = chains(1), chains(given.workers)
            print(
                f"one chain {one:.1f} s ({short} gradients), {given.workers} chains {many:.1f} s ({long} in the "
                f"longest), {many / one:.2f} times"
            )


if __name__ == "__main__":
    main()
