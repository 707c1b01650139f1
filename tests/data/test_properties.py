"""What holds of every file, mask and cutout: FITS read after written, masks cut, windows within windows.

The examples are the same in every run. To search on, with new ones and twenty times as many:
``pytest --hypothesis-profile explore tests/data/test_properties.py``.
"""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from socca.data import Image
from socca.data.fits import Plane, read_cube, read_image
from socca.errors import DataError

SIDES = {"min_side": 3, "max_side": 12}
#: The types that FITS stores, unsigned ones and signed bytes by an offset.
STORED = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
#: BITPIX -> its type, and the relative rounding of what astropy makes of scaled values of it.
SCALED = {8: ("u1", 2**-24), 16: ("i2", 2**-24), 32: ("i4", 2**-53), 64: ("i8", 2**-53)}
SCALED |= {-32: ("f4", 2**-24), -64: ("f8", 2**-53)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


# FITS.


@st.composite
def stored_planes(draw, axes):
    """Draw an array of one of the types, of some shape; floats are of any value, NaN and infinities among them."""
    dtype = draw(st.sampled_from(STORED))
    return draw(arrays(dtype, draw(array_shapes(min_dims=axes, max_dims=axes, **SIDES))))


@given(
    plane=stored_planes(axes=2),
    degenerate=st.integers(0, 2),
    extension=st.booleans(),
    zipped=st.booleans(),
    by_name=st.booleans(),
)
def test_planes_that_are_written_are_read(folder, plane, degenerate, extension, zipped, by_name):
    values = plane.reshape((1,) * degenerate + plane.shape)
    path = folder / "plane.fits"
    hdus = [fits.PrimaryHDU(values)]
    if extension:
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(values, name="SCI")]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    if zipped:
        path = folder / "plane.fits.gz"
        path.write_bytes(gzip.compress((folder / "plane.fits").read_bytes(), 1))
    found = read_image(path, "SCI" if extension and by_name else None)
    assert isinstance(found, Plane)
    assert found.data.dtype == np.float64
    assert found.data.dtype.isnative
    np.testing.assert_array_equal(found.data, plane.astype(np.float64))
    # What is read already is taken as it is.
    assert read_image(found) is found


@given(cube=stored_planes(axes=3))
def test_cubes_that_are_written_are_read_and_are_no_planes(folder, cube):
    fits.PrimaryHDU(cube).writeto(folder / "cube.fits", overwrite=True)
    np.testing.assert_array_equal(read_cube(folder / "cube.fits"), cube.astype(np.float64))
    with pytest.raises(DataError, match="expected a two-dimensional image"):
        read_image(folder / "cube.fits")


@st.composite
def scaled_planes(draw):
    """Draw BITPIX, the values as they are stored, scale and offset (exact as decimals of a header), and the blank.

    Astropy 8.0 does not see a BLANK of 0, nor that of unsigned integers (scale 1): these are left out.
    """
    bitpix = draw(st.sampled_from(list(SCALED)))
    shape = draw(array_shapes(min_dims=2, max_dims=2, **SIDES))
    dtype, _ = SCALED[bitpix]
    if bitpix > 0:
        raw, blank = draw(arrays(dtype, shape)), None
        if draw(st.booleans()):
            blank = int(raw[draw(st.integers(0, shape[0] - 1)), 0]) or None
    else:
        sizes = st.floats(-(2.0**30), 2.0**30, width=-bitpix, allow_subnormal=False)
        raw, blank = draw(arrays(dtype, shape, elements=sizes | st.just(np.nan))), None
    scale = draw(st.integers(-640, 640).filter(bool)) / 64
    offset = draw(st.integers(-64000, 64000)) / 64
    assume(blank is None or scale != 1)
    return bitpix, raw, scale, offset, blank


