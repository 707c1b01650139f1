"""Noise models: each is the density that it says it is, over the data and with all of its parameters."""

import copy
import logging
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
from scipy import integrate, special, stats

from socca.errors import ConfigError, DataError, ModelError
from socca.fitting.quality import goodness_of_fit
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Exponential, Model, Point
from socca.models.rendered import Rendered
from socca.noise import REGISTRY, Normal, NormalCorrelated, NormalFourier, NormalRI, Poisson, StudentT
from socca.noise.poisson import ringing
from socca.priors import loguniform, uniform
from socca.survey.config.build import build_image, build_problem
from socca.survey.config.schema import validate_config
from socca.survey.targets import from_columns

SHAPE = (6, 7)
SIZE = SHAPE[0] * SHAPE[1]
RNG = np.random.default_rng(21)
SIGMA = RNG.uniform(0.5, 2, SHAPE)
MASK = RNG.random(SHAPE) > 0.25
ROOT = RNG.normal(0, 1, (SIZE, SIZE))
COVARIANCE = ROOT @ ROOT.T / SIZE + 0.3 * np.eye(SIZE)
TEMPLATE = RNG.uniform(0.5, 3, SHAPE)
#: A window that is zero in masked pixels.
WINDOW = np.where(MASK, RNG.uniform(0.5, 1, SHAPE), 0)


def spectrum(shape, seed=5):
    """Return a power spectrum on the full plane, equal at opposite modes."""
    ny, nx = shape
    power = np.random.default_rng(seed).uniform(0.5, 3, shape)
    return (power + power[np.ix_(-np.arange(ny) % ny, -np.arange(nx) % nx)]) / 2


def circulant(power):
    """Return the covariance of all pixels of noise with a power spectrum on the full plane."""
    lags = np.fft.ifft2(power).real  # covariance at each shift
    rows, cols = np.indices(power.shape).reshape(2, -1)
    return lags[rows[:, None] - rows, cols[:, None] - cols]


