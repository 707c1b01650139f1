import pickle

import cloudpickle
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from socca import priors
from socca.errors import DataError, ModelError
from socca.likelihood.compiled import BATCH
from socca.likelihood.problem import Problem
from socca.models import Background, Disk, Gaussian, MesaBridge, Model, Point, Sersic, Tie, boundto
from socca.noise import Normal
from socca.parameters.expressions import parse
from socca.priors import loguniform, normal, uniform
from socca.utils.xla import meter

SHAPE = (16, 17)
RNG = np.random.default_rng(12)
DATA = RNG.normal(0.4, 1, SHAPE)
SIGMA = RNG.uniform(0.5, 2, SHAPE)
MASK = RNG.random(SHAPE) > 0.3

#: Numbers of the scene below; each is tested for being seen.
BASE = {
    "e": 0.3,
    "factor": 0.5,
    "low": 1.0,
    "data": DATA,
    "sigma": SIGMA,
    "mask": MASK,
    "psf": 1.3,
    "loc": 1.0,
    "pixel_scale": 0.2,
}
OTHER = {
    "e": 0.4,
    "factor": 0.6,
    "low": 1.2,
    "data": DATA + 0.1,
    "sigma": SIGMA * 1.1,
    "mask": ~MASK,
    "psf": 1.5,
    "loc": 1.1,
}


@pytest.fixture(scope="module")
def make_problem(make_image, make_psf, pixel):
    """Give a function that makes one scene with changed numbers: a Gaussian, and a point tied to it."""

    def make(**changes):
        n = {**BASE, **changes}
        image = make_image(
            n["data"], noise=Normal(sigma=n["sigma"]), psf=make_psf((9, 9), n["psf"]), addmask={"regions": n["mask"]}
        )
        model = Model()
        model.addcomponent(
            Gaussian(
                xc=uniform(-2 * pixel, 2 * pixel),
                yc=0.3 * pixel,
                rs=loguniform(n["low"] * pixel, 4 * pixel),
                Is=normal(n["loc"], 0.3),
                e=n["e"],
            ),
            label="disk",
        )
        scaled = Tie(("comp_00_Is",), parse_constant("comp_00_Is"), (n["factor"],))
        model.addcomponent(Point(xc=-pixel, yc=pixel, Ic=scaled))
        return Problem(image, model)

    return make


def parse_constant(name):
    """Return the tree of a constant times a parameter, as it is made of ``$column * parameter``."""
    from socca.parameters.expressions import bind_columns

    tree, _ = bind_columns(parse(f"$column * {name}"), lambda column: 0.0, lambda unit: 1.0)
    return tree


@pytest.fixture(scope="module")
def problem(make_problem):
    return make_problem()


@pytest.fixture(scope="module")
def theta(problem):
    return problem.prior_transform(np.random.default_rng(3).uniform(0.1, 0.9, (6, problem.ndim)))


def test_names(problem):
    assert problem.names == ["comp_00_xc", "comp_00_rs", "comp_00_Is"]
    assert problem.labels == ["disk.xc", "disk.rs", "disk.Is"]
    assert problem.units == ["deg", "deg", "image"]
    assert problem.ndim == 3
    assert problem.periods == [None, None, None]


def test_log_likelihood_is_scipys(problem, theta):
    got = problem.log_likelihood(theta)
    for row, value in zip(theta, got, strict=True):
        drawn = problem.render(row)
        logpdf = stats.norm.logpdf(DATA, drawn.smoothed + drawn.background, SIGMA)
        # A few hundred terms of order one in doubles.
        assert value == pytest.approx(logpdf[MASK].sum(), rel=1e-11)


def test_masked_pixels_do_not_matter(make_problem, problem, theta):
    data = np.where(MASK, DATA, 1e9)
    np.testing.assert_array_equal(make_problem(data=data).log_likelihood(theta), problem.log_likelihood(theta))
    data = np.where(MASK, DATA, np.nan)
    np.testing.assert_array_equal(make_problem(data=data).log_likelihood(theta), problem.log_likelihood(theta))


def test_density_of_one_pixel_integrates_to_one(make_problem, problem, theta):
    at = (8, 9)
    alone = np.zeros(SHAPE, bool)
    alone[at] = True
    center, sigma = problem.render(theta[0]).smoothed[at], SIGMA[at]
    total = 0.0
    for step in np.arange(-8, 8.25, 0.5):
        data = DATA.copy()
        data[at] = center + step * sigma
        total += np.exp(make_problem(data=data, mask=alone).log_likelihood(theta[0])[0]) * 0.5 * sigma
    # The sum of a Gaussian at steps of sigma / 2 differs from its integral by exp(-79), its tails by 1e-15.
    assert total == pytest.approx(1, abs=1e-12)


