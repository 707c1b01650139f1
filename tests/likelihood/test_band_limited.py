"""Sources through a PSF on the image's pixels, against brute force that shares nothing with the forward model.

What is asked for: 1e-3 of the peak in the worst pixel, 0.003 pixels in the centroid and 1e-3 of the flux, for every
component, at any radius from 0.05 pixels, for a PSF of 2.5 pixels full width at half maximum or more.
"""

import math

import jax
import numpy as np
import pytest

from socca.data import Image
from socca.models import REGISTRY, Background, CustomProfile, Disk, Model
from socca.models import radial as radial_laws
from socca.models.base import Component
from socca.models.disk.vertical import REGISTRY as DISKS
from tests import truth

PIXEL = 0.2 / 3600
SIZE = 41
POSITION = (0.3, -0.2)
#: Of each law, a scale, and what else makes a source of it, in pixels and radians.
SHAPE = {"theta": 0.6, "e": 0.3}
LAWS = {
    "Sersic": ("re", {"Ie": 1.0, "ns": 2.5}),
    "Gaussian": ("rs", {"Is": 1.0}),
    "Exponential": ("rs", {"Is": 1.0}),
    "PolyExponential": ("rs", {"Is": 1.0, "c1": 0.3, "c2": 0.1, "rc": 1.0}),
    "PolyExpoRefact": ("rs", {"Is": 1.0, "I1": 0.3, "I2": 0.1, "rc": 1.0}),
    "ModExponential": ("rs", {"Is": 1.0, "rm": 1.5, "alpha": 0.7}),
    "Beta": ("rc", {"Ic": 1.0, "beta": 1.6}),
    "gNFW": ("rc", {"Ic": 1.0}),
    "Power": ("rc", {"Ic": 1.0, "alpha": 1.8}),
    "TopHat": ("rc", {"Ic": 1.0}),
}
RADII = (0.05, 0.4, 3.0)


def through(component: Component, psf: truth.Psf, size: int = SIZE, **given: object) -> np.ndarray:
    image = Image(np.zeros((size, size)), pixel_scale=3600 * PIXEL)
    image.addpsf(psf.array((31, 31)), normalize=False, **given)
    return Model(component).getmap(image, convolve=True)


def differences(found: np.ndarray, expected: np.ndarray) -> tuple[float, float, float]:
    """Return the worst pixel over the peak, the distance of the centroids in pixels, and the flux's relative error."""
    at = np.arange(len(found))
    centroids = [np.array([(a.sum(k) * at).sum() / a.sum() for k in (0, 1)]) for a in (found, expected)]
    return (
        float(np.abs(found - expected).max() / np.abs(expected).max()),
        float(np.hypot(*(centroids[0] - centroids[1]))),
        float(found.sum() / expected.sum() - 1),
    )


def is_right(found: np.ndarray, expected: np.ndarray) -> bool:
    worst, apart, flux = differences(found, expected)
    print(f"worst {worst:.1e}, centroid {apart:.5f}, flux {flux:+.1e}")  # noqa: T201  (seen where it fails)
    return worst < 1e-3 and apart < 0.003 and abs(flux) < 1e-3


def component_of(name: str, values: dict[str, float], position: tuple[float, float], **given: object) -> Component:
    return REGISTRY[name](**given, **truth.in_degrees(values, position, PIXEL))


def test_every_component_is_compared() -> None:
    here = {*LAWS, "Point", "Disk", "SimpleBridge", "MesaBridge", "CustomProfile"}
    assert here == set(REGISTRY) - {Background.__name__}


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("name", LAWS)
def test_radial_laws(name: str, radius: float) -> None:
    scale, values = LAWS[name]
    values = {**SHAPE, **values, scale: radius}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image(name, values, POSITION, psf, (SIZE, SIZE))
    assert is_right(through(component_of(name, values, POSITION), psf), expected)


@pytest.mark.parametrize("angle", [0.0, 0.9])
@pytest.mark.parametrize("radius", [0.3, 3.0, 8.0])
@pytest.mark.parametrize("index", [0.5, 1.0, 4.0])
def test_thin_sources(index: float, radius: float, angle: float) -> None:
    # Along an axis of the pixels, fine structure across the source aliases most.
    values = {"theta": angle, "e": 0.9, "re": radius, "ns": index, "Ie": 1.0}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image("Sersic", values, POSITION, psf, (SIZE, SIZE))
    assert is_right(through(component_of("Sersic", values, POSITION), psf), expected)