def half(power):
    return power[:, : power.shape[1] // 2 + 1]


def multivariate(data, model, covariance):
    return stats.multivariate_normal(np.ravel(model), covariance).logpdf(np.ravel(data))


@dataclass(frozen=True)
class Case:
    """How one noise model is made, what it should say, and how its data are drawn."""

    make: Any
    #: (data, model, used, values) -> log-likelihood
    wanted: Any
    #: Values of its parameters that are not neutral.
    values: dict[str, float]
    #: (rng, model, values) -> data
    draw: Any


def normal_spread(values):
    return np.hypot(values.get("scale", 1) * SIGMA, values.get("floor", 0))


def correlated(rng, model, covariance, values):
    noise = rng.multivariate_normal(np.zeros(model.size), covariance, method="cholesky")
    return model + values.get("scale", 1) * noise.reshape(model.shape)


def fourier_wanted(data, model, used, values):
    # Without masked pixels, exact; with them, the Gaussian of the windowed residual, as documented.
    window = np.ones(SHAPE) if used.all() else WINDOW
    covariance = values.get("scale", 1) ** 2 * circulant(spectrum(SHAPE)) * np.mean(window**2)
    return multivariate(window * np.where(used, data - model, 0), np.zeros(SHAPE), covariance)


CASES = {
    "normal": Case(
        make=lambda used, **values: Normal(sigma=SIGMA, **values),
        wanted=lambda d, m, used, v: stats.norm.logpdf(d, m, normal_spread(v))[used].sum(),
        values={"scale": 1.3, "floor": 0.4},
        draw=lambda rng, m, v: rng.normal(m, normal_spread(v)),
    ),
    "studentt": Case(
        make=lambda used, **values: StudentT(wht=SIGMA**-2.0, **values),
        wanted=lambda d, m, used, v: stats.t.logpdf(d, v.get("nu", 4), m, v.get("scale", 1) * SIGMA)[used].sum(),
        values={"nu": 5.5, "scale": 0.7},
        draw=lambda rng, m, v: m + v.get("scale", 1) * SIGMA * rng.standard_t(v.get("nu", 4), m.shape),
    ),
    "poisson": Case(
        make=lambda used, **values: Poisson(**values),
        wanted=lambda d, m, used, v: stats.poisson.logpmf(d, m + v.get("background", 0))[used].sum(),
        values={"background": 1.7},
        draw=lambda rng, m, v: rng.poisson(m + v.get("background", 0)).astype(float),
    ),
    "normal_correlated": Case(
        make=lambda used, **values: NormalCorrelated(cov=COVARIANCE, **values),
        wanted=lambda d, m, used, v: multivariate(
            d[used], m[used], v.get("scale", 1) ** 2 * COVARIANCE[np.ix_(used.ravel(), used.ravel())]
        ),
        values={"scale": 1.2},
        draw=lambda rng, m, v: correlated(rng, m, COVARIANCE, v),
    ),
    "normal_fourier": Case(
        make=lambda used, **values: NormalFourier(
            cov=half(spectrum(SHAPE)), apod=None if used.all() else WINDOW, **values
        ),
        wanted=fourier_wanted,
        values={"scale": 1.2},
        draw=lambda rng, m, v: correlated(rng, m, circulant(spectrum(SHAPE)), v),
    ),
    "normal_ri": Case(
        make=lambda used, **values: NormalRI(SIGMA),
        wanted=lambda d, m, used, v: -0.5 * ((m - 2 * d) * (m / 2) / SIGMA**2)[used].sum(),
        values={},
        draw=lambda rng, m, v: rng.normal(m, SIGMA),
    ),
}


@pytest.fixture(scope="module")
def prepared(make_image, make_psf):
    """Give a function that makes a noise model and its image: data drawn for a case, perhaps masked."""

    def make(name, data=None, used=None, free=None, **values):
        case = CASES[name]
        used = np.ones(SHAPE, bool) if used is None else used
        data = case.draw(np.random.default_rng(8), TEMPLATE, values) if data is None else data
        noise = case.make(used, **{**values, **(free or {})})
        noise.id = "noise"
        beam = make_psf((5, 5)) * 5 if REGISTRY[name].needs_sky else None
        image = make_image(np.where(used, data, 0), noise=noise)
        image.mask[:] = used
        if beam is not None:
            image.addpsf(beam, normalize=False)
        image.data = np.array(data)
        return noise, image

    return make


def drawn(total, xp=np):
    """Return a model: most of it seen through the PSF, the rest background; on the sky half of it."""
    return Rendered(total / 2, total, xp.zeros_like(total), False)


def evaluate(noise, image, total, arrays=None, **values):
    arrays = noise.prepare(image) if arrays is None else arrays
    with jax.enable_x64(True):
        return float(noise.log_likelihood(drawn(total), arrays, {**noise.values, **values}, noise.spec()))


every = pytest.mark.parametrize("name", sorted(CASES))
cases = pytest.mark.parametrize(
    ("name", "values"),
    [(name, values) for name, case in sorted(CASES.items()) for values in ([{}, case.values] if case.values else [{}])],
    ids=lambda part: part if isinstance(part, str) else "+".join(part) or "-",
)


def test_every_noise_model_has_a_case():
    assert set(CASES) == set(REGISTRY)
    for name, case in CASES.items():
        kind = REGISTRY[name]
        assert set(case.values) == set(kind.fields)
        assert kind.name == name


@cases
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_log_likelihood_is_that_of_scipy(prepared, name, values, masked):
    used = MASK if masked else np.ones(SHAPE, bool)
    noise, image = prepared(name, used=used, **values)
    wanted = CASES[name].wanted(image.data, TEMPLATE, used, values)
    # Some dozen terms of order one in doubles; SciPy's eigenvalues and our Cholesky factor differ a little more.
    assert evaluate(noise, image, TEMPLATE) == pytest.approx(wanted, rel=1e-10)


@cases
def test_masked_pixels_do_not_matter(prepared, name, values):
    noise, image = prepared(name, used=MASK, **values)
    wanted = evaluate(noise, image, TEMPLATE)
    for other in (1e6, -1e6, 0.5, np.nan):
        noise, image = prepared(name, used=MASK, data=np.where(MASK, image.data, other), **values)
        assert evaluate(noise, image, TEMPLATE) == wanted


@every
def test_sigma_knows_what_is_not_used(prepared, name):
    values = CASES[name].values
    noise, image = prepared(name, used=MASK, **values)
    found = [noise.sigma(image), noise.sigma_at(drawn(TEMPLATE), noise.prepare(image), noise.values)]
    for sigma in found:
        assert sigma.shape == SHAPE
        np.testing.assert_array_equal(np.isfinite(sigma), MASK)
        assert np.all(sigma > 0)


@cases
def test_the_fitted_sigma_is_the_scatter_of_the_data(prepared, name, values):
    # Of t with 4 degrees of freedom the fourth moment does not exist, so its variance cannot be estimated with a known
    # error; 40 will do. Correlated pixels: each has the standard deviation, and 400 images are independent.
    values = {**values, **({"nu": 40.0} if name == "studentt" else {})}
    noise, image = prepared(name, **values)
    sigma = noise.sigma_at(drawn(TEMPLATE), noise.prepare(image), noise.values)
    rng = np.random.default_rng(30)
    images = np.array([CASES[name].draw(rng, TEMPLATE, values) for _ in range(400)])
    squares = ((images - noise.expected(drawn(TEMPLATE), noise.values)) / sigma) ** 2
    error = squares.mean((1, 2)).std() / np.sqrt(len(images))
    assert squares.mean() == pytest.approx(1, abs=4 * error)


@pytest.mark.parametrize("extra", [False, True], ids=["-", "parameters"])
@pytest.mark.parametrize("name", [name for name, kind in sorted(REGISTRY.items()) if kind.padded])
def test_padding_does_not_matter(prepared, name, extra):
    noise, image = prepared(name, used=MASK, **(CASES[name].values if extra else {}))
    arrays = noise.prepare(image)
    wanted = evaluate(noise, image, TEMPLATE, arrays)
    pad = ((0, 3), (0, 2))
    larger = jax.tree.map(lambda value: np.pad(value, pad) if np.shape(value) == SHAPE else value, arrays)
    # Whatever the model is there; sums of the same terms in another order.
    for beyond in (0.0, 3.0):
        model = np.pad(TEMPLATE, pad, constant_values=beyond)
        assert evaluate(noise, image, model, larger) == pytest.approx(wanted, rel=1e-13)


@cases
def test_gradients(prepared, name, values):
    noise, image = prepared(name, used=MASK, **values)
    arrays, spec = noise.prepare(image), noise.spec()
    start = {"amplitude": 0.9, **noise.values}

    def function(point):
        own = {key: value for key, value in point.items() if key != "amplitude"}
        return noise.log_likelihood(drawn(point["amplitude"] * TEMPLATE, jax.numpy), arrays, own, spec)

    with jax.enable_x64(True):
        point = {key: jax.numpy.asarray(value) for key, value in start.items()}
        gradient = jax.grad(function)(point)
        for key in start:
            if key in spec.neutral:
                assert gradient[key] == 0  # compiled away
                continue
            step = 1e-4
            up, down = (float(function({**point, key: point[key] + sign * step})) for sign in (1, -1))
            # Central differences are wrong by the third derivative times 1e-8 / 6, and by 1e-16 * 100 / 1e-4.
            assert float(gradient[key]) == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("values", [{}, {"scale": 1.4}, {"scale": 0.7, "floor": 1.1}])
@pytest.mark.parametrize("kind", ["normal", "studentt"])
def test_density_of_one_pixel_integrates_to_one(prepared, kind, values):
    values = {("nu" if key == "floor" and kind == "studentt" else key): value for key, value in values.items()}
    alone = np.zeros(SHAPE, bool)
    alone[2, 3] = True
    noise, image = prepared(kind, used=alone, **values)
    arrays = noise.prepare(image)

    def density(value):
        return np.exp(evaluate(noise, image, TEMPLATE, arrays._replace(data=np.where(alone, value, 0))))

    center, reach = TEMPLATE[2, 3], 12 * SIGMA[2, 3]
    if kind == "normal":
        total, error = integrate.quad(density, center - reach, center + reach, epsabs=1e-9)
    else:
        total, error = integrate.quad(density, -np.inf, np.inf, epsabs=1e-7)
    # What quad says of itself; beyond twelve sigma (seven of the widest) a Gaussian holds 1e-12.
    assert total == pytest.approx(1, abs=max(10 * error, 1e-9))


@pytest.mark.parametrize("background", [0.0, 2.5])
def test_probability_of_counts_sums_to_one(prepared, background):
    alone = np.zeros(SHAPE, bool)
    alone[2, 3] = True
    noise, image = prepared("poisson", used=alone, background=background)
    total = 0.0
    for count in range(60):
        image.data[2, 3] = count
        total += np.exp(evaluate(noise, image, TEMPLATE))
    # The mean is below six: more than sixty counts have a probability of 1e-35.
    assert total == pytest.approx(1, abs=1e-12)


def test_correlated_noise_of_one_pixel_integrates_to_one(prepared):
    used = np.zeros(SHAPE, bool)
    used[2, 3] = True
    noise, image = prepared("normal_correlated", used=used, scale=1.5)
    arrays = noise.prepare(image)
    spread = 1.5 * np.sqrt(COVARIANCE[2 * SHAPE[1] + 3, 2 * SHAPE[1] + 3])
    steps = np.arange(-8, 8.25, 0.5)
    total = sum(
        np.exp(evaluate(noise, image, TEMPLATE, arrays._replace(data=np.where(used, TEMPLATE + step * spread, 0))))
        for step in steps
    )
    # The sum of a Gaussian at steps of sigma / 2 differs from its integral by exp(-79), its tails by 1e-15.
    assert total * 0.5 * spread == pytest.approx(1, abs=1e-12)


# Fourier modes.


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (4, 4), (5, 5), (3, 6)])
@pytest.mark.parametrize("form", ["cov", "icov"])
@pytest.mark.parametrize("ftype", ["real", "full"])
def test_fourier_noise_is_that_of_its_circulant_covariance(make_image, shape, form, ftype):
    power = spectrum(shape)
    rng = np.random.default_rng(2)
    data, model = rng.normal(0, 1, (2, *shape))
    given = power if form == "cov" else 1 / power
    image = make_image(data)
    wanted = multivariate(data, model, circulant(power))
    noise = NormalFourier(**{form: half(given) if ftype == "real" else given}, ftype=ftype)
    assert evaluate(noise, image, model) == pytest.approx(wanted, rel=1e-11)
    assert evaluate(NormalCorrelated(cov=circulant(power)), image, model) == pytest.approx(wanted, rel=1e-11)
    variance = circulant(power)[0, 0]
    np.testing.assert_allclose(noise.sigma(image), np.sqrt(variance), rtol=1e-12)


