"""Priors from distributions of numpyro."""

import functools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from socca import priors
from socca.errors import ConfigError
from socca.priors import REGISTRY, as_prior, from_numpyro
from tests.priors.references import U, check_integral, truncated, width_of


def truncated_normal(d, **bounds):
    return d.TruncatedNormal(0.3, 2.0, **bounds)


#: What it is -> (how to make it of numpyro's distributions, the same in scipy, whether numpyro inverts its cdf).
NUMPYRO = {
    "Normal": (lambda d: d.Normal(1, 2), stats.norm(1, 2), True),
    "Uniform": (lambda d: d.Uniform(-1, 2), stats.uniform(-1, 3), True),
    "LogUniform": (lambda d: d.LogUniform(0.1, 20.0), stats.loguniform(0.1, 20.0), True),
    "two-sided": (lambda d: truncated_normal(d, low=-1.0, high=3.0), truncated(0.3, 2.0, -1.0, 3.0), True),
    "left": (lambda d: truncated_normal(d, low=-1.0), truncated(0.3, 2.0, -1.0, math.inf), True),
    "right": (lambda d: truncated_normal(d, high=1.5), truncated(0.3, 2.0, -math.inf, 1.5), True),
    "HalfNormal": (lambda d: d.HalfNormal(2.5), stats.halfnorm(0, 2.5), True),
    "LogNormal": (lambda d: d.LogNormal(0.5, 0.7), stats.lognorm(0.7, 0, math.exp(0.5)), True),
    "Beta": (lambda d: d.Beta(0.6, 3.3), stats.beta(0.6, 3.3), False),
    "Gamma": (lambda d: d.Gamma(2.2, 3.0), stats.gamma(2.2, 0, 1 / 3.0), False),
    "InverseGamma": (lambda d: d.InverseGamma(3.0, 2.0), stats.invgamma(3.0, 0, 2.0), False),
    "Exponential": (lambda d: d.Exponential(0.3), stats.expon(0, 1 / 0.3), True),
    "StudentT": (lambda d: d.StudentT(3.5, 1.0, 0.4), stats.t(3.5, 1.0, 0.4), False),
    "Cauchy": (lambda d: d.Cauchy(1.0, 0.4), stats.cauchy(1.0, 0.4), True),
    "Laplace": (lambda d: d.Laplace(1.0, 0.4), stats.laplace(1.0, 0.4), True),
    "Weibull": (lambda d: d.Weibull(2.0, 1.5), stats.weibull_min(1.5, 0, 2.0), False),
    "Pareto": (lambda d: d.Pareto(1.5, 2.0), stats.pareto(2.0, 0, 1.5), True),
    "moved": (
        lambda d: d.TransformedDistribution(d.Beta(2.0, 3.0), d.transforms.AffineTransform(1.0, -2.0)),
        stats.beta(3.0, 2.0, -1.0, 2.0),
        False,
    ),
    "exponential of normal": (
        lambda d: d.TransformedDistribution(d.Normal(0.5, 0.7), d.transforms.ExpTransform()),
        stats.lognorm(0.7, 0, math.exp(0.5)),
        True,
    ),
}
#: Which have no inverse of their own take seconds to compile: one of them is enough for every run.
every_numpyro = pytest.mark.parametrize(
    "kind",
    [
        kind if inverse or kind == "Beta" else pytest.param(kind, marks=pytest.mark.slow)
        for kind, (*_, inverse) in NUMPYRO.items()
    ],
)


@pytest.fixture(scope="module")
def distributions():
    return pytest.importorskip("numpyro.distributions")


@functools.cache
def wrapped(kind):
    import numpyro.distributions

    return from_numpyro(NUMPYRO[kind][0](numpyro.distributions))


