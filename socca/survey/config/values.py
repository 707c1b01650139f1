"""Values of parameters in a config: numbers, expressions, priors and ties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as brief
from typing import Any

import numpy as np

from socca import priors
from socca.errors import ConfigError, nearest
from socca.parameters.expressions import Node, bind_columns, evaluate, parse
from socca.parameters.units import factor
from socca.survey.table_file import Angle
from socca.survey.targets import Missing


@dataclass(frozen=True)
class Value:
    """A parsed value.

    Parameters
    ----------
    prior : str or None
        The family, if the value is a prior.
    parts : tuple of Node
        The value's expression, or those of the prior's numbers.
    """

    prior: str | None
    parts: tuple[Node, ...]

    def names(self) -> set[str]:
        """Return the parameters of other components that it refers to."""
        return set().union(*(part.names() for part in self.parts))

    def columns(self) -> set[str]:
        """Return the columns that it refers to."""
        return set().union(*(part.columns() for part in self.parts))


def scalar(raw: Any) -> Node:
    """Parse a number or an expression.

    Parameters
    ----------
    raw : float, int or str
        As YAML gives it.

    Returns
    -------
    Node
        The expression.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if isinstance(raw, bool) or not isinstance(raw, float | int | str):
        raise ConfigError(f"expected a number or an expression, got {brief(raw)}")
    try:
        return parse(raw) if isinstance(raw, str) else Node("number", float(raw))
    except OverflowError:
        raise ConfigError(f"the number {brief(raw)} is too large") from None


def is_prior(raw: Any) -> bool:
    """Tell a prior, as a config writes it, from any other mapping.

    Names do not do: `beta` and `gamma` are parameters of components too.

    Parameters
    ----------
    raw : object
        Anything that YAML may give.

    Returns
    -------
    bool
        Whether it is one family's name, with a list of numbers or a mapping of its arguments.
    """
    if not isinstance(raw, Mapping) or len(raw) != 1:
        return False
    family, numbers = next(iter(raw.items()))
    if family not in priors.REGISTRY:
        return False
    if isinstance(numbers, Mapping):
        return bool(numbers) and set(numbers) <= set(priors.REGISTRY[family].arguments)
    return isinstance(numbers, list | tuple)


def parse_value(raw: Any) -> Value:
    """Parse the value of a parameter.

    Parameters
    ----------
    raw : float, str or mapping
        A number, an expression, or a prior as ``{uniform: [low, high]}`` or ``{uniform: {low: …, high: …}}``. Numbers
        that have a default may be left out, of a list at its end.

    Returns
    -------
    Value
        The parsed value.

    Raises
    ------
    ConfigError
        If it is none of these; the message names the nearest known prior or argument.
    """
    if not isinstance(raw, Mapping):
        return Value(None, (scalar(raw),))
    if len(raw) != 1:
        raise ConfigError(f"a prior is one name with its numbers, like {{uniform: [0, 1]}}; got {brief(dict(raw))}")
    family, numbers = next(iter(raw.items()))
    if family not in priors.REGISTRY:
        raise ConfigError(f"unknown prior {family!r}{nearest(str(family), priors.REGISTRY.names())}")
    arguments, defaults = priors.REGISTRY[family].arguments, priors.REGISTRY[family].defaults
    if isinstance(numbers, Mapping):
        for key in numbers:
            if key not in arguments:
                raise ConfigError(f"{family} has no argument {key!r}{nearest(str(key), arguments)}")
        numbers = [numbers.get(key, defaults.get(key)) for key in arguments]
    elif isinstance(numbers, list | tuple):
        numbers = [*numbers, *(defaults.get(key) for key in arguments[len(numbers) :])]
    if not isinstance(numbers, list) or len(numbers) != len(arguments) or None in numbers:
        optional = f" (by default {', '.join(f'{key} is {value:g}' for key, value in defaults.items())})"
        raise ConfigError(
            f"{family} takes {', '.join(arguments)}{optional if defaults else ''}; got {brief(raw[family])}"
        )
    return Value(str(family), tuple(scalar(number) for number in numbers))


@dataclass(frozen=True)
class Context:
    """What a value may refer to.

    Parameters
    ----------
    columns : mapping
        Numeric columns of the target's row.
    pixel_scale : float
        Degrees.
    """

    columns: Mapping[str, float]
    pixel_scale: float | None

    def column(self, name: str, unit: str) -> float:
        """Return the number in a column of the target's row; one with an angle for its unit is converted to `unit`."""
        if name not in self.columns:
            raise ConfigError(
                f"${name}: the table of targets has no numeric column {name!r}{nearest(name, self.columns)}"
            )
        value = self.columns[name]
        if isinstance(value, Missing) and value.cell:
            raise ConfigError(f"${name}: the target has {brief(value.cell)} in this column, which is no number")
        if not np.isfinite(value):
            raise ConfigError(f"${name}: the target has no value in this column")
        if isinstance(value, Angle):
            return float(value) * factor("rad", unit)
        return float(value)

    def check_units(self, node: Node) -> None:
        """Refuse a unit after a column that has one already."""
        for part in node.walk():
            inner = part.args[0] if part.kind == "unit" else None
            if inner is not None and inner.kind == "column" and isinstance(self.columns.get(str(inner.value)), Angle):
                raise ConfigError(f"${inner.value} has a unit in the table: write it without {part.value!r}")

    def unit(self, to: str) -> Callable[[str], float]:
        """Return the function that gives the factor of a unit."""
        return lambda name: factor(name, to, self.pixel_scale)

    def number(self, node: Node, unit: str) -> float:
        """Evaluate an expression without parameters, in `unit`."""
        self.check_units(node)
        with np.errstate(all="ignore"):
            found = float(evaluate(node, np, column=lambda name: self.column(name, unit), unit=self.unit(unit)))
        if not np.isfinite(found):
            raise ConfigError(f"the expression gives {found}")
        return found

    def resolve(self, value: Value, unit: str, names: Callable[[str], str]) -> Any:
        """Turn a value into what a component takes.

        Parameters
        ----------
        value : Value
            The parsed value.
        unit : str
            Unit of the parameter.
        names : callable
            From the user's name of a parameter (``disk.re``) to the full one (``comp_01_re``).

        Returns
        -------
        float, Prior or Tie
            Ready to be assigned.
        """
        if value.prior is not None:
            if value.names():
                raise ConfigError(f"a prior cannot depend on other parameters ({', '.join(sorted(value.names()))})")
            kind = priors.REGISTRY[value.prior]
            numbers = [self.number(part, unit) for part in value.parts]
            return kind(**dict(zip(kind.arguments, numbers, strict=True)))
        (node,) = value.parts
        if not node.names():
            return self.number(node, unit)
        from socca.models.base import Tie

        self.check_units(node)
        bound, constants = bind_columns(node, lambda name: self.column(name, unit), self.unit(unit))
        renamed = _rename(bound, names)
        return Tie(tuple(sorted(renamed.names())), renamed, constants)


def _rename(node: Node, names: Callable[[str], str]) -> Node:
    if node.kind == "name":
        return Node("name", names(str(node.value)))
    return Node(node.kind, node.value, tuple(_rename(arg, names) for arg in node.args))
