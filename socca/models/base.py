"""What a component of a model is: named parameters with units, and a pure function of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from socca.errors import ModelError, nearest
from socca.expressions import Node
from socca.priors import Prior

if TYPE_CHECKING:
    from socca.data import Image

#: Name -> component. A subclass of `Component` with a parameter registers itself, unless it says ``abstract=True``.
REGISTRY: dict[str, type[Component]] = {}


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter before any data.

    Parameters
    ----------
    unit : str
        ``deg``, ``rad``, ``image`` (the unit of the image) or empty.
    description : str
        One line.
    default : float or None
        None: it must be given.
    lower, upper : float
        The range in which the component is defined.
    period : float or None
        The parameter is an angle that comes back to itself after this.
    neutral : float or None
        Fixed at this value, the parameter drops out of the formula, and is compiled away.
    period_on_sky : float or None
        As `period`, but in sky frames alone.
    """

    unit: str
    description: str
    default: float | None = None
    lower: float = -math.inf
    upper: float = math.inf
    period: float | None = None
    neutral: float | None = None
    period_on_sky: float | None = None

    def check(self, value: float, where: str) -> None:
        """Raise `ModelError` if a value lies outside the range; `where` names the parameter."""
        if not self.lower <= value <= self.upper:
            raise ModelError(f"{where} = {value:g} lies outside [{self.lower:g}, {self.upper:g}]")


def param(
    unit: str,
    description: str,
    default: float | None = None,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    period: float | None = None,
    neutral: float | None = None,
    period_on_sky: float | None = None,
) -> Any:
    """Declare a parameter in the body of a component; see `Parameter`."""
    return Parameter(unit, description, default, lower, upper, period, neutral, period_on_sky)


@dataclass(frozen=True)
class Tie:
    """A parameter that is a function of others.

    Parameters
    ----------
    names : tuple of str
        Full names (``comp_00_re``) of the parameters that it depends on.
    function : Node or callable
        A parsed expression over these names, or a JAX-traceable function with these arguments.
    constants : tuple of float
        Numbers in the expression that may differ between targets.
    """

    names: tuple[str, ...]
    function: Node | Callable[..., Any]
    constants: tuple[float, ...] = ()


class Component:
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
        ``comp_00`` and so on, once part of a model.
    """

    #: How `socca.forward` draws it: 'extended', 'point' or 'background'.
    role: ClassVar[str]
    fields: ClassVar[dict[str, Parameter]] = {}

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        for name in own:
            delattr(cls, name)  # values live on the instances, and a missing one must not look like a value
        cls.fields = {**cls.fields, **own}
        if own and not abstract:
            REGISTRY[cls.__name__] = cls

    def __init__(self, positive: bool | None = None, **values: Any) -> None:
        object.__setattr__(self, "_values", {name: field.default for name, field in self.fields.items()})
        object.__setattr__(self, "id", None)
        object.__setattr__(self, "positive", positive)
        for name, value in values.items():
            if name not in self.fields:
                raise ModelError(f"{type(self).__name__} has no parameter {name!r}{nearest(name, self.fields)}")
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no parameter or attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("id", "positive"):
            object.__setattr__(self, name, value)
        elif name in self.fields:
            self._values[name] = self._checked(name, value)
        else:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}{nearest(name, self.fields)}")

    def _checked(self, name: str, value: Any) -> Any:
        where = f"{type(self).__name__}: {name}"
        if isinstance(value, Prior):
            for edge in value.support:
                if math.isfinite(edge):
                    self.fields[name].check(edge, f"{where} ~ {value!r}: bound")
            return value
        if isinstance(value, Tie) or callable(value):
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ModelError(f"{where}: expected a number, a prior or a function, got {type(value).__name__}") from None
        if not math.isfinite(number):
            raise ModelError(f"{where} = {number}: not finite")
        self.fields[name].check(number, where)
        return number

    @property
    def units(self) -> dict[str, str]:
        """Unit of each parameter."""
        return {name: field.unit for name, field in self.fields.items()}

    @property
    def description(self) -> dict[str, str]:
        """One line about each parameter."""
        return {name: field.description for name, field in self.fields.items()}

    def parlist(self) -> list[str]:
        """Return the names of the parameters."""
        return list(self.fields)

    def parameters(self) -> str:
        """Return a table of the parameters, their values, units and meanings."""
        rows = [f"{name:<8} {self._values[name]!s:<36} {f.unit:<6} {f.description}" for name, f in self.fields.items()]
        return "\n".join([f"{type(self).__name__} ({self.id or 'not in a model'})", *rows])

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
        from socca.models.model import Model

        return Model(self).getmap(img, convolve=convolve, addbackground=self.role == "background")
