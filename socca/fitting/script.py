"""Interface for scripts: an image, a model, and a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError
from socca.fitting.model_maps import FittedMaps, Statistic, draw_maps, names_of, parts_of
from socca.fitting.plots import FitPlots
from socca.fitting.results import FitResults
from socca.fitting.run import run_fit
from socca.likelihood.problem import Problem
from socca.noise.base import NuisanceParameters
from socca.plotting.image_record import write_planes
from socca.plotting.model_images import draw_model_images, plane_header_of
from socca.samplers import get_sampler
from socca.utils.launcher import root_only

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models import Model
    from socca.pool.base import MapPool
    from socca.posterior.posterior import Posterior

#: Endings of FITS files; another name gets the first of them.
_FITS = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fts")


class fitter(FitResults):  # noqa: N801  (public name)
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
    method : str or None
        Its method; None before a run.
    sampler : object
        The back end's own object; None on ranks of MPI other than 0.
    sampler_prior : None
        No sampler explores the prior: `logz_prior` is found by draws from it.
    history : dict of ndarray
        What changed during the run; of emcee ``autocorrelation_time``, rows of steps and times.

    Notes
    -----
    Under ``mpirun`` (or ``srun``) the ranks share each fit, and have the same posterior at its end. What writes, prints
    or draws (`parameters`, `savemodel`, `dump`, `bmc`, `plot`) acts on rank 0 and returns None on the others.

    Examples
    --------
    >>> fit = socca.fitter(img=img, mod=mod)                      # doctest: +SKIP
    >>> fit.run(method="nautilus", seed=1, ncores=4)              # doctest: +SKIP
    >>> fit.parameters()                                          # doctest: +SKIP
    """

    def __init__(self, img: Image, mod: Model) -> None:
        super().__init__(img, mod)
        self.plot = FitPlots(self)

    def run(
        self,
        method: str = "nautilus",
        checkpoint: str | Path | None = None,
        resume: bool = True,
        getzprior: bool = False,
        *,
        seed: int = 1,
        ncores: int | None = None,
        n_cores: int | None = None,
        pool: int | MapPool | None = None,
        marginalize: bool = False,
        **options: Any,
    ) -> Posterior:
        """Explore the posterior of the image and the model as they are now.

        Parameters
        ----------
        method : str
            ``nautilus``, ``dynesty``, ``pocomc``, ``emcee``, ``numpyro`` or ``optimizer``.
        checkpoint : str or Path, optional
            A file, or an existing folder, that keeps the state of the run as it goes, and once more on SIGTERM.
        resume : bool
            Go on from that file, if it exists, to the result of a run without a break.
        getzprior : bool
            Draw from the prior to find on which share of it the model is possible, `logz_prior`; see
            `socca.fitting.null_evidence.prior_mass`.
        seed : int
            Of all random numbers.
        ncores, n_cores, pool : int or pool, optional
            Workers: a number (all names mean the same), or a ready pool.
        marginalize : bool
            Integrate intensities with a normal or uniform prior out of the likelihood: fewer parameters are sampled,
            and those come back in the posterior all the same.
        **options : object
            Options of the sampler, such as ``n_live``.

        Returns
        -------
        Posterior
            The result, also kept as `posterior`.

        Raises
        ------
        ConfigError
            If the method or an option is unknown, the method does not run under MPI or on several cores, or workers are
            given by two names.
        ModelError, DataError
            If model or image cannot be used.
        PoolError
            If a worker dies, or ranks of MPI do not find each other or differ in image or model.
        CheckpointError
            If the checkpoint is damaged, or of another fit.
        """
        if n_cores is not None:
            if ncores is not None:
                raise ConfigError("give ncores or n_cores, not both: they mean the same")
            ncores = n_cores
        if not get_sampler(method).parallel and (ncores is not None or isinstance(pool, int | np.integer)):
            raise ConfigError(f"{method} runs in one process: leave out ncores and pool")
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
        self._assigned, self.history = {}, draws.history
        self._pool_rank = getattr(pool, "rank", None)
        return posterior

    @classmethod
    def restored(
        cls,
        posterior: Posterior,
        img: Image | None,
        mod: Model | None,
        history: Mapping[str, np.ndarray],
        rank: int,
        missing: str = "",
    ) -> fitter:
        """Return a fit that was run before; see `load`.

        Parameters
        ----------
        posterior : Posterior
            Its result.
        img, mod : Image, Model, optional
            What was fitted.
        history : mapping of str to ndarray
            See `history`.
        rank : int
            The rank of this process.
        missing : str
            Why there is no image and model.

        Returns
        -------
        fitter
            The fit.
        """
        fit = cls(img, mod)  # type: ignore[arg-type]
        fit._posterior, fit.history, fit._pool_rank, fit._missing = posterior, history, rank, missing
        return fit

    def getmodel(
        self,
        what: str | Sequence[str] = "all",
        component: Any = None,
        usebest: bool = True,
        img: Image | None = None,
        doresp: bool = False,
        doexp: bool = False,
        *,
        statistic: str | None = None,
        n_draws: int = 200,
        seed: int = 1,
    ) -> FittedMaps | np.ndarray | list[np.ndarray]:
        """Draw the fitted model.

        Parameters
        ----------
        what : str or list of str
            ``all`` maps, or some: ``raw``; ``smoothed`` (also ``smo, smooth, conv, convolved, total``), the background
            included; ``background`` (``bkg``); ``sources``, which is ``smoothed`` without the background.
        component : str, int, Component or list of these, optional
            Only these: by id or label, by number in the order of the model, or the component itself.
        usebest : bool
            At the weighted median of each parameter; otherwise the median of each pixel over samples.
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
        FittedMaps, ndarray of shape (ny, nx), or list of ndarray
            ``(raw, smoothed, background)``, the map that was asked for, or a list of them. A median of ``smoothed`` is
            not the sum of those of its parts.

        Raises
        ------
        ConfigError
            If `what` or `statistic` is none of these.
        ModelError
            If there is no such component.
        PosteriorError
            If nothing was fitted, or a loaded fit has no model.
        """
        parts = parts_of(what)
        chosen = Statistic.chosen(usebest, statistic, n_draws, seed)
        problem = self.problem
        if img is not None:
            # The noise has no part in it, but its parameters may be free, and others tied to them.
            problem = Problem(img, self.mod, noise=NuisanceParameters(self.img.noise), to_fit=False)
        maps = draw_maps(problem, self.posterior, parts, chosen, self.mod.select(component), doresp, doexp)
        if isinstance(what, str):
            return FittedMaps(*maps) if what == "all" else maps[0]
        return maps

    @root_only
    def savemodel(
        self,
        name: str | Path,
        component: Any = None,
        *,
        what: str | Sequence[str] = "all",
        usebest: bool = True,
        img: Image | None = None,
        doresp: bool = False,
        doexp: bool = False,
        statistic: str | None = None,
        n_draws: int = 200,
        seed: int = 1,
    ) -> None:
        """Write the maps of `getmodel` to a FITS file, with data, model, residual, noise, mask and components.

        Parameters
        ----------
        name : str or Path
            The file; ``.fits`` is added where it is missing.
        component, what, usebest, img, doresp, doexp, statistic, n_draws, seed
            As those of `getmodel`. The maps are the extensions ``RAW``, ``SMOOTHED``, ``BACKGROUND`` and ``SOURCES``,
            by whichever name they are asked for. Unless `img` is given, the file has ``DATA, MODEL, RESIDUAL, SIGMA,
            MASK`` and the components too. ``MODEL`` is what the data are compared with, response and exposure included.
            With ``pixel_median`` it is the median of each pixel, and its standard deviation is ``MODEL_STD``.

        Raises
        ------
        ConfigError
            If `what` or `statistic` is none of these.
        """
        chosen = Statistic.chosen(usebest, statistic, n_draws, seed)
        if chosen.name == "pixel_std":
            raise ConfigError("statistic: pixel_median writes the standard deviation too, as MODEL_STD")
        names = names_of(what)
        maps = self.getmodel(
            names, component, usebest, img, doresp, doexp, statistic=statistic, n_draws=n_draws, seed=seed
        )
        planes = {name.upper(): plane for name, plane in zip(names, maps, strict=True)}
        path = Path(name) if str(name).lower().endswith(_FITS) else Path(f"{name}{_FITS[0]}")
        header = {"STATUS": "done", "LOGZ": self.logz}
        if img is not None:
            write_planes(path, {"STATUS": "done"}, plane_header_of(img), planes)
            return
        theta, rows = chosen.theta(self.posterior), chosen.rows(self.posterior) if chosen.pixelwise else None
        only = self.mod.select(component)
        draw_model_images(self.problem, self.img, self.mod, theta, header, rows, only, planes).write(path)

    @root_only
    def dump(self, filename: str | Path) -> None:
        """Write image, model and posterior to an HDF5 file, which `socca.load` reads.

        Parameters
        ----------
        filename : str or Path
            The file; an existing one is replaced. If image or model have changed since the run, or cannot be kept,
            there is a warning, and the file has the posterior alone.
        """
        from socca.fitting.dump import dump_fit

        dump_fit(filename, self.posterior, self.img, self.mod, None if self.mod is None else self.problem, self.history)


def load(filename: str | Path, target: str | None = None, *, allow_pickle: bool = False) -> fitter:
    """Read a fit that `fitter.dump` wrote, or a result of the workflow.

    Parameters
    ----------
    filename : str or Path
        An HDF5 file.
    target : str, optional
        Whose posterior, where the file holds those of many targets.
    allow_pickle : bool
        Whether to open pickles, in which functions of a script are kept, such as ties. Do so only for files that you
        trust: pickles can run any code.

    Returns
    -------
    fitter
        As after its run, but without the sampler. A result of the workflow has no image and model; what does without
        them can be done.

    Raises
    ------
    PosteriorError
        If it cannot be read, or records a failed fit.
    """
    from socca.fitting.dump import load_fit

    return fitter.restored(*load_fit(filename, target, allow_pickle))
