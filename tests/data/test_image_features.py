"""What an image brings along: response, exposure, finer PSFs, finer grids, and sizes and precision of programs."""

import numpy as np
import pytest
from astropy.io import fits
from scipy import signal, stats
from scipy.special import erf

from socca.data.psf import UndersampledPsfWarning
from socca.likelihood.grid import bucket
from socca.likelihood.problem import Problem
from socca.models import Background, Exponential, Gaussian, Model, Point, Sersic
from socca.noise import Normal, NormalCorrelated, NormalRI, Poisson, StudentT
from socca.priors import loguniform, normal, uniform
from socca.utils.xla import meter


def offsets(shape):
    """Return (north, east) of pixel centres from the centre of the array, in pixels."""
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return row, -col


def erf_gaussian(shape, north, east, sigma, amplitude=1.0):
    """Return a round Gaussian integrated over pixels, in closed form; all lengths in pixels."""
    rows, cols = offsets(shape)

    def integral(x):
        return np.sqrt(np.pi / 2) * sigma * erf(x / (np.sqrt(2) * sigma))

    along = integral(rows[:, :1] - north + 0.5) - integral(rows[:, :1] - north - 0.5)
    across = integral(cols[:1] - east + 0.5) - integral(cols[:1] - east - 0.5)
    return amplitude * along * across


def point_gaussian(shape, north, east, sigma, amplitude=1.0):
    """Return a round Gaussian at the pixels' centres; all lengths in pixels."""
    rows, cols = offsets(shape)
    return amplitude * np.exp(-0.5 * ((rows - north) ** 2 + (cols - east) ** 2) / sigma**2)


def centroid(image):
    """Return flux, row and column of an image."""
    row, col = np.indices(image.shape)
    flux = image.sum()
    return flux, (row * image).sum() / flux, (col * image).sum() / flux


def gaussian_psf(shape, sigma):
    row, col = offsets(shape)
    return np.exp(-0.5 * (row**2 + col**2) / sigma**2)


def model_of(*components):
    model = Model()
    for component in components:
        model.addcomponent(component)
    return model


# Response and exposure.

SHAPE = (31, 34)
#: Different along rows and columns, and from either end.
RESPONSE = 0.5 + np.add.outer(np.linspace(0, 1, SHAPE[0]) ** 2, 0.3 * np.linspace(0, 1, SHAPE[1]) ** 3)
EXPOSURE = 1.0 + np.add.outer(np.linspace(1, 0, SHAPE[0]) ** 3, 0.7 * np.linspace(0, 1, SHAPE[1]) ** 2)


@pytest.fixture(scope="module")
def scene(make_image, make_psf, pixel):
    """An image with both maps and a PSF, and a model: light within and beyond the frame, a point, a background."""
    noise = Normal(sigma=0.3)
    data = np.random.default_rng(1).normal(1, 1, SHAPE)
    image = make_image(data, psf=make_psf((9, 9), skewed=True), response=RESPONSE, exposure=EXPOSURE, noise=noise)
    model = model_of(
        Gaussian(xc=-4.3 * pixel, yc=3.2 * pixel, rs=3 * pixel, Is=uniform(0, 9)),
        Gaussian(xc=2.0 * pixel, yc=17.5 * pixel, rs=3 * pixel, Is=2.0),
        Point(xc=5.5 * pixel, yc=-6 * pixel, Ic=10.0),
        Background(a0=0.7, a1x=0.001),
    )
    return image, model


def expected_light(make_psf, response):
    """Return the two Gaussians times a response, through the PSF, on the frame."""
    margin = 12
    large = tuple(n + 2 * margin for n in SHAPE)
    # The PSF holds the pixel. Light of 3 pixels has nothing beyond the Nyquist frequency: to sum over pixels will do.
    light = point_gaussian(large, 3.2, -4.3, 3.0, 1.5) + point_gaussian(large, 17.5, 2.0, 3.0, 2.0)
    light = light * np.pad(response, margin, mode="edge")
    return signal.fftconvolve(light, make_psf((9, 9), skewed=True), mode="same")[margin:-margin, margin:-margin]


