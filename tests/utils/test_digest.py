"""Digests tell apart what differs, and nothing else, in every process."""

import functools
import os
import subprocess
import sys
from dataclasses import dataclass

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Background, CustomProfile, Disk, Model, Sersic
from socca.priors import uniform
from socca.utils.digest import digest

FACTOR = 1.0
NESTED = {"a": [1.0, 2.0]}


def helper(x):
    return FACTOR * x


def of_a_helper(x):
    return [helper(part) for part in (x,)]


class Callable:
    def __init__(self, power):
        self.power = power

    def __call__(self, x):
        return x**self.power


@dataclass(frozen=True)
class Pair:
    one: object
    two: object


def closing(value):
    return lambda x: x * value


def with_default(value):
    return lambda x, value=value: x * value


LONG = np.arange(2000.0)
PAIRS = {
    "numbers": (1, 1.0),
    "signs": (0.0, -0.0),
    "types": ("1", b"1"),
    "sets": (frozenset("abc"), frozenset("abd")),
    "sequences": ((1, 2), [1, 2]),
    "mappings": ({"a": 1}, {"a": 2}),
    "long arrays": (LONG, np.where(LONG == 1000, 0, LONG)),
    "shapes": (np.ones(4), np.ones((2, 2))),
    "precisions": (np.ones(2), np.ones(2, np.float32)),
    "jax arrays": (jnp.ones(2), jnp.zeros(2)),
    "object arrays": (np.array([1, "a"], object), np.array([1, "b"], object)),
    "quantities": (2 * u.deg, 2 * u.rad),
    "dataclasses": (Pair(1, frozenset("ab")), Pair(1, frozenset("ac"))),
    "classes": (Sersic, Disk),
    "code": (lambda x: x + 1, lambda x: x + 2),
    "arguments": (lambda x, y: x - y, lambda y, x: x - y),
    "closures": (closing(2.0), closing(3.0)),
    "closures of arrays": (closing(LONG), closing(np.where(LONG == 1000, 0, LONG))),
    "closures of functions": (closing(closing(1)), closing(closing(2))),
    "defaults": (with_default(2.0), with_default(3.0)),
    "partials": (functools.partial(helper, 1), functools.partial(helper, 2)),
    "methods": (Callable(1).__call__, Callable(2).__call__),
    "objects": (Callable(1), Callable(2)),
    "ufuncs": (np.exp, np.log),
    "functions of libraries": (jnp.exp, jnp.log),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_is_told_apart(name):
    one, other = PAIRS[name]
    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


def test_what_is_the_same_is_the_same():
    for make in (lambda: closing(LONG), lambda: closing(closing({"a", "b"})), lambda: Callable({"a": object()})):
        assert digest(make()) == digest(make())
    endless = [1]
    endless.append(endless)
    assert digest(endless) == digest(endless)


def test_globals_are_seen(monkeypatch):
    found = {digest(of_a_helper)}
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.0)
    found.add(digest(of_a_helper))
    monkeypatch.setattr(sys.modules[__name__], "helper", lambda x: x)
    found.add(digest(of_a_helper))
    assert len(found) == 3
    monkeypatch.undo()
    before = digest(lambda: NESTED)
    monkeypatch.setitem(NESTED, "a", [1.0, 3.0])
    assert digest(lambda: NESTED) != before


# In problems.


@pytest.fixture
def likelihood(make_image, pixel):
    """Give a function that compiles a problem anew of the same objects, and evaluates it."""
    image = make_image(np.ones((9, 8)))

    def evaluate(component):
        problem = Problem(image, Model(component))
        return problem.log_likelihood([0.5])[0], problem.digest()

    return evaluate


@pytest.mark.parametrize("how", ["closure", "global of a helper", "closure of a tie", "global of a tie"])
def test_what_a_function_refers_to_may_change(likelihood, monkeypatch, how):
    factor = 1.0

    def closed(r, amplitude):
        return factor * amplitude + 0 * r

    if how.endswith("tie"):
        in_closure, in_module = (lambda comp_00_a0: factor * comp_00_a0), (lambda comp_00_a0: FACTOR * comp_00_a0)
        component = Background(a0=uniform(0, 1), a1x=in_closure if how.startswith("closure") else in_module)
    else:
        profile = closed if how == "closure" else lambda r, amplitude: helper(amplitude) + 0 * r
        component = CustomProfile({"amplitude": "image"}, profile, xc=0.0, yc=0.0, amplitude=uniform(0, 1))
    first = likelihood(component)
    factor = 1.5
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 1.5)
    second = likelihood(component)
    assert second[0] != pytest.approx(first[0], rel=1e-3)
    assert second[1] != first[1]
    factor = 1.0
    monkeypatch.undo()
    assert likelihood(component) == first


SCRIPT = """
import numpy as np
import numpyro.distributions as dist
from socca.data import Image
from socca.models import CustomProfile, Disk, MesaBridge, Model, PolyExponential, Sersic, boundto
from socca.noise import StudentT
from socca.priors import uniform
from socca.likelihood.problem import Problem

names = {"alpha", "beta", "gamma", "delta"}
def law(r, top):
    return top * (2 if "beta" in {"alpha", "beta", "gamma"} else len(names)) * np.float64(2.5) + 0 * r

image = Image(np.arange(72.0).reshape(8, 9), pixel_scale=0.2, noise=StudentT(sigma=1.0))
here = {"xc": 0.0, "yc": 0.0}
disk = Disk(PolyExponential(**here, rs=1e-4, Is=uniform(0, 1)), **{"vertical.zs": 1e-5})
model = Model(disk)
model.addcomponent(MesaBridge(**here, rs=1e-4, Is=dist.LogNormal(0.0, 1.0)))
model.addcomponent(CustomProfile({"top": "image"}, law, **here, top=lambda comp_01_Is: len(names) * comp_01_Is))
last = model.addcomponent(Sersic(**here, re=boundto(disk, "radial.rs"), Ie=1.0, truncation=True, rt=1.0))
last.e = lambda comp_03_re, comp_02_top, comp_03_theta: comp_03_re * comp_02_top
last.theta = lambda comp_02_top, comp_01_Is: comp_02_top
problem = Problem(image, model)
print(problem.digest(), problem.spec.model.functions, [k for k, *_ in problem.spec.model.tied])
"""


def test_digests_are_the_same_in_every_process():
    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    first = run("1")
    assert len(first.split()[0]) == 64
    assert run("2") == first
