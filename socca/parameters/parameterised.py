"""Things with named parameters: the components of a model, the profiles within them, and noise models."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from socca.errors import ModelError, nearest
from socca.parameters.parameter import Parameter, PriorLike, param
from socca.parameters.ties import EqualTo, Tie, as_tie
from socca.parameters.units import PARAMETER_UNITS
from socca.utils.tags import tagged

__all__ = ["Parameter", "Parameterised", "PriorLike", "Spec", "param", "shown"]


def shown(name: str, value: Any) -> str:
    """Return the value of a parameter as tables show it: number, prior, or what it is tied to."""
    if isinstance(value, float):
        return f"{value:.12g}"
    untied = isinstance(value, PriorLike) or value is None
    return str(value) if untied else f"tied to {', '.join(as_tie(name, value).names)}"


@tagged("spec/Spec")
@dataclass(frozen=True)
class Spec:
    """The static part of a thing with parameters. Equal specs share compiled programs.

    Parameters
    ----------
    kind : type
        Its class.
    fields : tuple of (str, Parameter)
        Its parameters.
    neutral : frozenset of str
        Parameters fixed at their neutral value, which compile away.
    positive : bool
        Whether negative brightness is ruled out.
    structure : hashable
        Whatever else the class distinguishes: a truncation, the profiles of a disk.
    added : frozenset of str
        Parameters that its formula does not know: those of `Parameterised.addparameter`.
    """

    kind: type[Any]
    fields: tuple[tuple[str, Parameter], ...]
    neutral: frozenset[str] = frozenset()
    positive: bool = False
    structure: Hashable = None
    added: frozenset[str] = frozenset()


@tagged("spec/Parameterised")
class Parameterised:
    """A thing with named parameters, declared in the body of its class by `param`.

    Parameters
    ----------
    **values : number, Prior, Tie or callable
        Values of the parameters: a number is fixed, a prior makes the parameter free, and a function whose arguments
        are the full names of other parameters (``lambda comp_00_re: comp_00_re / 2``) ties it to them.

    Attributes
    ----------
    fields : dict
        Name -> `Parameter`. Of a class, what it declares; of an instance, all that it has: those added to it, and
        those of its parts, called ``part.name``.
    id : str or None
        What the full names of its parameters begin with.
    creation_number : int or None
        The order in which components were made.
    """

    id: str | None
    creation_number: int | None = None
    fields: dict[str, Parameter] = {}  # noqa: RUF012  (never changed, but replaced by each subclass)
    #: Attributes that may be set and are no parameters.
    attributes: ClassVar[tuple[str, ...]] = ("id",)
    #: Parameter -> what it must stay below in a thing that is no part of another, and what is wrong from there on.
    upper_limits: ClassVar[dict[str, tuple[float, str]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        for name in own:
            delattr(cls, name)  # values live on the instances, and a missing one must not look like a value
        cls.fields = {**cls.fields, **own}

    def __init__(self, **values: Any) -> None:
        fields = dict(type(self).fields)
        self.__dict__.update(
            fields=fields,
            _values={name: field.default for name, field in fields.items()},
            _parts={},
            _added=[],
            _removed=[],
            _part_of=None,
            id=None,
        )
        self._assign(values)

    def _assign(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name not in self.fields:
                raise ModelError(f"{type(self).__name__} has no parameter {name!r}{nearest(name, self.fields)}")
            setattr(self, name, value)

    def _extend(self, fields: dict[str, Parameter]) -> None:
        """Give this instance further parameters."""
        self.fields.update(fields)
        self._values.update({name: field.default for name, field in fields.items()})

    def _add_part(self, name: str, part: Parameterised, exposed: Iterable[str]) -> None:
        """Make a thing a part of this one, with those of its parameters that are `exposed` as ``name.parameter``."""
        for other, present in self._parts.items():
            if part is present:
                raise ModelError(f"{type(self).__name__}: {name} and {other} are the same object: make a second one")
        if part._part_of is None:
            part.id = None if self.id is None else f"{self.id}_{name}"
        part.__dict__["_part_of"] = f"the {name} profile of a {type(self).__name__}"
        self._parts[name] = part
        self.fields.update({f"{name}.{key}": part.fields[key] for key in exposed})

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__
        if name in known.get("_removed", ()):
            raise AttributeError(f"{type(self).__name__}: the parameter {name!r} was removed")
        if name in known.get("_values", {}):
            return known["_values"][name]
        if name in known.get("_parts", {}):
            return known["_parts"][name]
        if "." in name and name in known["fields"]:
            part, _, parameter = name.partition(".")
            return getattr(self._parts[part], parameter)
        raise AttributeError(f"{type(self).__name__} has no parameter or attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.attributes:
            self.__dict__[name] = value
        elif name in self._removed:
            raise AttributeError(f"{type(self).__name__}: the parameter {name!r} was removed: add it again first")
        elif name not in self.fields:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}{nearest(name, self.fields)}")
        elif "." in name:
            part, _, parameter = name.partition(".")
            setattr(self._parts[part], parameter, value)
        else:
            self._values[name] = self._checked(name, value)

    def _checked(self, name: str, value: Any) -> Any:
        where = f"{type(self).__name__}: {name}"
        prior = self.as_prior(value)
        if prior is not None:
            self.fields[name].check_prior(prior, where)
            return prior
        if isinstance(value, Tie | EqualTo) or callable(value):
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ModelError(f"{where}: expected a number, a prior or a function, got {type(value).__name__}") from None
        if not math.isfinite(number):
            raise ModelError(f"{where} = {number}: not finite")
        self.fields[name].check(number, where)
        return number

    @staticmethod
    def as_prior(value: Any) -> PriorLike | None:
        """Return a value as a prior, or None if it is none. Subclasses take distributions of other packages too."""
        return value if isinstance(value, PriorLike) else None

    @property
    def parts(self) -> dict[str, Parameterised]:
        """Name -> the profiles that it is made of, if any."""
        return dict(self._parts)

    @property
    def values(self) -> dict[str, Any]:
        """Name -> number, prior or tie; None where nothing was given. Those that were removed are among them."""
        return {name: self._value(name) for name in self.fields}

    def _value(self, name: str) -> Any:
        part, dot, parameter = name.partition(".")
        return self._parts[part]._value(parameter) if dot else self._values[name]

    def spec(self) -> Spec:
        """Return the static part, as it is now."""
        neutral = frozenset(
            name
            for name, field in self.fields.items()
            if field.neutral is not None and _is_number(self._value(name), field.neutral)
        )
        positive = bool(self.__dict__.get("positive"))
        return Spec(type(self), tuple(self.fields.items()), neutral, positive, self.structure(), frozenset(self._added))

    def structure(self) -> Hashable:
        """Return whatever else is static about it."""
        return None

    def addparameter(self, name: str, value: Any = None, units: str = "", description: str = "") -> None:
        """Add a parameter that the brightness does not know, for others to be tied to; or one that was removed.

        Parameters
        ----------
        name : str
            Its name: letters, digits and underscores.
        value : number, Prior, Tie or callable, optional
            Its value; without one, it must be given before the model is used.
        units : str
            ``deg``, ``rad``, ``image``, or any other text, which tables show.
        description : str
            One line.

        Raises
        ------
        ModelError
            If the name is taken or is none, or it is a part of something by now.
        """
        self._refuse_part("add parameters")
        if name in self._removed:
            self._removed.remove(name)
            if value is not None:
                setattr(self, name, value)
            return
        if not name.isidentifier() or name in self.fields or name in self.attributes or hasattr(type(self), name):
            raise ModelError(f"{type(self).__name__}: {name!r} cannot be the name of a new parameter")
        known = units in PARAMETER_UNITS
        self.fields[name] = Parameter(units if known else "", description, other_unit="" if known else str(units))
        try:
            self._values[name] = None if value is None else self._checked(name, value)
        except ModelError:
            del self.fields[name]
            raise
        self._added.append(name)

    def _refuse_part(self, what: str) -> None:
        if self._part_of is not None:
            raise ModelError(
                f"this {type(self).__name__} is {self._part_of}, which knows its parameters already: {what} before, or "
                "of the whole"
            )

    def removeparameter(self, name: str) -> None:
        """Remove a parameter: one that `addparameter` added, or one that the brightness can do without.

        Of its own parameters, a component can do without those that have a default: they are fixed at it, and no longer
        listed. To have one back, call `addparameter`.

        Parameters
        ----------
        name : str
            Its name.

        Raises
        ------
        ModelError
            If there is no such parameter, the brightness needs it, or it is a part of something by now.
        """
        self._refuse_part("remove parameters")
        where = f"{type(self).__name__}: {name!r} cannot be removed"
        if name in self._added:
            self._added.remove(name)
            del self.fields[name], self._values[name]
            return
        if name not in self.parlist():
            raise ModelError(f"{where}: there is no such parameter{nearest(name, self.parlist())}")
        if "." in name:
            raise ModelError(
                f"{where}: it belongs to a part, and must be removed from that before they are put together"
            )
        if self.fields[name].default is None:
            raise ModelError(f"{where}: the brightness needs it; give it a fixed value instead")
        self._values[name] = self.fields[name].default
        self._removed.append(name)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each parameter."""
        return {name: self.fields[name].shown_unit for name in self.parlist()}

    @property
    def description(self) -> dict[str, str]:
        """One line about each parameter."""
        return {name: self.fields[name].description for name in self.parlist()}

    def parlist(self) -> list[str]:
        """Return the names of the parameters, without those that were removed."""
        removed = {
            *self._removed,
            *(f"{part}.{name}" for part, thing in self._parts.items() for name in thing._removed),
        }
        return [name for name in self.fields if name not in removed]

    def parameters(self) -> str:
        """Return a table of the parameters, their values, units and meanings."""
        rows = [
            f"{name:<12} {shown(name, getattr(self, name)):<36} {self.fields[name].shown_unit:<6} "
            f"{self.fields[name].description}"
            for name in self.parlist()
        ]
        return "\n".join([f"{type(self).__name__} ({self.id or 'not in a model'})", *rows])


def _is_number(value: Any, wanted: float) -> bool:
    return isinstance(value, float) and value == wanted
