"""Look at the headers of a FITS file before astropy reads them."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.io import fits

#: Of the FITS standard: bytes of a block, and the most axes that an array, or columns that a table, may have.
_BLOCK, _MOST = 2880, 999
#: Blocks of the longest header that is looked through.
_LONGEST = 2**26 // _BLOCK
#: How a file begins that is FITS.
_FIRST = b"SIMPLE"
_END = re.compile(rb"END {77}")
_NUMBER = re.compile(rb"(BITPIX|NAXIS\d*|PCOUNT|GCOUNT|ZNAXIS|TFIELDS) *= *([-+]?\d+)\b")
_VALUE = rb"(?:'(?:[ -&(-~]|'')*'|[-+]?[0-9]+(?:\.[0-9]*)?(?:E[-+]?[0-9]+)?|[TF])"
#: A card of a comment, a blank one, or one of a text, a number or a truth value.
_PLAIN = re.compile(
    rb"(?:COMMENT |HISTORY |END {5}| {8})[ -~]*|(?=[A-Z0-9_-]+ *=)[A-Z0-9_ -]{8}=  *" + _VALUE + rb" *(?:/[ -~]*)?"
)
_COUNTS = ("NAXIS", "ZNAXIS", "TFIELDS")


def check_counts(stream: BinaryIO, where: str) -> None:
    """Refuse a file whose headers say what would keep astropy busy for ever.

    It counts the axes of an array and the columns of a table one by one, and goes back in the file by a negative size.

    Parameters
    ----------
    stream : binary file
        The file, not compressed, at its beginning; it is there again afterwards.
    where : str
        For the error.

    Raises
    ------
    DataError
        If there is such a number. What else is wrong with a header is for astropy to say.
    """
    beginning = stream.read(len(_FIRST))
    stream.seek(0)
    if beginning != _FIRST:
        return  # astropy reads no more of it either
    try:
        while numbers := _next_header(stream, where):
            axes, size = numbers.get("NAXIS", 0), abs(numbers.get("BITPIX", 8)) // 8
            elements = math.prod(numbers.get(f"NAXIS{k}", 0) for k in range(1, axes + 1)) if axes else 0
            size *= (elements + numbers.get("PCOUNT", 0)) * numbers.get("GCOUNT", 1)
            if not 0 <= size < 2**60:
                break
            stream.seek(-(-size // _BLOCK) * _BLOCK, io.SEEK_CUR)
    finally:
        stream.seek(0)


def _next_header(stream: BinaryIO, where: str) -> dict[str, int]:
    """Return the numbers of a header that say how large its data are; none if there is no further header.

    Of a number that is given twice, the largest: astropy may take either.
    """
    blocks: list[bytes] = []
    while len(blocks) < _LONGEST:
        blocks.append(stream.read(_BLOCK))
        if len(blocks[-1]) < _BLOCK or _END.search(blocks[-1]):
            break
    header, found = b"".join(blocks), dict[str, int]()
    for at in range(0, len(header), 80):
        match = _NUMBER.match(header, at, at + 80)
        if match and len(match[2]) < 80:
            key, number = match[1].decode(), int(match[2])
            if (key in _COUNTS and number > _MOST) or (key != "BITPIX" and number < 0):
                raise DataError(f"{where}: its header is damaged: {key} is {number}")
            found[key] = max(number, found.get(key, number))
    return found


def is_plain(header: bytes) -> bool:
    """Tell whether a header has none but cards that are written as most are, all of which astropy can read.

    Parameters
    ----------
    header : bytes
        As it is in the file.

    Returns
    -------
    bool
        Whether `unreadable_cards` of it are none for sure. It takes a tenth of their time.
    """
    return all(_PLAIN.fullmatch(header, at, at + 80) for at in range(0, len(header), 80))


def unreadable_cards(header: fits.Header, of: Callable[[str], bool] | None = None) -> list[fits.Card]:
    """Return the cards of a header whose value cannot be read; astropy finds that out when it is asked for it.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of any HDU.
    of : callable, optional
        Tells of a keyword whether its cards are looked at; by default, all are.

    Returns
    -------
    list of astropy.io.fits.Card
        In the order of the header.
    """
    from astropy.io.fits import VerifyError

    found = []
    for card in header.cards:
        if of is not None and not of(card.keyword):
            continue
        try:
            _ = card.value
        except (VerifyError, ValueError):
            found.append(card)
    return found
