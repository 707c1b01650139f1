"""Options of samplers by the names that scripts of the published interface use."""

import itertools
import logging
import warnings

import numpy as np
import pytest

from socca.errors import ConfigError
from socca.pool import SerialPool
from socca.priors import normal, uniform
from socca.samplers import METHODS, get_sampler
from tests.fakes import INSTALLED, Numpy, gaussian

pocomc = next(param for param in INSTALLED if param.values == ("pocomc",))


@pytest.fixture(scope="module")
def easy():
    """Two independent normal numbers within flat priors."""
    return Numpy(lambda theta: gaussian(theta, np.array([0.4, 0.6]), 0.05), [uniform(0, 1)] * 2)


def run(method, problem, seed=1, **options):
    return get_sampler(method)(**options).run(problem, SerialPool(problem.log_likelihood), seed)


ALIASES = [
    ("nautilus", {"nlive": 321, "flive": 0.03}, {"n_live": 321, "f_live": 0.03}),
    ("nautilus", {"discard_exploration": True, "n_like_max": 900, "n_eff": 50}, {"n_like_max": 900, "n_eff": 50}),
    ("dynesty", {"n_live": 77, "dlogz": 0.2, "sample": "rwalk"}, {"nlive": 77, "dlogz": 0.2, "sample": "rwalk"}),
    ("emcee", {"n_steps": 40}, {"nsteps": 40}),
    ("emcee", {"num_steps": 40, "nburn": 7, "thin": 3}, {"nsteps": 40, "discard": 7, "thin": 3}),
    ("emcee", {"n_burn": 9, "tau_factor": 20, "tau_rtol": 0.1}, {"discard": 9, "n_tau": 20, "tau_change": 0.1}),
    ("numpyro", {"nwarmup": 5, "nsamples": 6}, {"num_warmup": 5, "num_samples": 6}),
    ("numpyro", {"n_warmup": 5, "n_samples": 6, "num_chains": 3}, {"num_warmup": 5, "num_samples": 6, "num_chains": 3}),
]


@pytest.mark.parametrize(("method", "given", "found"), ALIASES)
def test_other_names_mean_the_same(method, given, found):
    options = get_sampler(method)(**given).options
    assert {key: options[key] for key in found} == found
    assert (
        options
        == get_sampler(method)(**{**given, **found} if given.keys() <= found.keys() else _own(method, given)).options
    )


def _own(method, given):
    aliases = get_sampler(method).aliases
    return {aliases.get(key, key): value for key, value in given.items()}


@pytest.mark.parametrize("name", ["nlive", "n_live", "n_effective"])
def test_pocomc_takes_half_of_its_particles_at_a_time(name):
    pytest.importorskip("pocomc")
    options = get_sampler("pocomc")(**{name: 120}).options
    assert (options["n_effective"], options["n_active"]) == (120, 60)
    assert get_sampler("pocomc")(**{name: 120, "n_active": 30}).options["n_active"] == 30