@given(drawn=scaled_planes())
def test_scaled_values_are_read(folder, drawn):
    bitpix, raw, scale, offset, blank = drawn
    header = fits.PrimaryHDU(raw).header
    header["BSCALE"], header["BZERO"] = scale, offset
    if blank is not None:
        header["BLANK"] = blank
    # Header and values as they stand: astropy would scale the values that it thinks it holds.
    block = raw.astype(raw.dtype.newbyteorder(">")).tobytes()
    (folder / "scaled.fits").write_bytes(header.tostring().encode("latin-1") + block + b"\0" * (-len(block) % 2880))
    found = read_image(folder / "scaled.fits")
    wanted = raw.astype(float) * scale + offset
    if blank is not None:
        wanted[raw == blank] = np.nan
    np.testing.assert_array_equal(np.isnan(found.data), np.isnan(wanted))
    # Scale, product, offset and sum are rounded once each, and the value itself if it has 64 bits; as much again for
    # what is wanted.
    size = np.abs(raw.astype(float) * scale) + abs(offset)
    known = ~np.isnan(wanted)
    assert np.all(np.abs(found.data - wanted)[known] <= 8 * SCALED[bitpix][1] * size[known])
    # The header of values that are scaled asks for no more of it.
    assert (found.header.get("BSCALE", 1), found.header.get("BZERO", 0)) == (1, 0)


@given(plane=stored_planes(axes=2))
def test_what_is_not_finite_is_masked(folder, plane):
    finite = np.isfinite(plane)
    fits.PrimaryHDU(plane).writeto(folder / "image.fits", overwrite=True)
    for source in (folder / "image.fits", plane, Plane(plane.astype(float), fits.Header())):
        image = Image(source, pixel_scale=0.2)
        np.testing.assert_array_equal(image.mask > 0, finite)
        np.testing.assert_array_equal(image.data, np.where(finite, plane, 0).astype(float))
        np.testing.assert_array_equal(image.hdu.data, plane.astype(float))


# Masks and cutouts.


@st.composite
def windows(draw, shape):
    """Draw rows and columns of a part of an array: three of each at least."""
    sides = []
    for length in shape:
        start = draw(st.integers(0, length - 3))
        sides.append(slice(start, draw(st.integers(start + 3, length))))
    return tuple(sides)


def cut(image, window):
    """Cut a window out, as a user would say it: by its centre (x, y) and its size (rows, columns)."""
    rows, cols = window
    center = ((cols.start + cols.stop - 1) / 2, (rows.start + rows.stop - 1) / 2)
    image.cutout(center, (rows.stop - rows.start, cols.stop - cols.start))


def within(outer, inner):
    """Return a window of a window, as one of the whole."""
    return tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))


def shape_of(window):
    return tuple(part.stop - part.start for part in window)


