"""What a noise model is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from socca.errors import DataError, nearest
from socca.parameters.parameterised import Parameterised, Spec
from socca.priors import as_prior
from socca.utils.registry import Registry
from socca.utils.tags import tag_member, tagged

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.base import Component
    from socca.models.rendered import Rendered

#: Name in a config -> noise model.
REGISTRY: Registry[NoiseModel] = Registry("noise")
#: Lowest factor on a noise level: its square must not underflow.
LOWEST_SCALE = 1e-6


@tagged("noise/NoiseModel")
class NoiseModel(Parameterised):
    """The probability of an image, given a model of it.

    A subclass is one file. `prepare` turns what the user gave into arrays, once per image; `log_likelihood` is a
    pure JAX function of the model image, of these arrays and of the noise's own parameters (declared by `param`, as
    those of a component; fitted if they have a prior), normalised over the data. A subclass registers itself by its
    `name`, unless it says ``abstract=True``.
    """

    as_prior = staticmethod(as_prior)
    name: ClassVar[str]
    #: Key of a config -> argument of the class.
    takes: ClassVar[dict[str, str]] = {}
    #: Whether an image may be padded with masked pixels; the arrays of its shape that `prepare` gives get zeros there.
    padded: ClassVar[bool] = False
    #: Whether the likelihood is Gaussian in the model image, so that linear amplitudes can be integrated out.
    gaussian: ClassVar[bool] = False
    #: Whether the likelihood is a product over pixels, the factors of which `pointwise` gives.
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

    def prepare(self, image: Image) -> dict[str, np.ndarray]:
        """Return the arrays that `log_likelihood` needs for this image.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        dict of ndarray
            Arguments of the compiled function. A model that asks how exact the image of the model is has ``eps`` among
            them, the machine epsilon of doubles; problems in single precision put theirs in its place.
        """
        raise NotImplementedError

    def sigma(self, image: Image) -> np.ndarray:
        """Return the standard deviation of each pixel as it was given, shape of the image; inf where it is not used.

        The noise's own parameters are left out of it: see `sigma_at`.
        """
        raise NotImplementedError

    @staticmethod
    def log_likelihood(drawn: Rendered, arrays: dict[str, Any], values: dict[str, Any], spec: Spec) -> Any:
        """Return the log of the probability density of the data.

        Parameters
        ----------
        drawn : Rendered
            The model: `Rendered.total` is what the data are compared with.
        arrays : dict of array
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
        raise NotImplementedError

    @staticmethod
    def pointwise(drawn: Rendered, arrays: dict[str, Any], values: dict[str, Any], spec: Spec) -> Any:
        """Return the log-likelihood of each pixel, where pixels are `independent`.

        Parameters
        ----------
        drawn, arrays, values, spec
            As for `log_likelihood`.

        Returns
        -------
        array, shape (ny, nx)
            Their sum over the used pixels is the log-likelihood; of other pixels it may be anything.
        """
        raise NotImplementedError

    @staticmethod
    def expected(drawn: Rendered, values: dict[str, Any]) -> Any:
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
    def whiten(plane: Any, arrays: dict[str, Any], values: dict[str, Any], spec: Spec) -> Any:
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
        raise NotImplementedError

    @staticmethod
    def sigma_at(drawn: Rendered, arrays: dict[str, Any], values: dict[str, Any]) -> np.ndarray:
        """Return the standard deviation of each pixel, given the model and the noise's own parameters.

        Parameters
        ----------
        drawn : Rendered
            The model.
        arrays : dict of array
            What `prepare` returned.
        values : dict
            Values of the noise's own parameters.

        Returns
        -------
        ndarray, shape (ny, nx)
            In the unit of the image; inf where a pixel is not used.
        """
        raise NotImplementedError


class NuisanceParameters(NoiseModel, abstract=True):
    """The parameters of a noise model without its data, for drawing a model on an image that it does not fit.

    Parameters
    ----------
    noise : NoiseModel
        Has the parameters.
    """

    def __init__(self, noise: NoiseModel) -> None:
        super().__init__()
        self._extend(noise.fields)
        self._assign(noise.values)

    def prepare(self, image: Image) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}
