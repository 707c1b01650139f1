"""The families of the registry: densities, inverses, slopes, arguments and mistakes."""

import functools
import math
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from socca import priors
from socca.errors import ConfigError
from socca.priors import REGISTRY
from tests.priors.references import Power, Split, U, check_integral, truncated, width_of

#: Family -> (numbers, the same distribution in scipy). Every family of the registry needs two rows.
CASES = {
    "uniform": [((-1.5, 4.0), stats.uniform(-1.5, 5.5)), ((1e-4, 3e-4), stats.uniform(1e-4, 2e-4))],
    "loguniform": [((0.5, 40.0), stats.loguniform(0.5, 40.0)), ((1e-6, 1e-2), stats.loguniform(1e-6, 1e-2))],
    "powerlaw": [
        ((0.5, 40.0, 1.5), Power(0.5, 40.0, 1.5)),
        ((1e-3, 2.0, -2.3), Power(1e-3, 2.0, -2.3)),
        ((2.0, 3.0, 0.0), stats.uniform(2.0, 1.0)),
        ((0.5, 40.0, -1.0), stats.loguniform(0.5, 40.0)),
    ],
    "logpowerlaw": [
        ((0.5, 40.0, 1.5), Power(0.5, 40.0, 0.5)),
        ((1e-3, 2.0, -1.3), Power(1e-3, 2.0, -2.3)),
        ((0.5, 40.0, 0.0), stats.loguniform(0.5, 40.0)),
    ],
    "normal": [((1.2, 0.4), stats.norm(1.2, 0.4)), ((-150.0, 1e-3), stats.norm(-150.0, 1e-3))],
    "splitnormal": [((1.2, 0.4, 2.5), Split(1.2, 0.4, 2.5)), ((-15.0, 1e-2, 1e-3), Split(-15.0, 1e-2, 1e-3))],
    "truncnormal": [
        ((1.2, 0.4, 0.5, 3.0), truncated(1.2, 0.4, 0.5, 3.0)),
        ((0.0, 1.0, 30.0, 31.0), truncated(0.0, 1.0, 30.0, 31.0)),
        ((5.0, 0.25, -1.0, 0.5), truncated(5.0, 0.25, -1.0, 0.5)),
        ((0.0, 2.0, -math.inf, -3.0), truncated(0.0, 2.0, -math.inf, -3.0)),
        ((0.0, 2.0, 25.0, math.inf), truncated(0.0, 2.0, 25.0, math.inf)),
        ((0.3, 2.0, -math.inf, math.inf), stats.norm(0.3, 2.0)),
        ((0.0, 100.0, -1.0, 1.0), truncated(0.0, 100.0, -1.0, 1.0)),
    ],
    "halfnormal": [((0.4,), stats.halfnorm(0, 0.4)), ((3e3,), stats.halfnorm(0, 3e3))],
    "beta": [
        ((2.0, 3.5, 0.0, 1.0), stats.beta(2.0, 3.5)),
        ((0.4, 0.6, -1.0, 3.0), stats.beta(0.4, 0.6, -1.0, 4.0)),
        ((1.0, 5.0, 0.0, 2.0), stats.beta(1.0, 5.0, 0.0, 2.0)),
        ((50.0, 0.3, 0.0, 1.0), stats.beta(50.0, 0.3)),
        ((45.0, 50.0, 0.0, 1.0), stats.beta(45.0, 50.0)),
    ],
    "gamma": [((2.5, 0.4), stats.gamma(2.5, 0, 0.4)), ((0.6, 30.0), stats.gamma(0.6, 0, 30.0))],
    "studentt": [((1.2, 0.4, 3.5), stats.t(3.5, 1.2, 0.4)), ((-5.0, 10.0, 1.0), stats.cauchy(-5.0, 10.0))],
}
FLAT = [(name, numbers, reference) for name, rows in CASES.items() for numbers, reference in rows]

