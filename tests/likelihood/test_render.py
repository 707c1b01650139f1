import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.modeling.functional_models import Sersic2D
from astropy.wcs import WCS
from scipy import signal
from scipy.integrate import cubature
from scipy.special import erf, gammaincinv

from socca.data import Image
from socca.likelihood.parameter_vector import all_values
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, Background, Exponential, Gaussian, Model, Point, Sersic
from socca.models.radial import sersic_b
from socca.noise import Normal
from socca.priors import uniform


def draw(image, *components, **kwargs):
    model = Model()
    for component in components:
        model.addcomponent(component)
    return model.getmap(image, **kwargs)


def render(image, *components):
    model = Model()
    for component in components:
        model.addcomponent(component)
    return model.getmodel(image, [])


def offsets(shape):
    """Return (north, east) of pixel centres from the centre of the array, in pixels."""
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return row, -col


def gauss_legendre(function, shape, points):
    """Integrate a function of (north, east) in pixels over every pixel."""
    north, east = offsets(shape)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total = np.zeros(shape)
    for a, wa in zip(nodes / 2, weights / 2, strict=True):
        for b, wb in zip(nodes / 2, weights / 2, strict=True):
            total += wa * wb * function(north + a, east + b)
    return total


def erf_gaussian(shape, north, east, sigma, amplitude=1.0):
    """Return a round Gaussian integrated over pixels, in closed form; all lengths in pixels."""
    rows, cols = offsets(shape)

    def integral(x):
        return np.sqrt(np.pi / 2) * sigma * erf(x / (np.sqrt(2) * sigma))

    along = integral(rows[:, :1] - north + 0.5) - integral(rows[:, :1] - north - 0.5)
    across = integral(cols[:1] - east + 0.5) - integral(cols[:1] - east - 0.5)
    return amplitude * along * across


def moments(image):
    """Return flux, centroid (row, column) and central second and third moments along both axes."""
    row, col = np.indices(image.shape)
    flux = image.sum()
    mean = [float((axis * image).sum() / flux) for axis in (row, col)]
    central = [
        float(((axis - m) ** k * image).sum() / flux) for k in (2, 3) for axis, m in zip((row, col), mean, strict=True)
    ]
    return flux, mean, central


# Radial profiles on pixels.


def sersic(re, ns, e, theta, north0, east0, cbox=0.0):
    b = gammaincinv(2 * ns, 0.5)

    def brightness(north, east):
        dx, dy = east - east0, north - north0
        major = np.abs(dx * np.sin(theta) + dy * np.cos(theta))
        minor = np.abs(dx * np.cos(theta) - dy * np.sin(theta)) / (1 - e)
        r = (major ** (2 + cbox) + minor ** (2 + cbox)) ** (1 / (2 + cbox))
        return np.exp(-b * ((r / re) ** (1 / ns) - 1))

    return brightness


def sersic_truth(function, shape, north0, east0):
    """Integrate over every pixel; the nine at the centre adaptively, split at the source's centre."""
    truth = gauss_legendre(function, shape, 24)
    north, east = offsets(shape)
    for i, j in np.argwhere((np.abs(north) < 1.5) & (np.abs(east) < 1.5)):
        cuts = []
        for middle, centre in ((north[i, j], north0), (east[i, j], east0)):
            cuts.append(sorted({middle - 0.5, middle + 0.5, float(np.clip(centre, middle - 0.5, middle + 0.5))}))
        truth[i, j] = sum(
            cubature(
                lambda p: function(p[:, 0], p[:, 1]),
                [cuts[0][k], cuts[1][m]],
                [cuts[0][k + 1], cuts[1][m + 1]],
                rtol=3e-5,
                atol=1e-9 * truth.max(),
                max_subdivisions=2000,
            ).estimate
            for k in range(len(cuts[0]) - 1)
            for m in range(len(cuts[1]) - 1)
        )
    return truth


