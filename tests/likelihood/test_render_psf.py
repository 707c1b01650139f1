"""Extended light and points through a PSF."""

import numpy as np
import pytest
from scipy import signal
from scipy.special import erf

from socca.data import Image
from socca.models import Exponential, Gaussian, Point
from socca.noise import Normal
from tests.likelihood.drawing import draw, moments, offsets, render

#: Of the PSF, pixels: sampled well enough for half-pixel shifts to be exact to 1e-8.
PSF_SIGMA = 2.0


def erf_gaussian(shape, north, east, sigma, amplitude=1.0):
    """Return a round Gaussian integrated over pixels, in closed form; all lengths in pixels."""
    rows, cols = offsets(shape)

    def integral(x):
        return np.sqrt(np.pi / 2) * sigma * erf(x / (np.sqrt(2) * sigma))

    along = integral(rows[:, :1] - north + 0.5) - integral(rows[:, :1] - north - 0.5)
    across = integral(cols[:1] - east + 0.5) - integral(cols[:1] - east - 0.5)
    return amplitude * along * across


def through(shape, psf, includes_pixel):
    """Return an image with a PSF: that of stars, or of the optics alone, to which the pixel is added."""
    image = Image(np.zeros(shape), pixel_scale=0.2, noise=Normal(sigma=1.0))
    image.addpsf(psf, includes_pixel=includes_pixel)
    return image


def gaussian_light(shape, north, east, sigma, includes_pixel, amplitude=1.0):
    """Return a round Gaussian at the pixels' centres, or its mean over the pixels if the PSF does not hold them."""
    if not includes_pixel:
        return erf_gaussian(shape, north, east, sigma, amplitude)
    rows, cols = offsets(shape)
    return amplitude * np.exp(-0.5 * ((rows - north) ** 2 + (cols - east) ** 2) / sigma**2)


def thorough(*values):
    """Return a further case of what the default tests try: each takes seconds to compile."""
    return pytest.param(*values, marks=pytest.mark.thorough)


@pytest.mark.parametrize(
    ("shape", "psf", "includes_pixel"),
    [
        ((40, 41), (25, 25), True),
        thorough((40, 41), (25, 25), False),
        thorough((40, 41), (24, 25), True),
        thorough((40, 41), (24, 25), False),
        thorough((45, 40), (24, 24), True),
        ((45, 40), (24, 24), False),
        thorough((45, 40), (25, 24), True),
        thorough((45, 40), (25, 24), False),
    ],
)
def test_gaussian_through_gaussian(make_psf, pixel, shape, psf, includes_pixel):
    image = through(shape, make_psf(psf, PSF_SIGMA), includes_pixel)
    # One inside, one centred outside the frame, whose light must scatter in.
    inside, outside = (1.3, -2.4), (shape[0] / 2 + 4, 3.0)
    got = sum(
        draw(image, Gaussian(xc=east * pixel, yc=north * pixel, rs=rs * pixel, Is=1.0))
        for (north, east), rs in [(inside, 3.0), (outside, 4.0)]
    )
    truth = sum(
        gaussian_light(shape, *at, np.hypot(rs, PSF_SIGMA), includes_pixel, rs**2 / (rs**2 + PSF_SIGMA**2))
        for at, rs in [(inside, 3.0), (outside, 4.0)]
    )
    # The weights that bring cells to the pixels, least squares for narrower PSFs, leave 2e-4 of the peak. The pixel,
    # counted twice or not at all, would make 6e-3, and a shift by half a pixel 1e-1.
    np.testing.assert_allclose(got, truth, rtol=0, atol=4e-4 * truth.max())