def test_white_fourier_noise_is_normal(make_image):
    data = np.random.default_rng(3).normal(0, 1, SHAPE)
    image = make_image(data)
    white = NormalFourier(cov=np.full((SHAPE[0], SHAPE[1] // 2 + 1), 1.7**2))
    wanted = stats.norm.logpdf(data, TEMPLATE, 1.7).sum()
    assert evaluate(white, image, TEMPLATE) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("windowed", [False, True])
def test_power_of_realisations(make_image, windowed):
    rng = np.random.default_rng(4)
    power = np.full(SHAPE, 2.0) if windowed else spectrum(SHAPE)
    cube = rng.multivariate_normal(np.zeros(SIZE), circulant(power), 2000).reshape(-1, *SHAPE) + 5.0
    image = make_image(cube[0])
    apod = None
    if windowed:
        image.mask[:] = MASK
        apod = WINDOW
    noise = NormalFourier(cube=cube, apod=apod)
    arrays = noise.prepare(image)
    found = 1 / (arrays.weight * SIZE)
    found[:, 1:] *= 2  # SHAPE has an odd number of columns: all but the first occur twice
    # The power of a mode has a relative error of 1 / sqrt(2000), or sqrt(2 / 2000) where it is its own opposite: 3 %.
    mean = np.mean(WINDOW**2) if windowed else 1.0
    np.testing.assert_allclose(found, half(power) * mean, rtol=0.16)
    used = MASK if windowed else np.ones(SHAPE, bool)
    np.testing.assert_allclose(arrays.sigma[used], np.sqrt(power.mean()), rtol=0.02)


# Covariances of pixels.


@pytest.mark.parametrize("form", ["cov", "icov"])
def test_covariance_of_the_used_pixels_alone(prepared, make_image, form):
    used = MASK.ravel()
    cut = COVARIANCE[np.ix_(used, used)]
    _, image = prepared("normal_correlated", used=MASK)
    wanted = multivariate(image.data[MASK], TEMPLATE[MASK], cut)
    noise = NormalCorrelated(**{form: cut if form == "cov" else np.linalg.inv(cut)})
    assert evaluate(noise, image, TEMPLATE) == pytest.approx(wanted, rel=1e-10)


def test_masked_pixels_are_marginalised_out_of_an_inverse_covariance(prepared):
    _, image = prepared("normal_correlated", used=MASK)
    inverse = np.linalg.inv(COVARIANCE)
    used = MASK.ravel()
    wanted = multivariate(image.data[MASK], TEMPLATE[MASK], COVARIANCE[np.ix_(used, used)])
    cut = multivariate(image.data[MASK], TEMPLATE[MASK], np.linalg.inv(inverse[np.ix_(used, used)]))
    found = evaluate(NormalCorrelated(icov=inverse), image, TEMPLATE)
    assert found == pytest.approx(wanted, rel=1e-10)
    assert abs(found - cut) > 1


def test_covariance_of_realisations(prepared, caplog):
    rng = np.random.default_rng(5)
    cube = rng.multivariate_normal(np.full(SIZE, 3.0), COVARIANCE, 150).reshape(-1, *SHAPE)
    cube[:, ~MASK] = np.nan
    _, image = prepared("normal_correlated", used=MASK)
    flat = cube[:, MASK]
    centered = flat - flat.mean(0)
    covariance = centered.T @ centered / (len(flat) - 1)
    wanted = multivariate(image.data[MASK], TEMPLATE[MASK], covariance)
    with caplog.at_level(logging.INFO):
        found = evaluate(NormalCorrelated(cube=cube), image, TEMPLATE)
    assert found == pytest.approx(wanted, rel=1e-9)
    assert f"150 realisations of {MASK.sum()} pixels" in caplog.text


def test_correlated_images_with_other_masks_share_a_program(make_image):
    model = Model(Background(a0=uniform(0, 1)))
    problems = []
    for mask in (MASK, ~MASK):
        image = make_image(TEMPLATE, noise=NormalCorrelated(cov=COVARIANCE), addmask={"regions": mask})
        problems.append(Problem(image, model))
    one, other = problems
    assert one.spec == other.spec
    assert jax.tree.map(np.shape, one.arrays) == jax.tree.map(np.shape, other.arrays)


@pytest.mark.parametrize("make", [NormalCorrelated, NormalFourier])
def test_covariances_come_from_files_and_hdus(tmp_path, make_image, make):
    from astropy.io import fits

    cov = COVARIANCE if make is NormalCorrelated else half(spectrum(SHAPE))
    cube = np.random.default_rng(6).normal(0, 1, (SIZE + 20, *SHAPE))
    image = make_image(TEMPLATE)
    for form, values in (("cov", cov), ("cube", cube)):
        wanted = evaluate(make(**{form: values}), image, TEMPLATE / 2)
        path = tmp_path / f"{form}.fits"
        fits.PrimaryHDU(values).writeto(path)
        for source in (path, str(path), fits.ImageHDU(values), fits.HDUList([fits.PrimaryHDU(values)])):
            assert evaluate(make(**{form: source}), image, TEMPLATE / 2) == wanted


def test_cutouts_take_their_part_of_what_was_given_for_the_whole(make_image):
    rng = np.random.default_rng(16)
    data = rng.poisson(5.0, SHAPE).astype(float)
    cube = rng.normal(0, 1, (99, *SHAPE))
    image = make_image(data)
    image.cutout((3, 3), (4, 5))
    window = image.window
    kept = np.arange(SIZE).reshape(SHAPE)[window].ravel()
    small = make_image(data[window])
    model = TEMPLATE[window]
    inverse = np.linalg.inv(COVARIANCE)
    pairs = [
        (Normal(sigma=SIGMA), Normal(sigma=SIGMA[window])),
        (NormalCorrelated(cov=COVARIANCE), NormalCorrelated(cov=COVARIANCE[np.ix_(kept, kept)])),
        (NormalCorrelated(icov=inverse), NormalCorrelated(cov=COVARIANCE[np.ix_(kept, kept)])),
        (NormalCorrelated(cube=cube), NormalCorrelated(cube=cube[:, *window])),
        (NormalFourier(cube=cube, apod=WINDOW), NormalFourier(cube=cube[:, *window], apod=WINDOW[window])),
    ]
    for given, wanted in pairs:
        if isinstance(given, NormalFourier):
            image.mask[:] = small.mask[:] = MASK[window]
        # An inverse of an inverse differs by rounding.
        assert evaluate(given, image, model) == pytest.approx(evaluate(wanted, small, model), rel=1e-9)


# Heavy tails, counts, interferometers.


def test_many_degrees_of_freedom_are_normal(prepared):
    _, image = prepared("normal")
    wanted = evaluate(Normal(sigma=SIGMA), image, TEMPLATE)
    # The difference falls as 1 / nu; at the bound, the gamma functions cost 1e-9 per pixel.
    assert evaluate(StudentT(sigma=SIGMA, nu=1e6), image, TEMPLATE) == pytest.approx(wanted, abs=1e-3)


def test_sigma_of_few_degrees_of_freedom(prepared):
    noise, image = prepared("studentt", nu=1.0)
    sigma = noise.sigma_at(drawn(TEMPLATE), noise.prepare(image), noise.values)
    np.testing.assert_allclose(sigma, np.sqrt(3) * SIGMA)


@pytest.mark.parametrize(
    ("model", "count", "wanted"),
    [(0.0, 0, 0.0), (0.0, 3, 3 * np.log(np.finfo(float).eps) - np.log(6)), (-0.1, 0, -np.inf), (-1e-12, 0, -np.inf)],
)
def test_poisson_without_light(make_image, model, count, wanted):
    data = np.ones(SHAPE)
    data[0, 0] = count
    total = np.ones(SHAPE)
    total[0, 0] = model
    noise = Poisson()
    image = make_image(data, noise=noise)
    ones = SIZE - 1
    assert evaluate(noise, image, total) == pytest.approx(wanted - ones, rel=1e-12)
    arrays = noise.prepare(image)
    with jax.enable_x64(True):
        gradient = jax.grad(
            lambda a: noise.log_likelihood(drawn(a * total, jax.numpy), arrays, {"background": 0.0}, noise.spec())
        )(1.0)
    assert np.isfinite(gradient)


def test_poisson_takes_rounding_for_darkness(make_image):
    data = np.zeros(SHAPE)
    data[3, 3] = 1e3
    total = np.full(SHAPE, -1e-14)
    total[3, 3] = 1e3
    assert evaluate(Poisson(), make_image(data), total) == pytest.approx(stats.poisson.logpmf(1000, 1000), rel=1e-10)
    total[3, 3] = np.nan
    assert np.isnan(evaluate(Poisson(), make_image(data), total))


def test_no_light_at_all(make_image):
    assert evaluate(Poisson(), make_image(np.zeros(SHAPE)), np.zeros(SHAPE)) == 0
    assert evaluate(Poisson(), make_image(np.ones(SHAPE)), np.zeros(SHAPE)) == -np.inf
    assert evaluate(Poisson(), make_image(np.ones(SHAPE)), -TEMPLATE) == -np.inf


@pytest.mark.parametrize(
    ("precision", "error"), [("float64", 1e-6), pytest.param("float32", 0.05, marks=pytest.mark.slow)]
)
def test_counts_of_a_compact_source_through_a_psf(make_image, make_psf, pixel, precision, error):
    psf, shape = make_psf((25, 25), sigma=1.7), (48, 49)
    model = Model(Exponential(xc=0.3 * pixel, yc=0.2 * pixel, rs=0.4 * pixel, Is=uniform(1, 1e5)))
    mean = Problem(make_image(shape=shape, psf=psf), model).render([3e4]).total
    # The light is sampled for the PSF to some 1e-4 of its peak, and falls below zero by as much.
    assert -5e-4 < mean.min() / mean.max() < -1e-7
    data = np.random.default_rng(8).poisson(np.maximum(mean, 0)).astype(float)
    # A photon of another source where next to nothing is expected.
    data[2, 3] = 1
    problem = Problem(make_image(data, noise=Poisson(), psf=psf), model, precision=precision)
    expected = problem.render([3e4]).total
    np.testing.assert_allclose(expected, mean, rtol=0, atol=1e-5 * mean.max())
    size = np.maximum(np.abs(expected), np.finfo(precision).eps * expected.max())
    wanted = (special.xlogy(data, size) - expected - special.gammaln(data + 1)).sum()
    assert problem.log_likelihood([3e4])[0] == pytest.approx(wanted, abs=error)


@pytest.mark.parametrize("precision", [pytest.param("float64", marks=pytest.mark.slow), "float32"])
def test_counts_of_a_point_source(make_image, make_psf, pixel, precision):
    row, col = np.indices((41, 41)) - 20.0
    psf = make_psf((25, 25), sigma=1.3)
    model = Model(Point(xc=uniform(-pixel, pixel), yc=0.4 * pixel, Ic=uniform(1, 1e4)))
    at = 0.5 * pixel, 2000.0
    mean = at[1] * np.exp(-0.5 * ((row - 0.4) ** 2 + (col + 0.5) ** 2) / 1.3**2) / (2 * np.pi * 1.3**2)
    data = np.random.default_rng(9).poisson(mean).astype(float)
    problem = Problem(make_image(data, noise=Poisson(), psf=psf), model, precision=precision)
    assert problem.render(at).total.min() < -1e-3  # counts: it rings
    # The rings, of 1e-2 counts at most, matter where fewer than 0.1 counts are expected: to a handful of photons, each
    # of which has the logarithm of its expectation wrong by about one.
    faint = data[mean < 0.1].sum()
    assert 0 < faint < 10
    assert problem.log_likelihood([at])[0] == pytest.approx(stats.poisson.logpmf(data, mean).sum(), abs=faint)
    # All of the light is on the image, so that the likeliest flux is the number of photons.
    _, gradient = problem.log_likelihood_and_grad([[at[0], data.sum()]])
    assert gradient[0, 1] == pytest.approx(0, abs=1e-4)
    assert np.isfinite(gradient[0, 0])
    # What is truly negative is still ruled out.
    below = Model(Point(xc=0.5 * pixel, yc=0.4 * pixel, Ic=2000.0))
    below.addcomponent(Background(a0=uniform(-1, 1)))
    sky = Problem(make_image(data, noise=Poisson(), psf=psf), below, precision=precision)
    assert list(np.isfinite(sky.log_likelihood([[-0.01], [0.0], [0.01]]))) == [False, True, True]


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.85, 5e-3, 2e-2), (1.3, 2e-5, 1e-4), (2.0, 1e-10, 1e-8)])
def test_ringing_of_a_psf(make_image, make_psf, pixel, sigma, least, most):
    psf = make_psf((31, 31), sigma=sigma)
    assert ringing(None) == 0
    assert least < ringing(psf) < most
    problem = Problem(make_image(shape=(41, 41), psf=psf), Model(Point(xc=uniform(-1, 1), yc=uniform(-1, 1), Ic=1.0)))
    for at in np.random.default_rng(3).uniform(-1, 1, (5, 2)) * pixel:
        drawn = problem.render(at).total
        assert drawn.min() > -1.1 * ringing(psf) * drawn.max()


