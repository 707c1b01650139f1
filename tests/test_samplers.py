"""Samplers against closed forms: evidence, posterior, maximum, and the change of coordinates that speeds them up."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from socca.errors import ConfigError, ModelError
from socca.inference import sample
from socca.models import Background, Model
from socca.noise import Normal
from socca.pool import Pool, SerialPool
from socca.priors import normal, uniform
from socca.problem import Problem
from socca.samplers import METHODS, get_sampler
from socca.samplers.focus import PRIOR_SHARE, Focus, Unfocused
from socca.samplers.maximum import Maximum, find_maximum

SHAPE, SIGMA = (8, 9), 0.8
PRIORS = {"a0": (0.2, 1.0), "a1x": (0.0, 2.0), "a1y": (-0.3, 0.5)}
#: Few networks and points: these problems are easy.
QUICK = {"n_live": 200, "n_networks": 0, "n_eff": 1000}


@pytest.fixture(scope="module")
def problem(make_image):
    """A plane in an image: linear in its three parameters, so that everything is known."""
    data = np.random.default_rng(5).normal(0.5, SIGMA, SHAPE)
    model = Model(Background(**{name: normal(*numbers) for name, numbers in PRIORS.items()}))
    return Problem(make_image(data, noise=Normal(sigma=SIGMA)), model)


@pytest.fixture(scope="module")
def exact(problem):
    """Evidence, mean and covariance of the plane's posterior, by linear algebra."""
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    x, y = -0.2 * col.ravel(), 0.2 * row.ravel()  # arcsec to the east and north; rs is 1 arcsec
    design = np.stack([np.ones(x.size), x, y], axis=1)
    data = problem.arrays["noise"]["data"].ravel()
    loc, scale = np.array(list(PRIORS.values())).T
    covariance = np.linalg.inv(design.T @ design / SIGMA**2 + np.diag(scale**-2.0))
    mean = covariance @ (design.T @ data / SIGMA**2 + loc / scale**2)
    marginal = SIGMA**2 * np.eye(data.size) + design @ np.diag(scale**2) @ design.T
    off = data - design @ loc
    _, logdet = np.linalg.slogdet(2 * np.pi * marginal)
    return SimpleNamespace(
        mean=mean, covariance=covariance, logz=-0.5 * (off @ np.linalg.solve(marginal, off) + logdet)
    )


class Counting:
    """A problem that counts the rows for which its likelihood is computed."""

    def __init__(self, problem):
        self._problem = problem
        self.rows = self.gradients = 0

    def __getattr__(self, name):
        return getattr(self._problem, name)

    def log_likelihood(self, theta):
        self.rows += len(np.atleast_2d(theta))
        return self._problem.log_likelihood(theta)

    def log_likelihood_and_grad(self, theta):
        self.gradients += len(np.atleast_2d(theta))
        return self._problem.log_likelihood_and_grad(theta)


class Numpy:
    """A problem written in NumPy, of which the samplers see what they see of a compiled one."""

    def __init__(self, log_likelihood, priors, periods=None):
        self._log_likelihood = log_likelihood
        self.priors = priors
        self.ndim = len(priors)
        self.names = [f"p{k}" for k in range(self.ndim)]
        self.periods = periods or [None] * self.ndim

    def log_likelihood(self, theta):
        return self._log_likelihood(np.atleast_2d(theta))

    def log_likelihood_and_grad(self, theta):
        theta = np.atleast_2d(theta)
        step = 1e-6 * np.eye(self.ndim)
        sides = [self._log_likelihood(theta + s) - self._log_likelihood(theta - s) for s in step]
        return self._log_likelihood(theta), np.stack(sides, axis=1) / 2e-6

    def log_prior(self, theta):
        return sum(prior.log_prob(x) for prior, x in zip(self.priors, np.atleast_2d(theta).T, strict=True))

    def prior_transform(self, u):
        return np.stack([p.icdf(x) for p, x in zip(self.priors, np.atleast_2d(u).T, strict=True)], axis=1)


def gaussian(theta, loc, scale):
    z = (theta - loc) / scale
    return -0.5 * np.sum(z**2, axis=1) - np.sum(np.log(scale * np.ones(len(loc)))) - 0.5 * len(loc) * np.log(2 * np.pi)


