"""Base class of `NormalCorrelated` and `NormalFourier`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np

from socca.data.fits import PlainInput
from socca.errors import DataError
from socca.noise.base import LOWEST_SCALE, GaussianNoise, NoiseArrays
from socca.parameters.parameterised import Spec, param

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array


class CovarianceArrays(NoiseArrays, Protocol):
    """Arrays of any correlated noise."""

    @property
    def norm(self) -> Array:
        """Logarithm of the normalisation, of an unscaled covariance."""

    @property
    def sigma(self) -> Array:
        """Standard deviation of each pixel, shape (ny, nx); inf where it is not used."""


C = TypeVar("C", bound=CovarianceArrays)


class Covariance(GaussianNoise[C], abstract=True):
    """Correlated Gaussian noise: a covariance, its inverse, or realisations to estimate it from.

    Parameters
    ----------
    cov, icov, cube : array, HDU or path
        Exactly one of them.
    **values : number, Prior, Tie or callable
        Of the noise's own parameters.

    Raises
    ------
    DataError
        If none or several are given, or something unknown.
    """

    takes: ClassVar[dict[str, str]] = {"covariance": "cov", "inverse_covariance": "icov", "cube": "cube"}
    scale = param("", "factor on the given standard deviations", 1.0, lower=LOWEST_SCALE, neutral=1.0)

    def __init__(self, cov: PlainInput = None, icov: PlainInput = None, cube: PlainInput = None, **values: Any) -> None:
        super().__init__()
        self._refuse_unknown(values, ("cov", "icov", "cube"))
        given = {key: value for key, value in (("cov", cov), ("icov", icov), ("cube", cube)) if value is not None}
        if len(given) != 1:
            raise DataError(
                f"{type(self).__name__}: give exactly one of cov, icov, cube; got {', '.join(given) or None}"
            )
        ((form, source),) = given.items()
        self.__dict__.update(form=form, source=source)
        self._assign(values)

    def _passes(self, smooth: Any) -> int:
        """Return how often an estimated covariance is smoothed; one that is given is used as it is, with a warning."""
        name = type(self).__name__
        if isinstance(smooth, bool) or not isinstance(smooth, int | np.integer) or smooth < 0:
            raise DataError(f"{name}: smooth = {smooth!r} must be a whole number, of zero or more")
        if smooth and self.form != "cube":
            warnings.warn(
                f"{name}: {self.form} is used as it is: smooth={smooth} is for a cube, of which the covariance is "
                "estimated",
                stacklevel=3,
            )
            return 0
        return int(smooth)

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: C, values: dict[str, Any]) -> np.ndarray:
        """Return ``scale sigma``; correlations are left out of it."""
        return values["scale"] * arrays.sigma


def cut_cube(cube: np.ndarray, image: Image) -> np.ndarray:
    """Return realisations on the image's pixels; `DataError` if they have another shape."""
    return np.array([image.matching(plane, "cube") for plane in cube])


def scale_of(values: dict[str, Any], spec: Spec) -> Any:
    """Return the factor on all standard deviations; where it is fixed at one, that is compiled away."""
    return 1.0 if "scale" in spec.neutral else values["scale"]