def test_counts_in_single_precision_are_counts(make_image):
    data = np.float32(np.arange(SIZE).reshape(SHAPE) * 1.0000001)
    arrays = Poisson().prepare(make_image(data))
    np.testing.assert_array_equal(arrays.data, np.arange(SIZE).reshape(SHAPE))


def test_dirty_image_is_compared_as_its_visibilities_would_be(prepared):
    rng = np.random.default_rng(9)
    weights = spectrum(SHAPE) * (spectrum(SHAPE, 7) > 1.2)  # some modes are not measured
    sky = TEMPLATE
    visibilities = np.fft.fft2(sky + rng.normal(0, 1, SHAPE))
    residual = weights * (np.abs(visibilities - np.fft.fft2(sky)) ** 2 - np.abs(visibilities) ** 2)
    total = weights.sum()
    dirty = np.fft.ifft2(weights * visibilities).real * SIZE / total
    beamed = np.fft.ifft2(weights * np.fft.fft2(sky)).real * SIZE / total
    noise, image = prepared("normal_ri", data=dirty)
    noise = NormalRI(sigma=total**-0.5)
    found = noise.log_likelihood(Rendered(sky, beamed, 0 * sky, False), noise.prepare(image), {}, noise.spec())
    assert found == pytest.approx(-0.5 * residual.sum(), rel=1e-5)  # single precision
    with jax.enable_x64(True):
        exact = noise.log_likelihood(Rendered(sky, beamed, 0 * sky, False), noise.prepare(image), {}, noise.spec())
    assert exact == pytest.approx(-0.5 * residual.sum(), rel=1e-11)


