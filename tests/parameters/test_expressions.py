import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socca.errors import ConfigError
from socca.parameters.expressions import FUNCTIONS, Node, bind_columns, evaluate, parse

UNITS = {"deg": 1.0, "arcsec": 1 / 3600, "pix": 0.25}
COLUMNS = {"ra": 150.5, "r_e": 2.0}
NAMES = {"disk.re": 3.0, "x": 0.7, "y": 1.9}


def value(text, xp=np):
    return evaluate(parse(text), xp, name=NAMES.__getitem__, column=COLUMNS.__getitem__, unit=UNITS.__getitem__)


# Python's own arithmetic, written once as text and once as code.
ARITHMETIC = [
    ("-2**2", -(2**2)),
    ("2**3**2", 2**3**2),
    ("2**-2", 2**-2),
    ("2^3", 2**3),
    ("-2**-2", -(2**-2)),
    ("(-2)**2", (-2) ** 2),
    ("10-4-3", 10 - 4 - 3),
    ("10 - (4 - 3)", 10 - (4 - 3)),
    ("100/5/4", 100 / 5 / 4),
    ("100/5*4", 100 / 5 * 4),
    ("2+3*4", 2 + 3 * 4),
    ("2*3+4", 2 * 3 + 4),
    ("2*3**2", 2 * 3**2),
    ("--3", 3),
    ("-+-3", 3),
    ("3--2", 5),
    ("2*-3", 2 * -3),
    ("6/-2**2", 6 / -(2**2)),
    ("1.5e3", 1.5e3),
    ("1E-2+.5+2.", 1e-2 + 0.5 + 2.0),
    ("1e+2", 1e2),
    ("2*pi", 2 * math.pi),
    ("  ( 1 +\t2 ) ", 3),
    ("x - y - x", 0.7 - 1.9 - 0.7),
    ("x/y/x", 0.7 / 1.9 / 0.7),
    ("-x**2", -(0.7**2)),
    ("disk.re * 0.2 + $r_e", 3.0 * 0.2 + 2.0),
    ("max(disk.re * 0.2, 1 arcsec)", 3.0 * 0.2),
    ("min(x, y) - max(x, y)", 0.7 - 1.9),
    ("max(min(1, 2), min(3, 4))", 3),
]


@pytest.mark.parametrize(("text", "wanted"), ARITHMETIC)
def test_arithmetic_is_pythons(text, wanted):
    # A few roundings of doubles; precedence errors are of order one.
    assert value(text) == pytest.approx(wanted, rel=1e-14)
    with jax.enable_x64(True):
        assert float(value(text, jnp)) == pytest.approx(wanted, rel=1e-14)


FUNCTION_CASES = [
    ("abs(-3)", 3),
    ("acos(0.3)", math.acos(0.3)),
    ("asin(0.3)", math.asin(0.3)),
    ("atan(-2)", math.atan(-2)),
    ("atan2(-1, -2)", math.atan2(-1, -2)),
    ("cos(1)", math.cos(1)),
    ("exp(1.5)", math.exp(1.5)),
    ("gamma(4.5)", math.gamma(4.5)),
    ("lgamma(70.5)", math.lgamma(70.5)),
    ("log(3)", math.log(3)),
    ("log10(3)", math.log10(3)),
    ("max(2, 3)", 3),
    ("min(2, 3)", 2),
    ("sin(1)", math.sin(1)),
    ("sqrt(2)", math.sqrt(2)),
    ("tan(1)", math.tan(1)),
]


@pytest.mark.parametrize(("text", "wanted"), FUNCTION_CASES)
def test_functions(text, wanted):
    assert value(text) == pytest.approx(wanted, rel=1e-14)


def test_every_function_has_a_case():
    assert {text.split("(")[0] for text, _ in FUNCTION_CASES} == set(FUNCTIONS)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_number_of_arguments(function):
    wrong = ", ".join(["1"] * (FUNCTIONS[function][1] + 1))
    with pytest.raises(ConfigError, match=rf"{function} takes \d argument"):
        parse(f"{function}({wrong})")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2 arcsec", 2 / 3600),
        ("2arcsec", 2 / 3600),
        ("-2 arcsec", -2 / 3600),
        ("3 pix - 1 arcsec", 0.75 - 1 / 3600),
        ("(1 + 2) arcsec", 3 / 3600),
        ("(2 arcsec)**2", (2 / 3600) ** 2),
        ("$r_e arcsec", 2 / 3600),
        ("$ra + 2 * 1 arcsec", 150.5 + 2 / 3600),
        ("8 / 4 pix", 8.0),
    ],
)
def test_units(text, wanted):
    assert value(text) == pytest.approx(wanted, rel=1e-14)


def test_names_and_columns():
    tree = parse("max(bulge.re * $f, disk.re) + 2 arcsec - $g * pi")
    assert tree.names() == {"bulge.re", "disk.re"}
    assert tree.columns() == {"f", "g"}


