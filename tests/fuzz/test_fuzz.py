"""Damaged and hostile files: a clear error or the right result, and never a traceback, a crash, a hang or all memory.

A case that goes wrong is named by its role and seed; ``python -m tests.fuzz.worker ROLE SEED`` repeats it.
"""

import pytest

from tests.fuzz.roles import ROLES
from tests.fuzz.running import describe, run_cases

#: Cases of each role: of every run of the tests, and of `-m slow`.
QUICK, MANY = 28, 600


@pytest.fixture(scope="module")
def quick():
    """Outcomes of the quick cases, by role: one process tries them all."""
    outcomes = run_cases([(role, seed) for role in ROLES for seed in range(QUICK)])
    return {role: [one for one in outcomes if one["role"] == role] for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
def test_a_clear_error_or_the_right_result(quick, role):
    assert len(quick[role]) == QUICK
    assert not [one for one in quick[role] if one["end"] == "wrong"], describe(quick[role])
    # Neither are all mutations harmless, nor is everything refused; but no heartbeat is, and nearly every config.
    assert {one["end"] for one in quick[role]} == {"right", "refused"} or role in ("heartbeat", "config")


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_many_cases(role):
    outcomes = run_cases([(role, seed) for seed in range(QUICK, QUICK + MANY)])
    assert not [one for one in outcomes if one["end"] == "wrong"], describe(outcomes)


def test_what_goes_wrong_is_noticed():
    """Another exception, a hang, memory, a crash: each ends its own case, and the next one is tried."""
    outcomes = run_cases([("faulty", seed) for seed in range(4)], seconds=1.0)
    assert [one["end"] for one in outcomes] == ["wrong"] * 4
    messages = [one["message"] for one in outcomes]
    assert messages[0].startswith('KeyError: "not socca\'s own"')
    assert messages[1].startswith("took more than 1 s")
    assert messages[2].startswith("MemoryError")
    assert messages[3] == "the process ended with status -11"
    assert "python -m tests.fuzz.worker faulty 3" in describe(outcomes)
    # The worker that follows is a new one, whose first case is the first one again.
    assert run_cases([("faulty", 9)])[0]["message"].startswith("KeyError")