def test_interferometers_see_no_background(make_image, make_psf):
    image = make_image(TEMPLATE, noise=NormalRI(1.0))
    image.addpsf(make_psf((5, 5)) * 5, normalize=False)
    with pytest.raises(ModelError, match=r"NormalRI: comp_00: .*background"):
        Problem(image, Model(Background(a0=1.0)))


# Wrong arguments.

SYMMETRIC = COVARIANCE.copy()
SYMMETRIC[3, 5] += 0.1
SINGULAR = np.ones((SIZE, SIZE))
NEGATIVE = COVARIANCE.copy()
NEGATIVE[4, 4] = -1
NOT_FINITE = COVARIANCE.copy()
NOT_FINITE[1, 2] = np.nan
ONE_SIDED = spectrum(SHAPE)
ONE_SIDED[1, 2] *= 2
HALF = half(spectrum(SHAPE))
HALF_ONE_SIDED = HALF.copy()
HALF_ONE_SIDED[1, 0] *= 2
ZERO = HALF.copy()
ZERO[2, :2] = 0
CUBE = np.random.default_rng(1).normal(0, 1, (SIZE + 1, *SHAPE))


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("normal", {"sigmma": 1}, "Normal: unknown argument 'sigmma'; did you mean 'sigma'"),
        ("normal", {"sigma": 1, "scael": 1}, "Normal: unknown argument 'scael'; did you mean 'scale'"),
        ("normal", {"sigma": 1, "var": 1}, "Normal: give one of sigma, var"),
        ("normal", {"sigma": 1, "scale": 0}, "Normal: scale = 0 lies outside"),
        ("normal", {"sigma": 1, "floor": -1}, "Normal: floor = -1 lies outside"),
        ("normal", {"sigma": 1, "scale": uniform(0, 1)}, "Normal: scale .*bound = 0"),
        ("studentt", {"sigma": 1, "var": 1}, "StudentT: give one of sigma, var"),
        ("studentt", {"sigma": 1, "nu": 0}, "StudentT: nu = 0 lies outside"),
        ("studentt", {"sigma": -1.0}, "sigma is negative"),
        ("poisson", {"bakground": 1}, "Poisson: unknown argument 'bakground'; did you mean 'background'"),
        ("poisson", {"background": -1}, "Poisson: background = -1 lies outside"),
        ("normal_correlated", {}, "NormalCorrelated: give exactly one of cov, icov, cube"),
        ("normal_correlated", {"cov": 1, "cube": 1}, "give exactly one of cov, icov, cube; got cov, cube"),
        ("normal_correlated", {"covv": 1}, "NormalCorrelated: unknown argument 'covv'; did you mean 'cov'"),
        ("normal_correlated", {"cov": np.eye(3)}, r"cov has shape \(3, 3\): expected \(42, 42\)"),
        ("normal_correlated", {"icov": 1.0}, r"icov has shape \(\)"),
        ("normal_correlated", {"cov": SYMMETRIC}, "cov: is not symmetric"),
        ("normal_correlated", {"icov": SYMMETRIC}, "icov: is not symmetric"),
        ("normal_correlated", {"cov": SINGULAR}, "cov: is not positive definite.*lowest eigenvalue"),
        ("normal_correlated", {"cov": COVARIANCE - 0.5 * np.eye(SIZE)}, "cov: .*lowest eigenvalue.* is -"),
        ("normal_correlated", {"cov": NEGATIVE}, "cov: 1 element"),
        ("normal_correlated", {"cov": NOT_FINITE}, "cov: 1 element.* not finite"),
        ("normal_correlated", {"cube": CUBE}, "cube: 43 realisation.* 42 used pixels: more than 43"),
        ("normal_correlated", {"cube": CUBE[0]}, r"cube: expected .*\(n, ny, nx\), got \(6, 7\)"),
        ("normal_correlated", {"cube": CUBE.T}, r"cube: its shape is \(6, 43\), the image's \(6, 7\)"),
        ("normal_correlated", {"cube": np.full((99, *SHAPE), np.nan)}, "cube: 4158 value.* not finite"),
        ("normal_correlated", {"cube": "wide"}, "cube: no such file: wide"),
        ("normal_correlated", {"cube": object()}, "cube: expected numbers"),
        ("normal_fourier", {}, "NormalFourier: give exactly one of cov, icov, cube"),
        ("normal_fourier", {"cov": HALF, "ftype": "reel"}, "ftype must be 'real' or 'full', not 'reel'"),
        ("normal_fourier", {"cov": HALF, "ftype": "full"}, r"cov has shape \(6, 4\): expected \(6, 7\)"),
        ("normal_fourier", {"cov": spectrum(SHAPE)}, r"cov has shape \(6, 7\): expected \(6, 4\)"),
        ("normal_fourier", {"cov": ONE_SIDED, "ftype": "full"}, "cov: 2 of 42 modes"),
        ("normal_fourier", {"icov": HALF_ONE_SIDED}, "icov: 2 of 24 modes"),
        ("normal_fourier", {"cov": ZERO}, "cov: the power of 2 of 24 modes"),
        ("normal_fourier", {"icov": -HALF}, "icov: the power of 24 of 24 modes"),
        ("normal_fourier", {"cov": HALF * np.nan}, "cov: the power of 24 of 24 modes"),
        ("normal_fourier", {"cube": CUBE[:1]}, "cube: at least 2 realisations"),
        ("normal_fourier", {"cube": CUBE[:, :5]}, r"cube: its shape is \(5, 7\), the image's \(6, 7\)"),
        ("normal_fourier", {"cov": HALF, "apod": 0.5}, r"apod: its shape is \(\), the image's \(6, 7\)"),
        ("normal_fourier", {"cov": HALF, "apod": np.zeros(SHAPE)}, "apod must lie between 0 and 1"),
        ("normal_fourier", {"cov": HALF, "apod": np.full(SHAPE, 1.5)}, "apod must lie between 0 and 1"),
        ("normal_fourier", {"cov": HALF, "apod": np.full(SHAPE, np.nan)}, "apod must lie between 0 and 1"),
        ("normal_ri", {}, "NormalRI: needs sigma"),
        ("normal_ri", {"sigma": 1, "var": 1}, "NormalRI: give one of sigma, var"),
        ("normal_ri", {"sigma": 1, "scale": 2}, "NormalRI: unknown argument 'scale'"),
        ("normal_ri", {"sigma": 1}, "NormalRI: the image needs its dirty beam"),
    ],
)
def test_wrong_arguments_are_named(make_image, kind, given, said):
    image = make_image(np.ones(SHAPE))
    with pytest.raises((DataError, ModelError), match=said):
        REGISTRY[kind](**given).prepare(image)


