"""Independent Gaussian noise in every pixel."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import DataError, nearest
from socca.fits import PlainInput, read_plane
from socca.noise.base import NoiseModel
from socca.parametrised import Spec

if TYPE_CHECKING:
    from socca.data import Image
    from socca.forward import Rendered

log = logging.getLogger(__name__)

#: Every accepted keyword -> what it means.
FORMS = {
    **dict.fromkeys(("sigma", "sig", "std", "rms", "stddev"), "sigma"),
    **dict.fromkeys(("var", "variance"), "variance"),
    **dict.fromkeys(("wht", "wgt", "weight", "weights", "invvar"), "weight"),
}
#: Standard deviation of a Gaussian in units of its median absolute deviation, 1 / Phi^-1(3/4).
_MAD_TO_SIGMA = 1.482602218505602


class Normal(NoiseModel):
    """Independent Gaussian noise.

    Parameters
    ----------
    **level : number, array, HDU or path
        At most one of ``sigma`` (also ``sig``, ``std``, ``rms``, ``stddev``), ``variance`` (``var``) and ``weight``
        (``wht``, ``wgt``, ``weights``, ``invvar``: the inverse variance). Without any, the level is estimated from
        the median absolute deviation of the used pixels, and logged.

    Raises
    ------
    DataError
        If two levels are given, or an unknown one.
    """

    name = "normal"
    padded = True
    gaussian = True

    def __init__(self, **level: PlainInput) -> None:
        super().__init__()
        for key in level:
            if key not in FORMS:
                raise DataError(f"Normal: unknown argument {key!r}{nearest(key, FORMS)}")
        if len(level) > 1:
            raise DataError(f"Normal: give one of {', '.join(level)}, not {len(level)} of them")
        self.__dict__.update(form=None, level=None)
        for key, value in level.items():
            self.__dict__.update(form=FORMS[key], level=value)

    def sigma(self, image: Image) -> np.ndarray:
        """Return the standard deviation of each pixel, shape of the image; inf where the pixel is not used.

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
        level = read_plane(self.level, what)
        if level.ndim and level.shape != image.shape:
            raise DataError(f"{what} has shape {level.shape}, the image {image.shape}")
        level = np.broadcast_to(level, image.shape)
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

    def prepare(self, image: Image) -> dict[str, np.ndarray]:
        """Return data, weights (inverse variances) and the normalisation.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        dict of ndarray
            ``data`` and ``weight``, shape (ny, nx), and the scalar ``norm``.
        """
        sigma = self.sigma(image)
        used = np.isfinite(sigma)
        weight = np.where(used, 1 / sigma**2, 0.0)
        norm = -np.sum(np.log(sigma[used])) - 0.5 * used.sum() * math.log(2 * math.pi)
        return {"data": np.where(used, image.data, 0.0), "weight": weight, "norm": np.asarray(norm)}

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: dict[str, Any], values: dict[str, Any], spec: Spec) -> Any:
        """Return ``-1/2 sum(((d - m) / sigma)^2 + ln(2 pi sigma^2))`` over the used pixels."""
        residual = arrays["data"] - drawn.total
        return arrays["norm"] - 0.5 * (arrays["weight"] * residual * residual).sum()
