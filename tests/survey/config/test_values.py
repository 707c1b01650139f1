"""Values as a config writes them: units, columns, priors and ties."""

import math

import pytest

from socca.errors import ConfigError
from socca.models import Tie
from socca.parameters.expressions import evaluate
from socca.parameters.units import factor
from socca.priors import REGISTRY, beta, logpowerlaw, loguniform, normal, powerlaw, uniform
from socca.survey.config.values import Context, is_prior, parse_value, scalar

SCALE = 0.2 / 3600
CONTEXT = Context({"ra": 10.0, "size": 3.0, "blank": float("nan")}, SCALE)


def resolve(raw, unit="deg", context=CONTEXT, names=lambda name: name.replace(".", "_")):
    return context.resolve(parse_value(raw), unit, names)


@pytest.mark.parametrize(
    ("raw", "unit", "wanted"),
    [
        (2, "deg", 2),
        (2.5, "image", 2.5),
        ("2 arcsec", "deg", 2 / 3600),
        ("2 arcmin", "deg", 2 / 60),
        ("5 mas", "deg", 5 / 3.6e6),
        ("180 deg", "rad", math.pi),
        ("1 rad", "deg", 180 / math.pi),
        ("3 pix", "deg", 3 * SCALE),
        ("3 pix", "rad", math.radians(3 * SCALE)),
        ("$ra", "deg", 10),
        ("$size arcsec", "deg", 3 / 3600),
        ("$size * 2 arcsec", "deg", 6 / 3600),
        ("(1 + $size) arcsec", "deg", 4 / 3600),
        ("-2 arcsec", "deg", -2 / 3600),
        ("$ra + 2 arcsec", "deg", 10 + 2 / 3600),
        ("10 ** (-0.4 * $size)", "image", 10**-1.2),
        ("1e-3", "", 1e-3),
    ],
)
def test_numbers(raw, unit, wanted):
    assert resolve(raw, unit) == pytest.approx(wanted, rel=1e-14)


def test_priors():
    assert resolve({"uniform": [0, "180 deg"]}, "rad") == uniform(0, math.pi)
    named = resolve({"loguniform": {"high": "$size arcsec", "low": "1 arcsec"}})
    assert isinstance(named, loguniform)
    assert named.values == pytest.approx((1 / 3600, 3 / 3600), rel=1e-15)
    assert resolve({"normal": ["$ra", "$size"]}) == normal(10, 3)


@pytest.mark.parametrize("family", [powerlaw, logpowerlaw])
def test_power_laws_are_listed_in_another_order_than_in_scripts(family):
    wanted = family(alpha=0.5, low=1, high=4)
    assert wanted.values == (1, 4, 0.5)
    assert resolve({family.name: [1, 4, 0.5]}) == wanted
    assert resolve({family.name: {"index": 0.5, "low": 1, "high": 4}}) == wanted
    with pytest.raises(ConfigError, match="no argument 'alpha'"):
        parse_value({family.name: {"alpha": 0.5, "low": 1, "high": 4}})


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ([2, 3], beta(2, 3)),
        ([2, 3, -1], beta(2, 3, -1)),
        ([2, 3, -1, 4], beta(2, 3, -1, 4)),
        ({"b": 3, "a": 2}, beta(2, 3)),
        ({"a": 2, "b": 3, "high": "$size"}, beta(2, 3, 0, 3)),
    ],
)
def test_numbers_with_a_default_may_be_left_out(raw, wanted):
    assert resolve({"beta": raw}) == wanted


