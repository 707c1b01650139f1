"""Hamiltonian Monte Carlo without U-turns: the kernel of numpyro (Phan et al. 2019; Hoffman & Gelman 2014)."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.errors import ConfigError
from socca.samplers.base import Draws, Sampler, WithoutEffect
from socca.samplers.coordinates.unconstrained import UnconstrainedSpace, to_parameters
from socca.samplers.cube.repartitioning_check import quick_maxima
from socca.samplers.options import LIST, TRUTH, number, whole

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint
    from socca.samplers.maxima.search import Maxima

#: Draws between two returns of a chain to this process.
_CHUNK = 100
#: What a converged run reaches (Vehtari et al. 2021, Bayesian Anal. 16, 667).
_RHAT, _MIN_EFF = 1.01, 400.0


class Numpyro(Sampler):
    """Samples of the posterior by chains that follow its gradient (NUTS); no evidence.

    Chains run in a space without edges, whose axes are those of the Gaussian at the maximum, where they start. Each
    worker of the pool runs whole chains: ``num_chains`` of them, by default one per worker. They stay at the maximum
    with the most mass: where the search before the run found another one that matters, the run has not converged.
    """

    name = "numpyro"
    mpi = False
    evidence = False
    requires = ("numpyro", "jax", "jaxlib", "numpy")
    defaults = {"num_warmup": 300, "num_samples": 1000, "num_chains": None}  # noqa: RUF012  (never changed)
    allowed = {  # noqa: RUF012  (never changed)
        "num_warmup": whole(1),
        "num_samples": whole(4),
        "num_chains": whole(1) | None,
        "step_size": number(above=0),
        "dense_mass": TRUTH | LIST,
        "target_accept_prob": number(above=0, most=1),
        "max_tree_depth": whole(1) | LIST,
    }
    reserved = frozenset(
        {
            *("model", "potential_fn", "kinetic_fn", "inverse_mass_matrix", "trajectory_length", "init_strategy"),
            *("forward_mode_differentiation", "sampler", "postprocess_fn", "chain_method", "progress_bar"),
            *("progress_rate", "jit_model_args"),
        }
    )
    instead = {  # noqa: RUF012  (never changed)
        "inverse_mass_matrix": "the Gaussian at the maximum is round in the coordinates of the chains, and numpyro "
        "adapts the matrix from there (adapt_mass_matrix, dense_mass)",
    }
    aliases = {  # noqa: RUF012  (never changed)
        **{"nwarmup": "num_warmup", "n_warmup": "num_warmup", "nsamples": "num_samples", "n_samples": "num_samples"},
        "progress_bar": "progress",
    }
    without_effect = {  # noqa: RUF012  (never changed)
        "chain_method": WithoutEffect("chains run side by side, one per worker (ncores)", as_asked=("parallel",)),
        "init_strategy": WithoutEffect("chains start at the maximum of the posterior"),
        "jit_model_args": WithoutEffect("problems of one structure share compiled programs", as_asked=(False,)),
        "progress_rate": WithoutEffect("messages come at growing intervals", as_asked=(None,)),
    }

    @classmethod
    def signatures(cls) -> tuple[Callable[..., Any], ...]:
        """Return the constructors of the kernel and of the run of chains."""
        from numpyro.infer import MCMC, NUTS

        return NUTS.__init__, MCMC.__init__

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        from numpyro.infer import NUTS

        n_chains = int(self.options["num_chains"] or pool.size)
        warmup, wanted = int(self.options["num_warmup"]), int(self.options["num_samples"])
        thinning = int(self.options.get("thinning", 1))
        if not 1 <= thinning <= wanted // 4:
            raise ConfigError(f"numpyro: thinning must lie between 1 and num_samples / 4, got {thinning}")
        maxima = quick_maxima(problem, pool, seed, checkpoint)
        space = UnconstrainedSpace.around(problem, maxima.found[0])
        settings = tuple(sorted(self.arguments(NUTS.__init__).items()))
        chains = [_Chain(problem, space, settings, warmup, seed, k) for k in range(n_chains)]
        records: list[dict[str, np.ndarray]] = [{} for _ in chains]
        done = 0
        if checkpoint.state is not None:
            done = int(checkpoint.state["done"])
            chains = [dataclasses.replace(one, leaves=_part(checkpoint.state, f"leaf_{one.number}")) for one in chains]
            records = [_part(checkpoint.state, f"record_{one.number}") for one in chains]

        def state() -> dict[str, Any]:
            found = {**maxima.arrays(), "done": done}
            for one, record in zip(chains, records, strict=True):
                found |= {f"leaf_{one.number}.{key}": value for key, value in (one.leaves or {}).items()}
                found |= {f"record_{one.number}.{key}": value for key, value in record.items()}
            return found

        progress = self.progress_logger()
        while done < warmup + wanted:
            count = min(_CHUNK, warmup + wanted - done)
            advanced = pool.map(_advance, [(one, count) for one in chains])
            chains = [
                dataclasses.replace(one, leaves=leaves) for one, (leaves, _) in zip(chains, advanced, strict=True)
            ]
            records = [_joined(old, new) for old, (_, new) in zip(records, advanced, strict=True)]
            done += count
            checkpoint.offer(state)
            if progress.due():
                progress.log(f"{done} of {warmup + wanted} draws in each of {n_chains} chains")
        checkpoint.offer(state, last=True)
        joined = {key: np.stack([record[key] for record in records]) for key in records[0]}
        return self._draws(problem, space, maxima, slice(warmup, None, thinning), joined)

    def _draws(
        self,
        problem: LogDensity,
        space: UnconstrainedSpace,
        maxima: Maxima,
        kept: slice,
        records: dict[str, np.ndarray],
    ) -> Draws:
        """Gather the `kept` draws of all chains; `records` have shape (chains, draws, ...), warm-up included."""
        from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

        n_steps = int(records["n_steps"].sum())
        records = {key: value[:, kept] for key, value in records.items()}
        y = records["y"].reshape(-1, problem.ndim)
        samples, log_slope = space.to_parameters(y)
        log_prior = problem.log_prior(samples)
        with np.errstate(all="ignore"):  # a chain that never moved has no R-hat
            rhat = np.atleast_1d(split_gelman_rubin(records["y"]))
            n_eff = np.atleast_1d(effective_sample_size(records["y"]))
        divergent = int(records["diverging"].sum())
        lowest = float(np.nan_to_num(n_eff, nan=1.0).min())
        return Draws(
            samples=samples,
            log_weights=np.full(len(y), -math.log(len(y))),
            log_likelihood=-records["potential"].ravel() - log_prior - log_slope,
            logz=math.nan,
            logz_err=math.nan,
            converged=bool(
                np.all(rhat < _RHAT) and lowest > _MIN_EFF and divergent < 0.01 * len(y) and maxima.is_single
            ),
            sampler=records,
            n_eff=min(lowest, float(len(y))),
            notes={
                "chains": len(records["y"]),
                "rhat": [_number(value) for value in rhat],
                "ess": [_number(value) for value in n_eff],
                "divergences": divergent,
                **maxima.notes(),
                "n_gradients": maxima.n_gradients + n_steps,
            },
        )


@dataclasses.dataclass(frozen=True)
class _Chain:
    """State of a chain; it travels to a worker and back.

    Parameters
    ----------
    problem : LogDensity
        What is explored.
    space : UnconstrainedSpace
        Where.
    settings : tuple of (str, object)
        Of the kernel.
    warmup : int
        Draws during which it adapts.
    seed, number : int
        The chain's own random numbers are those of both.
    leaves : dict of ndarray, optional
        The kernel's state; None before the first draw.
    """

    problem: LogDensity
    space: UnconstrainedSpace
    settings: tuple[tuple[str, Any], ...]
    warmup: int
    seed: int
    number: int
    leaves: dict[str, np.ndarray] | None = None


def _advance(job: tuple[_Chain, int]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Advance a chain by some draws: return its state, and a record of the draws."""
    chain, count = job
    with jax.enable_x64(True):
        function, arrays = chain.problem.traced()
        data = (arrays, tuple(map(jnp.asarray, chain.space.arrays)))
        begin, advance = _programs(function, chain.space.kinds, chain.settings, chain.warmup)
        key = jax.random.fold_in(jax.random.PRNGKey(chain.seed), chain.number)
        # Tracing the start also tells numpyro's kernel its settings, which it keeps to itself.
        form: Any = jax.tree.structure(jax.eval_shape(begin, data, key))
        if chain.leaves is None:
            state = jax.jit(begin)(data, key)
        else:
            state = jax.tree.unflatten(form, [jnp.asarray(chain.leaves[str(i)]) for i in range(form.num_leaves)])
        state, record = advance(data, state, count)
        leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        return leaves, {key: np.asarray(value)[:count] for key, value in record.items()}


