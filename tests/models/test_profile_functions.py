"""Profiles as functions of plain numbers: every one of the registry, at any radius."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socca import models
from socca.models import REGISTRY, CustomProfile, Radial
from socca.models.disk.vertical import REGISTRY as VERTICAL
from socca.models.radial.truncation import REGISTRY as TRUNCATIONS
from tests.models.laws import LAWS

#: In any one unit of length; numbers that each profile takes.
NUMBERS = {
    **{"re": 0.7, "rs": 0.8, "rc": 0.9, "rm": 1.3, "Ie": 2.0, "Is": 2.5, "Ic": 3.0},
    **{"ns": 1.7, "beta": 1.4, "gamma": 0.3, "c1": 0.3, "c2": 0.0, "c3": -0.1, "c4": 0.02},
    **{"I1": 0.3, "I2": 0.0, "I3": -0.1, "I4": 0.02},
}
#: gNFW needs a steeper slope than Beta, and Power a gentler one.
SLOPES = {"Beta": {"alpha": 2.2}, "gNFW": {"alpha": 1.1, "beta": 5.0}, "Power": {"alpha": 1.2}}


def numbers_of(name):
    wanted = [key for key in inspect.signature(LAWS[name]).parameters if key != "r"]
    given = NUMBERS | {"alpha": 1.5} | SLOPES.get(name, {})
    return {key: given[key] for key in wanted}


def test_every_profile_is_here():
    assert {name for name, kind in REGISTRY.items() if issubclass(kind, Radial)} == {*LAWS, "CustomProfile"}


@pytest.mark.parametrize("name", sorted(LAWS))
def test_numbers_lists_and_arrays(name):
    profile, numbers = REGISTRY[name].profile, numbers_of(name)
    r = np.array([[0.2, 0.5, 0.85], [1.5, 3.0, 40.0]])
    tolerance = 1e-6 if name == "gNFW" else 1e-12
    truth = LAWS[name](r, **numbers)
    found = profile(r, **numbers)
    assert type(found) is np.ndarray
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, truth, rtol=tolerance, atol=1e-300)
    np.testing.assert_array_equal(profile(r.tolist(), **numbers), found)
    np.testing.assert_array_equal(profile(r.ravel(), **numbers), found.ravel())
    for one in (0.5, np.float32(0.5), np.array(0.5), jnp.asarray(0.5)):
        value = profile(one, **numbers)
        assert np.shape(value) == ()
        assert float(value) == pytest.approx(float(LAWS[name](0.5, **numbers)), rel=tolerance)
    assert profile(2, **{key: round(value) or value for key, value in numbers.items()}) >= 0  # whole numbers


@pytest.mark.parametrize("name", sorted(LAWS))
def test_amplitude_scale_and_the_rest_by_position(name):
    numbers = numbers_of(name)
    order = [key for key in inspect.signature(REGISTRY[name].profile).parameters if key != "r"]
    assert sorted(order) == sorted(numbers)
    fields = REGISTRY[name].fields
    assert [fields[key].unit for key in order[:2]] == ["image", "deg"]
    np.testing.assert_array_equal(
        REGISTRY[name].profile([0.3, 1.2], *[numbers[key] for key in order]),
        REGISTRY[name].profile([0.3, 1.2], **numbers),
    )


def test_sersic_as_published():
    # At the effective radius it is Ie, whatever the index; at the centre exp(b) times as much, with b = 1.678 for 1.
    assert models.Sersic.profile(0.01, Ie=1.0, re=0.01, ns=1.0) == pytest.approx(1, rel=1e-12)
    assert models.Sersic.profile(0.01, 5.0, 0.01, 4.0) == pytest.approx(5, rel=1e-12)
    assert models.Sersic.profile(0.0, 1.0, 0.01, 1.0) == pytest.approx(np.exp(1.67834699), rel=1e-8)


@pytest.mark.parametrize("name", sorted(LAWS))
def test_at_the_centre_and_far_outside(name):
    profile, numbers = REGISTRY[name].profile, numbers_of(name)
    center, near = profile([0.0, 1e-7], **numbers)
    if name == "Power":
        assert center == np.inf
        assert profile(0.0, **numbers | {"alpha": 0.0}) == numbers["Ic"]
    else:
        assert center == pytest.approx(near, rel=1e-3)
    assert 0 <= profile(1e6, **numbers) < 1e-4
    edge = REGISTRY[name].edge
    if edge is not None:
        at = numbers[edge] * np.array([0, 0.999, 1, 1.001, 5])
        assert profile(at, **numbers).tolist() == [numbers["Ic"]] * 2 + [0] * 3


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough) if name == "gNFW" else name for name in sorted(LAWS)]
)
def test_jax_traces_them_in_its_own_precision(name):
    profile, numbers = REGISTRY[name].profile, numbers_of(name)
    r = jnp.asarray([0.2, 0.5])
    found = jax.jit(lambda r, numbers: profile(r, **numbers))(r, jax.tree.map(jnp.asarray, numbers))
    assert found.dtype == r.dtype
    np.testing.assert_allclose(found, profile([0.2, 0.5], **numbers), rtol=1e-4)
    slope = jax.grad(lambda r: profile(r, **jax.tree.map(jnp.asarray, numbers)))(jnp.asarray(0.5))
    assert np.isfinite(slope)


@pytest.mark.parametrize("name", sorted(TRUNCATIONS))
def test_truncations_take_numbers_too(name):
    factor = TRUNCATIONS[name].factor
    for zero in (0, 0.0, [0.0], np.zeros((1, 1))):
        np.testing.assert_allclose(factor(zero, 2.0, 0.1), np.ones(np.shape(zero)), rtol=1e-12)
    assert np.shape(factor(1.0, 2.0, 0.1)) == ()
    # Far beyond it, and with a width that is nothing beside the radius.
    assert np.abs(factor([3.0, 50.0, 1e6], 2.0, 0.05)).max() < 1e-15
    assert factor([1.0, 3.0], 2.0, 1e-9).tolist() == pytest.approx([1, 0], abs=1e-12)


@pytest.mark.parametrize("name", sorted(VERTICAL))
def test_vertical_profiles_take_numbers_too(name):
    values = {"zs": 0.5, "alpha": 2.0}
    profile = VERTICAL[name].profile
    assert profile(0.0, values) == pytest.approx(1, rel=1e-12)
    assert profile([0.3, -0.3], values).tolist() == pytest.approx([profile(0.3, values)] * 2, rel=1e-12)
    assert profile(1e6, values) == pytest.approx(0, abs=1e-100)


@pytest.mark.parametrize("law", ["top * exp(-r / size)", lambda r, top, size: top * jnp.exp(-r / size)])
def test_a_custom_profile_is_a_function_too(law):
    component = CustomProfile({"top": "image", "size": "deg"}, law)
    np.testing.assert_allclose(component.profile([0, 2.0], top=3.0, size=2.0), [3, 3 / np.e], rtol=1e-12)
    assert component.profile(0.0, top=3.0, size=2.0) == 3