@pytest.mark.parametrize(
    "raw", [[2], [2, 3, 0, 1, 5], {"a": 2}, {"a": 2, "high": 3}, {"a": 2, "b": 3, "high": None}, 2]
)
def test_the_others_may_not(raw):
    with pytest.raises(ConfigError, match=r"beta takes a, b, low, high \(by default low is 0, high is 1\); got"):
        parse_value({"beta": raw})


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ({"beta": [2, 3]}, True),
        ({"beta": {"a": 2, "b": 3}}, True),
        ({"uniform": [0, 1]}, True),
        ({"beta": 0.6}, False),
        ({"beta": "$slope"}, False),
        ({"beta": {"uniform": [0, 1]}}, False),
        ({"gamma": {"beta": [2, 3]}}, False),
        ({"beta": [2, 3], "gamma": 1}, False),
        ({"re": [2, 3]}, False),
        (0.6, False),
    ],
)
def test_priors_are_told_from_parameters_of_their_name(raw, wanted):
    assert is_prior(raw) == wanted


def test_the_schema_knows_the_defaults():
    from socca.survey.config.components import prior_schema

    schema = prior_schema("beta", REGISTRY["beta"])["properties"]["beta"]["anyOf"][0]
    assert (schema["minItems"], schema["maxItems"]) == (2, 4)


def test_ties():
    tie = resolve("max(disk.rs * $size, 2 arcsec)")
    assert isinstance(tie, Tie)
    assert tie.names == ("disk_rs",)
    assert sorted(tie.constants) == pytest.approx([1 / 3600, 3])
    value = evaluate(tie.function, math_names, name={"disk_rs": 0.1}.__getitem__, constants=tie.constants)
    assert value == pytest.approx(0.3)
    other = resolve("max(disk.rs * $size, 2 arcsec)", context=Context({"size": 4.0}, SCALE / 2))
    assert other.function == tie.function  # so that targets share one program


class math_names:  # noqa: N801  (stands for a module)
    """The functions that the tie above needs."""

    maximum, multiply = max, staticmethod(lambda a, b: a * b)


@pytest.mark.parametrize(
    ("raw", "unit", "said"),
    [
        ("2 arcsex", "deg", "unknown unit 'arcsex'; did you mean 'arcsec'"),
        ("2 arcsec", "image", "'arcsec' cannot be used here: the value is image"),
        ("2 deg", "", "'deg' cannot be used here: the value is a pure number"),
        ("2 pix", "", "'pix' cannot be used here"),
        ("$siz", "deg", "no numeric column 'siz'; did you mean 'size'"),
        ("$blank", "deg", r"\$blank: the target has no value"),
        ("$blank * 2", "deg", r"\$blank: the target has no value"),
        ("1 / 0", "deg", "the expression gives inf"),
        ("log(-1)", "deg", "the expression gives nan"),
        ({"uniform": ["disk.rs", 2]}, "deg", r"cannot depend on other parameters \(disk.rs\)"),
        ({"uniform": [2, 1]}, "deg", "low must lie below high"),
        ({"uniform": ["2 arcsex", 1]}, "deg", "unknown unit 'arcsex'"),
        ({"uniform": ["$blank", 1]}, "deg", r"\$blank"),
        ({"loguniform": [0, 1]}, "deg", "0 < low < high"),
        ("disk.rs * $blank", "deg", r"\$blank"),
        ("disk.rs * 2 arcsex", "deg", "unknown unit 'arcsex'"),
    ],
)
def test_mistakes_are_named(raw, unit, said):
    with pytest.raises(ConfigError, match=said):
        resolve(raw, unit)


@pytest.mark.parametrize("raw", [None, True, [1], "", " ", "2 +", "a b", "2 2", "$", "os.system('x')", "1; 2"])
def test_what_is_no_value(raw):
    with pytest.raises(ConfigError):
        resolve(raw)


@pytest.mark.parametrize("raw", [float("inf"), float("nan"), "1e999"])
def test_numbers_are_finite(raw):
    with pytest.raises(ConfigError, match="the expression gives"):
        resolve(raw)


def test_pixels_need_a_scale():
    with pytest.raises(ConfigError, match="the size of a pixel is not known"):
        Context({}, None).number(scalar("2 pix"), "deg")


def test_units_are_exact():
    assert factor("arcsec", "deg") * 3600 == pytest.approx(1, rel=1e-15)
    assert factor("deg", "rad") == math.pi / 180
