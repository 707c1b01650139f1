"""Units of parameters and of values in a config."""

from __future__ import annotations

import math
from typing import Literal, get_args

from socca.errors import ConfigError, nearest

#: Units that the value of a parameter is held in: ``image`` is that of the image, none a pure number.
ParameterUnit = Literal["deg", "rad", "image", ""]
PARAMETER_UNITS: tuple[str, ...] = get_args(ParameterUnit)

#: Angles, in radians.
ANGLES = {
    "deg": math.pi / 180,
    "arcmin": math.pi / 180 / 60,
    "arcsec": math.pi / 180 / 3600,
    "mas": math.pi / 180 / 3.6e6,
    "rad": 1.0,
}


def factor(unit: str, to: str, pixel_scale: float | None = None) -> float:
    """Give the number of units `to` in one `unit`.

    Parameters
    ----------
    unit : str
        An angle (``deg``, ``arcmin``, ``arcsec``, ``mas``, ``rad``) or ``pix``.
    to : str
        The unit wanted: ``deg`` or ``rad``; anything else takes no unit.
    pixel_scale : float, optional
        Size of a pixel in degrees, for ``pix``.

    Returns
    -------
    float
        The factor.

    Raises
    ------
    ConfigError
        If the unit is unknown or cannot be converted.
    """
    if unit not in ANGLES and unit != "pix":
        raise ConfigError(f"unknown unit {unit!r}{nearest(unit, [*ANGLES, 'pix'])}")
    if to not in ANGLES:
        raise ConfigError(f"{unit!r} cannot be used here: the value is {to or 'a pure number'}, not an angle")
    if unit == "pix":
        if pixel_scale is None:
            raise ConfigError("'pix' cannot be used here: the size of a pixel is not known")
        return pixel_scale * ANGLES["deg"] / ANGLES[to]
    return ANGLES[unit] / ANGLES[to]
