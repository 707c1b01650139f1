"""Fluxes, radii and shapes of components against adaptive quadrature of independent formulas."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gamma, gammainc, gammaincinv

from socca import models
from socca.models import REGISTRY
from socca.models.quantity import QUANTITIES
from socca.models.radial import truncation
from tests.models.laws import ARCSEC, LAWS, PLACE, brightness, numbers

AREA = (0.2 * ARCSEC) ** 2
#: Fluxes and radii are to be exact to a part in a thousand, for every law; these are to a tenth of that.
TOLERANCE = 1e-4


def quantities(component):
    """Return what a component derives from its parameters, all being numbers."""
    with jax.enable_x64(True):
        values = {name: jnp.asarray(value, float) for name, value in component.values.items()}
        found = jax.jit(lambda values: type(component).quantities(values, component.spec(), jnp.asarray(AREA)))(values)
        return {name: float(value) for name, value in found.items()}


def light(law, r, far):
    """Integrate ``r f(r)`` up to a radius, in pieces of a factor of two."""
    ends = np.concatenate([[0], r * 2.0 ** np.arange(-40, 1)])
    ends = ends[ends < far]
    ends = np.append(ends, min(r, far))
    return sum(
        quad(lambda x: x * law(x), *piece, epsabs=0, epsrel=1e-9, limit=200)[0] for piece in itertools.pairwise(ends)
    )


def radius_of(law, share, scale, far, total):
    """Return the radius within which a share of the light lies."""
    return np.exp(brentq(lambda x: light(law, np.exp(x), far) - share * total, *np.log([scale * 1e-4, scale * 1e5])))


#: Laws whose total is finite, with parameters; radii in units of the scale.
FINITE = [
    *(("Sersic", {"re": 1.0, "Ie": 2.0, "ns": ns}) for ns in (0.25, 0.5, 1.0, 2.5, 4.0, 7.0)),
    ("Gaussian", {"rs": 2.0, "Is": 1.0}),
    ("Exponential", {"rs": 0.7, "Is": -3.0}),
    ("ModExponential", {"rs": 1.0, "Is": 1.0, "rm": 0.2, "alpha": 1.5}),
    ("PolyExponential", {"rs": 1.0, "Is": 1.0, "c1": 0.4, "c2": 0.1, "c3": 0.0, "c4": 0.02, "rc": 1.3}),
    ("PolyExpoRefact", {"rs": 1.0, "Is": 1.0, "I1": 0.4, "I2": 0.1, "I3": 0.1, "I4": 0.0, "rc": 1.3}),
    ("Beta", {"rc": 1.0, "Ic": 1.0, "alpha": 2.0, "beta": 2.5}),
    ("Beta", {"rc": 1.0, "Ic": 1.0, "alpha": 5.0, "beta": 0.8}),
    ("TopHat", {"rc": 1.7, "Ic": 1.0}),
]


@pytest.mark.parametrize(("name", "values"), FINITE)
def test_flux_and_radii_of_radial_laws(name, values):
    lengths = {key: value * ARCSEC for key, value in values.items() if REGISTRY[name].fields[key].unit == "deg"}
    component = REGISTRY[name](**PLACE, e=0.4, theta=2.0, **values | lengths)
    found = quantities(component)
    law = functools.partial(lambda r, law, values: float(law(r, **values)), law=LAWS[name], values=values)
    far = values["rc"] if name == "TopHat" else np.inf
    total = light(law, 1e6, far)
    assert found["flux"] == pytest.approx(2 * np.pi * 0.6 * total * 25, rel=TOLERANCE)
    radii = {share: radius_of(law, share, 1.0, far, total) for share in (0.2, 0.5, 0.8, 0.9)}
    for share, radius in radii.items():
        assert found[f"r{share * 100:.0f}"] == pytest.approx(radius * ARCSEC, rel=TOLERANCE), share
    assert found["r50_circ"] == pytest.approx(radii[0.5] * np.sqrt(0.6) * ARCSEC, rel=TOLERANCE)
    assert found["concentration"] == pytest.approx(5 * np.log10(radii[0.8] / radii[0.2]), rel=TOLERANCE)
    if name != "TopHat":
        assert found["sb_r50"] == pytest.approx(law(radii[0.5]), rel=5 * TOLERANCE)
    assert found["sb_within_r50"] == pytest.approx(total / radii[0.5] ** 2, rel=2 * TOLERANCE)
    petrosian = found["petrosian"] / ARCSEC
    ring = light(law, 1.25 * petrosian, far) - light(law, 0.8 * petrosian, far)
    ratio = ring / (light(law, petrosian, far) * (1.25**2 - 0.8**2))
    assert ratio == pytest.approx(0.2, rel=20 * TOLERANCE)  # it falls by a tenth where the radius grows by a hundredth


@pytest.mark.parametrize("ns", [0.3, 1.0, 3.0, 6.0, 10.0])
def test_a_sersic_profile_has_the_flux_of_its_closed_form(ns):
    found = quantities(models.Sersic(**PLACE, re=ARCSEC, Ie=2.0, ns=ns))
    b = gammaincinv(2 * ns, 0.5)
    assert found["flux"] == pytest.approx(4 * np.pi * ns * np.exp(b) * b ** (-2 * ns) * gamma(2 * ns) * 25, rel=1e-5)
    assert found["r50"] == pytest.approx(ARCSEC, rel=1e-5)
    assert found["sb_r50"] == pytest.approx(2.0, rel=1e-4)
    for share in (0.2, 0.8, 0.9):
        radius = (gammaincinv(2 * ns, share) / b) ** ns
        assert found[f"r{share * 100:.0f}"] == pytest.approx(radius * ARCSEC, rel=2e-5)
    assert gammainc(2 * ns, b * (found["r50_circ"] / ARCSEC) ** (1 / ns)) == pytest.approx(0.5, rel=1e-5)


def test_a_projected_gnfw_profile():
    values = {"rc": 1.0, "Ic": 1.0, "alpha": 1.2, "beta": 5.0, "gamma": 0.3}
    found = quantities(models.gNFW(**PLACE, **values | {"rc": ARCSEC}))
    r = np.geomspace(1e-4, 1e4, 1500)
    integrand = r**2 * LAWS["gNFW"](r, **values)
    steps = np.diff(np.log(r))
    within = np.concatenate([[0], np.cumsum(0.5 * (integrand[1:] + integrand[:-1]) * steps)]) + integrand[0] / 2
    assert found["flux"] == pytest.approx(2 * np.pi * within[-1] * 25, rel=5e-4)
    assert found["r50"] == pytest.approx(np.interp(0.5 * within[-1], within, r) * ARCSEC, rel=5e-4)


@pytest.mark.parametrize("kind", sorted(truncation.REGISTRY))
@pytest.mark.parametrize(("rt", "wt"), [(1.5, 0.01), (1.5, 0.5), (6.0, 0.2)])
def test_a_truncated_profile(kind, rt, wt):
    cut = truncation.REGISTRY[kind]
    component = models.Sersic(cut, **PLACE, re=ARCSEC, Ie=1.0, ns=2.0, rt=rt * ARCSEC, wt=wt * ARCSEC)
    found = quantities(component)
    r = np.concatenate([np.geomspace(1e-6, 0.5 * rt, 4000), np.linspace(0.5 * rt, 2 * rt + 40 * wt, 200_001)[1:]])
    factor = {
        "HyperTangent": (1 - np.tanh((r - rt) / wt)) / (1 - np.tanh(-rt / wt)),
        "Exponential": np.maximum(0, (1 - np.exp(np.minimum((r - rt) / wt, 1))) / (1 - np.exp(-rt / wt))),
    }[kind]
    values = r * LAWS["Sersic"](r, re=1.0, Ie=1.0, ns=2.0) * factor
    within = np.concatenate([[0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(r))])
    assert found["flux"] == pytest.approx(2 * np.pi * within[-1] * 25, rel=1e-3)
    assert found["r50"] == pytest.approx(np.interp(0.5 * within[-1], within, r) * ARCSEC, rel=1e-3)


@pytest.mark.parametrize("cbox", [-0.8, 1.5])
def test_the_flux_of_a_boxy_source(cbox):
    component = models.Gaussian(**PLACE, rs=ARCSEC, Is=1.0, e=0.3, theta=0.4, cbox=cbox)
    x = np.linspace(-8, 8, 1601) * ARCSEC
    step = (x[1] - x[0]) ** 2
    truth = brightness(component, *(part.ravel() for part in np.meshgrid(x, x))).sum() * step / AREA
    assert quantities(component)["flux"] == pytest.approx(truth, rel=1e-3)


def test_a_disk_has_its_flux_at_every_inclination():
    radial = models.Exponential(rs=ARCSEC, Is=1.0, theta=0.7)
    component = models.Disk(
        radial, models.disk.HyperSecantHeight(zs=0.3 * ARCSEC, inc=1.0), losdepth=30 * ARCSEC, **{"radial.xc": 0.0}
    )
    setattr(component, "radial.yc", 0.0)
    x = np.linspace(-14, 14, 561) * ARCSEC
    step = (x[1] - x[0]) ** 2
    truth = brightness(component, *(part.ravel() for part in np.meshgrid(x, x))).sum() * step / AREA
    found = quantities(component)
    assert found["flux"] == pytest.approx(truth, rel=1e-3)
    assert found["flux"] == pytest.approx(2 * np.pi * 25, rel=1e-4)
    assert found["pa"] == pytest.approx(np.degrees(0.7))


@pytest.mark.parametrize(
    "component",
    [
        models.Beta(**PLACE, rc=ARCSEC, Ic=1.0, alpha=2.0, beta=0.9),
        models.Power(**PLACE, rc=ARCSEC, Ic=1.0, alpha=1.5),
    ],
)
def test_an_infinite_flux_is_none(component):
    found = quantities(component)
    for name in ("flux", "r50", "r90", "petrosian", "concentration", "sb_r50", "sb_within_r50"):
        assert np.isnan(found[name]), name
    assert found["q"] == 1


def test_a_source_without_light_has_no_flux():
    found = quantities(models.Sersic(**PLACE, re=ARCSEC, Ie=0.0, ns=1.0))
    assert found["flux"] == 0
    assert np.isnan(found["r50"])


def test_a_truncation_far_within_the_scale():
    component = models.Sersic(True, **PLACE, re=10 * ARCSEC, Ie=1.0, ns=1.0, rt=0.01 * ARCSEC, wt=0.1 * ARCSEC)
    r = np.linspace(0, 3, 300_001)
    values = r * LAWS["Sersic"](r, re=10.0, Ie=1.0, ns=1.0) * (1 - np.tanh((r - 0.01) / 0.1)) / (1 + np.tanh(0.1))
    assert quantities(component)["flux"] == pytest.approx(2 * np.pi * np.trapezoid(values, r) * 25, rel=1e-3)


@pytest.mark.parametrize(("theta", "e1", "e2"), [(0.0, 1, 0), (np.pi / 4, 0, 1), (np.pi / 2, -1, 0), (3.0, None, None)])
def test_the_shape_of_an_ellipse(theta, e1, e2):
    found = quantities(models.Gaussian(**PLACE, rs=ARCSEC, Is=1.0, e=0.5, theta=theta))
    assert found["q"] == pytest.approx(0.5)
    assert found["pa"] == pytest.approx(np.degrees(theta))
    if e1 is not None:
        assert found["e1"] == pytest.approx(e1 / 3, abs=1e-9)
        assert found["e2"] == pytest.approx(e2 / 3, abs=1e-9)


def test_position_angles_lie_within_half_a_turn():
    assert quantities(models.Gaussian(**PLACE, rs=ARCSEC, Is=1.0, theta=-0.1))["pa"] == pytest.approx(
        180 - np.degrees(0.1)
    )


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_quantities_of_every_component_are_described(name):
    if name in ("CustomProfile",):
        component = models.CustomProfile(["Ia"], "Ia * exp(-r^2 * 1e8)", **PLACE, Ia=1.0)
    else:
        component = REGISTRY[name]()
        for key, value in numbers(component, np.random.default_rng(2)).items():
            setattr(component, key, value)
    found = quantities(component)
    assert set(found) <= set(QUANTITIES)
    assert ("flux" in found) == (component.role != "background" and not isinstance(component, models.bridge.Bridge))


def test_a_custom_profile_without_a_length():
    sigma = 0.7 * ARCSEC
    component = models.CustomProfile(["Ia"], f"Ia * exp(-(r / {sigma!r})^2 / 2)", **PLACE, Ia=2.0)
    assert quantities(component)["flux"] == pytest.approx(2 * np.pi * 2 * 0.49 * 25, rel=1e-4)
