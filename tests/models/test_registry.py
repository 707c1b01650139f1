"""What every component has: its place in the registry, its parameters, and those added to it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socca import models
from socca.errors import ModelError
from socca.likelihood.parameter_vector import all_values, compile_model
from socca.models import REGISTRY, CustomProfile, Disk, MesaBridge, Model, Radial, SimpleBridge
from socca.models.disk import ExponentialHeight
from socca.models.radial import truncation
from socca.priors import uniform
from tests.models.laws import ARCSEC, LAWS, brightness, numbers

CUSTOM = {"scale": "deg", "height": "image", "slope": ""}


def custom_law(r, scale, height, slope):
    return height * jnp.exp(-((r / scale) ** slope))


def new(kind, **values):
    """Make a component of any kind."""
    options = {"parameters": CUSTOM, "profile": custom_law} if kind is CustomProfile else {}
    return kind(**options, **values)


def test_contract():
    wanted = "Sersic Gaussian Exponential PolyExponential PolyExpoRefact ModExponential Beta gNFW Power TopHat "
    wanted += "CustomProfile Point Background Disk SimpleBridge MesaBridge"
    assert set(REGISTRY) == set(wanted.split())
    assert all(getattr(models, name) is kind for name, kind in REGISTRY.items())
    assert models.radial.truncation.Exponential is truncation.Exponential
    assert models.disk.vertical.ExponentialHeight is ExponentialHeight
    defaults = {
        "Sersic": {"ns": 0.5},
        "PolyExponential": {"c1": 0, "c2": 0, "c3": 0, "c4": 0, "rc": ARCSEC},
        "PolyExpoRefact": {"I1": 0, "I2": 0, "I3": 0, "I4": 0, "rc": ARCSEC},
        "Beta": {"alpha": 2, "beta": 0.55},
        "gNFW": {"alpha": 1.0510, "beta": 5.4905, "gamma": 0.3081},
        "Power": {"alpha": 2},
    }
    for name, law in LAWS.items():
        kind = REGISTRY[name]
        own = [parameter for parameter in inspect.signature(law).parameters if parameter != "r"]
        assert sorted(kind.fields) == sorted(["xc", "yc", "theta", "e", "cbox", *own])
        found = {key: field.default for key, field in kind.fields.items() if field.default is not None}
        assert found == {"theta": 0, "e": 0, "cbox": 0, **defaults.get(name, {})}
    for kind in (SimpleBridge, MesaBridge):
        assert {key: f.default for key, f in kind.fields.items() if f.default is not None} == {"theta": 0, "e": 0.5}
    assert (SimpleBridge().radial.alpha, SimpleBridge().radial.beta) == (2, 0.55)
    assert (MesaBridge().radial.alpha, MesaBridge().radial.beta, MesaBridge().parallel.alpha) == (8, 1, 8)
    assert (Disk().losdepth, Disk().losbins, Disk().vertical.alpha) == (10 * ARCSEC, 200, 2)


def test_zoo(capsys):
    models.zoo()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(REGISTRY)


@pytest.mark.parametrize("kind", sorted(REGISTRY))
def test_added_parameters(kind):
    component = new(REGISTRY[kind])
    component = new(REGISTRY[kind], **numbers(component, np.random.default_rng(3)))
    component.addparameter("factor", 2.0, "", "of a tie")
    assert component.parlist()[-1] == "factor"
    assert "of a tie" in component.parameters()
    amplitude = next(name for name, unit in component.units.items() if unit == "image")
    value = getattr(component, amplitude)
    component.addparameter("half", uniform(0, value))
    setattr(component, amplitude, lambda comp_00_half, comp_00_factor: comp_00_half * comp_00_factor)
    model = Model(component)
    for table in (component.parameters(), model.parameters()):
        assert "tied to comp_00_half, comp_00_factor" in table
    spec, arrays = compile_model([component])
    assert [spec.names[k] for k in spec.free] == ["comp_00_half"]
    with jax.enable_x64(True):
        values = all_values(spec, arrays, jnp.array([value / 2]))
        assert float(values[f"comp_00_{amplitude}"]) == pytest.approx(value, rel=1e-12)
    with pytest.raises(ModelError, match="cannot be the name"):
        component.addparameter("half", 1)
    if "." not in amplitude and component.fields[amplitude].default is None:
        with pytest.raises(ModelError, match="the brightness needs it"):
            component.removeparameter(amplitude)
    with pytest.raises(ModelError, match="third = nan: not finite"):
        component.addparameter("third", np.nan)
    assert "third" not in component.parlist()
    component.removeparameter("half")
    with pytest.raises(ModelError, match="comp_00_half"):
        compile_model(model.components)


@pytest.mark.parametrize("kind", ["Exponential", "SimpleBridge"])
def test_added_parameters_change_no_brightness(kind):
    component = REGISTRY[kind](**numbers(REGISTRY[kind](), np.random.default_rng(3)))
    dx, dy = np.random.default_rng(5).normal(0, 2 * ARCSEC, (2, 30))
    before = brightness(component, dx, dy)
    component.addparameter("more", 2.0, "deg")
    np.testing.assert_array_equal(brightness(component, dx, dy), before)


def test_laws_have_what_others_build_on():
    for name, kind in REGISTRY.items():
        if issubclass(kind, Radial):
            scale, amplitude = new(kind).scale_and_amplitude()
            assert new(kind).fields[scale].unit == "deg", name
            assert new(kind).fields[amplitude].unit == "image", name
