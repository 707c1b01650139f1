"""How exactly sources are integrated over pixels, against closed forms and quadrature that share nothing with socca."""

import itertools

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.integrate import dblquad
from scipy.special import erf, gamma, gammainc, gammaincinv

from socca.likelihood.problem import Problem
from socca.models import Exponential, Gaussian, Model, Sersic, TopHat
from socca.priors import uniform

SHAPE = (61, 61)


class Truth:
    """A Sersic source on pixels: lengths in pixels, positions as (north, east) of the centre of the array."""

    def __init__(self, re, ns, e, theta, north, east, cbox=0.0):
        self.re, self.ns, self.e, self.theta, self.power = re, ns, e, theta, 2 + cbox
        self.center = north, east
        self.b = gammaincinv(2 * ns, 0.5)

    def radius(self, dn, de):
        """Return the elliptical radius over re, at offsets from the centre."""
        major = np.abs(de * np.sin(self.theta) + dn * np.cos(self.theta))
        minor = np.abs(de * np.cos(self.theta) - dn * np.sin(self.theta)) / (1 - self.e)
        return (major**self.power + minor**self.power) ** (1 / self.power) / self.re

    def brightness(self, dn, de):
        return np.exp(-self.b * (self.radius(dn, de) ** (1 / self.ns) - 1))

    def along_ray(self, dn, de):
        """Return the integral over t from 0 to 1 of t times the brightness at t times the offset, in closed form."""
        s, n = self.radius(dn, de), self.ns
        power = 2 * n
        s = np.maximum(s, 1e-120)  # at the centre itself, half the central brightness
        return np.exp(self.b) * n * self.b**-power * gamma(power) * gammainc(power, self.b * s ** (1 / n)) / s**2

    def through_sides(self, rows, cols):
        """Integrate over pixels, given by their centres' offsets: the flux of x H through their sides, div(x H) = B.

        Each side is cut where it crosses the axes and where it is nearest to the centre, as the isophotes measure it,
        and each piece integrated by the double-exponential rule, which crowds towards its ends.
        """
        step = 6.4 / 48
        s = np.pi / 2 * np.sinh(np.arange(-3.2, 3.2 + step / 2, step))
        t = 1 / (1 + np.exp(-2 * s))
        weight = step * np.pi / 2 * np.cosh(np.arcsinh(s * 2 / np.pi)) / (2 * np.cosh(s) ** 2)
        sin, cos, squash = np.sin(self.theta) + 1e-100, np.cos(self.theta) + 1e-100, (1 - self.e) ** -2
        # r^2 = a n^2 + 2 b n e + c e^2 of the ellipse.
        a, b, c = cos**2 + sin**2 * squash, sin * cos * (1 - squash), sin**2 + cos**2 * squash
        total = np.zeros(np.shape(rows))
        for upright in (False, True):
            across, along = (cols, rows) if upright else (rows, cols)
            for outward in (-1, 1):
                distance = across + outward / 2
                cuts = [-b / a, cos / sin, -sin / cos] if upright else [-b / c, sin / cos, -cos / sin]
                low = along - 0.5
                cuts = np.sort([low, low + 1, *(np.clip(cut * distance, low, low + 1) for cut in cuts)], axis=0)
                for start, end in itertools.pairwise(cuts):
                    at = start[..., None] + (end - start)[..., None] * t
                    far = np.broadcast_to(distance[..., None], at.shape)
                    found = self.along_ray(at, far) if upright else self.along_ray(far, at)
                    total += outward * distance * (end - start) * (found * weight).sum(-1)
        return total

    def image(self, shape=SHAPE, block=4.5, points=8):
        """Return the source on pixels: by sides near the centre, by Gauss-Legendre points elsewhere."""
        rows, cols = np.indices(shape, float)
        dn, de = rows - (shape[0] - 1) / 2 - self.center[0], (shape[1] - 1) / 2 - cols - self.center[1]
        x, w = np.polynomial.legendre.leggauss(points)
        total = sum(
            wa * wb / 4 * self.brightness(dn + xa / 2, de + xb / 2)
            for xa, wa in zip(x, w, strict=True)
            for xb, wb in zip(x, w, strict=True)
        )
        near = (np.abs(dn) < block) & (np.abs(de) < block)
        total[near] = self.through_sides(dn[near], de[near])
        return total

    def flux(self):
        """Return the total over the whole plane, without boxiness."""
        n = self.ns
        return 2 * np.pi * self.re**2 * n * np.exp(self.b) * self.b ** (-2 * n) * gamma(2 * n) * (1 - self.e)


