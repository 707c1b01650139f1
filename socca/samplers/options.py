"""What the options of samplers may be: type and range, declared or read off the back end's own signatures."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import Any

import numpy as np

_PLAIN = (bool, numbers.Number, str, bytes, list, tuple, set, Mapping)


@dataclass(frozen=True)
class Allowed:
    """What one option may be.

    Parameters
    ----------
    kinds : tuple of str
        Any of ``truth``, ``whole``, ``number``, ``text``, ``list``, ``mapping``, ``function`` and ``object``, which is
        one that the back end defines; without any, all is allowed.
    least, most : float
        Range of a number.
    open : bool
        Whether `least` itself is left out.
    infinite : bool
        Whether a number may be infinite.
    words : tuple of str
        The texts that are known; all are without any.
    blank : bool
        Whether it may be None.
    """

    kinds: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    open: bool = False
    infinite: bool = False
    words: tuple[str, ...] = ()
    blank: bool = False

    def __or__(self, other: Allowed | None) -> Allowed:
        """Return what is allowed here or by another, whose range and words hold; None stands for no value."""
        if other is None:
            return replace(self, blank=True)
        ranged = other if {"whole", "number"} & set(other.kinds) else self
        return replace(
            ranged,
            kinds=(*self.kinds, *other.kinds),
            words=self.words or other.words,
            blank=self.blank or other.blank,
        )

    def value(self, given: Any) -> Any:
        """Return a value as the back end is given it: a whole number as one, however it is written.

        Parameters
        ----------
        given : object
            As the user gives it.

        Returns
        -------
        object
            The value.

        Raises
        ------
        ValueError
            If it is not allowed; the message says what is.
        """
        if given is None and (self.blank or not self.kinds):
            return None
        for kind in self.kinds:
            if _KINDS[kind](given) and self._in_range(kind, given):
                return int(given) if kind == "whole" and math.isfinite(given) else given
        if self.kinds or (isinstance(given, float) and math.isnan(given)):
            raise ValueError(f"must be {self}; got {brief(given)}")
        return given

    def _in_range(self, kind: str, given: Any) -> bool:
        if kind == "text":
            return not self.words or given in self.words
        if kind not in ("whole", "number"):
            return True
        if math.isinf(given) and not self.infinite:
            return False
        return bool(self.least < given <= self.most if self.open else self.least <= given <= self.most)

    def __str__(self) -> str:
        """Say it in words."""
        said = [self._said(kind) for kind in self.kinds] or ["anything"]
        return " or ".join([*said, *(["null"] if self.blank else [])])

    def _said(self, kind: str) -> str:
        if kind == "text" and self.words:
            return " or ".join(self.words)
        if kind not in ("whole", "number"):
            return _WORDS[kind]
        bounds = []
        if math.isfinite(self.least):
            bounds.append(f"above {self.least:g}" if self.open else f"of at least {self.least:g}")
        if math.isfinite(self.most):
            bounds.append(f"at most {self.most:g}")
        endless = ", or infinite" if self.infinite else ""
        return f"{_WORDS[kind]}{' ' if bounds else ''}{' and '.join(bounds)}{endless}"


def _is_number(given: Any) -> bool:
    return isinstance(given, numbers.Real) and not isinstance(given, bool) and not math.isnan(given)


_WORDS = {
    "truth": "true or false",
    "whole": "a whole number",
    "number": "a number",
    "text": "a text",
    "list": "a list",
    "mapping": "keys and values",
    "function": "a function",
    "object": "an object of the back end",
}
_KINDS: dict[str, Callable[[Any], bool]] = {
    "truth": lambda given: isinstance(given, bool | np.bool_),
    "whole": lambda given: _is_number(given) and (math.isinf(given) or float(given).is_integer()),
    "number": _is_number,
    "text": lambda given: isinstance(given, str),
    "list": lambda given: isinstance(given, list | tuple | np.ndarray),
    "mapping": lambda given: isinstance(given, Mapping),
    "function": callable,
    "object": lambda given: given is not None and not isinstance(given, _PLAIN),
}


def whole(least: float = 0, *, infinite: bool = False) -> Allowed:
    """Return what a whole number may be, of at least this."""
    return Allowed(("whole",), least, infinite=infinite)


def number(
    least: float = -math.inf, most: float = math.inf, *, above: float | None = None, infinite: bool = False
) -> Allowed:
    """Return what a number may be, within these bounds, or above a bound that is left out itself."""
    if above is not None:
        return Allowed(("number",), above, most, open=True, infinite=infinite)
    return Allowed(("number",), least, most, infinite=infinite)


def word(*known: str) -> Allowed:
    """Return what a text may be: one of these, or any."""
    return Allowed(("text",), words=known)


TRUTH = Allowed(("truth",))
LIST = Allowed(("list",))
MAPPING = Allowed(("mapping",))
FUNCTION = Allowed(("function",))
OBJECT = Allowed(("object",))
#: For a default of each type. Ranges are not in signatures.
_BY_TYPE: dict[Any, Allowed] = {
    bool: TRUTH,
    int: Allowed(("whole",)),
    float: number(),
    str: word(),
    list: LIST,
    dict: MAPPING,
}


def derived(name: str, functions: Iterable[Callable[..., Any]], defaults: Mapping[str, Any]) -> Allowed:
    """Return what an option may be, as far as its defaults and annotations tell.

    Parameters
    ----------
    name : str
        The option.
    functions : iterable of callable
        Of the back end, of which some may take it.
    defaults : mapping
        Our own ones.

    Returns
    -------
    Allowed
        Anything, if they do not tell.
    """
    signatures = [inspect.signature(one).parameters for one in functions]
    taken = [parameters[name] for parameters in signatures if name in parameters]
    values = [*([defaults[name]] if name in defaults else []), *(parameter.default for parameter in taken)]
    hints = [parameter.annotation for parameter in taken]
    kinds = [type(value) for value in values if value is not None]
    found = next((_BY_TYPE[kind] for kind in (*kinds, *hints) if kind in _BY_TYPE), Allowed())
    endless = any(isinstance(value, float) and math.isinf(value) for value in values)
    return replace(found, infinite=endless, blank=None in values)