@pytest.mark.parametrize(
    ("ns", "re", "e", "tolerance"),
    [
        (0.5, 1, 0.0, 1e-3),
        (0.5, 10, 0.4, 1e-3),
        (1.0, 3, 0.4, 1e-3),
        (2.0, 1, 0.4, 1e-3),
        (4.0, 3, 0.0, 1e-3),
        (4.0, 10, 0.4, 1e-3),
        (8.0, 50, 0.4, 1e-3),
        (8.0, 1, 0.4, 1e-3),
        (0.5, 10, 0.8, 1e-3),
        (1.0, 3, 0.8, 1e-3),
        (4.0, 10, 0.8, 1e-3),
        (8.0, 50, 0.8, 1e-3),
    ],
)
def test_sersic_pixels(make_image, pixel, ns, re, e, tolerance):
    shape = (61, 61)
    north0, east0 = np.random.default_rng(int(10 * ns + re)).uniform(-0.5, 0.5, 2)
    theta = 0.4 + ns / 3
    truth = sersic_truth(sersic(re, ns, e, theta, north0, east0), shape, north0, east0)
    component = Sersic(xc=east0 * pixel, yc=north0 * pixel, re=re * pixel, Ie=1, ns=ns, e=e, theta=theta)
    got = draw(make_image(shape=shape), component)
    bright = truth > 1e-3 * truth.max()
    assert np.abs(got[bright] / truth[bright] - 1).max() < tolerance


def test_off_centre_cusp(make_image, pixel):
    # Near the frame's edge the patches are clipped; the accuracy must stay.
    shape, north0, east0 = (61, 61), 29.2, -30.4
    function = sersic(5, 2.0, 0.3, 1.0, north0, east0)
    truth = gauss_legendre(function, shape, 24)
    got = draw(
        make_image(shape=shape),
        Sersic(xc=east0 * pixel, yc=north0 * pixel, re=5 * pixel, Ie=1, ns=2.0, e=0.3, theta=1.0),
    )
    north, east = offsets(shape)
    away = (np.hypot(north - north0, east - east0) > 2) & (truth > 1e-3 * truth.max())
    assert np.abs(got[away] / truth[away] - 1).max() < 1e-3


@pytest.mark.parametrize("theta", [0.0, 0.3, np.pi / 2, 2.5])
def test_orientation_is_north_through_east(make_image, pixel, theta):
    shape = (61, 61)
    # astropy turns from +x (west here, for east is to the left) through +y (north).
    reference = Sersic2D(amplitude=1.3, r_eff=6, n=0.7, x_0=-1.3, y_0=2.1, ellip=0.6, theta=theta + np.pi / 2)
    truth = gauss_legendre(lambda north, east: reference(-east, north), shape, 8)
    got = draw(
        make_image(shape=shape),
        Sersic(xc=1.3 * pixel, yc=2.1 * pixel, re=6 * pixel, Ie=1.3, ns=0.7, e=0.6, theta=theta),
    )
    # The minor axis is 2.4 pixels: a few times 1e-4 of the peak, when a wrong angle makes 1e-1.
    np.testing.assert_allclose(got, truth, rtol=0, atol=2e-3 * truth.max())


@pytest.mark.parametrize(
    "field",
    [
        {"ra": 359.9999, "dec": -60, "rotation": 30},
        {"ra": 20, "dec": 85, "rotation": -100, "mirrored": True},
        {"ra": 150, "dec": 2, "rotation": 200, "sip": 0.3, "offset": (50, -70)},
    ],
    ids=["rotated", "mirrored", "sip"],
)
def test_orientation_on_the_sky(make_image, make_header, field):
    shape = (40, 41)
    header = make_header(shape, **field)
    wcs = WCS(header)
    ra, dec = (float(v) for v in wcs.all_pix2world(22.3, 17.8, 0))
    source = SkyCoord(ra, dec, unit="deg")
    scale, re, e, theta = 0.2 / 3600, 6.0, 0.5, 0.7

    def brightness(north, east):
        row, col = north + (shape[0] - 1) / 2, (shape[1] - 1) / 2 - east
        points = SkyCoord(*wcs.all_pix2world(col, row, 0), unit="deg")
        r, angle = source.separation(points).deg / scale, source.position_angle(points).rad
        return sersic(re, 1.0, e, theta, 0, 0)(r * np.cos(angle), r * np.sin(angle))

    truth = gauss_legendre(brightness, shape, 6)
    got = draw(
        make_image(shape=shape, header=header), Sersic(xc=ra, yc=dec, re=re * scale, Ie=1, ns=1, e=e, theta=theta)
    )
    away = np.hypot(*(np.indices(shape) - np.array([17.8, 22.3])[:, None, None])) > 1.5
    # The truth is not split at the cusp, so the central pixels are left to the tests above. Within 10 pixels of the
    # source the WCS is taken as linear: a SIP of 0.3 pixels at 100 (ACS has 0.25) costs 1e-4 of the peak.
    np.testing.assert_allclose(got[away], truth[away], rtol=0, atol=2e-4 * truth.max())


