"""Gaussian noise with a power spectrum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from socca.data.fits import PlainInput, read_cube, read_plane
from socca.errors import DataError
from socca.noise.correlated_base import Covariance, cut_cube, scale_of
from socca.parameters.parameterised import Spec
from socca.utils.lazy import jnp
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

#: Relative difference between the powers of a mode and its opposite: rounding in single precision.
_ASYMMETRY = 1e-5
#: What modes are called -> which they are.
_FTYPES = {"real": "real", "rfft": "real", "full": "full", "fft": "full"}


@tagged("arrays/power_spectrum")
class PowerSpectrumArrays(NamedTuple):
    """Arrays of an image with a power spectrum of its noise.

    Attributes
    ----------
    apod : array, shape (ny, nx)
        The window, ones without one.
    n_data : array, shape ()
        Number of modes.
    data : array, shape (ny, nx)
        The image, zero where the window is.
    norm : array, shape ()
        Logarithm of the normalisation, of an unscaled spectrum.
    sigma : array, shape (ny, nx)
        Standard deviation of each pixel; inf where it is not used.
    weight : array, shape (ny, nx // 2 + 1)
        ``1 / (N P_k)`` times how often a mode occurs in the full plane.
    """

    apod: Array
    n_data: Array
    data: Array
    norm: Array
    sigma: Array
    weight: Array

    @property
    def used(self) -> Array:
        """Which pixels have a standard deviation."""
        return self.sigma < np.inf


class NormalFourier(Covariance[PowerSpectrumArrays]):
    """Gaussian noise that is the same everywhere, with correlations that depend on the distance of two pixels.

    Its covariance is diagonal in Fourier space, for an image that continues periodically. With
    ``R_k = sum_x r_x exp(-2 pi i k x / n)`` and N pixels, the power spectrum is ``P_k = E|R_k|^2 / N``: white noise of
    variance ``s^2`` has ``P_k = s^2``.

    All pixels must be used, unless there is an apodization. That is an approximation: a window mixes neighbouring
    modes, which are still taken as independent. Where the power changes little over the width of the window's
    transform, the level is right; errors come out somewhat too small, since fewer modes are independent than are
    counted. Evidences with a window compare among models of the same data and window alone.

    Parameters
    ----------
    cov : array, HDU or path
        The power spectrum ``P_k``, its shape by `ftype`.
    icov : array, HDU or path
        Its reciprocal.
    cube : array, HDU or path
        Realisations of the noise, shape (n, ny, nx), n > 1, of which the power is estimated, unbiased, after their mean
        is subtracted (and after they are apodized).
    ftype : {'real', 'rfft', 'full', 'fft'}
        Modes of `cov` or `icov`: those of ``numpy.fft.rfft2``, shape (ny, nx // 2 + 1), for 'real' and 'rfft', or those
        of ``fft2``, (ny, nx), for 'full' and 'fft'.
    apod : array, HDU or path, optional
        A window from 0 to 1 of the shape of the image, zero where it is masked. Residuals are multiplied by it, and the
        power in `cov` or `icov`, which is that of the noise without window, by its mean square.
    smooth : int
        How often the power of a cube is averaged over 3 x 3 neighbouring modes, which suits a smooth spectrum.
    **values : number, Prior, Tie or callable
        Of ``scale``, a factor on all standard deviations.

    Raises
    ------
    DataError
        If none or several of `cov`, `icov`, `cube` are given, or something unknown.
    """

    name = "normal_fourier"
    takes: ClassVar[dict[str, str]] = {**Covariance.takes, "apodization": "apod", "ftype": "ftype"}

    def __init__(
        self,
        cov: PlainInput = None,
        icov: PlainInput = None,
        cube: PlainInput = None,
        ftype: str = "real",
        apod: PlainInput = None,
        smooth: int = 0,
        **values: Any,
    ) -> None:
        if ftype not in _FTYPES:
            raise DataError(f"NormalFourier: ftype must be 'real' or 'full' (or 'rfft', 'fft'), not {ftype!r}")
        super().__init__(cov=cov, icov=icov, cube=cube, **values)
        self.__dict__.update(ftype=_FTYPES[ftype], apod=apod, smooth=self._passes(smooth))

    def _window(self, image: Image) -> np.ndarray:
        masked = image.mask == 0
        if self.apod is None:
            if masked.any():
                raise DataError(
                    f"NormalFourier: {int(masked.sum())} pixel(s) are masked, and Fourier modes need all: give an "
                    "apod that vanishes there, or use NormalCorrelated"
                )
            return np.ones(image.shape)
        window = image.matching(image.read(self.apod, "apod"), "apod")
        if not np.all((window >= 0) & (window <= 1)) or not window.any():
            raise DataError("apod must lie between 0 and 1, and not vanish everywhere")
        if np.any(window[masked] != 0):
            raise DataError(f"apod must vanish in masked pixels, and does not in {int(np.sum(window[masked] != 0))}")
        return window

    def _power(self, image: Image, window: np.ndarray) -> np.ndarray:
        """Return the power of apodized noise on the half-plane, averaged over each mode and its opposite."""
        from scipy.ndimage import uniform_filter

        ny, nx = image.shape
        if self.form == "cube":
            cube = cut_cube(read_cube(self.source), image)
            if len(cube) < 2:
                raise DataError(f"cube: at least 2 realisations are needed, got {len(cube)}")
            cube = np.where(window > 0, cube, 0.0)
            transform = np.fft.fft2(window * (cube - cube.mean(0)))
            power = (np.abs(transform) ** 2).sum(0) / ((len(cube) - 1) * ny * nx)
            for _ in range(self.smooth):
                power = uniform_filter(power, 3, mode="wrap")
            power = power[:, : nx // 2 + 1]
        else:
            power = read_plane(self.source, self.form, max_pixels=None)
            expected = (ny, nx // 2 + 1) if self.ftype == "real" else (ny, nx)
            if power.shape != expected:
                raise DataError(
                    f"{self.form} has shape {power.shape}: expected {expected} for an image of {(ny, nx)} with "
                    f"ftype={self.ftype!r}"
                )
        bad = ~(np.isfinite(power) & (power > 0))
        if bad.any():
            raise DataError(
                f"{self.form}: the power of {int(bad.sum())} of {bad.size} modes is not finite and positive"
            )
        if self.form == "icov":
            power = 1 / power
        if self.form != "cube":
            power = power * np.mean(window**2)
        return _symmetric(power, nx, self.form)

    def sigma(self, image: Image) -> np.ndarray:
        """Return the square root of the mean power, shape of the image; inf where a pixel is not used.

        Parameters
        ----------
        image : Image
            Its shape and mask.

        Returns
        -------
        ndarray, shape (ny, nx)
            In the unit of the image.
        """
        window = self._window(image)
        return _spread(self._power(image, window), window)

    def prepare(self, image: Image) -> PowerSpectrumArrays:
        """Return data, window, weights of the modes and the normalisation.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        PowerSpectrumArrays
            Of ndarray.

        Raises
        ------
        DataError
            If the power has another shape, is no power, or pixels are masked without an apodization.
        """
        window = self._window(image)
        power = self._power(image, window)
        times = _occurrence(*image.shape)
        return PowerSpectrumArrays(
            apod=window,
            n_data=np.asarray(float(window.size)),
            data=np.where(window > 0, image.data, 0.0),
            norm=np.asarray(-0.5 * (times * np.log(2 * math.pi * power)).sum()),
            sigma=_spread(power, window),
            weight=times / (window.size * power),
        )

    @classmethod
    def log_likelihood(cls, drawn: Rendered, arrays: PowerSpectrumArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return ``-1/2 sum_k(|R_k|^2 / (N P_k) + ln(2 pi P_k))``, both terms over the full plane of modes."""
        white = cls.whiten(arrays.data - drawn.total, arrays, values, spec)
        return arrays.norm - arrays.n_data * jnp.log(scale_of(values, spec)) - 0.5 * (white * white).sum()

    @staticmethod
    def whiten(plane: Array, arrays: PowerSpectrumArrays, values: dict[str, Any], spec: Spec) -> Array:
        """Return real and imaginary part of each mode, in units of its standard deviation."""
        modes = jnp.fft.rfft2(arrays.apod * plane) * jnp.sqrt(arrays.weight) / scale_of(values, spec)
        return jnp.stack([modes.real, modes.imag])


def _occurrence(ny: int, nx: int) -> np.ndarray:
    """Return how often each mode of the half-plane occurs in the full plane: its opposite may be in the half too."""
    times = np.full((ny, nx // 2 + 1), 2.0)
    times[:, 0] = 1
    if nx % 2 == 0:
        times[:, -1] = 1
    return times


def _symmetric(power: np.ndarray, nx: int, what: str) -> np.ndarray:
    """Return the half-plane of a power spectrum; `DataError` unless opposite modes have the same power."""
    columns = np.arange(power.shape[1])
    if power.shape[1] != nx:  # of a half-plane, those that hold both a mode and its opposite
        columns = columns[_occurrence(len(power), nx)[0] == 1]
    opposite = power[-np.arange(len(power))][:, -columns % nx]
    wrong = np.abs(power[:, columns] - opposite) > _ASYMMETRY * opposite
    if wrong.any():
        raise DataError(
            f"{what}: {int(wrong.sum())} of {power.size} modes have another power than their opposite, as no real "
            "noise has (are its modes in the order of numpy.fft, zero frequency first?)"
        )
    power[:, columns] = (power[:, columns] + opposite) / 2
    return power[:, : nx // 2 + 1]


def _spread(power: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the noise without its window."""
    variance = (_occurrence(*window.shape) * power).sum() / window.size / np.mean(window**2)
    return np.where(window > 0, math.sqrt(variance), np.inf)
