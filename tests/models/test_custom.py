# ruff: noqa: N803  (the names of the parameters)
"""Profiles of one's own."""

import jax.numpy as jnp
import numpy as np
import pytest

from socca import models
from socca.errors import ModelError
from socca.models import CustomProfile
from socca.priors import uniform
from tests.models.laws import ARCSEC, PLACE, brightness


@pytest.mark.parametrize("profile", [lambda r, rs, Is: Is * jnp.exp(-r / rs), "Is * exp(-r / rs)"])
def test_custom_profile_is_a_built_in_one(profile):
    dx, dy = np.random.default_rng(2).normal(0, 3 * ARCSEC, (2, 30))
    shape = PLACE | {"theta": 0.4, "e": 0.3, "cbox": 0.2, "rs": 2 * ARCSEC, "Is": 3.0}
    for options in ({}, {"truncation": "HyperTangent", "rt": 3 * ARCSEC, "wt": ARCSEC}):
        mine = CustomProfile({"rs": "deg", "Is": "image"}, profile, **shape, **options)
        truth = brightness(models.Exponential(**shape, **options), dx, dy)
        np.testing.assert_allclose(brightness(mine, dx, dy), truth, rtol=1e-12)


def test_custom_parameters_are_described():
    described = [
        {"name": "rs", "unit": "deg", "description": "scale", "default": 0.1},
        {"name": "Is", "units": "image", "value": uniform(0, 1)},
        "slope",
    ]
    mine = CustomProfile(described, "Is * exp(-(r / rs) ** slope)", slope=2)
    assert (mine.rs, mine.slope) == (0.1, 2)
    assert isinstance(mine.Is, uniform)
    assert mine.units["rs"] == "deg"
    assert mine.units["Is"] == "image"
    assert mine.description["rs"] == "scale"
    assert "rs" not in CustomProfile.fields
    again = CustomProfile(described, "Is*exp(-(r/rs)**slope)", slope=3)
    assert again.spec() == mine.spec()
    assert hash(again.spec()) == hash(mine.spec())
    assert CustomProfile(described, "Is*exp(-r/rs)").spec() != mine.spec()
    mine.addparameter("other", 1.0)
    assert np.all(np.isfinite(brightness(mine, np.ones(2), np.ones(2), xc=0.0, yc=0.0, Is=1.0)))
    # A number with a unit is in degrees, as r is.
    assert brightness(CustomProfile({}, "r / (2 arcsec)", **PLACE), np.zeros(1), np.array([ARCSEC])) == pytest.approx(
        0.5
    )


@pytest.mark.parametrize(
    ("parameters", "profile", "said"),
    [
        ({"a": ""}, "a * exp(-r / b)", "no parameter 'b'"),
        ({"a": ""}, "a * exp(-r", "cannot read expression"),
        ({"a": ""}, "a * $mag", r"make \$mag the value of a parameter"),
        ({"a": ""}, "a * r * 2 arcsex", "unknown unit"),
        ({"a": ""}, lambda r, b: r, "cannot trace"),
        ({"a": ""}, lambda r, a: a, "shape of r"),
        ({"a": ""}, lambda r, a: a if r[0] > 0 else r, "cannot trace"),
        ({"a": ""}, lambda r, a: r > a, "real numbers"),
        ({"a": ""}, None, "give a profile"),
        ({"a": ""}, 3, "must be a function or an expression"),
        ({"r": ""}, "r", "'r' cannot be the name"),
        ({"theta": ""}, "theta * r", "'theta' cannot be the name"),
        ({"full_profile": ""}, "full_profile * r", "'full_profile' cannot be the name"),
        (["a", "a"], "a * r", "'a' cannot be the name"),
        ("ab", "a * r", "must be a list or a mapping"),
        ([{"name": "a", "unit": "deg", "units": "rad"}], "a * r", "give unit or units, not both"),
        ([{"name": "a", "value": 1, "default": 2}], "a * r", "give value or default, not both"),
        ([{"name": "a", "unti": "deg"}], "a * r", "did you mean 'unit'"),
        ({"a": "arcsec"}, "a * r", "CustomProfile: a: unit 'arcsec': a parameter is held in deg, rad, image"),
    ],
)
def test_custom_mistakes(parameters, profile, said):
    with pytest.raises(ModelError, match=said):
        CustomProfile(parameters, profile)
