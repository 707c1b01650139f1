"""Radial profiles, and what cuts them off."""

from socca.models.radial import truncation
from socca.models.radial.base import Radial
from socca.models.radial.laws import Exponential, Gaussian, Sersic, sersic_b

__all__ = ["Exponential", "Gaussian", "Radial", "Sersic", "sersic_b", "truncation"]
