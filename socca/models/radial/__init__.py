"""Radial profiles and their truncations."""

from socca.models.radial import truncation
from socca.models.radial.base import Radial
from socca.models.radial.custom import CustomProfile
from socca.models.radial.gnfw import gNFW
from socca.models.radial.polynomials import PolyExponential, PolyExpoRefact
from socca.models.radial.profiles import Beta, Exponential, Gaussian, ModExponential, Power, Sersic, TopHat, sersic_b

__all__ = [
    "Beta",
    "CustomProfile",
    "Exponential",
    "Gaussian",
    "ModExponential",
    "PolyExpoRefact",
    "PolyExponential",
    "Power",
    "Radial",
    "Sersic",
    "TopHat",
    "gNFW",
    "sersic_b",
    "truncation",
]