def expected_point(make_psf, response):
    """Return the point, which lies on a pixel: column 16.5 - 5.5, row 15 - 6."""
    found = np.zeros(SHAPE)
    found[9 - 4 : 9 + 5, 11 - 4 : 11 + 5] = 10 * response[9, 11] * make_psf((9, 9), skewed=True)
    return found


@pytest.mark.parametrize(
    ("doresp", "doexp"),
    [(True, True), (False, True), *(pytest.param(r, False, marks=pytest.mark.slow) for r in (True, False))],
)
def test_response_and_exposure(scene, make_psf, doresp, doexp):
    image, model = scene
    response, exposure = (RESPONSE if doresp else np.ones(SHAPE)), (EXPOSURE if doexp else 1.0)
    raw, smoothed, background, negative = model.getmodel(image, [1.5], doresp=doresp, doexp=doexp)
    truth = (expected_light(make_psf, response) + expected_point(make_psf, response)) * exposure
    # The weights that bring cells to the pixels, by least squares, leave 3e-4 of a source's peak.
    np.testing.assert_allclose(smoothed, truth, rtol=0, atol=4e-4 * truth.max())
    # The background is nobody's light that the response could dim.
    _, east = offsets(SHAPE)
    np.testing.assert_allclose(background, (0.7 + 0.001 * east * 0.2) * exposure, rtol=1e-10)
    light = erf_gaussian(SHAPE, 3.2, -4.3, 3.0, 1.5) + erf_gaussian(SHAPE, 17.5, 2.0, 3.0, 2.0)
    # The stencil's error for rs = 3 pixels is 1e-5 of the peak.
    np.testing.assert_allclose(raw, light * response, rtol=0, atol=5e-5 * light.max())
    assert not negative


def test_getmodel_leaves_both_out_by_default(scene):
    image, model = scene
    plain, without = model.getmodel(image, [1.5]), model.getmodel(image, [1.5], doresp=False, doexp=False)
    np.testing.assert_array_equal(plain.smoothed, without.smoothed)
    np.testing.assert_array_equal(plain.background, without.background)


def test_the_likelihood_uses_both(scene, make_psf):
    image, model = scene
    problem = Problem(image, model)
    both = model.getmodel(image, [1.5], doresp=True, doexp=True)
    expected = stats.norm.logpdf(image.data, both.smoothed + both.background, 0.3).sum()
    assert problem.log_likelihood([1.5])[0] == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(problem.predict([1.5])[0], both.smoothed + both.background, rtol=1e-12)


@pytest.mark.parametrize("finer", [pytest.param({}, marks=pytest.mark.slow), {"subgrid": 2}])
def test_response_and_exposure_without_a_psf(make_image, pixel, finer):
    image = make_image(shape=SHAPE, response=RESPONSE, exposure=EXPOSURE, **finer)
    model = model_of(
        Gaussian(xc=-4.3 * pixel, yc=3.2 * pixel, rs=3 * pixel, Is=1.5), Point(xc=5.5 * pixel, yc=-6 * pixel, Ic=10.0)
    )
    raw, smoothed, _, _ = model.getmodel(image, [], doresp=True, doexp=True)
    truth = erf_gaussian(SHAPE, 3.2, -4.3, 3.0, 1.5)
    truth[9, 11] += 10
    # On the finer grid a point lies between pixels, whose responses are interpolated in steps.
    atol = 5e-5 if not finer else 2e-2
    np.testing.assert_allclose(raw, truth * RESPONSE, rtol=0, atol=atol * truth.max())
    np.testing.assert_allclose(smoothed, raw * EXPOSURE, rtol=1e-12)