@pytest.fixture(scope="module")
def fits(problem):
    """Give the posterior of the plane by nautilus, with focus or without, counting calls."""
    found = {}
    for focus in (True, False):
        counting = Counting(problem)
        posterior, draws = sample(counting, "nautilus", seed=3, focus=focus, **QUICK)
        found[focus] = SimpleNamespace(posterior=posterior, draws=draws, problem=counting)
    return found


@pytest.fixture(scope="module")
def optimum(problem):
    counting = Counting(problem)
    posterior, draws = sample(counting, "optimizer", seed=3)
    return SimpleNamespace(posterior=posterior, draws=draws, problem=counting)


# choices


def test_unknown_methods_are_refused_with_a_list():
    with pytest.raises(ConfigError, match=r"unknown method 'nautlius'; did you mean 'nautilus'\?") as caught:
        get_sampler("nautlius")
    assert all(method in str(caught.value) for method in METHODS)
    with pytest.raises(ConfigError, match="unknown method 'xyz'; known: nautilus, optimizer"):
        get_sampler("xyz")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("method", "option", "said"),
    [
        ("nautilus", "n_lvie", "did you mean 'n_live'"),
        ("nautilus", "n_ef", "did you mean 'n_eff'"),
        ("nautilus", "qqqq", "known: .*n_live.*n_eff.*focus"),
        ("nautilus", "filepath", "nautilus has no option 'filepath'"),
        ("nautilus", "vectorized", "nautilus has no option 'vectorized'"),
        ("optimizer", "n_strats", "did you mean 'n_starts'"),
        ("optimizer", "n_live", "optimizer has no option 'n_live'"),
    ],
)
def test_unknown_options_are_refused(method, option, said):
    with pytest.raises(ConfigError, match=said):
        get_sampler(method)(**{option: 1})


@pytest.mark.parametrize("method", METHODS)
def test_every_default_is_a_known_option(method):
    kind = get_sampler(method)
    assert kind.name == method
    assert set(kind.defaults) <= set(kind.known_options())
    assert kind(**kind.defaults).options.items() >= kind.defaults.items()


@pytest.mark.parametrize("seed", [-1, 1.0, True, None, "1", np.float64(2)])
def test_seeds_are_whole_numbers(problem, seed):
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        sample(problem, "optimizer", seed=seed)


# nautilus


@pytest.mark.parametrize("focus", [True, False])
def test_nautilus_evidence(fits, exact, focus):
    found = fits[focus].posterior
    assert 0 < found.logz_err < 0.1
    assert abs(found.logz - exact.logz) < 4 * found.logz_err + 0.01
    assert found.meta["converged"] is True


@pytest.mark.parametrize("focus", [True, False])
def test_nautilus_posterior(fits, exact, focus):
    found = fits[focus].posterior
    assert found.n_eff >= 900
    sigma = np.sqrt(np.diag(exact.covariance))
    mean = found.weights @ found.samples
    assert np.all(np.abs(mean - exact.mean) < 4 * sigma / math.sqrt(found.n_eff))
    spread = (found.samples - mean) / sigma
    covariance = (spread * found.weights[:, None]).T @ spread
    error = 4.5 * math.sqrt(2 / found.n_eff)
    assert covariance == pytest.approx(exact.covariance / np.outer(sigma, sigma), abs=error)


@pytest.mark.parametrize("focus", [True, False])
def test_nautilus_gives_the_likelihood_of_its_samples(fits, problem, focus):
    found = fits[focus].posterior
    assert found.log_likelihood[:50] == pytest.approx(problem.log_likelihood(found.samples[:50]), abs=1e-9)
    assert found.log_prior[:50] == pytest.approx(problem.log_prior(found.samples[:50]), abs=1e-12)
    assert found.weights.sum() == pytest.approx(1, abs=1e-9)


