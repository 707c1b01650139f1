"""Ties of a problem's parameters."""

import numpy as np
import pytest

from socca.errors import ModelError
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model, Tie, boundto
from socca.parameters.expressions import parse
from socca.priors import uniform
from tests.likelihood.scenes import DATA, background


def test_ties(make_image):
    image = make_image(DATA)
    first = Background(a0=uniform(0, 2), a1x=lambda comp_01_a1y, comp_00_a0: comp_01_a1y + comp_00_a0)
    model = Model(first)
    second = Background(a1x=Tie(("comp_01_a1y", "comp_00_a0"), parse("max(comp_01_a1y, comp_00_a0 / 4) - 1")))
    second.a1y = boundto(first, "a0")
    model.addcomponent(second)
    assert [name for name, tied in zip(model.params, model.tied, strict=True) if tied] == [
        "comp_00_a1x",
        "comp_01_a1x",
        "comp_01_a1y",
    ]
    problem = Problem(image, model)
    assert problem.names == ["comp_00_a0"]
    values = {name: float(v[0]) for name, v in problem.values([1.2]).items()}
    assert values["comp_01_a1y"] == pytest.approx(1.2)
    assert values["comp_01_a1x"] == pytest.approx(0.2)
    assert values["comp_00_a1x"] == pytest.approx(2.4)


def test_tied_out_of_range(make_image, pixel):
    tied = Gaussian(xc=0, yc=0, rs=2 * pixel, Is=uniform(0, 2), e=lambda comp_00_Is: comp_00_Is)  # noqa: N803
    got = Problem(make_image(DATA), Model(tied)).log_likelihood([[0.5], [1.5], [-0.1]])
    assert np.isfinite(got[0])
    assert list(got[1:]) == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    "values",
    [
        {"a1x": lambda comp_00_a1x: comp_00_a1x},
        {"a1x": lambda comp_00_a1y: comp_00_a1y, "a1y": lambda comp_00_a1x: comp_00_a1x},
        {
            "a1x": Tie(("comp_00_a1y",), parse("comp_00_a1y")),
            "a1y": lambda comp_00_a2xx: 1,
            "a2xx": lambda comp_00_a1x: 1,
        },
    ],
)
def test_circular_ties(make_image, values):
    with pytest.raises(ModelError, match=r"circle.*comp_00_a1x"):
        Problem(make_image(DATA), background(**values))


def test_ties_to_nothing(make_image):
    with pytest.raises(ModelError, match=r"comp_00_a1x.*'comp_00_ao'.*did you mean 'comp_00_a0'"):
        Problem(make_image(DATA), background(a1x=lambda comp_00_ao: comp_00_ao))
    for function in (lambda: 1.0, lambda *args: 1.0, lambda **kwargs: 1.0):
        with pytest.raises(ModelError, match="comp_00_a1x"):
            Problem(make_image(DATA), background(a1x=function))
    with pytest.raises(ModelError, match="comp_00_a1x is bound to a0 of a Background that is not part of this model"):
        Problem(make_image(DATA), background(a1x=boundto(Background(), "a0")))
    with pytest.raises(ModelError, match="did you mean 'a1"):
        boundto(background().components[0], "a1z")