#: Family -> numbers that make no distribution.
BAD = {
    "uniform": [(3.0, 2.0), (2.0, 2.0)],
    "loguniform": [(0.0, 1.0), (-1.0, 1.0), (5.0, 2.0), (2.0, 2.0)],
    "powerlaw": [(0.0, 1.0, 1.0), (5.0, 2.0, 1.0)],
    "logpowerlaw": [(-1.0, 1.0, 1.0), (2.0, 2.0, 1.0)],
    "normal": [(0.0, 0.0), (0.0, -2.5)],
    "splitnormal": [(0.0, 0.0, 1.0), (0.0, 1.0, -1.0)],
    "truncnormal": [(0.0, -1.0, 0.0, 1.0), (0.0, 1.0, 2.0, 1.0), (0.0, 1.0, math.inf, math.inf)],
    "halfnormal": [(0.0,), (-1.0,)],
    "beta": [(0.0, 1.0, 0.0, 1.0), (1.0, -1.0, 0.0, 1.0), (1.0, 1.0, 2.0, 1.0)],
    "gamma": [(0.0, 1.0), (1.0, -1.0)],
    "studentt": [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0)],
}

every_case = pytest.mark.parametrize(
    ("name", "numbers", "reference"), FLAT, ids=[f"{name}{numbers}" for name, numbers, _ in FLAT]
)


def prior_of(name, numbers):
    """Return a prior of a family from its numbers, in the order of `arguments`."""
    return REGISTRY[name](**dict(zip(REGISTRY[name].arguments, numbers, strict=True)))


def check_inverse(prior, log_mass=0.0):
    """The cdf of the icdf is the probability, but for the rounding of both and of the value between them."""
    x = prior.icdf(U)
    rounding = 4e-16 * (1 + log_mass) + 4 * np.spacing(np.abs(x)) * np.exp(prior.log_prob(x))
    assert np.all(np.abs(prior.cdf(x) - U) <= rounding + 1e-9 * np.minimum(U, 1 - U))


def test_every_family_has_a_case():
    own = {name for name, family in REGISTRY.items() if family.__module__.startswith("socca.priors")}
    assert set(CASES) == own == set(BAD)
    assert own <= set(priors.__all__)


@every_case
def test_density_is_scipys(name, numbers, reference):
    prior = prior_of(name, numbers)
    x = reference.ppf(np.linspace(0.001, 0.999, 41))
    # Closed forms in doubles; the logarithm of a ratio of bounds, or of a far tail, costs a digit or two.
    np.testing.assert_allclose(prior.log_prob(x), reference.logpdf(x), rtol=1e-11, atol=2e-11)
    np.testing.assert_allclose(prior.cdf(x), reference.cdf(x), rtol=1e-9, atol=1e-12)
    u = np.linspace(0.01, 0.99, 9)
    np.testing.assert_allclose(prior.icdf(u), reference.ppf(u), rtol=1e-10, atol=1e-10 * width_of(reference))


@every_case
def test_icdf_inverts_cdf(name, numbers, reference):
    # A truncated normal's cdf is a difference of logarithms that may be large.
    far = 500.0 if name == "truncnormal" else 0.0
    check_inverse(prior_of(name, numbers), log_mass=far)


@every_case
def test_density_integrates_to_the_cdf(name, numbers, reference):
    total = check_integral(prior_of(name, numbers))
    # From 1e-6 to 1 - 1e-6, except where the density diverges at a bound.
    singular = name == "beta" and min(numbers[:2]) < 1
    assert total == pytest.approx(1 - 2e-6, abs=0.02 if singular else 1e-8)


@every_case
def test_samples(name, numbers, reference):
    draws = prior_of(name, numbers).sample(np.random.default_rng(8), 20_000)
    # With this seed; a wrong family or number gives p of 0.
    assert stats.kstest(draws, reference.cdf).pvalue > 1e-3


def test_sample_shapes():
    prior = REGISTRY["normal"](0, 1)
    assert np.shape(prior.sample(np.random.default_rng(1))) == ()
    assert prior.sample(np.random.default_rng(1), (3, 4)).shape == (3, 4)
    np.testing.assert_array_equal(prior.sample(np.random.default_rng(1), 5), prior.sample(np.random.default_rng(1), 5))


