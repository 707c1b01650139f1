"""Bytes of FITS files: what is compressed, and whether checksums are right."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from socca.errors import DataError, TooLargeError

#: Bytes that are read at a time: a multiple of four.
_BLOCK = 1 << 20
#: What a compressed file may expand to in memory, bytes.
_IN_MEMORY = 1 << 25
#: Bytes that tell how a file is compressed, if it is.
_LEAD = 10


def _of_zip(stream: BinaryIO) -> Any:
    """Open the file in an archive."""
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    if len(members) != 1:
        raise OSError(f"it is an archive of {len(members)} files, and one is expected")
    if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise OSError("its archive is compressed by another method than deflate: decompress it")  # not in pieces
    return archive.open(members[0])


def _of_lzw(stream: BinaryIO) -> Any:
    raise OSError("files that compress made (.Z) are not read: decompress it")


#: How a compressed file begins, and what decompresses it: all that astropy would decompress.
_COMPRESSED: tuple[tuple[re.Pattern[bytes], Callable[[BinaryIO], Any]], ...] = (
    (re.compile(rb"\x1f\x8b"), lambda stream: gzip.GzipFile(fileobj=stream)),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    (re.compile(rb"\xfd7zXZ\0"), lzma.LZMAFile),
    (re.compile(rb"PK\x03\x04"), _of_zip),
    (re.compile(rb"\x1f\x9d"), _of_lzw),
)


@contextlib.contextmanager
def expanded(stream: BinaryIO, limit: int, where: str, remedy: str) -> Iterator[BinaryIO]:
    """Give a file as it is, or, of a compressed one (gzip, bzip2, xz, zip), a file with what it expands to.

    All of a compressed file is decompressed, since its checksum is at its end: into memory, or, of a large one, into a
    temporary file.

    Parameters
    ----------
    stream : binary file
        At its beginning.
    limit : int
        The most bytes that a compressed file may expand to.
    where, remedy : str
        For the error about a larger one: the file, and what to do.

    Yields
    ------
    binary file
        At its beginning; the same one if it is not compressed.

    Raises
    ------
    TooLargeError
        If a compressed file is larger than that.
    DataError
        If it holds another compressed file.
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile
        If a compressed file is damaged, or is compressed in a way that is not read.
    """
    decompressor = _decompressor(stream)
    if decompressor is None:
        yield stream
        return
    with contextlib.ExitStack() as files:
        size, memory, disk = 0, io.BytesIO(), None
        unpacked = files.enter_context(decompressor(stream))
        while block := unpacked.read(_BLOCK):
            size += len(block)
            if size > limit:
                raise TooLargeError(f"{where} expands to more than {limit / 1e9:.3g} GB: {remedy}")
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
        if _decompressor(plain) is not None:
            raise DataError(f"{where} is compressed twice: decompress it")
        yield plain


def _decompressor(stream: BinaryIO) -> Callable[[BinaryIO], Any] | None:
    """Return what decompresses a file; None if it is not compressed. The file is at its beginning again."""
    lead = stream.read(_LEAD)
    stream.seek(0)
    return next((opener for pattern, opener in _COMPRESSED if pattern.match(lead)), None)


def header_of(place: dict[str, Any]) -> bytes:
    """Return the bytes of the header of an HDU; the file is at the beginning of its data then.

    Parameters
    ----------
    place : dict
        Where the HDU is, as `HDU.fileinfo` of astropy.

    Returns
    -------
    bytes
        A number of blocks.
    """
    stream, start = place["file"], int(place["hdrLoc"])
    stream.seek(start)
    head: bytes = stream.read(int(place["datLoc"]) - start)
    return head


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

    size, head, wrong = int(place["datSpan"]), header_of(place), list[str]()
    if b"CHECKSUM" not in head and b"DATASUM" not in head:
        return wrong
    header = fits.Header.fromstring(head)
    checksum, datasum = (str(header.get(key, "")).strip() for key in ("CHECKSUM", "DATASUM"))
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