def test_batches_are_one_by_one(problem):
    unit = np.random.default_rng(4).random((BATCH + 7, problem.ndim))
    theta = problem.prior_transform(unit)
    assert theta.shape == unit.shape
    many, prior = problem.log_likelihood(theta), problem.log_prior(theta)
    assert many.shape == prior.shape == (BATCH + 7,)
    for k in (0, 1, BATCH - 1, BATCH, BATCH + 6):
        assert problem.log_likelihood(theta[k]) == many[k : k + 1]
        assert problem.log_prior(theta[k]) == prior[k : k + 1]
        assert problem.log_likelihood(theta[k : k + 2])[0] == many[k]
    assert len(set(many)) == len(many)


def test_no_rows(problem):
    none = np.empty((0, problem.ndim))
    assert problem.log_likelihood(none).shape == (0,)
    assert problem.log_prior(none).shape == (0,)
    assert problem.prior_transform(none).shape == none.shape
    value, gradient = problem.log_likelihood_and_grad(none)
    assert value.shape == (0,)
    assert gradient.shape == none.shape


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 4), (2, 2, 3), ()])
def test_wrong_shapes(problem, shape):
    for method in ("log_likelihood", "log_prior", "prior_transform", "values"):
        with pytest.raises(ModelError, match=rf"{method}.*\(n, 3\)"):
            getattr(problem, method)(np.zeros(shape))
    with pytest.raises(ModelError, match=r"render.*\(3,\)"):
        problem.render(np.zeros(shape))


def test_prior(problem):
    unit = np.random.default_rng(5).random((20, problem.ndim))
    theta = problem.prior_transform(unit)
    for k, prior in enumerate(problem.priors):
        # NumPy and JAX in doubles; ndtri differs in the last digits.
        np.testing.assert_allclose(theta[:, k], prior.icdf(unit[:, k]), rtol=1e-10)
    wanted = sum(prior.log_prob(theta[:, k]) for k, prior in enumerate(problem.priors))
    np.testing.assert_allclose(problem.log_prior(theta), wanted, rtol=1e-10)
    theta[0, 1] *= 100
    assert problem.log_prior(theta)[0] == -np.inf


def test_gradient(problem, theta):
    value, gradient = problem.log_likelihood_and_grad(theta)
    np.testing.assert_allclose(value, problem.log_likelihood(theta), rtol=1e-12)
    # Through the tie: the brightness is a linear parameter, so the likelihood is a parabola in it.
    step = np.array([0, 0, 0.1])
    numeric = (problem.log_likelihood(theta + step) - problem.log_likelihood(theta - step)) / 0.2
    np.testing.assert_allclose(gradient[:, 2], numeric, rtol=1e-9, atol=1e-9)


def test_values(problem, theta, pixel):
    values = problem.values(theta)
    assert set(values) == set(problem.all_labels)
    np.testing.assert_array_equal(values["comp_00_rs"], theta[:, 1])
    np.testing.assert_allclose(values["comp_01_Ic"], 0.5 * theta[:, 2])
    np.testing.assert_allclose(values["comp_00_yc"], np.full(len(theta), 0.3 * pixel))


def test_nan_is_impossible(problem, theta):
    bad = theta[:2].copy()
    bad[0, 2] = np.nan
    got = problem.log_likelihood(bad)
    assert got[0] == -np.inf
    assert np.isfinite(got[1])


# What is shared, and what is not.


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


# Ties.


def background(**values):
    return Model(Background(a0=uniform(0, 2), **values))


def test_ties(make_image):
    image = make_image(DATA)
    first = Background(a0=uniform(0, 2), a1x=lambda comp_01_a1y, comp_00_a0: comp_01_a1y + comp_00_a0)
    model = Model(first)
    second = Background(a1x=Tie(("comp_01_a1y", "comp_00_a0"), parse("max(comp_01_a1y, comp_00_a0 / 4) - 1")))
    second.a1y = boundto(first, "a0")
    model.addcomponent(second)
    assert [name for name, tied in zip(model.params, model.tied, strict=True) if tied] == [
        "comp_00_a1x",
        "comp_01_a1x",
        "comp_01_a1y",
    ]
    problem = Problem(image, model)
    assert problem.names == ["comp_00_a0"]
    values = {name: float(v[0]) for name, v in problem.values([1.2]).items()}
    assert values["comp_01_a1y"] == pytest.approx(1.2)
    assert values["comp_01_a1x"] == pytest.approx(0.2)
    assert values["comp_00_a1x"] == pytest.approx(2.4)


def test_tied_out_of_range(make_image, pixel):
    tied = Gaussian(xc=0, yc=0, rs=2 * pixel, Is=uniform(0, 2), e=lambda comp_00_Is: comp_00_Is)  # noqa: N803
    got = Problem(make_image(DATA), Model(tied)).log_likelihood([[0.5], [1.5], [-0.1]])
    assert np.isfinite(got[0])
    assert list(got[1:]) == [-np.inf, -np.inf]