def render(problem, pixel, truth, **more):
    """Draw the source of a truth with the one program of a problem."""
    values = {
        "yc": truth.center[0] * pixel,
        "xc": truth.center[1] * pixel,
        "theta": truth.theta,
        "e": truth.e,
        "re": truth.re * pixel,
        "ns": truth.ns,
        **more,
    }
    return problem.render([values[name.removeprefix("comp_00_")] for name in problem.names]).raw


def worst(got, truth):
    """Return the largest relative error of pixels brighter than 1e-3 of the peak.

    A scan of 1500 sources, three quarters of them of re from 1 to 3 pixels, had its worst at 5e-4.
    """
    bright = truth > 1e-3 * truth.max()
    return float(np.abs(got[bright] / truth[bright] - 1).max())


#: What integration aims at.
TOLERANCE = 1e-3


def free_sersic(pixel, **more):
    box = uniform(-9 * pixel, 9 * pixel)
    return Sersic(
        xc=box,
        yc=box,
        theta=uniform(0, np.pi),
        e=uniform(0, 0.9),
        re=uniform(0.5 * pixel, 60 * pixel),
        ns=uniform(0.3, 9),
        Ie=1,
        **more,
    )


@pytest.fixture(scope="module")
def sersic(make_image, pixel):
    """A free Sersic source: one program for all the values below."""
    return Problem(make_image(shape=SHAPE), Model(free_sersic(pixel)))


def test_the_truth_is_true():
    # Adaptive quadrature over pixels at the centre, beside it and on the ridge, and over boxy ones.
    for truth in (
        Truth(3, 1.0, 0.8, 0.6, 0.31, -0.42),
        Truth(2, 4.0, 0.4, 2.0, -0.13, 0.27),
        Truth(4, 2.0, 0.3, 1.1, 0.2, 0.1, cbox=0.8),
        Truth(4, 0.7, 0.3, 0.4, 0.2, 0.1, cbox=-0.5),
    ):
        rows, cols = np.array([0.0, 1.0, -1.0, 2.0]) - truth.center[0], np.array([0.0, 0.0, 1.0, 1.0]) - truth.center[1]
        got = truth.through_sides(rows, cols)
        for value, row, col in zip(got, rows, cols, strict=True):
            # Split at the centre, so that its cusp is in a corner.
            ns, es = (sorted({x - 0.5, x + 0.5, float(np.clip(0, x - 0.5, x + 0.5))}) for x in (row, col))
            adaptive = sum(
                dblquad(lambda e, n, t=truth: t.brightness(n, e), n0, n1, e0, e1, epsabs=1e-9, epsrel=1e-7)[0]
                for n0, n1 in itertools.pairwise(ns)
                for e0, e1 in itertools.pairwise(es)
            )
            # What dblquad reaches at a cusp.
            assert value == pytest.approx(adaptive, rel=2e-6)
    # The two quadratures meet where one takes over from the other; Gauss-Legendre to 1e-10 of the peak.
    truth = Truth(3, 1.0, 0.8, 0.6, 0.31, -0.42)
    image = truth.image(block=4.5)
    np.testing.assert_allclose(image, truth.image(block=7.5), rtol=1e-8, atol=1e-10 * image.max())


