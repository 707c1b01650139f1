"""Point-spread functions given as arrays: normalised, recentred, refused."""

import numpy as np
import pytest
from scipy import ndimage

from socca.errors import DataError
from tests.data.small_image import VALUES, read


def test_psf_is_normalised_and_no_more(make_psf):
    psf = make_psf((7, 8), skewed=True)
    image = read(VALUES)
    image.addpsf(psf * 37)
    # Division by the sum, and back.
    np.testing.assert_allclose(image.psf, psf, rtol=1e-14)
    image.addpsf(psf * 37, normalize=False)
    np.testing.assert_array_equal(image.psf, psf * 37)


def test_psf_recentred_on_request(make_psf):
    psf = make_psf((11, 11), sigma=1.1)
    psf = np.roll(psf, (1, -2), (0, 1))
    image = read(VALUES)
    for center in ("centroid", "peak"):
        image.addpsf(psf, center=center)
        # The Gaussian's wings are cut at 3 sigma on one side, which moves its centroid by 1e-2 pixels.
        assert ndimage.center_of_mass(image.psf) == pytest.approx((5, 5), abs=2e-2)
        assert image.psf.sum() == pytest.approx(1, abs=1e-12)
    with pytest.raises(DataError, match="center"):
        image.addpsf(psf, center="middle")


@pytest.mark.parametrize(
    ("psf", "message"),
    [
        (np.zeros((5, 5)), "sum"),
        (np.array([[1.0, -1, 0], [0, 0, 0], [-1, 0, 1]]), "sum"),
        (-np.ones((5, 5)), "sum"),
        (np.ones((13, 5)), "larger"),
        (np.ones((5, 15)), "larger"),
        (np.full((5, 5), np.nan), "finite"),
        (np.diag([1.0, np.inf, 1.0]), "finite"),
        (np.ones((2, 5, 5)), "shape"),
        (np.float64(2), "two-dimensional"),
    ],
)
def test_bad_psfs(psf, message):
    image = read(VALUES)
    with pytest.raises(DataError, match=f"psf.*{message}"):
        image.addpsf(psf)
    assert image.psf is None
