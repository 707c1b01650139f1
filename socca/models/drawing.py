"""Images of models and components."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from socca.errors import ModelError
from socca.parameters.parameterised import Parameterised
from socca.priors import Prior

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.likelihood.problem import Problem


class ModelLike(Protocol):
    """What a problem asks of its model; see `socca.models.Model`."""

    @property
    def components(self) -> Sequence[Any]:
        """The components, with their ids."""

    @property
    def labels(self) -> dict[str, str]:
        """Full name of each parameter -> the user's name."""

    @property
    def priors(self) -> dict[str, Any]:
        """Full name of each parameter -> number, prior or tie."""


@dataclass(frozen=True)
class Alone:
    """A component as a model of its own.

    Parameters
    ----------
    component : Parameterised
        The component, with its id.
    """

    component: Parameterised

    @property
    def components(self) -> list[Parameterised]:
        """The component."""
        return [self.component]

    @property
    def labels(self) -> dict[str, str]:
        """Full name of each parameter -> itself."""
        return {name: name for name in self.priors}

    @property
    def priors(self) -> dict[str, Any]:
        """Full name of each parameter -> number, prior or tie."""
        return {f"{self.component.id}_{name}": value for name, value in self.component.values.items()}


def problem_to_draw(model: ModelLike, img: Image) -> Problem:
    """Return the problem of a model on an image, to draw it."""
    from socca.likelihood.problem import Problem
    from socca.noise import Normal

    # The noise has no part in it; its level need not even be known.
    return Problem(img, model, noise=Normal(sigma=1.0), to_fit=False)


def fixed_map(model: ModelLike, img: Image, convolve: bool, addbackground: bool) -> np.ndarray:
    """Draw a model without free parameters.

    Parameters
    ----------
    model : ModelLike
        All its parameters are numbers, or tied.
    img : Image
        The frame and the PSF.
    convolve : bool
        Convolve with the PSF.
    addbackground : bool
        Add the background.

    Returns
    -------
    ndarray, shape (ny, nx)
        The image. Not convolved, point sources are one pixel's worth of light, as without a PSF.

    Raises
    ------
    ModelError
        If a parameter is free.
    """
    free = [name for name, value in model.priors.items() if isinstance(value, Prior)]
    if free:
        raise ModelError(f"getmap draws fixed models; free: {', '.join(free)}. Use getmodel(img, pp)")
    if not convolve and img.psf is not None:
        # `Rendered.raw` would lack the point sources, which are drawn through the PSF alone.
        img = copy.copy(img)
        img.psf, img.psf_oversample, img.psf_includes_pixel = None, 1, True
    out = problem_to_draw(model, img).render(np.zeros(0), response=False, exposure=False, raw=False)
    return np.asarray(out.smoothed + out.background if addbackground else out.smoothed)