@pytest.mark.parametrize("ns", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_sersic_pixels(sersic, pixel, ns):
    rng = np.random.default_rng(int(10 * ns))
    found = {}
    for re in (1, 3, 10, 50):
        for e in (0.0, 0.4, 0.8):
            for k in range(2):
                truth = Truth(re, ns, e, rng.uniform(0, np.pi), *rng.uniform(-0.5, 0.5, 2))
                found[re, e, k] = worst(render(sersic, pixel, truth), truth.image())
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("ns", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("center", [(0, 0), (0.5, 0.5), (0.499, 0.499), (0.4999, 0.02), (0.5, 0.1), (1e-9, -1e-7)])
def test_hard_spots(sersic, pixel, ns, center):
    # On a pixel's centre, on its corner and side, and just beside them; the ridge along pixels' diagonals and rows.
    for re in (1.0, 10.0):
        for theta in (np.pi / 4, 0.0, np.pi / 2):
            truth = Truth(re, ns, 0.8, theta, *center)
            assert worst(render(sersic, pixel, truth), truth.image()) < TOLERANCE, (re, theta)


@pytest.mark.parametrize("cbox", [0.8, -0.5])
def test_boxy_pixels(boxy, pixel, cbox):
    rng = np.random.default_rng(7)
    for re, ns, e in [(3, 1.0, 0.3), (8, 0.5, 0.4), (10, 4.0, 0.4), (1.5, 2.0, 0.0)]:
        truth = Truth(re, ns, e, rng.uniform(0, np.pi), *rng.uniform(-0.5, 0.5, 2), cbox=cbox)
        # Disky isophotes have kinks on their axes: all by sides, which are cut there.
        image = truth.image(shape=(25, 25), block=13)
        inner = slice(18, 43)
        got = render(boxy, pixel, truth, cbox=cbox)[inner, inner]
        assert worst(got, image) < 2e-3, (re, ns, e)


@pytest.fixture(scope="module")
def boxy(make_image, pixel):
    return Problem(make_image(shape=SHAPE), Model(free_sersic(pixel, cbox=uniform(-1, 1))))


def test_total_flux(sersic, pixel):
    rng = np.random.default_rng(3)
    # All but 1e-4 of the light lies within 20 pixels.
    for re, ns in [(1, 0.5), (3, 0.5), (6, 0.5), (0.4, 1.0), (1, 1.0), (2.5, 1.0), (0.5, 2.0), (1.2, 2.0)]:
        for e in (0.0, 0.5, 0.8):
            truth = Truth(re, ns, e, rng.uniform(0, np.pi), *rng.uniform(-3, 3, 2))
            got = render(sersic, pixel, truth).sum()
            assert got == pytest.approx(truth.flux(), rel=1e-3), (re, ns, e)


def test_constant_brightness_is_kept(sersic, pixel, make_image):
    # The weights of stencil, points and rays each sum to one, wherever the centre is and however the rank is turned.
    rng = np.random.default_rng(5)
    for e in (0.0, 0.6, 0.9):
        truth = Truth(1e8, 0.5, e, rng.uniform(0, np.pi), *rng.uniform(-20, 20, 2))
        np.testing.assert_allclose(render(sersic, pixel, truth), np.exp(truth.b), rtol=1e-10)
    flat = TopHat(xc=0.3 * pixel, yc=0.1 * pixel, rc=1e4 * pixel, Ic=2.5, e=0.3)
    np.testing.assert_allclose(flat.getmap(make_image(shape=(31, 31))), 2.5, rtol=1e-12)


# Distorted frames.


def test_ridge_in_a_distorted_frame(make_image, make_header):
    shape = (71, 71)
    # 3 pixels at 100: at the ends of the ridge, pixels are 4 percent larger than at the source.
    image = make_image(shape=shape, header=make_header(shape, sip=3.0))
    wcs, scale = WCS(image.hdu.header), 0.2 / 3600
    flat = WCS(make_header(shape))  # the plane that touches the sky at the centre of the image

    def plane(rows, cols):
        col, row = flat.all_world2pix(*wcs.all_pix2world(cols, rows, 0), 0)
        return row - 35, 35 - col

    for (row, col), theta in [((35.3, 34.8), 0.5), ((30.2, 41.4), 2.2)]:
        north, east = plane(row, col)
        truth = Truth(15, 1.0, 0.8, theta, float(north), float(east))
        x, w = np.polynomial.legendre.leggauss(6)
        rows, cols = np.indices(shape)
        image_truth = np.zeros(shape)
        for xa, wa in zip(x, w, strict=True):
            for xb, wb in zip(x, w, strict=True):
                n, e = plane(rows + xa / 2, cols + xb / 2)
                image_truth += wa * wb / 4 * truth.brightness(n - truth.center[0], e - truth.center[1])
        ra, dec = (float(v) for v in wcs.all_pix2world(col, row, 0))
        got = Sersic(xc=ra, yc=dec, re=15 * scale, Ie=1, ns=1.0, e=0.8, theta=theta).getmap(image)
        far = np.hypot(rows - row, cols - col)
        ridge = (far > 20) & (far < 30) & (image_truth > 0.02 * image_truth.max())
        assert ridge.sum() > 100
        # Positions of pixels are exact; a ridge that were drawn in the linear frame would be off by a third of a pixel.
        error = np.abs(got / image_truth - 1)
        assert error[ridge].max() < 1e-3
        # Six points are not enough at the cusp.
        assert error[(far > 4) & (image_truth > 1e-2 * image_truth.max())].max() < 2e-3


# Sharp edges, and sources smaller than a pixel.


@pytest.fixture(scope="module")
def tophat(make_image, pixel):
    box = uniform(-9 * pixel, 9 * pixel)
    source = TopHat(xc=box, yc=box, theta=uniform(0, 3), e=uniform(0, 0.9), rc=uniform(pixel, 20 * pixel), Ic=2.0)
    return Problem(make_image(shape=SHAPE), Model(source))


def test_sharp_edges(tophat, pixel):
    rng = np.random.default_rng(8)
    found = {}
    for rc in (3.0, 3.7, 5.0, 8.0, 13.0):
        for e in (0.0, 0.3, 0.6):
            for center in [(0, 0), (0.5, 0.5), (0.5, 0), *rng.uniform(-0.5, 0.5, (3, 2))]:
                values = {"xc": center[0], "yc": center[1], "rc": rc, "e": e, "theta": rng.uniform(0, 3)}
                values |= {name: values[name] * pixel for name in ("xc", "yc", "rc")}
                image = tophat.render([values[name.removeprefix("comp_00_")] for name in tophat.names]).raw
                assert image.min() >= 0
                assert image.max() <= 2.0 * (1 + 1e-12)
                found[rc, e, tuple(center)] = image.sum() / (2 * np.pi * rc**2 * (1 - e)) - 1
    assert np.abs(list(found.values())).max() < 1e-3, found


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Gaussian, marks=pytest.mark.slow),
        Exponential,
    ],
)
def test_compact_sources_are_not_negative(make_image, pixel, kind):
    box, angle = uniform(-3 * pixel, 3 * pixel), uniform(0, np.pi)
    source = kind(xc=box, yc=box, rs=uniform(0, pixel), Is=1.0, e=uniform(0, 0.9), theta=angle, positive=True)
    problem = Problem(make_image(shape=(31, 31)), Model(source))
    rng = np.random.default_rng(4)
    for rs, e in [(0.3, 0.0), (0.3, 0.6), (0.15, 0.3), (0.6, 0.8)]:
        for north, east in rng.uniform(-2, 2, (10, 2)):
            values = {"xc": east * pixel, "yc": north * pixel, "rs": rs * pixel, "e": e, "theta": rng.uniform(0, np.pi)}
            theta = [values[name.removeprefix("comp_00_")] for name in problem.names]
            drawn = problem.render(theta)
            assert drawn.raw.min() >= 0
            assert not drawn.negative
            assert np.isfinite(problem.log_likelihood(theta)[0])


