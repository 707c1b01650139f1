"""Interface of noise models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from socca.errors import DataError, nearest
from socca.parameters.parameterised import Parameterised, Spec
from socca.priors import as_prior
from socca.utils.lazy import jnp
from socca.utils.registry import Registry
from socca.utils.tags import tag_member, tagged

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.base import Component
    from socca.models.rendered import Rendered
    from socca.utils.array_types import Array

#: Name in a config -> noise model.
REGISTRY: Registry[NoiseModel[Any]] = Registry("noise")
#: Lowest factor on a noise level: its square must not underflow.
LOWEST_SCALE = 1e-6


class NoiseArrays(Protocol):
    """Arrays that the likelihood of an image needs: each noise model has a named tuple of its own.

    All of them have what follows. What else there is, only the noise model knows.
    """

    @property
    def data(self) -> Array | None:
        """The image, shape (ny, nx), zero where a pixel is not used; None where there are no data."""

    @property
    def n_data(self) -> Array:
        """Number of pixels (of modes, for noise in Fourier space) that the model is compared with."""

    @property
    def used(self) -> Array:
        """Which pixels are used, shape (ny, nx): bool, or 1 and 0."""


A = TypeVar("A", bound=NoiseArrays)


@tagged("noise/NoiseModel")
class NoiseModel(Parameterised, ABC, Generic[A]):
    """Probability of an image, given a model of it.

    A subclass is one file. `prepare` turns what the user gave into arrays, once per image; `log_likelihood` is a
    pure JAX function of the model image, of these arrays and of the noise's own parameters (declared by `param`, as
    those of a component; fitted if they have a prior), normalised over the data. A subclass registers itself by its
    `name`, unless it says ``abstract=True``. One whose likelihood is Gaussian in the model image, or is a product over
    pixels, is also a `GaussianNoise` or an `IndependentNoise`.
    """

    as_prior = staticmethod(as_prior)
    name: ClassVar[str]
    #: Key of a config -> argument of the class.
    takes: ClassVar[dict[str, str]] = {}
    #: Whether an image may be padded with masked pixels; the arrays of its shape that `prepare` gives get zeros there.
    padded: ClassVar[bool] = False
    #: Whether it is a `GaussianNoise`.
    gaussian: ClassVar[bool] = False
    #: Whether it is an `IndependentNoise`.
    independent: ClassVar[bool] = False
    #: Whether `Rendered.raw` is used, which must then hold the point sources too.
    needs_sky: ClassVar[bool] = False

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if abstract:
            tag_member(cls, REGISTRY.family, cls.__name__)
        else:
            REGISTRY.add(cls.name, cls)

    def _refuse_unknown(self, given: Iterable[str], known: Iterable[str] = ()) -> None:
        """Raise `DataError` for an argument that is neither `known` nor a parameter."""
        known = [*known, *self.fields]
        for key in given:
            if key not in known:
                raise DataError(f"{type(self).__name__}: unknown argument {key!r}{nearest(key, known)}")

    def check_components(self, components: Sequence[Component]) -> None:
        """Raise `ModelError` if a model has a component that this likelihood has no place for."""

    @abstractmethod
    def prepare(self, image: Image) -> A:
        """Return the arrays that `log_likelihood` needs for this image.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        named tuple of ndarray
            Arguments of the compiled function, for model images in double precision.
        """

    @staticmethod
    def with_epsilon(arrays: A, epsilon: float) -> A:
        """Return the arrays for model images of another precision.

        Parameters
        ----------
        arrays : named tuple of ndarray
            What `prepare` returned.
        epsilon : float
            Machine epsilon of the model images.

        Returns
        -------
        named tuple of ndarray
            The same, unless the likelihood asks how exact a model image is.
        """
        return arrays

    @abstractmethod
    def sigma(self, image: Image) -> np.ndarray:
        """Return the standard deviation of each pixel as it was given, shape of the image; inf where it is not used.

        The noise's own parameters are left out of it: see `sigma_at`.
        """

    @staticmethod
    @abstractmethod
    def log_likelihood(drawn: Rendered, arrays: A, values: dict[str, Any], spec: Spec) -> Array:
        """Return the log of the probability density of the data.

        Parameters
        ----------
        drawn : Rendered
            The model: `Rendered.total` is what the data are compared with.
        arrays : named tuple of array
            What `prepare` returned.
        values : dict
            Values of the noise's own parameters, scalars.
        spec : Spec
            What is static: which parameters are neutral, and the structure.

        Returns
        -------
        array, shape ()
            The log-likelihood, with its full normalisation.
        """

    @staticmethod
    def expected(drawn: Rendered, values: dict[str, Any]) -> Array:
        """Return what the data are expected to be: the model, and what the noise's own parameters add to it.

        Parameters
        ----------
        drawn : Rendered
            The model.
        values : dict
            Values of the noise's own parameters.

        Returns
        -------
        array, shape (ny, nx)
            In the unit of the image.
        """
        return drawn.total

    @staticmethod
    @abstractmethod
    def sigma_at(drawn: Rendered, arrays: A, values: dict[str, Any]) -> np.ndarray:
        """Return the standard deviation of each pixel, given the model and the noise's own parameters.

        Parameters
        ----------
        drawn : Rendered
            The model.
        arrays : named tuple of array
            What `prepare` returned.
        values : dict
            Values of the noise's own parameters.

        Returns
        -------
        ndarray, shape (ny, nx)
            In the unit of the image; inf where a pixel is not used.
        """


class GaussianNoise(NoiseModel[A], abstract=True):
    """Noise whose likelihood is Gaussian in the model image, so that linear amplitudes can be integrated out."""

    gaussian = True

    @staticmethod
    @abstractmethod
    def whiten(plane: Array, arrays: A, values: dict[str, Any], spec: Spec) -> Array:
        """Return the linear map of an image under which Gaussian noise becomes white, of unit variance.

        Parameters
        ----------
        plane : array, shape (ny, nx)
            An image, such as a residual: the likelihood is minus half the sum of its squares, plus what does not
            depend on the model.
        arrays, values, spec
            As for `log_likelihood`.

        Returns
        -------
        array
            Of any shape.
        """


class IndependentNoise(NoiseModel[A], abstract=True):
    """Noise whose likelihood is a product over pixels."""

    independent = True

    @staticmethod
    @abstractmethod
    def pointwise(drawn: Rendered, arrays: A, values: dict[str, Any], spec: Spec) -> Array:
        """Return the log-likelihood of each pixel.

        Parameters
        ----------
        drawn, arrays, values, spec
            As for `log_likelihood`.

        Returns
        -------
        array, shape (ny, nx)
            Their sum over the used pixels is the log-likelihood; of other pixels it may be anything.
        """


@tagged("arrays/none")
class NoData(NamedTuple):
    """The arrays of a noise model without data: none."""

    data: None = None

    @property
    def n_data(self) -> Array:
        """No pixel."""
        return np.zeros(())

    @property
    def used(self) -> Array:
        """No pixel, shape (0, 0)."""
        return np.zeros((0, 0), bool)


class NuisanceParameters(NoiseModel[NoData], abstract=True):
    """Parameters of a noise model without its data, for drawing a model on an image that it is not fitted to.

    Its likelihood uses no pixel, and so does not depend on the model.

    Parameters
    ----------
    noise : NoiseModel
        Has the parameters.
    """

    def __init__(self, noise: NoiseModel[Any]) -> None:
        super().__init__()
        self._extend(noise.fields)
        self._assign({name: value for name, value in noise.values.items() if value is not None})

    def prepare(self, image: Image) -> NoData:
        """Return nothing."""
        return NoData()

    def sigma(self, image: Image) -> np.ndarray:
        """Return inf for each pixel."""
        return np.full(image.shape, np.inf)

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: NoData, values: dict[str, Any], spec: Spec) -> Array:
        """Return 0."""
        return jnp.zeros(())

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: NoData, values: dict[str, Any]) -> np.ndarray:
        """Return inf for each pixel."""
        return np.full(np.shape(drawn.total), np.inf)
