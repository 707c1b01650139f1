"""PSFs and grids that are sampled more finely than the image."""

import numpy as np
import pytest

from socca.data.psf import UndersampledPsfWarning
from socca.models import Background, Exponential, Gaussian, Point
from tests.data.gaussians import centroid, erf_gaussian, gaussian_psf, model_of, point_gaussian


@pytest.fixture(scope="module")
def round_source(pixel):
    return Gaussian(xc=-2.4 * pixel, yc=1.3 * pixel, rs=2.5 * pixel, Is=1.0)


@pytest.mark.parametrize("includes_pixel", [True, False])
@pytest.mark.parametrize(
    "psf", [(39, 39), (38, 39), *(pytest.param(n, marks=pytest.mark.slow) for n in ((39, 36), (38, 38)))]
)
def test_gaussian_through_a_fine_gaussian(make_image, pixel, psf, round_source, includes_pixel):
    shape, sigma, finer = (31, 34), 1.2, 3
    image = make_image(shape=shape)
    image.addpsf(gaussian_psf(psf, finer * sigma), oversample=finer, includes_pixel=includes_pixel)
    assert image.psf.shape == psf
    seen = point_gaussian if includes_pixel else erf_gaussian
    width = np.hypot(2.5, sigma)
    truth = seen(shape, 1.3, -2.4, width, 2.5**2 / width**2)
    # Weights by least squares, for narrower PSFs.
    np.testing.assert_allclose(round_source.getmap(image, convolve=True), truth, rtol=0, atol=4e-4 * truth.max())
    # A point: the PSF at the pixels' centres, or its mean over pixels, and no shift of its centre.
    got = Point(xc=-2.37 * pixel, yc=1.33 * pixel, Ic=7.0).getmap(image, convolve=True)
    flux, row, col = centroid(got)
    assert flux == pytest.approx(7.0, rel=1e-5)
    assert (row, col) == pytest.approx((15 + 1.33, 16.5 + 2.37), abs=1e-4)
    truth = seen(shape, 1.33, -2.37, sigma, 7 / (2 * np.pi * sigma**2))
    # The PSF ends at 5 sigma: 1e-6.
    np.testing.assert_allclose(got, truth, rtol=0, atol=2e-5 * truth.max())


@pytest.mark.filterwarnings("ignore::socca.data.psf.UndersampledPsfWarning")  # one pixel is the narrowest there is
def test_centre_of_a_fine_psf(make_image):
    # One of its own pixels at (n - 1) / 2 leaves light where it is; the next one moves it by a third of a pixel.
    shape = (31, 31)
    light = Gaussian(xc=0, yc=0, rs=2.5 * 0.2 / 3600, Is=1.0)
    for size, at, moved in [(9, 4, 0.0), (9, 5, 1 / 3), (9, 1, -1.0), (8, 4, 1 / 6), (8, 3, -1 / 6)]:
        psf = np.zeros((size, size))
        psf[at, 4 if size == 9 else 3] = 1
        image = make_image(shape=shape)
        image.addpsf(psf, oversample=3)
        _, row, col = centroid(light.getmap(image, convolve=True))
        # The tails of the source at 6 sigma; ringing of sub-pixel shifts is even.
        assert row == pytest.approx(15 + moved, abs=1e-4)
        assert col == pytest.approx(15 + (0.0 if size == 9 else -1 / 6), abs=1e-4)


def test_an_undersampled_psf(make_image, pixel):
    shape, sigma = (31, 34), 0.4
    width = np.hypot(0.8, sigma)
    truth = erf_gaussian(shape, 1.3, -2.4, width, 0.8**2 / width**2)
    source = Gaussian(xc=-2.4 * pixel, yc=1.3 * pixel, rs=0.8 * pixel, Is=1.0)
    fine, native = make_image(shape=shape), make_image(shape=shape)
    fine.addpsf(gaussian_psf((31, 31), 5 * sigma), oversample=5, includes_pixel=False)
    with pytest.warns(UndersampledPsfWarning):
        native.addpsf(gaussian_psf((7, 7), sigma), includes_pixel=False)
    error = [np.abs(source.getmap(i, convolve=True) - truth).max() / truth.max() for i in (fine, native)]
    assert error[0] < 1e-3
    assert error[1] > 1e-2


def test_a_function_as_a_fine_psf(make_image, round_source):
    # Its mean over whole pixels of the image, about the centres of its own.
    image = make_image(shape=(31, 34))
    image.addpsf(lambda x, y: np.exp(-0.5 * (x**2 + y**2) / 1.44), oversample=3)
    width = np.sqrt(2.5**2 + 1.44)
    truth = erf_gaussian((31, 34), 1.3, -2.4, width, 2.5**2 / width**2)
    # It is cut where 1e-4 of its flux is left out, and then normalised. The pixel, counted twice or not at all, would
    # make 1e-2.
    np.testing.assert_allclose(round_source.getmap(image, convolve=True), truth, rtol=0, atol=4e-4 * truth.max())


# Finer grids.


@pytest.mark.parametrize(("sky", "psf"), [pytest.param(False, False, marks=pytest.mark.slow), (True, True)])
def test_subgrids_agree(make_image, make_header, make_psf, pixel, sky, psf):
    shape = (24, 27)
    header = make_header(shape, ra=150, dec=-40, rotation=20) if sky else None
    kernel = make_psf((15, 16), sigma=1.4, skewed=True) if psf else None
    found = {}
    for subgrid in (1, 2, 3):
        image = make_image(shape=shape, header=header, psf=kernel, subgrid=subgrid)
        at = []
        for north, east in [(1.3, -2.2), (-3.0, 4.0)]:
            row, col = (shape[0] - 1) / 2 + north, (shape[1] - 1) / 2 - east
            if sky:
                ra, dec = image.wcs.all_pix2world(col, row, 0)
                at.append({"xc": float(ra), "yc": float(dec)})
            else:
                at.append({"xc": east * pixel, "yc": north * pixel})
        model = model_of(
            Exponential(**at[0], rs=1.7 * pixel, Is=2.0, e=0.3, theta=0.5),
            Point(**at[1], Ic=5.0),
            Background(a0=0.3, a1y=0.1, a2xy=0.03),
        )
        found[subgrid] = model.getmodel(image, [])
    for subgrid in (2, 3):
        for part in ("raw", "smoothed"):
            one, two = (getattr(found[k], part) for k in (1, subgrid))
            if psf:  # for which light is sampled as finely as need be anyway
                np.testing.assert_array_equal(two, one)
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-3 * one.max())
            assert two.sum() == pytest.approx(one.sum(), rel=1e-4)
        np.testing.assert_allclose(found[subgrid].background, found[1].background, rtol=1e-6)
