"""Wrong arguments of noise models."""

import numpy as np
import pytest

from socca.errors import DataError, ModelError
from socca.noise import REGISTRY
from socca.priors import uniform
from tests.noise.cases import COVARIANCE, HALF, SHAPE, SIZE, spectrum

SYMMETRIC = COVARIANCE.copy()
SYMMETRIC[3, 5] += 0.1
SINGULAR = np.ones((SIZE, SIZE))
NEGATIVE = COVARIANCE.copy()
NEGATIVE[4, 4] = -1
NOT_FINITE = COVARIANCE.copy()
NOT_FINITE[1, 2] = np.nan
ONE_SIDED = spectrum(SHAPE)
ONE_SIDED[1, 2] *= 2
HALF_ONE_SIDED = HALF.copy()
HALF_ONE_SIDED[1, 0] *= 2
ZERO = HALF.copy()
ZERO[2, :2] = 0
CUBE = np.random.default_rng(1).normal(0, 1, (SIZE + 1, *SHAPE))


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("normal", {"sigmma": 1}, "Normal: unknown argument 'sigmma'; did you mean 'sigma'"),
        ("normal", {"sigma": 1, "scael": 1}, "Normal: unknown argument 'scael'; did you mean 'scale'"),
        ("normal", {"sigma": 1, "var": 1}, "Normal: give one of sigma, var"),
        ("normal", {"sigma": 1, "scale": 0}, "Normal: scale = 0 lies outside"),
        ("normal", {"sigma": 1, "floor": -1}, "Normal: floor = -1 lies outside"),
        ("normal", {"sigma": 1, "scale": uniform(0, 1)}, "Normal: scale .*bound = 0"),
        ("studentt", {"sigma": 1, "var": 1}, "StudentT: give one of sigma, var"),
        ("studentt", {"sigma": 1, "nu": 0}, "StudentT: nu = 0 lies outside"),
        ("studentt", {"sigma": -1.0}, "sigma is negative"),
        ("poisson", {"bakground": 1}, "Poisson: unknown argument 'bakground'; did you mean 'background'"),
        ("poisson", {"background": -1}, "Poisson: background = -1 lies outside"),
        ("normal_correlated", {}, "NormalCorrelated: give exactly one of cov, icov, cube"),
        ("normal_correlated", {"cov": 1, "cube": 1}, "give exactly one of cov, icov, cube; got cov, cube"),
        ("normal_correlated", {"covv": 1}, "NormalCorrelated: unknown argument 'covv'; did you mean 'cov'"),
        ("normal_correlated", {"cov": np.eye(3)}, r"cov has shape \(3, 3\): expected \(42, 42\)"),
        ("normal_correlated", {"icov": 1.0}, r"icov has shape \(\)"),
        ("normal_correlated", {"cov": SYMMETRIC}, "cov: is not symmetric"),
        ("normal_correlated", {"icov": SYMMETRIC}, "icov: is not symmetric"),
        ("normal_correlated", {"cov": SINGULAR}, "cov: is not positive definite.*lowest eigenvalue"),
        ("normal_correlated", {"cov": COVARIANCE - 0.5 * np.eye(SIZE)}, "cov: .*lowest eigenvalue.* is -"),
        ("normal_correlated", {"cov": NEGATIVE}, "cov: 1 element"),
        ("normal_correlated", {"cov": NOT_FINITE}, "cov: 1 element.* not finite"),
        ("normal_correlated", {"cube": CUBE}, "cube: 43 realisation.* 42 used pixels: more than 43"),
        ("normal_correlated", {"cube": CUBE[0]}, r"cube: expected .*\(n, ny, nx\), got \(6, 7\)"),
        ("normal_correlated", {"cube": CUBE.T}, r"cube: its shape is \(6, 43\), the image's \(6, 7\)"),
        ("normal_correlated", {"cube": np.full((99, *SHAPE), np.nan)}, "cube: 4158 value.* not finite"),
        ("normal_correlated", {"cube": "wide"}, "cube: no such file: wide"),
        ("normal_correlated", {"cube": object()}, "cube: expected numbers"),
        ("normal_correlated", {"cube": CUBE, "smooth": -1}, "NormalCorrelated: smooth = -1 must be a whole number"),
        ("normal_correlated", {"cube": CUBE, "smooth": True}, "NormalCorrelated: smooth = True must be a whole number"),
        ("normal_correlated", {"cube": CUBE, "kernel": np.ones((2, 3))}, r"two axes of odd length, got shape \(2, 3\)"),
        ("normal_correlated", {"cube": CUBE, "kernel": -np.ones((3, 3))}, "kernel must be finite, not negative"),
        ("normal_correlated", {"cube": CUBE[:1], "smooth": 1}, "cube: 1 realisation"),
        ("normal_fourier", {"cube": CUBE, "smooth": 1.5}, "NormalFourier: smooth = 1.5 must be a whole number"),
        ("normal_fourier", {}, "NormalFourier: give exactly one of cov, icov, cube"),
        ("normal_fourier", {"cov": HALF, "ftype": "reel"}, "ftype must be 'real' or 'full' .*, not 'reel'"),
        ("normal_fourier", {"cov": HALF, "ftype": "full"}, r"cov has shape \(6, 4\): expected \(6, 7\)"),
        ("normal_fourier", {"cov": spectrum(SHAPE)}, r"cov has shape \(6, 7\): expected \(6, 4\)"),
        ("normal_fourier", {"cov": ONE_SIDED, "ftype": "full"}, "cov: 2 of 42 modes"),
        ("normal_fourier", {"icov": HALF_ONE_SIDED}, "icov: 2 of 24 modes"),
        ("normal_fourier", {"cov": ZERO}, "cov: the power of 2 of 24 modes"),
        ("normal_fourier", {"icov": -HALF}, "icov: the power of 24 of 24 modes"),
        ("normal_fourier", {"cov": HALF * np.nan}, "cov: the power of 24 of 24 modes"),
        ("normal_fourier", {"cube": CUBE[:1]}, "cube: at least 2 realisations"),
        ("normal_fourier", {"cube": CUBE[:, :5]}, r"cube: its shape is \(5, 7\), the image's \(6, 7\)"),
        ("normal_fourier", {"cov": HALF, "apod": 0.5}, r"apod: its shape is \(\), the image's \(6, 7\)"),
        ("normal_fourier", {"cov": HALF, "apod": np.zeros(SHAPE)}, "apod must lie between 0 and 1"),
        ("normal_fourier", {"cov": HALF, "apod": np.full(SHAPE, 1.5)}, "apod must lie between 0 and 1"),
        ("normal_fourier", {"cov": HALF, "apod": np.full(SHAPE, np.nan)}, "apod must lie between 0 and 1"),
        ("normal_ri", {"sigma": 1, "var": 1}, "NormalRI: give one of sigma, var"),
        ("normal_ri", {"sigma": 1, "scale": 2}, "NormalRI: unknown argument 'scale'"),
        ("normal_ri", {"sigma": 1}, "NormalRI: the image needs its dirty beam"),
    ],
)
def test_wrong_arguments_are_named(make_image, kind, given, said):
    image = make_image(np.ones(SHAPE))
    with pytest.raises((DataError, ModelError), match=said):
        REGISTRY[kind](**given).prepare(image)