def test_sersic_b():
    ns = np.linspace(0.25, 10, 400)
    with jax.enable_x64(True):
        got = jax.jit(jax.vmap(sersic_b))(ns)
    np.testing.assert_allclose(got, gammaincinv(2 * ns, 0.5), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cbox", [0.0, 0.7, -0.6, 3.0])
def test_boxiness(cbox):
    rng = np.random.default_rng(9)
    dx, dy = rng.normal(0, 3, (2, 50))
    values = {"theta": 0.8, "e": 0.35, "cbox": cbox, "rs": 2.0, "Is": 1.5}
    major = np.abs(dx * np.sin(0.8) + dy * np.cos(0.8))
    minor = np.abs(dx * np.cos(0.8) - dy * np.sin(0.8)) / 0.65
    r = (major ** (2 + cbox) + minor ** (2 + cbox)) ** (1 / (2 + cbox))
    with jax.enable_x64(True):
        spec = Gaussian(xc=0, yc=0, rs=1, Is=1, cbox=0.1).spec()
        got = Gaussian.brightness(dx, dy, values, spec, np.eye(2))
        if cbox == 0:
            neutral = Gaussian(xc=0, yc=0, rs=1, Is=1).spec()
            np.testing.assert_allclose(got, Gaussian.brightness(dx, dy, values, neutral, np.eye(2)), rtol=1e-12)
    np.testing.assert_allclose(got, 1.5 * np.exp(-0.5 * (r / 2) ** 2), rtol=1e-10)


def test_boxy_source(make_image, pixel):
    shape = (61, 61)
    truth = gauss_legendre(sersic(8, 0.5, 0.3, 0.5, 0.2, -0.3, cbox=0.8), shape, 8)
    got = draw(
        make_image(shape=shape),
        Sersic(xc=-0.3 * pixel, yc=0.2 * pixel, re=8 * pixel, Ie=1, ns=0.5, e=0.3, theta=0.5, cbox=0.8),
    )
    np.testing.assert_allclose(got, truth, rtol=0, atol=1e-3 * truth.max())


@pytest.mark.parametrize(("kind", "flux"), [(Gaussian, 2 * np.pi), (Exponential, 2 * np.pi)])
def test_total_flux(make_image, pixel, kind, flux):
    shape, rs, e = (61, 61), (4 if kind is Gaussian else 1.5), 0.3
    got = draw(make_image(shape=shape), kind(xc=0.2 * pixel, yc=-0.4 * pixel, rs=rs * pixel, Is=2.0, e=e, theta=1))
    # Edges at 7 sigma or 20 scale lengths. What is left is where the stencil takes over from quadrature, and the cusp.
    assert got.sum() == pytest.approx(flux * rs**2 * (1 - e) * 2, rel=2e-5 if kind is Gaussian else 2e-4)


# The PSF. Its sigma of 2 pixels is sampled well enough for half-pixel shifts to be exact to 1e-8.

PSF_SIGMA = 2.0


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


@pytest.mark.parametrize("includes_pixel", [True, False])
@pytest.mark.parametrize(
    ("shape", "psf"), [((40, 41), (25, 25)), ((40, 41), (24, 25)), ((45, 40), (24, 24)), ((45, 40), (25, 24))]
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
        ((9, 9), 1.1, True),
        ((11, 9), 1.2, True),
        ((11, 9), 1.2, False),
        ((9, 9), 1.1, False),
        ((24, 25), 1.7, True),
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


@pytest.mark.parametrize("includes_pixel", [True, False])
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


def test_background(make_image, make_psf, pixel):
    shape = (20, 25)
    rng = np.random.default_rng(3)
    coefficients = {name: float(c) for name, c in zip(list(Background.fields)[1:], rng.normal(size=10), strict=True)}
    rs = 7 * pixel
    north, east = offsets(shape)
    x, y = east / 7, north / 7
    powers = [x**0, x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3]
    truth = sum(c * p for c, p in zip(coefficients.values(), powers, strict=True))
    assert list(coefficients) == ["a0", "a1x", "a1y", "a2xx", "a2xy", "a2yy", "a3xxx", "a3xxy", "a3xyy", "a3yyy"]
    for psf in (None, make_psf((9, 8), skewed=True)):
        out = render(make_image(shape=shape, psf=psf), Background(rs=rs, **coefficients))
        np.testing.assert_allclose(out.background, truth, rtol=1e-10, atol=1e-12)
        assert not np.any(out.raw)
        assert not np.any(out.smoothed)


def test_parts_and_sums(make_image, make_psf, pixel):
    image = make_image(shape=(40, 41), psf=make_psf((9, 9), skewed=True))
    sources = [
        Exponential(xc=pixel, yc=2 * pixel, rs=2 * pixel, Is=1.0),
        Point(xc=-5 * pixel, yc=3.3 * pixel, Ic=4.0),
        Background(a0=0.3),
    ]
    model = Model()
    for k, source in enumerate(sources):
        model.addcomponent(source, label=f"part{k}")
    whole = model.getmodel(image, [])
    parts = [model.getmodel(image, [], component=f"part{k}") for k in range(3)]
    np.testing.assert_allclose(whole.smoothed, parts[0].smoothed + parts[1].smoothed, atol=1e-13)
    np.testing.assert_allclose(whole.background, 0.3)
    np.testing.assert_array_equal(whole.raw, parts[0].raw)
    np.testing.assert_array_equal(model.getmap(image), whole.smoothed)
    # Not convolved, the point is there all the same: one pixel's worth of light at its place.
    sharp = model.getmap(image, convolve=False)
    np.testing.assert_allclose(sharp - whole.raw, sources[1].getmap(make_image(shape=(40, 41))), rtol=0, atol=1e-12)
    flux, mean, _ = moments(sources[1].getmap(image, convolve=False))
    assert flux == pytest.approx(4, rel=1e-12)
    assert mean == pytest.approx((19.5 + 3.3, 20 + 5), abs=1e-9)
    np.testing.assert_array_equal(model.getmap(image, addbackground=True), whole.smoothed + whole.background)
    assert not whole.negative


def test_an_image_does_not_depend_on_the_size_of_its_pixels():
    # From 100 arcsec to 10 microarcsec, as seen by interferometers.
    maps = []
    for size in (100.0, 0.2, 1e-5):
        image, pixel = Image(np.zeros((15, 16)), pixel_scale=size, noise=Normal(sigma=1.0)), size / 3600
        where = {"xc": 0.0, "yc": 0.5 * pixel, "theta": 0.4, "e": 0.3}  # on a pixel's side
        maps.append(draw(image, Sersic(**where, re=0.7 * pixel, Ie=1.0, ns=4.0)))
    # By rounding, such a centre belongs to either pixel, and pixels far out to one rule of quadrature or the next.
    for other in (maps[0], maps[2]):
        np.testing.assert_allclose(other, maps[1], rtol=1e-5)


def test_sky_and_pixel_frames_agree(make_image, make_header, make_psf, pixel):
    shape, psf = (40, 41), make_psf((9, 8), skewed=True)
    flat = make_image(shape=shape, psf=psf)
    sky = make_image(shape=shape, psf=psf, header=make_header(shape, ra=0.0, dec=-70))
    maps = []
    for image in (flat, sky):
        placed = []
        for north, east in [(2.3, -4.1), (-6.2, 3.7)]:
            row, col = (shape[0] - 1) / 2 + north, (shape[1] - 1) / 2 - east
            if image is flat:
                placed.append({"xc": east * pixel, "yc": north * pixel})
            else:
                ra, dec = image.wcs.all_pix2world(col, row, 0)
                placed.append({"xc": float(ra), "yc": float(dec)})
        maps.append(
            draw(
                image,
                Sersic(**placed[0], re=4 * pixel, Ie=1.0, ns=1.5, e=0.4, theta=0.6),
                Point(**placed[1], Ic=10.0),
                Background(a0=0.1, a1x=0.2, a1y=-0.1),
                addbackground=True,
            )
        )
    # TAN on the field's own centre is the plane itself; the coordinates (degrees near 360) keep ten digits of a pixel.
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-7 * maps[0].max())


# Derivatives.


def generic(kind, pixel):
    """Return a component of any kind, every parameter free, in ranges that its fields suggest."""
    options = {
        "CustomProfile": {"parameters": {"s": "deg", "top": "image", "k": ""}, "profile": "top * exp(-(r / s) ** k)"},
        "Disk": {"losbins": 16},
    }
    component = kind(**options.get(kind.__name__, {}))
    for k, (name, field) in enumerate(component.fields.items()):
        if name.split(".")[-1] in ("xc", "yc"):
            low, high = (0.1 + k) * pixel, (0.4 + k) * pixel
        elif field.unit == "deg":
            low, high = (2.0 + k / 10) * pixel, (3.5 + k / 10) * pixel
        elif field.unit == "image":
            low, high = 0.5 + k / 20, 1.5 + k / 20
        elif field.neutral is not None:
            low, high = field.neutral + 0.1, field.neutral + 0.4
        elif (kind.__name__, name) == ("Power", "alpha"):
            low, high = 0.8, 1.3  # steeper, and the central pixel would drown the rest
        elif np.isfinite(field.upper - field.lower):
            low, high = field.lower + np.array([0.2, 0.4]) * (field.upper - field.lower)
        elif field.default:
            low, high = sorted((0.9 * field.default, 1.2 * field.default))
        else:
            low, high = 0.3, 0.9
        setattr(component, name, uniform(low, high))
    return component


def test_registry_holds_what_can_be_drawn():
    assert "Radial" not in REGISTRY


@pytest.fixture
def quickly_compiled():
    """Compile without XLA's optimisations: these programs run a few times only."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("kind", sorted(kind for kind in REGISTRY if REGISTRY[kind].role == "extended"))
def test_slopes_of_the_brightness(make_image, pixel, kind):
    problem = Problem(make_image(shape=(8, 8)), Model(generic(REGISTRY[kind], pixel)))
    (spec,), model = problem.spec.scene.components, problem.spec.model
    theta = problem.prior_transform(np.full(problem.ndim, 0.6))[0]
    widths = np.array([p.values[1] - p.values[0] for p in problem.priors])
    with jax.enable_x64(True):
        dx, dy = pixel * jnp.array([[1.3, -2.2, 0.4], [0.7, 0.9, -3.1]])

        @jax.jit
        @jax.value_and_grad
        def brightness(units):
            values = all_values(model, problem.on_device["model"], theta + widths * units)
            own = {name: values[f"comp_00_{name}"] for name, _ in spec.fields}
            return spec.kind.brightness(dx, dy, own, spec, pixel * jnp.eye(2)).sum()

        steps = 1e-5 * np.eye(problem.ndim)
        slopes = np.asarray(brightness(np.zeros(problem.ndim))[1])
        numeric = np.array([brightness(step)[0] - brightness(-step)[0] for step in steps]) / 2e-5
    # As below.
    np.testing.assert_allclose(slopes, numeric, rtol=1e-5, atol=1e-7 * np.abs(numeric).max())
    assert np.any(slopes)


#: Of these, every run compiles the whole likelihood's gradient, seconds each; of the others, that of their own light.
WHOLE = ("Background", "MesaBridge", "Point", "Sersic")


# Each costs seconds of compiling without a PSF too; there, nothing differs but for points.
@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(
    ("kind", "psf"),
    [
        *((k, True) if k in WHOLE else pytest.param(k, True, marks=pytest.mark.slow) for k in sorted(REGISTRY)),
        ("Point", False),
    ],
)
def test_gradients(make_image, make_psf, pixel, kind, psf):
    data = np.random.default_rng(1).normal(0.5, 1, (16, 17))
    image = make_image(data, psf=make_psf((9, 8), skewed=True) if psf else None, noise=Normal(sigma=0.5))
    problem = Problem(image, Model(generic(REGISTRY[kind], pixel)))
    unit = np.random.default_rng(2).uniform(0.2, 0.8, (2, problem.ndim))
    theta = problem.prior_transform(unit)
    widths = np.array([p.values[1] - p.values[0] for p in problem.priors])
    steps = 1e-5 * widths
    moved = theta[:, None, None] + np.array([1, -1])[:, None, None] * np.diag(steps)
    # All at once, and by the one program; that the likelihood without a gradient is the same is tested with problems.
    rows = np.concatenate([theta, moved.reshape(-1, problem.ndim)])
    values, gradients = problem.log_likelihood_and_grad(rows)
    value, gradient = values[:2], gradients[:2]
    there = values[2:].reshape(2, 2, problem.ndim)
    numeric = (there[:, 0] - there[:, 1]) / (2 * steps)
    assert np.all(np.isfinite(gradient))
    # Central differences of 1e-5 of a prior: truncation 1e-10, rounding 1e-16 of the value over 1e-5, both of the scale
    # on which the likelihood changes. A derivative that is dropped is wrong by its whole size. Through a PSF, samples
    # follow the isophotes, and that they do is left out of the derivatives: it changes the image by less than its
    # error, but where the rest of a derivative is small, as of the angle of a thick disk, it counts.
    scale, slack = np.abs(value).max(), 2e-3 if kind == "Disk" else 1e-4
    for k, name in enumerate(problem.names):
        follows = psf and name.split("_", 2)[2].split(".")[-1] in ("theta", "e", "inc")
        tolerances = {"rtol": 4e-3, "atol": slack * scale} if follows else {"rtol": 1e-5, "atol": 1e-7 * scale}
        np.testing.assert_allclose(gradient[:, k] * widths[k], numeric[:, k] * widths[k], **tolerances, err_msg=name)
    assert np.all(np.any(np.abs(gradient * widths) > 1e-3, axis=0))
