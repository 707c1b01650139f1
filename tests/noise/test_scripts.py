"""Noise models as scripts call them: by position, other names of the same, an HDU of a file, smoothed estimates."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from socca.errors import DataError
from socca.noise import Normal, NormalCorrelated, NormalFourier, NormalRI, StudentT
from tests.noise.cases import COVARIANCE, HALF, MASK, SHAPE, SIGMA, SIZE, WINDOW, spectrum


@pytest.fixture
def image(make_image):
    return make_image(np.random.default_rng(2).normal(size=SHAPE))


def same(one, other, image):
    for a, b in zip(one.prepare(image), other.prepare(image), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [Normal, StudentT])
def test_the_hdu_of_a_level(tmp_path, image, kind):
    hdus = fits.HDUList([fits.PrimaryHDU(np.ones(SHAPE)), fits.ImageHDU(SIGMA, name="rms"), fits.ImageHDU(SIGMA**2)])
    hdus.writeto(tmp_path / "noise.fits")
    for source in (tmp_path / "noise.fits", str(tmp_path / "noise.fits"), hdus):
        for index in (1, "rms"):
            np.testing.assert_allclose(kind(sigma=source, idx=index).sigma(image), SIGMA, rtol=1e-12)
        np.testing.assert_allclose(kind(idx=2, var=source).sigma(image), SIGMA, rtol=1e-12)
        np.testing.assert_array_equal(kind(sigma=source).sigma(image), np.ones(SHAPE))
    with pytest.raises(DataError, match="9"):
        kind(sigma=tmp_path / "noise.fits", idx=9).sigma(image)


def test_covariances_by_position(image):
    cube = np.random.default_rng(1).normal(size=(90, *SHAPE))
    same(NormalCorrelated(COVARIANCE), NormalCorrelated(cov=COVARIANCE), image)
    same(NormalCorrelated(None, COVARIANCE), NormalCorrelated(icov=COVARIANCE), image)
    same(
        NormalCorrelated(None, None, cube, 2, np.eye(3)), NormalCorrelated(cube=cube, smooth=2, kernel=np.eye(3)), image
    )
    same(NormalFourier(HALF), NormalFourier(cov=HALF), image)
    same(NormalFourier(None, HALF, None, "real", WINDOW + 0 * HALF.sum()), NormalFourier(icov=HALF, apod=WINDOW), image)
    same(NormalFourier(None, None, cube, "real", None, 2), NormalFourier(cube=cube, smooth=2), image)


@pytest.mark.parametrize(("name", "modes"), [("rfft", "real"), ("fft", "full")])
def test_other_names_of_the_modes(image, name, modes):
    power = HALF if modes == "real" else spectrum(SHAPE)
    same(NormalFourier(cov=power, ftype=name), NormalFourier(cov=power, ftype=modes), image)


def test_an_interferometers_level_from_the_data(make_image, make_psf, caplog):
    data = np.random.default_rng(4).normal(0, 0.3, (40, 41))
    image = make_image(data, noise=NormalRI())
    image.addpsf(make_psf((5, 5)) * 9, normalize=False)
    with caplog.at_level(logging.INFO, "socca"):
        found = NormalRI().sigma(image)
    assert "median absolute deviation of 1640 pixels" in caplog.text
    assert found[0, 0] == pytest.approx(1.4826 * np.median(np.abs(data - np.median(data))), rel=1e-4)
    assert found[0, 0] == pytest.approx(0.3, rel=0.1)
    same(NormalRI(), NormalRI(sigma=found), image)


def covariance_of(noise, image):
    """Return the covariance of the used pixels that a noise model has made."""
    whitening = noise.prepare(image).whitening
    used = np.flatnonzero(image.mask)
    inverse = whitening[np.ix_(used, used)]
    return np.linalg.inv(inverse.T @ inverse)


def test_a_smoothed_covariance_is_the_mean_over_shifts(make_image):
    rng = np.random.default_rng(6)
    image = make_image(rng.normal(size=SHAPE))
    image.mask[:] = MASK
    cube = rng.multivariate_normal(np.zeros(SIZE), COVARIANCE, 500).reshape(-1, *SHAPE)
    raw = covariance_of(NormalCorrelated(cube=cube), image)
    kernel = np.array([[0, 1.0, 0], [2, 3, 0], [0, 0, 0]])
    found = covariance_of(NormalCorrelated(cube=cube, kernel=kernel), image)
    where = np.argwhere(MASK)
    number = {tuple(at): k for k, at in enumerate(where)}

    def moved(at, step):
        return number.get((at[0] + step[0], at[1] + step[1]), number[tuple(at)])

    wanted = np.zeros_like(raw)
    for step, weight in {(-1, 0): 1 / 6, (0, -1): 2 / 6, (0, 0): 3 / 6}.items():
        to = [moved(at, step) for at in where]
        wanted += weight * raw[np.ix_(to, to)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(covariance_of(NormalCorrelated(cube=cube, smooth=0), image), raw, rtol=1e-12)


def test_smoothing_helps_where_noise_is_the_same_everywhere(make_image):
    """Of fewer realisations than pixels too."""
    rng = np.random.default_rng(7)
    shape = (9, 10)
    kernel = np.array([[0.2, 0.4, 0.2], [0.4, 1, 0.4], [0.2, 0.4, 0.2]])
    wide = rng.normal(size=(80, shape[0] + 8, shape[1] + 8))
    cube = np.array([ndimage.convolve(plane, kernel)[4:-4, 4:-4] for plane in wide])
    image = make_image(rng.normal(size=shape))
    with pytest.raises(DataError, match="80 realisation"):
        NormalCorrelated(cube=cube).prepare(image)
    variance = np.sum(kernel**2)
    spread = [
        np.std(np.diag(covariance_of(NormalCorrelated(cube=cube, smooth=k), image)) / variance) for k in (1, 2, 4)
    ]
    assert spread[0] > spread[1] > spread[2]
    # The variance of one pixel has an error of sqrt(2 / 79) = 0.16.
    assert spread[0] < 0.12
    found = covariance_of(NormalCorrelated(cube=cube, smooth=2), image)
    assert np.diag(found).mean() == pytest.approx(variance, rel=0.1)


def test_a_smoothed_spectrum(make_image):
    rng = np.random.default_rng(8)
    image = make_image(rng.normal(size=(20, 21)))
    cube = rng.normal(0, 2, (12, 20, 21))
    rough, smooth = (NormalFourier(cube=cube, smooth=k).prepare(image).weight for k in (0, 1))
    # Power of white noise: 4 in each mode. Opposite modes are the same, nine neighbours are not.
    inner = (slice(None), slice(2, -2))
    assert np.std(2 / rough[inner] / 420) / np.std(2 / smooth[inner] / 420) == pytest.approx(3, rel=0.15)
    assert np.mean(2 / smooth[inner] / 420) == pytest.approx(4, rel=0.1)
    truth = ndimage.uniform_filter((np.abs(np.fft.fft2(cube - cube.mean(0))) ** 2).sum(0) / 11 / 420, 3, mode="wrap")
    np.testing.assert_allclose(2 / smooth[inner] / 420, truth[:, 2:9], rtol=1e-9)


@pytest.mark.parametrize("noise", [NormalCorrelated, NormalFourier])
def test_what_is_given_is_not_smoothed(image, noise):
    given = {"cov": COVARIANCE if noise is NormalCorrelated else HALF}
    with pytest.warns(UserWarning, match=f"{noise.__name__}: cov is used as it is: smooth=3 is for a cube"):
        found = noise(**given, smooth=3)
    same(found, noise(**given), image)
