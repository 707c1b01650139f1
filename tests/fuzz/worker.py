"""Process that tries cases: ``python -m tests.fuzz.worker ROLE SEED...`` repeats some of them, with their tracebacks.

Without arguments it reads lines of role, seed and seconds, and answers each with two lines of JSON: the case that it
begins, and how that ended.
"""

import json
import logging
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

from socca.errors import SoccaError
from tests.fuzz.roles import ROLES, FaultyRole

#: Bytes of address space that cases may take beyond what the process has before the first of them.
ROOM = 2**30


class TookTooLongError(BaseException):
    """No error that a library would catch."""


def limit_memory():
    """Let the process take no more than `ROOM` from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def rng_of(role, seed):
    """Return the source of randomness of a case."""
    return np.random.default_rng([zlib.crc32(role.encode()), seed])


def attempt(case, role, seed, seconds):
    """Try a case; return how it ended (``right``, ``refused`` or ``wrong``), and a message."""

    def stop(number, frame):
        raise TookTooLongError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        case(rng_of(role, seed))
        return "right", ""
    except SoccaError as error:
        return ("refused" if str(error).strip() else "wrong"), f"{type(error).__name__}: {error}"
    except TookTooLongError:
        return "wrong", f"took more than {seconds:g} s\n{traceback.format_exc()}"
    except BaseException as error:
        return "wrong", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def cases(folder, names):
    """Return what makes the cases of some roles, ready to."""
    made = {name: (FaultyRole if name == "faulty" else ROLES[name])() for name in names}
    for name, case in made.items():
        (folder / name).mkdir()
        case.prepare(folder / name)
    return made


def main():
    """Serve until the input ends, or repeat what is asked for."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        if sys.argv[1:]:
            made = cases(folder, [sys.argv[1]])
            limit_memory()
            for seed in map(int, sys.argv[2:]):
                end, message = attempt(made[sys.argv[1]], sys.argv[1], seed, 60)
                sys.stdout.write(f"{sys.argv[1]} {seed}: {end}: {message}\n")
            return
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        made = cases(folder, [*ROLES, "faulty"])
        limit_memory()
        for line in sys.stdin:
            role, seed, seconds = line.split()
            answers.write(json.dumps({"begins": [role, int(seed)]}) + "\n")
            answers.flush()
            start = time.perf_counter()
            end, message = attempt(made[role], role, int(seed), float(seconds))
            took = time.perf_counter() - start
            answers.write(json.dumps({"role": role, "seed": int(seed), "end": end, "message": message, "took": took}))
            answers.write("\n")
            answers.flush()


if __name__ == "__main__":
    main()
