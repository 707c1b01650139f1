"""Noise models: each is the density that it says it is, over the data and with all of its parameters."""

import jax
import numpy as np
import pytest

from socca.noise import REGISTRY
from tests.noise.cases import CASES, MASK, SHAPE, TEMPLATE, drawn, evaluate

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
