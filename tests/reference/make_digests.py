"""Digests that must not change: python -m tests.reference.make_digests writes digests.json beside this file.

Make it anew only for a change that is meant to refuse the checkpoints of before, such as another revision of the
likelihood. What is digested is the same on every machine and with every version of Python: text, and numbers as they
are written below. The arrays of an image are not (coordinates, noise levels and transforms of PSFs are computed, and
their last digits differ), so that problems here have others in their place; nor is the code of functions, so that ties
here are expressions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from socca import models, noise, priors
from socca.data import Image
from socca.likelihood.parameter_vector import compile_model
from socca.likelihood.problem import Problem
from socca.models import Background, CustomProfile, Disk, MesaBridge, Model, Point, Sersic, boundto
from socca.models.base import Tie
from socca.models.disk import vertical
from socca.models.radial import truncation
from socca.noise import Normal, StudentT
from socca.parameters.expressions import parse
from socca.parameters.parameterised import Spec
from socca.priors import loguniform, normal, uniform
from socca.utils.digest import digest

FILE = Path(__file__).with_name("digests.json")
HERE = {"xc": 0.0, "yc": 0.0}


def galaxy() -> Model:
    """A Sérsic galaxy on a sky."""
    model = Model(Sersic(**HERE, re=loguniform(1e-4, 1e-3), Ie=1.0, ns=uniform(0.5, 8)))
    model.addcomponent(Background(a0=normal(0, 1)))
    return model


def truncated() -> Model:
    """A truncated galaxy, and a point source in the same place."""
    model = Model(Sersic(**HERE, re=1e-4, Ie=uniform(0, 1), ns=4.0, truncation="HyperTangent", rt=1e-3))
    model.addcomponent(Point(xc=boundto(model.components[0], "xc"), yc=0.0, Ic=uniform(0, 1)))
    return model


def compound() -> Model:
    """A disk, a bridge, and a profile that is an expression."""
    disk = Disk(Sersic(**HERE, re=1e-4, Ie=uniform(0, 1), ns=1.0), **{"vertical.zs": 1e-5})
    model = Model(disk)
    model.addcomponent(MesaBridge(**HERE, rs=1e-4, Is=Tie(("comp_00_radial.re",), parse("comp_00_radial.re * 2"))))
    own = CustomProfile({"top": "image", "size": "deg"}, "top * exp(-r / size)", **HERE, top=uniform(0, 1), size=1e-4)
    model.addcomponent(own)
    return model


PROBLEMS = {
    "galaxy": (galaxy, lambda: Normal(sigma=1.0)),
    "truncated": (truncated, lambda: StudentT(sigma=1.0, nu=uniform(2, 30))),
    "compound": (compound, lambda: Normal(sigma=1.0, scale=uniform(0.5, 2))),
}


def problem(name: str) -> Problem:
    """Return a problem without computed arrays."""
    model, noise_model = PROBLEMS[name]
    found = Problem(Image(np.zeros((8, 9)), pixel_scale=0.2, noise=noise_model()), model())
    found.arrays = {"model": found.arrays["model"], "data": np.arange(72.0).reshape(8, 9)}
    return found


TIES = {
    "equal": lambda: "comp_00_a0",
    "arithmetic": lambda: "max(comp_00_a0 * 2, 1) - comp_00_a0 ** 2",
}


def tie(text: str) -> Any:
    """Return the spec of a background whose slope is tied to its level."""
    background = Background(a0=uniform(0, 1), a1x=Tie(("comp_00_a0",), parse(text)))
    background.id = "comp_00"
    return compile_model([background])


def subjects() -> dict[str, Any]:
    """Return what is digested, by tag."""
    found: dict[str, Any] = {}
    for registry in (models.REGISTRY, noise.REGISTRY):
        for name, kind in registry.own.items():
            found[f"{registry.family}/{name}"] = Spec(kind, tuple(kind.fields.items()))
    for others in (priors.REGISTRY, truncation.REGISTRY, vertical.REGISTRY):
        found |= {f"{others.family}/{name}": kind for name, kind in others.own.items()}
    return found | {f"tie/{name}": tie(text()) for name, text in TIES.items()}


def digests() -> dict[str, str]:
    """Return the digest of each; the first 16 digits tell them apart as well as all 64."""
    found = {name: digest(subject) for name, subject in subjects().items()}
    found |= {f"problem/{name}": problem(name).digest() for name in PROBLEMS}
    return {name: found[name][:16] for name in sorted(found)}


if __name__ == "__main__":
    FILE.write_text(json.dumps(digests(), indent=1) + "\n")
