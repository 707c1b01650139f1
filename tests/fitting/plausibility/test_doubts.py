"""Doubts: their flags in records, catalogues and docs, and the error of a survey's fit."""

import re
from pathlib import Path

import pytest

from socca.errors import DataError
from socca.fitting.plausibility import find_doubts
from socca.fitting.plausibility.doubts import MEANINGS, Doubt, messages, refuse_nonsense
from socca.fitting.plausibility.parts import parts_of_model, parts_of_problem
from socca.likelihood.problem import Problem
from socca.models import Gaussian
from socca.noise import Normal
from socca.parameters.ties import boundto
from socca.posterior.record import FitRecord
from socca.priors import loguniform, uniform
from socca.survey.flags import flags_of

ROOT = Path(__file__).parents[3]
DOUBTS = [Doubt("psf_center", "far"), Doubt("off_image", "here"), Doubt("off_image", "there", nonsense=True)]


def test_a_record_keeps_messages_and_gives_flags():
    record = FitRecord(doubts=messages(DOUBTS))
    assert record.doubts == {"psf_center": "far", "off_image": "here; there"}
    again = FitRecord.from_dict(record.to_dict())
    assert again.doubts == record.doubts
    assert flags_of(again) == ["off_image", "psf_center"]
    assert FitRecord.from_dict({}).doubts == {}
    assert flags_of(FitRecord(doubts={"a,b": "of another version"})) == []


def test_only_nonsense_is_refused():
    refuse_nonsense(DOUBTS[:2], "a.fits")
    with pytest.raises(DataError, match=r"^there \(a\.fits\)$"):
        refuse_nonsense(DOUBTS, "a.fits")


def test_every_flag_is_in_the_docs():
    page = (ROOT / "docs" / "check.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page[: page.index("## Numbers without a unit")], re.MULTILINE)
    assert rows == list(MEANINGS)


def test_a_problem_knows_what_its_model_does(make_image, galaxy, pixel, light):
    """The parts of a compiled problem are those of the model, noise included."""
    model = galaxy(re=uniform(0.2, 20), theta=45.0)
    disk = model.components[0]
    model.addcomponent(
        Gaussian(xc=boundto(disk, "xc"), yc=0.02, rs=boundto(disk, "re"), Is=uniform(0, 1)), label="halo"
    )
    image = make_image(light, noise=Normal(sigma=100.0, scale=loguniform(0.1, 10)))
    problem = Problem(image, model)
    of_model, of_problem = parts_of_model(model, image.noise), parts_of_problem(problem)
    for one, other in zip(of_model, of_problem, strict=True):
        assert (one.label, one.role, one.position_names) == (other.label, other.role, other.position_names)
        assert dict(one.values) == dict(other.values)
        assert list(one.fields) == list(other.fields)
    found = find_doubts(image, of_problem, problem.arrays["noise"])
    assert found == find_doubts(image, of_model, image.noise.prepare(image))
    assert {doubt.flag for doubt in found} == {"size_prior", "angle_prior"}
