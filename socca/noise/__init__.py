"""Noise models: one file for each, with the interface `NoiseModel`."""

from socca.noise.base import REGISTRY, GaussianNoise, IndependentNoise, NoiseArrays, NoiseModel
from socca.noise.correlated import NormalCorrelated
from socca.noise.fourier import NormalFourier
from socca.noise.interferometric import NormalRI
from socca.noise.levels import Levels
from socca.noise.normal import Normal
from socca.noise.poisson import Poisson
from socca.noise.studentt import StudentT

__all__ = [
    "REGISTRY",
    "GaussianNoise",
    "IndependentNoise",
    "Levels",
    "NoiseArrays",
    "NoiseModel",
    "Normal",
    "NormalCorrelated",
    "NormalFourier",
    "NormalRI",
    "Poisson",
    "StudentT",
]


__getattr__ = REGISTRY.module_getattr(__name__)
