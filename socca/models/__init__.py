"""Surface-brightness models and their components."""

import sys

from socca.models import bridge, disk, radial
from socca.models.base import REGISTRY, Component, Extended, Parameter, Spec, Tie, param
from socca.models.bridge import MesaBridge, SimpleBridge
from socca.models.disk import Disk
from socca.models.model import Model
from socca.models.other import Background, Point
from socca.models.radial import (
    Beta,
    CustomProfile,
    Exponential,
    Gaussian,
    ModExponential,
    PolyExponential,
    PolyExpoRefact,
    Power,
    Radial,
    Sersic,
    TopHat,
    gNFW,
)
from socca.parametrised import Parametrised

__all__ = [
    "REGISTRY",
    "Background",
    "Beta",
    "Component",
    "CustomProfile",
    "Disk",
    "Exponential",
    "Extended",
    "Gaussian",
    "MesaBridge",
    "ModExponential",
    "Model",
    "Parameter",
    "Point",
    "PolyExpoRefact",
    "PolyExponential",
    "Power",
    "Radial",
    "Sersic",
    "SimpleBridge",
    "Spec",
    "Tie",
    "TopHat",
    "boundto",
    "bridge",
    "disk",
    "gNFW",
    "param",
    "radial",
    "zoo",
]


def boundto(comp: Parametrised, var: str) -> Tie:
    """Tie a parameter to be equal to another component's.

    Parameters
    ----------
    comp : Parametrised
        A component that is already part of a model, or a part of one, such as the radial law of a disk.
    var : str
        Its parameter.

    Returns
    -------
    Tie
        The value to assign.

    Raises
    ------
    ModelError
        If the component is in no model yet, or has no such parameter.
    """
    from socca.errors import ModelError, nearest
    from socca.expressions import Node

    if comp.id is None:
        raise ModelError("boundto: add the component to a model first")
    if var not in comp.fields:
        raise ModelError(f"boundto: {type(comp).__name__} has no parameter {var!r}{nearest(var, comp.fields)}")
    name = f"{comp.id}_{var}"
    return Tie((name,), Node("name", name))


def zoo() -> None:
    """Print the components that there are."""
    for name, component in REGISTRY.items():
        line = (component.__doc__ or "").strip().splitlines()[0]
        sys.stdout.write(f"{name:<16} {line}\n")