@functools.cache
def compiled(name, method):
    return jax.jit(jax.vmap(functools.partial(getattr(REGISTRY[name], method), xp=jnp)))


@functools.cache
def compiled_slope(name, method):
    function = functools.partial(getattr(REGISTRY[name], method), xp=jnp)
    count = len(REGISTRY[name].arguments)
    return jax.jit(jax.vmap(jax.grad(function), in_axes=(0, *[None] * count)))


@every_case
def test_jax_agrees_with_numpy(name, numbers, reference):
    prior = prior_of(name, numbers)
    width = width_of(reference)
    middle = reference.ppf(np.linspace(0.001, 0.999, 41))
    x = np.concatenate([middle, [middle[0] - 20 * width, middle[-1] + 20 * width]])
    with jax.enable_x64(True):
        # An inverse cannot know more than the last digit of the cdf.
        last_digit = 4e-16 / reference.pdf(reference.ppf(U))
        for method, points, atol in [("_log_prob", x, 1e-9), ("_cdf", x, 1e-12), ("_icdf", U, last_digit)]:
            function = getattr(prior.family, method)
            with np.errstate(all="ignore"):
                wanted = function(points, *numbers, xp=np)
            # Two rows of numbers: they are arguments, not constants, of one compiled program.
            rows = [jnp.asarray([number, number]) for number in numbers]
            found = np.asarray(compiled(name, method)(jnp.asarray([points, points]), *rows))
            # The same formulas in doubles; JAX's special functions differ by 1e-11 in tails.
            assert np.all(np.isclose(found, wanted, rtol=1e-9, atol=atol + 1e-11 * width)), method


@every_case
def test_slopes(name, numbers, reference):
    u = np.linspace(0.01, 0.99, 9)
    x = reference.ppf(u)
    low, high = reference.support()
    step = 1e-5 * np.minimum(width_of(reference), np.minimum(x - low, high - x))
    with jax.enable_x64(True):
        values = [jnp.asarray(number) for number in numbers]
        slope = np.asarray(compiled_slope(name, "_log_prob")(jnp.asarray(x), *values))
        speed = np.asarray(compiled_slope(name, "_icdf")(jnp.asarray(u), *values))
        outside = reference.ppf(0.5) + np.linspace(-1e3, 1e3, u.size) * width_of(reference)
        assert not np.any(np.isnan(compiled_slope(name, "_log_prob")(jnp.asarray(outside), *values)))
    difference = (reference.logpdf(x + step) - reference.logpdf(x - step)) / (2 * step)
    # The logarithms have a rounding of up to 1e-13, over 1e-5 of the width; the steps are rounded too.
    rounding = 1e-7 / width_of(reference) + 2 * np.abs(slope) * np.spacing(np.abs(x)) / step
    assert np.all(np.abs(slope - difference) <= rounding + 1e-6 * np.abs(slope))
    # The density where the inverse rounds to: it moves by the slope times a few spacings.
    assert np.all(np.abs(speed * reference.pdf(x) - 1) < 1e-8 + 8 * np.abs(slope) * np.spacing(np.abs(x)))


@every_case
def test_outside_the_support(name, numbers, reference):
    prior = prior_of(name, numbers)
    low, high = prior.support
    assert (low, high) == pytest.approx(reference.support())
    for edge, sign in [(low, -1), (high, 1)]:
        assert prior.cdf(edge) == (0 if sign < 0 else 1)
        if math.isfinite(edge):
            outside = edge + sign * 1e-6 * width_of(reference)
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
    for _ in range(60 if name == "truncnormal" else 300):
        low, width, *others = rng.uniform(1e-3, 10, 4)
        by_name = {"low": low, "high": low + width}
        rest = iter([low, *others])
        prior = REGISTRY[name](**{key: by_name.get(key) or next(rest) for key in REGISTRY[name].arguments})
        # A t distribution of few degrees of freedom does leave the range of doubles there.
        finite = np.isfinite(x := prior.icdf(u)) | (name == "studentt")
        assert np.all(finite), prior
        assert np.all(np.isfinite(prior.log_prob(x[np.isfinite(x)]))), prior


