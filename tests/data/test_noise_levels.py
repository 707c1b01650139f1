"""Levels of the noise: a number or a map, in every form, or from the image."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from socca.errors import DataError
from socca.noise import Normal
from socca.noise.normal import FORMS
from tests.data.small_image import SHAPE, VALUES, read

SIGMA = np.random.default_rng(6).uniform(0.5, 3, SHAPE)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("source", ["array", "number", "hdu", "path"])
def test_every_form_gives_the_same_sigma(tmp_path, form, source):
    sigma = np.full(SHAPE, 1.7) if source == "number" else SIGMA
    level = {"sigma": sigma, "variance": sigma**2, "weight": sigma**-2.0}[FORMS[form]]
    path = tmp_path / "level.fits"
    fits.PrimaryHDU(level).writeto(path)
    given = {"array": level, "number": level[0, 0], "hdu": fits.ImageHDU(level), "path": path}[source]
    values = VALUES.copy()
    values[3, 3] = np.nan
    image = read(values, noise=Normal(**{form: given}))
    found = image.noise.sigma(image)
    assert found[3, 3] == np.inf
    used = image.mask > 0
    np.testing.assert_allclose(found[used], sigma[used], rtol=1e-14)


def test_names_promised():
    promised = ["sigma", "sig", "std", "rms", "stddev", "var", "variance", "wht", "wgt", "weight", "weights", "invvar"]
    assert set(promised) == set(FORMS)


def test_two_levels_are_refused():
    with pytest.raises(ValueError, match="sigma, var"):
        Normal(sigma=1, var=2)
    with pytest.raises(ValueError, match="did you mean 'sigma'"):
        Normal(sigmma=1)


def test_level_from_the_image(caplog):
    rng = np.random.default_rng(11)
    values = rng.normal(5, 3, (200, 200))
    values[:20] = 1e6
    image = read(values)
    image.mask[:20] = 0
    with caplog.at_level(logging.INFO):
        found = image.noise.sigma(image)
    # The MAD of 36000 values has a standard error of 1.17 / sqrt(2 n) = 0.6 %... of sigma (efficiency 37 %).
    assert found[50, 50] == pytest.approx(3, rel=4 * 0.0061)
    assert np.isinf(found[:20]).all()
    assert "36000" in caplog.text
    with pytest.raises(DataError, match="zero"):
        Normal().sigma(read(np.zeros(SHAPE)))


@pytest.mark.parametrize("form", ["sigma", "variance", "weight"])
def test_bad_levels(form):
    image = read(VALUES)
    bad = np.ones(SHAPE)
    bad[1, 2] = -1
    with pytest.raises(DataError, match=rf"{form} is negative in 1 "):
        Normal(**{form: bad}).sigma(image)
    with pytest.raises(DataError, match=form):
        Normal(**{form: 0.0}).sigma(image)
    with pytest.raises(DataError, match=form):
        Normal(**{form: np.nan}).sigma(image)
    with pytest.raises(DataError, match="shape"):
        Normal(**{form: np.ones((3, 3))}).sigma(image)
    # In a masked pixel anything goes.
    image.mask[1, 2] = 0
    assert np.isinf(Normal(**{form: bad}).sigma(image)[1, 2])


@pytest.mark.parametrize(("form", "bad"), [("sigma", np.nan), ("sigma", np.inf), ("weight", 0.0), ("variance", np.nan)])
def test_levels_without_information(form, bad):
    level = np.ones(SHAPE)
    level[1, 2] = bad
    found = Normal(**{form: level}).sigma(read(VALUES))
    assert np.isinf(found[1, 2])
    assert np.isfinite(found).sum() == found.size - 1


@pytest.mark.parametrize("form", ["sigma", "variance"])
def test_zero_levels_are_refused(form):
    level = np.ones(SHAPE)
    level[1, 2] = 0
    with pytest.raises(DataError, match="zero in 1"):
        Normal(**{form: level}).sigma(read(VALUES))
