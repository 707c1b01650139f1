"""Numbers that users give."""

from __future__ import annotations

from typing import Any

from socca.errors import DataError


def whole_number(value: Any, what: str, least: int) -> int:
    """Return a number as an int; a `DataError` that names it if it is not whole, or below `least`.

    Parameters
    ----------
    value : number
        Of any type.
    what : str
        What it is for, in the error.
    least : int
        The smallest that will do.

    Returns
    -------
    int
        The number.
    """
    try:
        whole = int(value)
        good = not isinstance(value, (bool, str)) and whole == value and whole >= least
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise DataError(f"{what} must be a whole number of at least {least}, got {value!r}")
    return whole