@pytest.mark.parametrize(
    ("index", "ellipticity", "angle"),
    [pytest.param(1.0, 0.95, 0.0), pytest.param(1.0, 0.97, 0.7, marks=pytest.mark.slow)],
)
def test_thin_sources_as_long_as_the_image(index: float, ellipticity: float, angle: float) -> None:
    """Fine structure runs along the whole major axis, which the strips of cells along it follow."""
    values = {"theta": angle, "e": ellipticity, "re": 30.0, "ns": index, "Ie": 1.0}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image("Sersic", values, POSITION, psf, (SIZE, SIZE), refine=2)
    assert is_right(through(component_of("Sersic", values, POSITION), psf), expected)


@pytest.mark.parametrize(
    "seed", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow), 3, 5]
)
def test_any_place_shape_and_psf(seed: int) -> None:
    rng = np.random.default_rng([14, seed])
    position = tuple(rng.uniform(-4, 4, 2))
    values = {"theta": rng.uniform(0, math.pi), "e": rng.uniform(0, 0.9), "cbox": rng.uniform(0, 1)}
    values |= {"re": 10 ** rng.uniform(-1.3, 0.8), "ns": rng.uniform(0.5, 6), "Ie": 1.0}
    psf = truth.Psf.skewed(2.6) if seed % 2 else truth.Psf.moffat(3.0, 3.0)
    expected = truth.image("Sersic", values, position, psf, (SIZE, SIZE))
    assert is_right(through(component_of("Sersic", values, position), psf), expected)


def test_light_from_outside_the_image() -> None:
    values = {"theta": 0.4, "e": 0.4, "re": 0.5, "ns": 3.0, "Ie": 1.0}
    psf = truth.Psf.gaussian(3.0)
    position = (21.7, 3.2)  # 1.2 pixels beyond the edge
    expected = truth.image("Sersic", values, position, psf, (SIZE, SIZE))
    found = through(component_of("Sersic", values, position), psf)
    # The peak lies outside: measured by the brightest pixel, where the PSF is steep.
    assert np.abs(found - expected).max() < 2e-3 * expected.max()


@pytest.mark.parametrize("law", ["Exponential", "HyperTangent"])
def test_truncations_wider_than_a_pixel(law: str) -> None:
    values = {**SHAPE, "re": 3.0, "ns": 1.0, "Ie": 1.0, "rt": 5.0, "wt": 1.5}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image("Sersic", values, POSITION, psf, (SIZE, SIZE), truncation=law)
    assert is_right(through(component_of("Sersic", values, POSITION, truncation=law), psf), expected)


@pytest.mark.parametrize(("radius", "width"), [(0.3, 1.5), (0.8, 1.5), (0.5, 0.02)])
def test_truncations_within_a_pixel(radius: float, width: float) -> None:
    """Round isophotes meet the kink of an exponential truncation at one radius on all rays."""
    values = {"theta": 0.0, "e": 0.0, "re": 3.0, "ns": 1.0, "Ie": 1.0, "rt": radius, "wt": width}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image("Sersic", values, POSITION, psf, (SIZE, SIZE), truncation="Exponential")
    assert is_right(through(component_of("Sersic", values, POSITION, truncation="Exponential"), psf), expected)


def test_custom_profile() -> None:
    values = {**SHAPE, "rs": 0.4, "height": 1.0}
    psf = truth.Psf.gaussian(2.5)

    def profile(r: np.ndarray, rs: float, height: float) -> np.ndarray:
        return height / (1 + (r / rs) ** 3)

    expected = truth.image("CustomProfile", values, POSITION, psf, (SIZE, SIZE), profile=profile)
    own = [{"name": "rs", "unit": "deg"}, {"name": "height", "unit": "image"}]
    found = CustomProfile(own, "height / (1 + (r / rs)^3)", **truth.in_degrees(values, POSITION, PIXEL))
    assert is_right(through(found, psf), expected)


@pytest.mark.parametrize(("radius", "inclination"), [(0.3, 0.4), (2.0, 1.2)])
def test_disks(radius: float, inclination: float) -> None:
    values = {"radial.rs": radius, "radial.Is": 1.0, "radial.theta": 0.7, "vertical.zs": 0.3 * radius}
    values |= {"vertical.inc": inclination, "radial.e": 0.0}
    psf = truth.Psf.gaussian(2.5)
    laws = ("Exponential", "HyperSecantHeight")
    expected = truth.image("Disk", values, POSITION, psf, (SIZE, SIZE), laws=laws, refine=0.6)
    given = truth.in_degrees(values, POSITION, PIXEL, prefix="radial.")
    found = Disk(radial_laws.Exponential(), losdepth=40 * PIXEL, **given)
    assert is_right(through(found, psf), expected)


