"""Fast elementary functions, against NumPy's."""

import jax
import numpy as np
import pytest

from socca.utils import fastmath


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 3e-14), (np.float32, 3e-6)])
def test_exp(dtype, rtol):
    rng = np.random.default_rng(1)
    high = 700 if dtype == np.float64 else 85
    x = np.concatenate([rng.uniform(-high, high, 4000), rng.normal(0, 1, 4000), [0, -0.0, 1e-300, np.log(2) / 2]])
    x = x.astype(dtype)
    with jax.enable_x64(True):
        got = np.asarray(jax.jit(fastmath.exp)(x))
        slope = np.asarray(jax.jit(jax.vmap(jax.grad(fastmath.exp)))(x))
        ends = np.asarray(jax.jit(fastmath.exp)(np.array([-1e300, -750.0, -708.0, 709.0], float)))
    truth = np.exp(x.astype(np.longdouble))
    assert got.dtype == slope.dtype == dtype
    assert np.all(np.abs(got / truth - 1) < rtol * (1 + np.abs(x) / 10))
    np.testing.assert_array_equal(slope, got)
    # Far tails stay numbers, and positive.
    assert np.all((ends[:3] > 0) & (ends[:3] < 1e-307))
    assert ends[3] == pytest.approx(np.exp(709.0), rel=1e-13)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 2e-14), (np.float32, 3e-7)])
def test_log(dtype, atol):
    rng = np.random.default_rng(2)
    ends = [1e-300, 1e300, 2.3e-308] if dtype == np.float64 else [1e-37, 1e38]
    x = np.concatenate([10 ** rng.uniform(-35, 35, 4000), rng.uniform(0.5, 2, 4000), [1.0, 2.0, 0.5], ends])
    x = x.astype(dtype)
    with jax.enable_x64(True):
        got = np.asarray(jax.jit(fastmath.log)(x))
        slope = np.asarray(jax.jit(jax.vmap(jax.grad(fastmath.log)))(x))
    truth = np.log(x.astype(np.longdouble)).astype(float)
    assert got.dtype == slope.dtype == dtype
    np.testing.assert_allclose(got, truth, rtol=atol, atol=atol)
    # Beyond the range of normal numbers the reciprocal of the largest is flushed to zero in single precision.
    np.testing.assert_allclose(slope, 1 / x, rtol=10 * atol, atol=np.finfo(dtype).tiny)


def test_power():
    rng = np.random.default_rng(3)
    x, exponent = 10 ** rng.uniform(-8, 8, 3000), rng.uniform(-5, 5, 3000)
    with jax.enable_x64(True):
        got = np.asarray(jax.jit(fastmath.power)(x, exponent))
        gradient = jax.jit(jax.vmap(jax.grad(fastmath.power, argnums=(0, 1))))(x, exponent)
    # An exponent of up to 92 magnifies the logarithm's rounding.
    np.testing.assert_allclose(got, x**exponent, rtol=5e-13)
    np.testing.assert_allclose(gradient[0], exponent * x ** (exponent - 1), rtol=5e-13)
    np.testing.assert_allclose(gradient[1], np.log(x) * x**exponent, rtol=5e-13)
    with jax.enable_x64(True):
        single = fastmath.power(np.float32([0.5, 3.0]), np.float32([2.0, -1.5]))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, [0.25, 3**-1.5], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 5), (7, 3), (8, 3), (16, 2), (41, 37)])
def test_total(shape):
    x = np.random.default_rng(4).normal(size=shape)
    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(fastmath.total))(x)
    assert float(value) == pytest.approx(x.sum(), abs=1e-12)
    np.testing.assert_array_equal(gradient, np.ones(shape))
    single = fastmath.total(jax.numpy.asarray(x, "float32"))
    assert single.dtype == np.float32
    assert float(single) == pytest.approx(x.sum(), abs=1e-4)
