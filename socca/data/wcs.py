"""World coordinates of headers: read as the FITS standard means them, or refused."""

from __future__ import annotations

import logging
import math
import re
import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.fits_headers import unreadable_cards
from socca.data.pixels import Window
from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

log = logging.getLogger(__name__)

#: Names of the HDUs with tables of distortion.
TABLES = ("WCSDVARR", "D2IMARR")
#: Keywords that say where the pixels are, and must be numbers; wcslib takes text for zero.
_NUMBERS = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PC00[12]00[12]|PV[12]_\d+|LONPOLE|LATPOLE|EQUINOX"
    r"|(A|B|AP|BP)_(ORDER|\d_\d)"
)
#: The terms of a SIP distortion.
_SIP = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d_\d)")
#: Keywords that ask for tables of distortion, and those that belong to them.
_LOOKUP = re.compile(r"(CPDIS|D2IMDIS)[12]")
_LOOKUP_PARTS = re.compile(r"(CPDIS|CPERR|D2IMDIS|D2IMERR|DP|D2IM)\d.*|AXISCORR")
#: Elements of the two kinds of matrices, and those of an image's axes.
_CD, _PC = re.compile(r"CD\d+_\d+"), re.compile(r"PC(\d+_\d+|\d{6})")
_ON_IMAGE = re.compile(r"(CD|PC)[12]_[12]|PC00[12]00[12]")
#: Keywords without which a WCS means another one.
_MEANING = re.compile(r"WCSAXES|(CTYPE|CUNIT)\d+|RADE(SYS|CSYS)|NAXIS\d*")
#: Keywords that may have no value, as if they were missing.
_OPTIONAL = ("EQUINOX", "LONPOLE", "LATPOLE")
#: Numbers of axes, or keywords of an axis, of every WCS of a header.
_AXES = re.compile(r"WCSAXES[A-Z]?")
_AXIS = re.compile(r"(?:CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CNAME)(\d+)[A-Z]?|(?:CD|PC)(\d+)_(\d+)[A-Z]?")
_ORDER = re.compile(r"(A|B|AP|BP)_ORDER")
#: The most axes of a WCS, and the highest order of a SIP distortion: memory is taken for the square of either.
_MOST_AXES, _MOST_ORDER = 99, 9
#: How far the matrices of CD and of PC and CDELT may differ, relative to their size.
_SAME_MATRIX = 1e-6


def celestial_wcs(
    header: fits.Header, what: str = "image", tables: fits.HDUList | None = None, *, warn: bool = True
) -> WCS | None:
    """Return the celestial part of a header's WCS.

    Parameters
    ----------
    header : Header
        Of a FITS image.
    what : str
        What the image is for, in the error.
    tables : HDUList, optional
        The tables of its distortion, as `distortion_tables` returns them.
    warn : bool
        Log a warning of what is wrong in it and is put right; not where the same header is read again.

    Returns
    -------
    WCS or None
        None if the two axes of the image are not celestial.

    Raises
    ------
    DataError
        If the WCS cannot be read, or contradicts itself.
    """
    if "CTYPE1" not in header and "CTYPE2" not in header:
        return None
    from astropy.wcs import WCS, FITSFixedWarning

    header = _plain(header, what, tables, logging.WARNING if warn else logging.DEBUG)
    try:
        with warnings.catch_warnings():
            # Dates and other repairs to a header that the celestial axes do not depend on.
            warnings.simplefilter("ignore", FITSFixedWarning)
            warnings.filterwarnings("ignore", message=".*AXISCORR.*")
            # A distortion is that of two axes, whatever others there are.
            distorted = any(_SIP.fullmatch(key) or _LOOKUP_PARTS.fullmatch(key) for key in header)
            wcs = WCS(header, tables, naxis=2 if distorted else None)
            # Celestial coordinates along a third axis, as of a slit, are not those of the image's pixels.
            if not wcs.has_celestial or {wcs.wcs.lng, wcs.wcs.lat} != {0, 1}:
                return None
            _refuse_without_scale(header, what)
            return wcs.celestial
    except (ValueError, KeyError, IndexError, TypeError, MemoryError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())
        # What wcslib runs out of, a header made it ask for.
        raise DataError(f"{what}: cannot read its WCS: {reason or 'out of memory'}") from None


def wcs_read_otherwise(header: fits.Header) -> str:
    """Say what versions that gave the header to astropy as it is took for something else.

    Parameters
    ----------
    header : Header
        Of a FITS image.

    Returns
    -------
    str
        In a few words; empty if the WCS is the same, or there is none.
    """
    try:
        if celestial_wcs(header, warn=False) is None:
            return ""
        plain = _plain(header, "image", None, logging.DEBUG)
    except DataError:
        return "its WCS is refused, or read with its tables"
    keys = [key for key in dict.fromkeys(header) if is_of_wcs(key)]
    other = [key for key in keys if key not in plain or plain[key] != header[key]]
    if all(any(kind.fullmatch(key) and _ON_IMAGE.fullmatch(key) for key in header) for kind in (_CD, _PC)):
        other = [key for key in other if not (_CD.fullmatch(key) or _PC.fullmatch(key))]  # both say the same
    return f"its WCS is read without, or with other, {', '.join(other[:4])}" if other else ""


