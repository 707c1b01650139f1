"""What holds of every expression: the tree that is written down is the tree that is parsed, with its value."""

import contextlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from socca.errors import ConfigError
from socca.parameters.expressions import FUNCTIONS, Node, evaluate, parse

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "true_divide": "/", "power": "**"}
WRITTEN = {target: name for name, (target, _) in FUNCTIONS.items()}
COUNTS = dict(FUNCTIONS.values())
words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True).filter(lambda word: word not in ("pi", *FUNCTIONS))
leaves = st.one_of(
    st.floats(min_value=0, allow_infinity=False, allow_nan=False).map(lambda x: Node("number", x)),
    st.lists(words, min_size=1, max_size=3).map(lambda parts: Node("name", ".".join(parts))),
    words.map(lambda word: Node("column", word)),
)


def calls(inner):
    """Return a strategy for calls, and values with a unit, of what `inner` draws."""
    binary = st.tuples(st.sampled_from(list(OPERATORS)), inner, inner).map(lambda t: Node("call", t[0], t[1:]))
    minus = inner.map(lambda node: Node("call", "negative", (node,)))
    functions = st.sampled_from(list(COUNTS)).flatmap(
        lambda target: st.tuples(*[inner] * COUNTS[target]).map(lambda args: Node("call", target, args))
    )
    united = st.tuples(words, inner).map(lambda t: Node("unit", t[0], (t[1],)))
    return st.one_of(binary, minus, functions, united)


trees = st.recursive(leaves, calls, max_leaves=12)
#: Without names, so that all of it has a value.
numbers = st.recursive(
    st.floats(min_value=1e-3, max_value=1e3).map(lambda x: Node("number", x)),
    lambda inner: st.tuples(st.sampled_from(list(OPERATORS)), inner, inner).map(lambda t: Node("call", t[0], t[1:])),
    max_leaves=8,
)


def printed(node):
    """Return a tree as text, every operation in parentheses."""
    if node.kind in ("number", "name"):
        return repr(node.value) if node.kind == "number" else node.value
    if node.kind == "column":
        return f"${node.value}"
    parts = [printed(arg) for arg in node.args]
    if node.kind == "unit":
        return f"(({parts[0]}) {node.value})"
    if node.value in OPERATORS:
        return f"({parts[0]} {OPERATORS[node.value]} {parts[1]})"
    return f"(-{parts[0]})" if node.value == "negative" else f"{WRITTEN[node.value]}({', '.join(parts)})"


@given(trees)
def test_what_is_printed_is_parsed_as_it_was(tree):
    assert parse(printed(tree)) == tree


@given(numbers)
def test_values_are_those_of_python(tree):
    """Python's own arithmetic on the same text; where it overflows or is complex, it is no judge."""
    text = printed(tree)
    try:
        expected = eval(text, {"__builtins__": {}})  # noqa: S307  (written by this test)
    except (OverflowError, ZeroDivisionError):
        return
    if isinstance(expected, complex):
        return
    with np.errstate(all="ignore"):
        found = evaluate(parse(text), np)
    # NumPy's power may differ from the C library's in the last digit, and a difference of two amplifies that.
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9 * largest(tree)) or not math.isfinite(expected)


def largest(tree):
    """Return the largest magnitude of any part of a tree."""
    with np.errstate(all="ignore"):
        values = [abs(float(evaluate(node, np))) for node in tree.walk()]
    return max((value for value in values if math.isfinite(value)), default=0.0)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(ConfigError):  # any other error fails
        assert isinstance(parse(text), Node)
