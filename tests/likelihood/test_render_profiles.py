"""Radial profiles on pixels, without a PSF: their light, orientation and shape."""

import jax
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.modeling.functional_models import Sersic2D
from astropy.wcs import WCS
from scipy.special import gammaincinv

from socca.models import Exponential, Gaussian, Sersic
from socca.models.radial import sersic_b
from tests.likelihood.drawing import draw, offsets


def gauss_legendre(function, shape, points):
    """Integrate a function of (north, east) in pixels over every pixel."""
    north, east = offsets(shape)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total = np.zeros(shape)
    for a, wa in zip(nodes / 2, weights / 2, strict=True):
        for b, wb in zip(nodes / 2, weights / 2, strict=True):
            total += wa * wb * function(north + a, east + b)
    return total


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
    from scipy.integrate import cubature  # since SciPy 1.15; the oldest that socca runs with has none

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