def test_the_seed_decides(fits, problem):
    same, _ = sample(problem, "nautilus", seed=3, **QUICK)
    other, _ = sample(problem, "nautilus", seed=4, **QUICK | {"n_eff": 200})
    first = fits[True].posterior
    for key in ("samples", "log_weights", "log_likelihood"):
        assert np.array_equal(getattr(same, key), getattr(first, key))
    assert same.logz == first.logz
    assert other.logz != first.logz
    assert not np.isin(other.samples[:, 0], first.samples[:, 0]).any()


def test_another_mode_than_the_one_in_focus_is_not_lost():
    """A narrow mode, high, at which the search ends, and a wide one that holds most of the mass."""
    modes = [(np.array([0.2, 0.3]), 0.03, 0.3), (np.array([0.65, 0.6]), 0.1, 0.7)]

    def log_likelihood(theta):
        return np.logaddexp(*[gaussian(theta, loc, scale) + math.log(mass) for loc, scale, mass in modes])

    fake = Numpy(log_likelihood, [uniform(0, 1), uniform(0, 1)])
    found = find_maximum(fake, fake.log_likelihood, np.random.default_rng([5, 1]), 1000, 5, 200)
    assert found.theta == pytest.approx(modes[0][0], abs=1e-3)
    x = (np.arange(500) + 0.5) / 500
    plane = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    height = np.exp(log_likelihood(plane))
    draws = get_sampler("nautilus")(**QUICK | {"n_live": 400}).run(fake, SerialPool(log_likelihood), 5)
    assert abs(draws.logz - math.log(height.mean())) < 4 * draws.logz_err + 0.02
    wanted = height @ (plane[:, 0] > 0.4) / height.sum()
    assert np.exp(draws.log_weights) @ (draws.samples[:, 0] > 0.4) == pytest.approx(wanted, abs=0.06)


def test_nautilus_needs_two_parameters():
    fake = Numpy(lambda theta: -(theta[:, 0] ** 2), [normal(0, 1)])
    with pytest.raises(ConfigError, match=r"at least 2 free parameter\(s\), the model has 1"):
        get_sampler("nautilus")().validate(fake.ndim, 1)


def test_a_run_that_is_cut_short_says_so(problem, caplog):
    posterior, _ = sample(problem, "nautilus", seed=1, focus=False, n_like_max=500, **QUICK | {"n_live": 100})
    assert posterior.meta["converged"] is False
    assert posterior.meta["n_calls"] < 1500
    assert "stopped before it converged" in caplog.text


# optimizer


def test_optimizer_is_exact_for_a_gaussian(optimum, exact):
    notes, posterior = optimum.posterior.meta["notes"], optimum.posterior
    sigma = np.sqrt(np.diag(exact.covariance))
    assert (np.array(notes["map"]) - exact.mean) / sigma == pytest.approx(0, abs=1e-3)
    assert np.array(notes["covariance"]) / np.outer(sigma, sigma) == pytest.approx(
        exact.covariance / np.outer(sigma, sigma), abs=1e-3
    )
    assert posterior.logz == pytest.approx(exact.logz, abs=1e-3)
    assert math.isnan(posterior.logz_err)
    assert posterior.meta["converged"] is True
    assert posterior.best == pytest.approx(notes["map"])


def test_optimizer_samples_are_the_gaussian(optimum, exact):
    samples = optimum.posterior.samples
    n, sigma = len(samples), np.sqrt(np.diag(exact.covariance))
    assert n == 4001
    assert np.all(np.abs(samples.mean(axis=0) - exact.mean) < 4.5 * sigma / math.sqrt(n))
    found = np.cov(((samples - exact.mean) / sigma).T)
    assert found == pytest.approx(exact.covariance / np.outer(sigma, sigma), abs=4.5 * math.sqrt(2 / n))


def test_optimizer_with_flat_priors():
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 3.0]), np.array([0.01, 0.2])), [uniform(0, 1)] * 2)
    fake.priors = [uniform(0, 1), uniform(1, 6)]
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.logz == pytest.approx(-math.log(5), abs=2e-3)
    assert draws.notes["map"] == pytest.approx([0.4, 3], abs=1e-5)
    assert np.array(draws.notes["covariance"]) == pytest.approx(np.diag([1e-4, 0.04]), abs=1e-7)


