"""Revision of the reader of FITS files, and which files earlier versions read in another way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.fits import open_fits
from socca.data.hdus import HduIndex, select_hdu
from socca.data.pixels import is_hidden_now, stored_pixels
from socca.data.wcs import wcs_read_otherwise
from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.io import fits

#: Raise it by one whenever the same file is read in another way, and let `read_otherwise` say which files these are.
#: Results record it. Those of before are made again if they are of such a file, and are valid otherwise.
READER_REVISION = 1


def read_otherwise(path: Path, hdu: HduIndex | None, what: str, *, sky: bool) -> str:
    """Say what of a file the reader of revision 0 took for something else.

    Parameters
    ----------
    path : Path
        A FITS file, or any other.
    hdu : int, str, tuple or None
        Which HDU; None for the first with an image.
    what : str
        What the file is for.
    sky : bool
        Whether its WCS is used.

    Returns
    -------
    str
        In a few words; empty if both read the same, or if it is no FITS image that can be read.
    """
    try:
        with open_fits(path, what, stored=True) as hdus:
            found = select_hdu(hdus, hdu, what, str(path))
            wcs = wcs_read_otherwise(found.header) if sky else ""
            return wcs or _blank(found, found.header)
    except DataError:
        return ""


def _blank(hdu: Any, header: fits.Header) -> str:
    if is_hidden_now(header) and np.any(stored_pixels(hdu, None, None, "") == header["BLANK"]):
        return f"its pixels with BLANK = {header['BLANK']} are masked"
    return ""
