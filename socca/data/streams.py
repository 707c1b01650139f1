"""Bytes of FITS files: what is compressed, and whether checksums are right."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from socca.errors import DataError

#: Bytes that are read at a time: a multiple of four.
_BLOCK = 1 << 20


def expanded(stream: BinaryIO, limit: int, where: str) -> Any:
    """Return a file as it is, or, of a gzipped one, a file that decompresses it.

    All of a gzipped file is decompressed once before, block by block, since its checksum is at its end.

    Parameters
    ----------
    stream : binary file
        At its beginning.
    limit : int
        The most bytes that a gzipped file may expand to.
    where : str
        For the error.

    Returns
    -------
    binary file
        At its beginning.

    Raises
    ------
    DataError
        If a gzipped file is larger than that. No more than a block of it was in memory.
    OSError, EOFError, zlib.error
        If a gzipped file is damaged.
    """
    gzipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if not gzipped:
        return stream
    size = 0
    for block in _blocks(gzip.GzipFile(fileobj=stream)):
        size += len(block)
        if size > limit:
            raise DataError(
                f"{where} expands to more than {limit / 1e9:.3g} GB: raise max_pixels (in a config image.max_pixels) "
                "if that is meant, or decompress the file"
            )
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream)


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def wrong_sums(stream: Any, place: dict[str, Any]) -> list[str]:
    """Return which of the keywords CHECKSUM and DATASUM of an HDU do not fit its bytes.

    Parameters
    ----------
    stream : binary file
        The whole file, decompressed.
    place : dict
        Where the HDU is, as `HDU.fileinfo` of astropy.

    Returns
    -------
    list of str
        Keywords; none where there are none.
    """
    from astropy.io import fits

    start, data, size = int(place["hdrLoc"]), int(place["datLoc"]), int(place["datSpan"])
    stream.seek(start)
    head = stream.read(data - start)
    header = fits.Header.fromstring(head)
    checksum, datasum = (str(header.get(key, "")).strip() for key in ("CHECKSUM", "DATASUM"))
    wrong: list[str] = []
    # A checksum of zeros, like an empty one, says nothing.
    if not checksum.strip("0") and not datasum.isdecimal():
        return wrong
    of_data = 0
    while size > 0 and (block := stream.read(min(size, _BLOCK))):
        of_data, size = of_data + _words(block), size - len(block)
    if checksum.strip("0") and _folded(_words(head) + of_data) not in (0, 0xFFFFFFFF):
        wrong.append("CHECKSUM")
    if datasum.isdecimal() and _folded(of_data) != int(datasum):
        wrong.append("DATASUM")
    return wrong


def _words(block: bytes) -> int:
    """Return the sum of the 32-bit words of a block."""
    return int(np.frombuffer(block[: len(block) // 4 * 4], ">u4").sum(dtype=np.uint64))


def _folded(total: int) -> int:
    """Return a sum in ones' complement arithmetic of 32 bits, as the FITS standard has it."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
