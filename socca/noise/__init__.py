"""Noise models: one file for each, with the interface `NoiseModel`."""

from socca.noise.base import REGISTRY, GaussianNoise, IndependentNoise, NoiseArrays, NoiseModel
from socca.noise.correlated import NormalCorrelated
from socca.noise.fourier import NormalFourier
from socca.noise.interferometric import NormalRI
from socca.noise.normal import Normal
from socca.noise.poisson import Poisson
from socca.noise.studentt import StudentT

__all__ = [
    "REGISTRY",
    "GaussianNoise",
    "IndependentNoise",
    "NoiseArrays",
    "NoiseModel",
    "Normal",
    "NormalCorrelated",
    "NormalFourier",
    "NormalRI",
    "Poisson",
    "StudentT",
]
