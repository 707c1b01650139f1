"""Things with named parameters: the components of a model, the profiles within them, and noise models."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from socca.errors import ModelError, nearest
from socca.parameters.ties import Tie, as_tie
from socca.parameters.units import PARAMETER_UNITS
from socca.utils.tags import tagged

#: A prior with less probability than this in a parameter's range is taken for a mistake.
LEAST_PROBABILITY = 1e-6


@runtime_checkable
class PriorLike(Protocol):
    """What a parameter asks of its prior; see `socca.priors.Prior`."""

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value with non-zero density."""

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers of the distribution."""

    @property
    def family(self) -> Any:
        """The distribution's static part."""

    def cdf(self, x: Any) -> Any:
        """Return the probability below `x`."""


@tagged("spec/Parameter")
@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter before any data.

    Parameters
    ----------
    unit : str
        ``deg``, ``rad``, ``image`` (the unit of the image) or empty. A component's brightness is linear in its
        parameters of the unit ``image``.
    description : str
        One line.
    default : float or None
        None: it must be given.
    lower, upper : float
        The range in which it has a meaning.
    period : float or None
        The parameter is an angle that comes back to itself after this.
    neutral : float or None
        Fixed at this value, the parameter drops out of the formula, and is compiled away.
    period_on_sky : float or None
        As `period`, but in sky frames alone.

    Raises
    ------
    ModelError
        If the unit is none of these.
    """

    unit: str
    description: str = field(compare=False)  # whose wording is no part of what it is
    default: float | None = None
    lower: float = -math.inf
    upper: float = math.inf
    period: float | None = None
    neutral: float | None = None
    period_on_sky: float | None = None

    def __post_init__(self) -> None:
        if self.unit not in PARAMETER_UNITS:
            # Only these are known to ties, priors, catalogue and marginalisation.
            raise ModelError(
                f"unit {self.unit!r}: a parameter is held in deg, rad, image (the unit of the image) or '' (a number); "
                "other units belong to its value"
            )

    @property
    def is_length(self) -> bool:
        """Whether it is a length, which may come near zero but not be it: other lengths are measured in it."""
        return self.unit == "deg" and self.lower == 0

    def check(self, value: float, where: str) -> None:
        """Raise `ModelError` if a value lies outside the range; `where` names the parameter."""
        if not self.lower <= value <= self.upper:
            raise ModelError(f"{where} = {value:g} lies outside [{self.lower:g}, {self.upper:g}]")

    def check_prior(self, prior: PriorLike, where: str) -> None:
        """Raise `ModelError` if a prior has a bound outside the range, or next to no probability within it."""
        for edge in prior.support:
            if math.isfinite(edge):
                self.check(edge, f"{where} ~ {prior!r}: bound")
        if math.isinf(self.lower) and math.isinf(self.upper):
            return
        below = prior.cdf(self.lower) if math.isfinite(self.lower) else 0.0
        up_to = prior.cdf(self.upper) if math.isfinite(self.upper) else 1.0
        if not up_to - below >= LEAST_PROBABILITY:
            raise ModelError(
                f"{where} ~ {prior!r}: next to none of it (a probability below {LEAST_PROBABILITY:g}) lies within "
                f"[{self.lower:g}, {self.upper:g}]"
            )


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
        What the full names of its parameters begin with, once it is part of a model.
    """

    id: str | None
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
        part.__dict__["_part_of"] = f"the {name} profile of a {type(self).__name__}"
        self._parts[name] = part
        self.fields.update({f"{name}.{key}": part.fields[key] for key in exposed})

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__
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
        """Name -> number, prior or tie; None where nothing was given."""
        return {name: getattr(self, name) for name in self.fields}

    def spec(self) -> Spec:
        """Return the static part, as it is now."""
        neutral = frozenset(
            name
            for name, field in self.fields.items()
            if field.neutral is not None and _is_number(getattr(self, name), field.neutral)
        )
        positive = bool(self.__dict__.get("positive"))
        return Spec(type(self), tuple(self.fields.items()), neutral, positive, self.structure(), frozenset(self._added))

    def structure(self) -> Hashable:
        """Return whatever else is static about it."""
        return None

    def addparameter(self, name: str, value: Any, units: str = "", description: str = "") -> None:
        """Add a parameter that the brightness does not know, for others to be tied to.

        Parameters
        ----------
        name : str
            Its name: letters, digits and underscores.
        value : number, Prior, Tie or callable
            Its value.
        units : str
            ``deg``, ``rad``, ``image`` or empty.
        description : str
            One line.

        Raises
        ------
        ModelError
            If the name is taken or is none, the unit is unknown, or it is a part of something by now.
        """
        self._refuse_part("add parameters")
        if not name.isidentifier() or name in self.fields or name in self.attributes or hasattr(type(self), name):
            raise ModelError(f"{type(self).__name__}: {name!r} cannot be the name of a new parameter")
        try:
            field = Parameter(units, description)
        except ModelError as error:
            raise ModelError(f"{type(self).__name__}: {name}: {error}") from None
        self.fields[name] = field
        try:
            self._values[name] = self._checked(name, value)
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
        """Remove a parameter that `addparameter` added.

        Parameters
        ----------
        name : str
            Its name.

        Raises
        ------
        ModelError
            If it was not added, or it is a part of something by now.
        """
        self._refuse_part("remove parameters")
        if name not in self._added:
            raise ModelError(f"{type(self).__name__}: {name!r} was not added, and cannot be removed")
        self._added.remove(name)
        del self.fields[name], self._values[name]

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
        rows = [
            f"{name:<12} {shown(name, value):<36} {self.fields[name].unit:<6} {self.fields[name].description}"
            for name, value in self.values.items()
        ]
        return "\n".join([f"{type(self).__name__} ({self.id or 'not in a model'})", *rows])


def _is_number(value: Any, wanted: float) -> bool:
    return isinstance(value, float) and value == wanted
