"""Image of a model, in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from socca.utils.array_types import Array


class Rendered(NamedTuple):
    """A model image in its parts.

    Attributes
    ----------
    raw : array, shape (ny, nx), or None
        Extended light as it is on the sky, averaged over pixels, times the response; None where nobody asks for it. For
        a noise model that asks for the sky, all light as the PSF sees it: without what is finer than its pixels can
        tell, and with the point sources.
    smoothed : array, shape (ny, nx)
        All sources, convolved with the PSF, times the exposure.
    background : array, shape (ny, nx)
        Not convolved, times the exposure.
    negative : array, shape ()
        Whether a component that must be positive is not, somewhere on the image.
    """

    raw: Array | None
    smoothed: Array
    background: Array
    negative: Array | bool

    @property
    def total(self) -> Array:
        """All that the data are compared with."""
        return self.smoothed + self.background


class ModelImages(NamedTuple):
    """The images of a model, as `socca.models.Model.getmodel` gives them.

    Attributes
    ----------
    raw : array, shape (ny, nx)
        Extended light as it is on the sky, averaged over pixels.
    smoothed : array, shape (ny, nx)
        All sources, convolved with the PSF, and the background: what the data are compared with.
    background : array, shape (ny, nx)
        Not convolved.
    negative : bool
        Whether a component that must be positive is not, somewhere on the image.
    """

    raw: Array
    smoothed: Array
    background: Array
    negative: Array | bool

    @property
    def total(self) -> Array:
        """All that the data are compared with: `smoothed`."""
        return self.smoothed

    @property
    def sources(self) -> Array:
        """`smoothed` without the background."""
        return self.smoothed - self.background