def test_response_between_pixels_is_interpolated(make_image, make_psf, pixel):
    # A plane is what linear interpolation gets right; at the edge the response stays that of the edge.
    rows, cols = np.indices(SHAPE)
    response = 1 + 0.02 * rows + 0.005 * cols
    image = make_image(shape=SHAPE, response=response, psf=make_psf((9, 9), sigma=1.3))
    for row, col, expected in [(10.3, 20.6, 1 + 0.206 + 0.103), (14.2, 6.9, 1 + 0.284 + 0.0345)]:
        point = Point(xc=(16.5 - col) * pixel, yc=(row - 15) * pixel, Ic=1.0)
        got = model_of(point).getmodel(image, [], doresp=True).smoothed
        # The Gaussian's spectrum at the Nyquist frequency: 2e-4; its sum is the zero frequency, and exact.
        assert got.sum() == pytest.approx(expected, rel=1e-3)


# PSFs that are sampled more finely than the image.


@pytest.fixture(scope="module")
def round_source(pixel):
    return Gaussian(xc=-2.4 * pixel, yc=1.3 * pixel, rs=2.5 * pixel, Is=1.0)


@pytest.mark.parametrize("includes_pixel", [True, False])
@pytest.mark.parametrize("psf", [(39, 39), (38, 39), (39, 36), (38, 38)])
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


# Programs that images of many sizes share.


def plain_scene(pixel, north=-6.0, east=2.5):
    """Return a point and a background, which compile at once; on 21 x 18 pixels, the point is on a pixel's centre."""
    return model_of(Point(xc=east * pixel, yc=north * pixel, Ic=uniform(1, 20)), Background(a0=uniform(1, 2)))


def free_scene(pixel):
    """Return an extended source besides."""
    model = plain_scene(pixel)
    model.addcomponent(
        Gaussian(
            xc=uniform(-2 * pixel, 2 * pixel),
            yc=0.3 * pixel,
            rs=loguniform(2 * pixel, 6 * pixel),
            Is=uniform(0.5, 3),
            e=0.3,
            theta=0.7,
        )
    )
    return model


def bucket_image(make_image, make_psf, shape, noise, psf=True, maps=True):
    rng = np.random.default_rng(sum(shape))
    data = rng.poisson(3.0, shape).astype(float)
    extra = {"response": rng.uniform(0.5, 1, shape), "exposure": rng.uniform(0.5, 1, shape)} if maps else {}
    mask = rng.random(shape) > 0.1
    kernel = make_psf((9, 11), sigma=1.3, skewed=True) if psf else None
    return make_image(data, psf=kernel, addmask={"regions": mask}, noise=noise, **extra)


def test_bucket_sizes():
    assert [bucket(n) for n in (1, 8, 9, 11, 13, 15, 17, 41, 45, 57, 64, 100, 113)] == [
        8, 8, 10, 12, 14, 16, 20, 48, 48, 64, 64, 112, 128,
    ]  # fmt: skip
    for n in range(8, 1000):
        assert n <= bucket(n) <= 1.25 * n
        assert bucket(bucket(n)) == bucket(n)


@pytest.mark.parametrize(
    ("noise", "psf"),
    [
        (Normal(sigma=0.5, scale=uniform(0.5, 2), floor=uniform(0.1, 1)), True),
        (StudentT(sigma=0.5, nu=uniform(2, 9), scale=1.3), False),
        (Poisson(background=0.3), True),
    ],
    ids=["normal", "studentt", "poisson"],
)
def test_buckets_change_nothing(make_image, make_psf, pixel, noise, psf):
    image = bucket_image(make_image, make_psf, (21, 18), noise, psf)
    # Of the noise, only what it looks at is padded: once with everything is enough.
    scene = free_scene(pixel) if noise.name == "normal" else plain_scene(pixel)
    own = Problem(image, scene)
    shared = Problem(image, scene, buckets=True)
    assert shared.spec.scene.grid.image == (24, 20)
    theta = own.prior_transform(np.random.default_rng(2).uniform(0.1, 0.9, (4, own.ndim)))
    np.testing.assert_allclose(shared.log_likelihood(theta), own.log_likelihood(theta), rtol=1e-9)
    np.testing.assert_array_equal(shared.log_prior(theta), own.log_prior(theta))
    if noise.name != "normal":
        return
    one, two = own.render(theta[0]), shared.render(theta[0])
    for part in ("raw", "smoothed", "background"):
        plane = getattr(two, part)
        assert plane.shape == image.shape
        np.testing.assert_allclose(plane, getattr(one, part), rtol=0, atol=1e-12 * one.total.max())
    for mine, other in zip(own.predict(theta[0]), shared.predict(theta[0]), strict=True):
        assert other.shape == image.shape
        np.testing.assert_allclose(other, mine, rtol=1e-11)