def test_free_out_of_range(make_image, pixel):
    model = Model(Gaussian(xc=0, yc=0, rs=2 * pixel, Is=1.0, e=normal(0.1, 0.2)))
    got = Problem(make_image(DATA), model).log_likelihood([[0.1], [-0.1]])
    assert np.isfinite(got[0])
    assert got[1] == -np.inf


def test_beyond_the_horizon(make_image, make_header, make_psf):
    # A source on the other side of the sky is no mirror image of itself in the field.
    here = {"xc": uniform(0, 360), "yc": 2.0}
    header = make_header(DATA.shape, ra=150, dec=2)
    point = Point(**here, Ic=1.0)
    for component, psf in [(Gaussian(**here, rs=1e-4, Is=1.0), None), (point, None), (point, make_psf())]:
        problem = Problem(make_image(DATA, header=header, psf=psf), Model(component))
        value, gradient = problem.log_likelihood_and_grad([[150.00001], [330.00001]])
        assert np.isfinite(value[0])
        assert np.isfinite(gradient[0])
        assert value[1] == -np.inf


def test_positive(make_image, pixel):
    for positive in (True, False):
        model = Model(Gaussian(xc=0, yc=0, rs=2 * pixel, Is=uniform(-1, 1)), positive=positive)
        got = Problem(make_image(DATA), model).log_likelihood([[0.5], [-0.5]])
        assert np.isfinite(got[0])
        assert np.isfinite(got[1]) == (not positive)


@pytest.mark.parametrize(
    "values",
    [
        {"a1x": lambda comp_00_a1x: comp_00_a1x},
        {"a1x": lambda comp_00_a1y: comp_00_a1y, "a1y": lambda comp_00_a1x: comp_00_a1x},
        {
            "a1x": Tie(("comp_00_a1y",), parse("comp_00_a1y")),
            "a1y": lambda comp_00_a2xx: 1,
            "a2xx": lambda comp_00_a1x: 1,
        },
    ],
)
def test_circular_ties(make_image, values):
    with pytest.raises(ModelError, match=r"circle.*comp_00_a1x"):
        Problem(make_image(DATA), background(**values))


def test_ties_to_nothing(make_image):
    with pytest.raises(ModelError, match=r"comp_00_a1x.*'comp_00_ao'.*did you mean 'comp_00_a0'"):
        Problem(make_image(DATA), background(a1x=lambda comp_00_ao: comp_00_ao))
    for function in (lambda: 1.0, lambda *args: 1.0, lambda **kwargs: 1.0):
        with pytest.raises(ModelError, match="comp_00_a1x"):
            Problem(make_image(DATA), background(a1x=function))
    with pytest.raises(ModelError, match="model first"):
        boundto(Background(), "a0")
    with pytest.raises(ModelError, match="did you mean 'a1"):
        boundto(background().components[0], "a1z")


# What cannot be a problem.


def test_components_of_two_models(make_image, pixel):
    first, second = (
        Background(a0=1.0),
        Disk(Gaussian(xc=0, yc=0, rs=pixel, Is=2.0), **{"vertical.zs": pixel}, losbins=16),
    )
    model = Model(first)
    model.addcomponent(second)
    drawn = Model(first).getmap(make_image(DATA), addbackground=True)
    np.testing.assert_array_equal(drawn, first.getmap(make_image(DATA)))
    second.getmap(make_image(DATA))  # which needs no model of its own
    assert (second.id, second.radial.id) == ("comp_01", "comp_01_radial")
    Model(second)
    with pytest.raises(ModelError, match="two components are called comp_00"):
        Problem(make_image(DATA), model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sersic(ns=normal(20, 1)), r"Sersic: ns ~ normal\(loc=20, scale=1\): next to none.*\[0.25, 10\]"),
        (lambda: Gaussian(e=normal(-0.5, 0.05)), r"Gaussian: e ~ normal.*\[0, 0.999999\]"),
        (lambda: Gaussian(rs=normal(-1, 0.1)), r"Gaussian: rs ~ normal.*\[0, inf\]"),
        (lambda: Sersic(ns=dist.Normal(20.0, 1.0)), r"Sersic: ns ~ numpyro Normal.*\[0.25, 10\]"),
        (lambda: Disk(**{"vertical.inc": normal(3, 0.1)}), r"inc ~ normal.*\[0, 1.5708\]"),
    ],
)
def test_priors_beyond_the_range(make, said):
    with pytest.raises(ModelError, match=said):
        make()


