# ruff: noqa: N803  (the names of the parameters)
"""Brightness of radial profiles against formulas written down independently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socca import models
from socca.errors import ModelError
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, Model
from socca.models.radial import truncation
from socca.models.radial.base import covered
from socca.priors import uniform
from tests.models.laws import ARCSEC, BRIDGE, LAWS, PLACE, brightness, numbers, projected


@pytest.mark.parametrize("name", sorted(LAWS))
def test_radial_laws(name):
    rng = np.random.default_rng(len(name))
    component = REGISTRY[name](**numbers(REGISTRY[name](), rng) | {"cbox": 0.6})
    dx, dy = rng.normal(0, 2 * ARCSEC, (2, 40))
    sin, cos = np.sin(component.theta), np.cos(component.theta)
    major, minor = np.abs(dx * sin + dy * cos), np.abs(dx * cos - dy * sin) / (1 - component.e)
    r = (major**2.6 + minor**2.6) ** (1 / 2.6)
    truth = LAWS[name](r, **{key: getattr(component, key) for key in component.law_fields()})
    got = brightness(component, dx, dy)
    # gNFW is interpolated; of the others, the radius has a floor of 1e-10 degrees.
    np.testing.assert_allclose(got, truth, rtol=1e-4 if name == "gNFW" else 1e-10)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough) if name == "gNFW" else name for name in sorted(LAWS)]
)
def test_the_centre_has_a_finite_gradient(name):
    rng = np.random.default_rng(4)
    component = REGISTRY[name](**numbers(REGISTRY[name](), rng))
    with jax.enable_x64(True):
        values = {key: jnp.asarray(value) for key, value in component.values.items()}
        at = jnp.zeros(1)

        def value(values):
            return type(component).brightness(at, at, values, component.spec(), ARCSEC * jnp.eye(2))[0]

        gradient = jax.jit(jax.grad(value))(values)
        assert np.isfinite(value(values))
    assert all(np.isfinite(part) for part in gradient.values())


@pytest.mark.parametrize(
    ("parameters", "tolerance"),
    [
        ((1.0510, 5.4905, 0.3081), 1e-6),
        *[((a, b, g), 1e-5 if a <= 1 else 1e-4) for a in (0.5, 1.0, 5.0) for b in (2.0, 9.0) for g in (0.0, 0.9)],
    ],
)
def test_gnfw_is_the_line_of_sight_integral(parameters, tolerance):
    # What its docstring promises.
    x = np.concatenate([np.logspace(-4, 3, 15), [0.7, 1.0, 1.4]])
    with jax.enable_x64(True):
        got = jax.jit(lambda x, p: models.gNFW.profile(x, rc=1.0, Ic=2.0, alpha=p[0], beta=p[1], gamma=p[2]))(
            x, jnp.array(parameters)
        )
        center = models.gNFW.profile(jnp.array([1e-12]), rc=1.0, Ic=2.0, alpha=1.2, beta=4.0, gamma=0.2)
    truth = [2 * projected(at, *parameters) for at in x]
    np.testing.assert_allclose(got, truth, rtol=tolerance)
    assert center[0] == pytest.approx(2, rel=1e-6)


#: Of the same code, the others in the thorough tier: they take seconds each.
some_laws = pytest.mark.parametrize(
    "name",
    [name if name in ("Sersic", "TopHat") else pytest.param(name, marks=pytest.mark.thorough) for name in sorted(LAWS)],
)


@some_laws
def test_truncations(name):
    r = np.linspace(0, 12, 50) * ARCSEC
    rt, wt = 6 * ARCSEC, 1.5 * ARCSEC
    formulas = {
        "Exponential": np.maximum(0, (1 - np.exp((r - rt) / wt)) / (1 - np.exp(-rt / wt))),
        "HyperTangent": (1 - np.tanh((r - rt) / wt)) / (1 - np.tanh(-rt / wt)),
    }
    assert set(truncation.REGISTRY) == set(formulas)
    values = numbers(REGISTRY[name](), np.random.default_rng(1)) | {"theta": 0.0, "e": 0.0, "cbox": 0.0}
    if name == "TopHat":
        values["rc"] = 8 * ARCSEC
    plain = brightness(REGISTRY[name](**values), 0 * r, r)
    for law, formula in formulas.items():
        cut = REGISTRY[name](truncation=law, **values, rt=rt, wt=wt)
        got = brightness(cut, 0 * r, r)
        # At the centre the radius has a floor of 1e-10 degrees.
        np.testing.assert_allclose(got, plain * formula, rtol=1e-7, atol=1e-14 * np.abs(plain[1:]).max())
        assert np.all(got[r > rt + 1e-9] == 0) or law == "HyperTangent"


def test_names_of_truncations():
    assert models.Beta(truncation=True).truncation is truncation.HyperTangent
    assert models.Beta(truncation=truncation.HyperTangent).wt == 0.01
    with pytest.raises(ModelError, match="did you mean 'HyperTangent'"):
        models.Beta(truncation="HyperTan")
    with pytest.raises(ModelError, match="no parameter 'rt'"):
        models.Beta(rt=1)


def test_covered_is_the_area_of_a_cut_pixel():
    rng = np.random.default_rng(6)
    for angle in (0.0, 0.3, 0.8, np.pi / 2, 2.2):
        a, b = 1.3 * np.cos(angle), 1.3 * np.sin(angle)
        margins = np.linspace(-1.2, 1.2, 13)
        with jax.enable_x64(True):
            got = np.asarray(covered(jnp.asarray(margins), jnp.full(13, a), jnp.full(13, b)))
        # Stratified points: the error is that of the cells on the edge, 1/n^(3/2).
        n = 400
        u, v = (np.indices((n, n)) + rng.uniform(size=(2, n, n))) / n - 0.5
        truth = [(margin + a * u + b * v > 0).mean() for margin in margins]
        np.testing.assert_allclose(got, truth, atol=2e-3)
        assert got[0] == pytest.approx(0, abs=1e-12)
        assert got[-1] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("rc", [3.0, 8.3, 20.0])
@pytest.mark.parametrize("e", [0.0, 0.4])
def test_flux_of_a_top_hat(make_image, pixel, rc, e):
    source = models.TopHat(xc=0.3 * pixel, yc=-0.2 * pixel, rc=rc * pixel, Ic=2.0, e=e, theta=0.7)
    got = source.getmap(make_image(shape=(61, 61)))
    assert got.sum() == pytest.approx(np.pi * rc**2 * (1 - e) * 2, rel=2e-3)
    assert got.max() == pytest.approx(2, rel=1e-9)


def test_a_power_law_has_all_its_light(make_image, pixel):
    image = make_image(shape=(21, 21))

    def draw(alpha):
        return models.Power(**PLACE, rc=pixel, Ic=1.0, alpha=alpha).getmap(image)

    # Over a square pixel, the integral of 1/r is 4 ln(1 + sqrt(2)).
    assert draw(1.0)[10, 10] == pytest.approx(4 * np.log(1 + np.sqrt(2)), rel=1e-5)
    # In polar coordinates: 8 times the integral over an eighth of a turn of (cos(t) / 0.5)^(alpha - 2) / (2 - alpha).
    t = (np.polynomial.legendre.leggauss(40)[0] + 1) * np.pi / 8
    weights = np.polynomial.legendre.leggauss(40)[1] * np.pi / 8
    for alpha in (0.4, 1.7, 1.95):
        center = 8 * np.sum(weights * (0.5 / np.cos(t)) ** (2 - alpha)) / (2 - alpha)
        assert draw(alpha)[10, 10] == pytest.approx(center, rel=1e-4), alpha
        assert draw(alpha)[10, 5] == pytest.approx(5**-alpha, rel=0.02)


@pytest.mark.parametrize("alpha", [2, 2.0, 6.0, uniform(1, 2.5)])
def test_a_power_law_of_infinite_light_is_refused(make_image, pixel, alpha):
    image = make_image(shape=(9, 9))
    with pytest.raises(ModelError, match=r"comp_00_alpha must stay below 2, got .*: .* is infinite; Beta has a core"):
        Problem(image, Model(models.Power(**PLACE, rc=pixel, Ic=1.0, alpha=alpha)))
    # In a bridge the other law holds it back.
    Problem(image, Model(models.MesaBridge(**BRIDGE, **{"parallel.alpha": alpha})))


@pytest.mark.thorough
def test_a_power_law_of_nearly_infinite_light(make_image, pixel):
    free = models.Power(**PLACE, rc=pixel, Ic=1.0, alpha=uniform(1, 2))
    found = Problem(make_image(shape=(9, 9)), Model(free)).log_likelihood([[1.5], [2.0]])
    assert np.isfinite(found[0])
    assert found[1] == -np.inf
    tied = models.Power(**PLACE, rc=pixel, Ic=uniform(1, 3), alpha=lambda comp_00_Ic: comp_00_Ic)
    found = Problem(make_image(shape=(9, 9)), Model(tied)).log_likelihood([[1.5], [2.5]])
    assert np.isfinite(found[0])
    assert found[1] == -np.inf


def test_refactor():
    one = models.PolyExpoRefact(
        truncation=True, positive=True, **PLACE, rs=ARCSEC, Is=2.0, I1=0.5, I3=-0.1, e=0.2, rt=5 * ARCSEC, wt=ARCSEC
    )
    other = one.refactor()
    assert isinstance(other, models.PolyExponential)
    assert other.positive
    dx, dy = np.random.default_rng(2).normal(0, 3 * ARCSEC, (2, 30))
    np.testing.assert_allclose(brightness(other, dx, dy), brightness(one, dx, dy), rtol=1e-12)
    one.I1 = uniform(0, 1)
    with pytest.raises(ModelError, match="I1 must be numbers"):
        one.refactor()
    with pytest.raises(ModelError, match="Is = 0"):
        models.PolyExpoRefact(**PLACE, rs=1, Is=0).refactor()
