"""Bridges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socca import models
from socca.errors import ModelError
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, CustomProfile, MesaBridge, Model, SimpleBridge
from socca.priors import uniform
from tests.models.laws import ARCSEC, BRIDGE, LAWS, PLACE, brightness


def across_and_along(dx, dy, theta=0.6):
    return np.abs(dx * np.cos(theta) - dy * np.sin(theta)), np.abs(dx * np.sin(theta) + dy * np.cos(theta))


def test_bridges():
    dx, dy = np.random.default_rng(5).normal(0, 3 * ARCSEC, (2, 60))
    across, along = across_and_along(dx, dy)
    short, long = 3 * ARCSEC, 5 * ARCSEC
    simple = SimpleBridge(**BRIDGE, **{"radial.beta": 0.7})
    truth = 2 * LAWS["Beta"](across, short, 1, 2, 0.7) * (along < long)
    np.testing.assert_allclose(brightness(simple, dx, dy), truth, rtol=1e-6)
    mesa = MesaBridge(**BRIDGE)
    f, g = LAWS["Beta"](across, short, 1, 8, 1), LAWS["Power"](along, long, 1, 8)
    np.testing.assert_allclose(brightness(mesa, dx, dy), 2 / (1 / f + 1 / g), rtol=1e-5)
    mixed = SimpleBridge(
        models.PolyExpoRefact(),
        models.Exponential(truncation="Exponential"),
        **BRIDGE,
        **{"radial.I1": 0.3, "parallel.rt": long},
    )
    assert mixed.units["radial.I1"] == ""  # relative to Is, so that the brightness is linear in Is alone
    f = LAWS["PolyExpoRefact"](across, short, 1, 0.3, 0, 0, 0, ARCSEC)
    cut = np.maximum(0, (1 - np.exp((along - long) / 0.01)) / (1 - np.exp(-long / 0.01)))
    np.testing.assert_allclose(brightness(mixed, dx, dy), 2 * f * LAWS["Exponential"](along, long, 1) * cut, rtol=1e-4)


@pytest.mark.parametrize("kind", [SimpleBridge, MesaBridge])
@pytest.mark.parametrize(
    "laws",
    [
        pytest.param((None, None), marks=pytest.mark.thorough),
        (models.Power(alpha=6), models.Power(alpha=3)),
        pytest.param(("TopHat", "TopHat"), marks=pytest.mark.slow),
    ],
)
def test_bridges_stay_finite_on_their_axes(kind, laws):
    parts = [REGISTRY[law]() if isinstance(law, str) else law for law in laws]
    bridge = kind(*parts, **BRIDGE)
    dx = np.array([0, 1, np.cos(0.6), np.sin(0.6), 50.0]) * ARCSEC
    dy = np.array([0, 0, -np.sin(0.6), np.cos(0.6), 50.0]) * ARCSEC
    with jax.enable_x64(True):
        values = {key: jnp.asarray(value) for key, value in bridge.values.items()}

        def total(values):
            return kind.brightness(jnp.asarray(dx), jnp.asarray(dy), values, bridge.spec(), 0.1 * ARCSEC * np.eye(2))

        assert np.all(np.isfinite(total(values)))
        gradient = jax.jit(jax.jacrev(total))(values)
    assert all(np.all(np.isfinite(part)) for part in gradient.values())


def test_an_edge_of_a_bridge_moves_smoothly(make_image, pixel):
    image = make_image(shape=(41, 41))
    bridge = SimpleBridge(models.TopHat(), models.TopHat(), **PLACE, Is=2.0, rs=10 * pixel, theta=0.4)
    # A rectangle of 20 by 10 pixels.
    assert bridge.getmap(image).sum() == pytest.approx(400, rel=3e-3)


def test_what_a_bridge_sets_itself_cannot_be_set():
    assert SimpleBridge().parlist() == ["xc", "yc", "rs", "Is", "theta", "e", "radial.alpha", "radial.beta"]
    for law in (models.Beta(rc=1.0), models.Beta(Ic=1.0), models.Beta(theta=1.0)):
        with pytest.raises(ModelError, match=r"SimpleBridge: radial\.\w+ cannot be set"):
            SimpleBridge(law)
    bridge = SimpleBridge()
    bridge.radial.rc = 1.0
    with pytest.raises(ModelError, match=r"radial\.rc cannot be set"):
        Model(bridge).components[0].spec()
    with pytest.raises(ModelError, match="has no parameter in the unit 'image'"):
        SimpleBridge(CustomProfile({"rs": "deg"}, "exp(-r / rs)"))
    with pytest.raises(ModelError, match="parallel must be a radial profile"):
        SimpleBridge(parallel=models.Point())


def test_a_bridge_of_ones_own_law():
    mine = CustomProfile({"s": "deg", "k": "", "top": "image"}, "top * exp(-(r / s) ** k)")
    bridge = SimpleBridge(mine, **BRIDGE, **{"radial.k": 1.5})
    dx, dy = np.random.default_rng(5).normal(0, 2 * ARCSEC, (2, 30))
    across, along = across_and_along(dx, dy)
    truth = 2 * np.exp(-((across / (3 * ARCSEC)) ** 1.5)) * (along < 5 * ARCSEC)
    np.testing.assert_allclose(brightness(bridge, dx, dy), truth, rtol=1e-5)


def test_edges_are_never_negative(make_image, pixel):
    # Rounding beyond an edge, below zero, would rule the model out.
    problem = Problem(
        make_image(shape=(41, 41)),
        Model(SimpleBridge(xc=0, yc=0, rs=5 * pixel, Is=1, theta=uniform(0, np.pi), positive=True)),
    )
    assert np.all(np.isfinite(problem.log_likelihood([[0.0], [0.3], [1.1], [2.5]])))