@pytest.mark.parametrize("method", INSTALLED)
def test_every_alias_stands_for_an_option(method):
    kind = get_sampler(method)
    known = kind.known_options()
    assert set(kind.aliases.values()) <= set(known)
    assert not kind.aliases.keys() & set(known)
    assert not kind.without_effect.keys() & set(known)
    for alias, option in kind.aliases.items():
        if option != "progress":
            with pytest.raises(ConfigError, match=f"{alias} mean the same: give one of them|must be a number"):
                kind(**{option: 10, alias: 10})


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("nautilus", {"dlogz": 0.01}, "nautilus: dlogz has no effect: nautilus ends by f_live"),
        pytest.param("pocomc", {"vectorize": False}, "always takes batches", marks=pocomc.marks),
        pytest.param("pocomc", {"save_every": 3}, "kept every half minute", marks=pocomc.marks),
        ("numpyro", {"init_strategy": len}, "chains start at the maximum"),
        ("numpyro", {"chain_method": "vectorized"}, "side by side"),
        ("optimizer", {"jac": True}, "derivatives are those of the model"),
    ],
)
def test_what_has_no_effect_is_said(method, options, said):
    with pytest.warns(UserWarning, match=said):
        found = get_sampler(method)(**options)
    assert not options.keys() & found.options.keys()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param("pocomc", {"vectorize": True, "save_every": None}, marks=pocomc.marks),
        ("numpyro", {"chain_method": "parallel", "jit_model_args": False}),
        ("optimizer", {"jac": None}),
    ],
)
def test_what_is_done_anyway_needs_no_warning(method, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_sampler(method)(**options).options == get_sampler(method)().options


@pytest.mark.parametrize(
    ("method", "option", "said"),
    [
        ("nautilus", "filepath", "write checkpoint="),
        ("dynesty", "rstate", "write seed="),
        ("dynesty", "queue_size", "n_batch"),
        ("emcee", "backend", "write checkpoint="),
        ("numpyro", "inverse_mass_matrix", "adapt_mass_matrix"),
        ("optimizer", "bounds", "the priors are the bounds"),
        ("optimizer", "num_chains", "runs in one process"),
    ],
)
def test_what_socca_sets_says_what_to_write(method, option, said):
    with pytest.raises(ConfigError, match=f"{method} has no option '{option}': .*{said}"):
        get_sampler(method)(**{option: 1})


@pytest.mark.parametrize("method", INSTALLED)
def test_unknown_options_list_the_known_ones_once_and_the_nearest_first(method):
    kind = get_sampler(method)
    for option in (kind.known_options()[0], *kind.aliases):
        with pytest.raises(ConfigError) as caught:
            kind(**{option + "x": 1})
        said, _, listed = str(caught.value).partition("known: ")
        names = listed.split(", ")
        assert f"did you mean {names[0]!r}?" in said
        assert names[0].startswith(option[:4])
        assert len(names) == len(set(names))
        assert set(names) == {*kind.known_options(), *kind.aliases, *kind.without_effect}
    with pytest.raises(ConfigError, match=r"has no option 'qqqq'; known: ") as caught:
        kind(qqqq=1)
    assert "did you mean" not in str(caught.value)


def test_unknown_methods_list_each_method_once():
    for method in ("emce", "metropolis"):
        with pytest.raises(ConfigError, match="known: ") as caught:
            get_sampler(method)
        listed = str(caught.value).partition("known: ")[2].split(", ")
        assert sorted(listed) == sorted(METHODS)
    with pytest.raises(ConfigError, match=r"did you mean 'emcee'\? known: emcee, nautilus"):
        get_sampler("emce")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dynamic": True, "dlogz": 0.1}, "dlogz is an option of static runs.*did you mean 'dlogz_init'"),
        ({"n_effective": 100}, "n_effective is an option of dynamic runs"),
    ],
)
def test_options_of_the_other_kind_of_dynesty_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        get_sampler("dynesty")(**options)


def test_dynesty_stops_by_dlogz(easy):
    short, long = (run("dynesty", easy, nlive=50, dlogz=dlogz, focus=False) for dlogz in (5.0, 0.01))
    assert short.notes["n_iterations"] < long.notes["n_iterations"]


# progress


@pytest.mark.parametrize("name", ["verbose", "progress"])
@pytest.mark.parametrize(("shown", "where"), [(True, "stderr"), (False, ""), (None, "log")])
def test_progress_is_shown_hidden_or_logged(monkeypatch, capsys, caplog, name, shown, where):
    monkeypatch.setattr("socca.samplers.base.time.monotonic", iter(range(0, 900, 90)).__next__)
    sampler = get_sampler("nautilus")(**({} if shown is None else {name: shown}))
    assert "progress" not in sampler.options  # it is no part of what a checkpoint belongs to
    logger = sampler.progress_logger()
    with caplog.at_level(logging.INFO, logger="socca.samplers.base"):
        if logger.due():
            logger.log("12 calls")
    found = {"stderr": capsys.readouterr().err, "log": caplog.text}
    assert [place for place, text in found.items() if "12 calls" in text] == ([where] if where else [])


def test_progress_messages_come_from_a_run(easy, monkeypatch, capsys):
    monkeypatch.setattr("socca.samplers.base.PeriodicLogger.due", lambda self: self._shown is not False)
    run("emcee", easy, nsteps=150, nwalkers=8, progress=True)
    assert "emcee:    0 s, 100 steps of 8 walkers" in capsys.readouterr().err
    run("emcee", easy, nsteps=150, nwalkers=8, progress=False)
    assert capsys.readouterr().err == ""


# emcee


def test_a_given_length_is_that_of_the_run(easy):
    draws = run("emcee", easy, nsteps=130, nwalkers=8, discard=30, thin=10)
    assert draws.notes["n_steps"] == 130
    assert len(draws.samples) == 8 * 10
    chain = draws.sampler.get_chain(discard=30, thin=10, flat=True)
    np.testing.assert_array_equal(draws.samples, chain)
    assert draws.history["autocorrelation_time"][:, 0].tolist() == [100, 130]


