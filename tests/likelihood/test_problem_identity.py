"""What problems share, what tells them apart, and copies of them."""

import pickle

import cloudpickle
import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model, Sersic, Tie
from socca.priors import loguniform, uniform
from socca.utils.xla import meter
from tests.likelihood.scenes import DATA, OTHER


def test_targets_share_their_programs(make_problem, problem, theta):
    def use(p):
        return [
            p.log_likelihood(theta),
            p.log_likelihood_and_grad(theta)[1],
            p.log_prior(theta),
            p.prior_transform(np.full((1, 3), 0.5)),
            p.values(theta)["comp_01_Ic"],
            p.render(theta[0]).smoothed,
        ]

    first = use(problem)
    before, _ = meter().reading()
    other = make_problem(**OTHER)
    second = use(other)
    assert meter().reading()[0] == before
    assert other.spec == problem.spec
    for one, two in zip(first, second, strict=True):
        assert not np.allclose(one, two)


def test_another_shape_needs_another_program(make_image, pixel):
    problem = Problem(make_image(shape=(5, 4)), Model(Background(a0=uniform(0, 1))))
    before, _ = meter().reading()
    problem.log_likelihood([0.5])
    assert meter().reading()[0] > before
    again, _ = meter().reading()
    problem.log_likelihood([0.6])
    assert meter().reading()[0] == again


@pytest.mark.parametrize("name", sorted(OTHER))
def test_changes_are_seen(make_problem, problem, theta, name):
    kept = problem.log_likelihood(theta), problem.log_prior(theta)
    changed = make_problem(**{name: OTHER[name]})
    new = changed.log_likelihood(theta), changed.log_prior(theta)
    which = 1 if name in ("low", "loc") else 0
    assert not np.any(np.isclose(new[which], kept[which], rtol=1e-9))
    np.testing.assert_array_equal(new[1 - which], kept[1 - which])
    assert changed.digest() != problem.digest()
    # The old problem keeps its answers.
    np.testing.assert_array_equal(problem.log_likelihood(theta), kept[0])
    np.testing.assert_array_equal(problem.log_prior(theta), kept[1])


def test_later_changes_are_not_seen(make_image, pixel):
    image = make_image(DATA)
    component = Gaussian(xc=0, yc=0, rs=2 * pixel, Is=uniform(0, 2))
    model = Model(component)
    problem = Problem(image, model)
    kept, digest = problem.log_likelihood([1.0]), problem.digest()
    component.rs = 3 * pixel
    image.mask[:] = 0
    image.data[:] = 7
    assert problem.digest() == digest
    np.testing.assert_array_equal(problem.log_likelihood([1.0]), kept)
    fresh = Problem(make_image(DATA), model)
    assert fresh.log_likelihood([1.0]) != kept
    assert fresh.digest() != digest


def test_digest(make_problem, problem, make_image, pixel):
    assert make_problem().digest() == problem.digest()
    digests = [make_problem(**{name: value}).digest() for name, value in OTHER.items()]
    assert len({problem.digest(), *digests}) == 1 + len(OTHER)

    def simple(component, **kwargs):
        return Problem(make_image(DATA, **kwargs), Model(component)).digest()

    other = [
        simple(Gaussian(xc=0, yc=0, rs=pixel, Is=uniform(0, 2))),
        simple(Gaussian(xc=0, yc=0, rs=uniform(0, 2), Is=pixel)),
        simple(Gaussian(xc=0, yc=0, rs=pixel, Is=loguniform(0.1, 2))),
        simple(Gaussian(xc=0, yc=0, rs=pixel, Is=uniform(0, 2), positive=True)),
        simple(Sersic(xc=0, yc=0, re=pixel, Ie=uniform(0, 2))),
        simple(Gaussian(xc=0, yc=0, rs=pixel, Is=uniform(0, 2), theta=lambda comp_00_Is: comp_00_Is)),  # noqa: N803
        simple(Gaussian(xc=0, yc=0, rs=pixel, Is=uniform(0, 2), theta=lambda comp_00_Is: 2 * comp_00_Is)),  # noqa: N803
    ]
    assert len(set(other)) == len(other)


def test_digest_of_closures(make_image, pixel):
    def problem(factor):
        tied = Gaussian(xc=0, yc=0, rs=pixel, Is=uniform(0, 2), theta=lambda comp_00_Is: factor * comp_00_Is)  # noqa: N803
        return Problem(make_image(DATA), Model(tied))

    def default(factor):
        tied = Gaussian(xc=0, yc=0, rs=pixel, Is=uniform(0, 2))
        tied.theta = Tie(("comp_00_Is",), lambda comp_00_Is, factor=factor: factor * comp_00_Is)  # noqa: N803
        return Problem(make_image(DATA), Model(tied))

    long = np.arange(2000.0)  # whose repr leaves numbers out
    for make, one, other in [
        (problem, 0.5, 0.7),
        (problem, long, np.where(long == 1000, 0, long)),
        (default, 0.5, 0.7),
    ]:
        assert make(one).digest() == make(one).digest()
        assert make(one).digest() != make(other).digest()


@pytest.mark.parametrize("module", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_pickled(problem, theta, module):
    wanted = problem.log_likelihood(theta)
    copy = pickle.loads(module.dumps(problem))  # noqa: S301  (our own)
    assert copy.digest() == problem.digest()
    assert copy.spec == problem.spec
    assert copy.names == problem.names
    np.testing.assert_array_equal(copy.log_likelihood(theta), wanted)
    np.testing.assert_array_equal(copy.log_prior(theta), problem.log_prior(theta))


def test_pickled_with_a_function(make_image, pixel):
    tied = Background(a0=uniform(0, 2), a1x=lambda comp_00_a0: comp_00_a0 / 3)
    problem = Problem(make_image(DATA), Model(tied))
    copy = pickle.loads(cloudpickle.dumps(problem))  # noqa: S301
    assert copy.log_likelihood([1.2]) == problem.log_likelihood([1.2])
    assert copy.digest() == problem.digest()
