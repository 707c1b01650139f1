"""What stored numbers mean: BLANK, unsigned integers, asinh scaling and checksums, in every kind of file."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.data.fits import read_cube, read_image
from socca.errors import DataError

SHAPE = (20, 21)
#: Type in the file, BZERO and BLANK of integers; BLANK counts before BZERO.
INTEGERS = {
    "int16": (">i2", None, -32768),
    "int16 with an offset": (">i2", 100.0, -32768),
    "uint16": (">i2", 32768, -32768),
    "uint16, blank 65535": (">i2", 32768, 32767),
    "uint32": (">i4", 2**31, -(2**31)),
    "uint64": (">i8", 2**63, -(2**63) + 7),
    "uint8": ("u1", None, 255),
    "uint8, blank 0": ("u1", None, 0),
    "int8": ("u1", -128, 3),
}


def write(path, name, *, compressed):
    """Write 50 everywhere as it is stored, 51 in one pixel and BLANK in another."""
    kind, zero, blank = INTEGERS[name]
    stored = np.full(SHAPE, 50, kind)
    stored[3, 4], stored[5, 6] = blank, 51
    hdu = fits.PrimaryHDU(stored)
    if compressed:
        hdu = fits.CompImageHDU(stored, compression_type="GZIP_1" if "64" in name else "RICE_1", tile_shape=(4, 21))
    hdu.writeto(path)
    # Header and numbers as they stand: astropy would scale the values that it thinks it holds.
    with fits.open(path, mode="update", disable_image_compression=True, do_not_scale_image_data=True) as hdus:
        if zero is not None:
            hdus[-1].header["BZERO"], hdus[-1].header["BSCALE"] = zero, 1
        hdus[-1].header["BLANK"] = blank
    return path, 0 if zero is None else zero


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "tiles"])
@pytest.mark.parametrize("name", INTEGERS)
def test_blank_has_no_value(tmp_path, name, compressed):
    path, zero = write(tmp_path / "image.fits", name, compressed=compressed)
    image = Image(path, pixel_scale=0.2)
    assert np.argwhere(image.mask == 0).tolist() == [[3, 4]]
    assert image.data[0, 0] == float(50 + zero)
    assert image.data[5, 6] == float(51 + zero)
    # So it is in the part of it that a cutout reads.
    part = Image(path, pixel_scale=0.2, center=(5, 4), csize=5)
    assert part.window == (slice(2, 7), slice(3, 8))
    assert np.argwhere(part.mask == 0).tolist() == [[1, 1]]
    np.testing.assert_array_equal(part.hdu.data, image.hdu.data[part.window])


@pytest.mark.parametrize("name", [name for name in INTEGERS if name != "int8"])
def test_blank_of_an_hdu_that_the_user_has_opened(tmp_path, name):
    path, zero = write(tmp_path / "image.fits", name, compressed=False)
    with fits.open(path) as hdus:
        for source in (hdus, hdus[0]):
            image = Image(source, pixel_scale=0.2)
            assert np.argwhere(image.mask == 0).tolist() == [[3, 4]]
            assert image.data[0, 0] == float(50 + zero)


def test_signed_bytes_that_astropy_cannot_read_say_what_to_do(tmp_path):
    path, _ = write(tmp_path / "image.fits", "int8", compressed=False)
    with fits.open(path) as hdus, pytest.raises(DataError, match="Give the path of its file"):
        Image(hdus, pixel_scale=0.2)


def test_small_unsigned_integers_of_64_bits_are_exact(tmp_path):
    values = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint64).reshape(SHAPE)
    fits.PrimaryHDU(values).writeto(tmp_path / "segments.fits")
    np.testing.assert_array_equal(read_image(tmp_path / "segments.fits").data, values.astype(float))


def test_blank_of_a_cube(tmp_path):
    values = np.arange(120, dtype=np.uint16).reshape(2, 6, 10)
    hdu = fits.PrimaryHDU(values)
    hdu.header["BLANK"] = 5 - 32768
    hdu.writeto(tmp_path / "cube.fits")
    assert np.argwhere(np.isnan(read_cube(tmp_path / "cube.fits"))).tolist() == [[0, 0, 5]]


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "tiles"])
def test_asinh_scaled_pixels_are_refused(tmp_path, compressed):
    hdu = (fits.CompImageHDU if compressed else fits.ImageHDU)(np.ones(SHAPE, "f4"))
    hdu.header["BSOFTEN"], hdu.header["BOFFSET"] = 15.5, 0.3
    hdu.writeto(tmp_path / "stack.fits")
    for source in (tmp_path / "stack.fits", hdu):
        with pytest.raises(DataError, match=r"asinh \(BSOFTEN, BOFFSET\)"):
            Image(source, pixel_scale=0.2)


# Checksums.


@pytest.fixture(params=["plain", "extension", "tiles", "gzip"])
def with_sums(request, tmp_path):
    """A file of each kind with checksums, and a place in its data."""
    plane = np.random.default_rng(2).normal(size=SHAPE).astype("f4")
    hdus = {
        "plain": [fits.PrimaryHDU(plane)],
        "gzip": [fits.PrimaryHDU(plane)],
        "extension": [fits.PrimaryHDU(), fits.ImageHDU(plane)],
        "tiles": [fits.PrimaryHDU(), fits.CompImageHDU(np.round(100 * plane).astype("i4"))],
    }[request.param]
    path = tmp_path / ("image.fits.gz" if request.param == "gzip" else "image.fits")
    fits.HDUList(hdus).writeto(path, checksum=True)
    with fits.open(path, disable_image_compression=True) as opened:
        place = opened[-1].fileinfo()
    # A changed tile might not be read at all: there it is a byte of what fills the last block.
    return path, place["datLoc"] + (place["datSpan"] - 1 if request.param == "tiles" else 0)


def change(path, place, old=None, new=None):
    content = path.read_bytes()
    content = bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    if old is None:
        content[place] ^= 1
    else:
        content = content.replace(old, new)
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))


def test_a_right_checksum_says_nothing(with_sums, caplog):
    Image(with_sums[0], pixel_scale=0.2)
    assert caplog.text == ""


def test_a_wrong_checksum_is_a_warning_that_names_the_file(with_sums, caplog):
    path, place = with_sums
    change(path, place)
    Image(path, pixel_scale=0.2)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    for record, key in zip(caplog.records, ("CHECKSUM", "DATASUM"), strict=True):
        assert str(path) in record.getMessage()
        assert f"does not fit its {key}" in record.getMessage()


def test_a_changed_header_does_not_fit_its_checksum(tmp_path, caplog):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.ones(SHAPE), fits.Header({"EXPTIME": 100.0})).writeto(path, checksum=True)
    change(path, None, b"EXPTIME =                100.0", b"EXPTIME =                200.0")
    Image(path, pixel_scale=0.2)
    assert [record.args[1] for record in caplog.records] == ["CHECKSUM"]


@pytest.mark.parametrize("key", ["BSCALE", "BZERO"])
def test_a_scale_that_is_no_number_is_named(tmp_path, key):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.full(SHAPE, 50, ">i2"), fits.Header({"OBJECT": "x"})).writeto(path)
    card = f"{key:8s}= 'two     '".ljust(80).encode()
    content = path.read_bytes()
    at = content.index(b"OBJECT  ")
    path.write_bytes(content[:at] + card + content[at + 80 :])
    with pytest.raises(DataError, match=rf"image\.fits.*: {key} must be a number, got 'two'"):
        Image(path, pixel_scale=0.2)
