"""Figures of a fit, for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from socca.utils.launcher import root_only

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.models import Model
    from socca.posterior.posterior import Posterior


class Fit(Protocol):
    """An image, a model and what their fit gave, as `socca.fitter` has them."""

    img: Image
    mod: Model

    @property
    def rank(self) -> int:
        """The rank of MPI, 0 without it."""

    @property
    def problem(self) -> Problem:
        """The compiled problem."""

    @property
    def posterior(self) -> Posterior:
        """The result."""


class FitPlots:
    """Figures of a fit, files in PNG or PDF by their ending. All return the file's path."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    @property
    def rank(self) -> int:
        """That of the fit."""
        return self._fit.rank

    @root_only
    def comparison(self, name: str | Path = "comparison.png", **style: Any) -> Path:
        """Draw data, model and residual; see `socca.plotting.comparison.comparison_figure` for its style."""
        from socca.plotting.comparison import comparison_figure
        from socca.plotting.model_images import draw_model_images

        fit = self._fit
        header = {"STATUS": "done", "LOGZ": fit.posterior.logz}
        images = draw_model_images(fit.problem, fit.img, fit.mod, fit.posterior.best, header)
        comparison_figure(images, Path(name), **style)
        return Path(name)

    @root_only
    def corner(self, name: str | Path = "corner.png", **style: Any) -> Path:
        """Draw the posterior, all pairs of parameters; see `socca.plotting.corner.PosteriorPlots.corner`."""
        return self._fit.posterior.plot.corner(name, **style)

    @root_only
    def trace(self, name: str | Path = "trace.png", **style: Any) -> Path:
        """Draw the samples in their order; see `socca.plotting.corner.PosteriorPlots.trace`."""
        return self._fit.posterior.plot.trace(name, **style)

    @root_only
    def profile(self, name: str | Path = "profile.png", **style: Any) -> Path:
        """Draw radial profiles of data, model and components; see `socca.plotting.radial_profiles.profile_figure`."""
        from socca.plotting.radial_profiles import profile_figure

        fit = self._fit
        profile_figure(fit.problem, fit.img, fit.mod, fit.posterior, name, **style)
        return Path(name)
