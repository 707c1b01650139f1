"""Images: what they are read from, in which types, shapes and frames."""

import gzip
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.errors import DataError
from tests.data.small_image import SHAPE, VALUES, read


@pytest.mark.parametrize("source", ["path", "string", "hdu", "image hdu", "hdulist", "array", "list", "masked"])
def test_sources(tmp_path, source):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(VALUES).writeto(path)
    given = {
        "path": path,
        "string": str(path),
        "hdu": fits.PrimaryHDU(VALUES),
        "image hdu": fits.ImageHDU(VALUES),
        "hdulist": fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(VALUES)]),
        "array": VALUES,
        "list": VALUES.tolist(),
        "masked": np.ma.masked_array(VALUES, mask=np.zeros(SHAPE, bool)),
    }[source]
    image = read(given)
    np.testing.assert_array_equal(image.data, VALUES)
    assert image.data.dtype == np.dtype("float64")
    assert image.data.dtype.isnative
    assert image.shape == SHAPE
    assert image.mask.all()
    assert image.wcs is None
    assert image.psf is None


def test_the_source_is_not_changed():
    values = VALUES.copy()
    values[2, 3] = np.nan
    kept = values.copy()
    image = read(values)
    image.data[0, 0] = -1
    np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f4", ">i2", ">i4", "u1"])
def test_byte_orders_and_types(dtype):
    values = VALUES.astype(dtype)
    image = read(values)
    assert image.data.dtype == np.float64
    assert image.data.dtype.isnative
    np.testing.assert_array_equal(image.data, values.astype(float))


def test_scaled_integers_with_blank(tmp_path):
    path = tmp_path / "scaled.fits"
    raw = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int16).reshape(SHAPE)
    hdu = fits.PrimaryHDU(raw)
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, -3.0, 7
    # The header is written as it stands: astropy would otherwise rescale the data that it thinks it holds.
    block = hdu.header.tostring() + raw.astype(">i2").tobytes().decode("latin-1")
    path.write_bytes(block.encode("latin-1") + b"\0" * (-len(block) % 2880))
    image = read(path)
    wanted = raw * 0.5 - 3.0
    assert image.mask[raw == 7] == 0
    assert image.mask.sum() == raw.size - 1
    # astropy scales short integers in single precision.
    np.testing.assert_allclose(image.data[raw != 7], wanted[raw != 7], rtol=1e-6)


def test_unsigned_integers(tmp_path):
    path = tmp_path / "unsigned.fits"
    values = np.full(SHAPE, 65535, np.uint16)
    fits.PrimaryHDU(values).writeto(path)
    np.testing.assert_array_equal(read(path).data, 65535.0)


def test_tile_compressed(tmp_path):
    path = tmp_path / "image.fits.fz"
    values = np.round(VALUES * 10).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values, compression_type="RICE_1")]).writeto(path)
    np.testing.assert_array_equal(read(path).data, values)


