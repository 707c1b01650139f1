"""What holds of every prior in the registry, whatever its numbers: the inverse undoes the cumulative distribution."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from socca.errors import ConfigError
from socca.priors import REGISTRY

locations = st.floats(-1e3, 1e3)
scales = st.floats(1e-3, 1e3)
#: Argument of a prior -> what may be drawn for it.
ARGUMENTS = {
    "low": st.floats(1e-3, 1e3),
    "high": st.floats(1e-3, 1e3),
    "loc": locations,
    "scale": scales,
    "losig": scales,
    "hisig": scales,
    "index": st.floats(-3, 3),
    "a": st.floats(0.3, 30),
    "b": st.floats(0.3, 30),
    "df": st.floats(1, 30),
}


def test_every_argument_is_drawn():
    assert {key for kind in REGISTRY.values() for key in kind.arguments} <= ARGUMENTS.keys()


@pytest.mark.parametrize("name", list(REGISTRY))
@given(data=st.data())
def test_the_inverse_undoes_the_cdf(name, data):
    kind = REGISTRY[name]
    values = {key: data.draw(ARGUMENTS[key], label=key) for key in kind.arguments}
    if name == "truncnormal":
        # Bounds 30 standard deviations away are far beyond use, and the tail there has no digits left.
        assume(max(values["low"] - values["loc"], values["loc"] - values["high"]) < 30 * values["scale"])
    try:
        prior = kind(**values)
    except ConfigError:
        assume(False)  # such as bounds the wrong way round
    u = np.array(data.draw(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=5), label="u"))
    x = prior.icdf(u)
    low, high = prior.support
    assert np.all(np.isfinite(x))
    assert np.all((x >= low) & (x <= high))
    # A location far from zero leaves few digits of a value: a step of one unit in its last place moves the cdf so far.
    step = np.exp(np.minimum(prior.log_prob(x), 700)) * np.spacing(np.abs(x) + math.fsum(map(abs, prior.values)))
    assert np.all(np.abs(prior.cdf(x) - u) < 1e-6 + 16 * step)
    order = np.argsort(u, kind="stable")
    assert np.all(np.diff(x[order]) >= 0)