@pytest.mark.parametrize(
    ("height", "angle"), [("HyperSecantHeight", 0.0), pytest.param("ExponentialHeight", 0.5, marks=pytest.mark.slow)]
)
def test_edge_on_disks(height: str, angle: float) -> None:
    """A disk of half a pixel scale height, which fills the image."""
    values = {"radial.rs": 15.0, "radial.Is": 1.0, "radial.theta": angle, "vertical.zs": 0.5}
    values |= {"vertical.inc": math.pi / 2, "radial.e": 0.0}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image("Disk", values, POSITION, psf, (SIZE, SIZE), laws=("Exponential", height), refine=0.6)
    given = truth.in_degrees(values, POSITION, PIXEL, prefix="radial.")
    found = Disk(radial_laws.Exponential(), DISKS[height](), losdepth=150 * PIXEL, losbins=400, **given)
    assert is_right(through(found, psf), expected)


@pytest.mark.parametrize("radius", [0.3, 3.0, 6.0])
@pytest.mark.parametrize("name", ["SimpleBridge", "MesaBridge"])
def test_bridges(name: str, radius: float) -> None:
    values = {"rs": radius, "Is": 1.0, "theta": 0.5, "e": 0.4}
    if name == "SimpleBridge":
        values |= {"radial.beta": 1.5}
    psf = truth.Psf.gaussian(2.5)
    expected = truth.image(name, values, POSITION, psf, (SIZE, SIZE))
    assert is_right(through(component_of(name, values, POSITION), psf), expected)


@pytest.mark.parametrize("given", ["star", "optics", "function", "fine star", "finer star", "fine optics"])
@pytest.mark.parametrize("name", ["Point", "Gaussian"])
def test_the_pixel_is_counted_once(name: str, given: str) -> None:
    values = {"Ic": 1.0} if name == "Point" else {"rs": 0.5, "Is": 1.0}
    psf = truth.Psf.gaussian(3.0)
    expected = truth.image(name, values, POSITION, psf, (SIZE, SIZE))
    image = Image(np.zeros((SIZE, SIZE)), pixel_scale=3600 * PIXEL)
    over = {"fine star": 4, "finer star": 5, "fine optics": 4}.get(given, 1)
    pixel = "optics" not in given
    if given == "function":
        image.addpsf(lambda x, y: psf.at(x, y, side=0.0))
    else:
        array = psf.array((31 * over, 31 * over), oversample=over, side=float(pixel))
        image.addpsf(array, oversample=over, includes_pixel=pixel)
    assert is_right(Model(component_of(name, values, POSITION)).getmap(image, convolve=True), expected)


@pytest.mark.parametrize("name", ["Sersic", "TopHat"])
def test_derivatives_are_those_of_the_image(name: str) -> None:
    """Where samples jump from pixel to pixel or from scheme to scheme, they change by less than they are wrong."""
    from socca.likelihood.problem import Problem
    from socca.noise import Normal
    from socca.priors import uniform

    image = Image(np.zeros((25, 25)), noise=Normal(sigma=1.0), pixel_scale=3600 * PIXEL)
    image.addpsf(truth.Psf.gaussian(3.0).array((15, 15)))
    scale = LAWS[name][0]
    free = {"xc": uniform(-PIXEL, PIXEL), "e": uniform(0, 0.95), scale: uniform(0.1 * PIXEL, 9 * PIXEL)}
    others = {key: value for key, value in LAWS[name][1].items() if key not in free}
    problem = Problem(image, Model(REGISTRY[name](yc=0.1 * PIXEL, theta=0.3, **others, **free)))
    theta = np.array([0.2 * PIXEL, 0.4, 1.7 * PIXEL])
    _, gradient = problem.log_likelihood_and_grad(theta[None])
    steps = np.array([1e-4 * PIXEL, 1e-5, 1e-4 * PIXEL])
    moved = problem.log_likelihood(np.concatenate([theta + np.diag(steps), theta - np.diag(steps)]))
    # Samples follow the isophotes, which the derivative leaves out: a sharp edge is sampled to no better than this.
    tolerance = 5e-3 if name == "TopHat" else 2e-4
    np.testing.assert_allclose(gradient[0], (moved[:3] - moved[3:]) / (2 * steps), rtol=tolerance)
    # From one pixel to the next, and from round to slim.
    for k, at, step in ((0, 0.5 * PIXEL, 1e-7 * PIXEL), (1, 0.72, 1e-8)):
        both = np.tile(theta, (2, 1))
        both[:, k] = at - step, at + step
        images = [problem.render(row, raw=False).smoothed for row in both]
        assert np.abs(images[0] - images[1]).max() < 5e-4 * images[0].max()


