"""Noise that is independent between pixels, with a level for each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from socca.errors import DataError
from socca.noise.base import NoiseModel
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.utils.array_types import Array

log = logging.getLogger(__name__)

#: Every accepted keyword -> what it means.
FORMS = {
    **dict.fromkeys(("sigma", "sig", "std", "rms", "stddev"), "sigma"),
    **dict.fromkeys(("var", "variance"), "variance"),
    **dict.fromkeys(("wht", "wgt", "weight", "weights", "invvar"), "weight"),
}
#: Standard deviation of a Gaussian in units of its median absolute deviation, 1 / Phi^-1(3/4).
_MAD_TO_SIGMA = 1.482602218505602


@tagged("arrays/levels")
class LevelArrays(NamedTuple):
    """Arrays of an image with a noise level for each pixel.

    Attributes
    ----------
    n_data : array, shape ()
        Number of used pixels.
    data : array, shape (ny, nx)
        The image, zero where a pixel is not used.
    norm : array, shape ()
        Sum of ``-ln sigma`` over the used pixels.
    weight : array, shape (ny, nx)
        ``1 / sigma^2``, zero where a pixel is not used.
    """

    n_data: Array
    data: Array
    norm: Array
    weight: Array

    @property
    def used(self) -> Array:
        """Which pixels have a weight."""
        return self.weight > 0


class Levels(NoiseModel[LevelArrays], abstract=True):
    """Independent noise, its level given for each pixel or for all.

    Parameters
    ----------
    **given : object
        At most one level, a number, array, HDU or path: ``sigma`` (also ``sig``, ``std``, ``rms``, ``stddev``),
        ``variance`` (``var``) or ``weight`` (``wht``, ``wgt``, ``weights``, ``invvar``: the inverse variance). Without
        any, the level is estimated from the median absolute deviation of the used pixels, and logged. ``idx``: which
        HDU of the level's file (number or name), by default the first that holds an image. All else are values of
        parameters.

    Raises
    ------
    DataError
        If two levels are given, or something unknown.
    """

    takes: ClassVar[dict[str, str]] = {"level": "sigma"}

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self._refuse_unknown(given, (*FORMS, "idx"))
        index = given.pop("idx", None)
        levels = {key: value for key, value in given.items() if key in FORMS}
        if len(levels) > 1:
            raise DataError(f"{type(self).__name__}: give one of {', '.join(levels)}, not {len(levels)} of them")
        self.__dict__.update(form=None, level=None, idx=index)
        for key, value in levels.items():
            self.__dict__.update(form=FORMS[key], level=value)
        self._assign({key: value for key, value in given.items() if key not in levels})

    def sigma(self, image: Image) -> np.ndarray:
        """Return the standard deviation of each pixel as it was given; inf where the pixel is not used.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        ndarray, shape (ny, nx)
            In the unit of the image.

        Raises
        ------
        DataError
            If the level has another shape than the image, or is negative, or no level can be estimated.
        """
        used = image.mask > 0
        if self.level is None:
            return np.where(used, self._estimate(image.data[used]), np.inf)
        what = self.form or "sigma"
        level = np.broadcast_to(image.read(self.level, what, self.idx), image.shape)
        # A pixel without a usable level carries no information: NaN and infinite sigma, zero weight.
        known = np.isfinite(level) & (level > 0)
        if np.any(level[used & np.isfinite(level)] < 0):
            count = int(np.sum(level[used & np.isfinite(level)] < 0))
            raise DataError(f"{what} is negative in {count} used pixel(s)")
        if what != "weight" and np.any(level[used] == 0):
            raise DataError(f"{what} is zero in {int(np.sum(level[used] == 0))} used pixel(s): mask them")
        if not np.any(known & used):
            raise DataError(f"{what} leaves no usable pixel: it is nowhere finite and positive within the mask")
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = {"sigma": level, "variance": np.sqrt(level), "weight": 1 / np.sqrt(level)}[what]
        return np.where(known & used, sigma, np.inf)

    def _estimate(self, values: np.ndarray) -> float:
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
        if not sigma > 0:
            raise DataError("no noise level was given, and the median absolute deviation of the image is zero")
        log.info("noise level from the median absolute deviation of %d pixels: %.6g", values.size, sigma)
        return sigma

    def prepare(self, image: Image) -> LevelArrays:
        """Return data, weights and what the normalisation needs.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        LevelArrays
            Of ndarray.
        """
        sigma = self.sigma(image)
        used = np.isfinite(sigma)
        return LevelArrays(
            n_data=np.asarray(float(used.sum())),
            data=np.where(used, image.data, 0.0),
            norm=np.asarray(-np.sum(np.log(sigma[used]))),
            weight=np.where(used, 1 / sigma**2, 0.0),
        )


def level_of(weight: Array) -> np.ndarray:
    """Return the standard deviation of an inverse variance; inf where that is zero."""
    with np.errstate(divide="ignore"):
        return 1 / np.sqrt(np.asarray(weight))
