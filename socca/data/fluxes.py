"""Fluxes of an image: the unit of a sum over its pixels, and its zero point."""

from __future__ import annotations

import math
import warnings
from typing import Any

from socca.errors import DataError

#: Magnitude of 1 Jy in the AB system, whose zero point is 3631 Jy (Oke & Gunn 1983, ApJ 266, 713).
AB_OF_JANSKY = 2.5 * math.log10(3631)
#: What a zero point begins with that is a card of the header, and the word for that of the AB system.
HEADER, AB = "header:", "AB"


def is_named(zero_point: Any) -> bool:
    """Tell whether a zero point is one that `zero_point_of` knows by name, and not a number."""
    return isinstance(zero_point, str) and (zero_point.strip() == AB or zero_point.startswith(HEADER))


def flux_unit_of(bunit: str, pixel_scale: float) -> tuple[float, str]:
    """Return the unit of the sum over pixels of an image, and what that sum is multiplied by.

    Parameters
    ----------
    bunit : str
        Unit of the image: of a pixel's flux, or of a surface brightness (``MJy/sr``, ``nJy/arcsec2``).
    pixel_scale : float
        Size of a pixel, degrees.

    Returns
    -------
    factor : float
        The area of a pixel in the solid angle of the unit; 1 where the unit has none.
    unit : str
        Without that solid angle, and without ``1/pix``. A unit that astropy does not know stays as it is.
    """
    from astropy import units

    unit = _unit(bunit)
    if unit is None or not hasattr(unit, "bases"):  # such as a magnitude
        return 1.0, bunit
    for base, power in zip(unit.bases, unit.powers, strict=True):
        if base == units.pix and power == -1:
            return 1.0, (unit * units.pix).to_string()
        angular = base.physical_type
        if (angular, power) in (("angle", -2), ("solid angle", -1)):
            area = base ** (-power)
            factor = float(((pixel_scale * units.deg) ** 2).to_value(area))
            return factor, (unit * area).to_string()
    return 1.0, unit.to_string()


def ab_zero_point(bunit: str, pixel_scale: float) -> float | None:
    """Return the AB magnitude of a source whose pixels sum to one; None if that is no flux density."""
    from astropy import units

    factor, name = flux_unit_of(bunit, pixel_scale)
    unit = _unit(name)
    try:
        return None if unit is None else AB_OF_JANSKY - 2.5 * math.log10(factor * float(unit.to(units.Jy)))
    except (units.UnitConversionError, ValueError):
        return None


def _unit(text: str) -> Any:
    from astropy import units

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return units.Unit(text) if text else None
    except (ValueError, TypeError):
        return None


def zero_point_of(given: float | str | None, header: Any, pixel_scale: float) -> float | None:
    """Return the magnitude of a source whose pixels sum to one, in the unit of the image.

    Parameters
    ----------
    given : float, str or None
        The number; ``AB``; or ``header:KEY``, a card of the header. None where there is no zero point.
    header : mapping
        Of the image.
    pixel_scale : float
        Size of a pixel, degrees.

    Raises
    ------
    DataError
        If the unit of the image is no flux density, or the header has no such number.
    """
    if given is None:
        return None
    if isinstance(given, str) and given.strip() == AB:
        bunit = str(header.get("BUNIT", ""))
        found = ab_zero_point(bunit, pixel_scale)
        if found is None:
            raise DataError(
                f"zero point AB: the unit of the image (BUNIT = {bunit!r}) is no flux density such as nJy: give the "
                "zero point as a number"
            )
        return found
    if isinstance(given, str) and given.startswith(HEADER):
        key = given.removeprefix(HEADER).strip()
        if key not in header:
            raise DataError(f"zero point: the header of the image has no card {key!r}")
        given = header[key]
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(given, bool) or not math.isfinite(number):
        raise DataError(f"zero point: expected a number, AB or header:KEY, got {given!r}")
    return number
