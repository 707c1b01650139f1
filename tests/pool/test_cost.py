"""What a likelihood and handing over a batch cost, and the advice that follows."""

import time

import numpy as np
import pytest

from socca.fitting.sample import CountingPool
from socca.pool import SerialPool, measure
from tests.pool.likelihoods import THETA, likelihood


class Slow(SerialPool):
    """Workers that take a known time."""

    size = 2

    def __init__(self, call, batch):
        self.call, self.batch, self.rows = call, batch, []

    def evaluate(self, theta):
        self.rows.append(len(theta))
        time.sleep(self.batch + self.call * -(-len(theta) // self.size))
        return np.zeros(len(theta))


def test_costs_are_measured():
    cost = measure(Slow(call=2e-3, batch=3e-3), THETA)
    assert cost.call == pytest.approx(2e-3, rel=0.2)  # a sleep is longer than asked for by 0.1 ms or so
    assert cost.batch == pytest.approx(3e-3, rel=0.3)
    assert cost.gain(1000) == pytest.approx(2, rel=0.01)
    assert cost.gain(1) == pytest.approx(0.4, rel=0.3)


def test_what_is_slow_anyway_is_not_measured():
    pool = Slow(call=0.11, batch=0)
    assert measure(pool, THETA) is None
    assert pool.rows == [2, 2]


@pytest.mark.parametrize(("call", "warned"), [(0, True), (2e-3, False)])
def test_a_likelihood_that_is_too_cheap_is_said_once(caplog, call, warned):
    pool = Slow(call=call, batch=1e-3)
    with caplog.at_level("INFO", logger="socca"):
        counted = CountingPool(pool)
        for _ in range(3):
            counted.evaluate(THETA)
    assert counted.calls == 3 * len(THETA)
    measured = [record for record in caplog.records if "ms, handing a batch to 2 workers" in record.message]
    advice = [record for record in caplog.records if "leave out ncores" in record.message]
    assert len(measured) == 1
    assert len(advice) == warned


def test_no_advice_without_workers(caplog):
    with caplog.at_level("INFO", logger="socca"):
        CountingPool(SerialPool(likelihood)).evaluate(THETA)
    assert not caplog.records
