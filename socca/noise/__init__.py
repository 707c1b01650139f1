"""Noise models: one file each, all behind `NoiseModel`."""

from socca.noise.base import REGISTRY, NoiseModel
from socca.noise.normal import Normal

__all__ = ["REGISTRY", "NoiseModel", "Normal"]
