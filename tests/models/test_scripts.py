"""Components and models as scripts call them: positional and by keyword, changed after they are made."""

import numpy as np
import pytest

from socca import models
from socca.errors import ModelError
from socca.likelihood.parameter_vector import ComponentOrderWarning
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, Background, Beta, CustomProfile, Disk, Gaussian, Model, Point, Sersic
from socca.models.disk import ExponentialHeight, HyperSecantHeight
from socca.models.radial.truncation import Exponential, HyperTangent
from socca.priors import boundto, normal, uniform
from tests.models.laws import ARCSEC, PLACE, numbers
from tests.models.test_registry import new

KINDS = sorted(REGISTRY)


@pytest.fixture
def scene(make_image, make_psf, pixel):
    """An image with a PSF, and a model of two stars and a sky."""
    image = make_image(shape=(17, 19), psf=make_psf(sigma=1.4))
    first, star, sky = Point(xc=pixel, yc=0.0, Ic=30.0), Point(xc=-2 * pixel, yc=pixel, Ic=20.0), Background(a0=0.5)
    model = Model(first)
    model.addcomponent(star, label="star")
    model.addcomponent(sky)
    return image, model, (first, star, sky)


def test_getmap_is_the_sum_of_the_components_maps(scene):
    image, model, (first, star, sky) = scene
    sharp = first.getmap(image) + star.getmap(image)
    np.testing.assert_allclose(model.getmap(image), sharp, rtol=0, atol=1e-12)
    for none in (None, False):
        np.testing.assert_array_equal(model.getmap(image, none), model.getmap(image))
        np.testing.assert_array_equal(model.getmap(img=image, convolve=none, addbackground=False), model.getmap(image))
    blurred = first.getmap(image, True) + star.getmap(image, convolve=True)
    np.testing.assert_allclose(model.getmap(image, True), blurred, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.getmap(image, True, True), blurred + sky.getmap(image), rtol=0, atol=1e-12)
    assert np.abs(blurred - sharp).max() > 0.1


def test_getmodel_is_raw_smoothed_background_negative(make_image, pixel):
    image = make_image(shape=(17, 19))
    galaxy = Gaussian(xc=pixel, yc=0.0, rs=2 * pixel, Is=uniform(0, 10))
    model = Model(galaxy)
    model.addcomponent(Background(a0=0.5))
    found = model.getmodel(image, [3.0])
    raw, smoothed, background, negative = found
    np.testing.assert_array_equal(background, np.full(image.shape, 0.5))
    np.testing.assert_array_equal(smoothed, raw + background)
    np.testing.assert_array_equal(found.total, smoothed)
    np.testing.assert_array_equal(found.sources, smoothed - background)
    assert not negative
    again = model.getmodel(img=image, pp=[3.0], doresp=False, doexp=False, component=None)
    np.testing.assert_array_equal(again.smoothed, smoothed)
    galaxy.Is = 3.0
    np.testing.assert_allclose(raw, galaxy.getmap(image), rtol=0, atol=1e-12)


def test_getmodel_of_components_by_any_name(scene):
    image, model, (first, star, sky) = scene
    alone = model.getmodel(image, [], False, False, "comp_01").smoothed
    np.testing.assert_allclose(alone, star.getmap(image, True), rtol=0, atol=1e-12)
    for name in ("star", 1, -2, np.int64(1), star, ["star"], [1], (star,)):
        np.testing.assert_array_equal(model.getmodel(image, [], component=name).smoothed, alone)
    both = model.getmodel(image, [], component=[0, sky]).smoothed
    np.testing.assert_allclose(both, first.getmap(image, True) + 0.5, rtol=0, atol=1e-12)
    for unknown, said in [("stra", "'stra'"), (3, "3"), (True, "True"), (Point(), "this Point"), ([0, 9], "9")]:
        with pytest.raises(ModelError, match=f"no component {said}; known: comp_00, comp_01, star"):
            model.getmodel(image, [], component=unknown)


@pytest.mark.parametrize("given", [HyperTangent, HyperTangent(), "HyperTangent", True])
def test_a_truncation_of_any_kind(given):
    for component in (Beta(truncation=given), Beta(given)):
        assert component.truncation is HyperTangent
        assert (component.rt, component.wt) == (None, 0.01)
    later = Beta()
    later.truncation = given
    assert later.spec() == Beta(truncation=given).spec()
    assert later.parlist() == Beta(truncation=given).parlist()