# An even PSF must be sampled well, and fade before its edge: its shift by half a pixel rings otherwise.
@pytest.mark.parametrize(
    ("psf", "sigma", "includes_pixel"),
    [
        thorough((9, 9), 1.1, True),
        ((11, 9), 1.2, True),
        thorough((11, 9), 1.2, False),
        thorough((9, 9), 1.1, False),
        thorough((24, 25), 1.7, True),
        ((24, 25), 1.7, False),
    ],
)
def test_convolution_is_scipys(make_psf, pixel, psf, sigma, includes_pixel):
    shape, margin = (40, 41), 20
    kernel = make_psf(psf, sigma=sigma, skewed=True)
    components = [(3.2, -4.1, 2.5), (22.0, 5.0, 4.0)]  # the second lies outside the frame
    image = through(shape, kernel, includes_pixel)
    got = sum(
        draw(image, Gaussian(xc=east * pixel, yc=north * pixel, rs=rs * pixel, Is=1.0))
        for north, east, rs in components
    )
    large = tuple(n + 2 * margin for n in shape)
    # Sources of 2.5 pixels and more have no light beyond the Nyquist frequency: to sum over pixels is to integrate.
    light = sum(gaussian_light(large, *at, includes_pixel) for at in components)
    full = signal.fftconvolve(light, kernel)
    # The kernel's reference point is its centre; where that falls between pixels, the spectrum is turned by half a one.
    spectrum = np.fft.fft2(full)
    first = []
    for axis, (n, k) in enumerate(zip(full.shape, psf, strict=True)):
        first.append(margin + (k - 1) // 2)
        shift = ((k - 1) // 2 - (k - 1) / 2) * np.fft.fftfreq(n)
        spectrum *= np.exp(-2j * np.pi * (shift[:, None] if axis == 0 else shift[None, :]))
    truth = np.fft.ifft2(spectrum).real[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
    # The weights that bring cells to the pixels, by least squares, leave 3e-4 of the peak. The pixel, counted twice or
    # not at all, would make 1e-2.
    np.testing.assert_allclose(got, truth, rtol=0, atol=4e-4 * truth.max())


@pytest.mark.thorough
def test_light_beyond_the_frame_is_that_of_a_larger_frame(make_image, make_psf, pixel):
    shape, margin, kernel = (40, 41), 10, make_psf((13, 11), sigma=1.2, skewed=True)
    source = {"xc": 4.3 * pixel, "yc": 17.7 * pixel, "rs": 2.0 * pixel, "Is": 1.0, "e": 0.3, "theta": 0.5}
    got = render(make_image(shape=shape, psf=kernel), Exponential(**source))
    large_shape = tuple(n + 2 * margin for n in shape)
    inner = slice(margin, -margin), slice(margin, -margin)
    sharp = draw(make_image(shape=large_shape), Exponential(**source))
    large = draw(make_image(shape=large_shape, psf=kernel), Exponential(**source))[inner]
    # Sums of doubles; what is lost beyond the padding is out of the PSF's reach.
    np.testing.assert_allclose(got.raw, sharp[inner], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(got.smoothed, large, rtol=0, atol=1e-12 * large.max())


@pytest.mark.parametrize("includes_pixel", [True, thorough(False)])
def test_flux_through_the_psf(make_psf, pixel, includes_pixel):
    image = through((40, 41), make_psf((9, 9), sigma=1.1, skewed=True), includes_pixel)
    out = render(image, Gaussian(xc=pixel, yc=-2 * pixel, rs=1.2 * pixel, Is=3.0))
    # All light within 10 sigma; the flux in closed form.
    flux = 2 * np.pi * 1.2**2 * 3
    assert out.raw.sum() == pytest.approx(flux, rel=1e-6)
    # Kept by the weights to what the guide promises.
    assert out.smoothed.sum() == pytest.approx(flux, rel=5e-4)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("edge", [-1, 1])
def test_no_wrap_around(make_image, make_psf, pixel, axis, edge):
    shape = (40, 41)
    image = make_image(shape=shape, psf=make_psf((25, 25), sigma=1.7, skewed=True))
    for beyond, least in ((-0.5, 1e-3), (3.5, 1e-3), (7.5, 1e-6), (11.5, 0.0)):
        at = [0.0, 0.0]
        at[axis] = edge * ((shape[axis] - 1) / 2 + beyond)
        for source in (Gaussian(rs=0.8 * pixel, Is=1.0), Point(Ic=1.0)):
            source.yc, source.xc = at[0] * pixel, -at[1] * pixel
            got = draw(image, source)
            assert got.max() > least
            far = np.take(got, range(15) if edge > 0 else range(-15, 0), axis=axis)
            # The Fourier transform's rounding; between pixels a point rings by its spectrum at the Nyquist frequency,
            # 6e-7 for this PSF.
            assert np.abs(far).max() < (1e-12 if isinstance(source, Gaussian) else 1e-6)


def test_point_on_a_pixel_is_the_psf(make_image, make_psf, pixel):
    shape = (40, 41)
    psf = make_psf((9, 11), sigma=1.1, skewed=True)
    row, col = 23, 14
    point = Point(xc=((shape[1] - 1) / 2 - col) * pixel, yc=(row - (shape[0] - 1) / 2) * pixel, Ic=5.0)
    got = draw(make_image(shape=shape, psf=psf), point)
    truth = np.zeros(shape)
    truth[row - 4 : row + 5, col - 5 : col + 6] = 5 * psf
    np.testing.assert_allclose(got, truth, rtol=0, atol=1e-12)
    flux, mean, central = moments(got)
    _, psf_mean, psf_central = moments(psf)
    assert flux == pytest.approx(5, rel=1e-12)
    assert np.subtract(mean, (row, col)) == pytest.approx(np.subtract(psf_mean, (4, 5)), abs=1e-9)
    assert central == pytest.approx(psf_central, abs=1e-8)
    # The test would mean little for a symmetric PSF.
    assert min(np.abs(psf_central[2:])) > 0.05


@pytest.mark.parametrize("psf", [(25, 25), (24, 25)])
def test_point_between_pixels(make_image, make_psf, pixel, psf):
    shape = (40, 41)
    image = make_image(shape=shape, psf=make_psf(psf, PSF_SIGMA))
    north, east = 3.37, -1.81
    rows, cols = offsets(shape)
    truth = np.exp(-0.5 * ((rows - north) ** 2 + (cols - east) ** 2) / PSF_SIGMA**2) / (2 * np.pi * PSF_SIGMA**2)
    got = draw(image, Point(xc=east * pixel, yc=north * pixel, Ic=1.0))
    # The PSF's array ends at 6 sigma and its aliases are at 3e-9.
    np.testing.assert_allclose(got, truth, rtol=0, atol=1e-7)


def test_point_outside_scatters_in(make_image, make_psf, pixel):
    shape = (40, 41)
    image = make_image(shape=shape, psf=make_psf((25, 25), PSF_SIGMA))
    rows, cols = offsets(shape)
    for north in (22.6, 70.0):
        got = draw(image, Point(xc=0.3 * pixel, yc=north * pixel, Ic=1.0))
        truth = np.exp(-0.5 * ((rows - north) ** 2 + (cols - 0.3) ** 2) / PSF_SIGMA**2) / (2 * np.pi * PSF_SIGMA**2)
        np.testing.assert_allclose(got, truth, rtol=0, atol=1e-7)


def test_point_without_a_psf(make_image, pixel):
    image = make_image(shape=(40, 41))
    got = draw(image, Point(xc=1.3 * pixel, yc=-4.45 * pixel, Ic=-2.0))
    flux, mean, _ = moments(got)
    assert flux == pytest.approx(-2, rel=1e-12)
    assert mean == pytest.approx((19.5 - 4.45, 20 - 1.3), abs=1e-9)
    assert np.count_nonzero(got) == 4
    assert not draw(image, Point(xc=0, yc=50 * pixel, Ic=1.0)).any()
    # At the edge, only what falls on the frame is kept.
    assert draw(image, Point(xc=0, yc=19.75 * pixel, Ic=1.0)).sum() == pytest.approx(0.75, rel=1e-9)