def test_buckets_and_points_between_pixels(make_image, make_psf, pixel):
    # Between pixels a point rings by its spectrum at the highest frequency, and how depends on the transform's length.
    image = bucket_image(make_image, make_psf, (21, 18), Normal(sigma=0.5))
    model = plain_scene(pixel, -6.1, 2.3)
    own, shared = Problem(image, model), Problem(image, model, buckets=True)
    theta = own.prior_transform(np.full(own.ndim, 0.5))
    # 1e-4 for a PSF that is cut at 3 sigma; at 5 sigma it is 1e-7.
    assert shared.log_likelihood(theta)[0] == pytest.approx(own.log_likelihood(theta)[0], abs=1e-3)


def test_sizes_share_a_program(make_image, make_psf, pixel):
    def make(shape, scene=plain_scene):
        image = bucket_image(make_image, make_psf, shape, Normal(sigma=0.5))
        return Problem(image, scene(pixel), buckets=True)

    def use(shape):
        problem = make(shape)
        theta = problem.prior_transform(np.full(problem.ndim, 0.5))
        drawn = problem.render(theta[0])
        return problem, problem.log_likelihood(theta)[0], drawn

    first, value, _ = use((41, 37))
    before, _ = meter().reading()
    second, other, drawn = use((45, 40))
    assert meter().reading()[0] == before
    assert first.spec == second.spec
    assert first.digest() != second.digest()
    assert value != other
    assert drawn.total.shape == (45, 40)
    # Equal specs have one program, whatever is in them.
    assert make((41, 37), free_scene).spec == make((45, 40), free_scene).spec
    assert make((49, 40)).spec != first.spec


def test_positive_looks_at_the_image_alone(make_image, pixel):
    # Positive everywhere on the image, and not on the pixels that were added to it.
    slope = Background(rs=pixel, a0=uniform(10.5, 12), a1x=0.0, a1y=-1.0, positive=True)
    image = make_image(shape=(21, 21))
    for buckets in (False, True):
        problem = Problem(image, Model(slope), buckets=buckets)
        drawn = problem.render([11.0])
        assert drawn.background.min() > 0
        assert not drawn.negative
        assert np.isfinite(problem.log_likelihood([11.0])[0])


def test_correlated_noise_has_no_buckets(make_image, pixel):
    image = make_image(shape=(9, 9), noise=NormalCorrelated(cov=np.eye(81)))
    model = Model(Background(a0=uniform(0, 1)))
    with_, without = Problem(image, model, buckets=True), Problem(image, model)
    assert with_.spec == without.spec
    assert with_.spec.scene.grid.image == (9, 9)


# Single precision.


