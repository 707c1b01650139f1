"""Figures of a fit, for scripts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from socca.errors import ConfigError, nearest
from socca.fitting.model_maps import Statistic
from socca.utils.launcher import root_only

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.models import Model
    from socca.posterior.posterior import Posterior

#: Height of a comparison as a share of its width, and inches of the width of a page.
_COMPARISON_HEIGHT, _PAGE = 0.38, 10.0
#: Arguments of `fitter.getmodel` that a comparison takes, and their defaults.
_MODEL = {"usebest": True, "statistic": None, "n_draws": 200, "seed": 1, "doresp": None, "doexp": None}
#: Panel of a comparison -> its argument of `socca.plotting.comparison.draw_comparison`.
_COLORMAPS = {"data": "colormap", "model": "model_colormap", "residual": "residual_colormap"}


class Fit(Protocol):
    """An image, a model and what their fit gave, as `socca.fitter` has them."""

    @property
    def img(self) -> Image:
        """The data."""

    @property
    def mod(self) -> Model:
        """The model."""

    @property
    def rank(self) -> int:
        """The rank of MPI, 0 without it."""

    @property
    def problem(self) -> Problem:
        """The compiled problem."""

    @property
    def posterior(self) -> Posterior:
        """The result."""

    @property
    def history(self) -> Mapping[str, np.ndarray]:
        """What changed during the run."""


class FitPlots:
    """Figures of a fit, files in PDF, PNG or another format by their ending.

    All return the file's path. Without a name, the figure is shown; a notebook gets it as the result.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    @property
    def rank(self) -> int:
        """That of the fit."""
        return self._fit.rank

    @root_only
    def comparison(
        self,
        name: str | Path | None = None,
        component: Any = None,
        fmt: str = "pdf",
        fx: float = 1.0,
        fy: float = _COMPARISON_HEIGHT,
        dpi: float = 100,
        cmaps: Any = None,
        cmap_data: Any = None,
        cmap_model: Any = None,
        cmap_residual: Any = None,
        gs_kwargs: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        **style: Any,
    ) -> Path | Figure | None:
        """Draw data, model, residual and radial profile.

        Parameters
        ----------
        name : str or Path, optional
            The file; without an ending, that of `fmt` is added. By default the figure is shown.
        component : str, int, Component or list of these, optional
            The model is that of these components alone; see `fitter.getmodel`.
        fmt : str
            Format of a file whose name has no ending.
        fx, fy : float
            Size of the figure: width 1 and height 0.38 are the usual one.
        dpi : float
            Dots per inch, of a file.
        cmaps : str, matplotlib.colors.Colormap, or sequence or dict of them, optional
            Of data, model and residual: one for all, three of them, or by the names ``data, model, residual``.
        cmap_data, cmap_model, cmap_residual : str or matplotlib.colors.Colormap, optional
            Of one of them, instead of that of `cmaps`.
        gs_kwargs : dict, optional
            Arguments of `matplotlib.gridspec.GridSpec`.
        model_kwargs : dict, optional
            Arguments of `fitter.getmodel`: ``usebest, statistic, n_draws, seed``. Response and exposure are always part
            of what the data are compared with.
        **style : object
            ``colormap, percentile, stretch, components``; see `socca.plotting.comparison.draw_comparison`.

        Returns
        -------
        Path, Figure or None
            The file; in a notebook without a `name`, the figure.

        Raises
        ------
        ConfigError
            If an argument is unknown or out of range.
        PosteriorError
            If nothing was fitted, or a loaded fit has no model.
        """
        from socca.plotting.comparison import draw_comparison
        from socca.plotting.model_images import draw_model_images
        from socca.plotting.output import draw_to

        fit = self._fit
        problem = fit.problem
        chosen = self._statistic(model_kwargs or {})
        given = {"data": cmap_data, "model": cmap_model, "residual": cmap_residual}
        colours = _colormaps(cmaps) | {panel: colour for panel, colour in given.items() if colour is not None}
        style |= {_COLORMAPS[panel]: colour for panel, colour in colours.items()}
        images = draw_model_images(
            problem,
            fit.img,
            fit.mod,
            chosen.theta(fit.posterior),
            {"STATUS": "done", "LOGZ": fit.posterior.logz},
            chosen.rows(fit.posterior) if chosen.pixelwise else None,
            fit.mod.select(component),
        )
        scale = (fx, fy / _COMPARISON_HEIGHT)
        options = {"scale": scale, "grid": gs_kwargs or {}, **style}
        return draw_to(name, fmt, dpi, lambda new_figure: draw_comparison(images, new_figure, **options))

    def _statistic(self, given: Mapping[str, Any]) -> Statistic:
        for key in given:
            if key not in _MODEL:
                raise ConfigError(f"model_kwargs: unknown argument {key!r}{nearest(key, _MODEL, listed=True)}")
        for key, plane in (("doresp", self._fit.img.response), ("doexp", self._fit.img.exposure)):
            if plane is not None and given.get(key) is False:
                message = f"model_kwargs: {key}=False has no effect: the data are compared with model times map"
                warnings.warn(message, UserWarning, stacklevel=4)
        options = {**_MODEL, **given}
        chosen = Statistic.chosen(*(options[key] for key in ("usebest", "statistic", "n_draws", "seed")))
        if chosen.name == "pixel_std":
            raise ConfigError("model_kwargs: the data are compared with a model: statistic cannot be pixel_std")
        return chosen

    @root_only
    def corner(
        self, name: str | Path | None = None, component: Any = None, fmt: str = "pdf", *args: Any, **style: Any
    ) -> Path | Figure | None:
        """Draw the posterior, all pairs of parameters; see `socca.plotting.corner.PosteriorPlots.corner`."""
        return self._fit.posterior.plot.corner(name, component, fmt, *args, **style)

    @root_only
    def trace(self, name: str | Path | None = None, fmt: str = "pdf", **style: Any) -> Path | Figure | None:
        """Draw the samples in their order; see `socca.plotting.corner.PosteriorPlots.trace`."""
        return self._fit.posterior.plot.trace(name, fmt, **style)

    @root_only
    def profile(
        self, name: str | Path | None = None, fmt: str = "pdf", *, dpi: float = 150, **style: Any
    ) -> Path | Figure | None:
        """Draw radial profiles of data, model and components; see `socca.plotting.radial_profiles.draw_profile`."""
        from socca.plotting.output import draw_to
        from socca.plotting.radial_profiles import draw_profile

        fit = self._fit
        parts = (fit.problem, fit.img, fit.mod, fit.posterior)
        return draw_to(name, fmt, dpi, lambda new_figure: draw_profile(*parts, new_figure, **style))

    @root_only
    def autocorrelation(
        self,
        name: str | Path | None = None,
        fmt: str = "pdf",
        fx: float = 0.5,
        fy: float = 0.5,
        dpi: float = 150,
        tau_factor: float = 50,
        show_params: bool = False,
    ) -> Path | Figure | None:
        """Draw emcee's autocorrelation time against the steps.

        Parameters
        ----------
        name : str or Path, optional
            The file; without an ending, that of `fmt` is added. By default the figure is shown.
        fmt : str
            Format of a file whose name has no ending.
        fx, fy : float
            Width and height, in units of 10 inches.
        dpi : float
            Dots per inch, of a file.
        tau_factor : float
            A line shows how long the time may be for the chain to be as many times longer.
        show_params : bool
            Whether to draw each parameter, besides the mean and the largest.

        Returns
        -------
        Path, Figure or None
            The file; in a notebook without a `name`, the figure.

        Raises
        ------
        ConfigError
            If the fit was not run by ``emcee``.
        """
        from socca.plotting.autocorrelation import draw_autocorrelation
        from socca.plotting.output import draw_to

        looks = self._fit.history.get("autocorrelation_time")
        if looks is None:
            raise ConfigError("autocorrelation: there is none to draw: only fits by method='emcee' have it")
        size = (_PAGE * fx, _PAGE * fy)
        options: dict[str, Any] = {"size": size, "tau_factor": tau_factor, "show_params": show_params}
        labels = self._fit.posterior.labels
        return draw_to(name, fmt, dpi, lambda new_figure: draw_autocorrelation(looks, labels, new_figure, **options))


def _colormaps(given: Any) -> dict[str, Any]:
    """Return the colour maps of data, model and residual, from one for all, three, or some by name."""
    names = tuple(_COLORMAPS)
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for key in given:
            if key not in names:
                raise ConfigError(f"cmaps: unknown panel {key!r}{nearest(str(key), names, listed=True)}")
        return dict(given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != len(names):
            raise ConfigError(f"cmaps: expected one colour map, or three for {', '.join(names)}; got {len(given)}")
        return dict(zip(names, given, strict=True))
    return dict.fromkeys(names, given)