def test_masked_pixels_and_fourier_modes(make_image):
    image = make_image(np.ones(SHAPE))
    image.mask[2, 3] = 0
    with pytest.raises(DataError, match=r"NormalFourier: 1 pixel\(s\) are masked.*apod.*NormalCorrelated"):
        NormalFourier(cov=HALF).prepare(image)
    with pytest.raises(DataError, match="apod must vanish in masked pixels, and does not in 1"):
        NormalFourier(cov=HALF, apod=np.ones(SHAPE)).prepare(image)


@pytest.mark.parametrize("wrong", [0.5, -1.0])
def test_poisson_data_are_counts(make_image, wrong):
    data = np.ones(SHAPE)
    data[2, 3] = data[4, 4] = wrong
    with pytest.raises(DataError, match=rf"2 used pixel\(s\) are not, such as {wrong:g} in row 2, column 3"):
        Poisson().prepare(make_image(data))
    image = make_image(data)
    image.mask[2, 3] = image.mask[4, 4] = 0
    assert np.isfinite(evaluate(Poisson(), image, TEMPLATE))


def test_a_normalised_beam_is_refused(make_image, make_psf):
    with pytest.raises(DataError, match=r"peak.*normalize=False"):
        NormalRI(1.0).prepare(make_image(np.ones(SHAPE), psf=make_psf((5, 5), sigma=1.3)))


