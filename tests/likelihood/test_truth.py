"""The truth that images are held against is itself true: closed forms, galsim, and twice as many points."""

import inspect
import math

import galsim
import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.special import gamma, gammaincinv, hyp1f1

from tests import truth

#: What the truth promises, of the peak; what is compared with a closed form, ten times less.
PROMISED, CLOSED = 1e-4, 1e-5
SHAPE = (33, 37)
PSF = truth.Psf.gaussian(3.0)
NARROW = truth.Psf.gaussian(2.5)
POSITION = (0.3, -1.2)

#: One of each radial law, with brightness and size of a few pixels.
RADIAL = {
    "Sersic": {"re": 3.0, "Ie": 1.0, "ns": 2.5},
    "Gaussian": {"rs": 1.5, "Is": 2.0},
    "Exponential": {"rs": 1.5, "Is": 2.0},
    "PolyExponential": {"rs": 1.0, "Is": 2.0, "rc": 2.0, "c1": 0.5, "c2": -0.3, "c3": 0.2, "c4": 0.1},
    "PolyExpoRefact": {"rs": 1.0, "Is": 2.0, "rc": 2.0, "I1": 1.0, "I2": -0.6, "I3": 0.4, "I4": 0.2},
    "ModExponential": {"rs": 1.0, "Is": 2.0, "rm": 2.0, "alpha": 0.7},
    "Beta": {"rc": 1.0, "Ic": 2.0, "beta": 2.5},
    "gNFW": {"rc": 3.0, "Ic": 2.0},
    "Power": {"rc": 3.0, "Ic": 1.0, "alpha": 1.5},
    "TopHat": {"rc": 4.0, "Ic": 2.0},
}


def worst(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def centers(shape, position):
    """Return x and y of pixels' centres from a position."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return x[None, :] - position[0], y[:, None] - position[1]


def over_pixels(function, shape, position, points=8):
    """Return the mean over pixels of a smooth function of x and y."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    x, y = centers(shape, position)
    return sum(
        a * b / 4 * function(x + u / 2, y + v / 2)
        for u, a in zip(nodes, weights, strict=True)
        for v, b in zip(nodes, weights, strict=True)
    )


# The PSF.


def test_a_moffat_profile_is_a_sum_of_gaussians():
    for fwhm, index in [(3.5, 2.5), (2.5, 4.765), (4.0, 3.5)]:
        psf, a = truth.Psf.moffat(fwhm, index), fwhm / 2 / math.sqrt(2 ** (1 / index) - 1)
        r = np.linspace(0, 40, 100)
        expected = (1 + (r / a) ** 2) ** -index * (index - 1) / (math.pi * a**2)
        np.testing.assert_allclose(psf.at(r, 0 * r, side=0), expected, rtol=0, atol=1e-6 * expected[0])
        assert psf.flux.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("psf", [PSF, truth.Psf.skewed(3.0)])
def test_a_pixel_is_included_once(psf):
    expected = over_pixels(lambda x, y: psf.at(x, y, side=0), (9, 9), (0, 0))
    np.testing.assert_allclose(psf.array(9), expected, rtol=1e-10)
    np.testing.assert_allclose(truth.image("Point", {"Ic": 3.0}, (0, 0), psf, (9, 9)), 3 * expected, rtol=1e-10)
    # Five times finer, with the fine pixel: its sums over blocks are the star.
    fine = psf.array(45, oversample=5, side=0.2).reshape(9, 5, 9, 5).sum((1, 3))
    np.testing.assert_allclose(fine, expected, rtol=1e-10)
    assert psf.array((41, 43)).sum() == pytest.approx(1, abs=1e-9)


# Radial laws.


@pytest.mark.parametrize(
    ("rs", "e", "theta"), [(0.05, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.5, 0.6), (2.0, 0.9, 2.0), (0.3, 0.9, 1.0)]
)
def test_gaussians(rs, e, theta):
    found = truth.image("Gaussian", {"rs": rs, "Is": 2.0, "e": e, "theta": theta}, POSITION, NARROW, SHAPE)
    # North is +y and east is -x; theta runs from north through east.
    along = np.array([-math.sin(theta), math.cos(theta)])
    across = np.array([math.cos(theta), math.sin(theta)])
    own = rs**2 * (np.outer(along, along) + (1 - e) ** 2 * np.outer(across, across))
    whole = own + NARROW.scale**2 * np.eye(2)
    inverse, peak = np.linalg.inv(whole), 2 * math.sqrt(np.linalg.det(own) / np.linalg.det(whole))

    def convolved(x, y):
        return peak * np.exp(-0.5 * (inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2))

    assert worst(found, over_pixels(convolved, SHAPE, POSITION)) < CLOSED


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 1.9])
def test_power_laws(alpha):
    found = truth.image("Power", {"rc": 0.7, "Ic": 2.0, "alpha": alpha}, POSITION, NARROW, (13, 13))
    sigma = NARROW.scale

    def convolved(x, y):
        factor = 2 * (2 * (sigma / 0.7) ** 2) ** (-alpha / 2) * gamma(1 - alpha / 2)
        return factor * hyp1f1(alpha / 2, 1, -(x**2 + y**2) / (2 * sigma**2))

    assert worst(found, over_pixels(convolved, (13, 13), POSITION)) < CLOSED


