"""Tasks side by side: what is gathered into one batch, the order of results, and failures."""

import sys

import numpy as np
import pytest

from socca.samplers.lockstep import LockstepPool


@pytest.fixture
def pool():
    sizes = []

    def evaluate(points):
        sizes.append(len(points))
        return points.sum(axis=1)

    made = LockstepPool(evaluate, 4)
    made.sizes = sizes
    yield made
    made.close()


def test_calls_of_one_round_are_one_batch(pool):
    def walk(n):
        return [pool.likelihood(np.array([n, k])) for k in range(n)]

    assert pool.map(walk, [3, 1, 2, 0, 2]) == [[3, 4, 5], [1], [2, 3], [], [2, 3]]
    assert pool.sizes == [3, 2, 1, 1, 1]  # four tasks of 3, 1, 2 and 0 calls, and then the fifth


def test_outside_of_a_task_a_point_is_its_own_batch(pool):
    assert pool.likelihood(np.array([1.0, 2.0])) == 3
    assert pool.sizes == [1]


def test_tasks_side_by_side(pool):
    assert pool.map(lambda k: (pool.likelihood(np.array([k, 0.5])), k), range(8)) == [(k + 0.5, k) for k in range(8)]
    assert pool.sizes == [4, 4]


def test_an_error_in_a_task_is_raised(pool):
    def fail(k):
        if k == 2:
            raise ValueError("this one")
        return pool.likelihood(np.array([k, 0.0]))

    with pytest.raises(ValueError, match="this one"):
        pool.map(fail, range(4))


def test_an_error_of_the_likelihood_is_raised_where_map_was_called():
    def evaluate(points):
        raise RuntimeError("a worker died")

    pool = LockstepPool(evaluate, 3)
    with pytest.raises(RuntimeError, match="a worker died"):
        pool.map(lambda k: pool.likelihood(np.array([k])), range(3))


def test_tasks_that_wait_when_another_fails_are_ended_in_silence(capsys):
    """As a back end does that prints what its likelihood raises."""
    ended = []

    def chatty(k):
        try:
            pool.likelihood(np.array([k]))
        except:
            sys.stdout.write(f"failed: {k}")
            ended.append(k)
            raise

    def evaluate(points):
        raise RuntimeError("a worker died")

    pool = LockstepPool(evaluate, 3)
    with pytest.raises(RuntimeError, match="a worker died"):
        pool.map(chatty, range(3))
    assert ended == []
    pool.close()
    assert ended == [0, 1, 2]
    assert capsys.readouterr().out == ""
