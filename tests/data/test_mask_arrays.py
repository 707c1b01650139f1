"""Masks and segments on the image's own pixels."""

import numpy as np
import pytest
from astropy.io import fits

from socca.errors import DataError
from tests.data.small_image import SHAPE, VALUES, read

HOLES = np.zeros(SHAPE)
HOLES[4:6, 7:9] = 3


@pytest.mark.parametrize("good", ["nonzero", "zero"])
@pytest.mark.parametrize("source", ["array", "bool", "hdu", "path"])
def test_masks(tmp_path, good, source):
    plane = HOLES if good == "zero" else np.where(HOLES, 0, 5)
    path = tmp_path / "mask.fits"
    fits.PrimaryHDU(plane.astype(np.int16)).writeto(path)
    given = {"array": plane, "bool": plane != 0, "hdu": fits.PrimaryHDU(plane), "path": path}[source]
    image = read(VALUES)
    image.addmask(given, good=good)
    np.testing.assert_array_equal(image.mask == 0, HOLES != 0)
    np.testing.assert_array_equal(image.data, VALUES)


def test_masks_combine():
    values = VALUES.copy()
    values[0, 0] = np.nan
    one, two = np.ones(SHAPE), np.ones(SHAPE)
    one[1, 1] = two[2, 2] = 0
    image = read(values, addmask={"regions": [one, two]})
    assert set(zip(*np.nonzero(image.mask == 0), strict=True)) == {(0, 0), (1, 1), (2, 2)}
    image.addmask(two, combine=False)
    assert set(zip(*np.nonzero(image.mask == 0), strict=True)) == {(0, 0), (2, 2)}
    image.addmask(one)
    assert set(zip(*np.nonzero(image.mask == 0), strict=True)) == {(0, 0), (1, 1), (2, 2)}


@pytest.mark.parametrize("good", ["nonzero", "zero"])
def test_unknown_mask_pixels_are_not_used(good):
    plane = np.full(SHAPE, 1.0 if good == "nonzero" else 0.0)
    plane[4, 5] = np.nan
    image = read(VALUES)
    image.addmask(plane, good=good)
    np.testing.assert_array_equal(np.argwhere(image.mask == 0), [[4, 5]])


def test_bad_masks():
    with pytest.raises(DataError, match="shape"):
        read(VALUES).addmask(np.ones((3, 3)))
    with pytest.raises(DataError, match="all pixels"):
        read(VALUES).addmask(np.zeros(SHAPE))
    with pytest.raises(DataError, match="good"):
        read(VALUES).addmask(np.ones(SHAPE), good="maybe")
    with pytest.raises(DataError, match="all pixels"):
        read(np.full(SHAPE, np.nan)).check_mask()


@pytest.mark.parametrize("dtype", [np.int32, np.float32, ">i2", np.uint8])
def test_keep_segment(dtype):
    segments = np.zeros(SHAPE, int)
    segments[2:4, 2:4], segments[6:9, 6:9], segments[0, :3] = 1, 2, 17
    image = read(VALUES)
    mine = image.keep_segment(segments.astype(dtype), 2)
    np.testing.assert_array_equal(mine, segments == 2)
    np.testing.assert_array_equal(image.mask > 0, (segments == 0) | (segments == 2))


def test_bad_segments():
    segments = np.zeros(SHAPE)
    segments[2, 2] = 1
    with pytest.raises(DataError, match="segment 5"):
        read(VALUES).keep_segment(segments, 5)
    with pytest.raises(DataError, match="shape"):
        read(VALUES).keep_segment(np.ones((3, 3)), 1)
