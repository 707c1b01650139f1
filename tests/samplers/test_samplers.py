"""Samplers against closed forms: evidence, posterior, maximum, and the change of coordinates that speeds them up."""

import json
import math
import sys
from types import SimpleNamespace

import emcee
import numpy as np
import pytest
from scipy.special import ive

from socca.errors import ConfigError, ModelError
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import Normal
from socca.pool import SerialPool
from socca.pool.mp import MultiPool
from socca.priors import normal, uniform
from socca.samplers import METHODS, get_sampler
from tests.fakes import INSTALLED, Numpy, gaussian

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
    data = problem.arrays["noise"].data.ravel()
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
    with pytest.raises(ConfigError, match=r"unknown method 'xyz'; known: nautilus, .*optimizer"):
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


@pytest.mark.parametrize("method", INSTALLED)
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


def test_a_run_that_is_cut_short_says_so(problem, caplog):
    posterior, _ = sample(problem, "nautilus", seed=1, focus=False, n_like_max=500, **QUICK | {"n_live": 100})
    assert posterior.meta["converged"] is False
    assert posterior.meta["n_calls"] < 1500
    assert "stopped before it converged" in caplog.text


# optimizer


def test_optimizer_is_exact_for_a_gaussian(optimum, exact):
    notes, posterior = optimum.posterior.meta["notes"], optimum.posterior
    sigma = np.sqrt(np.diag(exact.covariance))
    assert (np.array(notes["maximum"]) - exact.mean) / sigma == pytest.approx(0, abs=1e-3)
    assert np.array(notes["covariance"]) / np.outer(sigma, sigma) == pytest.approx(
        exact.covariance / np.outer(sigma, sigma), abs=1e-3
    )
    assert posterior.logz == pytest.approx(exact.logz, abs=1e-3)
    assert math.isnan(posterior.logz_err)
    assert posterior.meta["converged"] is True
    assert posterior.best == pytest.approx(notes["maximum"])


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
    assert draws.notes["maximum"] == pytest.approx([0.4, 3], abs=1e-5)
    assert np.array(draws.notes["covariance"]) == pytest.approx(np.diag([1e-4, 0.04]), abs=1e-7)


@pytest.mark.parametrize("beyond", [-0.1, 1.1])
def test_a_maximum_on_the_edge_of_a_prior_is_found(beyond):
    fake = Numpy(lambda theta: gaussian(theta, np.array([beyond, 0.5]), 0.05), [uniform(0, 1)] * 2)
    draws = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.notes["maximum"] == pytest.approx([round(beyond), 0.5], abs=1e-5)
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


@pytest.mark.parametrize("method", INSTALLED)
def test_a_problem_without_possible_point_says_so(method):
    fake = Numpy(lambda theta: np.full(len(theta), -np.inf), [uniform(0, 1)] * 2)
    with pytest.raises(ModelError, match="none of 1000 draws from the prior is possible"):
        get_sampler(method)().run(fake, SerialPool(fake.log_likelihood), 1)


def test_optimizer_refuses_workers(problem):
    class Two(SerialPool):
        size = 2

    for choice in ({"ncores": 2}, {"pool": 2}, {"pool": Two(problem.log_likelihood)}):
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
        requires = get_sampler(meta["method"]).requires
        assert {"python", "socca", "jax", "numpy", *requires} <= set(meta["versions"])
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
    assert not any(name.startswith("noise") for name in found.fixed)


# workers


@pytest.fixture(scope="module")
def workers(problem):
    """Two workers that have started: until then, the first process would do their work."""
    with MultiPool(2, problem.log_likelihood) as pool:
        yield pool


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("nautilus", {"n_live": 60, "n_eff": 100, "n_networks": 1, "focus": False}),
        ("dynesty", {"nlive": 60}),
        ("emcee", {"n_eff": 300, "max_steps": 300}),
        ("numpyro", {"num_warmup": 20, "num_samples": 20, "num_chains": 2}),
    ],
)
def test_two_workers_give_what_one_gives(problem, workers, method, options):
    one, _ = sample(problem, method, seed=7, **options)
    two, _ = sample(problem, method, seed=7, pool=workers, **options)
    for key in ("samples", "log_weights", "log_likelihood"):
        assert np.array_equal(getattr(one, key), getattr(two, key)), key
    assert two.meta["workers"] == 2


def test_numpyro_runs_a_chain_per_worker(problem):
    posterior, _ = sample(problem, "numpyro", seed=7, ncores=2, num_warmup=50, num_samples=60)
    assert posterior.meta["notes"]["chains"] == 2
    assert len(posterior.samples) == 120


