"""Dirty images of interferometers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.fits import PlainInput
from socca.errors import DataError, ModelError
from socca.noise.levels import LevelArrays, Levels, level_of
from socca.parameters.parameterised import Spec

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.base import Component
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

#: How close to one a PSF's sum must be to have been normalised by it.
_SUM_IS_ONE = 1e-9
#: Least peak of a dirty beam whose centre lies between pixels.
_LEAST_PEAK = 0.5


class NormalRI(Levels):
    """Gaussian noise of visibilities, for the naturally weighted dirty image that is made of them.

    With visibilities ``V = F m + n`` of weights W, the dirty image is ``d = F^T W V / sum(W)``, the dirty beam
    ``B = F^T W F / sum(W)``, which has the peak 1, and the noise of a pixel ``sigma^2 = 1 / sum(W)``. The likelihood of
    the visibilities, ``-1/2 (V - F m)^T W (V - F m)``, is then, but for a constant that the image does not tell,
    ``-1/2 sum((B m - 2 d) m) / sigma^2``: the noise of dirty pixels is correlated by the beam itself, and no
    covariance need be inverted.

    The left-out constant makes it relative to the null model, whose log-likelihood is zero: evidences compare among
    models of the same data and sigma alone, and sigma cannot be fitted. Pixels that are not used add nothing, which is
    an approximation: light there is not compared with the data, but still reaches other pixels through the beam.

    Parameters
    ----------
    sigma : number, array, HDU or path, optional
        Standard deviation of a pixel of the dirty image; also in the other forms of `Normal`. Without any, it is
        estimated from the median absolute deviation of the used pixels, and logged: too high, where sources and the
        side lobes of the beam fill the image.

    Raises
    ------
    DataError
        If two levels are given, or something unknown.
    """

    name = "normal_ri"
    padded = True
    needs_sky = True

    def __init__(self, sigma: PlainInput = None, **level: PlainInput) -> None:
        super().__init__(**(level if sigma is None else {"sigma": sigma, **level}))

    def check_components(self, components: Sequence[Component]) -> None:
        """Raise `ModelError` if there is a background.

        Parameters
        ----------
        components : sequence of Component
            Those of the model.
        """
        found = [str(component.id) for component in components if component.role == "background"]
        if found:
            raise ModelError(
                f"NormalRI: {', '.join(found)}: an interferometer does not see a background, which no beam convolves: "
                "leave it out"
            )

    def prepare(self, image: Image) -> LevelArrays:
        """Return data, weights and what `Levels.prepare` gives besides.

        Parameters
        ----------
        image : Image
            Data, mask and dirty beam.

        Returns
        -------
        LevelArrays
            Of ndarray.

        Raises
        ------
        DataError
            If the image has no PSF, one that was normalised, or one that is averaged over pixels.
        """
        if image.psf is None:
            raise DataError("NormalRI: the image needs its dirty beam: addpsf(beam, normalize=False)")
        if not image.psf_includes_pixel or image.psf_averaged or image.psf_oversample > 1:
            raise DataError(
                "NormalRI: a dirty image and its beam are values at the pixels' centres, with no pixel to average over:"
                " give the beam on the image's pixels, with includes_pixel=True and oversample=1"
            )
        if abs(image.psf.sum() - 1) < _SUM_IS_ONE and image.psf.max() < _LEAST_PEAK:
            raise DataError(
                f"NormalRI: the sum of the psf is 1 and its peak {image.psf.max():.3g}; of a dirty beam the peak is 1: "
                "addpsf(beam, normalize=False)"
            )
        return super().prepare(image)

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return ``-1/2 sum((m_dirty - 2 d) m_sky / sigma^2)`` over the used pixels."""
        if drawn.raw is None:
            raise ModelError("NormalRI: the model must be drawn with its sky")
        return -0.5 * (arrays.weight * (drawn.smoothed - 2 * arrays.data) * drawn.raw).sum()

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: LevelArrays, values: dict[str, Any]) -> np.ndarray:
        """Return sigma."""
        return level_of(arrays.weight)
