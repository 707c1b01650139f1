"""Base classes of components."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from socca.models.drawing import Alone, fixed_map
from socca.parameters.parameterised import Parameter, Parameterised, Spec, param
from socca.parameters.ties import Tie
from socca.priors import as_prior
from socca.utils.registry import Registry
from socca.utils.tags import tag_member, tagged

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.utils.array_types import Array

__all__ = ["REGISTRY", "Component", "Extended", "Parameter", "Spec", "Tie", "param"]

#: Name -> component. A subclass of `Component` registers itself, unless it says ``abstract=True``.
REGISTRY: Registry[Component] = Registry("component")


@tagged("component/Component")
class Component(Parameterised):
    """A part of a surface-brightness model.

    Parameters
    ----------
    positive : bool, optional
        Give models in which this component is negative anywhere no probability.
    **values : number, Prior, Tie or callable
        Values of the parameters: a number is fixed, a prior makes the parameter free, and a function whose arguments
        are the full names of other parameters (``lambda comp_00_re: comp_00_re / 2``) ties it to them.

    Attributes
    ----------
    id : str
        What the full names of its parameters begin with. In a model, ``comp_00`` and so on in the order in which the
        components were added; before that, in the order in which they were made.
    """

    as_prior = staticmethod(as_prior)
    attributes: ClassVar[tuple[str, ...]] = ("id", "positive")
    #: How `socca.likelihood.render` draws it: 'extended', 'point' or 'background'.
    role: ClassVar[str]
    #: The parameters that say where it is; empty for what is everywhere.
    position_names: ClassVar[tuple[str, ...]] = ("xc", "yc")
    #: Parameters that automatic priors leave at their defaults.
    shapes_left_alone: ClassVar[tuple[str, ...]] = ()
    _numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if abstract:
            tag_member(cls, REGISTRY.family, cls.__name__)
        else:
            REGISTRY.add(cls.__name__, cls)

    @classmethod
    def center(cls, values: dict[str, Any]) -> tuple[Array, Array]:
        """Return its position out of the values of all parameters."""
        xc, yc = cls.position_names
        return values[xc], values[yc]

    @classmethod
    def quantities(cls, values: dict[str, Any], spec: Spec, pixel_area: Array) -> dict[str, Array]:
        """Return what follows from the values of all parameters, for JAX to trace.

        Parameters
        ----------
        values : dict of scalar
            Values of the parameters.
        spec : Spec
            What is static.
        pixel_area : scalar
            Area of a pixel, square degrees.

        Returns
        -------
        dict of scalar
            By names of `socca.models.quantity.QUANTITIES`; NaN for what does not exist, such as an infinite flux.
        """
        return {}

    def __init__(self, positive: bool | None = None, **values: Any) -> None:
        super().__init__(**values)
        number = next(Component._numbers)
        self.__dict__.update(positive=positive, creation_number=number, id=f"comp_{number:02d}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "id":
            # So that `boundto` and ties can name the parameters of a part through the part itself.
            for part, thing in self._parts.items():
                thing.id = None if value is None else f"{value}_{part}"

    def getmap(self, img: Image, convolve: bool = False) -> Any:
        """Return the component's image, all its parameters being numbers.

        Parameters
        ----------
        img : Image
            The frame and the PSF.
        convolve : bool
            Convolve with the PSF.

        Returns
        -------
        ndarray, shape (ny, nx)
            The image, in its own unit.

        Raises
        ------
        ModelError
            If a parameter is not a number.
        """
        before = self.id
        try:
            self.id = "comp_00"
            return fixed_map(Alone(self), img, convolve, addbackground=self.role == "background")
        finally:
            self.id = before  # that in the model which it is part of


class Extended(Component, ABC, abstract=True):
    """A source with a brightness at every point of the sky, which is integrated over pixels."""

    role = "extended"
    #: The parameters that are the position angle and the ellipticity of its isophotes.
    ellipse_names: ClassVar[tuple[str, str]] = ("theta", "e")

    @classmethod
    @abstractmethod
    def isophote_shape(cls, values: dict[str, Any], spec: Spec) -> tuple[Array, Array]:
        """Return roughly the position angle (rad) and the axis ratio of the isophotes.

        They only say where a pixel needs many points of quadrature.
        """

    @classmethod
    def smooth(cls, spec: Spec) -> bool:
        """Tell whether the brightness has no sharp edge; one that has is integrated with more care, less exactly."""
        return True

    @classmethod
    def cusp(cls, values: dict[str, Any], spec: Spec) -> Any:
        """Return k where the brightness rises as r^-k towards the centre, and None where it is finite there."""
        return None

    @classmethod
    @abstractmethod
    def brightness(cls, dx: Array, dy: Array, values: dict[str, Any], spec: Spec, cell: Array) -> Array:
        """Return the brightness at an offset from the centre.

        Parameters
        ----------
        dx, dy : array
            Offsets to the east and north, degrees.
        values : dict
            Values of the parameters.
        spec : Spec
            What is static.
        cell : array, shape (2, 2) or (2, 2, n)
            The extent of what one value stands for: change of (x, y) along its two sides, as columns. Profiles with a
            sharp edge look at it, and the least radius is a millionth of it.

        Returns
        -------
        array
            In the unit of the image.
        """
