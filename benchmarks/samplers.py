"""Time of each sampler to 10,000 effective samples, beside a naive call of the same sampler in the same run.

The image is a Sersic profile on 64 x 64 pixels with 7 free parameters. Naive is the sampler with its own defaults, one
jitted likelihood and one jitted prior transform per sample (a static run of dynesty, which does not ask for a number of
effective samples: compare per sample). Times leave out compiling, but for numpyro's naive call, which compiles itself.
Run it as

    python -m benchmarks.samplers [method ...] [--workers 1 2] [--n-eff 10000] [--no-naive]

With ``--cost 5`` each likelihood keeps its core busy until 5 ms have gone, as that of a larger image would: what a
second worker gains in a whole fit. The last column is then the time relative to the first number of workers. Workers
have started before the time is taken, unless ``--with-start``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from socca.utils.xla import SINGLE_THREAD

os.environ.update(SINGLE_THREAD)  # as in a worker: before JAX and BLAS load

import jax
import numpy as np

from socca.data import Image
from socca.fitting.sample import CountingPool
from socca.likelihood.compiled import programs
from socca.likelihood.parameter_vector import transform
from socca.likelihood.problem import Problem
from socca.models import Model, Sersic
from socca.noise import Normal
from socca.pool import Pool, open_pool
from socca.priors import loguniform, uniform
from socca.samplers import get_sampler
from socca.samplers.checkpoint import Checkpoint
from socca.samplers.cube.unit_cube import UnitCube

ARCSEC = 1 / 3600
TRUTH = {"xc": 0.05 * ARCSEC, "yc": -0.1 * ARCSEC, "theta": 0.6, "e": 0.4, "re": 1.2 * ARCSEC, "Ie": 20.0, "ns": 1.5}
#: Options that ask each sampler for n effective samples.
ASK = {
    "nautilus": lambda n: {"n_live": 1000, "n_eff": n},
    "dynesty": lambda n: {"nlive": n // 3},  # about three samples per live point remain effective
    "pocomc": lambda n: {"n_total": n},
    "emcee": lambda n: {"n_eff": n},
    "numpyro": lambda n: {"num_samples": n},
}


def galaxy(n: int = 64) -> Problem:
    """Return the problem: an image made of the model itself, with noise."""
    priors = {
        "xc": uniform(-ARCSEC, ARCSEC),
        "yc": uniform(-ARCSEC, ARCSEC),
        "theta": uniform(0, np.pi),
        "e": uniform(0, 0.9),
        "re": loguniform(0.2 * ARCSEC, 4 * ARCSEC),
        "Ie": loguniform(0.1, 1000),
        "ns": uniform(0.5, 6),
    }
    model = Model(Sersic(**priors))

    def problem(data: np.ndarray) -> Problem:
        return Problem(Image(data, pixel_scale=0.2, noise=Normal(sigma=1.0)), model)

    empty = problem(np.zeros((n, n)))
    return problem(empty.render(truth_of(empty)).total + np.random.default_rng(1).normal(size=(n, n)))


def truth_of(problem: Problem) -> np.ndarray:
    """Return the parameters that the image is made with, in the order of the problem."""
    return np.array([TRUTH[name.removeprefix("comp_00_")] for name in problem.names])


class Slowed:
    """A problem whose likelihoods take a given time."""

    def __init__(self, problem: Problem, seconds: float) -> None:
        self._problem, self._seconds = problem, seconds

    def log_likelihood(self, theta: np.ndarray) -> np.ndarray:
        """Return what the problem returns, later: in time on a processor, which other processes may have too."""
        start = time.process_time()
        found = self._problem.log_likelihood(theta)
        while time.process_time() < start + self._seconds * len(theta):
            pass
        return found


class Watched(UnitCube):
    """A cube that measures the time of its own work."""

    seconds = 0.0

    def log_likelihood(self, w: np.ndarray) -> np.ndarray:
        """Return what the cube returns."""
        start = time.perf_counter() - self._pool.seconds
        found = super().log_likelihood(w)
        Watched.seconds += time.perf_counter() - self._pool.seconds - start
        return found


def warm_up(problem: Problem, pool: Pool, method: str) -> None:
    """Compile all that a sampler uses, in this process and in the workers."""
    if method == "numpyro":  # with its own length of warm-up, which the compiled chain depends on
        options = {"num_samples": 4, "num_chains": pool.size}
    else:
        method, options = "optimizer", {"n_samples": 10}
    get_sampler(method)(**options).run(problem, pool, 1)
    middle = np.full((2 * pool.size, problem.ndim), 0.5)
    UnitCube(problem, pool, 1, Checkpoint(), focus=True).log_likelihood(middle)
    problem.log_likelihood(problem.prior_transform(middle))
    while not pool.started:
        pool.evaluate(problem.prior_transform(middle))
    pool.evaluate(problem.prior_transform(middle))


def ours(problem: Problem, method: str, n_eff: int, workers: int, cost: float, with_start: bool) -> dict[str, float]:
    """Run our sampler, with likelihoods of `cost` seconds at least, in a pool that has started or not.

    Returns seconds, in total and in parts, effective samples and the evidence's error.
    """
    import socca.samplers.dynesty
    import socca.samplers.nautilus
    import socca.samplers.pocomc

    for module in (socca.samplers.dynesty, socca.samplers.nautilus, socca.samplers.pocomc):
        module.UnitCube = Watched
    options = ASK[method](n_eff)
    if method == "numpyro":
        options = {"num_samples": n_eff // workers, "num_chains": workers}
    likelihood = Slowed(problem, cost).log_likelihood if cost else problem.log_likelihood
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(open_pool(likelihood, workers))
        warm_up(problem, pool, method)
        if with_start:
            pool.close()
        start = time.perf_counter()
        if with_start:
            pool = stack.enter_context(open_pool(likelihood, workers))
        counted = CountingPool(pool)
        Watched.seconds = 0.0
        draws = get_sampler(method)(**options).run(problem, counted, 1)
        total = time.perf_counter() - start
    reached = draws.n_eff or float(1 / np.sum(np.exp(2 * draws.log_weights)))
    return {
        "total": total,
        "likelihood": counted.seconds,
        "own": Watched.seconds,
        "calls": counted.calls + draws.notes.get("n_gradients", 0),
        "n_eff": reached,
        "logz": draws.logz,
        "logz_err": draws.logz_err,
    }


class Naive:
    """The functions of one point that a user would write, each jitted, and what calling them costs."""

    def __init__(self, problem: Problem) -> None:
        spec, arrays = programs(problem.spec), problem.on_device
        self.ndim, self.seconds, self.calls = problem.ndim, 0.0, 0
        self.truth = truth_of(problem)
        #: Of traced values, for numpyro.
        self.likelihood = lambda theta: spec.one(arrays, theta)
        self.transform = lambda u: transform(problem.spec.model, arrays["model"], u)
        self._likelihood, self._transform = jax.jit(self.likelihood), jax.jit(self.transform)
        self._density = jax.jit(spec.log_posterior)
        self._arrays = arrays

    def log_likelihood(self, theta: np.ndarray) -> float:
        """Return the log-likelihood of one point."""
        return self._timed(lambda: float(self._likelihood(theta)))

    def log_posterior(self, theta: np.ndarray) -> float:
        """Return the log of likelihood times prior density of one point."""
        return self._timed(lambda: float(self._density(self._arrays, theta)))

    def prior_transform(self, u: np.ndarray) -> np.ndarray:
        """Map one point of the unit cube."""
        return np.asarray(self._transform(u))

    def _timed(self, call: Callable[[], float]) -> float:
        start = time.perf_counter()
        found = call()
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return found


def naive(problem: Problem, method: str, n_eff: int) -> dict[str, float]:
    """Run the sampler as its manual shows, on single points."""
    with jax.enable_x64(True):
        given = Naive(problem)
        middle = given.prior_transform(np.full(given.ndim, 0.5))
        given.log_likelihood(middle)
        given.log_posterior(middle)
        given.seconds = given.calls = 0
        start = time.perf_counter()
        found = NAIVE[method](given, n_eff)
        total = time.perf_counter() - start
    return {"total": total, "likelihood": given.seconds, "calls": given.calls, **found}


def _nautilus(given: Naive, n_eff: int) -> dict[str, float]:
    import nautilus

    sampler = nautilus.Sampler(
        given.prior_transform, given.log_likelihood, n_dim=given.ndim, n_live=1000, pass_dict=False, seed=1
    )
    sampler.run(n_eff=n_eff)
    return {"n_eff": sampler.n_eff, "logz": sampler.log_z, "logz_err": sampler.n_eff**-0.5}


def _dynesty(given: Naive, n_eff: int) -> dict[str, float]:
    import dynesty

    sampler = dynesty.NestedSampler(
        given.log_likelihood, given.prior_transform, given.ndim, rstate=np.random.default_rng(1)
    )
    sampler.run_nested(print_progress=False)
    results = sampler.results
    return {"n_eff": sampler.n_effective, "logz": results.logz[-1], "logz_err": results.logzerr[-1]}


def _pocomc(given: Naive, n_eff: int) -> dict[str, float]:
    import pocomc
    from scipy.stats import uniform as flat

    def likelihood(u: np.ndarray) -> float:
        return given.log_likelihood(given.prior_transform(u))

    sampler = pocomc.Sampler(pocomc.Prior([flat(0, 1)] * given.ndim), likelihood, random_state=1)
    sampler.run(n_total=n_eff, progress=False)
    weights = sampler.posterior()[1]
    return {"n_eff": 1 / np.sum((weights / weights.sum()) ** 2), "logz": sampler.logz, "logz_err": sampler.logz_err}


def _emcee(given: Naive, n_eff: int) -> dict[str, float]:
    import emcee

    rng, walkers = np.random.default_rng(1), 32
    # From the middle of the prior it had not converged after 30,000 steps: let it know where the maximum is.
    state = given.truth * (1 + 1e-3 * rng.normal(size=(walkers, given.ndim)))
    sampler = emcee.EnsembleSampler(walkers, given.ndim, given.log_posterior)
    found = 0.0
    while found < n_eff and sampler.iteration < 30_000:
        state = sampler.run_mcmc(state, 500)
        tau = sampler.get_autocorr_time(tol=0).max()
        n = sampler.iteration
        found = (n - 5 * tau) * walkers / tau if n > 50 * tau else 0.0
    if not found:
        raise RuntimeError(f"emcee: not converged after {sampler.iteration} steps")
    return {"n_eff": found, "logz": np.nan, "logz_err": np.nan}


def _numpyro(given: Naive, n_eff: int) -> dict[str, float]:
    from numpyro.diagnostics import effective_sample_size
    from numpyro.infer import MCMC, NUTS

    def potential(z: Any) -> Any:
        """Take the prior's probit as the space without edges, from which numpyro starts anywhere near the middle."""
        return 0.5 * (z**2).sum() - given.likelihood(given.transform(jax.scipy.stats.norm.cdf(z)))

    mcmc = MCMC(NUTS(potential_fn=potential), num_warmup=1000, num_samples=n_eff, progress_bar=False)
    mcmc.run(jax.random.PRNGKey(1), init_params=np.zeros(given.ndim), extra_fields=("num_steps",))
    given.calls = int(mcmc.get_extra_fields()["num_steps"].sum())
    samples = np.asarray(mcmc.get_samples())[None]
    return {"n_eff": float(np.min(effective_sample_size(samples))), "logz": np.nan, "logz_err": np.nan}