@pytest.mark.slow  # six programs of one galaxy
def test_single_precision(make_image, make_header, make_psf, pixel):
    shape, x0, y0 = (64, 64), 150.0, 2.0
    header = make_header(shape, ra=x0, dec=y0, rotation=30)
    components = (
        Sersic(
            xc=uniform(x0 - 3 * pixel, x0 + 3 * pixel),
            yc=uniform(y0 - 3 * pixel, y0 + 3 * pixel),
            re=loguniform(8 * pixel, 16 * pixel),
            Ie=uniform(15, 30),
            ns=uniform(0.7, 3),
            e=uniform(0, 0.7),
            theta=uniform(0, np.pi),
        ),
        Point(xc=x0 + 6.3 * pixel, yc=y0 - 4.7 * pixel, Ic=uniform(50, 200)),
        Background(a0=normal(0, 1)),
    )
    psf = make_psf((13, 13), sigma=1.4, skewed=True)
    image = make_image(shape=shape, header=header, psf=psf)
    blank = Problem(image, model_of(*components))
    rng = np.random.default_rng(6)
    truth = blank.prior_transform(rng.uniform(0.3, 0.7, blank.ndim))[0]
    mean = blank.render(truth).total
    assert np.sort(mean.ravel())[-400] > 20  # sigma is one; within the source
    data = mean + rng.normal(size=shape)
    image = make_image(data, header=header, psf=psf)
    double, single = (Problem(image, model_of(*components), precision=p) for p in ("float64", "float32"))
    assert double.digest() != single.digest()
    # Around the truth, as a sampler that has found it sees it, and over the prior.
    widths = np.abs(double.prior_transform(np.full(7 + 2, 0.52))[0] - double.prior_transform(np.full(7 + 2, 0.48))[0])
    theta = truth + 0.1 * widths * rng.normal(size=(20, double.ndim))
    one, two = double.log_likelihood(theta), single.log_likelihood(theta)
    # Measured: 0.003.
    assert np.abs(one - two).max() < 0.05
    far = double.prior_transform(rng.uniform(0.05, 0.95, (20, double.ndim)))
    # Where the sum of squares is 1e6, the error is in proportion: 4e-7 measured.
    np.testing.assert_allclose(single.log_likelihood(far), double.log_likelihood(far), rtol=2e-6, atol=0.05)
    value, gradient = single.log_likelihood_and_grad(theta[:3])
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(value))
    # By differences in double precision, which need no other program.
    steps = 1e-3 * widths
    moved = theta[:3, None, None] + np.array([1, -1])[:, None, None] * np.diag(steps)
    there = double.log_likelihood(moved.reshape(-1, double.ndim)).reshape(3, 2, double.ndim)
    numeric = (there[:, 0] - there[:, 1]) / 2e-3
    np.testing.assert_allclose(gradient * widths, numeric, rtol=1e-2, atol=0.1)
    drawn = single.render(truth)
    assert {part.dtype for part in (drawn.raw, drawn.smoothed, drawn.background)} == {np.dtype(np.float32)}
    reference = double.render(truth)
    np.testing.assert_allclose(drawn.total, reference.total, rtol=0, atol=1e-5 * reference.total.max())


def test_positions_in_single_precision(make_image, make_header, pixel):
    # In single precision, 150 degrees are right to a third of a pixel.
    shape = (31, 31)
    image = make_image(shape=shape, header=make_header(shape, ra=150.0, dec=2.0))
    model = Model(
        Gaussian(xc=uniform(149, 151), yc=uniform(1, 3), rs=2 * pixel, Is=1.0),
    )
    problem = Problem(image, model, precision="float32")
    for row, col in [(15.0, 15.0), (14.303, 16.711), (16.0001, 14.9)]:
        ra, dec = image.wcs.all_pix2world(col, row, 0)
        drawn = problem.render([float(ra), float(dec)])
        _, *at = centroid(drawn.raw.astype(float))
        assert at == pytest.approx([row, col], abs=1e-3)


# Inputs.


def test_a_degenerate_image(make_header, make_psf, pixel):
    from socca import fitter
    from socca.data import Image

    shape = (16, 17)
    data = np.random.default_rng(3).normal(1, 0.1, shape)
    header = make_header(shape)
    header["CTYPE3"], header["CRVAL3"], header["CRPIX3"], header["CDELT3"] = "FREQ", 1e9, 1.0, 1e6
    header["CTYPE4"], header["CRVAL4"], header["CRPIX4"], header["CDELT4"] = "STOKES", 1.0, 1.0, 1.0
    header["CD3_3"], header["CD4_4"] = 1e6, 1.0
    image = Image(fits.PrimaryHDU(data[None, None], header), noise=Normal(sigma=0.1))
    image.addpsf(make_psf((9, 9))[None, None])
    assert image.shape == shape
    assert image.psf.shape == (9, 9)
    ra, dec = image.wcs.all_pix2world(8.0, 7.5, 0)
    assert (float(ra), float(dec)) == pytest.approx((150, 2), abs=1e-9)
    model = model_of(Point(xc=float(ra), yc=float(dec), Ic=uniform(-1, 1)), Background(a0=uniform(0, 2)))
    fit = fitter(img=image, mod=model)
    posterior = fit.run(method="optimizer", seed=1, n_starts=1, n_samples=200)
    assert np.average(posterior.samples[:, 1], weights=posterior.weights) == pytest.approx(data.mean(), abs=0.05)


