"""What holds of all weighted samples."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from socca.utils.statistics import unwrapped, weighted_quantiles

counts = st.integers(1, 30)
values = counts.flatmap(lambda n: arrays(float, n, elements=st.floats(-1e6, 1e6)))
levels = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@st.composite
def weighted(draw):
    x = draw(values)
    weights = draw(arrays(float, len(x), elements=st.floats(1e-3, 1.0)))
    return x, weights / weights.sum()


@given(weighted(), levels)
def test_quantiles_lie_within_the_samples_and_in_order(sample, at):
    x, weights = sample
    found = weighted_quantiles(x, weights, sorted(at))
    assert min(found) >= x.min()
    assert max(found) <= x.max()
    assert np.all(np.diff(found) >= -1e-9 * np.abs(x).max())


@given(weighted(), levels, st.integers(0, 10))
def test_order_and_scale_of_samples_do_not_matter(sample, at, seed):
    x, weights = sample
    assume(len(np.unique(x)) == len(x))  # of equal values with other weights, the midpoints depend on the order
    order = np.random.default_rng(seed).permutation(len(x))
    before = weighted_quantiles(x, weights, at)
    np.testing.assert_allclose(weighted_quantiles(x[order], 7 * weights[order], at), before, rtol=1e-6, atol=1e-6)


@given(values, levels)
def test_equal_weights_give_the_quantiles_of_numpy(x, at):
    """Its method ``hazen``: linear between the midpoints of the cumulative weights."""
    found = weighted_quantiles(x, np.full(len(x), 1 / len(x)), at)
    expected = np.quantile(x, at, method="hazen")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(x).max()))


@given(weighted(), st.floats(0.1, 10))
def test_angles_move_by_whole_periods(sample, period):
    x, weights = sample
    found = unwrapped(x, weights, period)
    turns = (found - x) / period
    # A value of 1e6 periods has lost as many digits.
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9 * (1 + np.abs(x).max() / period))
    assert np.ptp(found) <= period * (1 + 1e-9) + 1e-9 * np.abs(x).max()