def test_light_without_end_is_refused():
    with pytest.raises(ValueError, match=r"alpha = 2\.0 has infinite light"):
        truth.image("Power", {"rc": 0.7, "Ic": 2.0, "alpha": 2.0}, POSITION, PSF, SHAPE)


@pytest.mark.parametrize(
    ("ns", "re", "e", "theta"),
    [(1.0, 3.0, 0.5, 0.6), (4.0, 5.0, 0.3, 2.0), (2.5, 0.5, 0.9, 1.0), (0.6, 4.0, 0.0, 0.0), (4.0, 0.1, 0.2, 1.0)],
)
@pytest.mark.parametrize("kind", ["gaussian", "moffat"])
def test_galsim_draws_the_same_sersic_profiles(ns, re, e, theta, kind):
    parameters = galsim.GSParams(folding_threshold=1e-3, maxk_threshold=1e-4)
    if kind == "gaussian":
        psf, theirs = PSF, galsim.Gaussian(fwhm=3.0)
    else:
        psf, theirs = truth.Psf.moffat(3.5, 2.5), galsim.Moffat(beta=2.5, fwhm=3.5)
    found = truth.image("Sersic", {"re": re, "Ie": 2.0, "ns": ns, "e": e, "theta": theta}, POSITION, psf, SHAPE)
    b = gammaincinv(2 * ns, 0.5)
    flux = 2 * 2 * math.pi * ns * re**2 * (1 - e) * math.exp(b) * b ** (-2 * ns) * gamma(2 * ns)
    # A shear keeps the area; its angle counts from x to y, so that north, y, is a quarter of a turn.
    galaxy = galsim.Sersic(n=ns, half_light_radius=re * math.sqrt(1 - e), flux=flux)
    galaxy = galaxy.shear(q=1 - e, beta=(theta + math.pi / 2) * galsim.radians)
    seen = galsim.Convolve([galaxy, theirs]).withGSParams(parameters).shift(*POSITION)
    drawn = seen.drawImage(nx=SHAPE[1], ny=SHAPE[0], scale=1.0, dtype=float).array
    # galsim itself cuts off high frequencies at 1e-4.
    assert worst(found, drawn) < PROMISED


@pytest.mark.parametrize("name", RADIAL)
def test_every_radial_law_has_converged(name):
    values = {**RADIAL[name], "e": 0.9, "theta": 0.7}
    found, finer = (truth.image(name, values, POSITION, NARROW, (21, 21), refine=k) for k in (1, 1.7))
    assert worst(found, finer) < CLOSED


