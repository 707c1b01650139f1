"""Disks: light along the line of sight, and the parts of a disk."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from socca import models
from socca.errors import ModelError
from socca.likelihood.parameter_vector import all_values, compile_model
from socca.models import Disk, Model, SimpleBridge, boundto
from socca.models.disk import ExponentialHeight, HyperSecantHeight
from socca.priors import uniform
from tests.models.laws import ARCSEC, LAWS, PLACE, brightness


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


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_memory_of_a_disk_does_not_grow_with_its_points():
    def needed(bins):
        disk = Disk(models.Exponential(**PLACE, rs=ARCSEC, Is=1.0), ExponentialHeight(zs=0.1 * ARCSEC), losbins=bins)
        values = {name: jnp.asarray(value) for name, value in disk.values.items()}
        at = jnp.ones((64, 64))
        total = jax.grad(lambda values: Disk.brightness(at, at, values, disk.spec(), jnp.eye(2)).sum())
        return jax.jit(total).lower(values).compile().memory_analysis().temp_size_in_bytes

    assert needed(800) < 1.1 * needed(100)
