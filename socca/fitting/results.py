"""What a fit gave, for scripts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError
from socca.fitting.assigned import checked_samples, checked_weights, posterior_with
from socca.likelihood.problem import Problem
from socca.utils.launcher import current_rank, root_only

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models import Model
    from socca.posterior.criteria import Elpd
    from socca.posterior.posterior import Posterior


class FitResults:
    """Image, model, and the result of their last fit; see `socca.fitter`.

    Parameters
    ----------
    img : Image
        The data.
    mod : Model
        The model.
    """

    def __init__(self, img: Image, mod: Model) -> None:
        self.img = img
        self.mod = mod
        self.sampler: Any = None
        self.sampler_prior = None
        self.history: Mapping[str, np.ndarray] = {}
        self._posterior: Posterior | None = None
        self._problem: Problem | None = None
        self._assigned: dict[str, np.ndarray] = {}
        self._pool_rank: int | None = None
        self._missing = ""

    @property
    def rank(self) -> int:
        """The rank of this process if the last run was shared by ranks of MPI, else 0."""
        if self._pool_rank is not None:
            return self._pool_rank
        return current_rank() if self._posterior is not None and self._posterior.record.sampler.pool == "mpi" else 0

    @property
    def problem(self) -> Problem:
        """The compiled problem of the last run; before any, that of image and model as they are now."""
        if self.mod is None:
            raise PosteriorError(self._missing)
        if self._problem is None and self._posterior is not None:
            self._problem = Problem(self.img, self.mod)  # of a fit that was loaded
        return self._problem if self._problem is not None else Problem(self.img, self.mod)

    @property
    def posterior(self) -> Posterior:
        """The result of the last run, with the samples and weights that were assigned since."""
        if self._posterior is None:
            raise PosteriorError("nothing was fitted yet: call run() first")
        if self._assigned:
            self._posterior = posterior_with(self.problem, self._posterior, self.samples, self.weights)
            self._assigned = {}
        return self._posterior

    @property
    def method(self) -> str | None:
        """The method of the last run; None before any."""
        return None if self._posterior is None else self._posterior.record.sampler.method

    @property
    def mask(self) -> np.ndarray:
        """Which pixels are used: 1, and 0 for the others; shape (ny, nx)."""
        return self._image().mask

    @property
    def results(self) -> Any:
        """The result by the names that scipy and dynesty use, as a dict with attributes.

        ``samples, logwt, logl, logz, logzerr``; of the best sample ``x`` and ``fun``, minus the log posterior density;
        and ``success``, whether the run converged.
        """
        from scipy.optimize import OptimizeResult

        found = self.posterior
        best = found.best_index
        return OptimizeResult(
            samples=found.samples,
            logwt=found.log_weights,
            logl=found.log_likelihood,
            logz=found.logz,
            logzerr=found.logz_err,
            x=found.best,
            fun=-float(found.log_likelihood[best] + found.log_prior[best]),
            success=bool(found.record.sampler.converged),
        )

    @property
    def samples(self) -> np.ndarray:
        """Weighted samples, shape (n, ndim). May be assigned to, together with `weights` if their number changes."""
        return self._assigned["samples"] if "samples" in self._assigned else self._result().samples

    @samples.setter
    def samples(self, value: Any) -> None:
        self._assigned["samples"] = checked_samples(value, len(self._result().names))

    @property
    def weights(self) -> np.ndarray:
        """Their weights, which sum to one, shape (n,). May be assigned to."""
        return self._assigned["weights"] if "weights" in self._assigned else self._result().weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self._result()
        self._assigned["weights"] = checked_weights(value)

    def _result(self) -> Posterior:
        """Return the posterior without what was assigned."""
        if self._posterior is None:
            raise PosteriorError("nothing was fitted yet: call run() first")
        return self._posterior

    def _image(self) -> Image:
        if self.img is None:
            raise PosteriorError(self._missing)
        return self.img

    @property
    def tau(self) -> np.ndarray:
        """Autocorrelation time of each parameter, in steps, shape (ndim,); of emcee alone."""
        return self._times()[-1]

    @property
    def tau_history(self) -> np.ndarray:
        """These times as they were estimated during the run, shape (n, ndim); `history` has the steps too."""
        return self._times()

    def __getattr__(self, name: str) -> Any:
        """Return what else the posterior has, such as `summary` or `derived`."""
        if name.startswith("_") or self.__dict__.get("_posterior") is None or not hasattr(self.posterior, name):
            more = "; only fits by method='emcee' have it" if name in ("tau", "tau_history") else ""
            raise AttributeError(f"neither the fit nor its posterior has {name!r}{more}")
        return getattr(self.posterior, name)

    def _times(self) -> np.ndarray:
        looks = self.history.get("autocorrelation_time")
        if looks is None:
            raise AttributeError("only fits by method='emcee' have autocorrelation times")
        return looks[:, 1:]

    @property
    def logw(self) -> np.ndarray:
        """Logarithm of the weights, shape (n,)."""
        return self.posterior.log_weights

    @property
    def logz(self) -> float:
        """Log-evidence."""
        return self.posterior.logz

    @property
    def logz_err(self) -> float:
        """Standard error of the log-evidence."""
        return self.posterior.logz_err

    @property
    def logz_prior(self) -> float:
        """Log of the share of the prior on which the model is possible; NaN unless run with ``getzprior=True``."""
        return self.posterior.logz_prior

    @property
    def logz_data(self) -> float:
        """Log-evidence of the null model: noise only, without any source or background."""
        return self.posterior.logz_data

    @property
    def labels(self) -> list[str]:
        """Names of the free parameters; before a run, of those that the model has now."""
        return self.problem.labels if self._posterior is None else self._posterior.labels

    @property
    def units(self) -> list[str]:
        """Their units."""
        return self.problem.units if self._posterior is None else self._posterior.units

    @root_only
    def parameters(self) -> None:
        """Print a table of the posterior: median, both errors, and the best sample, one parameter a line.

        `Posterior.parameters` returns it.
        """
        sys.stdout.write(self.posterior.parameters() + "\n")

    @root_only
    def bmc(self, verbose: bool = True) -> tuple[float, float, float, float]:
        """Compare the model with the null model; see `socca.Posterior.bmc`."""
        return self.posterior.bmc(verbose)

    def aic(self) -> float:
        """Return Akaike's information criterion; see `socca.posterior.criteria.aic`."""
        return self.posterior.aic()

    def bic(self) -> float:
        """Return Schwarz's information criterion; see `socca.posterior.criteria.bic`."""
        return self.posterior.bic()

    def waic(self, *, n_draws: int = 1000, seed: int = 1) -> Elpd:
        """Return the widely applicable information criterion; see `socca.posterior.criteria.waic`."""
        from socca.posterior.criteria import waic

        return waic(self.problem, self.posterior, n_draws=n_draws, seed=seed)

    def loo(self, *, n_draws: int = 1000, seed: int = 1) -> Elpd:
        """Return the leave-one-out predictive density; see `socca.posterior.criteria.loo`."""
        from socca.posterior.criteria import loo

        return loo(self.problem, self.posterior, n_draws=n_draws, seed=seed)
