"""What cannot be integrated out."""

import numpy as np
import pytest

from socca.errors import ModelError
from socca.likelihood.marginal import Marginal
from socca.models import Background, CustomProfile, Gaussian, Point, Tie
from socca.noise import Normal, Poisson, StudentT
from socca.priors import loguniform, normal, uniform
from tests.likelihood.amplitudes import SHAPE, components, tied


@pytest.mark.parametrize("noise", [StudentT(sigma=1.0), Poisson(background=1.0)], ids=["studentt", "poisson"])
def test_other_noise_is_refused(problem_of, pixel, noise):
    problem = problem_of(components(pixel), noise, data=np.ones(SHAPE))
    with pytest.raises(ModelError, match="is not Gaussian"):
        Marginal(problem)


def test_no_amplitude_is_refused(problem_of, pixel):
    parts = (Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=loguniform(0.1, 10)),)
    for noise in (Normal(sigma=1.0), Normal(sigma=1.0, floor=uniform(0, 1))):
        with pytest.raises(ModelError, match="no intensity of a component has a normal or a uniform prior"):
            Marginal(problem_of(parts, noise))


def test_nothing_left_to_sample_is_refused(problem_of):
    parts = (Point(xc=0, yc=0, Ic=uniform(0, 10)), Background(a0=normal(0, 1)))
    with pytest.raises(ModelError, match=r"comp_00_Ic, comp_01_a0 would all be integrated out.*leave marginalize out"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


def test_an_added_parameter_is_refused(problem_of, pixel):
    source = Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10))
    source.addparameter("twice", uniform(0, 20), "image")
    with pytest.raises(ModelError, match=r"comp_00_twice was added.*another prior"):
        Marginal(problem_of((source,), Normal(sigma=1.0)))


def test_positive_components_are_refused(problem_of, pixel):
    parts = (Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10), positive=True), Background(a0=0.1))
    with pytest.raises(ModelError, match=r"comp_00.*must be positive"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))
    # By a tie too.
    parts = (
        Point(xc=uniform(pixel, 2 * pixel), yc=0, Ic=uniform(0, 10)),
        Point(xc=0, yc=0, Ic=tied("2 * comp_00_Ic"), positive=True),
    )
    with pytest.raises(ModelError, match=r"comp_01_Ic.*must be positive"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


@pytest.mark.parametrize("number", [10, 100])
def test_a_hundred_components(problem_of, pixel, number):
    # comp_100 begins like comp_10.
    parts = [Point(xc=k * pixel / 20, yc=0, Ic=1.0) for k in range(101)]
    parts[10].positive = True
    parts[number].xc, parts[number].Ic = uniform(0, pixel), uniform(0, 10)
    problem = problem_of(parts, Normal(sigma=1.0))
    if number == 10:
        with pytest.raises(ModelError, match="comp_10_Ic belongs to a component that must be positive"):
            Marginal(problem)
    else:
        assert Marginal(problem).linear_labels == ["comp_100_Ic"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (lambda pixel: Point(xc=tied(f"{pixel} * comp_00_Ic"), yc=0, Ic=1.0), "comp_01_xc is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("comp_00_Ic ** 2")), "comp_01_Ic is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("comp_00_Ic * comp_00_Ic")), "comp_01_Ic is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("1 / comp_00_Ic")), "comp_01_Ic is tied to comp_00_Ic"),
        (lambda pixel: Point(xc=0, yc=0, Ic=tied("max(comp_00_Ic, 0)")), "comp_01_Ic is tied to comp_00_Ic"),
        (
            lambda pixel: Point(xc=0, yc=0, Ic=Tie(("comp_00_Ic",), lambda **v: v["comp_00_Ic"] ** 2)),
            "comp_01 is not linear in comp_00_Ic",
        ),
        (
            lambda pixel: Point(xc=0, yc=0, Ic=Tie(("comp_00_Ic",), lambda **v: abs(v["comp_00_Ic"] - 1))),
            "comp_01 is not linear in",
        ),
        (
            lambda pixel: Gaussian(xc=0, yc=0, rs=Tie(("comp_00_Ic",), lambda **v: v["comp_00_Ic"]), Is=1.0),
            "comp_01_rs is tied",
        ),
        (lambda pixel: custom("I0 ** 2 * exp(-r)", uniform(0.5, 2)), "comp_01 is not linear in comp_00_Ic, comp_01_I0"),
        (lambda pixel: custom("exp(-r / I0)", tied("comp_00_Ic")), "comp_01 is not linear in comp_00_Ic"),
    ],
)
def test_what_is_not_linear_is_refused(problem_of, pixel, more, message):
    parts = (Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)), more(pixel))
    with pytest.raises(ModelError, match=message):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


def custom(profile, value):
    return CustomProfile([{"name": "I0", "unit": "image"}], profile, xc=0, yc=0, I0=value)


def test_an_added_parameter_between_two_intensities_is_refused(problem_of, pixel):
    first = Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2))
    first.addparameter("half", tied("comp_00_Ic / 2"), "image")
    parts = (first, Point(xc=0, yc=0, Ic=tied("comp_00_half")))
    with pytest.raises(ModelError, match="comp_01_Ic is tied to comp_00_half"):
        Marginal(problem_of(parts, Normal(sigma=1.0)))


@pytest.mark.parametrize("level", [{"floor": "comp_00_Ic / 10"}, {"scale": "comp_00_Ic + 1"}], ids=["floor", "scale"])
def test_a_noise_level_tied_to_an_amplitude_is_refused(problem_of, pixel, level):
    # The image is linear in it, and the likelihood no Gaussian of it.
    parts = (Point(xc=uniform(pixel, 3 * pixel), yc=0, Ic=uniform(0.5, 2)),)
    noise = Normal(sigma=1.0, **{name: tied(text) for name, text in level.items()})
    with pytest.raises(ModelError, match=r"noise\.(floor|scale) is tied to comp_00_Ic"):
        Marginal(problem_of(parts, noise))