def _plain(header: fits.Header, what: str, tables: fits.HDUList | None, level: int) -> fits.Header:
    """Return a copy of a header in which all that a celestial WCS is read from means one thing; log at a level."""
    header = header.copy()
    refuse_unreadable(header, what)
    _refuse_many_axes(header, what)
    for key in [key for key in header if _NUMBERS.fullmatch(key)]:
        number = _number(key, header[key], what, level)
        if number is None:
            del header[key]
        elif isinstance(header[key], str):
            header[key] = number
    lookups = [key for key in header if _LOOKUP.fullmatch(key) and str(header[key]).strip().upper() == "LOOKUP"]
    if lookups and tables is None:
        raise DataError(
            f"{what}: its WCS has a distortion in tables of other HDUs ({', '.join(lookups)}): give the whole file, as "
            "a path or an HDUList"
        )
    types = [str(header.get(f"CTYPE{axis}", "")).strip().upper() for axis in (1, 2)]
    if any(kind.endswith("-TAB") for kind in types):
        raise DataError(f"{what}: its WCS is a table of coordinates ({', '.join(types)}), which cannot be read")
    terms = [key for key in header if _SIP.fullmatch(key)]
    suffixed = [kind.endswith("-SIP") for kind in types]
    if terms and any(suffixed) and not all(suffixed):
        raise DataError(
            f"{what}: its WCS has SIP terms, and only one of CTYPE1, CTYPE2 ends with -SIP: correct the other"
        )
    if terms and not any(suffixed):
        log.log(level, "%s: its header has SIP terms, but CTYPE does not end with -SIP: they are left out", what)
        for key in terms:
            del header[key]
    for key in [key for key in header if _ORDER.fullmatch(key) and header[key] > _MOST_ORDER]:
        raise DataError(f"{what}: its header is damaged: {key} is {header[key]}, and SIP has {_MOST_ORDER} at most")
    _drop_second_matrix(header, what)
    return header


def refuse_unreadable(header: fits.Header, what: str) -> None:
    """Raise `DataError` if a header has a card of a WCS whose value cannot be read.

    Parameters
    ----------
    header : Header
        Of an image.
    what : str
        What it is for, in the error.
    """
    for card in unreadable_cards(header, is_of_wcs):
        raise DataError(f"{what}: {card.keyword} of its WCS has a value that cannot be read: correct it")


def is_of_wcs(key: str) -> bool:
    """Tell whether a keyword is one of those by which a WCS is read.

    Parameters
    ----------
    key : str
        Of a header.

    Returns
    -------
    bool
        Whether it is.
    """
    return any(kind.fullmatch(key) for kind in (_MEANING, _NUMBERS, _CD, _PC, _SIP, _LOOKUP_PARTS))


def _refuse_many_axes(header: fits.Header, what: str) -> None:
    """Raise `DataError` if a header claims more axes than any image has."""
    for key in header:
        numbers = [header[key]] if _AXES.fullmatch(key) else []
        if axis := _AXIS.fullmatch(key):
            numbers = [int(number) for number in axis.groups() if number]
        if any(isinstance(number, int | float) and number > _MOST_AXES for number in numbers):
            raise DataError(f"{what}: its header is damaged: {key} = {header[key]!r} is of more than {_MOST_AXES} axes")


def _drop_second_matrix(header: fits.Header, what: str) -> None:
    """Leave one of CDi_j and PCi_j: beside PCi_j, wcslib would leave CDi_j out."""
    matrix, turned = ([key for key in header if kind.fullmatch(key)] for kind in (_CD, _PC))
    if not (matrix and turned):
        return
    of_image = [[key for key in keys if _ON_IMAGE.fullmatch(key)] for keys in (matrix, turned)]
    if all(of_image) and not np.allclose(
        _cd(header), _pc(header), rtol=0, atol=_SAME_MATRIX * float(np.abs(_cd(header)).max())
    ):
        raise DataError(
            f"{what}: its WCS has two scales which differ, {', '.join(of_image[0])} and {', '.join(of_image[1])}: "
            "remove one of them"
        )
    for key in turned if of_image[0] else matrix:
        del header[key]


