"""Pixels, mask, uncertainty, PSF and WCS of astropy's NDData and CCDData."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.wcs import without_wcs
from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.io import fits

#: Kind of uncertainty of NDData -> the argument of a noise model, and the power of the unit that it has.
_LEVELS = {"std": ("sigma", 1), "var": ("variance", 2), "ivar": ("weight", -2)}


@dataclass(frozen=True, eq=False)
class NDPixels:
    """What NDData holds.

    Parameters
    ----------
    data : ndarray
        Its values, NaN where they are masked.
    header : astropy.io.fits.Header
        Its meta data and WCS.
    tables : astropy.io.fits.HDUList or None
        The HDUs with the distortion of its WCS.
    uncertainty : object or None
        As NDData has it.
    unit : astropy.units.Unit or None
        Of the values.
    psf : ndarray or None
        The image of a point source.
    """

    data: np.ndarray
    header: fits.Header
    tables: fits.HDUList | None
    uncertainty: Any = None
    unit: Any = None
    psf: np.ndarray | None = None

    def level(self) -> dict[str, np.ndarray]:
        """Return the uncertainty as the keyword and value of a noise model; empty without one.

        Raises
        ------
        DataError
            If it is none of standard deviation, variance and inverse variance.
        """
        if self.uncertainty is None or self.uncertainty.array is None:
            return {}
        kind = self.uncertainty.uncertainty_type
        if kind not in _LEVELS:
            raise DataError(
                f"image: its uncertainty is of type {kind!r}: give a StdDevUncertainty, VarianceUncertainty or "
                "InverseVariance, or noise="
            )
        name, power = _LEVELS[kind]
        values = np.asarray(self.uncertainty.array, float)
        unit = self.uncertainty.unit
        if unit is not None and self.unit is not None:
            values = values * unit.to(self.unit**power)
        return {name: np.broadcast_to(values, self.data.shape)}


def nd_pixels(source: Any, what: str) -> NDPixels | None:
    """Return what NDData (or CCDData) holds; None for anything else.

    Parameters
    ----------
    source : object
        Anything.
    what : str
        What it is for, in errors.

    Returns
    -------
    NDPixels or None
        What it holds.

    Raises
    ------
    DataError
        If its mask has another shape, or its WCS is none of FITS.
    """
    # Whoever has an object of that package has imported it.
    package = sys.modules.get("astropy.nddata")
    if package is None or not isinstance(source, package.NDData):
        return None
    data = np.array(source.data, float)
    if source.mask is not None:
        try:
            data[np.broadcast_to(np.asarray(source.mask, bool), data.shape)] = np.nan
        except ValueError:
            shape = np.shape(source.mask)
            raise DataError(f"{what}: its mask has shape {shape}, its values {data.shape}") from None
    header, tables = _header_of(source, what)
    psf = getattr(source, "psf", None)
    return NDPixels(data, header, tables, source.uncertainty, source.unit, None if psf is None else np.asarray(psf))


def _header_of(source: Any, what: str) -> tuple[fits.Header, fits.HDUList | None]:
    """Return the meta data of NDData as a header, with its WCS; and the tables of that one's distortion."""
    from astropy.io import fits
    from astropy.wcs import WCS

    header = fits.Header()
    meta = source.meta if isinstance(source.meta, Mapping | fits.Header) else {}
    if isinstance(meta, fits.Header):
        header = meta.copy()
    else:
        header.update({key: value for key, value in meta.items() if _is_card(key, value)})
    if source.wcs is None:
        return header, None
    wcs = getattr(source.wcs, "low_level_wcs", source.wcs)
    if not isinstance(wcs, WCS):
        raise DataError(f"{what}: its WCS is a {type(wcs).__name__}; only WCS of FITS headers can be read")
    header, hdus = without_wcs(header), wcs.to_fits(relax=True)
    for key in hdus[0].header:
        if key not in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND"):
            header[key] = hdus[0].header[key]
    return header, hdus if len(hdus) > 1 else None


def _is_card(key: Any, value: Any) -> bool:
    """Tell whether an entry of the meta data can stand in a header."""
    return (
        isinstance(key, str)
        and key.isascii()
        and len(key) <= 8
        and key.replace("_", "").replace("-", "").isalnum()
        and isinstance(value, bool | int | float | str)
        and (not isinstance(value, float) or bool(np.isfinite(value)))
        and (not isinstance(value, str) or (value.isascii() and value.isprintable()))
    )