# In a fit.


def source(pixel, amplitude=8.0):
    """Return a bowl, which is quicker to compile than a galaxy."""
    return Model(Background(rs=8 * pixel, a2xx=loguniform(1, 30) if amplitude is None else amplitude))


FITTED = {
    "normal-scale": (lambda s, **p: Normal(sigma=s, **p), {"scale": 1.6}),
    "normal-floor": (lambda s, **p: Normal(sigma=s, **p), {"floor": 1.4}),
    "normal-both": (lambda s, **p: Normal(sigma=s, **p), {"scale": 0.8, "floor": 1.1}),
    "studentt": (lambda s, **p: StudentT(sigma=s, **p), {"nu": 3.0, "scale": 1.3}),
    "poisson": (lambda s, **p: Poisson(**p), {"background": 2.2}),
    "correlated": (None, {"scale": 1.5}),
    "fourier": (None, {"scale": 1.5}),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in ("normal-scale", "normal-floor") else n for n in sorted(FITTED)],
)
def test_noise_parameters_are_fitted(make_image, pixel, name):
    shape = (16, 17) if name in ("correlated", "fourier") else (30, 31)
    make, truth = FITTED[name]
    rng = np.random.default_rng(13)
    sigma = np.exp(rng.uniform(np.log(0.3), np.log(3), shape))  # scale and floor are told apart
    clean = source(pixel).getmap(make_image(shape=shape), addbackground=True)
    if name in ("correlated", "fourier"):
        power = spectrum(shape)
        data = correlated(rng, clean, circulant(power), truth)

        def make(s, **p):
            return (
                NormalCorrelated(cov=circulant(power), **p)
                if name == "correlated"
                else NormalFourier(cov=half(power), **p)
            )
    elif name == "poisson":
        data = rng.poisson(clean + truth["background"]).astype(float)
    elif name == "studentt":
        data = clean + truth["scale"] * sigma * rng.standard_t(truth["nu"], shape)
    else:
        data = rng.normal(clean, np.hypot(truth.get("scale", 1) * sigma, truth.get("floor", 0)))
    noise = make(sigma, **{key: loguniform(value / 4, 4 * value) for key, value in truth.items()})
    problem = Problem(make_image(data, noise=noise), source(pixel, None))
    assert problem.names == ["comp_00_a2xx", *[f"noise_{key}" for key in REGISTRY[noise.name].fields if key in truth]]
    assert problem.labels[1:] == [f"noise.{key}" for key in REGISTRY[noise.name].fields if key in truth]
    posterior, _ = sample(problem, "optimizer", seed=2, n_draws=200)
    spread = posterior.samples.std(0)
    for key, value in {"comp_00_a2xx": 8.0, **{f"noise_{key}": value for key, value in truth.items()}}.items():
        k = problem.names.index(key)
        # Within four of its own errors, which are small enough for that to mean something.
        assert abs(posterior.best[k] - value) < 4 * spread[k]
        assert spread[k] < 0.3 * value
    fit = goodness_of_fit(problem, make_image(data), posterior)
    # The fitted noise is what chi-square is measured in: of 272 independent pixels or more, its error is sqrt(2 / 272)
    # at most. Tails of nu = 3, which have no fourth moment, give it no error to be measured by.
    if name != "studentt":
        assert fit.chi2_red == pytest.approx(1, abs=4 * np.sqrt(2 / data.size))
    assert fit.n_used == data.size


def test_noise_that_is_tied(make_image, pixel):
    noise = Normal(sigma=1.0, scale=uniform(0.5, 2), floor=lambda comp_00_a2xx, noise_scale: comp_00_a2xx * noise_scale)
    problem = Problem(make_image(np.ones(SHAPE), noise=noise), source(pixel, None))
    values = problem.values([3.0, 1.5])
    assert values["noise_floor"] == pytest.approx(4.5)
    expected, sigma = problem.predict([3.0, 1.5])
    np.testing.assert_array_equal(expected, problem.render([3.0, 1.5]).total)
    np.testing.assert_allclose(sigma, np.hypot(1.5, 4.5))