def test_small_round_gaussian(make_image, pixel):
    box = uniform(-3 * pixel, 3 * pixel)
    problem = Problem(make_image(shape=(31, 31)), Model(Gaussian(xc=box, yc=box, rs=uniform(0, pixel), Is=1.0)))
    edge = np.arange(32) - 15.5
    for rs, north, east in [(0.3, 0.0, 0.0), (0.3, 0.5, 0.5), (0.3, 0.21, -0.37), (0.5, -0.4, 0.1), (0.8, 0.3, 0.3)]:
        along, across = (
            np.sqrt(np.pi / 2) * rs * np.diff(erf((edge - at) / (np.sqrt(2) * rs))) for at in (north, -east)
        )
        truth = along[:, None] * across
        values = {"xc": east * pixel, "yc": north * pixel, "rs": rs * pixel}
        got = problem.render([values[name.removeprefix("comp_00_")] for name in problem.names]).raw
        np.testing.assert_allclose(got, truth, rtol=0, atol=1e-3 * truth.max())


def test_small_units_in_single_precision(make_image, pixel):
    # Fluxes in erg/s/cm^2; the product of two such numbers is none in single precision.
    image = make_image(shape=(31, 31))
    maps = [
        Problem(image, Model(Exponential(xc=0, yc=0, rs=1.5 * pixel, Is=uniform(0, 2 * level))), precision="float32")
        .render([level])
        .raw
        / level
        for level in (1.0, 1e-20)
    ]
    np.testing.assert_allclose(maps[1], maps[0], rtol=1e-4)