NAIVE = {"nautilus": _nautilus, "dynesty": _dynesty, "pocomc": _pocomc, "emcee": _emcee, "numpyro": _numpyro}


def line(method: str, kind: str, found: dict[str, float], reference: float | None = None) -> None:
    """Print one row of the table; the last column is the time relative to the naive one, for as many samples."""
    per_sample = found["total"] / found["n_eff"]
    rest = found["total"] - found["likelihood"] - found.get("own", 0.0)
    relative = "" if reference is None else f"{per_sample / reference:.2f}"
    print(
        f"| {method} | {kind} | {found['total']:.1f} | {found['likelihood']:.1f} | {rest:.1f} | "
        f"{found.get('own', 0.0):.1f} | {found['calls']:,} | {found['n_eff']:,.0f} | "
        f"{found['logz']:.2f} +- {found['logz_err']:.3f} | {1e3 * per_sample:.2f} | {relative} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=list(ASK))
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--n-eff", type=int, default=10_000)
    parser.add_argument("--no-naive", action="store_true")
    parser.add_argument("--cost", type=float, default=0.0, help="milliseconds of a likelihood, at least; not naive")
    parser.add_argument("--with-start", action="store_true", help="time the start of the workers too; not naive")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    problem = galaxy()
    print("| method | | total [s] | likelihood | sampler | own | calls | n_eff | ln Z | ms per n_eff | of naive |")
    print("|" + " --- |" * 11)
    for method in given.methods:
        reference = None
        if not (given.no_naive or given.cost or given.with_start):
            found = naive(problem, method, given.n_eff)
            reference = found["total"] / found["n_eff"]
            line(method, "naive", found)
        for workers in given.workers:
            found = ours(problem, method, given.n_eff, workers, given.cost / 1000, given.with_start)
            line(method, f"{workers} worker{'s' * (workers > 1)}", found, reference)
            if reference is None and (given.cost or given.with_start):
                reference = found["total"] / found["n_eff"]


if __name__ == "__main__":
    main()
