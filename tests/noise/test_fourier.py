"""Noise with a power spectrum."""

import numpy as np
import pytest
from scipy import stats

from socca.errors import DataError
from socca.noise import NormalCorrelated, NormalFourier
from tests.noise.cases import (
    HALF,
    MASK,
    SHAPE,
    SIZE,
    TEMPLATE,
    WINDOW,
    circulant,
    evaluate,
    half,
    multivariate,
    spectrum,
)


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (4, 4), (5, 5), (3, 6)])
@pytest.mark.parametrize("form", ["cov", "icov"])
@pytest.mark.parametrize("ftype", ["real", "full"])
def test_fourier_noise_is_that_of_its_circulant_covariance(make_image, shape, form, ftype):
    power = spectrum(shape)
    rng = np.random.default_rng(2)
    data, model = rng.normal(0, 1, (2, *shape))
    given = power if form == "cov" else 1 / power
    image = make_image(data)
    wanted = multivariate(data, model, circulant(power))
    noise = NormalFourier(**{form: half(given) if ftype == "real" else given}, ftype=ftype)
    assert evaluate(noise, image, model) == pytest.approx(wanted, rel=1e-11)
    assert evaluate(NormalCorrelated(cov=circulant(power)), image, model) == pytest.approx(wanted, rel=1e-11)
    variance = circulant(power)[0, 0]
    np.testing.assert_allclose(noise.sigma(image), np.sqrt(variance), rtol=1e-12)


def test_white_fourier_noise_is_normal(make_image):
    data = np.random.default_rng(3).normal(0, 1, SHAPE)
    image = make_image(data)
    white = NormalFourier(cov=np.full((SHAPE[0], SHAPE[1] // 2 + 1), 1.7**2))
    wanted = stats.norm.logpdf(data, TEMPLATE, 1.7).sum()
    assert evaluate(white, image, TEMPLATE) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("windowed", [False, True])
def test_power_of_realisations(make_image, windowed):
    rng = np.random.default_rng(4)
    power = np.full(SHAPE, 2.0) if windowed else spectrum(SHAPE)
    cube = rng.multivariate_normal(np.zeros(SIZE), circulant(power), 2000).reshape(-1, *SHAPE) + 5.0
    image = make_image(cube[0])
    apod = None
    if windowed:
        image.mask[:] = MASK
        apod = WINDOW
    noise = NormalFourier(cube=cube, apod=apod)
    arrays = noise.prepare(image)
    found = 1 / (arrays.weight * SIZE)
    found[:, 1:] *= 2  # SHAPE has an odd number of columns: all but the first occur twice
    # The power of a mode has a relative error of 1 / sqrt(2000), or sqrt(2 / 2000) where it is its own opposite: 3 %.
    mean = np.mean(WINDOW**2) if windowed else 1.0
    np.testing.assert_allclose(found, half(power) * mean, rtol=0.16)
    used = MASK if windowed else np.ones(SHAPE, bool)
    np.testing.assert_allclose(arrays.sigma[used], np.sqrt(power.mean()), rtol=0.02)


def test_masked_pixels_and_fourier_modes(make_image):
    image = make_image(np.ones(SHAPE))
    image.mask[2, 3] = 0
    with pytest.raises(DataError, match=r"NormalFourier: 1 pixel\(s\) are masked.*apod.*NormalCorrelated"):
        NormalFourier(cov=HALF).prepare(image)
    with pytest.raises(DataError, match="apod must vanish in masked pixels, and does not in 1"):
        NormalFourier(cov=HALF, apod=np.ones(SHAPE)).prepare(image)
