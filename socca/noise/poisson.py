"""Counts of photons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.errors import DataError
from socca.noise.base import NoiseModel
from socca.parametrised import Spec, param

if TYPE_CHECKING:
    from socca.data import Image
    from socca.forward import Rendered

#: How far from whole numbers counts may be, relative (or absolute, below one): rounding in single precision.
_WHOLE = 1e-6
#: Expected counts below zero by less than this, relative to the highest, are rounding of the convolution with the PSF.
_ROUNDING = 1e-12
#: The least variance, in counts, that `Poisson.sigma_at` gives.
_LEAST_VARIANCE = 1e-12


class Poisson(NoiseModel):
    """Poisson noise of counts, for images in photons per pixel.

    The model must be in counts too (an exposure map brings it there), and ``background`` is added to it. The
    probability is that of Cash (1979, ApJ 228, 939) with its term ``ln d!``, so that evidences compare.

    A model that expects no light in a pixel where there was a photon is impossible. Compact sources therefore need a
    background, here or as a component of the model.

    Parameters
    ----------
    **values : number, Prior, Tie or callable
        Of ``background``, counts per pixel.
    """

    name = "poisson"
    padded = True

    background = param("image", "counts expected in every pixel besides the model's", 0.0, lower=0.0, neutral=0.0)

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self._refuse_unknown(values)
        self._assign(values)

    def sigma(self, image: Image) -> np.ndarray:
        """Return the square root of the counts, or 1 where there are none; inf where the pixel is not used.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        ndarray, shape (ny, nx)
            In counts.
        """
        return np.where(image.mask > 0, np.sqrt(np.maximum(_counts(image), 1.0)), np.inf)

    def prepare(self, image: Image) -> dict[str, np.ndarray]:
        """Return the counts, which pixels are used, and the normalisation.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        dict of ndarray
            ``data`` and ``used`` (1 or 0), shape (ny, nx), and the scalar ``norm``, the sum of ``-ln d!``.

        Raises
        ------
        DataError
            If the data are no counts.
        """
        from scipy.special import gammaln

        counts = _counts(image)
        return {
            "data": counts,
            "used": (image.mask > 0).astype(float),
            "norm": np.asarray(-gammaln(counts + 1).sum()),
        }

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: dict[str, Any], values: dict[str, Any], spec: Spec) -> Any:
        """Return ``sum(d ln m - m - ln d!)`` over the used pixels, m being the expected counts.

        Where m is zero it is -inf, or zero if there are no counts; where m is negative it is -inf.
        """
        expected = drawn.total if "background" in spec.neutral else Poisson.expected(drawn, values)
        data, lit = arrays["data"], expected > 0
        rounding = _ROUNDING * jax.lax.stop_gradient(jnp.abs(expected).max())
        dark = jnp.where((data == 0) & (expected >= -rounding), 0.0, -jnp.inf)
        safe = jnp.where(lit, expected, 1.0)  # so that no gradient meets the logarithm of zero
        each = jnp.where(lit, data * jnp.log(safe) - safe, dark)
        # A model that is no number is no darkness: it must be seen.
        each = jnp.where(jnp.isnan(expected), jnp.nan, each)
        return arrays["norm"] + jnp.where(arrays["used"] > 0, each, 0.0).sum()

    @staticmethod
    def expected(drawn: Rendered, values: dict[str, Any]) -> Any:
        """Return the model plus ``background``."""
        return drawn.total + values["background"]

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: dict[str, Any], values: dict[str, Any]) -> np.ndarray:
        """Return the square root of the expected counts; chi-square is then Pearson's."""
        expected = np.asarray(Poisson.expected(drawn, values))
        return np.where(arrays["used"] > 0, np.sqrt(np.maximum(expected, _LEAST_VARIANCE)), np.inf)


def _counts(image: Image) -> np.ndarray:
    """Return the image as whole numbers, zero where a pixel is not used; `DataError` if it holds something else."""
    used = image.mask > 0
    counts = np.where(used, np.round(image.data), 0.0)
    wrong = used & ((counts < 0) | (np.abs(image.data - counts) > _WHOLE * np.maximum(counts, 1)))
    if wrong.any():
        row, col = (int(index) for index in np.argwhere(wrong)[0])
        raise DataError(
            f"Poisson: data must be counts, whole numbers of zero or more; {int(wrong.sum())} used pixel(s) are not, "
            f"such as {image.data[row, col]:g} in row {row}, column {col} (was a background subtracted, or the image "
            "divided by exposure or gain?)"
        )
    return counts
