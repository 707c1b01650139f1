"""All samplers: choices and options, what a posterior records, and workers."""

import json
import math
import sys

import numpy as np
import pytest

from socca.errors import ConfigError, ModelError
from socca.fitting.sample import sample
from socca.pool import SerialPool
from socca.pool.mp import MultiPool
from socca.priors import uniform
from socca.samplers import METHODS, get_sampler
from tests.fakes import INSTALLED, Numpy
from tests.samplers.plane import QUICK

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


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("nautilus", "n_live", 0),
        ("nautilus", "n_live", 20.5),
        ("nautilus", "n_live", "many"),
        ("nautilus", "n_live", math.nan),
        ("nautilus", "n_live", math.inf),
        ("nautilus", "n_live", None),
        ("nautilus", "focus", 1),
        ("dynesty", "sample", "slices"),
        ("emcee", "moves", 3),
        ("numpyro", "num_samples", 3),
        ("numpyro", "target_accept_prob", 1.5),
        ("optimizer", "n_draws", "many"),
        ("optimizer", "objective", "mle"),
        ("nautilus", "n_eff", -1),
        ("dynesty", "nlive", 2),
        ("dynesty", "n_batch", 0),
        ("emcee", "nwalkers", "many"),
        ("emcee", "max_steps", True),
        ("pocomc", "n_total", -1),
    ],
)
def test_values_of_another_type_or_out_of_range_are_refused(method, option, value):
    if method == "pocomc":
        pytest.importorskip("pocomc")
    with pytest.raises(ConfigError) as caught:
        get_sampler(method)(**{option: value})
    allowed = get_sampler(method).allowed_values(option)
    assert str(caught.value) == f"{method}: {option} must be {allowed}; got {value!r}"


def test_a_missing_back_end_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocomc", None)
    with pytest.raises(ConfigError, match=r"pip install 'socca\[pocomc\]'"):
        get_sampler("pocomc")()


@pytest.mark.parametrize("method", INSTALLED)
def test_a_problem_without_possible_point_says_so(method):
    fake = Numpy(lambda theta: np.full(len(theta), -np.inf), [uniform(0, 1)] * 2)
    with pytest.raises(ModelError, match="none of 1000 draws from the prior is possible"):
        get_sampler(method)().run(fake, SerialPool(fake.log_likelihood), 1)


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
