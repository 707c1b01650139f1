"""Interface for scripts: an image, a model, and a fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError, nearest
from socca.fitting.plots import FitPlots
from socca.fitting.run import run_fit
from socca.likelihood.problem import Problem
from socca.models.rendered import Rendered
from socca.noise.base import NuisanceParameters
from socca.plotting.model_images import write_model_images
from socca.posterior.pixelwise import median_and_std
from socca.posterior.posterior import Posterior
from socca.utils.launcher import current_rank, root_only

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models import Model
    from socca.pool.base import MapPool
    from socca.posterior.criteria import Elpd

#: What a drawn model can be, of all that the posterior allows.
STATISTICS = ("best", "median", "pixel_median", "pixel_std")


class fitter:  # noqa: N801  (public name)
    """Fit a model to an image.

    Parameters
    ----------
    img : Image
        The data.
    mod : Model
        The model.

    Attributes
    ----------
    posterior : Posterior
        The result of the last run.
    sampler : object
        The back end's own object; None on ranks of MPI other than 0.

    Notes
    -----
    Under ``mpirun`` (or ``srun``) the ranks share each fit, and have the same posterior at its end. What writes or
    draws (`parameters`, `savemodel`, `dump`, `plot`) acts on rank 0 and returns None on the others.

    Examples
    --------
    >>> fit = socca.fitter(img=img, mod=mod)                      # doctest: +SKIP
    >>> fit.run(method="nautilus", seed=1, ncores=4)              # doctest: +SKIP
    >>> print(fit.parameters(), fit.logz)                         # doctest: +SKIP
    """

    def __init__(self, img: Image, mod: Model) -> None:
        self.img = img
        self.mod = mod
        self.sampler: Any = None
        self._posterior: Posterior | None = None
        self._problem: Problem | None = None
        self.plot = FitPlots(self)

    def run(
        self,
        method: str = "nautilus",
        *,
        seed: int = 1,
        ncores: int | None = None,
        pool: int | MapPool | None = None,
        marginalize: bool = False,
        checkpoint: str | Path | None = None,
        resume: bool = True,
        getzprior: bool = False,
        **options: Any,
    ) -> Posterior:
        """Explore the posterior of the image and the model as they are now.

        Parameters
        ----------
        method : str
            ``nautilus``, ``dynesty``, ``pocomc``, ``emcee``, ``numpyro`` or ``optimizer``.
        seed : int
            Of all random numbers.
        ncores, pool : int or pool, optional
            Workers: a number (both names mean the same), or a ready pool.
        marginalize : bool
            Integrate intensities with a normal or uniform prior out of the likelihood: fewer parameters are sampled,
            and those come back in the posterior all the same.
        checkpoint : str or Path, optional
            A file, or an existing folder, that keeps the state of the run as it goes, and once more on SIGTERM.
        resume : bool
            Go on from that file, if it exists, to the result of a run without a break.
        getzprior : bool
            Draw from the prior to find on which share of it the model is possible, `logz_prior`; see
            `socca.fitting.null_evidence.prior_mass`.
        **options : object
            Options of the sampler, such as ``n_live``.

        Returns
        -------
        Posterior
            The result, also kept as `posterior`.

        Raises
        ------
        ConfigError
            If the method or an option is unknown, or the method does not run under MPI.
        ModelError, DataError
            If model or image cannot be used.
        PoolError
            If a worker dies, or ranks of MPI do not find each other or differ in image or model.
        CheckpointError
            If the checkpoint is damaged, or of another fit.
        """
        problem = Problem(self.img, self.mod)
        posterior, draws = run_fit(
            problem,
            self.img,
            method,
            seed=seed,
            getzprior=getzprior,
            ncores=ncores,
            pool=pool,
            marginalize=marginalize,
            checkpoint=checkpoint,
            resume=resume,
            **options,
        )
        self._problem, self._posterior, self.sampler = problem, posterior, draws.sampler
        return posterior

    @property
    def rank(self) -> int:
        """The rank of this process if the last run was shared by ranks of MPI, else 0."""
        return current_rank() if self._posterior is not None and self._posterior.record.sampler.pool == "mpi" else 0

    @property
    def problem(self) -> Problem:
        """The compiled problem of the last run; before any, that of image and model as they are now."""
        return self._problem if self._problem is not None else Problem(self.img, self.mod)

    @property
    def posterior(self) -> Posterior:
        """The result of the last run."""
        if self._posterior is None:
            raise PosteriorError("nothing was fitted yet: call run() first")
        return self._posterior

    @property
    def samples(self) -> np.ndarray:
        """Weighted samples, shape (n, ndim)."""
        return self.posterior.samples

    @property
    def weights(self) -> np.ndarray:
        """Their weights, which sum to one, shape (n,)."""
        return self.posterior.weights

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
        """Names of the free parameters."""
        return self.posterior.labels

    @property
    def units(self) -> list[str]:
        """Their units."""
        return self.posterior.units

    @root_only
    def parameters(self) -> str:
        """Return a table of the posterior: median, both errors, and the best sample, one parameter a line."""
        return self.posterior.parameters()

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

    def _statistic(self, usebest: bool, statistic: str | None) -> str:
        chosen = statistic or ("best" if usebest else "median")
        if chosen not in STATISTICS:
            raise ValueError(f"statistic: there is no {chosen!r}{nearest(chosen, STATISTICS)}")
        return chosen

    def _rows(self, n_draws: int, seed: int) -> np.ndarray:
        return self.posterior.equal_weights(n_draws, np.random.default_rng([int(seed), 5]))

    def getmodel(
        self,
        what: str = "all",
        component: str | list[str] | None = None,
        usebest: bool = True,
        img: Image | None = None,
        doresp: bool = False,
        doexp: bool = False,
        *,
        statistic: str | None = None,
        n_draws: int = 200,
        seed: int = 1,
    ) -> Rendered | np.ndarray:
        """Draw the fitted model.

        Parameters
        ----------
        what : {'all', 'raw', 'smoothed', 'background', 'total'}
            All parts, or one of them; ``total`` is smoothed and background together.
        component : str or list of str, optional
            Only these.
        usebest : bool
            At the best sample, otherwise at the median of each parameter.
        img : Image, optional
            Draw on the frame of another image, with its PSF; by default on that of the fit.
        doresp, doexp : bool
            Multiply by the response, and by the exposure, of the image.
        statistic : {'best', 'median', 'pixel_median', 'pixel_std'}, optional
            In the place of `usebest`: at the best sample; at the median of each parameter; or, over images of
            many samples, the median or the standard deviation of each pixel.
        n_draws, seed : int
            For these: how many samples of equal weight are drawn from the posterior, and the seed of that.

        Returns
        -------
        Rendered or ndarray, shape (ny, nx)
            ``(raw, smoothed, background, negative)``, or the part that was asked for. A median of the total is not
            the sum of those of the parts.

        Raises
        ------
        ValueError
            If `what` or `statistic` is none of these.
        """
        parts = ("raw", "smoothed", "background")
        if what not in ("all", "total", *parts):
            raise ValueError(f"what must be one of all, {', '.join(parts)}, total; got {what!r}")
        chosen = self._statistic(usebest, statistic)
        # The noise has no part in it, but its parameters may be free, and others tied to them.
        problem = (
            self.problem
            if img is None
            else Problem(img, self.mod, noise=NuisanceParameters(self.img.noise), to_fit=False)
        )
        only = self.mod.select(component)
        if chosen in ("best", "median"):
            theta = self.posterior.best if chosen == "best" else self.posterior.median()
            drawn = problem.render(theta, only, response=doresp, exposure=doexp)
            return drawn if what == "all" else getattr(drawn, what)
        wanted = parts if what == "all" else (what,)
        found = median_and_std(problem, self._rows(n_draws, seed), wanted, only, response=doresp, exposure=doexp)
        planes = found[0] if chosen == "pixel_median" else found[1]
        return Rendered(planes[0], planes[1], planes[2], False) if what == "all" else planes[0]

    @root_only
    def savemodel(
        self,
        name: str | Path,
        usebest: bool = True,
        *,
        statistic: str | None = None,
        n_draws: int = 200,
        seed: int = 1,
    ) -> None:
        """Write data, model, residual, noise, mask and components to a FITS file.

        Parameters
        ----------
        name : str or Path
            The file.
        usebest : bool
            At the best sample, otherwise at the median of each parameter.
        statistic : {'best', 'median', 'pixel_median'}, optional
            In the place of `usebest`. ``pixel_median``: the median of each pixel, of model and components; the
            standard deviation of the model is in the file too, as ``MODEL_STD``.
        n_draws, seed : int
            See `getmodel`.

        Raises
        ------
        ValueError
            If `statistic` is none of these.
        """
        chosen = self._statistic(usebest, statistic)
        if chosen == "pixel_std":
            raise ValueError("statistic: pixel_median writes the standard deviation too, as MODEL_STD")
        rows = self._rows(n_draws, seed) if chosen == "pixel_median" else None
        theta = self.posterior.median() if chosen == "median" else self.posterior.best
        header = {"STATUS": "done", "LOGZ": self.logz}
        write_model_images(name, self.problem, self.img, self.mod, theta, header, rows)

    @root_only
    def dump(self, name: str | Path) -> None:
        """Write the result to an HDF5 file, which `socca.load` reads."""
        self.posterior.save(name)


def load(name: str | Path, target: str | None = None) -> Posterior:
    """Read a result that `fitter.dump` or the workflow wrote.

    Parameters
    ----------
    name : str or Path
        An HDF5 file.
    target : str, optional
        Whose posterior, where the file holds those of many targets.

    Returns
    -------
    Posterior
        Samples, weights, evidence and how they came about.

    Raises
    ------
    PosteriorError
        If it cannot be read, or records a failed fit.
    """
    return Posterior.load(name, target)
