"""Digests name what is socca's own by tags, which stay when files and classes move."""

import dataclasses
import json
import types

import numpy as np
import numpyro.distributions as dist
import pytest

from socca import models, noise, priors
from socca.likelihood import problem as problem_module
from socca.likelihood.problem import Problem
from socca.models import Background, Model, Radial, Sersic
from socca.models.disk import vertical
from socca.models.radial import truncation
from socca.parameters.parameterised import Parameter, param
from socca.priors import uniform
from socca.utils import digest as digest_module
from socca.utils.digest import UntaggedWarning, digest
from socca.utils.lazy import LazyModule, fastmath
from socca.utils.tags import is_own, tag_of, tagged, tags
from tests.reference.make_digests import FILE, PROBLEMS, digests, problem

REGISTRIES = [models.REGISTRY, noise.REGISTRY, priors.REGISTRY, truncation.REGISTRY, vertical.REGISTRY]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.family)
def test_every_member_of_a_registry_has_its_tag(registry):
    assert registry.own
    for name, kind in registry.own.items():
        assert tag_of(kind) == f"{registry.family}/{name}"


def test_tags_are_unique():
    found = dict(tags())
    assert all(tag_of(thing) == tag for tag, thing in found.items())
    assert len({id(thing) for thing in found.values()}) == len(found)
    with pytest.raises(ValueError, match=r"the tag 'component/Sersic' of .*Pair belongs to .*Sersic"):
        tagged("component/Sersic")(Pair)
    assert tag_of(Pair) is None


@dataclasses.dataclass(frozen=True)
class Pair:
    one: object
    two: object


def classes_in(value):
    """Yield the classes of all that a spec is made of."""
    yield value if isinstance(value, type) else type(value)
    if isinstance(value, tuple | list | frozenset):
        for inner in value:
            yield from classes_in(inner)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from classes_in(getattr(value, field.name))


def test_all_that_a_spec_is_made_of_has_a_tag(make_image):
    wrapped = Model(Background(a0=dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform())))
    wrapped.components[0].a1x = dist.TruncatedNormal(0.0, 1.0, low=-1.0)
    specs = [problem(name).spec for name in PROBLEMS] + [Problem(make_image(), wrapped).spec]
    found = {kind for spec in specs for kind in classes_in(spec) if is_own(kind)}
    names = {tag_of(kind) for kind in found}
    assert None not in names, [kind for kind in found if tag_of(kind) is None]
    wanted = "ProblemSpec ModelSpec SceneSpec GridShape Spec Parameter Node RadialStructure DiskForm BridgeHalf"
    assert {f"spec/{name}" for name in wanted.split()} | {"prior/numpyro", "prior/numpyro.call"} <= names
    for spec in specs:
        digest(spec)  # warnings are errors


def test_digests_are_those_of_before():
    # Another one refuses the checkpoints of all users: see tests/reference/make_digests.py.
    assert digests() == json.loads(FILE.read_text())


def test_golden_digests_hold_no_computed_numbers():
    # Each number in them is written down, in make_digests.py or as the default of a parameter.
    written = {0.0, 1.0, 2.0, 4.0, 0.5, 8.0, 30.0, 1e-3, 1e-4, 1e-5}
    for name in PROBLEMS:
        found = problem(name)
        assert set(found.arrays) == {"model", "data"}
        defaults = {field.default for field in found.spec.model.fields()}
        arrays = found.arrays["model"]
        for numbers in (arrays["fixed"], *arrays["priors"], *arrays["constants"]):
            assert set(numbers.tolist()) <= written | defaults


@pytest.fixture
def moved():
    """Move and rename all that has a tag."""
    places = [(thing, thing.__module__, thing.__qualname__) for _, thing in tags()]
    for thing, _, name in places:
        thing.__module__, thing.__qualname__ = "socca.elsewhere", f"Renamed{name}"
    yield
    for thing, module, name in places:
        thing.__module__, thing.__qualname__ = module, name


