"""What scripts use: an image, a model, and a fit. A thin friend over problem, sampler and posterior."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError
from socca.inference import sample
from socca.posterior import Posterior
from socca.problem import Problem

if TYPE_CHECKING:
    from socca.data import Image
    from socca.forward import Rendered
    from socca.models import Model
    from socca.pool.base import MapPool


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
        The back end's own object.

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
        self.plot = _Plots(self)

    def run(
        self,
        method: str = "nautilus",
        *,
        seed: int = 1,
        ncores: int | None = None,
        pool: int | MapPool | None = None,
        marginalize: bool = False,
        **options: Any,
    ) -> Posterior:
        """Explore the posterior of the image and the model as they are now.

        Parameters
        ----------
        method : str
            ``nautilus`` or ``optimizer``.
        seed : int
            Of all random numbers.
        ncores, pool : int or pool, optional
            Workers: a number (both names mean the same), or a ready pool.
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
            If the method or an option is unknown.
        ModelError, DataError
            If model or image cannot be used.
        """
        problem = Problem(self.img, self.mod)
        posterior, draws = sample(
            problem, method, seed=seed, ncores=ncores, pool=pool, marginalize=marginalize, **options
        )
        self._problem, self._posterior, self.sampler = problem, posterior, draws.sampler
        return posterior

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
    def labels(self) -> list[str]:
        """Names of the free parameters."""
        return self.posterior.labels

    @property
    def units(self) -> list[str]:
        """Their units."""
        return self.posterior.units

    def parameters(self) -> str:
        """Return a table of the posterior: median, both errors, and the best sample, one parameter a line."""
        rows = [
            f"{row['label']:<20} {row['median']:>14.6g} "
            f"+{row['upper'] - row['median']:<11.3g} -{row['median'] - row['lower']:<11.3g} "
            f"{row['best']:>14.6g} {row['unit']}"
            for row in self.posterior.summary()
        ]
        head = f"{'parameter':<20} {'median':>14} {'upper':<12} {'lower':<12} {'best':>14} unit"
        return "\n".join([head, *rows])

    def _theta(self, usebest: bool) -> np.ndarray:
        return self.posterior.best if usebest else self.posterior.median()

    def getmodel(
        self,
        what: str = "all",
        component: str | list[str] | None = None,
        usebest: bool = True,
        img: Image | None = None,
        doresp: bool = False,
        doexp: bool = False,
    ) -> Rendered | np.ndarray:
        """Draw the fitted model.

        Parameters
        ----------
        what : {'all', 'raw', 'smoothed', 'background'}
            All parts, or one of them.
        component : str or list of str, optional
            Only these.
        usebest : bool
            At the best sample, otherwise at the median of each parameter.
        img : Image, optional
            Draw on the frame of another image, with its PSF; by default on that of the fit.
        doresp, doexp : bool
            Multiply by the response, and by the exposure, of the image.

        Returns
        -------
        Rendered or ndarray, shape (ny, nx)
            ``(raw, smoothed, background, negative)``, or the part that was asked for.

        Raises
        ------
        ValueError
            If `what` is none of these.
        """
        parts = ("raw", "smoothed", "background")
        if what not in ("all", *parts):
            raise ValueError(f"what must be one of all, {', '.join(parts)}; got {what!r}")
        problem = self.problem if img is None else Problem(img, self.mod)
        drawn = problem.render(self._theta(usebest), self.mod.select(component), response=doresp, exposure=doexp)
        return drawn if what == "all" else getattr(drawn, what)

    def savemodel(self, name: str | Path, usebest: bool = True) -> None:
        """Write data, model, residual, noise, mask and components to a FITS file.

        Parameters
        ----------
        name : str or Path
            The file.
        usebest : bool
            At the best sample, otherwise at the median of each parameter.
        """
        from socca.products import write_model_images

        header = {"STATUS": "done", "LOGZ": self.logz}
        write_model_images(name, self.problem, self.img, self.mod, self._theta(usebest), header)

    def dump(self, name: str | Path) -> None:
        """Write the result to an HDF5 file, which `socca.load` reads."""
        self.posterior.save(name)


class _Plots:
    """Figures of a fit."""

    def __init__(self, fit: fitter) -> None:
        self._fit = fit

    def comparison(self, name: str | Path = "comparison.png", **looks: Any) -> Path:
        """Draw data, model and residual.

        Parameters
        ----------
        name : str or Path
            The file, PNG or PDF by its ending.
        **looks : object
            See `socca.plotting.comparison_figure`.

        Returns
        -------
        Path
            The file.
        """
        from socca.plotting import comparison_figure

        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder) / "model.fits"
            self._fit.savemodel(images)
            comparison_figure(images, Path(name), **looks)
        return Path(name)


def load(name: str | Path) -> Posterior:
    """Read a result that `fitter.dump` or the workflow wrote.

    Parameters
    ----------
    name : str or Path
        An HDF5 file.

    Returns
    -------
    Posterior
        Samples, weights, evidence and how they came about.

    Raises
    ------
    PosteriorError
        If it cannot be read, or records a failed fit.
    """
    return Posterior.load(name)