@pytest.mark.parametrize("name", [name for name in RADIAL if name != "Power"])
def test_every_radial_law_has_its_flux(name):
    values = {key: v / 50 if key in truth.LENGTHS else v for key, v in RADIAL[name].items()}
    found = truth.image(name, {**values, "e": 0.4, "theta": 1.0}, POSITION, PSF, (61, 61)).sum()
    law = truth.LAWS[name]
    parts = [(0.0, 0.08)] if name == "TopHat" else [(0.0, 0.08), (0.08, 1.0), (1.0, 25.0)]
    expected = sum(
        quad(lambda r: 2 * math.pi * 0.6 * r * float(law(np.array([r]), **values)[0]), *part, limit=200)[0]
        for part in parts
    )
    # Wings beyond the frame.
    assert found == pytest.approx(expected, rel=1e-4 if name in ("Beta", "gNFW") else 1e-5)


@pytest.mark.parametrize("truncation", list(truth.TRUNCATIONS))
@pytest.mark.parametrize("wt", [0.01, 1.0])
def test_truncated_laws_end_where_they_should(truncation, wt):
    values = {"rs": 3.0, "Is": 2.0, "e": 0.3, "theta": 1.0, "rt": 5.0, "wt": wt}
    found, finer = (
        truth.image("Exponential", values, POSITION, PSF, SHAPE, truncation=truncation, refine=k) for k in (1, 1.7)
    )
    assert worst(found, finer) < CLOSED
    if wt < 0.1:
        inside = 1 - 6 * math.exp(-5 / 3) + math.exp(-5 / 3) * (6 - 1 - 5 / 3)  # (1 - (1 + x) exp(-x)), x = rt / rs
        assert found.sum() == pytest.approx(2 * 2 * math.pi * 9 * 0.7 * inside, rel=5e-3)


@pytest.mark.parametrize("cbox", [0.8, -0.6])
def test_boxy_isophotes(cbox):
    values = {"rs": 2.0, "Is": 1.0, "e": 0.4, "theta": 0.7, "cbox": cbox}
    found = truth.image("Gaussian", values, POSITION, PSF, SHAPE)
    assert worst(found, truth.image("Gaussian", values, POSITION, PSF, SHAPE, refine=1.7)) < CLOSED
    sin, cos, power = math.sin(0.7), math.cos(0.7), 2 + cbox
    row, col = 16 - 2, 18 + 1

    def light(x, y):
        east, north = -x, y
        major, minor = abs(east * sin + north * cos), abs(east * cos - north * sin) / 0.6
        r = (major**power + minor**power) ** (1 / power)
        return math.exp(-((r / 2) ** 2) / 2) * float(PSF.at(1 - 0.3 - x, -2 + 1.2 - y))

    expected, _ = dblquad(light, -7, 7, -7, 7, epsabs=1e-7)
    assert found[row, col] == pytest.approx(expected, abs=CLOSED * found.max())


def test_a_profile_of_ones_own():
    values = {"rs": 1.5, "Is": 2.0}
    own = truth.image("CustomProfile", values, POSITION, PSF, SHAPE, profile=truth.LAWS["Gaussian"])
    np.testing.assert_array_equal(own, truth.image("Gaussian", values, POSITION, PSF, SHAPE))


def test_nothing_of_socca_is_used():
    assert "import socca" not in inspect.getsource(truth)
    assert "from socca" not in inspect.getsource(truth)


# Disks and bridges. Half as many points along each axis, as there are three of them, are enough for a disk.

DISK = {"radial.rs": 2.0, "radial.Is": 1.5, "radial.theta": 0.7, "vertical.zs": 0.6}


@pytest.mark.parametrize("vertical", list(truth.HEIGHTS))
def test_a_disk_seen_face_on_is_its_radial_law(vertical):
    found = truth.image("Disk", DISK, POSITION, PSF, SHAPE, laws=("Exponential", vertical), refine=0.6)
    expected = truth.image("Exponential", {"rs": 2.0, "Is": 1.5}, POSITION, PSF, SHAPE)
    assert worst(found, expected) < CLOSED


