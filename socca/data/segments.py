"""Objects of segmentation maps."""

from __future__ import annotations

import numpy as np

from socca.errors import DataError

#: How many objects an error lists.
_LISTED = 12


def pixels_of_segment(plane: np.ndarray, segment: int) -> np.ndarray:
    """Return the pixels of one object.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
        0 for sky, one whole number per object.
    segment : int
        The number of the object.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where it is.

    Raises
    ------
    DataError
        If the number is that of the sky, or no pixel has it. The message lists the objects that there are.
    """
    if segment == 0:
        raise DataError(f"segmentation: segment 0 is the sky, and no object; {_described(plane)}")
    mine = plane == segment
    if not mine.any():
        raise DataError(f"segmentation: no pixel belongs to segment {segment}; {_described(plane)}")
    return mine


def _described(plane: np.ndarray) -> str:
    """Say which objects a map holds, and which one is at its centre."""
    numbers = np.unique(plane[np.isfinite(plane) & (plane != 0)])
    if not numbers.size:
        return "the map holds no object here"
    listed = ", ".join(f"{number:g}" for number in numbers[:_LISTED])
    more = f" and {numbers.size - _LISTED} more" if numbers.size > _LISTED else ""
    center = plane[plane.shape[0] // 2, plane.shape[1] // 2]
    at = "the sky" if center == 0 else f"segment {center:g}" if np.isfinite(center) else "no value"
    return f"there are {listed}{more}, and at the centre of the image is {at}"
