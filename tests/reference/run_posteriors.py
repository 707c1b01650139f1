"""Run samplers over the posteriors of ``tests/posteriors.py``, and make the table of ``docs/modes.md``.

``python -m tests.reference.run_posteriors METHOD SEEDS FILE [names]`` adds a line of JSON per run to a file;
``python -m tests.reference.run_posteriors table FILES`` writes the tables of all of them.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from socca.pool import SerialPool
from socca.samplers import get_sampler
from socca.utils.xla import use_persistent_cache
from tests.posteriors import CASES, OPTIONS, deviations, reference, summary


class Counting(SerialPool):
    """A pool that counts."""

    calls = 0

    def evaluate(self, theta):
        self.calls += len(theta)
        return super().evaluate(theta)


def run(method, seeds, file, names):
    """Explore each posterior with each seed; what is in the file already is not done again."""
    use_persistent_cache()
    known = reference()
    done = {tuple(json.loads(line)["run"]) for line in file.read_text().splitlines()} if file.exists() else set()
    for seed in range(1, seeds + 1):
        for name in names or known:
            if (method, name, seed) in done:
                continue
            problem = CASES[name][1]()
            sampler = get_sampler(method)(**OPTIONS[method])
            pool = Counting(sampler.likelihood(problem))
            start = time.perf_counter()
            draws = sampler.run(problem, pool, seed)
            line = {
                "run": [method, name, seed],
                **summary(problem, draws),
                "converged": draws.converged,
                "calls": pool.calls,
                "seconds": round(time.perf_counter() - start, 2),
                **{
                    key: draws.notes.get(key)
                    for key in (
                        "focused",
                        "unfocused_in_run",
                        "maxima",
                        "maxima_shares",
                        "maxima_missing",
                        "n_gradients",
                        "escalated",
                    )
                },
            }
            with file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def table(files):
    """Return tables in Markdown, one per sampler, with a row per posterior and one for all of them."""
    runs = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    known = reference()
    for one in runs:
        one["off"] = deviations(known[one["run"][1]], one)
    parts = []
    for method in OPTIONS:
        own = [one for one in runs if one["run"][0] == method]
        if not own:
            continue
        rows = [row(name, kind, [one for one in own if one["run"][1] == name]) for name, (kind, _) in CASES.items()]
        rows.append(row("**all**", "", own))
        parts.append("\n".join([f"## {method}", "", *HEAD, *filter(None, rows)]))
    return "\n\n".join(parts)


HEAD = (
    "| posterior | kind | runs | maxima | focused | begun again | calls | ln Z: rms, largest | means: rms, largest "
    "| not converged | wrong in silence |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def row(name, kind, runs):
    """Return a row of some runs, or None without any."""
    if not runs:
        return None
    counts = [one["maxima"] for one in runs if one["maxima"] is not None]
    maxima = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    means = [value for one in runs for key, value in one["off"].items() if key != "ln Z"]
    logs = [one["off"]["ln Z"] for one in runs if "ln Z" in one["off"]]
    wrong = sum(one["converged"] and max(map(abs, one["off"].values())) >= 4 for one in runs)
    return (
        f"| {name} | {kind} | {len(runs)} | {maxima} | {sum(bool(one['focused']) for one in runs)} "
        f"| {sum(bool(one['unfocused_in_run']) for one in runs)} | {np.median([one['calls'] for one in runs]):,.0f} "
        f"| {spread(logs)} | {spread(means)} | {sum(not one['converged'] for one in runs)} | {wrong} |"
    )


def spread(values):
    """Return root mean square and largest of some deviations, as text."""
    return f"{np.sqrt(np.mean(np.square(values))):.2f}, {np.max(np.abs(values)):.1f}" if values else ""


if __name__ == "__main__":
    if sys.argv[1] == "table":
        sys.stdout.write(table([Path(name) for name in sys.argv[2:]]) + "\n")
    else:
        run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
