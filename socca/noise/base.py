"""What a noise model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from socca.parametrised import Parametrised, Spec

if TYPE_CHECKING:
    from socca.data import Image
    from socca.forward import Rendered

#: Name in a config -> noise model.
REGISTRY: dict[str, type[NoiseModel]] = {}


class NoiseModel(Parametrised):
    """The probability of an image, given a model of it.

    A subclass is one file. `prepare` turns what the user gave into arrays, once per image; `log_likelihood` is a
    pure JAX function of the model image, of these arrays and of the noise's own parameters (declared by `param`, as
    those of a component; fitted if they have a prior), normalised over the data.
    """

    name: ClassVar[str]
    #: Whether an image may be padded with masked pixels; the arrays of its shape that `prepare` gives get zeros there.
    padded: ClassVar[bool] = False
    #: Whether the likelihood is Gaussian in the model image, so that linear amplitudes can be integrated out.
    gaussian: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        REGISTRY[cls.name] = cls

    def prepare(self, image: Image) -> dict[str, np.ndarray]:
        """Return the arrays that `log_likelihood` needs for this image.

        Parameters
        ----------
        image : Image
            Data and mask.

        Returns
        -------
        dict of ndarray
            Arguments of the compiled function.
        """
        raise NotImplementedError

    def sigma(self, image: Image) -> np.ndarray:
        """Return the standard deviation of each pixel, shape of the image; inf where the pixel is not used."""
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
