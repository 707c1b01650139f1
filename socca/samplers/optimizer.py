"""Maximum of the posterior from several starts, with a Gaussian around it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError
from socca.samplers.base import Draws, Sampler, WithoutEffect
from socca.samplers.maxima.search import find_maxima
from socca.samplers.options import FUNCTION, MAPPING, Allowed, number, whole, word

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint
    from socca.samplers.maxima.maximum import Maximum


class Optimizer(Sampler):
    """The maximum from several starts, its covariance, and the Laplace approximation of the evidence.

    What is maximised is the posterior density of the parameters themselves (``objective: map``), or the likelihood
    within the bounds of the prior (``objective: ml``), which has no evidence. The samples are drawn from the Gaussian
    of the inverse Hessian, within the prior; the first of them is the maximum itself. Where the search found another
    maximum whose mass matters, by Laplace's approximation, the run has not converged.

    ``pinits`` are parameters, shape (ndim,) or (n, ndim), from which a search starts besides the other starts;
    ``"median"`` stands for the medians of the priors. ``tol``, ``options`` and ``callback`` are those of
    `scipy.optimize.minimize`, for its method L-BFGS-B; ``callback`` is called with the parameters.
    """

    name = "optimizer"
    parallel = False
    mpi = False
    evidence = False
    resumable = False
    defaults = {  # noqa: RUF012  (never changed)
        "objective": "map",
        "n_draws": 1000,
        "n_starts": 6,
        "maxiter": 300,
        "n_samples": 4000,
    }
    optional = ("pinits", "tol", "options", "callback")
    reserved = frozenset({"progress"})
    instead = {  # noqa: RUF012  (never changed)
        **dict.fromkeys(("bounds", "constraints"), "the priors are the bounds: narrow them"),
        **dict.fromkeys(("num_chains", "n_cores"), "it runs in one process"),
        "args": "what is maximised is the posterior of the model",
    }
    without_effect = {  # noqa: RUF012  (never changed)
        key: WithoutEffect("derivatives are those of the model", as_asked=(None,)) for key in ("jac", "hess", "hessp")
    }

    allowed = {  # noqa: RUF012  (never changed)
        "objective": word("map", "ml"),
        **dict.fromkeys(("n_draws", "n_starts", "maxiter", "n_samples"), whole(1)),
        "tol": number(0) | None,
        "options": MAPPING | None,
        "callback": FUNCTION | None,
        "pinits": Allowed(("list", "text"), words=("median",), blank=True),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        pinits = self.options.get("pinits")
        if pinits is not None and not isinstance(pinits, str):
            self.options["pinits"] = np.asarray(pinits, float).tolist()

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        rng = np.random.default_rng(seed)
        with_prior = self.options["objective"] == "map"
        n_draws, n_starts, maxiter = (int(self.options[key]) for key in ("n_draws", "n_starts", "maxiter"))
        given, tol = self._starts(problem), self.options.get("tol")
        solver = {} if tol is None else {"ftol": float(tol), "gtol": float(tol)}
        solver |= self.options.get("options") or {}
        callback = self.options.get("callback")
        maxima = find_maxima(
            problem, pool.evaluate, rng, n_draws, n_starts, maxiter,
            with_prior=with_prior, given=given, solver=solver, callback=callback,
        )  # fmt: skip
        found = maxima.highest
        samples = self._draw(problem, found, rng)
        _, logdet = np.linalg.slogdet(found.covariance)
        logz = found.log_posterior + 0.5 * problem.ndim * math.log(2 * math.pi) + 0.5 * logdet
        return Draws(
            samples=samples,
            log_weights=np.full(len(samples), -math.log(len(samples))),
            log_likelihood=pool.evaluate(samples),
            logz=float(logz) if found.definite and with_prior else math.nan,
            logz_err=math.nan,
            converged=found.definite and found.converged and maxima.is_single and found is maxima.found[0],
            sampler=found,
            notes={
                "maximum": found.theta.tolist(),
                "covariance": found.covariance.tolist(),
                "starts_at_maximum": found.agreeing,
                "n_gradients": maxima.n_gradients,
                **maxima.notes(),
                "evidence": "Laplace" if with_prior else "none",
            },
        )

    def _starts(self, problem: LogDensity) -> np.ndarray:
        """Return the points of the unit cube that ``pinits`` asks for, shape (n, ndim)."""
        pinits = self.options.get("pinits")
        if pinits is None:
            return np.empty((0, problem.ndim))
        if isinstance(pinits, str):
            return np.full((1, problem.ndim), 0.5)
        theta = np.atleast_2d(pinits)
        if theta.ndim != 2 or theta.shape[1] != problem.ndim:
            raise ConfigError(
                f"optimizer: pinits must have shape ({problem.ndim},) or (n, {problem.ndim}), got {np.shape(pinits)}; "
                f"the parameters are {', '.join(problem.names)}"
            )
        for name, prior, values in zip(problem.names, problem.priors, theta.T, strict=True):
            low, high = prior.support
            if not np.all((values >= low) & (values <= high)):
                raise ConfigError(f"optimizer: pinits of {name} must lie within its prior, {prior!r}; got {values}")
        return np.stack([prior.cdf(values) for prior, values in zip(problem.priors, theta.T, strict=True)], axis=1)

    def _draw(self, problem: LogDensity, found: Maximum, rng: np.random.Generator) -> np.ndarray:
        wanted = int(self.options["n_samples"])
        kept = [found.theta[None]]
        for _ in range(50):
            draws = rng.multivariate_normal(found.theta, found.covariance, size=wanted, method="eigh")
            kept.append(draws[np.isfinite(problem.log_prior(draws))])
            if sum(map(len, kept)) > wanted:
                break
        return np.concatenate(kept)[: wanted + 1]