@pytest.mark.parametrize(("name", "numbers"), [(name, numbers) for name, rows in BAD.items() for numbers in rows])
def test_bad_numbers_are_named(name, numbers):
    with pytest.raises(ConfigError, match=name) as raised:
        prior_of(name, numbers)
    assert isinstance(raised.value, ValueError)
    for argument, number in zip(REGISTRY[name].arguments, numbers, strict=True):
        assert f"{argument}={number:g}" in str(raised.value)


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_must_be_finite(name, bad):
    family, numbers = REGISTRY[name], list(CASES[name][0][0])
    for k, argument in enumerate(family.arguments):
        if math.isnan(bad) or argument not in family.unbounded:
            with pytest.raises(ValueError, match=f"{argument} must be finite"):
                prior_of(name, [*numbers[:k], bad, *numbers[k + 1 :]])


@pytest.mark.parametrize("name", sorted(CASES))
def test_arguments(name):
    family, numbers = REGISTRY[name], CASES[name][0][0]
    by_name = dict(zip(family.arguments, numbers, strict=True))
    order = family.positional or family.arguments
    listed = [by_name[family.aliases.get(key, key)] for key in order]
    assert family(**by_name) == family(*listed) == family(**dict(zip(order, listed, strict=True)))
    assert hash(family(**by_name)) == hash(family(*listed))
    assert family(*listed) != prior_of(name, CASES[name][1][0])
    assert family(*listed).family is family
    assert pickle.loads(pickle.dumps(family(*listed))) == family(*listed)  # noqa: S301  (its own)
    needed = len(family.arguments) - len(family.defaults)
    with pytest.raises(ConfigError, match=order[needed - 1]):
        family(*listed[: needed - 1])
    with pytest.raises(ConfigError, match="nonsense"):
        family(*listed, nonsense=1)
    with pytest.raises(ConfigError, match=name):
        family(*listed, 1.0)
    with pytest.raises(ConfigError, match=order[0]):
        family(*listed, **{order[0]: 1.0})


@pytest.mark.parametrize("name", sorted(CASES))
def test_numbers_are_attributes(name):
    family, numbers = REGISTRY[name], CASES[name][0][0]
    prior = prior_of(name, numbers)
    assert [getattr(prior, key) for key in family.arguments] == list(numbers)
    low, high = prior.support
    assert (prior.support.lower_bound, prior.support.upper_bound) == (low, high)
    middle = prior.icdf(0.5)
    assert prior.support(middle)
    assert prior.support(np.array([middle, -math.inf])).tolist() == [True, low == -math.inf]
    with pytest.raises(AttributeError, match="nonsense"):
        prior.nonsense  # noqa: B018
    assert not hasattr(prior, "_nonsense")


@pytest.mark.parametrize("name", sorted(CASES))
def test_only_a_uniform_prior_is_flat(name):
    low, high = (1.0, 1.0 + math.pi)
    numbers = [{"low": low, "high": high}.get(key, 1.0) for key in REGISTRY[name].arguments]
    prior = prior_of(name, numbers)
    assert prior.is_flat_over(math.pi) == (name == "uniform")
    assert not prior.is_flat_over(None)


def test_defaults():
    assert priors.beta(2, 3) == priors.beta(2, 3, 0, 1) == priors.beta(a=2, b=3, high=1)
    assert priors.beta(2, 3, high=4).support == (0, 4)
    assert repr(priors.beta(2, 3)) == "beta(a=2, b=3, low=0, high=1)"