def test_a_missing_value_is_told_with_its_meaning(make_image):
    """A user who only switched the truncation on has not met the name of its radius yet."""
    galaxy = Beta(**PLACE, rc=ARCSEC, Ic=1.0, truncation=True)
    with pytest.raises(
        ModelError, match=r"no value for comp_00_rt \(radius of the truncation\): give a number, a prior or"
    ):
        Problem(make_image(), Model(galaxy))


def test_a_truncation_with_values(make_image, pixel):
    prior = uniform(pixel, 9 * pixel)
    one = Gaussian(truncation=Exponential(rt=prior, wt=pixel), **PLACE, rs=3 * pixel, Is=1.0)
    assert (one.truncation, one.rt, one.wt) == (Exponential, prior, pixel)
    other = Gaussian(**PLACE, rs=3 * pixel, Is=1.0)
    plain = other.getmap(make_image(shape=(21, 21)))
    other.truncation = Exponential(4 * pixel, pixel)
    cut = other.getmap(make_image(shape=(21, 21)))
    r = np.hypot(*(np.indices((21, 21)) - 10))
    assert np.all(cut[r > 6] == 0)
    assert np.all(plain[r > 6] > 0)
    with pytest.raises(ModelError, match=r"rt is a parameter of the component .*: write component\.rt = "):
        other.truncation.rt = 3 * pixel
    other.truncation = HyperTangent  # keeps the values
    assert (other.truncation, other.rt, other.wt) == (HyperTangent, 4 * pixel, pixel)
    other.truncation = None
    np.testing.assert_array_equal(other.getmap(make_image(shape=(21, 21))), plain)
    with pytest.raises(AttributeError, match="no parameter 'rt'"):
        other.rt = 1
    with pytest.raises(ModelError, match="Gaussian: rt is given twice"):
        Gaussian(truncation=Exponential(rt=1.0), rt=2.0)
    with pytest.raises(ModelError, match="did you mean 'HyperTangent'"):
        other.truncation = "HyperTan"
    with pytest.raises(ModelError, match="a parameter 'rt' of its own"):
        CustomProfile({"rt": "deg"}, lambda r, rt: r / rt).truncation = True


def test_a_part_keeps_the_parameters_that_its_disk_knows():
    disk = Disk(Beta(truncation=Exponential(rt=1.0)))
    disk.radial.truncation = HyperTangent(rt=2.0)
    assert (disk.spec().structure.radial.structure.truncation, getattr(disk, "radial.rt")) == (HyperTangent, 2)
    with pytest.raises(ModelError, match=r"the radial profile of a Disk, .*: give it its truncation before"):
        disk.radial.truncation = None


def test_the_line_of_sight_is_the_vertical_profiles_too(make_image, pixel):
    values = {"losdepth": 60 * pixel, "losbins": 64}
    one = Disk(Gaussian(**PLACE, rs=3 * pixel, Is=1.0), HyperSecantHeight(zs=pixel, inc=0.6), **values)
    assert (one.vertical.losdepth, one.vertical.losbins) == (60 * pixel, 64)
    other = Disk(Gaussian(**PLACE, rs=3 * pixel, Is=1.0), HyperSecantHeight(zs=pixel, inc=0.6, **values))
    last = Disk(Gaussian(**PLACE, rs=3 * pixel, Is=1.0), HyperSecantHeight(zs=pixel, inc=0.6))
    assert (last.losdepth, last.vertical.losbins) == (10 * ARCSEC, 200)
    last.vertical.losdepth = 60 * pixel
    last.losbins = 64
    assert one.spec() == other.spec() == last.spec()
    image = make_image(shape=(15, 15))
    np.testing.assert_array_equal(one.getmap(image), last.getmap(image))
    last.vertical.losbins = 3
    with pytest.raises(ModelError, match="losbins = 3"):
        last.getmap(image)