@pytest.mark.usefixtures("moved")
def test_moved_and_renamed_classes_have_the_same_digest():
    assert (Sersic.__module__, Sersic.__qualname__) == ("socca.elsewhere", "RenamedSersic")
    assert digests() == json.loads(FILE.read_text())


def test_functions_of_socca_have_the_same_digest_wherever_they_are(monkeypatch):
    def uses_a_method(r):
        return Sersic.profile

    def uses_the_module(r):
        return fastmath.exp(r)

    before = [digest(function) for function in (uses_a_method, uses_the_module, fastmath.exp, fastmath.power)]
    assert len(set(before)) == 4
    for thing in (Sersic, Sersic.profile, fastmath.exp, fastmath.power):
        monkeypatch.setattr(thing, "__module__", "socca.elsewhere")
    assert [digest(function) for function in (uses_a_method, uses_the_module, fastmath.exp, fastmath.power)] == before


def test_a_lazy_module_is_that_module_used_or_not():
    import jax.numpy

    lazy = LazyModule("jax.numpy")
    before = digest(lazy)
    assert lazy.exp
    assert digest(lazy) == before == digest(jax.numpy)
    import socca.utils.fastmath

    assert digest(LazyModule("socca.utils.fastmath")) == digest(socca.utils.fastmath)


def test_a_function_of_socca_without_a_tag_is_what_it_does(monkeypatch):
    from socca.parameters.units import factor

    assert tag_of(factor) is None
    before = digest(factor)
    moved = types.FunctionType(factor.__code__, factor.__globals__, "moved", factor.__defaults__, factor.__closure__)
    moved.__kwdefaults__ = factor.__kwdefaults__
    moved.__module__ = "socca.elsewhere"
    assert digest(moved) == before


def test_a_class_of_socca_without_a_tag_is_told(monkeypatch):
    monkeypatch.setattr(Pair, "__module__", "socca.somewhere")
    with pytest.warns(UntaggedWarning, match=r"socca\.somewhere\.Pair has no tag"):
        first = digest(Pair(1, 2))
    monkeypatch.setattr(Pair, "__module__", "socca.elsewhere")
    with pytest.warns(UntaggedWarning):
        assert digest(Pair(1, 2)) != first


def test_the_wording_of_a_description_is_no_part_of_a_digest():
    one, other = Parameter("deg", "a radius", lower=0.0), Parameter("deg", "the radius", lower=0.0)
    assert one == other
    assert digest(one) == digest(other)
    assert digest(one) != digest(Parameter("rad", "a radius", lower=0.0))


def test_the_revision_of_the_likelihood_is_part_of_a_digest(make_image, monkeypatch):
    problem = Problem(make_image(), Model(Background(a0=uniform(0, 1))))
    before = problem.digest()
    monkeypatch.setattr(problem_module, "LIKELIHOOD_REVISION", problem_module.LIKELIHOOD_REVISION + 1)
    assert problem.digest() != before


# The user's own


def own_component(base=Radial, slope=1.0, edge=None):
    """Return a component as a script would define it."""

    class Own(base, abstract=True):
        rs = param("deg", "radius", lower=0.0)
        size = param("image", "brightness")
        STEEPNESS = slope

        @classmethod
        def profile(cls, r, size, rs):
            return size * np.exp(-cls.STEEPNESS * r / rs)

    Own.edge = edge
    return Own


def test_a_users_component_is_what_it_does():
    before = digest(own_component())
    assert tag_of(own_component()) is None
    assert digest(own_component()) == before
    others = [own_component(slope=2.0), own_component(base=Sersic), own_component(edge="rs")]
    assert len({before, *map(digest, others)}) == 4


def test_a_logger_is_its_name():
    import logging

    def logs(x):
        log.info("%s", x)
        return x

    log = logging.getLogger("tests.one")
    before = digest(logs)
    logging.getLogger("tests.another.one")
    assert digest(logs) == before


def test_numbers_of_numpy_are_shown_alike_by_all_its_versions():
    assert digest_module.describe(np.float64(2.5)) == ("float64", "2.5")
    assert digest(np.float32(0.1)) != digest(np.float64(0.1))
