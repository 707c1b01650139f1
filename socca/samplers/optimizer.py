"""Maximum of the posterior from several starts, with a Gaussian around it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from socca.samplers.base import Draws, Sampler
from socca.samplers.options import whole, word
from socca.samplers.search import find_maxima

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint
    from socca.samplers.maximum import Maximum


class Optimizer(Sampler):
    """The maximum from several starts, its covariance, and the Laplace approximation of the evidence.

    What is maximised is the posterior density of the parameters themselves (``objective: map``), or the likelihood
    within the bounds of the prior (``objective: ml``), which has no evidence. The samples are drawn from the Gaussian
    of the inverse Hessian, within the prior; the first of them is the maximum itself. Where the search found another
    maximum whose mass matters, by Laplace's approximation, the run has not converged.
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

    allowed = {  # noqa: RUF012  (never changed)
        "objective": word("map", "ml"),
        **dict.fromkeys(("n_draws", "n_starts", "maxiter", "n_samples"), whole(1)),
    }

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        rng = np.random.default_rng(seed)
        with_prior = self.options["objective"] == "map"
        search = {key: int(self.options[key]) for key in ("n_draws", "n_starts", "maxiter")}
        maxima = find_maxima(problem, pool.evaluate, rng, **search, with_prior=with_prior)
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

    def _draw(self, problem: LogDensity, found: Maximum, rng: np.random.Generator) -> np.ndarray:
        wanted = int(self.options["n_samples"])
        kept = [found.theta[None]]
        for _ in range(50):
            draws = rng.multivariate_normal(found.theta, found.covariance, size=wanted, method="eigh")
            kept.append(draws[np.isfinite(problem.log_prior(draws))])
            if sum(map(len, kept)) > wanted:
                break
        return np.concatenate(kept)[: wanted + 1]