def test_bind_columns():
    tree = parse("$r_e * disk.re + 3 arcsec - ($ra) arcsec + min($r_e, 7)")
    bound, constants = bind_columns(tree, COLUMNS.__getitem__, UNITS.__getitem__)
    assert bound.columns() == set()
    assert bound.names() == {"disk.re"}
    assert sorted(constants)[-1] == 150.5
    # What is left needs neither columns nor units, and has the same value.
    assert evaluate(bound, np, name=NAMES.__getitem__, constants=constants) == pytest.approx(
        value("$r_e * disk.re + 3 arcsec - ($ra) arcsec + min($r_e, 7)"), rel=1e-14
    )


def test_bind_columns_gives_one_tree_for_all_targets():
    tree = parse("$a * disk.re + $b")
    one, first = bind_columns(tree, {"a": 1.0, "b": 2.0}.__getitem__, UNITS.__getitem__)
    two, second = bind_columns(tree, {"a": 3.0, "b": 4.0}.__getitem__, UNITS.__getitem__)
    assert one == two
    assert hash(one) == hash(two)
    assert (first, second) == ((1.0, 2.0), (3.0, 4.0))


def test_pixels_of_other_sizes_give_one_tree():
    tree = parse("disk.re + 2 pix")
    one, _ = bind_columns(tree, COLUMNS.__getitem__, {"pix": 0.2}.__getitem__)
    two, _ = bind_columns(tree, COLUMNS.__getitem__, {"pix": 0.3}.__getitem__)
    assert one == two


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("1 + * 2", 5),
        ("(1 + 2", 7),
        ("1 + 2)", 6),
        ("1 2", 3),
        ("1 +", 4),
        ("", 1),
        ("1 § 2", 3),
        ("a + §", 5),
        ("x y", 3),
        ("max(1 2)", 7),
        ("max()", 5),
        ("1 + foo(2)", 5),
        ("1 + max(2)", 5),
        ("$", 1),
        ("1 + $2", 5),
        ("2 arcsec arcsec", 10),
        ("10**400 arcsec", 5),
        ("10 ** -2 arcsec", 7),
        ("1..2", 3),
        ("x.", 2),
        ("'x'", 1),
        ("1 = 1", 3),
        ("a[0]", 2),
    ],
)
def test_errors_name_the_character(text, character):
    with pytest.raises(ConfigError, match=rf"at character {character}$|character {character}\b"):
        parse(text)


def test_unknown_function_names_the_nearest():
    with pytest.raises(ConfigError, match="sqrt"):
        parse("sqr(2)")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "__import__(os)",
        "x.__class__",
        "().__class__",
        "(1).real",
        "lambda: 1",
        "[1 for x in y]",
        "open(1)",
        "eval(1)",
        "x if y else 1",
        "x; y",
        "x := 1",
        "x\n+\\\ny",
        "f'{x}'",
        "@x",
        "~x",
        "x and y",
        "1 < 2",
        "10 % 3",
        "7 // 2",
    ],
)
def test_nothing_is_executed(text):
    # Some of these parse as names; then they must stay names, which are looked up in the model and nowhere else.
    try:
        tree = parse(text)
    except ConfigError:
        return
    assert tree.kind == "name"
    with pytest.raises(ConfigError):
        evaluate(tree, np)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 5000,
        "1+" * 600 + "1",
        "(" * 5000 + ")" * 5000,
        "(" * 450 + "1" + ")" * 450,
        "abs(" * 200 + "1" + ")" * 200,
    ],
    ids=["digits", "terms", "parentheses", "nested", "calls"],
)
def test_long_or_deep_text_is_refused(text):
    with pytest.raises(ConfigError, match=r"limit|deep"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("1" + "+1" * 499, 500, id="terms"),
        pytest.param("-" * 700 + "2", 2, id="signs"),
        pytest.param("2" + "**1" * 300, 2, id="powers"),
    ],
)
def test_what_parses_can_be_evaluated(text, wanted):
    # Within the limit of length, text is either refused or understood to the end; never a RecursionError.
    try:
        tree = parse(text)
    except ConfigError:
        return
    assert evaluate(tree, np) == wanted
    assert bind_columns(tree, COLUMNS.__getitem__, UNITS.__getitem__)[1] == ()
    assert tree.names() == set()


@pytest.mark.parametrize(("text", "kind"), [("x", "name"), ("$ra", "column"), ("2 arcsec", "unit")])
def test_what_is_not_allowed_is_refused(text, kind):
    with pytest.raises(ConfigError, match=kind):
        evaluate(parse(text), np)


def test_trees_are_values():
    assert parse("x + 2") == parse(" x+2 ")
    assert parse("x + 2") != parse("x + 3")
    assert parse("x + y") != parse("y + x")
    assert parse("2") == Node("number", 2.0)
