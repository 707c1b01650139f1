"""Parts of a record (data classes of plain values) as the mappings that files hold, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from socca.errors import PosteriorError
from socca.posterior.values import plain_hints, read_value

_T = TypeVar("_T")

#: Attributes that have no key of their name, or one that is read apart.
_APART = ("extra", "files", "message", "version")


def mapping_at(value: Any, where: str) -> Mapping[str, Any]:
    """Return a value that must be a mapping; `PosteriorError` if it is none. `where` is its key."""
    if not isinstance(value, dict | Mapping):
        raise PosteriorError(f"{where}: expected a mapping, got {type(value).__name__}")
    return value


def read_plain(hint: Any, value: Any, where: str) -> Any:
    """Return a value as the type of a hint; `PosteriorError` if it is of another kind. `where` is its key."""
    try:
        return read_value(hint, value)
    except ValueError as error:
        raise PosteriorError(f"{where}: {error}") from error


def take_values(kind: Callable[..., Any], left: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Take the values of a part out of the mapping that it shares with others.

    Parameters
    ----------
    kind : type
        Class of the part.
    left : dict
        The mapping; what belongs to the part is removed.
    where : str
        What comes before its keys, in errors.

    Returns
    -------
    dict
        Arguments of the class: without what is missing or null.

    Raises
    ------
    PosteriorError
        If a value is of another kind.
    """
    found = {}
    for key, hint in _hints(kind).items():
        value = left.pop(key, None)
        if value is not None:  # most are of the right kind: surveys have many records
            found[key] = value if type(value) is hint else read_plain(hint, value, where + key)
    return found


def read_part(kind: Callable[..., _T], found: Any, where: str) -> _T:
    """Return a part that is a mapping of its own.

    Parameters
    ----------
    kind : type
        Class of the part.
    found : mapping or None
        Its mapping; None for nothing known.
    where : str
        Its key, for errors.

    Returns
    -------
    object
        Of that class; keys that it does not know are in its ``extra``.

    Raises
    ------
    PosteriorError
        If it is no mapping, or a value is of another kind.
    """
    left = dict(mapping_at({} if found is None else found, where))
    values = take_values(kind, left, f"{where}.")
    return kind(**values, extra=left)


def known_values(part: Any) -> dict[str, Any]:
    """Return the values of a part that are not its defaults."""
    kind: Callable[..., Any] = type(part)
    return {key: value for key in _hints(kind) if (value := getattr(part, key)) != getattr(_blank(kind), key)}


def all_values(part: Any) -> dict[str, Any]:
    """Return all values of a part, None included; nothing if none of them is known."""
    kind: Callable[..., Any] = type(part)
    if part == _blank(kind):
        return {}
    values = {key: getattr(part, key) for key in _hints(kind)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()} | part.extra


@functools.cache
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    """Return the type that each key of a part is declared with."""
    return {name: hint for name, hint in plain_hints(kind).items() if name not in _APART}


@functools.cache
def _blank(kind: Callable[..., Any]) -> Any:
    return kind()
