"""Surface-brightness models and their components."""

import sys

from socca.models import bridge, disk, radial
from socca.models.base import REGISTRY, Component, Extended, Parameter, Spec, Tie, param
from socca.models.bridge import MesaBridge, SimpleBridge
from socca.models.disk import Disk
from socca.models.model import Model
from socca.models.point_and_background import Background, Point
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
from socca.priors import boundto

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


def zoo() -> None:
    """Print the components that there are, those of plug-ins with who they are from."""
    REGISTRY.plugins()
    for name, component in REGISTRY.items():
        line = ((component.__doc__ or "").strip() or name).splitlines()[0]
        plugin = REGISTRY.origin(name) if name not in REGISTRY.own else None
        sys.stdout.write(f"{name:<16} {line}{f' [{plugin.release}]' if plugin else ''}\n")


__getattr__ = REGISTRY.module_getattr(__name__)