@pytest.mark.parametrize("walkers", [7, 4])
def test_emcee_needs_walkers(problem, walkers):
    with pytest.raises(ConfigError, match="nwalkers must be even, and at least 6"):
        sample(problem, "emcee", seed=1, nwalkers=walkers)


def test_the_maximum_of_the_likelihood_leaves_the_prior_out():
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 3.0]), np.array([0.1, 0.2])), [normal(0, 0.1)] * 2)
    fake.priors = [normal(0, 0.1), uniform(1, 6)]
    likely = get_sampler("optimizer")(objective="ml").run(fake, SerialPool(fake.log_likelihood), 1)
    assert likely.notes["maximum"] == pytest.approx([0.4, 3], abs=1e-4)
    assert np.array(likely.notes["covariance"]) == pytest.approx(np.diag([0.01, 0.04]), abs=1e-5)
    assert math.isnan(likely.logz)
    probable = get_sampler("optimizer")().run(fake, SerialPool(fake.log_likelihood), 1)
    assert probable.notes["maximum"] == pytest.approx([0.2, 3], abs=1e-4)
    with pytest.raises(ConfigError, match="objective must be map or ml, got 'mle'"):
        get_sampler("optimizer")(objective="mle")


def test_a_missing_back_end_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocomc", None)
    with pytest.raises(ConfigError, match=r"pip install 'socca\[pocomc\]'"):
        get_sampler("pocomc")()


@pytest.mark.parametrize("concentration", [20, 0.7])
def test_angles_on_a_whole_circle_have_no_edge_for_chains(concentration):
    """The posterior lies across the end of the prior; a chain that stopped there would see two halves."""

    def log_likelihood(theta):
        return concentration * np.cos(theta[:, 0] - 0.1) - theta[:, 1] ** 2

    fake = Numpy(log_likelihood, [uniform(0, 2 * np.pi), normal(0, 1)])
    fake.periods = [2 * np.pi, None]
    draws = get_sampler("emcee")(n_eff=1000).run(fake, SerialPool(fake.log_likelihood), 1)
    angle = draws.samples[:, 0]
    assert np.all((angle >= 0) & (angle <= 2 * np.pi))
    # A von Mises distribution, by its Bessel functions; to five errors of so many independent samples.
    cosine = ive(1, concentration) / ive(0, concentration)
    square = (1 + ive(2, concentration) / ive(0, concentration)) / 2
    off = angle - 0.1
    assert np.cos(off).mean() == pytest.approx(cosine, abs=5 * math.sqrt((square - cosine**2) / draws.n_eff))
    assert np.sin(off).mean() == pytest.approx(0, abs=5 * math.sqrt((1 - square) / draws.n_eff))
    assert draws.converged


@pytest.mark.parametrize(("ndim", "moves", "n_eff"), [(1, None, 20_000), (2, None, 20_000), (1, "stretch", 3000)])
def test_walkers_do_not_go_around_a_circle_for_ever(ndim, moves, n_eff):
    """Two humps all around it. Turns say nothing, and must neither add up nor take part in proposals."""

    def log_likelihood(theta):
        return np.cos(theta[:, 0] - 0.1) + 0.8 * np.cos(2 * theta[:, 0] + 1)

    fake = Numpy(log_likelihood, [uniform(0, 2 * np.pi), normal(0, 1)][:ndim])
    fake.periods = [2 * np.pi, None][:ndim]
    options = {} if moves is None else {"moves": emcee.moves.StretchMove()}
    draws = get_sampler("emcee")(n_eff=n_eff, nwalkers=32, **options).run(fake, SerialPool(fake.log_likelihood), 1)
    assert draws.converged
    assert np.ptp(draws.sampler.get_chain()[..., 0]) < 2 * np.pi
    grid = 2 * np.pi * (np.arange(10_000) + 0.5) / 10_000
    height = np.exp(log_likelihood(grid[:, None]))
    for wave in (np.cos, np.sin, lambda x: np.cos(2 * x), lambda x: np.sin(2 * x)):
        mean = np.average(wave(grid), weights=height)
        error = math.sqrt(np.average((wave(grid) - mean) ** 2, weights=height) / draws.n_eff)
        assert wave(draws.samples[:, 0]).mean() == pytest.approx(mean, abs=4.5 * error)


