"""What a noise model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from socca.data import Image

#: Name in a config -> noise model.
REGISTRY: dict[str, type[NoiseModel]] = {}


class NoiseModel:
    """The probability of an image, given a model of it.

    A subclass is one file. `prepare` turns what the user gave into arrays, once per image; `log_likelihood` is a
    pure JAX function of the model image and of these arrays, normalised over the data.
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
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
    def log_likelihood(model: Any, arrays: dict[str, Any]) -> Any:
        """Return the log of the probability density of the data.

        Parameters
        ----------
        model : array, shape (ny, nx)
            The model image.
        arrays : dict of array
            What `prepare` returned.

        Returns
        -------
        array, shape ()
            The log-likelihood, with its full normalisation.
        """
        raise NotImplementedError
