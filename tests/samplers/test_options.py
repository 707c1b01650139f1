"""Values of options: of all samplers, by type and range, from the signatures of the back ends and our own rules."""

import inspect
import math

import numpy as np
import pytest

from socca.errors import ConfigError
from socca.fitting.sample import sample
from socca.samplers import get_sampler
from socca.samplers.options import FUNCTION, LIST, MAPPING, OBJECT, TRUTH, Allowed, derived, number, whole, word
from tests.fakes import INSTALLED, Numpy

#: One value of each kind, by the kind that takes it; whole numbers are numbers too.
VALUES = {
    "truth": True,
    "whole": 64,
    "number": 64.5,
    "text": "something",
    "list": [1, 2],
    "mapping": {"a": 1},
    "object": object(),
}
TAKES = {"function": set(), "number": {"whole", "number"}}


def options_of(method):
    kind = get_sampler(method)
    return [(option, kind.allowed_values(option)) for option in kind.known_options()]


@pytest.mark.parametrize("method", INSTALLED)
def test_what_each_option_may_be_is_known(method):
    unknown = [option for option, allowed in options_of(method) if not allowed.kinds]
    assert unknown == []


@pytest.mark.parametrize("method", INSTALLED)
def test_rules_are_about_options_that_there_are(method):
    kind = get_sampler(method)
    assert set(kind.allowed) <= set(kind.known_options())


@pytest.mark.parametrize("method", INSTALLED)
def test_defaults_of_the_back_end_are_allowed(method):
    kind = get_sampler(method)
    for function in kind.signatures():
        other = {"dynamic": True} if "Dynamic" in function.__qualname__ else {}
        for name, parameter in inspect.signature(function).parameters.items():
            if name in kind.known_options() and name != "progress" and parameter.default is not parameter.empty:
                assert kind(**{name: parameter.default}, **other).options[name] == parameter.default
    assert kind(**kind.defaults).options.items() >= kind.defaults.items()


@pytest.mark.parametrize("method", INSTALLED)
def test_values_of_other_kinds_are_refused(method):
    kind = get_sampler(method)
    for option, allowed in options_of(method):
        taken = set().union(*(TAKES.get(one, {one}) for one in allowed.kinds))
        refused = [value for one, value in VALUES.items() if one not in taken] + [math.nan, np.float64("nan")]
        if not allowed.blank:
            refused.append(None)
        if {"whole", "number"} & set(allowed.kinds):
            refused += [-1e6] if math.isfinite(allowed.least) else []
            refused += [] if allowed.infinite else [math.inf]
        if allowed.words:
            refused.append("something")
        for value in refused:
            with pytest.raises(ConfigError, match=f"^{method}: {option} must be .*; got "):
                kind(**{option: value})


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (whole(10), [10, 1e3, np.int64(12), np.float32(11)], [9, 10.5, True, "12", math.inf, None, [12]]),
        (whole(1, infinite=True) | None, [1, math.inf, None], [0, -math.inf, "inf"]),
        (number(above=0, most=1), [1e-9, 1, np.float32(0.5)], [0, 1.01, True, math.nan, 1j]),
        (number(), [-1e300, 0], [math.inf, -math.inf]),
        (TRUTH, [True, np.bool_(False)], [0, 1, "yes", None]),
        (word("a", "b"), ["a", "b"], ["c", "", 1, None]),
        (TRUTH | LIST, [True, [("a", "b")], np.ones(2)], [1, "a", {}]),
        (word("a") | OBJECT, ["a", object()], ["b", 1, [], {}, None]),
        (MAPPING | None, [{}, None], [[], "a"]),
        (FUNCTION, [len], ["len"]),
        (Allowed(), [1, "a", None, object()], [math.nan]),
    ],
)
def test_what_is_allowed(allowed, good, bad):
    for value in good:
        found = allowed.value(value)
        assert found is value or found == value
    for value in bad:
        with pytest.raises(ValueError, match=r"^must be .*; got "):
            allowed.value(value)


def test_whole_numbers_reach_the_back_end_as_such():
    """YAML reads 1e3 as a text, which a config turns into 1000.0; numpy's integers are none that JSON knows."""
    options = get_sampler("nautilus")(n_live=1e3, n_batch=np.int64(64), f_live=np.float64(0.5)).options
    assert (type(options["n_live"]), type(options["n_batch"])) == (int, int)


def test_what_is_allowed_is_read_off_signatures():
    def run(a=1, b=0.5, c=math.inf, d="x", e=None, f: int = None, g=False, h=None, *, i: float):  # noqa: RUF013
        pass

    said = {name: str(derived(name, [run], {"h": 3})) for name in "abcdefghi"}
    assert said == {
        "a": "a whole number",
        "b": "a number",
        "c": "a number, or infinite",
        "d": "a text",
        "e": "anything or null",
        "f": "a whole number or null",
        "g": "true or false",
        "h": "a whole number or null",
        "i": "a number",
    }


def test_scripts_are_told_at_run():
    problem = Numpy(lambda theta: -(theta**2).sum(axis=1), [])
    with pytest.raises(ConfigError, match="optimizer: n_starts must be a whole number of at least 1; got -5"):
        sample(problem, "optimizer", seed=1, n_starts=-5)