def _number(key: str, value: Any, what: str, level: int = logging.DEBUG) -> float | None:
    """Return the value of a keyword that must be a number; text that is one is read as such.

    Of a keyword that may be missing, without a value, None.
    """
    number = value
    if isinstance(value, str):
        text = value.strip()
        try:
            # EQUINOX is often written with the letter of its epoch: J2000.
            number = float(re.sub(r"^[JB](?=\d)", "", text) if key == "EQUINOX" else text.upper().replace("D", "E"))
        except ValueError:
            number = None
        if number is not None:
            log.log(level, "%s: %s is the text %r, where a number is expected: read as %s", what, key, value, number)
    elif value is None and key in _OPTIONAL:
        return None
    if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
        shown = "has no value" if value is None else f"is {value!r}"
        raise DataError(f"{what}: {key} of its WCS {shown}: a number is needed (of a position, in degrees)")
    return number  # type: ignore[return-value]


def _cd(header: fits.Header) -> np.ndarray:
    return np.array([[float(header.get(f"CD{i}_{j}", 0.0)) for j in (1, 2)] for i in (1, 2)])


def _pc(header: fits.Header) -> np.ndarray:
    """Return the matrix that PC and CDELT mean."""
    return np.array(
        [
            [
                float(header.get(f"CDELT{i}", 1.0))
                * float(header.get(f"PC{i}_{j}", header.get(f"PC00{i}00{j}", float(i == j))))
                for j in (1, 2)
            ]
            for i in (1, 2)
        ]
    )


def _refuse_without_scale(header: fits.Header, what: str) -> None:
    """Raise `DataError` if nothing in a header gives its pixels a size: the standard's default is one degree."""
    given = [key for key in ("CDELT1", "CDELT2") if key in header]
    if any(_CD.fullmatch(key) for key in header) or len(given) == 2:
        return
    if given:
        missing = "CDELT2" if given == ["CDELT1"] else "CDELT1"
        raise DataError(f"{what}: its WCS has {given[0]} and no {missing}: add it")
    # A matrix that scales as well as turns needs no CDELT.
    if abs(abs(np.linalg.det(_pc(header))) - 1) < 1e-3:
        raise DataError(f"{what}: its WCS gives its pixels no size (no CDi_j, no CDELTi): add these keywords")


def distortion_tables(header: fits.Header, hdus: fits.HDUList) -> fits.HDUList | None:
    """Return copies of the HDUs that hold the distortion of a header's WCS.

    Parameters
    ----------
    header : Header
        Of the image.
    hdus : HDUList
        The file, opened.

    Returns
    -------
    HDUList or None
        None if it needs none.
    """
    from astropy.io import fits

    if "AXISCORR" not in header and not any(_LOOKUP.fullmatch(key) for key in header):
        return None
    found = [hdu for hdu in hdus if hdu.name in TABLES]
    return fits.HDUList(
        [fits.PrimaryHDU(), *(fits.ImageHDU(np.array(hdu.data), hdu.header.copy(), ver=hdu.ver) for hdu in found)]
    )


def shifted_tables(tables: fits.HDUList | None, window: Window) -> fits.HDUList | None:
    """Return the tables of a distortion for a cutout: they count pixels of the image.

    Parameters
    ----------
    tables : HDUList or None
        As `distortion_tables` returns them.
    window : tuple of slice
        Rows and columns of the cutout.

    Returns
    -------
    HDUList or None
        Copies.
    """
    from astropy.io import fits

    if tables is None:
        return None
    moved = fits.HDUList([hdu.copy() for hdu in tables])
    for hdu in moved[1:]:
        for axis, part in ((1, window[1]), (2, window[0])):
            hdu.header[f"CRVAL{axis}"] = hdu.header.get(f"CRVAL{axis}", 0.0) - part.start
    return moved


def shifted_header(header: fits.Header, window: Window) -> fits.Header:
    """Return the header of a cutout: the reference pixels of every WCS moved along.

    Parameters
    ----------
    header : Header
        Of the whole image.
    window : tuple of slice
        Rows and columns of the cutout.

    Returns
    -------
    Header
        A copy.

    Raises
    ------
    DataError
        If a reference pixel is no number.
    """
    header = header.copy()
    refuse_unreadable(header, "cutout")
    for axis, part in ((1, window[1]), (2, window[0])):
        matches = [re.fullmatch(rf"(?:CTYPE|CRPIX){axis}([A-Z]?)", key) for key in header]
        for key in {f"CRPIX{axis}{match[1]}" for match in matches if match}:
            # A header that says nothing means zero.
            header[key] = (_number(key, header.get(key, 0.0), "cutout") or 0.0) - part.start
    return header


def without_wcs(header: fits.Header) -> fits.Header:
    """Return a copy of a header that gives its pixels no place on the sky."""
    from astropy.io import fits

    return fits.Header(
        [
            card
            for card in header.cards
            if not card.keyword.startswith(("CTYPE", "WCSAXES"))
            and not any(kind.fullmatch(card.keyword) for kind in (_NUMBERS, _CD, _PC, _SIP, _LOOKUP_PARTS))
        ]
    )
