"""Masks of bit planes, as data-quality images are: each bit of a value has a meaning of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from socca.errors import DataError
from socca.utils.numbers import whole_number

#: The highest bit that a mask may have: doubles hold all whole numbers up to there.
HIGHEST_BIT = 52


def bit_mask(bits: Sequence[int]) -> int:
    """Return the number in which these bits are set.

    Parameters
    ----------
    bits : sequence of int
        0 is the lowest, of value 1.

    Returns
    -------
    int
        The sum of their values.

    Raises
    ------
    DataError
        If there are none, or one is no bit.
    """
    if isinstance(bits, str) or not isinstance(bits, Iterable):
        raise DataError(f"mask: bits must be a list of numbers, such as [0, 4], got {bits!r}")
    numbers = [whole_number(bit, "mask: a bit", 0) for bit in bits]
    if not numbers:
        raise DataError("mask: bits is empty: no pixel would be bad")
    for bit in numbers:
        if bit > HIGHEST_BIT:
            power = bit.bit_length() - 1
            hint = f"; the bit of value {bit} is {power}" if bit == 1 << power else ""
            raise DataError(f"mask: there is no bit {bit}: bits are counted from 0 to {HIGHEST_BIT}{hint}")
    return sum({1 << bit for bit in numbers})


def good_pixels(plane: np.ndarray, bad: int) -> np.ndarray:
    """Return the pixels of a mask of bit planes that have a value, and none of these bits.

    Parameters
    ----------
    plane : ndarray
        Whole numbers, as floats; NaN where there is no value.
    bad : int
        The bits, as `bit_mask` returns them.

    Returns
    -------
    ndarray of bool
        True where a pixel is good.

    Raises
    ------
    DataError
        If a value is not a whole number, or has more bits than a double holds.
    """
    known = np.isfinite(plane)
    values = np.where(known, plane, 0.0)
    if np.any(values != np.floor(values)) or np.any(np.abs(values) >= 1 << (HIGHEST_BIT + 1)):
        raise DataError(f"mask: bits are those of whole numbers below 2^{HIGHEST_BIT + 1}, and it holds others")
    return known & ((values.astype(np.int64) & bad) == 0)