def test_priors_that_reach_beyond_the_range():
    # 4.75 sigma are 1e-6.
    Sersic(ns=normal(10 + 4.6, 1))
    with pytest.raises(ModelError, match="ns"):
        Sersic(ns=normal(10 + 4.9, 1))
    Gaussian(theta=normal(1000, 1))  # without a range


@pytest.mark.parametrize(
    ("component", "name"),
    [
        (Sersic(re=0, Ie=1), "comp_00_re"),
        (Gaussian(rs=0, Is=1, truncation=True, rt=1), "comp_00_rs"),
        (Gaussian(rs=1, Is=1, truncation=True, rt=0), "comp_00_rt"),
        (Background(rs=0, a0=1), "comp_00_rs"),
        (Disk(**{"radial.re": 1, "radial.Ie": 1, "vertical.zs": 0}), "comp_00_vertical.zs"),
        (MesaBridge(rs=0, Is=1), "comp_00_rs"),
    ],
)
def test_lengths_of_zero(make_image, component, name):
    for key in component.position_names:
        setattr(component, key, 0.0)
    with pytest.raises(ModelError, match=f"{name} = 0: .* must be positive"):
        Problem(make_image(DATA), Model(component))


def test_incomplete_models(make_image):
    with pytest.raises(ModelError, match="no component"):
        Problem(make_image(DATA), Model())
    with pytest.raises(ModelError, match=r"comp_00_xc, comp_00_yc, comp_00_rs$"):
        Problem(make_image(DATA), Model(Gaussian(Is=1.0)))


def test_unusable_images(make_image):
    image = make_image(DATA)
    image.mask[:] = 0
    with pytest.raises(DataError, match="masked"):
        Problem(image, background())
    with pytest.raises(DataError, match="shape"):
        Problem(make_image(DATA, noise=Normal(sigma=np.ones((3, 3)))), background())


def test_assignments():
    component = Gaussian()
    assert priors.boundto is boundto
    with pytest.raises(AttributeError, match=r"no parameter 'rss'.*did you mean 'rs'"):
        component.rss = 1
    with pytest.raises(AttributeError, match="rss"):
        _ = component.rss
    with pytest.raises(ModelError, match="did you mean 'rs'"):
        Gaussian(rss=1)
    for value in ("wide", [1, 2], np.nan, -1.0, None):
        with pytest.raises(ModelError, match="Gaussian: rs"):
            component.rs = value
    with pytest.raises(ModelError, match=r"Sersic: ns = 12 lies outside \[0.25, 10\]"):
        Sersic(ns=12)
    with pytest.raises(ModelError, match=r"ns.*bound.*12"):
        Sersic(ns=uniform(1, 12))
    assert component.rs is None


def test_models_without_free_parameters(make_image):
    problem = Problem(make_image(DATA, noise=Normal(sigma=SIGMA)), Model(Background(a0=0.4)))
    assert problem.ndim == 0
    wanted = stats.norm.logpdf(DATA, 0.4, SIGMA).sum()
    assert problem.log_likelihood(np.empty((1, 0)))[0] == pytest.approx(wanted, rel=1e-12)
    assert problem.log_prior(np.empty((2, 0))).tolist() == [0, 0]


def test_prior_transform_without_free_parameters(make_image):
    problem = Problem(make_image(DATA), Model(Background(a0=0.4)))
    assert problem.prior_transform(np.empty((2, 0))).shape == (2, 0)


def test_another_noise(make_image):
    model = background()
    image = make_image(DATA, noise=Normal(sigma=1.0))
    default, other = Problem(image, model), Problem(image, model, noise=Normal(var=SIGMA**2))
    assert default.log_likelihood([0.4])[0] == pytest.approx(stats.norm.logpdf(DATA, 0.4, 1).sum(), rel=1e-12)
    assert other.log_likelihood([0.4])[0] == pytest.approx(stats.norm.logpdf(DATA, 0.4, SIGMA).sum(), rel=1e-12)


def test_models_know_their_parts():
    model = Model(Gaussian(xc=0, yc=0, rs=1, Is=uniform(0, 1)), positive=True)
    other = model.addcomponent(Point(xc=0, yc=0, Ic=1), label="star")
    assert model.ncomp == 2
    assert model.type == ["Gaussian", "Point"]
    assert model.positive == [True, False]
    assert [model.params[i] for i in model.paridx] == ["comp_00_Is"]
    assert model.labels["comp_01_Ic"] == "star.Ic"
    assert model.units["comp_01_Ic"] == "image"
    assert other.id == "comp_01"
    assert other.parlist() == ["xc", "yc", "Ic"]
    assert "comp_00_Is" in model.parameters(freeonly=True)
    assert "star" not in model.parameters(freeonly=True)
    assert "star.Ic" in model.parameters()
    with pytest.raises(ModelError, match="already"):
        model.addcomponent(other)
    with pytest.raises(ModelError, match="component"):
        model.addcomponent(3)
