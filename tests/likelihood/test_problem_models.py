"""Models, priors and images of which a problem can be made, and those of which it cannot."""

import numpy as np
import numpyro.distributions as dist
import pytest

from socca import priors
from socca.errors import DataError, ModelError
from socca.likelihood.problem import Problem
from socca.models import Background, Disk, Gaussian, MesaBridge, Model, Point, Sersic, boundto
from socca.noise import Normal
from socca.priors import normal, uniform
from tests.likelihood.scenes import DATA, background


def test_components_of_two_models(make_image, pixel):
    first, second = (
        Background(a0=1.0),
        Disk(Gaussian(xc=0, yc=0, rs=pixel, Is=2.0), **{"vertical.zs": pixel}, losbins=16),
    )
    model = Model(first)
    model.addcomponent(second)
    drawn = Model(first).getmap(make_image(DATA), addbackground=True)
    np.testing.assert_array_equal(drawn, first.getmap(make_image(DATA)))
    second.getmap(make_image(DATA))  # which needs no model of its own
    assert (second.id, second.radial.id) == ("comp_01", "comp_01_radial")
    Model(second)
    with pytest.raises(ModelError, match="two components are called comp_00"):
        Problem(make_image(DATA), model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sersic(ns=normal(20, 1)), r"Sersic: ns ~ normal\(loc=20, scale=1\): next to none.*\[0.25, 10\]"),
        (lambda: Gaussian(e=normal(-0.5, 0.05)), r"Gaussian: e ~ normal.*\[0, 0.999999\]"),
        (lambda: Gaussian(rs=normal(-1, 0.1)), r"Gaussian: rs ~ normal.*\[0, inf\]"),
        (lambda: Sersic(ns=dist.Normal(20.0, 1.0)), r"Sersic: ns ~ numpyro Normal.*\[0.25, 10\]"),
        (lambda: Disk(**{"vertical.inc": normal(3, 0.1)}), r"inc ~ normal.*\[0, 1.5708\]"),
    ],
)
def test_priors_beyond_the_range(make, said):
    with pytest.raises(ModelError, match=said):
        make()


def test_priors_that_reach_beyond_the_range():
    # 4.75 sigma are 1e-6.
    Sersic(ns=normal(10 + 4.6, 1))
    with pytest.raises(ModelError, match="ns"):
        Sersic(ns=normal(10 + 4.9, 1))
    Gaussian(theta=normal(1000, 1))  # without a range


@pytest.mark.parametrize(
    ("component", "name"),
    [
        (Sersic(re=0, Ie=1), "comp_00_re"),
        (Gaussian(rs=0, Is=1, truncation=True, rt=1), "comp_00_rs"),
        (Gaussian(rs=1, Is=1, truncation=True, rt=0), "comp_00_rt"),
        (Background(rs=0, a0=1), "comp_00_rs"),
        (Disk(**{"radial.re": 1, "radial.Ie": 1, "vertical.zs": 0}), "comp_00_vertical.zs"),
        (MesaBridge(rs=0, Is=1), "comp_00_rs"),
    ],
)
def test_lengths_of_zero(make_image, component, name):
    for key in component.position_names:
        setattr(component, key, 0.0)
    with pytest.raises(ModelError, match=f"{name} = 0: .* must be positive"):
        Problem(make_image(DATA), Model(component))


def test_incomplete_models(make_image):
    with pytest.raises(ModelError, match="no component"):
        Problem(make_image(DATA), Model())
    with pytest.raises(ModelError, match=r"no value for comp_00_xc .*, comp_00_yc .*, comp_00_rs .*: give a number"):
        Problem(make_image(DATA), Model(Gaussian(Is=1.0)))


def test_unusable_images(make_image):
    image = make_image(DATA)
    image.mask[:] = 0
    with pytest.raises(DataError, match="masked"):
        Problem(image, background())
    with pytest.raises(DataError, match="shape"):
        Problem(make_image(DATA, noise=Normal(sigma=np.ones((3, 3)))), background())


def test_assignments():
    component = Gaussian()
    assert priors.boundto is boundto
    with pytest.raises(AttributeError, match=r"no parameter 'rss'.*did you mean 'rs'"):
        component.rss = 1
    with pytest.raises(AttributeError, match="rss"):
        _ = component.rss
    with pytest.raises(ModelError, match="did you mean 'rs'"):
        Gaussian(rss=1)
    for value in ("wide", [1, 2], np.nan, -1.0, None):
        with pytest.raises(ModelError, match="Gaussian: rs"):
            component.rs = value
    with pytest.raises(ModelError, match=r"Sersic: ns = 12 lies outside \[0.25, 10\]"):
        Sersic(ns=12)
    with pytest.raises(ModelError, match=r"ns.*bound.*12"):
        Sersic(ns=uniform(1, 12))
    assert component.rs is None


def test_models_know_their_parts():
    model = Model(Gaussian(xc=0, yc=0, rs=1, Is=uniform(0, 1)), positive=True)
    other = model.addcomponent(Point(xc=0, yc=0, Ic=1), label="star")
    assert model.ncomp == 2
    assert model.type == ["Gaussian", "Point"]
    assert model.positive == [True, False]
    assert [model.params[i] for i in model.paridx] == ["comp_00_Is"]
    assert model.labels["comp_01_Ic"] == "star.Ic"
    assert model.units["comp_01_Ic"] == "image"
    assert other.id == "comp_01"
    assert other.parlist() == ["xc", "yc", "Ic"]
    assert "comp_00_Is" in model.parameters(freeonly=True)
    assert "star" not in model.parameters(freeonly=True)
    assert "star.Ic" in model.parameters()
    with pytest.raises(ModelError, match="already"):
        model.addcomponent(other)
    with pytest.raises(ModelError, match="component"):
        model.addcomponent(3)