def test_power_laws_as_numpyro_calls_them():
    prior = priors.powerlaw(0.5, 1, 4)
    assert prior == priors.powerlaw(alpha=0.5, low=1, high=4) == priors.powerlaw(low=1, high=4, index=0.5)
    assert (prior.alpha, prior.index, prior.low, prior.high) == (0.5, 0.5, 1, 4)
    # The integral of x^0.5 is x^1.5 / 1.5, which is 7 / 1.5 from 1 to 4.
    assert prior.cdf(2.25) == pytest.approx((2.25**1.5 - 1) / 7, rel=1e-12)
    rising = priors.logpowerlaw(2, 1, 3)
    assert rising.cdf(2) == pytest.approx((2**2 - 1) / (3**2 - 1), rel=1e-12)
    with pytest.raises(ConfigError, match="powerlaw takes alpha, low, high, each once; not 'index'"):
        priors.powerlaw(1, 4, index=0.5)
    with pytest.raises(ConfigError, match="powerlaw needs high"):
        priors.powerlaw(0.5, 1)


def test_published_signatures():
    """Positional and by keyword; the same prior."""
    for one, other in [
        (priors.uniform(0, 1), priors.uniform(low=0, high=1)),
        (priors.loguniform(1, 2), priors.loguniform(low=1, high=2)),
        (priors.normal(3, 2), priors.normal(loc=3, scale=2)),
        (priors.splitnormal(3, 2, 1), priors.splitnormal(loc=3, losig=2, hisig=1)),
        (priors.logpowerlaw(-1, 2, 5), priors.logpowerlaw(alpha=-1, low=2, high=5)),
    ]:
        assert one == other


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("slope", [1e-5, 1e-9, 1e-13, 1e-300])
def test_power_laws_pass_smoothly_through_the_flat_one(slope, sign):
    x, u = np.linspace(1e-3, 50.0, 31), np.linspace(0, 1, 11)
    prior, flat = priors.logpowerlaw(sign * slope, 1e-3, 50.0), priors.loguniform(1e-3, 50.0)
    # To first order: the length is 11 in ln x, and a cdf moves by no more than slope * 11 / 8, a logarithm by 11 / 2.
    np.testing.assert_allclose(prior.log_prob(x), flat.log_prob(x), rtol=0, atol=6 * slope + 1e-14)
    np.testing.assert_allclose(prior.cdf(x), flat.cdf(x), rtol=0, atol=2 * slope + 1e-14)
    np.testing.assert_allclose(np.log(prior.icdf(u)), np.log(flat.icdf(u)), rtol=0, atol=20 * slope + 1e-13)
    length = math.log(50e3)
    t = 0.3 * length
    shift = sign * slope * t * (t - length) / (2 * length)
    moved = prior.cdf(1e-3 * math.exp(t)) - 0.3
    assert moved == pytest.approx(shift, rel=1e-3, abs=1e-15)  # the first-order term itself


def test_steep_power_laws_do_not_overflow():
    for index in (-900.0, 900.0):
        prior = priors.powerlaw(index, 1e-5, 1e5)
        x = prior.icdf(U)
        assert np.all(np.isfinite(prior.log_prob(x)))
        check_inverse(prior, log_mass=2e4)  # 900 times the range of ln x


def test_truncated_normals_far_out():
    # Far from the mean the density is exponential, of rate |low - loc| / scale**2 to first order.
    prior = priors.truncnormal(0.0, 1.0, 1e4, math.inf)
    assert prior.icdf(0.5) - 1e4 == pytest.approx(math.log(2) / 1e4, rel=1e-6)
    assert prior.log_prob(1e4) == pytest.approx(math.log(1e4), rel=1e-6)
    mirrored = priors.truncnormal(0.0, 1.0, -math.inf, -1e4)
    assert mirrored.icdf(0.5) == pytest.approx(-prior.icdf(0.5), rel=1e-15)
    # Between bounds that almost touch it is flat.
    narrow = priors.truncnormal(0.0, 1.0, 30.0, 30.0 + 1e-9)
    assert narrow.log_prob(30.0 + 5e-10) == pytest.approx(math.log(1e9), abs=1e-5)


def test_importing_priors_loads_no_jax():
    code = "import sys, socca.priors; print([m for m in ('jax', 'numpyro') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
