"""Evidence of the null model (noise only), and the share of the prior on which a model is possible."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.errors import ConfigError
from socca.likelihood.compiled import ProblemSpec, in_batches, looped
from socca.likelihood.parameter_vector import all_values
from socca.models.rendered import Rendered

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.posterior.protocols import WeightedSamples

log = logging.getLogger(__name__)

#: Draws from the prior of which `prior_mass` tells how many are possible: 0.03 in ln Z where a fifth of them is.
N_DRAWS = 4096
#: Points per axis on which the peak of an integrand is looked for, and of the Gauss-Legendre rule around it.
_SCAN, _NODES = 32, 48
#: What lies this far below the peak, in logarithm, is left out of the rule: exp(-25) of it.
_DROP = 25.0
#: Most noise parameters that are integrated over a grid.
_MOST_AXES = 2


def add_evidences(posterior: WeightedSamples, problem: Problem, *, getzprior: bool = False, seed: int = 1) -> None:
    """Give a posterior what its evidence is compared with.

    Parameters
    ----------
    posterior : Posterior
        Gets `logz_data` and, if asked for, `logz_prior` and `logz_prior_err`; its record gets `n_data`.
    problem : Problem
        What was fitted.
    getzprior : bool
        Whether to draw from the prior, which costs `N_DRAWS` likelihoods.
    seed : int
        Of these draws.
    """
    posterior.record = replace(posterior.record, n_data=problem.n_data)
    posterior.logz_data = null_evidence(problem)
    if getzprior:
        posterior.logz_prior, posterior.logz_prior_err = prior_mass(problem, seed)


def prior_mass(problem: Problem, seed: int, n: int = N_DRAWS) -> tuple[float, float]:
    """Return the log of the share of the prior on which the model is possible, and its standard error.

    A model is impossible, and its log-likelihood -inf, where a component that must be positive is not, or a parameter
    leaves the range in which its component is defined. Priors are normalised, so that this share is the integral of the
    prior over what is left, the evidence of the prior alone.

    Parameters
    ----------
    problem : Problem
        Its prior and likelihood.
    seed : int
        Of the draws.
    n : int
        Draws from the prior.

    Returns
    -------
    logz_prior : float
        ``ln(k / n)``, with k possible ones; NaN, with a warning, if there is none.
    error : float
        Standard deviation of the logarithm of a share that has the Beta(k + 1/2, n - k + 1/2) distribution, which
        Jeffreys' prior makes of k out of n; not zero if all are possible.
    """
    from scipy.special import polygamma

    if n < 1:
        raise ConfigError(f"n must be at least 1, got {n}")
    u = np.random.default_rng([int(seed), 2]).random((n, problem.ndim))
    k = int(np.sum(problem.log_likelihood(problem.prior_transform(u)) > -np.inf))
    if k == 0:
        log.warning(
            "none of %d draws from the prior is possible: logz_prior is not known, and below %.1f", n, -math.log(n)
        )
        return math.nan, math.nan
    variance = polygamma(1, k + 0.5) - polygamma(1, n + 1)
    return math.log(k / n), math.sqrt(float(variance))


def null_evidence(problem: Problem) -> float:
    """Return the log-evidence of the null model: noise only, without any source or background.

    Parameters
    ----------
    problem : Problem
        Its data and noise.

    Returns
    -------
    float
        The log-likelihood of a model image of zeros; -inf where that is impossible, as for photons (`Poisson`) where
        none are expected. Free noise parameters are integrated over their priors, by quadrature; NaN, with a warning,
        if they are more than two.
    """
    with jax.enable_x64(True):
        spec = problem.spec
        axes = _axes(spec)
        if len(axes) > _MOST_AXES:
            log.warning("the noise depends on %d free parameters: no evidence of the null model", len(axes))
            return math.nan

        def log_likelihood(u: np.ndarray) -> np.ndarray:
            cube = np.full((len(u), problem.ndim), 0.5)
            cube[:, axes] = u
            program = functools.partial(_null_program(spec), problem.on_device)
            return np.asarray(in_batches(program, problem.prior_transform(cube), problem.ndim, "null_evidence"))

        return float(log_integral(log_likelihood, len(axes))[0])


@functools.lru_cache(maxsize=256)
def _null_program(spec: ProblemSpec) -> Any:
    """Return the compiled log-likelihood of a model image of zeros."""

    def one(arrays: dict[str, Any], theta: Any) -> Any:
        values = all_values(spec.model, arrays["model"], theta)
        own = {name: values[f"noise_{name}"] for name, _ in spec.noise.fields}
        zero = jnp.zeros(spec.scene.grid.image)
        drawn = Rendered(zero, zero, zero, jnp.asarray(False))
        found = spec.noise.kind.log_likelihood(drawn, arrays["noise"], own, spec.noise)
        possible = ~jnp.isnan(found)
        for name, field in spec.noise.fields:
            possible = possible & (own[name] >= field.lower) & (own[name] <= field.upper)
        return jnp.where(possible, found, -jnp.inf)

    return looped(one)


def _axes(spec: ProblemSpec) -> list[int]:
    """Return the positions of the free parameters on which the noise depends, directly or by ties."""
    model = spec.model
    ties = {model.names[index]: [full for _, full in meant] for index, meant, _ in model.tied}
    needed, waiting = set(), [f"noise_{name}" for name, _ in spec.noise.fields]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += ties.get(name, [])
    return [k for k, index in enumerate(model.free) if model.names[index] in needed]


def log_integral(log_f: Callable[[np.ndarray], np.ndarray], ndim: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Integrate a function with one peak over the unit cube, axis within axis.

    On each axis the box is narrowed to the peak, and a Gauss-Legendre rule taken there: a ridge in two dimensions, as
    two noise levels that add up make it, is found on each line across it. Right to 1e-6 for one axis; for two, to 1e-4,
    or 0.05 for a ridge of a thousandth of the axes' length that is somewhere parallel to the second.

    Parameters
    ----------
    log_f : callable
        From points, shape (n, ndim), to the log of the function, shape (n,).
    ndim : int
        Axes.
    rows : ndarray, shape (m, k), optional
        Values of the first k axes; the integral is that over the others.

    Returns
    -------
    ndarray, shape (m,)
        Log of the integral; without `rows`, m is one.
    """
    rows = np.empty((1, 0)) if rows is None else rows
    if rows.shape[1] == ndim:
        return log_f(rows)

    def along(x: np.ndarray) -> np.ndarray:
        """Return the function at values of the next axis, shape (m, j) to (m, j)."""
        points = np.concatenate([np.repeat(rows, x.shape[1], axis=0), x.reshape(-1, 1)], axis=1)
        return log_integral(log_f, ndim, points).reshape(x.shape)

    low, high = np.zeros(len(rows)), np.ones(len(rows))
    for _ in range(30):
        step = (high - low) / _SCAN
        x = low[:, None] + step[:, None] * (np.arange(_SCAN) + 0.5)
        values = along(x)
        near = values >= values.max(1, keepdims=True) - _DROP
        first = np.maximum(low, np.where(near, x, np.inf).min(1) - step)
        last = np.minimum(high, np.where(near, x, -np.inf).max(1) + step)
        shrunk = (last - first) / (high - low)
        low, high = first, last
        if np.all(shrunk > 0.8):
            break
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = (high - low)[:, None] / 2
    values = along(low[:, None] + half * (nodes + 1)) + np.log(weights * half)
    return np.logaddexp.reduce(values, axis=1)
