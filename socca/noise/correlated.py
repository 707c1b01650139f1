"""Gaussian noise with a covariance between any two pixels."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.data.fits import PlainInput, read_cube, read_plane
from socca.errors import DataError
from socca.noise.correlated_base import Covariance, cut_cube, scale_of
from socca.parameters.parameterised import Spec
from socca.utils.lazy import jax, jnp
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from socca.data.image import Image
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

log = logging.getLogger(__name__)

#: Difference between a covariance and its transpose, in units of the standard deviations: rounding in single precision.
_ASYMMETRY = 1e-6


@tagged("arrays/pixel_covariance")
class PixelCovarianceArrays(NamedTuple):
    """Arrays of an image with a covariance of all its pixels.

    Attributes
    ----------
    n_data : array, shape ()
        Number of used pixels.
    data : array, shape (ny, nx)
        The image, zero where a pixel is not used.
    norm : array, shape ()
        Logarithm of the normalisation, of an unscaled covariance.
    sigma : array, shape (ny, nx)
        Standard deviation of each pixel; inf where it is not used.
    whitening : array, shape (ny nx, ny nx)
        Inverse of the covariance's Cholesky factor, with zeros for the pixels that are not used, so that images with
        other masks share one program.
    """

    n_data: Array
    data: Array
    norm: Array
    sigma: Array
    whitening: Array

    @property
    def used(self) -> Array:
        """Which pixels have a standard deviation."""
        return self.sigma < np.inf


class NormalCorrelated(Covariance[PixelCovarianceArrays]):
    """Gaussian noise that is correlated between pixels.

    Masked pixels are marginalised over: their rows and columns of the covariance are left out. The cost of a
    likelihood is the square of the number of pixels, so this is for stamps of some dozen pixels a side; beyond,
    `NormalFourier` is for noise that is the same everywhere.

    Parameters
    ----------
    cov : array, HDU or path
        Covariance of all pixels of the image (or of the one that it was cut out of) in C order, row after row, shape
        (ny nx, ny nx); or of the used ones alone.
    icov : array, HDU or path
        Its inverse, in the same shapes. That of all pixels is inverted before the masked ones are left out; to cut the
        inverse itself would take their values as known.
    cube : array, HDU or path
        Realisations of the noise, shape (n, ny, nx), of which the covariance is estimated, unbiased, after their mean
        is subtracted. More of them are needed than there are used pixels, and should be many times more: the
        inverse is too large by ``(n - 1) / (n - p - 2)`` for p pixels (Hartlap, Simon & Schneider 2007, A&A 464, 399).
        This is logged and not corrected.
    smooth : int, optional
        How often the covariance of a cube is averaged with those of neighbouring pairs of pixels, of the same offset;
        by default not, or once if there is a `kernel`. It suits noise that changes little from pixel to pixel, and
        needs fewer realisations. The result is a covariance, whatever the mask.
    kernel : array, optional
        Weights of the neighbours, two axes of odd length; by default ``ones((3, 3))``.
    **values : number, Prior, Tie or callable
        Of ``scale``, a factor on all standard deviations.

    Raises
    ------
    DataError
        If none or several are given, or something unknown.
    """

    name = "normal_correlated"

    def __init__(
        self,
        cov: PlainInput = None,
        icov: PlainInput = None,
        cube: PlainInput = None,
        smooth: int | None = None,
        kernel: ArrayLike | None = None,
        **values: Any,
    ) -> None:
        super().__init__(cov, icov, cube, **values)
        passes = (0 if kernel is None else 1) if smooth is None else smooth
        self.__dict__.update(smooth=self._passes(passes), kernel=_checked_kernel(kernel))

    def _factor(self, image: Image) -> np.ndarray:
        """Return the lower Cholesky factor of the covariance of the used pixels, in C order."""
        used = image.mask > 0
        if self.form == "cube":
            estimate = _estimated(cut_cube(read_cube(self.source), image)[:, used], smoothed=self.smooth > 0)
            for _ in range(self.smooth):
                estimate = _averaged(estimate, used, self.kernel)
            return _cholesky(estimate, "cube")
        numbers = np.arange(math.prod(image.original_shape)).reshape(image.original_shape)
        # Size of the matrix -> rows and columns of it that are kept.
        kept = {
            numbers.size: image.matching(numbers, self.form)[used],
            used.size: np.flatnonzero(used),
            int(used.sum()): np.arange(used.sum()),
        }
        matrix = read_plane(self.source, self.form, max_pixels=None)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) not in kept:
            raise DataError(
                f"{self.form} has shape {matrix.shape}: expected {(used.size, used.size)} for all pixels of the image, "
                f"or {(int(used.sum()),) * 2} for the used ones"
            )
        if self.form == "icov":
            inverse = _inverse(_cholesky(matrix, self.form))
            matrix = inverse.T @ inverse
        rows = kept[len(matrix)]
        return _cholesky(matrix[np.ix_(rows, rows)], self.form)

    def sigma(self, image: Image) -> np.ndarray:
        """Return the square root of the covariance's diagonal, shape of the image; inf where a pixel is not used.

        Parameters
        ----------
        image : Image
            Its mask.

        Returns
        -------
        ndarray, shape (ny, nx)
            In the unit of the image.
        """
        return _spread(self._factor(image), image)

    def prepare(self, image: Image) -> PixelCovarianceArrays:
        """Return the data, the matrix that makes their noise white, and the normalisation.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        PixelCovarianceArrays
            Of ndarray.

        Raises
        ------
        DataError
            If the covariance has another shape, or is no covariance.
        """
        used = np.flatnonzero(image.mask)
        factor = self._factor(image)
        whitening = np.zeros((image.mask.size, image.mask.size))
        whitening[np.ix_(used, used)] = _inverse(factor)
        norm = -np.log(np.diag(factor)).sum() - 0.5 * used.size * math.log(2 * math.pi)
        return PixelCovarianceArrays(
            n_data=np.asarray(float(used.size)),
            data=np.where(image.mask > 0, image.data, 0.0),
            norm=np.asarray(norm),
            sigma=_spread(factor, image),
            whitening=whitening,
        )

    @classmethod
    def log_likelihood(
        cls, drawn: Rendered, arrays: PixelCovarianceArrays, values: dict[str, Any], spec: Spec
    ) -> Array:
        """Return ``-1/2 (r^T C^-1 r + ln det(2 pi C))`` of the used pixels, r being data minus model."""
        white = cls.whiten(arrays.data - drawn.total, arrays, values, spec)
        return arrays.norm - arrays.n_data * jnp.log(scale_of(values, spec)) - 0.5 * (white * white).sum()

    @staticmethod
    def whiten(plane: Array, arrays: PixelCovarianceArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return the product with the inverse of the covariance's Cholesky factor, shape (ny nx,)."""
        # It takes half the time of a triangular solution (1024 pixels, XLA, CPU).
        # GPUs would multiply in single precision with a third of its digits.
        white = jnp.matmul(arrays.whitening, plane.ravel(), precision=jax.lax.Precision.HIGHEST)
        return white / scale_of(values, spec)