def test_the_whole_range_of_ellipticities(make_image, pixel):
    for kind, extra in ((Sersic, {"ns": 1.0}), (models.SimpleBridge, {})):
        component = new(kind, e=uniform(0, 1), **extra)
        assert component.e.high == 1
        with pytest.raises(ModelError, match="e = 1 lies outside"):
            component.e = 1.0
        with pytest.raises(ModelError, match=r"bound = 1\.1"):
            component.e = uniform(0, 1.1)
    galaxy = Sersic(**PLACE, e=uniform(0, 1), cbox=uniform(-2, 1), re=3 * pixel, Ie=1.0, ns=1.0)
    problem = Problem(make_image(shape=(15, 15)), Model(galaxy))
    u = np.array([[0.0, 0.7], [0.5, 0.7], [0.999999, 0.7], [np.nextafter(1, 0), 0.7], [1.0, 0.0]])
    value, slope = problem.log_likelihood_and_grad(problem.prior_transform(u))
    assert np.isfinite(value).tolist() == [True, True, True, False, False]
    assert np.all(np.isfinite(slope[:3]))
    assert not np.any(np.isnan(value))


def test_a_component_is_drawn_without_what_was_removed(make_image, pixel):
    image = make_image(shape=(9, 9))
    galaxy = Gaussian(**PLACE, rs=2 * pixel, Is=1.0, e=0.5, theta=0.3, cbox=0.2)
    galaxy.removeparameter("e")
    galaxy.removeparameter("cbox")
    np.testing.assert_array_equal(
        galaxy.getmap(image), Gaussian(**PLACE, rs=2 * pixel, Is=1.0, theta=0.3).getmap(image)
    )


def test_any_unit_of_an_added_parameter(make_image, pixel):
    galaxy = Gaussian(**PLACE, rs=2 * pixel, Is=1.0)
    galaxy.addparameter("flux", uniform(0, 1), "Jy / beam", "peak flux")
    galaxy.addparameter(name="mass", value=None, units="solMass", description="")
    galaxy.addparameter("plain")
    assert [galaxy.units[name] for name in ("flux", "mass", "plain")] == ["Jy / beam", "solMass", ""]
    assert galaxy.description["flux"] == "peak flux"
    assert "Jy / beam" in galaxy.parameters()
    model = Model(galaxy)
    assert model.units["comp_00_flux"] == "Jy / beam"
    with pytest.raises(ModelError, match="no value for comp_00_mass, comp_00_plain"):
        Problem(make_image(), model)
    galaxy.mass, galaxy.plain = 1.0, 2.0
    problem = Problem(make_image(), model)
    assert (problem.labels, problem.units) == (["comp_00_flux"], ["Jy / beam"])
    # What is shown is not computed with: not an intensity, nor an angle.
    other = Gaussian(**PLACE, rs=2 * pixel, Is=1.0)
    for name in ("flux", "mass", "plain"):
        other.addparameter(name, 1.0)
    assert other.spec() == galaxy.spec()


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_that_a_component_can_do_without(kind):
    component = new(REGISTRY[kind])
    values = numbers(component, np.random.default_rng(3))
    component = new(REGISTRY[kind], **values)
    own = list(component.parlist())
    optional = [name for name in own if "." not in name and component.fields[name].default is not None]
    for name in own:
        if name in optional:
            component.removeparameter(name)
            with pytest.raises(AttributeError, match=f"the parameter '{name}' was removed"):
                getattr(component, name)
            with pytest.raises(AttributeError, match="was removed: add it again first"):
                setattr(component, name, 1.0)
        else:
            with pytest.raises(ModelError, match=f"'{name}' cannot be removed"):
                component.removeparameter(name)
    left = [name for name in own if name not in optional]
    assert component.parlist() == left
    assert list(component.units) == list(component.description) == left
    model = Model(component)
    assert model.params == [f"comp_00_{name}" for name in left]
    assert len(model.priors) == len(model.tied) == len(model.units) == len(left)
    # It is that with its defaults: the same static part, and the same numbers.
    plain = new(REGISTRY[kind], **{name: value for name, value in values.items() if name not in optional})
    assert component.values == plain.values
    assert component.spec() == plain.spec()
    for name in optional:
        component.addparameter(name, values[name])
    assert component.spec() == new(REGISTRY[kind], **values).spec()
    assert component.parlist() == own
    with pytest.raises(ModelError, match="'nonsense' cannot be removed: there is no such parameter"):
        component.removeparameter("nonsense")


