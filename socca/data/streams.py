"""Bytes of FITS files: what is compressed, and whether checksums are right."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from socca.errors import TooLargeError

#: Bytes that are read at a time: a multiple of four.
_BLOCK = 1 << 20
#: What a gzipped file may expand to in memory, bytes.
_IN_MEMORY = 1 << 25


@contextlib.contextmanager
def expanded(stream: BinaryIO, limit: int, where: str) -> Iterator[BinaryIO]:
    """Give a file as it is, or, of a gzipped one, a file with what it expands to.

    All of a gzipped file is decompressed, since its checksum is at its end: into memory, or, of a large one, into a
    temporary file.

    Parameters
    ----------
    stream : binary file
        At its beginning.
    limit : int
        The most bytes that a gzipped file may expand to.
    where : str
        For the error.

    Yields
    ------
    binary file
        At its beginning.

    Raises
    ------
    TooLargeError
        If a gzipped file is larger than that.
    OSError, EOFError, zlib.error
        If a gzipped file is damaged.
    """
    gzipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if not gzipped:
        yield stream
        return
    with contextlib.ExitStack() as files:
        size, memory, disk = 0, io.BytesIO(), None
        unpacked = files.enter_context(gzip.GzipFile(fileobj=stream))
        while block := unpacked.read(_BLOCK):
            size += len(block)
            if size > limit:
                raise TooLargeError(
                    f"{where} expands to more than {limit / 1e9:.3g} GB: decompress it, or raise max_pixels (in a "
                    "config image.max_pixels)"
                )
            if disk is None and size > _IN_MEMORY:
                disk = files.enter_context(tempfile.TemporaryFile())
                disk.write(memory.getvalue())
                memory.close()
            (memory if disk is None else disk).write(block)
        if disk is None:
            plain: BinaryIO = memory
        else:
            disk.flush()
            # As a file for reading alone, which astropy asks for.
            plain = files.enter_context(os.fdopen(os.dup(disk.fileno()), "rb"))
        plain.seek(0)
        yield plain


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
