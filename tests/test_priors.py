import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from socca.errors import ConfigError
from socca.priors import REGISTRY

#: Family -> (numbers, the same distribution in scipy). Every family of the registry needs a row.
CASES = {
    "uniform": [((-1.5, 4.0), stats.uniform(-1.5, 5.5)), ((1e-4, 3e-4), stats.uniform(1e-4, 2e-4))],
    "loguniform": [((0.5, 40.0), stats.loguniform(0.5, 40.0)), ((1e-6, 1e-2), stats.loguniform(1e-6, 1e-2))],
    "normal": [((1.2, 0.4), stats.norm(1.2, 0.4)), ((-150.0, 1e-3), stats.norm(-150.0, 1e-3))],
}
FLAT = [(name, numbers, reference) for name, rows in CASES.items() for numbers, reference in rows]

#: Family -> numbers that make no distribution.
BAD = {
    "uniform": [(3.0, 2.0), (2.0, 2.0)],
    "loguniform": [(0.0, 1.0), (-1.0, 1.0), (5.0, 2.0), (2.0, 2.0)],
    "normal": [(0.0, 0.0), (0.0, -2.5)],
}

every_case = pytest.mark.parametrize(
    ("name", "numbers", "reference"), FLAT, ids=[f"{name}{numbers}" for name, numbers, _ in FLAT]
)


def test_every_family_has_a_case():
    own = {name for name, family in REGISTRY.items() if family.__module__ == "socca.priors"}
    assert set(CASES) == own == set(BAD)


@every_case
def test_density_is_scipys(name, numbers, reference):
    prior = REGISTRY[name](*numbers)
    x = reference.ppf(np.linspace(0.001, 0.999, 41))
    # Closed forms in doubles; the logarithm of a ratio of bounds costs a digit or two.
    np.testing.assert_allclose(prior.log_prob(x), reference.logpdf(x), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(prior.cdf(x), reference.cdf(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(prior.icdf(np.linspace(0.01, 0.99, 9)), reference.ppf(np.linspace(0.01, 0.99, 9)))


@every_case
def test_icdf_inverts_cdf(name, numbers, reference):
    prior = REGISTRY[name](*numbers)
    x = reference.ppf(np.linspace(0.001, 0.999, 41))
    scale = reference.std()
    # At 1e-3 of the tail, a rounding in the cdf is 1e-13 of a scale; 1e-10 leaves room for cancellation in x - low.
    np.testing.assert_allclose(prior.icdf(prior.cdf(x)), x, rtol=0, atol=1e-10 * scale)


@every_case
def test_density_integrates_to_one(name, numbers, reference):
    prior = REGISTRY[name](*numbers)
    low, high = reference.ppf([1e-12, 1 - 1e-12])
    edges = reference.ppf([0.01, 0.1, 0.5, 0.9, 0.99])
    total, error = integrate.quad(lambda x: math.exp(prior.log_prob(x)), low, high, points=edges, epsabs=1e-11)
    assert error < 1e-8
    assert total == pytest.approx(1, abs=1e-8)


@every_case
def test_samples(name, numbers, reference):
    draws = REGISTRY[name](*numbers).sample(np.random.default_rng(8), 20_000)
    # With this seed; a wrong family or number gives p of 0, and 4 standard errors of the mean are rarely passed.
    assert stats.kstest(draws, reference.cdf).pvalue > 1e-3
    assert abs(draws.mean() - reference.mean()) < 4 * reference.std() / math.sqrt(draws.size)
    assert draws.std() == pytest.approx(reference.std(), rel=0.05)


def test_sample_shapes():
    prior = REGISTRY["normal"](0, 1)
    assert np.shape(prior.sample(np.random.default_rng(1))) == ()
    assert prior.sample(np.random.default_rng(1), (3, 4)).shape == (3, 4)
    np.testing.assert_array_equal(prior.sample(np.random.default_rng(1), 5), prior.sample(np.random.default_rng(1), 5))


@every_case
def test_jax_agrees_with_numpy(name, numbers, reference):
    prior = REGISTRY[name](*numbers)
    u = np.linspace(0.001, 0.999, 41)
    width = reference.std()
    x = np.concatenate([reference.ppf(u), [reference.ppf(0.0001) - 20 * width, reference.ppf(0.9999) + 20 * width]])
    with jax.enable_x64(True):
        for method, points in [("_log_prob", x), ("_cdf", x), ("_icdf", u)]:
            function = getattr(prior, method)
            with np.errstate(all="ignore"):
                wanted = function(points, *numbers, xp=np)
            # The same formulas in doubles; JAX's special functions differ in the last digits (3e-12 in ndtri's tails).
            np.testing.assert_allclose(
                np.asarray(function(jnp.asarray(points), *numbers, xp=jnp)), wanted, rtol=1e-10, atol=1e-13
            )


@every_case
def test_outside_the_support(name, numbers, reference):
    prior = REGISTRY[name](*numbers)
    low, high = prior.support
    assert (low, high) == pytest.approx(reference.support())
    for edge, sign in [(low, -1), (high, 1)]:
        if math.isfinite(edge):
            outside = edge + sign * 1e-6 * reference.std()
            assert prior.log_prob(outside) == -math.inf
            assert np.isfinite(prior.log_prob(edge))
            assert prior.cdf(outside) == (0 if sign < 0 else 1)
    if math.isfinite(low):
        assert prior.log_prob(np.array([-1e9, 0.0])[:1])[0] == -math.inf


@pytest.mark.parametrize("name", sorted(CASES))
def test_icdf_stays_within_the_support(name):
    # A sampler's u is in [0, 1): what comes out must have a finite log_prob, to the last bit of the bounds.
    rng = np.random.default_rng(4)
    u = np.array([1e-300, 0.5, np.nextafter(1, 0)])
    for _ in range(300):
        low, width = rng.uniform(1e-3, 10, 2)
        prior = REGISTRY[name](low, low + width)
        assert np.all(np.isfinite(prior.log_prob(prior.icdf(u)))), prior


@pytest.mark.parametrize(("name", "numbers"), [(name, numbers) for name, rows in BAD.items() for numbers in rows])
def test_bad_numbers_are_named(name, numbers):
    with pytest.raises(ValueError, match=name) as raised:
        REGISTRY[name](*numbers)
    for argument, number in zip(REGISTRY[name].arguments, numbers, strict=True):
        assert f"{argument}={number:g}" in str(raised.value)


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_must_be_finite(name, bad):
    numbers = list(CASES[name][0][0])
    for k in range(len(numbers)):
        with pytest.raises(ValueError, match="finite"):
            REGISTRY[name](*numbers[:k], bad, *numbers[k + 1 :])


@pytest.mark.parametrize("name", sorted(CASES))
def test_arguments(name):
    family, numbers = REGISTRY[name], CASES[name][0][0]
    by_name = dict(zip(family.arguments, numbers, strict=True))
    assert family(**by_name) == family(*numbers)
    assert hash(family(**by_name)) == hash(family(*numbers))
    assert family(*numbers) != family(*CASES[name][1][0])
    with pytest.raises(ConfigError, match=family.arguments[-1]):
        family(*numbers[:-1])
    with pytest.raises(ConfigError, match="nonsense"):
        family(*numbers, nonsense=1)
    with pytest.raises(ConfigError, match=name):
        family(*numbers, 1.0)
    with pytest.raises(ConfigError, match=family.arguments[0]):
        family(*numbers, **{family.arguments[0]: 1.0})