def test_a_component_has_its_id_from_the_beginning(make_image, pixel):
    one, two = Gaussian(**PLACE, rs=pixel, Is=1.0), Gaussian(**PLACE, rs=pixel, Is=1.0)
    assert one.id < two.id
    assert one.id.startswith("comp_")
    disk = Disk()
    assert (disk.radial.id, disk.vertical.id) == (f"{disk.id}_radial", f"{disk.id}_vertical")
    name = disk.radial.id
    Disk(disk.radial)  # of which it is no second part
    assert disk.radial.id == name
    model = Model(one)
    model.addcomponent(two)
    assert (one.id, two.id) == ("comp_00", "comp_01")


@pytest.mark.parametrize("early", [True, False])
def test_bound_before_it_is_in_a_model(make_image, pixel, early):
    bulge = Gaussian(xc=uniform(-pixel, pixel), yc=0.0, rs=pixel, Is=1.0)
    halo = Gaussian(xc=boundto(bulge, "xc"), yc=boundto(comp=bulge, var="yc"), rs=3 * pixel, Is=1.0)
    disk = Disk(Gaussian(**PLACE, rs=pixel, Is=1.0), ExponentialHeight(zs=pixel))
    disk.radial.rs = boundto(halo, "rs")
    halo.e = boundto(disk.radial, "e")
    model = Model()
    for component in (bulge, halo, disk) if early else (disk, halo, bulge):
        model.addcomponent(component)
    assert f"tied to {bulge.id}_xc" in halo.parameters()
    problem = Problem(make_image(shape=(9, 9)), model)
    values = problem.values([[0.3 * pixel]])
    assert values[f"{halo.id}_xc"] == values[f"{bulge.id}_xc"] == 0.3 * pixel
    assert values[f"{disk.id}_radial.rs"] == 3 * pixel
    with pytest.raises(ModelError, match="boundto: Gaussian has no parameter 'rss'"):
        boundto(halo, "rss")


def test_bound_to_a_component_of_another_model(make_image, pixel):
    bulge, other = Gaussian(**PLACE, rs=pixel, Is=1.0), Gaussian(**PLACE, rs=pixel, Is=2.0)
    Model(bulge)
    model = Model(other)  # in which other is called comp_00, as bulge is in its own
    model.addcomponent(Gaussian(**PLACE, rs=boundto(bulge, "rs"), Is=1.0))
    with pytest.raises(ModelError, match="comp_01_rs is bound to rs of a Gaussian that is not part of this model"):
        Problem(make_image(), model)


def test_functions_of_components_in_another_order_than_they_were_made(make_image, pixel):
    first, second = Gaussian(**PLACE, rs=pixel, Is=1.0), Gaussian(**PLACE, rs=pixel, Is=1.0)
    third = Gaussian(**PLACE, rs=lambda comp_00_rs: 2 * comp_00_rs, Is=1.0)
    model = Model(second)
    model.addcomponent(first)
    model.addcomponent(third)
    with pytest.warns(ComponentOrderWarning, match="comp_02_rs: components are numbered in the order"):
        Problem(make_image(), model)
    third.rs = boundto(first, "rs")
    Problem(make_image(), model)  # warnings are errors


@pytest.mark.parametrize(
    ("tie", "said"),
    [
        (lambda *sizes: 1.0, "a tie's arguments must be names of parameters"),
        (lambda: 1.0, "a tie's arguments must be names of parameters"),
        (dict, "cannot tell the arguments of"),
    ],
)
def test_a_tie_has_named_arguments(make_image, tie, said):
    with pytest.raises(ModelError, match=f"rs: {said}"):
        Problem(make_image(), Model(Gaussian(**PLACE, rs=tie, Is=1.0)))


def test_mistakes_in_models(make_image, pixel):
    with pytest.raises(ModelError, match="expected a component, got float"):
        Model().addcomponent(1.0)
    with pytest.raises(ModelError, match=r"free: comp_00_Is\. Use getmodel"):
        Model(Gaussian(**PLACE, rs=pixel, Is=uniform(0, 1))).getmap(make_image())
    # A prior without a bound, far outside the range.
    with pytest.raises(ModelError, match=r"next to none of it .* lies within \[0, 0\.999999\]"):
        Gaussian(e=normal(50, 1))
