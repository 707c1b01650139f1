"""Cases in processes of their own, which may crash, hang or run out of memory."""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Seconds that a worker may take to begin.
START = 120.0


class Worker:
    """A worker process, and what it says."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        self.lines = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def begin(self, role, seed, seconds):
        """Hand a case out."""
        self.process.stdin.write(f"{role} {seed} {seconds}\n")
        self.process.stdin.flush()

    def next_line(self, seconds):
        """Return what it says next; None if it says nothing more."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def has_ended(self):
        """Tell whether it has ended by itself; its output may have done so a moment before."""
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self):
        """End it, and return its status."""
        self.process.stdin.close()
        self.process.kill()
        self.reader.join()
        self.process.stdout.close()
        return self.process.wait()


def run_cases(cases, seconds=20.0):
    """Try cases one after another.

    Parameters
    ----------
    cases : sequence of (str, int)
        Roles and seeds.
    seconds : float
        What a case may take.

    Returns
    -------
    list of dict
        Role, seed, end (``right``, ``refused``, ``wrong``), message and seconds of each.
    """
    found, worker = [], None
    for role, seed in cases:
        if worker is None:
            worker = Worker()
        worker.begin(role, seed, seconds)
        said = worker.next_line(START)
        assert said == {"begins": [role, seed]}, f"a worker did not begin: {said}"
        outcome = worker.next_line(3 * seconds)
        if outcome is None:
            died = worker.has_ended()
            status = worker.end()
            how = f"the process ended with status {status}" if died else "hangs"
            outcome = {"role": role, "seed": seed, "end": "wrong", "message": how, "took": 3 * seconds}
            worker = None
        found.append(outcome)
    if worker is not None:
        worker.end()
    return found


def describe(outcomes):
    """Return what went wrong, and how to repeat it."""
    wrong = [one for one in outcomes if one["end"] == "wrong"]
    lines = [f"{len(wrong)} of {len(outcomes)} cases went wrong"]
    for one in wrong:
        lines.append(f"{one['role']} {one['seed']}: {one['message']}")
        lines.append(f"  again: python -m tests.fuzz.worker {one['role']} {one['seed']}")
    return "\n".join(lines)
