"""Headers that would keep astropy busy for ever."""

import gzip
import io
import time
import warnings

import numpy as np
import pytest
from astropy.io import fits

from socca.data.fits_headers import check_counts, is_plain, unreadable_cards
from socca.errors import DataError
from tests.data.small_image import read


def with_card(path, card, at):
    """Write an image with an extension, and put a card in the place of the one at that position of a header."""
    hdus = fits.HDUList([fits.PrimaryHDU(np.ones((5, 6))), fits.ImageHDU(np.ones((5, 6)))])
    hdus[0].header["BSCALE"] = 1.0
    hdus.writeto(path)
    content = bytearray(path.read_bytes())
    content[at : at + 80] = f"{card:<80}".encode()
    path.write_bytes(content)
    return path


#: Bytes from the start of the file at which NAXIS, NAXIS1 and BSCALE are, and of the header of the extension.
NAXIS, NAXIS1, OTHER, SECOND = 160, 240, 400, 2 * 2880


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("key", "value", "at"),
    [
        ("NAXIS", 99999999999, NAXIS),
        ("NAXIS", 99999999999, OTHER),
        ("NAXIS1", -64, NAXIS1),
        ("PCOUNT", -5760, OTHER),
        ("TFIELDS", 4000000000, OTHER),
        ("NAXIS", 1000, SECOND + NAXIS),
        ("NAXIS1", -1, SECOND + NAXIS1),
    ],
)
def test_numbers_that_are_never_reached_are_refused(tmp_path, key, value, at, packed):
    path = with_card(tmp_path / "a.fits", f"{key:<8}= {value:>20}", at)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=rf"a\.fits: its header is damaged: {key} is {value}"):
        read(path)


def test_a_header_without_an_end_takes_little_time():
    start = time.process_time()
    check_counts(io.BytesIO(f"{'SIMPLE  =                    T':<80}".encode() + b" " * 2**24), "a")
    assert time.process_time() - start < 2


def test_what_is_no_fits_is_not_looked_through(tmp_path):
    stream = io.BytesIO(b" " * 2**24)
    read_before = stream.read
    sizes = []
    stream.read = lambda size: sizes.append(size) or read_before(size)
    check_counts(stream, "a")
    assert sum(sizes) < 80
    assert stream.tell() == 0
    (tmp_path / "a.fits").write_bytes(b" " * 2880)
    with pytest.raises(DataError, match=r"a\.fits: No SIMPLE card found"):
        read(tmp_path / "a.fits")


def test_headers_that_are_as_they_should_be_are_not_looked_into(tmp_path):
    path = with_card(tmp_path / "a.fits", "COMMENT NAXIS   =          99999999999", OTHER)
    assert read(path).shape == (5, 6)


def test_a_plain_header_has_no_card_that_cannot_be_read():
    """Whatever bytes are put in the place of others: where one cannot be read, the header is not taken for plain."""
    header = fits.Header(
        {
            "SIMPLE": True,
            "BITPIX": -32,
            "NAXIS": 0,
            "CRVAL1": -1.5e-3,
            "GAIN": 2.0,
            "OBJECT": "O'Neil",
            "DATE": "2026-01-01",
        }
    )
    header["CUNIT1"] = ("deg", "its unit")
    header.add_history("made for a test")
    header.add_comment("of headers")
    whole = header.tostring().encode()
    assert is_plain(whole)
    rng = np.random.default_rng(8)
    plain = unreadable = 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = rng.integers(80, 80 * len(header.cards))
            content[at] = rng.choice(list(b" '/.-+=E019TFa&(\x00\xe9"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = unreadable_cards(fits.Header.fromstring(bytes(content)))
            except Exception:  # of bytes that are no text
                found = [None]
        taken = is_plain(bytes(content))
        assert not (taken and found), bytes(content)
        plain, unreadable = plain + taken, unreadable + bool(found)
    assert plain > 100
    assert unreadable > 100