def test_gzipped(tmp_path):
    plain, path = tmp_path / "image.fits", tmp_path / "image.fits.gz"
    fits.PrimaryHDU(VALUES).writeto(plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(read(path).data, VALUES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_pixels_are_masked(bad):
    values = VALUES.copy()
    values[2, 3] = bad
    image = read(values)
    assert image.mask[2, 3] == 0
    assert image.mask.sum() == values.size - 1
    assert np.isfinite(image.data).all()


def test_masked_arrays_are_masked():
    hidden = VALUES > 12
    image = read(np.ma.masked_array(VALUES, mask=hidden))
    np.testing.assert_array_equal(image.mask == 0, hidden)


@pytest.mark.parametrize("shape", [(1, *SHAPE), (1, 1, *SHAPE)])
def test_degenerate_axes(shape, make_header):
    header = make_header(SHAPE, ra=10, dec=-30)
    for axis, kind in [(3, "FREQ"), (4, "STOKES")][: len(shape) - 2]:
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, 1.0, 1.0
        header[f"CD{axis}_{axis}"] = 1.0
    image = Image(fits.PrimaryHDU(VALUES.reshape(shape), header))
    np.testing.assert_array_equal(image.data, VALUES)
    assert image.frame.center == pytest.approx((10, -30))
    assert image.hdu.header["NAXIS"] == 2


def test_cubes_and_vectors_are_refused():
    for values in (np.zeros((2, 5, 5)), np.zeros(9), np.zeros((5, 5, 1)), np.float64(3)):
        with pytest.raises(DataError, match="image"):
            read(values)


def test_small_and_empty_images_are_refused():
    for shape in [(2, 9), (9, 2), (0, 5)]:
        with pytest.raises(DataError, match="3 x 3"):
            read(np.ones(shape))


def test_no_numbers():
    with pytest.raises(DataError, match="image"):
        read([["a", "b"], ["c", "d"]])
    with pytest.raises(DataError, match="image"):
        read(None)


def test_hdu_by_number_and_name(tmp_path):
    path = tmp_path / "several.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])])
    fits.HDUList(
        [fits.PrimaryHDU(), table, fits.ImageHDU(VALUES, name="SCI"), fits.ImageHDU(VALUES + 1, name="ERR")]
    ).writeto(path)
    np.testing.assert_array_equal(read(path).data, VALUES)
    np.testing.assert_array_equal(read(path, img_idx=3).data, VALUES + 1)
    np.testing.assert_array_equal(read(path, img_idx="ERR").data, VALUES + 1)
    for index in (9, "WHT", 0, 1):
        with pytest.raises(DataError, match=r"several\.fits"):
            read(path, img_idx=index)


def test_wcs_inherited_from_the_primary_header(tmp_path, make_header):
    path = tmp_path / "inherit.fits"
    extension = fits.ImageHDU(VALUES)
    extension.header["INHERIT"] = True
    fits.HDUList([fits.PrimaryHDU(header=make_header(SHAPE, ra=33, dec=-5)), extension]).writeto(path)
    assert Image(path).frame.center == pytest.approx((33, -5))


# Frames.


def test_pixel_frame_needs_a_scale():
    with pytest.raises(DataError, match="pixel_scale"):
        Image(VALUES)
    for bad in (0, -0.2, np.nan, np.inf):
        with pytest.raises(DataError, match="pixel_scale"):
            Image(VALUES, pixel_scale=bad)


def test_sky_frame_refuses_a_scale(make_header):
    hdu = fits.PrimaryHDU(VALUES, make_header(SHAPE))
    assert Image(hdu).wcs is not None
    with pytest.raises(DataError, match="pixel_scale"):
        Image(hdu, pixel_scale=0.2)


def test_galactic_wcs_is_refused(make_header):
    header = make_header(SHAPE)
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    del header["RADESYS"]
    with pytest.raises(DataError, match="equatorial"):
        Image(fits.PrimaryHDU(VALUES, header))


def test_broken_wcs(make_header):
    header = make_header(SHAPE)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        header[key] = 1e-5
    with pytest.raises(DataError, match="WCS"):
        Image(fits.PrimaryHDU(VALUES, header))


# Sub-pixels and imports.


@pytest.mark.parametrize("subgrid", [0, -1, 2.5, "3", None, True, np.inf])
def test_bad_subgrids(subgrid):
    with pytest.raises(DataError, match="subgrid must be a whole number of at least 1"):
        read(VALUES, subgrid=subgrid)


def test_subgrids():
    assert read(VALUES).subgrid == 1
    assert read(VALUES, subgrid=np.int64(4)).subgrid == 4


def test_heavy_packages_are_not_loaded_for_nothing(tmp_path):
    fits.PrimaryHDU(VALUES).writeto(tmp_path / "image.fits")
    fits.PrimaryHDU(VALUES[:3, :3]).writeto(tmp_path / "psf.fits")
    code = """
import sys, socca.data
before = set(sys.modules)
path, psf = sys.argv[1:]
image = socca.data.Image(path, path, path, pixel_scale=1, csize=9, addmask={"regions": path}, addpsf={"img": psf})
loaded = {"regions", "reproject", "photutils"} & set(sys.modules)
assert not loaded, loaded
assert not {"astropy", "scipy", "matplotlib"} & before, before
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "image.fits", tmp_path / "psf.fits"], check=True)
