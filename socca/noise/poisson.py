"""Counts of photons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.errors import DataError
from socca.noise.base import IndependentNoise
from socca.parameters.parameterised import Spec, param
from socca.utils.lazy import jax, jnp, special
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

#: How far from whole numbers counts may be, relative (or absolute, below one): rounding in single precision.
_WHOLE = 1e-6
#: Expected counts below zero by less than this, in machine epsilons of the highest, are rounding of the convolution
#: with the PSF; that of images of a few hundred pixels a side stays below one.
_ROUNDING = 32
#: How far below zero they may ring, in units of how far one point source does: the rings of several add up.
_RINGING = 2
#: How far below zero the light of any source may be behind a PSF, as a share of the highest pixel:
#: `socca.likelihood.band_limited` is right to about this.
_SAMPLING = 5e-4
#: The least variance, in counts, that `Poisson.sigma_at` gives.
_LEAST_VARIANCE = 1e-12


@tagged("arrays/counts")
class CountArrays(NamedTuple):
    """Arrays of an image of counts.

    Attributes
    ----------
    data : array, shape (ny, nx)
        The counts, zero where a pixel is not used.
    eps : array, shape ()
        Machine epsilon of the model images.
    norm : array, shape ()
        Sum of ``-ln d!``.
    ringing : array, shape ()
        How far expected counts may be negative, as a share of the highest.
    used : array, shape (ny, nx)
        1 where a pixel is used, else 0.
    """

    data: Array
    eps: Array
    norm: Array
    ringing: Array
    used: Array

    @property
    def n_data(self) -> Array:
        """Number of used pixels."""
        return self.used.sum()


class Poisson(IndependentNoise[CountArrays]):
    """Poisson noise of counts, for images in photons per pixel.

    The model must be in counts too (an exposure map brings it there), and ``background`` is added to it. The
    probability is that of Cash (1979, ApJ 228, 939) with its term ``ln d!``, so that evidences compare.

    A photon where the model expects no light costs the logarithm of what the arithmetic can tell from none, the machine
    epsilon times the brightest pixel, about -36 plus the logarithm of that pixel's counts (-16 in single precision).
    Compact sources therefore need a background, here or as a component of the model.

    Negative expectations make a model impossible, but for reasons that are not the model's. What rounding leaves below
    zero is taken for darkness. Behind a PSF, light is right to some 5e-4 of the brightest pixel, and may be below zero
    by as much. And a point source between pixels rings below zero as far as its PSF is not band-limited, by 1e-2 of its
    peak for a Gaussian of 2 pixels full width at half maximum: where the image's PSF rings further, light (not a
    background) may be below zero by twice that. The sum over pixels counts it as it is, so that fluxes are right, and
    the logarithm takes its size, as for the rings above zero.

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

    def prepare(self, image: Image) -> CountArrays:
        """Return the counts, which pixels are used, and the normalisation.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        CountArrays
            Of ndarray.

        Raises
        ------
        DataError
            If the data are no counts.
        """
        from scipy.special import gammaln

        counts = _counts(image)
        return CountArrays(
            data=counts,
            eps=np.asarray(np.finfo(float).eps),
            norm=np.asarray(-gammaln(counts + 1).sum()),
            ringing=np.asarray(0.0 if image.psf is None else max(_RINGING * ringing(image.psf), _SAMPLING)),
            used=(image.mask > 0).astype(float),
        )

    @staticmethod
    def with_epsilon(arrays: CountArrays, epsilon: float) -> CountArrays:
        """Return the arrays for model images of another machine epsilon."""
        return arrays._replace(eps=np.asarray(epsilon, dtype=float))

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: CountArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return ``sum(d ln m - m - ln d!)`` over the used pixels, m being the expected counts.

        In the logarithm, m is at least `eps` times the highest m. Where m is negative it is -inf, beyond rounding and
        ringing (see the class).
        """
        each = _each(drawn, arrays, values, spec)
        return arrays.norm + jnp.where(arrays.used > 0, each, 0.0).sum()

    @staticmethod
    def pointwise(drawn: Rendered, arrays: CountArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return ``d ln m - m - ln d!`` of each pixel, as in `log_likelihood`."""
        return _each(drawn, arrays, values, spec) - special.gammaln(arrays.data + 1)

    @staticmethod
    def expected(drawn: Rendered, values: dict[str, Any]) -> Array:
        """Return the model plus ``background``."""
        return drawn.total + values["background"]

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: CountArrays, values: dict[str, Any]) -> np.ndarray:
        """Return the square root of the expected counts; chi-square is then Pearson's."""
        expected = np.asarray(Poisson.expected(drawn, values))
        return np.where(arrays.used > 0, np.sqrt(np.maximum(expected, _LEAST_VARIANCE)), np.inf)


def _each(drawn: Rendered, arrays: CountArrays, values: dict[str, Any], spec: Spec) -> Array:
    """Return ``d ln m - m`` of each pixel."""
    expected = drawn.total if "background" in spec.neutral else Poisson.expected(drawn, values)
    data, eps = arrays.data, arrays.eps
    peak = jax.lax.stop_gradient(jnp.maximum(expected.max(), 0.0))
    # A background is not convolved, and does not ring: a negative one is the model's own doing.
    rings = jnp.where(drawn.background >= 0, arrays.ringing, 0.0)
    size = jnp.maximum(jnp.abs(expected), eps * peak)
    possible = (expected >= -(_ROUNDING * eps + rings) * peak) & ((size > 0) | (data == 0))
    safe = jnp.where(size > 0, size, 1.0)  # so that no gradient meets the logarithm of zero
    each = jnp.where(possible, data * jnp.log(safe) - expected, -jnp.inf)
    # A model that is no number is no darkness: it must be seen.
    return jnp.where(jnp.isnan(expected), jnp.nan, each)


def ringing(psf: np.ndarray | None) -> float:
    """Return how far below zero a point source between pixels rings, as a share of its peak.

    Parameters
    ----------
    psf : ndarray or None
        The PSF.

    Returns
    -------
    float
        From the PSF's Fourier interpolation at half pixels, where it rings most; 0 without a PSF.
    """
    from scipy.signal import resample

    if psf is None:
        return 0.0
    between = np.pad(psf, [(n, n) for n in psf.shape])
    for axis, length in enumerate(between.shape):
        between = resample(between, 2 * length, axis=axis)
    peak = min(between[i::2, j::2].max() for i in (0, 1) for j in (0, 1))
    return max(0.0, float(-between.min() / peak))


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