@every_numpyro
def test_numpyro_is_scipy(distributions, kind):
    prior, (_, reference, inverse) = wrapped(kind), NUMPYRO[kind]
    assert prior.family.inverse == inverse
    assert prior.support == pytest.approx(reference.support())
    x = reference.ppf(U)
    # numpyro's own formulas in doubles; its t distribution keeps half the digits of its cdf next to the centre.
    inner = slice(2, -2)
    np.testing.assert_allclose(prior.log_prob(x)[inner], reference.logpdf(x)[inner], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(prior.cdf(x), reference.cdf(x), rtol=1e-7, atol=1e-9)
    width = width_of(reference)
    np.testing.assert_allclose(prior.icdf(U)[inner], x[inner], rtol=1e-8, atol=1e-7 * width)
    assert prior.log_prob(x).dtype == prior.cdf(x).dtype == prior.icdf(U).dtype == np.float64
    assert isinstance(prior.icdf(U), np.ndarray)


def test_numbers_of_numpyros_own_are_attributes(distributions):
    prior = from_numpyro(distributions.TruncatedNormal(1.0, 2.0, low=-1.0, high=4.0))
    assert (prior.low, prior.high, prior.support.lower_bound, prior.support.upper_bound) == (-1, 4, -1, 4)
    assert from_numpyro(distributions.Normal(3.0, 0.5)).loc == 3
    with pytest.raises(AttributeError, match="nonsense"):
        prior.nonsense  # noqa: B018


@every_numpyro
def test_numpyro_is_consistent(distributions, kind):
    prior = wrapped(kind)
    x = prior.icdf(U)
    # As loose as numpyro's t distribution and the upper tails of its truncated ones.
    np.testing.assert_allclose(prior.cdf(x), U, rtol=1e-6, atol=1e-8)
    for edge, sign in zip(prior.support, [-1, 1], strict=True):
        if math.isfinite(edge):
            outside = np.full(U.shape, edge + sign * 1e-3)
            assert np.all(prior.log_prob(outside) == -math.inf)
            assert np.all(prior.cdf(outside) == (0 if sign < 0 else 1))
            assert not np.isnan(prior.log_prob(np.full(U.shape, edge))[0])
    draws = prior.sample(np.random.default_rng(8), 5000)
    assert stats.kstest(draws, NUMPYRO[kind][1].cdf).pvalue > 1e-3
    density = functools.partial(prior.family._log_prob, xp=jnp)
    with jax.enable_x64(True):
        inside = jnp.asarray(x[2:-2])
        slope = jax.jit(jax.vmap(lambda x: jax.grad(density)(x, *prior.values)))
        assert np.all(np.isfinite(slope(inside)))


@pytest.mark.parametrize("kind", ["Normal", "Beta", pytest.param("moved", marks=pytest.mark.slow), "two-sided"])
def test_numpyro_integrates_to_the_cdf(distributions, kind):
    check_integral(wrapped(kind))


@every_numpyro
def test_numpyro_under_jit_and_vmap(distributions, kind):
    prior = wrapped(kind)
    family = prior.family
    assert len(family.arguments) == len(prior.values)
    with jax.enable_x64(True):
        rows = [jnp.asarray([value, value]) for value in prior.values]
        mapped = jax.jit(jax.vmap(functools.partial(family._icdf, xp=jnp)))
        found = np.asarray(mapped(jnp.asarray([U, U]), *rows))
    np.testing.assert_allclose(found, [prior.icdf(U)] * 2, rtol=1e-12, atol=1e-15)


@every_numpyro
def test_numpyro_leaves_jax_as_it_is(distributions, kind):
    before = jax.config.jax_enable_x64
    prior = wrapped(kind)
    prior.log_prob(U)
    assert jax.config.jax_enable_x64 == before
    again = pickle.loads(pickle.dumps(prior))  # noqa: S301  (its own)
    assert again == prior
    assert hash(again) == hash(prior)
    assert again.family.name == prior.family.name
    assert not prior.is_flat_over(3.0)


def test_numpyro_families_are_shared(distributions):
    d = distributions
    one, other = from_numpyro(d.LogUniform(0.1, 20.0)), from_numpyro(d.LogUniform(1.0, 2.0))
    assert one != other
    assert one.family == other.family
    assert hash(one.family) == hash(other.family)
    assert one.values == (0.1, 20.0)
    assert repr(one) == "numpyro LogUniform(low=0.1, high=20)"
    left, two = (from_numpyro(truncated_normal(d, **bounds)) for bounds in ({"low": 0.0}, {"low": 0.0, "high": 1.0}))
    assert left.family != two.family
    assert left.family.name != two.family.name
    assert two.family.arguments == ("base_dist.loc", "base_dist.scale", "low", "high")


def test_numpyro_structure_has_one_order(distributions):
    # numpyro keeps the fields of such a distribution in a set, whose order varies from process to process.
    family = wrapped("moved").family
    assert family.arguments == (
        "base_dist.concentration1",
        "base_dist.concentration0",
        "transforms[0].loc",
        "transforms[0].scale",
    )


def test_as_prior(distributions):
    own = priors.normal(0, 1)
    assert as_prior(own) is own
    assert as_prior(distributions.Normal(0, 1)) == from_numpyro(distributions.Normal(0, 1))
    for other in (1.0, "normal", None, np.ones(2), distributions.Normal, abs):
        assert as_prior(other) is None


def test_wrapped_priors_are_no_family_of_configs(distributions):
    assert wrapped("Normal").family not in REGISTRY.values()
    assert priors.Distribution not in REGISTRY.values()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: d.Normal(np.zeros(2), 1.0), r"Normal has shape \(2,\)"),
        (lambda d: d.Dirichlet(np.ones(3)), r"Dirichlet has shape \(3,\)"),
        (lambda d: d.Poisson(3.0), "Poisson is discrete"),
        (lambda d: d.ImproperUniform(d.constraints.real, (), ()), "ImproperUniform is improper"),
        (lambda d: d.VonMises(0.0, 1.0), "VonMises cannot be a prior: numpyro has no formula for its cdf"),
        (lambda d: d.Delta(1.0), "Delta cannot be a prior"),
        (lambda d: d.Normal(0.0, -1.0, validate_args=False), "Normal cannot be a prior: .*scale"),
        (lambda d: d.Normal(math.nan, 1.0, validate_args=False), "Normal"),
        (lambda d: d.Uniform(2.0, 1.0, validate_args=False), "lower bound, 2, must lie below its upper one, 1"),
        (lambda d: 1.0, "not a numpyro distribution: 1.0"),
    ],
)
def test_what_numpyro_prior_cannot_be(distributions, make, said):
    with pytest.raises(ConfigError, match=said):
        from_numpyro(make(distributions))