def test_changes_are_seen_by_the_next_problem(make_image, make_psf, pixel):
    data = np.random.default_rng(4).normal(1, 1, (16, 17))

    def make():
        maps = {name: np.ones(data.shape) for name in ("response", "exposure")}
        return make_image(data, psf=make_psf((9, 9)), noise=Normal(sigma=1.0), **maps)

    image, source = make(), Gaussian(xc=0, yc=0, rs=2 * pixel, Is=uniform(0, 2))
    model = Model(source)
    first = Problem(image, model)
    seen = {first.digest()}
    values = {float(first.log_likelihood([1.0])[0])}

    def look(what):
        problem = Problem(image, model)
        digest, value = problem.digest(), float(problem.log_likelihood([1.0])[0])
        assert digest not in seen, what
        assert value not in values, what
        seen.add(digest)
        values.add(value)

    source.rs = 2.5 * pixel
    look("fixed value")
    image.addpsf(make_psf((9, 9), sigma=1.2))
    look("PSF")
    image.addpsf(make_psf((9, 9), sigma=1.2), includes_pixel=False)
    look("whether the PSF holds the pixel")
    image.addmask(np.arange(data.size).reshape(data.shape) % 7 > 0)
    look("mask")
    image.noise = Normal(sigma=1.2)
    look("noise")
    image.data = image.data + 0.1
    look("data")
    image.response = np.linspace(0.5, 1, data.size).reshape(data.shape)
    look("response")
    image.exposure = np.linspace(1, 2, data.size).reshape(data.shape)
    look("exposure")
    # What was built before sees none of this.
    assert float(first.log_likelihood([1.0])[0]) in values
    assert first.digest() in seen


# Interferometers see the sky.


def test_points_are_on_the_sky_of_an_interferometer(make_image, pixel):
    beam = gaussian_psf((15, 15), 1.5)
    for shape in ((24, 25), (25, 28)):
        image = make_image(shape=shape, noise=NormalRI(sigma=0.1))
        image.addpsf(beam, normalize=False)
        model = Model(Point(xc=-2.3 * pixel, yc=0.6 * pixel, Ic=uniform(0, 9)))
        if shape == (24, 25):
            model.addcomponent(Gaussian(xc=pixel, yc=2 * pixel, rs=1.5 * pixel, Is=1.0))
        problem = Problem(image, model)
        with_, without = problem.render([4.0]), problem.render([0.0])
        point = with_.raw - without.raw
        # All phases of a point: on the frame, what rings beyond it is missing.
        assert point.sum() == pytest.approx(4.0, abs=0.1)
        row, col = np.unravel_index(point.argmax(), shape)
        assert abs(row - ((shape[0] - 1) / 2 + 0.6)) <= 0.5
        assert abs(col - ((shape[1] - 1) / 2 + 2.3)) <= 0.5
        # On a pixel's centre it is that pixel.
        whole = model_of(
            Point(xc=((shape[1] - 1) / 2 - 9) * pixel, yc=(7 - (shape[0] - 1) / 2) * pixel, Ic=uniform(0, 9))
        )
        raw = Problem(image, whole).render([4.0]).raw
        expected = np.zeros(shape)
        expected[7, 9] = 4
        np.testing.assert_allclose(raw, expected, atol=1e-9)