@functools.lru_cache(maxsize=64)
def _programs(function: Any, kinds: tuple[str, ...], settings: tuple[tuple[str, Any], ...], warmup: int) -> Any:
    """Return the functions that start and advance a chain, shared by all problems of one structure."""
    from numpyro.infer.hmc import hmc

    def potential(data: Any) -> Callable[[Any], Any]:
        def at(y: Any) -> Any:
            theta, log_slope = to_parameters(kinds, data[1], y)
            return -(function(data[0], theta) + log_slope)

        return at

    init, step = hmc(potential_fn_gen=potential, algo="NUTS")

    def begin(data: Any, key: Any) -> Any:
        return init(jnp.zeros(len(kinds)), num_warmup=warmup, model_args=(data,), rng_key=key, **dict(settings))

    def advance(data: Any, state: Any, count: Any) -> Any:
        def look(state: Any) -> dict[str, Any]:
            return {
                "y": state.z,
                "potential": state.potential_energy,
                "diverging": state.diverging,
                "n_steps": state.num_steps,
            }

        def on(i: Any, carried: Any) -> Any:
            state, record = carried
            state = step(state, (data,), {})
            return state, jax.tree.map(lambda rows, row: rows.at[i].set(row), record, look(state))

        record = jax.tree.map(lambda x: jnp.zeros((_CHUNK, *x.shape), x.dtype), look(state))
        return jax.lax.fori_loop(0, count, on, (state, record))

    return begin, jax.jit(advance)


def _part(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _joined(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([old[key], value]) if old else value for key, value in new.items()}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
