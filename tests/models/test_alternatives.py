"""Axis ratio and position angle in the place of ellipticity and angle."""

import math

import numpy as np
import pytest
from scipy import stats

from socca import models
from socca.errors import ConfigError, ModelError
from socca.models import Model
from socca.priors import beta, normal, truncnormal, uniform
from socca.priors.affine import Affine, affine
from tests.models.laws import ARCSEC, PLACE

OTHERS = {**PLACE, "re": ARCSEC, "Ie": 1.0, "ns": 2.0}


def test_numbers():
    source = models.Sersic(**OTHERS, q=0.3, pa=40)
    assert source.e == pytest.approx(0.7)
    assert source.theta == pytest.approx(math.radians(40))
    assert (source.q, source.pa) == (pytest.approx(0.3), pytest.approx(40))
    source.q = 1
    assert source.e == 0


def test_flat_priors_stay_flat():
    source = models.Sersic(**OTHERS, q=uniform(0.2, 1), pa=uniform(0, 180))
    assert source.e == uniform(0, 0.8)
    assert source.theta.is_flat_over(math.pi)
    assert source.q.values == pytest.approx((0.2, 1))
    assert source.pa.values == pytest.approx((0, 180))
    source.pa = normal(30, 5)
    assert source.theta == normal(math.radians(30), math.radians(5))


@pytest.mark.parametrize("scale", [-1.0, 0.5])
def test_any_prior_of_a_linear_function(scale):
    inner = truncnormal(loc=0.5, scale=0.2, low=0.1, high=0.9)
    found = affine(inner, scale, 1.0)
    truth = stats.truncnorm(-2, 2, loc=0.5, scale=0.2)
    x = np.linspace(0.12, 0.88, 7)
    y = scale * x + 1
    assert found.log_prob(y) == pytest.approx(truth.logpdf(x) - math.log(abs(scale)), rel=1e-9)
    assert found.cdf(y) == pytest.approx(truth.cdf(x) if scale > 0 else truth.sf(x), rel=1e-9)
    assert found.icdf(found.cdf(y)) == pytest.approx(y, rel=1e-9)
    assert found.support == pytest.approx(sorted((scale * 0.1 + 1, scale * 0.9 + 1)))
    assert found.log_prob(scale * 0.95 + 1) == -math.inf
    assert isinstance(found, Affine)
    assert affine(found, 1 / scale, -1 / scale) == inner  # and back


def test_a_prior_on_the_axis_ratio_is_sampled_as_such(tmp_path):
    """The samples of the prior, and those that JAX draws, have the distribution of the axis ratio."""
    from socca.data import Image
    from socca.likelihood.problem import Problem
    from socca.noise import Normal

    source = models.Sersic(**OTHERS, q=beta(2.0, 5.0), pa=uniform(0, 180))
    problem = Problem(Image(np.zeros((9, 9)), pixel_scale=0.2, noise=Normal(sigma=1.0)), Model(source))
    u = (np.arange(999) + 0.5) / 999
    theta = problem.prior_transform(np.column_stack([u, u]))
    e = theta[:, problem.labels.index("comp_00.e")] if "comp_00.e" in problem.labels else theta[:, 1]
    assert stats.kstest(1 - e, stats.beta(2, 5).cdf).pvalue > 0.99
    assert problem.log_prior(theta) == pytest.approx(stats.beta(2, 5).logpdf(1 - e) - math.log(math.pi), rel=1e-8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"q": 0.3, "e": 0.2}, "give q or e, not both"),
        ({"pa": 3, "theta": 0.2}, "give pa or theta, not both"),
        ({"q": 1.5}, "outside"),
        ({"q": uniform(0.5, 1.5)}, "outside"),
        ({"q": "round"}, "expected a number or a prior"),
        ({"q": lambda comp_00_re: comp_00_re}, "q cannot be tied: tie e"),
    ],
)
def test_refused(values, message):
    with pytest.raises((ModelError, ConfigError), match=message):
        models.Sersic(**OTHERS, **values)


def test_a_parameter_of_that_name_comes_first():
    source = models.Sersic(**OTHERS, e=0.2)
    source.addparameter("q", 0.5)
    assert (source.q, source.e) == (0.5, 0.2)
    custom = models.CustomProfile(["q"], "q * exp(-r / 0.001)", **PLACE, q=2.0)
    assert (custom.q, custom.e) == (2.0, 0.0)


def test_what_is_tied_has_no_alternative():
    source = models.Sersic(**OTHERS, e=lambda comp_01_e: comp_01_e)
    with pytest.raises(AttributeError, match="e is tied"):
        _ = source.q