def test_check_every_and_converge(easy):
    options = {"nwalkers": 16, "check_every": 60, "tau_factor": 20, "tau_rtol": 0.3}
    draws = run("emcee", easy, nsteps=2000, converge=True, **options)
    looks = draws.history["autocorrelation_time"]
    steps = draws.notes["n_steps"]
    assert steps < 2000
    assert looks[:, 0].tolist() == list(range(60, steps + 1, 60))
    assert draws.converged
    # It ended at the first look at which both rules hold.
    rules = [
        late[0] > 20 * late[1:].max() and np.all(np.abs(late[1:] - early[1:]) < 0.3 * late[1:])
        for early, late in itertools.pairwise(looks)
    ]
    assert rules == [False] * (len(rules) - 1) + [True]
    whole = run("emcee", easy, nsteps=2000, converge=False, **options)
    assert whole.notes["n_steps"] == 2000


def test_factors_of_discard_and_thin(easy):
    draws = run("emcee", easy, nsteps=400, nwalkers=8, discard_factor=20, thin_factor=2)
    tau = draws.history["autocorrelation_time"][-1, 1:].max()
    assert len(draws.samples) == 8 * ((400 - int(20 * tau)) // int(2 * tau))


def test_lengths_that_contradict_each_other(easy):
    assert get_sampler("emcee")(converge=False).options["nsteps"] == 5000
    assert "nsteps" not in get_sampler("emcee")(converge=True).options
    assert get_sampler("emcee")(converge=True).options["tau_change"] == 0.01
    assert get_sampler("emcee")().options["tau_change"] == 0.05
    with pytest.raises(ConfigError, match="nsteps and max_steps"):
        get_sampler("emcee")(nsteps=10, max_steps=20)
    with pytest.raises(ConfigError, match="of 100 steps, none is left with discard=100 and thin=1"):
        get_sampler("emcee")(nsteps=100, discard=100)


# numpyro


def test_numpyro_keeps_every_second_draw():
    from socca.data import Image
    from socca.likelihood.problem import Problem
    from socca.models import Background, Model
    from socca.noise import Normal
    from tests.samplers.plane import SHAPE

    data = np.random.default_rng(5).normal(0.5, 1.0, SHAPE)
    problem = Problem(Image(data, noise=Normal(sigma=1.0), pixel_scale=0.2), Model(Background(a0=normal(0, 1))))
    every, second = (run("numpyro", problem, nwarmup=30, nsamples=40, thinning=step) for step in (1, 2))
    np.testing.assert_array_equal(second.samples, every.samples[::2])
    with pytest.raises(ConfigError, match="thinning"):
        run("numpyro", problem, nsamples=40, thinning=11)


# optimizer


def test_a_search_starts_where_it_is_told_to():
    """The highest of two peaks is so narrow that only a start beside it finds it."""
    wide, narrow = np.array([0.3, 0.3]), np.array([0.8123, 0.2123])

    def log_likelihood(theta):
        return np.logaddexp(gaussian(theta, wide, 0.05), gaussian(theta, narrow, 1e-4))

    fake = Numpy(log_likelihood, [uniform(0, 1)] * 2)
    few = {"n_starts": 2, "n_draws": 50, "n_samples": 10}
    alone = run("optimizer", fake, **few)
    np.testing.assert_allclose(alone.notes["maximum"], wide, atol=1e-3)
    for pinits in (narrow + 1e-4, [list(narrow + 1e-4), [0.5, 0.5]]):
        found = run("optimizer", fake, **few, pinits=pinits)
        assert found.notes["searches"] == alone.notes["searches"] + len(np.atleast_2d(pinits))
        np.testing.assert_allclose(found.notes["maximum"], narrow, atol=1e-5)
    assert run("optimizer", fake, **few, pinits="median").notes["searches"] == alone.notes["searches"] + 1


@pytest.mark.parametrize(
    ("pinits", "said"),
    [
        ("mean", "pinits must be a list or median"),
        ([0.1], r"must have shape \(2,\) or \(n, 2\), got \(1,\); the parameters are p0, p1"),
        ([0.1, 1.5], "pinits of p1 must lie within its prior"),
    ],
)
def test_starts_that_cannot_be(easy, pinits, said):
    with pytest.raises(ConfigError, match=said):
        run("optimizer", easy, pinits=pinits)


def test_tolerance_options_and_callback_reach_the_solver(easy):
    seen = []
    fine = run("optimizer", easy, n_samples=10, callback=seen.append)
    assert len(seen) > 3
    assert all(theta.shape == (2,) and np.all((theta >= 0) & (theta <= 1)) for theta in seen)
    coarse = run("optimizer", easy, n_samples=10, tol=1e10)
    assert coarse.notes["n_gradients"] < fine.notes["n_gradients"]
    short = run("optimizer", easy, n_samples=10, options={"maxiter": 1})
    assert (fine.converged, short.converged) == (True, False)
    with pytest.raises(ConfigError, match="options must be keys and values"):
        get_sampler("optimizer")(options=3)