@pytest.mark.parametrize("fwhm", [2.5, 4.0])
@pytest.mark.parametrize("name", ["Sersic", "TopHat"])
def test_light_on_a_dark_sky_is_possible(name: str, fwhm: float) -> None:
    # Behind a wide PSF, what the sampling leaves below zero is more than any ringing of the PSF.
    from socca.likelihood.problem import Problem
    from socca.noise import Poisson
    from socca.priors import uniform

    image = Image(np.zeros((41, 41)), pixel_scale=3600 * PIXEL, noise=Poisson())
    image.addpsf(truth.Psf.gaussian(fwhm).array((21, 21)))
    scale, others = LAWS[name]
    component = REGISTRY[name](
        positive=True,
        xc=uniform(-PIXEL, PIXEL),
        yc=0.0,
        e=uniform(0, 0.8),
        theta=0.3,
        **others,
        **{scale: uniform(0.05 * PIXEL, 6 * PIXEL)},
    )
    problem = Problem(image, Model(component))
    theta = problem.prior_transform(np.random.default_rng(1).random((40, 3)))
    drawn = problem.render(theta[0], raw=False)
    assert not drawn.negative
    assert np.isfinite(problem.log_likelihood(theta)).all()


@pytest.mark.parametrize("name", ["Sersic", "Power", "TopHat"])
def test_an_image_is_linear_in_the_amplitude(name: str) -> None:
    scale, others = LAWS[name]
    amplitude = next(key for key in others if key in ("Ie", "Is", "Ic"))
    images = []
    for sign in (1.0, -1.0):
        values = {**SHAPE, **others, scale: 0.7, amplitude: sign}
        images.append(through(component_of(name, values, POSITION), truth.Psf.gaussian(2.5)))
    np.testing.assert_allclose(images[1], -images[0], rtol=0, atol=1e-12 * images[0].max())


@pytest.mark.parametrize("name", ["Sersic", "TopHat"])
def test_single_precision_is_single(name: str) -> None:
    from socca.likelihood.compiled import programs
    from socca.likelihood.problem import Problem
    from socca.noise import Normal
    from socca.priors import uniform

    image = Image(np.zeros((25, 25)), pixel_scale=3600 * PIXEL, noise=Normal(sigma=1.0))
    image.addpsf(truth.Psf.gaussian(2.5).array((15, 15)))
    scale, others = LAWS[name]
    component = REGISTRY[name](xc=0.0, yc=0.0, e=uniform(0, 1 - 1e-6), theta=0.3, **others, **{scale: 2 * PIXEL})
    drawn = {}
    for precision in ("float32", "float64"):
        problem = Problem(image, Model(component), precision=precision)
        with jax.enable_x64(True):
            render = programs(problem.spec).render
            for e in (0.9, 0.99999):
                found = render(problem.on_device, np.array([e]), np.ones(1), True, True, False).smoothed
                assert found.dtype == precision
                drawn[precision, e] = np.asarray(found, float)
    assert np.isfinite(drawn["float32", 0.99999]).all()
    expected = drawn["float64", 0.9]
    assert np.abs(drawn["float32", 0.9] - expected).max() < 1e-4 * expected.max()


def test_a_dirty_beam_holds_no_pixel() -> None:
    from socca.errors import DataError
    from socca.likelihood.problem import Problem
    from socca.models import Point
    from socca.noise import NormalRI

    psf = truth.Psf.gaussian(4.0)
    model = Model(Point(xc=0.0, yc=0.0, Ic=1.0))
    for beam, given in (
        (psf.array((21, 21), side=0.0), {"includes_pixel": False}),
        (psf.array((41, 41), oversample=2), {"oversample": 2}),
        (lambda x, y: psf.at(x, y, side=0.0), {}),
    ):
        image = Image(np.zeros((25, 25)), pixel_scale=3600 * PIXEL, noise=NormalRI(sigma=1.0))
        image.addpsf(beam, normalize=False, **given)
        with pytest.raises(DataError, match="no pixel to average over"):
            Problem(image, model)


def test_a_narrow_psf_is_warned_of() -> None:
    from socca.data.psf import UndersampledPsfWarning

    image = Image(np.zeros((25, 25)), pixel_scale=3600 * PIXEL)
    with pytest.warns(UndersampledPsfWarning, match="narrower than its pixels can tell"):
        image.addpsf(truth.Psf.gaussian(1.5).array((15, 15)))
    image.addpsf(truth.Psf.gaussian(2.2).array((15, 15)))
    image.addpsf(truth.Psf.gaussian(1.5).array((45, 45), oversample=3), oversample=3)
