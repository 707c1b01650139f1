# ruff: noqa: N803  (the names of the parameters)
"""Brightness of every component against formulas written down independently, and what parts and parameters do."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaln, gammaincinv

from socca import models
from socca.errors import ModelError
from socca.likelihood.parameter_vector import all_values, compile_model
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, CustomProfile, Disk, MesaBridge, Model, Radial, SimpleBridge, boundto
from socca.models.disk import ExponentialHeight, HyperSecantHeight
from socca.models.radial import truncation
from socca.models.radial.base import covered
from socca.priors import uniform

ARCSEC = 1 / 3600
PLACE = {"xc": 0.0, "yc": 0.0}


def brightness(component, dx, dy, **changed):
    """Evaluate a component whose parameters are all numbers."""
    with jax.enable_x64(True):
        values = {name: jnp.asarray(value) for name, value in (component.values | changed).items()}
        found = jax.jit(
            lambda dx, dy, values: type(component).brightness(dx, dy, values, component.spec(), 1e-9 * jnp.eye(2))
        )(jnp.asarray(dx), jnp.asarray(dy), values)
        return np.asarray(found)


def projected(x, alpha, beta, gamma):
    """Integrate the spherical profile of gNFW along the line of sight, relative to the centre."""

    def integrand(t):
        log = np.log(x) + np.logaddexp(t, -t) - np.log(2)
        return np.exp((1 - gamma) * log + (gamma - beta) / alpha * np.logaddexp(0, alpha * log))

    turn = max(1.0, -np.log(x))
    cuts = [0, max(0.5, turn - 3), turn, turn + 3, turn + 60 / (beta - 1)]
    total = sum(quad(integrand, *ends, epsabs=0, epsrel=1e-10, limit=200)[0] for ends in itertools.pairwise(cuts))
    return alpha * total / np.exp(betaln((1 - gamma) / alpha, (beta - 1) / alpha))


def polynomial(r, rs, first, others, rc):
    return np.exp(-r / rs) * (first + sum(c * (r / rc) ** k for k, c in enumerate(others, 1)))


LAWS = {
    "Sersic": lambda r, re, Ie, ns: Ie * np.exp(-gammaincinv(2 * ns, 0.5) * ((r / re) ** (1 / ns) - 1)),
    "Gaussian": lambda r, rs, Is: Is * np.exp(-((r / rs) ** 2) / 2),
    "Exponential": lambda r, rs, Is: Is * np.exp(-r / rs),
    "PolyExponential": lambda r, rs, Is, c1, c2, c3, c4, rc: Is * polynomial(r, rs, 1, (c1, c2, c3, c4), rc),
    "PolyExpoRefact": lambda r, rs, Is, I1, I2, I3, I4, rc: polynomial(r, rs, Is, (I1, I2, I3, I4), rc),
    "ModExponential": lambda r, rs, Is, rm, alpha: Is * np.exp(-r / rs) * (1 + r / rm) ** alpha,
    "Beta": lambda r, rc, Ic, alpha, beta: Ic * (1 + (r / rc) ** alpha) ** -beta,
    "gNFW": lambda r, rc, Ic, alpha, beta, gamma: (
        Ic * np.array([projected(x, alpha, beta, gamma) for x in np.ravel(r / rc)]).reshape(np.shape(r))
    ),
    "Power": lambda r, rc, Ic, alpha: Ic * (r / rc) ** -alpha,
    "TopHat": lambda r, rc, Ic: Ic * (r < rc),
}
CUSTOM = {"scale": "deg", "height": "image", "slope": ""}


def custom_law(r, scale, height, slope):
    return height * jnp.exp(-((r / scale) ** slope))


def new(kind, **values):
    """Make a component of any kind."""
    options = {"parameters": CUSTOM, "profile": custom_law} if kind is CustomProfile else {}
    return kind(**options, **values)


def numbers(component, rng):
    """Return random numbers for all parameters of a component but its position."""
    found = {}
    for name, field in component.fields.items():
        upper = min(field.upper, component.upper_limits.get(name, (np.inf,))[0])
        if name.split(".")[-1] in ("xc", "yc"):
            found[name] = 0.0
        elif field.unit == "deg":
            found[name] = rng.uniform(1, 3) * ARCSEC
        elif field.unit == "image":
            found[name] = rng.uniform(0.5, 2)
        elif np.isfinite(upper - field.lower):
            found[name] = field.lower + rng.uniform(0.1, 0.4) * (upper - field.lower)
        else:
            found[name] = (field.default or 0.3) * rng.uniform(0.8, 1.2)
    return found


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


@pytest.mark.parametrize("name", sorted(LAWS))
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


def test_truncations():
    r = np.linspace(0, 12, 50) * ARCSEC
    rt, wt = 6 * ARCSEC, 1.5 * ARCSEC
    formulas = {
        "Exponential": np.maximum(0, (1 - np.exp((r - rt) / wt)) / (1 - np.exp(-rt / wt))),
        "HyperTangent": (1 - np.tanh((r - rt) / wt)) / (1 - np.tanh(-rt / wt)),
    }
    assert set(truncation.REGISTRY) == set(formulas)
    for name in LAWS:
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
    assert models.Beta(truncation=True).truncation is truncation.Exponential
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


def test_a_power_law_of_nearly_infinite_light(make_image, pixel):
    free = models.Power(**PLACE, rc=pixel, Ic=1.0, alpha=uniform(1, 2))
    found = Problem(make_image(shape=(9, 9)), Model(free)).log_likelihood([[1.5], [2.0]])
    assert np.isfinite(found[0])
    assert found[1] == -np.inf
    tied = models.Power(**PLACE, rc=pixel, Ic=uniform(1, 3), alpha=lambda comp_00_Ic: comp_00_Ic)
    found = Problem(make_image(shape=(9, 9)), Model(tied)).log_likelihood([[1.5], [2.5]])
    assert np.isfinite(found[0])
    assert found[1] == -np.inf


# Profiles of one's own.


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
        ([{"name": "a", "unti": "deg"}], "a * r", "did you mean 'unit'"),
        ({"a": "arcsec"}, "a * r", "CustomProfile: a: unit 'arcsec': a parameter is held in deg, rad, image"),
    ],
)
def test_custom_mistakes(parameters, profile, said):
    with pytest.raises(ModelError, match=said):
        CustomProfile(parameters, profile)


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


# Disks.


def seen_disk(disk, dx, dy, reach):
    """Integrate along the line of sight adaptively, out to a reach."""
    plane, height = disk.radial, disk.vertical
    sin, cos = np.sin(height.inc), np.cos(height.inc)
    own = {key: getattr(plane, key) for key in plane.law_fields()}
    truth = []
    for x, y in zip(dx, dy, strict=True):
        major = x * np.sin(plane.theta) + y * np.cos(plane.theta)
        minor = x * np.cos(plane.theta) - y * np.sin(plane.theta)

        def integrand(at, major=major, minor=minor):
            r = np.hypot(major, (minor * cos + at * sin) / (1 - plane.e))
            z = np.abs(-minor * sin + at * cos) / height.zs
            law = LAWS[type(plane).__name__](r, **own)
            thin = np.exp(-z) if isinstance(height, ExponentialHeight) else np.cosh(min(z, 300)) ** -height.alpha
            return law * thin

        special = [minor * sin / max(cos, 1e-9), -minor * cos / max(sin, 1e-9), 0.0]
        widths = [height.zs / max(cos, 1e-3), abs(major), 0.1 * ARCSEC, ARCSEC, 5 * ARCSEC]
        near = [at + side * n * width for at in special for width in widths for side in (-1, 1) for n in (0, 1, 4)]
        cuts = np.unique(np.clip([-reach, reach, *near], -reach, reach))
        truth.append(sum(quad(integrand, *ends, epsabs=0, epsrel=1e-9)[0] for ends in itertools.pairwise(cuts)))
    thickness = (
        2
        * quad(lambda z: np.exp(-z) if isinstance(height, ExponentialHeight) else np.cosh(z) ** -height.alpha, 0, 200)[
            0
        ]
    )
    return np.array(truth) / (thickness * height.zs)


@pytest.mark.parametrize("inc", [0.0, 0.5, 1.2, 1.5, np.pi / 2])
@pytest.mark.parametrize("vertical", [HyperSecantHeight(zs=0.03 * ARCSEC, alpha=1.3), ExponentialHeight(zs=ARCSEC)])
@pytest.mark.parametrize(
    "radial",
    [
        models.Sersic(**PLACE, re=3 * ARCSEC, Ie=1.0, ns=3.0, theta=0.4, e=0.2),
        models.Exponential(**PLACE, rs=2 * ARCSEC, Is=1.0),
    ],
)
def test_disk_is_the_line_of_sight_integral(radial, vertical, inc):
    vertical.inc = inc
    disk = Disk(radial, vertical, losdepth=200 * ARCSEC)
    dx, dy = np.random.default_rng(3).normal(0, 3 * ARCSEC, (2, 8)) * np.geomspace(0.03, 2, 8)
    truth = seen_disk(disk, dx, dy, 200 * ARCSEC)
    # Measured: 1e-5 for the cusp of a Sersic profile seen near to edge-on, 1e-7 elsewhere.
    np.testing.assert_allclose(brightness(disk, dx, dy), truth, rtol=3e-5, atol=3e-7 * truth.max())
    if inc == 0:
        plain = brightness(radial, dx, dy)
        np.testing.assert_allclose(brightness(disk, dx, dy), plain, rtol=1e-8)


def test_flux_of_a_disk_is_that_of_its_law_at_any_inclination(make_image, pixel):
    image = make_image(shape=(61, 61))
    law = models.Gaussian(**PLACE, rs=5 * pixel, Is=1.0)
    for inc in (0.0, 0.7, 1.4):
        disk = Disk(law, ExponentialHeight(zs=0.8 * pixel, inc=inc), losdepth=80 * pixel)
        assert disk.getmap(image).sum() == pytest.approx(2 * np.pi * 25, rel=2e-4)


def test_disk_of_a_top_hat(make_image, pixel):
    disk = Disk(models.TopHat(**PLACE, rc=8 * pixel, Ic=1.0), HyperSecantHeight(zs=0.5 * pixel, inc=1.0))
    disk.losdepth = 60 * pixel
    got = disk.getmap(make_image(shape=(41, 41)))
    assert got.sum() == pytest.approx(np.pi * 64, rel=3e-3)
    assert got[20, 20] == pytest.approx(1 / np.cos(1.0), rel=1e-3)


def test_parts_of_a_disk_are_its_parameters():
    disk = Disk(**{"radial.re": ARCSEC, "radial.xc": 0.0, "radial.yc": 0.0, "vertical.zs": uniform(0, 1)})
    assert {name.split(".")[0] for name in disk.parlist()} == {"radial", "vertical"}
    assert disk.radial.re == ARCSEC
    disk.radial.re = 2 * ARCSEC
    disk.radial.Ie = 3.0
    assert getattr(disk, "radial.re") == 2 * ARCSEC
    disk.vertical.alpha = lambda comp_00_radial_ns: 2 * comp_00_radial_ns
    other = models.Sersic(Ie=1.0)
    model = Model(disk)
    model.addcomponent(other)
    assert (disk.radial.id, disk.vertical.id) == ("comp_00_radial", "comp_00_vertical")
    other.re, other.xc, other.yc = boundto(disk.radial, "re"), boundto(disk, "radial.xc"), boundto(disk.radial, "yc")
    other.ns = lambda comp_00_vertical_alpha: comp_00_vertical_alpha + 1
    spec, arrays = compile_model(model.components)
    with jax.enable_x64(True):
        values = {name: float(value) for name, value in all_values(spec, arrays, jnp.array([0.5])).items()}
    assert values["comp_01_re"] == pytest.approx(2 * ARCSEC)
    assert values["comp_01_ns"] == pytest.approx(2)
    assert values["comp_00_vertical.zs"] == 0.5
    with pytest.raises(ModelError, match=r"did you mean 'radial.re'"):
        Disk(**{"radial.ree": 1})
    with pytest.raises(AttributeError, match="no parameter 'ree'"):
        disk.radial.ree = 1
    with pytest.raises(ModelError, match="'radial' cannot be the name"):
        disk.addparameter("radial", 1)


def test_parts_belong_to_one_component():
    law = models.Sersic(**PLACE)
    law.addparameter("before", 1.0)
    disk = Disk(law)
    assert "radial.before" in disk.parlist()
    for change in (lambda: law.addparameter("after", 1.0), lambda: law.removeparameter("before")):
        with pytest.raises(ModelError, match="Sersic is the radial profile of a Disk"):
            change()
    disk.addparameter("after", 1.0)
    model = Model(disk)
    for other in (Disk(law), law):
        with pytest.raises(ModelError, match="comp_00_radial is part of this model already: add another Sersic"):
            model.addcomponent(other)
    with pytest.raises(ModelError, match="comp_00 is part of this model already"):
        Model(law).addcomponent(Disk(law))
    with pytest.raises(ModelError, match="parallel and radial are the same object"):
        SimpleBridge(*[models.Beta()] * 2)
    assert model.ncomp == 1


@pytest.mark.parametrize("make", [lambda: Disk(radial=models.Point()), lambda: Disk(vertical=models.Sersic())])
def test_wrong_parts_of_a_disk(make):
    with pytest.raises(ModelError, match=r"Disk: (radial|vertical) must be a"):
        make()


@pytest.mark.parametrize("options", [{"losbins": 3}, {"losbins": 50.5}, {"losdepth": 0}, {"losdepth": "1 arcsec"}])
def test_wrong_line_of_sight(options):
    with pytest.raises(ModelError, match="Disk: los"):
        Disk(**options)
    disk = Disk()
    for key, value in options.items():
        setattr(disk, key, value)
    with pytest.raises(ModelError, match="Disk: los"):
        disk.spec()


def test_memory_of_a_disk_does_not_grow_with_its_points():
    def needed(bins):
        disk = Disk(models.Exponential(**PLACE, rs=ARCSEC, Is=1.0), ExponentialHeight(zs=0.1 * ARCSEC), losbins=bins)
        values = {name: jnp.asarray(value) for name, value in disk.values.items()}
        at = jnp.ones((64, 64))
        total = jax.grad(lambda values: Disk.brightness(at, at, values, disk.spec(), jnp.eye(2)).sum())
        return jax.jit(total).lower(values).compile().memory_analysis().temp_size_in_bytes

    assert needed(800) < 1.1 * needed(100)


# Bridges.

BRIDGE = PLACE | {"rs": 5 * ARCSEC, "Is": 2.0, "theta": 0.6, "e": 0.4}


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
        models.Exponential(truncation=True),
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
        (None, None),
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


# Parameters that are added, for any component.


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
    with pytest.raises(ModelError, match="was not added"):
        component.removeparameter(amplitude)
    with pytest.raises(ModelError, match="third: unit 'degree'"):
        component.addparameter("third", 1, "degree")
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


def test_edges_are_never_negative(make_image, pixel):
    # Rounding beyond an edge, below zero, would rule the model out.
    problem = Problem(
        make_image(shape=(41, 41)),
        Model(SimpleBridge(xc=0, yc=0, rs=5 * pixel, Is=1, theta=uniform(0, np.pi), positive=True)),
    )
    assert np.all(np.isfinite(problem.log_likelihood([[0.0], [0.3], [1.1], [2.5]])))