def test_a_chain_that_is_too_short_is_not_converged():
    """A walker that has not moved has no autocorrelation time."""
    fake = Numpy(lambda theta: -0.5 * np.sum((theta / 1e-3) ** 2, axis=1), [normal(0, 1)] * 2)
    moves = emcee.moves.MHMove(lambda x, rng: (x + 1.0, np.zeros(len(x))))
    draws = get_sampler("emcee")(moves=moves, max_steps=200).run(fake, SerialPool(fake.log_likelihood), 1)
    assert not draws.converged
    assert draws.notes["autocorrelation_time"] == [None, None]
    assert np.isfinite(draws.samples).all()
    assert json.loads(json.dumps(draws.notes)) == draws.notes


def test_chains_are_looked_at_less_and_less_often():
    from socca.samplers.emcee import _is_look_due

    looks = [chunk for chunk in range(1, 2000) if _is_look_due(chunk)]
    assert looks[:32] == list(range(1, 33))
    steps = np.diff(looks)[32:] / np.array(looks)[32:-1]
    assert 0.03 < steps.min() < steps.max() < 0.07


@pytest.mark.parametrize(("options", "size"), [({}, 64), ({"nlive": 2000}, 250), ({"nlive": 2000, "n_batch": 7}, 7)])
def test_batches_of_dynesty(options, size):
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 0.6]), 0.1), [uniform(0, 1)] * 2)
    sizes = []

    class Sizes(SerialPool):
        def evaluate(self, theta):
            sizes.append(len(theta))
            return super().evaluate(theta)

    get_sampler("dynesty")(focus=False, maxiter=300, **options).run(fake, Sizes(fake.log_likelihood), 1)
    live = options.get("nlive", 500)
    assert max(n for n in sizes if n != live) == size


@pytest.mark.parametrize("wrong", [None, "shifted", "narrow", "wide", "thin"])
def test_evidence_of_pocomc_by_importance_sampling(wrong):
    """Whatever the Student density is like: a Gaussian in a square, most of it within, to 4 of the stated errors."""
    scaler = pytest.importorskip("pocomc").scaler.Reparameterize(2, bounds=np.array([[0.0, 1.0]] * 2))
    from socca.samplers.pocomc import _evidence

    rng = np.random.default_rng(4)
    loc, sigma = np.array([0.4, 0.7]), np.array([1e-7 if wrong == "thin" else 0.02, 0.05])
    scaler.fit(rng.random((1000, 2)))
    u = scaler.forward(loc + sigma * rng.standard_normal((5000, 2)))
    geometry = SimpleNamespace(t_mean=u.mean(axis=0), t_cov=np.cov(u.T), t_nu=5.0)
    if wrong == "shifted":
        geometry.t_mean = geometry.t_mean + 2 * np.sqrt(np.diag(geometry.t_cov))
    elif wrong in ("narrow", "wide"):
        geometry.t_cov = geometry.t_cov * {"narrow": 0.1, "wide": 10.0}[wrong]
    fake = SimpleNamespace(u_geometry=geometry, scaler=scaler, n_evidence=4000, n_dim=2)
    logz, error = _evidence(fake, lambda x: gaussian(x, loc, sigma), np.random.default_rng(5))
    assert 0 < error < 0.1
    assert abs(logz) < 4 * error


@pytest.mark.parametrize(
    ("options", "trained"), [({}, False), ({"focus": False}, True), ({"precondition": True}, True)]
)
def test_pocomc_trains_a_flow_where_it_may_help(monkeypatch, options, trained):
    pocomc = pytest.importorskip("pocomc")
    fits = []

    class Flow(pocomc.flow.Flow):
        def fit(self, *arguments, **named):
            fits.append(1)
            return super().fit(*arguments, **{**named, "epochs": 2})

    monkeypatch.setattr(pocomc.sampler, "Flow", Flow)
    fake = Numpy(lambda theta: gaussian(theta, np.array([0.4, 0.6]), 0.1), [uniform(0, 1)] * 2)
    small = {"n_active": 32, "n_effective": 64, "n_total": 200, "n_evidence": 100, "flow": "nsf3"}
    get_sampler("pocomc")(**small, **options).run(fake, SerialPool(fake.log_likelihood), 1)
    assert bool(fits) is trained


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("nautilus", "n_live", 0),
        ("nautilus", "n_eff", -1),
        ("dynesty", "nlive", 2),
        ("dynesty", "n_batch", 0),
        ("emcee", "nwalkers", "many"),
        ("emcee", "max_steps", True),
        ("pocomc", "n_total", -1),
    ],
)
def test_impossible_numbers_are_refused(method, option, value):
    if method == "pocomc":
        pytest.importorskip("pocomc")
    with pytest.raises(ConfigError, match=f"{method}: {option} must be a number, and at least"):
        get_sampler(method)(**{option: value})