def test_an_estimated_level_is_logged_once(make_image, pixel, caplog):
    image = make_image(np.random.default_rng(1).normal(0, 1, SHAPE), noise=Normal())
    with caplog.at_level(logging.INFO, "socca"):
        problem = Problem(image, source(pixel, None))
        problem.predict([1.0])
        problem.predict([2.0])
    assert caplog.text.count("median absolute deviation") == 1


# In a config.


@pytest.fixture
def build(tmp_path, config_data, write_fits):
    """Give a function that builds an image from a noise section and one row with the given columns."""

    def make(noise, data=None, what="image", **columns):
        settings = copy.deepcopy(config_data) | {"noise": noise, "targets": str(tmp_path / "targets.csv")}
        config = validate_config(settings, "survey.yaml")
        rng = np.random.default_rng(2)
        write_fits(tmp_path / "image.fits", rng.poisson(3.0, SHAPE) if data is None else data)
        row = {"target": "t", "image": "image.fits", **columns}
        for key, value in columns.items():
            if isinstance(value, np.ndarray):
                row[key] = write_fits(tmp_path / f"{key}.fits", value).name
        target = from_columns({key: [value] for key, value in row.items()}, tmp_path, "table")["t"]
        image = build_image(target, config)
        return image if what == "image" else build_problem("galaxy", target, config, image)[0]

    return make


def test_kinds_of_the_config(build, tmp_path, write_fits, caplog):
    image = build({"kind": "studentt", "parameters": {"nu": 3, "scale": {"loguniform": [0.5, 2]}}}, sigma=SIGMA)
    assert isinstance(image.noise, StudentT)
    assert (image.noise.nu, image.noise.scale) == (3.0, loguniform(0.5, 2))
    np.testing.assert_array_equal(image.noise.sigma(image), SIGMA)
    image = build({"kind": "studentt", "level": "2 * $rms"}, rms=1.5)
    np.testing.assert_array_equal(image.noise.sigma(image), 3.0)
    with caplog.at_level(logging.INFO):
        image = build({"kind": "poisson", "parameters": {"background": "$sky / 2"}}, sky=3.0, sigma=SIGMA)
    assert isinstance(image.noise, Poisson)
    assert image.noise.background == 1.5
    assert "poisson noise does not use" in caplog.text
    write_fits(tmp_path / "cov.fits", COVARIANCE)
    write_fits(tmp_path / "power.fits", spectrum(SHAPE))
    write_fits(tmp_path / "cube.fits", np.random.default_rng(1).normal(0, 1, (99, *SHAPE)))
    write_fits(tmp_path / "window.fits", WINDOW)
    image = build({"kind": "normal_correlated", "covariance": "cov.fits", "parameters": {"scale": 2}})
    np.testing.assert_allclose(image.noise.sigma(image).ravel(), np.sqrt(np.diag(COVARIANCE)))
    assert image.noise.scale == 2
    assert isinstance(build({"kind": "normal_correlated", "cube": str(tmp_path / "cube.fits")}).noise, NormalCorrelated)
    noise = {
        "kind": "normal_fourier",
        "inverse_covariance": "power.fits",
        "ftype": "full",
        "apodization": "window.fits",
    }
    image = build(noise)
    np.testing.assert_array_equal(image.noise.prepare(image).apod, np.float64(WINDOW))
    assert isinstance(build({"kind": "normal_ri", "level": 0.3}).noise, NormalRI)


def test_noise_of_the_config_is_fitted(build):
    noise = {"parameters": {"scale": {"loguniform": [0.5, 2]}, "floor": "noise.scale * 0.1"}}
    problem = build(noise, what="problem", sigma=SIGMA)
    assert problem.labels[-1] == "noise.scale"
    assert "noise_floor" not in problem.names


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"kind": "normall"}, "noise.kind: unknown noise model 'normall'; did you mean 'normal'"),
        ({"parameters": {"scael": 1}}, "noise: normal has no parameter 'scael'; did you mean 'scale'"),
        ({"parameters": {"scale": {"unifrom": [1, 2]}}}, "noise.parameters.scale: unknown prior 'unifrom'"),
        ({"kind": "poisson", "level": 2}, "noise: poisson has no use for 'level'"),
        ({"covariance": "a.fits"}, "noise: normal has no use for 'covariance'; it takes level"),
        ({"kind": "normal_correlated"}, "noise: normal_correlated needs one of covariance, inverse_covariance, cube"),
        ({"kind": "normal_fourier", "covariance": "a", "cube": "b"}, "normal_fourier needs one .*got covariance, cube"),
        ({"kind": "normal_correlated", "cube": "a", "apodization": "b"}, "has no use for 'apodization'"),
        ({"kind": "normal_correlated", "cube": "a", "ftype": "full"}, "has no use for 'ftype'"),
        ({"kind": "normal_fourier", "cube": "a", "ftype": "reel"}, "noise.ftype: .*'real' or 'full'"),
        ({"parameters": {"scale": 0}}, "noise.parameters.scale: Normal: scale = 0 lies outside"),
        ({"parameters": {"floor": "disk.Is"}}, "noise.parameters.floor: 'disk.Is' is no parameter of the noise"),
        ({"parameters": {"floor": "$skyy"}}, r"noise.parameters.floor: \$skyy"),
        ({"kind": "normal_correlated", "covariance": "$SOCCA_NOT_SET/a.fits"}, "noise.covariance: .*not set"),
    ],
)  # fmt: skip
def test_mistakes_in_a_config_are_named(build, noise, said, monkeypatch):
    monkeypatch.delenv("SOCCA_NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=said):
        build(noise, sigma=SIGMA)


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"kind": "normal_correlated", "covariance": "none.fits"}, "covariance: no such file: .*none.fits"),
        ({"kind": "normal_correlated", "cube": "none.fits"}, "cube: no such file: .*none.fits"),
        ({"kind": "normal_ri"}, "NormalRI: needs sigma"),
    ],
)
def test_missing_files_are_named(build, noise, said):
    with pytest.raises(DataError, match=said):
        build(noise)