def _checked_kernel(kernel: ArrayLike | None) -> np.ndarray:
    """Return the weights of neighbours, which sum to one; `DataError` if they cannot be."""
    weights = np.ones((3, 3)) if kernel is None else np.asarray(kernel, float)
    if weights.ndim != 2 or any(n % 2 == 0 for n in weights.shape):
        raise DataError(f"NormalCorrelated: kernel must have two axes of odd length, got shape {weights.shape}")
    if not (np.all(np.isfinite(weights)) and np.all(weights >= 0) and weights.sum() > 0):
        raise DataError("NormalCorrelated: kernel must be finite, not negative, and not zero everywhere")
    return weights / weights.sum()


def _averaged(covariance: np.ndarray, used: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the mean of a covariance over shifts of both pixels of each pair.

    Each shift is a linear map of the pixels, so that the mean is a covariance too. A pixel that would be shifted to one
    that is not used stays where it is.
    """
    numbers = np.full(used.shape, -1)
    numbers[used] = np.arange(used.sum())
    reach = [n // 2 for n in kernel.shape]
    around = np.pad(numbers, [(n, n) for n in reach], constant_values=-1)
    total = np.zeros_like(covariance)
    for (i, j), weight in np.ndenumerate(kernel):
        shifted = around[i : i + used.shape[0], j : j + used.shape[1]][used]
        shifted = np.where(shifted >= 0, shifted, numbers[used])
        total += weight * covariance[np.ix_(shifted, shifted)]
    return total


def _estimated(realisations: np.ndarray, smoothed: bool = False) -> np.ndarray:
    """Return the covariance of pixels, shape (p, p), from realisations of them, shape (n, p)."""
    n, p = realisations.shape
    if not np.all(np.isfinite(realisations)):
        raise DataError(f"cube: {int(np.sum(~np.isfinite(realisations)))} value(s) in used pixels are not finite")
    if n < 2 or (n <= p + 1 and not smoothed):
        raise DataError(
            f"cube: {n} realisation(s) do not make a covariance of {p} used pixels: more than {p + 1} are needed, and "
            "many more are better (or fewer pixels, or NormalFourier)"
        )
    if n > p + 2 and not smoothed:
        log.info("%d realisations of %d pixels: the inverse covariance is %.3g too large", n, p, (n - 1) / (n - p - 2))
    return np.cov(realisations, rowvar=False).reshape(p, p)


def _spread(factor: np.ndarray, image: Image) -> np.ndarray:
    sigma = np.full(image.shape, np.inf)
    sigma[image.mask > 0] = np.sqrt((factor**2).sum(1))
    return sigma


def _inverse(factor: np.ndarray) -> np.ndarray:
    from scipy.linalg import solve_triangular

    return solve_triangular(factor, np.eye(len(factor)), lower=True)


def _cholesky(matrix: np.ndarray, what: str) -> np.ndarray:
    """Return the lower Cholesky factor of a covariance or of its inverse; `DataError` if it is neither."""
    if not np.all(np.isfinite(matrix)):
        raise DataError(f"{what}: {int(np.sum(~np.isfinite(matrix)))} element(s) are not finite")
    diagonal = np.diag(matrix)
    if np.any(diagonal <= 0):
        raise DataError(f"{what}: {int(np.sum(diagonal <= 0))} element(s) of its diagonal are not positive")
    spread = np.sqrt(diagonal)
    correlation = matrix / spread[:, None] / spread
    asymmetry = float(np.abs(correlation - correlation.T).max())
    if asymmetry > _ASYMMETRY:
        raise DataError(f"{what}: is not symmetric, by up to {asymmetry:.2g} of the variances (is it in C order?)")
    try:
        factor = np.linalg.cholesky((correlation + correlation.T) / 2)
    except np.linalg.LinAlgError:
        factor = np.zeros_like(correlation)
    # Squares of the diagonal: the part of each pixel's variance that the ones before it do not predict.
    if np.min(np.diag(factor)) ** 2 < len(matrix) * np.finfo(float).eps:
        lowest = float(np.linalg.eigvalsh((correlation + correlation.T) / 2)[0])
        raise DataError(
            f"{what}: is not positive definite: the lowest eigenvalue of its correlations is {lowest:.2g} (pixels that "
            "follow from others, a mean that was subtracted? Mask pixels, or add a white part to the diagonal)"
        )
    return spread[:, None] * factor