def test_a_thin_disk_is_an_ellipse():
    values = {**DISK, "vertical.inc": 1.1, "vertical.zs": 1e-3}
    found = truth.image("Disk", values, POSITION, PSF, SHAPE, laws=("Exponential", "HyperSecantHeight"), refine=0.6)
    values = {"rs": 2.0, "Is": 1.5 / math.cos(1.1), "theta": 0.7, "e": 1 - math.cos(1.1)}  # of the same flux
    # The height adds its variance, 8e-7 square pixels, to that of the PSF.
    assert worst(found, truth.image("Exponential", values, POSITION, PSF, SHAPE)) < CLOSED


@pytest.mark.parametrize(("vertical", "inc"), [("HyperSecantHeight", math.pi / 2), ("ExponentialHeight", 1.3)])
def test_inclined_disks(vertical, inc):
    laws = ("Exponential", vertical)
    found = truth.image("Disk", {**DISK, "vertical.inc": inc}, POSITION, PSF, (51, 51), laws=laws, refine=0.6)
    assert found.sum() == pytest.approx(2 * math.pi * 4 * 1.5, rel=1e-5)
    # Second moments along both axes: of the law in the plane, of the height, and of PSF and pixel.
    x, y = centers((51, 51), POSITION)
    sin, cos = math.sin(0.7), math.cos(0.7)
    major, minor = -x * sin + y * cos, -x * cos - y * sin
    height = 0.6**2 * (math.pi**2 / 12 if vertical == "HyperSecantHeight" else 2)
    plane, seen = 3 * 2.0**2, PSF.scale**2 + 1 / 12
    weight = found / found.sum()
    assert np.sum(weight * major**2) == pytest.approx(plane + seen, rel=1e-3)  # the wings beyond the frame
    expected = plane * math.cos(inc) ** 2 + height * math.sin(inc) ** 2 + seen
    assert np.sum(weight * minor**2) == pytest.approx(expected, rel=1e-3)
    assert np.sum(weight * major * minor) == pytest.approx(0, abs=1e-3 * plane)


def test_a_bridge_of_gaussians_is_one():
    values = {"rs": 3.0, "Is": 2.0, "theta": 0.7, "e": 0.6}
    found = truth.image("SimpleBridge", values, POSITION, PSF, SHAPE, laws=("Gaussian", "Gaussian"))
    assert worst(found, truth.image("Gaussian", values, POSITION, PSF, SHAPE)) < CLOSED


@pytest.mark.parametrize("name", list(truth.BRIDGES))
def test_bridges(name):
    found = truth.image(name, {"rs": 3.0, "Is": 2.0, "theta": 0.7, "e": 0.5}, POSITION, PSF, SHAPE)
    row, col = 16 - 2, 18 + 1
    sin, cos = math.sin(0.7), math.cos(0.7)

    def light(r, z):
        f, g = (1 + (r / 1.5) ** 2) ** -0.55, 1.0
        if name == "MesaBridge":
            f, g = 1 / (1 + (r / 1.5) ** 8), max(abs(z) / 3, 1e-30) ** -8.0
        seen = float(PSF.at(1 - 0.3 + z * sin + r * cos, -2 + 1.2 - z * cos + r * sin))
        return 2 * seen * (f * g if name == "SimpleBridge" else 1 / (1 / f + 1 / g))

    reach = 3 if name == "SimpleBridge" else 12
    expected, _ = dblquad(light, -reach, reach, -14, 14, epsabs=1e-7)
    assert found[row, col] == pytest.approx(expected, abs=CLOSED * found.max())


def test_values_for_socca_are_degrees():
    found = truth.in_degrees({"radial.re": 3.0, "radial.ns": 2.0}, (2.0, -1.0), 0.5, "radial.")
    assert found == {"radial.re": 1.5, "radial.ns": 2.0, "radial.xc": -1.0, "radial.yc": -0.5}
