"""Masks of bit planes, and segments that cannot be kept."""

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.errors import DataError

SHAPE = (41, 41)
FLAGS = np.zeros(SHAPE, "i4")
FLAGS[10:30, 10:30] = 32  # DETECTED, over the source
FLAGS[30, 30], FLAGS[12, 12], FLAGS[3, 3] = 1, 32 | 16, 1 << 20
BAD = np.zeros(SHAPE, bool)
BAD[30, 30] = BAD[12, 12] = True


def image():
    return Image(np.ones(SHAPE), pixel_scale=0.2)


@pytest.mark.parametrize("kind", ["i4", "u4", "i8", "f8", "u8"])
def test_chosen_bits_are_bad(tmp_path, kind):
    fits.PrimaryHDU(FLAGS.astype(kind)).writeto(tmp_path / "dq.fits")
    for source in (tmp_path / "dq.fits", FLAGS.astype(kind), fits.PrimaryHDU(FLAGS.astype(kind))):
        found = image()
        found.addmask(source, bits=[0, 4])
        np.testing.assert_array_equal(found.mask == 0, BAD)
    found = Image(np.ones(SHAPE), pixel_scale=0.2, addmask={"regions": FLAGS, "bits": (20,)})
    assert np.argwhere(found.mask == 0).tolist() == [[3, 3]]


def test_the_sign_of_short_integers_is_a_bit(tmp_path):
    flags = np.zeros(SHAPE, "i2")
    flags[1, 2], flags[2, 3] = -32768, 4
    fits.PrimaryHDU(flags).writeto(tmp_path / "dq.fits")
    for bit, place in ((15, [1, 2]), (2, [2, 3])):
        found = image()
        found.addmask(tmp_path / "dq.fits", bits=[bit])
        assert np.argwhere(found.mask == 0).tolist() == [place]


def test_values_without_bits_are_bad():
    flags = FLAGS.astype(float)
    flags[0, 0] = np.nan
    found = image()
    found.addmask(flags, bits=[0, 4])
    np.testing.assert_array_equal(found.mask == 0, BAD | np.isnan(flags))


def test_bits_of_a_mask_with_a_wcs_of_its_own(make_header):
    header = make_header((51, 51))
    flags = np.pad(FLAGS, 5)
    found = Image(fits.PrimaryHDU(np.ones(SHAPE), make_header(SHAPE)))
    found.addmask(fits.PrimaryHDU(flags, header), bits=[0, 4])
    np.testing.assert_array_equal(found.mask == 0, BAD)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ([4096], r"there is no bit 4096: .* the bit of value 4096 is 12"),
        ([53], "there is no bit 53"),
        ([-1], "a bit must be a whole number of at least 0"),
        ([0.5], "a bit must be a whole number"),
        ([], "bits is empty"),
        ("04", "bits must be a list"),
        (4, "bits must be a list"),
    ],
)
def test_what_are_no_bits(bits, said):
    with pytest.raises(DataError, match=said):
        image().addmask(FLAGS, bits=bits)


def test_masks_without_bits_are_refused():
    with pytest.raises(DataError, match="whole numbers"):
        image().addmask(FLAGS + 0.5, bits=[0])
    with pytest.raises(DataError, match="whole numbers"):
        image().addmask(FLAGS + 2.0**60, bits=[0])
    with pytest.raises(DataError, match="give good or bits"):
        image().addmask(FLAGS, bits=[0], good="zero")


def test_segments_that_cannot_be_kept():
    segments = np.zeros(SHAPE)
    segments[15:25, 15:25], segments[2:4, 2:4] = 7, 3
    with pytest.raises(DataError, match=r"segment 0 is the sky, and no object; there are 3, 7, and at the centre.* 7"):
        image().keep_segment(segments, 0)
    with pytest.raises(
        DataError, match=r"no pixel belongs to segment 5; there are 3, 7, and at the centre .* segment 7"
    ):
        image().keep_segment(segments, 5)
    with pytest.raises(DataError, match="holds no object here"):
        image().keep_segment(np.zeros(SHAPE), 5)
    many = np.arange(SHAPE[0] * SHAPE[1], dtype=float).reshape(SHAPE)
    with pytest.raises(DataError, match=r"there are 1, 2, .*, 12 and 1668 more, and at the centre .* segment 840$"):
        image().keep_segment(many, 5000)
