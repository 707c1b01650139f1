"""Plain values, as JSON has them, read as the types that attributes are declared with.

Nothing is converted that is not the same value in the other type: a text is no number, and 2.5 is no whole number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

#: What JSON has, and tuples, which are lists there.
_PLAIN = (str, bool, int, float, list, tuple, dict)
_CALLED: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}


def is_plain(hint: Any) -> bool:
    """Tell whether a type hint is that of a plain value: a class that JSON knows, None aside."""
    return (get_origin(_class_of(hint)) or _class_of(hint)) in _PLAIN


def read_value(hint: Any, value: Any) -> Any:
    """Return a plain value as the type that a hint names.

    Parameters
    ----------
    hint : type hint
        Such as ``int | None`` or ``list[float]``; of ``Any``, whatever there is.
    value : object
        From JSON, or a number or an array of NumPy.

    Returns
    -------
    object
        Of that type.

    Raises
    ------
    ValueError
        If it is of another kind.
    """
    wanted = _class_of(hint)
    if wanted is Any:
        return value
    kind = get_origin(wanted) or wanted
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if kind in (list, tuple) and isinstance(value, list | tuple):
        one = (*get_args(wanted), Any)[0]
        return kind(value if one is Any else (read_value(one, item) for item in value))
    if kind is dict and isinstance(value, Mapping):
        one = (*get_args(wanted), Any, Any)[1]
        return {str(key): read_value(one, item) for key, item in value.items()}
    if isinstance(value, bool) == (kind is bool) and isinstance(value, kind):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = kind(value)
        except (OverflowError, ValueError):
            pass
        else:
            if kind is float or number == value:
                return number
    shown = repr(value)
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    raise ValueError(f"expected {_CALLED.get(kind, kind)}, got {type(value).__name__} {shown}")


@functools.cache
def plain_hints(kind: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the attributes of a class that are plain values, by name; None is left out of them."""
    return {name: _class_of(hint) for name, hint in get_type_hints(kind).items() if is_plain(hint)}


def _class_of(hint: Any) -> Any:
    """Return the type of a hint, without the None that it may allow."""
    if isinstance(hint, UnionType):
        return next(one for one in get_args(hint) if one is not NoneType)
    return hint