@pytest.mark.parametrize("beyond", [-0.1, 1.1])
def test_a_maximum_on_the_edge_of_a_prior_is_found(beyond):
    fake = Numpy(lambda theta: gaussian(theta, np.array([beyond, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.notes["map"] == pytest.approx([round(beyond), 0.5], abs=1e-5)
    assert np.all((draws.samples >= 0) & (draws.samples <= 1))


def test_a_maximum_on_the_edge_of_a_prior_is_no_proper_one():
    """The evidence of Laplace is then wrong by far, which must not pass for converged."""
    fake = Numpy(lambda theta: gaussian(theta, np.array([-0.1, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.converged is False


def test_nautilus_with_a_maximum_on_the_edge():
    fake = Numpy(lambda theta: gaussian(theta, np.array([-0.1, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("nautilus")(**QUICK).run(fake, SerialPool(fake.log_likelihood), 2)
    wanted = math.log(0.5 * math.erfc(2 / math.sqrt(2)))
    assert abs(draws.logz - wanted) < 4 * draws.logz_err + 0.02


def test_a_flat_direction_is_flagged():
    fake = Numpy(lambda theta: gaussian(theta[:, :1], np.array([0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.converged is False
    assert math.isnan(draws.logz)
    assert np.isfinite(draws.samples).all()


def test_a_problem_without_possible_point_says_so():
    fake = Numpy(lambda theta: np.full(len(theta), -np.inf), [uniform(0, 1)] * 2)
    for method in METHODS:
        with pytest.raises(ModelError, match="none of 1000 draws from the prior is possible"):
            get_sampler(method)().run(fake, SerialPool(fake.log_likelihood), 1)


def test_optimizer_refuses_workers(problem):
    class Two(Pool):
        size = 2

    for choice in ({"ncores": 2}, {"pool": 2}, {"pool": Two()}):
        with pytest.raises(ValueError, match="optimizer runs in one process"):
            sample(problem, "optimizer", seed=1, **choice)


# provenance


def test_meta(fits, optimum, problem):
    for found in (fits[True], fits[False], optimum):
        meta = found.posterior.meta
        assert json.loads(json.dumps(meta, allow_nan=False)) == meta
        assert meta["seed"] == 3
        assert meta["workers"] == 1
        assert meta["problem_digest"] == problem.digest()
        assert {"python", "socca", "jax", "numpy", "nautilus-sampler"} <= set(meta["versions"])
        timing = meta["timing"]
        assert 0 < timing["likelihood"] <= timing["sampling"]
        assert {"compilation", "programs_compiled"} <= set(timing)
    assert fits[True].posterior.meta["options"] == get_sampler("nautilus")(**QUICK).options
    assert fits[True].posterior.meta["method"] == "nautilus"
    assert optimum.posterior.meta["method"] == "optimizer"


def test_n_calls_counts_rows(fits):
    found = fits[False]
    assert found.posterior.meta["n_calls"] == found.problem.rows
    assert found.problem.gradients == 0
    assert found.draws.sampler.n_like == found.problem.rows


def test_n_calls_counts_the_search_too(fits, optimum):
    for found in (fits[True], optimum):
        assert found.posterior.meta["n_calls"] == found.problem.rows
        assert found.posterior.meta["notes"]["n_gradients"] == found.problem.gradients


def test_the_posterior_describes_its_parameters(fits):
    found = fits[True].posterior
    assert found.names == ["comp_00_a0", "comp_00_a1x", "comp_00_a1y"]
    assert found.units == ["image"] * 3
    assert found.periods == [None] * 3
    assert found.fixed["comp_00_rs"] == pytest.approx(1 / 3600)
    assert found.fixed["comp_00_a2xx"] == 0


# the stretched cube


def focus(ndim, sigma=0.03, correlated=True, angle=None, place=0.3):
    """Give a focus on a maximum in a unit cube; `angle` is an axis that is a whole period."""
    rng = np.random.default_rng(ndim)
    root = np.linalg.qr(rng.normal(size=(ndim, ndim)))[0] if correlated else np.eye(ndim)
    covariance = sigma**2 * root @ np.diag(np.linspace(0.2, 1, ndim)) @ root.T
    periods = [1.0 if k == angle else None for k in range(ndim)]
    theta = np.full(ndim, place)
    return Focus(
        Numpy(lambda theta: theta[:, 0], [uniform(0, 1)] * ndim, periods),
        Maximum(theta, 0.0, covariance, True, True, 1, 0),
    )


CASES = {
    "1-D": focus(1),
    "narrow": focus(1, sigma=1e-7),
    "at the edge": focus(1, place=0.0),
    "angle": focus(1, angle=0, place=0.01),
    "2-D": focus(2),
    "2-D, an angle": focus(2, angle=1, place=0.98),
    "2-D, at the corner": focus(2, place=1.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_volume_of_the_cube_is_kept(case):
    cube = CASES[case]
    ndim = len(cube._center)
    n = {1: 50_000, 2: 250}[ndim]
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n] * ndim)
    _, log_density = cube.to_prior(np.stack([axis.ravel() for axis in axes], axis=1))
    assert np.mean(np.exp(-log_density)) == pytest.approx(1, abs={1: 3e-4, 2: 5e-3}[ndim])


@pytest.mark.parametrize("angle", [None, 0, 2])
@pytest.mark.parametrize("sigma", [0.03, 1e-4])
def test_the_density_is_the_jacobian(angle, sigma):
    cube = focus(3, sigma=sigma, angle=angle, place=0.4 if angle is None else 0.97)
    w = np.random.default_rng(8).uniform(0.02, 0.98, (200, 3))
    _, log_density = cube.to_prior(w)
    step = 1e-6
    columns = []
    for axis in step * np.eye(3):
        moved = cube.to_prior(w + axis)[0] - cube.to_prior(w - axis)[0]
        columns.append((moved - np.round(moved)) / (2 * step))  # across the end of a period too
    determinant = np.linalg.det(np.stack(columns, axis=-1))
    assert np.all(determinant > 0)
    assert np.log(determinant) == pytest.approx(-log_density, abs=2e-3)


@pytest.mark.parametrize("angle", [None, 1])
def test_the_cube_is_mapped_onto_itself(angle):
    cube = focus(3, angle=angle, place=0.95)
    corners = np.array(list(itertools.product([0.0, 0.5, 1.0], repeat=3)))
    v, log_density = cube.to_prior(corners)
    assert np.isfinite(v).all()
    assert np.isfinite(log_density).all()
    assert np.all((v >= 0) & (v <= 1))
    assert np.all(log_density >= math.log(PRIOR_SHARE) - 1e-12)
    line = np.stack([np.linspace(0, 1, 1001), np.full(1001, 0.3), np.full(1001, 0.6)], axis=1)
    first = cube.to_prior(line)[0][:, 0]
    assert np.all(np.diff(first) > 0)
    assert (first[0], first[-1]) == pytest.approx((0, 1), abs=1e-12)


def test_points_of_the_mapped_cube_have_the_density_that_is_stated():
    """Histogram of mapped uniform points against the density, where it varies by a factor of hundreds."""
    cube = focus(2, sigma=0.05)
    w = np.random.default_rng(9).random((50_000, 2))
    v, log_density = cube.to_prior(w)
    cell = np.floor(v * 10).astype(int) @ [10, 1]
    volume = np.bincount(cell, np.exp(-log_density), 100) / len(w)
    error = np.sqrt(np.bincount(cell, np.exp(-2 * log_density), 100)) / len(w)
    assert np.all(np.abs(volume - 0.01) < 4.5 * error + 1e-5)


def test_the_focus_lies_at_the_maximum():
    cube = focus(3, angle=2, place=0.95)
    v, _ = cube.to_prior(np.random.default_rng(1).random((20_000, 3)))
    off = np.abs(v - 0.95)
    off[:, 2] = np.minimum(off[:, 2], 1 - off[:, 2])
    assert np.mean(np.all(off < 0.1, axis=1)) > 0.3
    assert np.median(off, axis=0) == pytest.approx([0.03] * 3, abs=0.025)


def test_without_focus_the_cube_stays():
    w = np.random.default_rng(1).random((5, 2))
    v, log_density = Unfocused().to_prior(w)
    assert np.array_equal(v, w)
    assert not log_density.any()
