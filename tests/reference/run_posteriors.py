"""Run samplers over the posteriors of ``tests/posteriors.py``, and make the table of ``docs/modes.md``.

From the folder ``tests``: ``python reference/run_posteriors.py METHOD SEEDS FILE [names]`` adds a line of JSON per run to
a file; ``python reference/run_posteriors.py table FILE`` writes the table of all of them.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from posteriors import CASES, OPTIONS, deviations, reference

from socca.pool import SerialPool
from socca.samplers import get_sampler


class Counting(SerialPool):
    """A pool that counts."""

    calls = 0

    def evaluate(self, theta):
        self.calls += len(theta)
        return super().evaluate(theta)


def run(method, seeds, file, names):
    """Explore each posterior with each seed; what is in the file already is not done again."""
    known = reference()
    done = {tuple(json.loads(line)["run"]) for line in file.read_text().splitlines()} if file.exists() else set()
    for name in names or CASES:
        problem = CASES[name][1]()
        for seed in range(1, seeds + 1):
            if (method, name, seed) in done:
                continue
            pool = Counting(problem.log_likelihood)
            start = time.perf_counter()
            draws = get_sampler(method)(**OPTIONS[method]).run(problem, pool, seed)
            off = deviations(problem, known[name], draws)
            line = {
                "run": [method, name, seed],
                "off": {key: round(value, 2) for key, value in off.items()},
                "logz": draws.logz,
                "logz_err": draws.logz_err,
                "converged": draws.converged,
                "calls": pool.calls,
                "seconds": round(time.perf_counter() - start, 2),
                **{
                    key: draws.notes.get(key)
                    for key in ("focused", "unfocused_in_run", "maxima", "maxima_shares", "maxima_missing", "n_gradients")
                },
            }
            with file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def table(file):
    """Return a table in Markdown, a row per posterior and method."""
    runs = [json.loads(line) for line in file.read_text().splitlines()]
    rows = [
        "| posterior | kind | sampler | seeds | maxima | focused | back to the plain cube | calls | ln Z: rms, largest "
        "| means: rms, largest | not converged |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (kind, _) in CASES.items():
        for method in OPTIONS:
            own = [one for one in runs if one["run"][:2] == [method, name]]
            if not own:
                continue
            counts = sorted({one["maxima"] for one in own if one["maxima"] is not None})
            means = [value for one in own for key, value in one["off"].items() if key != "ln Z"]
            logs = [one["off"]["ln Z"] for one in own if "ln Z" in one["off"]]
            rows.append(
                f"| {name} | {kind} | {method} | {len(own)} | {', '.join(map(str, counts))} "
                f"| {sum(bool(one['focused']) for one in own)} | {sum(bool(one['unfocused_in_run']) for one in own)} "
                f"| {np.median([one['calls'] for one in own]):,.0f} | {spread(logs)} | {spread(means)} "
                f"| {sum(not one['converged'] for one in own)} |"
            )
    return "\n".join(rows)


def spread(values):
    """Return root mean square and largest of some deviations, as text."""
    return f"{np.sqrt(np.mean(np.square(values))):.2f}, {np.max(np.abs(values)):.1f}" if values else ""


if __name__ == "__main__":
    if sys.argv[1] == "table":
        sys.stdout.write(table(Path(sys.argv[2])) + "\n")
    else:
        run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