@st.composite
def masked_images(draw):
    """Draw values, some of them NaN, a mask of numbers, and a window."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, **SIDES))
    values = np.arange(float(np.prod(shape))).reshape(shape)
    values[draw(arrays(bool, shape, elements=st.integers(0, 9).map(lambda n: n == 0)))] = np.nan
    mask = draw(arrays("f4", shape, elements=st.sampled_from([0.0, 1.0, -2.5, np.nan])))
    return values, mask, draw(windows(shape))


def mask_after(image, *steps):
    """Return the mask of an image after some steps; None if they leave no pixel."""
    try:
        for step in steps:
            step(image)
    except DataError as error:
        if "all pixels" not in str(error):
            raise
        return None
    return image.mask > 0


def outcome(values, *steps):
    """Return the mask of an image in pixels after some steps; None if they leave no pixel."""
    return mask_after(Image(values, pixel_scale=0.2), *steps)


@given(drawn=masked_images(), good=st.sampled_from(["zero", "nonzero"]), combine=st.booleans())
def test_the_cutout_of_a_mask_is_the_mask_of_the_cutout(drawn, good, combine):
    values, mask, window = drawn
    used = np.isfinite(values) & ~np.isnan(mask) & ((mask == 0) if good == "zero" else (mask != 0))
    wanted = used[window] if used[window].any() else None

    def lay(part):
        return lambda image: image.addmask(part, combine, good=good)

    ways = [
        (lay(mask), lambda image: cut(image, window)),
        (lambda image: cut(image, window), lay(mask)),
        (lambda image: cut(image, window), lay(np.ascontiguousarray(mask[window]))),
    ]
    for steps in ways:
        np.testing.assert_equal(outcome(values, *steps), wanted)


@given(drawn=masked_images(), x=st.integers(-2, 13), y=st.integers(-2, 13), r=st.sampled_from([0.6, 1.7, 3.3]))
def test_a_region_file_counts_pixels_of_the_whole_image(folder, drawn, x, y, r):
    values, _, window = drawn
    row, col = np.indices(values.shape)
    used = np.isfinite(values) & (np.hypot(col - x, row - y) >= r)  # no pixel's centre is at one of these distances
    path = folder / "star.reg"
    path.write_text(f"image\ncircle({x + 1},{y + 1},{r})\n")
    wanted = used[window] if used[window].any() else None
    for steps in (
        (lambda image: image.addmask(path), lambda image: cut(image, window)),
        (lambda image: cut(image, window), lambda image: image.addmask(path)),
    ):
        np.testing.assert_equal(outcome(values, *steps), wanted)


@given(drawn=masked_images(), data=st.data())
def test_windows_compose(drawn, data):
    values, mask, outer = drawn
    inner = data.draw(windows(shape_of(outer)))
    both = within(outer, inner)
    response = mask + 3
    known = np.isfinite(values + response)
    assume(known[both].any())
    twice, once = (Image(values, response, pixel_scale=0.2) for _ in range(2))
    for window in (outer, inner):
        cut(twice, window)
    cut(once, both)
    for image in (twice, once):
        assert image.window == both
        assert image.original_shape == values.shape
        np.testing.assert_array_equal(image.hdu.data, values[both])
        np.testing.assert_array_equal(image.data, np.nan_to_num(values)[both])
        np.testing.assert_array_equal(image.mask > 0, known[both])
        np.testing.assert_array_equal(image.response, np.nan_to_num(response)[both])
        # A map of the whole image is cut likewise.
        np.testing.assert_array_equal(image.matching(values, "map"), values[both])
        # In the pixel frame, offsets count from the centre of what is left.
        assert image.frame.to_pixel(0, 0) == tuple((n - 1) / 2 for n in image.shape)


# On the sky.


@st.composite
def skies(draw):
    """Draw what `make_header` takes: anywhere on the sky, poles and RA = 0 among it, turned, mirrored, distorted."""
    return {
        "ra": draw(st.sampled_from([0.0, 150.0, 359.9999]) | st.floats(0, 360, exclude_max=True)),
        "dec": draw(st.sampled_from([-89.9, 0.0, 89.9]) | st.floats(-89.9, 89.9)),
        "rotation": draw(st.floats(-180, 180)),
        "mirrored": draw(st.booleans()),
        "sip": draw(st.sampled_from([0.0, 2.0])),
    }


@given(drawn=masked_images(), sky=skies())
def test_positions_stay_where_they_are(make_header, drawn, sky):
    values, _, window = drawn
    assume(np.isfinite(values[window]).any())
    image = Image(fits.PrimaryHDU(values, make_header(values.shape, **sky)))
    row, col = np.indices(shape_of(window))
    ra, dec = image.frame._sky(row + window[0].start, col + window[1].start)
    cut(image, window)
    ra_after, dec_after = image.frame._sky(row, col)
    # Rounding of degrees, far below a millionth of a pixel.
    apart = np.hypot(((ra_after - ra + 180) % 360 - 180) * np.cos(np.radians(dec)), dec_after - dec)
    assert apart.max() < 1e-11
    # A distortion is inverted by iteration, to 1e-6 pixels.
    np.testing.assert_allclose(image.frame.to_pixel(ra, dec), (row, col), rtol=0, atol=1e-5)


@settings(max_examples=settings.default.max_examples // 5)  # which are slow
@given(drawn=masked_images(), sky=skies(), data=st.data())
def test_a_mask_with_a_wcs_of_its_own_is_cut_likewise(make_header, drawn, sky, data):
    values, _, window = drawn
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, **SIDES))
    mask = data.draw(arrays("u1", shape, elements=st.integers(0, 1)))
    # Turned by 17 degrees and coarser, so that no pixel's centre lies between two of the mask's.
    own = make_header(shape, **sky | {"rotation": sky["rotation"] + 17}, scale=0.31, offset=(0.123, -0.217))
    header = make_header(values.shape, **sky)

    def lay(image):
        image.addmask(fits.PrimaryHDU(mask, own))

    def take(image):
        cut(image, window)

    before, after = (mask_after(Image(fits.PrimaryHDU(values, header)), *steps) for steps in ((lay, take), (take, lay)))
    np.testing.assert_equal(before, after)
