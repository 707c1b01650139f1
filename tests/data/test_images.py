import gc
import gzip
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from socca.data import Image
from socca.errors import DataError
from socca.noise import Normal
from socca.noise.normal import FORMS

SHAPE = (11, 13)
VALUES = np.random.default_rng(5).normal(10, 2, SHAPE)


def read(source, **kwargs):
    kwargs.setdefault("pixel_scale", 0.2)
    return Image(source, **kwargs)


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


# Files that cannot be used.


def refuse(path):
    """Read a broken file; that it is closed again is another test's matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
            read(path)
        gc.collect()


def write_image(path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((60, 60)))]).writeto(path)
    return path.read_bytes()


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1, 0.0])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "broken.fits"
    content = write_image(path)
    path.write_bytes(content[: int(len(content) * keep)])
    refuse(path)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_truncated_gzip(tmp_path, keep):
    path = tmp_path / "broken.fits.gz"
    content = gzip.compress(write_image(tmp_path / "plain.fits"))
    path.write_bytes(content[: int(len(content) * keep)])
    refuse(path)


@pytest.mark.parametrize("zeros", [0.3, 0.5, 0.8])
def test_corrupt_gzip(tmp_path, zeros):
    path = tmp_path / "broken.fits.gz"
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=(60, 60))).writeto(tmp_path / "plain.fits")
    content = bytearray(gzip.compress((tmp_path / "plain.fits").read_bytes()))
    at = int(len(content) * zeros)
    content[at : at + 50] = bytes(50)
    path.write_bytes(content)
    refuse(path)


@pytest.mark.parametrize("at", [5760 + 2880 + 40, -3000])
def test_corrupt_tiles(tmp_path, at):
    path = tmp_path / "broken.fits"
    values = np.random.default_rng(1).integers(0, 1000, (60, 60)).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(path)
    content = bytearray(path.read_bytes())
    content[at : at + 400] = np.random.default_rng(2).bytes(400)
    path.write_bytes(content)
    refuse(path)


def test_broken_files_are_closed(tmp_path):
    path = tmp_path / "broken.fits"
    content = write_image(path)
    path.write_bytes(content[: len(content) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(DataError) as kept:
            read(path)
        # While the error is kept, as a table of failed targets keeps it, the file must not stay open.
        still = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.resolve() == path]
        del kept
        gc.collect()
    assert still == []


def test_truncated_tile_compressed(tmp_path):
    path = tmp_path / "broken.fits"
    values = np.random.default_rng(1).integers(0, 1000, (60, 60)).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])
    refuse(path)


def test_other_files(tmp_path):
    for name, content in [("text.fits", b"not FITS at all"), ("noise.fits", bytes(range(256)) * 30)]:
        (tmp_path / name).write_bytes(content)
        refuse(tmp_path / name)
    refuse(tmp_path / "missing.fits")
    with pytest.raises(DataError, match=tmp_path.name):
        read(tmp_path)


def test_table_only_file(tmp_path):
    path = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])]).writeto(path)
    with pytest.raises(DataError, match=r"table\.fits"):
        read(path)


def test_psf_and_mask_files_are_named(tmp_path):
    image = read(VALUES)
    with pytest.raises(DataError, match=r"psf.*nowhere\.fits"):
        image.addpsf(tmp_path / "nowhere.fits")
    with pytest.raises(DataError, match=r"mask.*nowhere\.fits"):
        image.addmask(tmp_path / "nowhere.fits")


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


# Masks.

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


# PSFs.


def test_psf_is_normalised_and_no_more(make_psf):
    psf = make_psf((7, 8), skewed=True)
    image = read(VALUES)
    image.addpsf(psf * 37)
    # Division by the sum, and back.
    np.testing.assert_allclose(image.psf, psf, rtol=1e-14)
    image.addpsf(psf * 37, normalize=False)
    np.testing.assert_array_equal(image.psf, psf * 37)


def test_psf_recentred_on_request(make_psf):
    psf = make_psf((11, 11), sigma=1.1)
    psf = np.roll(psf, (1, -2), (0, 1))
    image = read(VALUES)
    for center in ("centroid", "peak"):
        image.addpsf(psf, center=center)
        # The Gaussian's wings are cut at 3 sigma on one side, which moves its centroid by 1e-2 pixels.
        assert ndimage.center_of_mass(image.psf) == pytest.approx((5, 5), abs=2e-2)
        assert image.psf.sum() == pytest.approx(1, abs=1e-12)
    with pytest.raises(DataError, match="center"):
        image.addpsf(psf, center="middle")


@pytest.mark.parametrize(
    ("psf", "message"),
    [
        (np.zeros((5, 5)), "sum"),
        (np.array([[1.0, -1, 0], [0, 0, 0], [-1, 0, 1]]), "sum"),
        (-np.ones((5, 5)), "sum"),
        (np.ones((13, 5)), "larger"),
        (np.ones((5, 15)), "larger"),
        (np.full((5, 5), np.nan), "finite"),
        (np.diag([1.0, np.inf, 1.0]), "finite"),
        (np.ones((2, 5, 5)), "shape"),
        (np.float64(2), "two-dimensional"),
    ],
)
def test_bad_psfs(psf, message):
    image = read(VALUES)
    with pytest.raises(DataError, match=f"psf.*{message}"):
        image.addpsf(psf)
    assert image.psf is None


# Response, exposure, sub-pixels.

MAP = np.random.default_rng(9).uniform(0.5, 2, SHAPE)


@pytest.mark.parametrize("what", ["response", "exposure"])
@pytest.mark.parametrize("source", ["path", "hdu", "hdulist", "array", "four axes"])
def test_maps(tmp_path, what, source):
    path = tmp_path / "map.fits"
    fits.PrimaryHDU(MAP.astype(">f8")).writeto(path)
    given = {
        "path": path,
        "hdu": fits.PrimaryHDU(MAP),
        "hdulist": fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(MAP)]),
        "array": MAP,
        "four axes": MAP[None, None],
    }[source]
    image = read(VALUES, **{what: given})
    found = getattr(image, what)
    np.testing.assert_array_equal(found, MAP)
    assert found.dtype == np.float64
    assert not np.shares_memory(found, MAP)
    assert getattr(image, "exposure" if what == "response" else "response") is None
    assert image.mask.all()


def test_positional_arguments():
    noise = Normal(sigma=2)
    image = Image(VALUES, MAP, MAP + 1, noise, pixel_scale=0.2)
    np.testing.assert_array_equal(image.response, MAP)
    np.testing.assert_array_equal(image.exposure, MAP + 1)
    assert image.noise is noise


def test_maps_by_hdu(tmp_path):
    path = tmp_path / "maps.fits"
    fits.HDUList([fits.PrimaryHDU(VALUES), fits.ImageHDU(MAP, name="RESP"), fits.ImageHDU(MAP + 1)]).writeto(path)
    image = read(path, response=path, exposure=path, resp_idx="RESP", exp_idx=2)
    np.testing.assert_array_equal(image.response, MAP)
    np.testing.assert_array_equal(image.exposure, MAP + 1)


def test_pixels_of_unknown_response_or_exposure_are_masked():
    response, exposure = MAP.copy(), MAP.copy()
    response[1, 2], exposure[3, 4], exposure[5, 6] = np.nan, np.inf, 0
    image = read(VALUES, response=response, exposure=exposure)
    assert set(map(tuple, np.argwhere(image.mask == 0))) == {(1, 2), (3, 4)}
    assert (image.response[1, 2], image.exposure[3, 4], image.exposure[5, 6]) == (0, 0, 0)
    image.addmask(np.ones(SHAPE), combine=False)
    assert set(map(tuple, np.argwhere(image.mask == 0))) == {(1, 2), (3, 4)}
    assert np.isnan(response[1, 2])


@pytest.mark.parametrize("what", ["response", "exposure"])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.ones((3, 3)), r"its shape is \(3, 3\), the image's \(11, 13\)"),
        (2.0, r"its shape is \(\)"),
        (np.where(MAP > 1, 1, -1), r"negative in \d+ pixel"),
        (np.zeros(SHAPE), "nowhere positive"),
        (np.full(SHAPE, np.nan), "nowhere positive"),
        ("missing.fits", "no such file: missing"),
        ("text", "no such file"),
        ([["a"]], "numbers"),
    ],
)
def test_bad_maps(what, bad, said):
    with pytest.raises(DataError, match=f"{what}: .*{said}"):
        read(VALUES, **{what: bad})


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


# Noise levels.

SIGMA = np.random.default_rng(6).uniform(0.5, 3, SHAPE)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("source", ["array", "number", "hdu", "path"])
def test_every_form_gives_the_same_sigma(tmp_path, form, source):
    sigma = np.full(SHAPE, 1.7) if source == "number" else SIGMA
    level = {"sigma": sigma, "variance": sigma**2, "weight": sigma**-2.0}[FORMS[form]]
    path = tmp_path / "level.fits"
    fits.PrimaryHDU(level).writeto(path)
    given = {"array": level, "number": level[0, 0], "hdu": fits.ImageHDU(level), "path": path}[source]
    values = VALUES.copy()
    values[3, 3] = np.nan
    image = read(values, noise=Normal(**{form: given}))
    found = image.noise.sigma(image)
    assert found[3, 3] == np.inf
    used = image.mask > 0
    np.testing.assert_allclose(found[used], sigma[used], rtol=1e-14)


def test_names_promised():
    promised = ["sigma", "sig", "std", "rms", "stddev", "var", "variance", "wht", "wgt", "weight", "weights", "invvar"]
    assert set(promised) == set(FORMS)


def test_two_levels_are_refused():
    with pytest.raises(ValueError, match="sigma, var"):
        Normal(sigma=1, var=2)
    with pytest.raises(ValueError, match="did you mean 'sigma'"):
        Normal(sigmma=1)


def test_level_from_the_image(caplog):
    rng = np.random.default_rng(11)
    values = rng.normal(5, 3, (200, 200))
    values[:20] = 1e6
    image = read(values)
    image.mask[:20] = 0
    with caplog.at_level(logging.INFO):
        found = image.noise.sigma(image)
    # The MAD of 36000 values has a standard error of 1.17 / sqrt(2 n) = 0.6 %... of sigma (efficiency 37 %).
    assert found[50, 50] == pytest.approx(3, rel=4 * 0.0061)
    assert np.isinf(found[:20]).all()
    assert "36000" in caplog.text
    with pytest.raises(DataError, match="zero"):
        Normal().sigma(read(np.zeros(SHAPE)))


@pytest.mark.parametrize("form", ["sigma", "variance", "weight"])
def test_bad_levels(form):
    image = read(VALUES)
    bad = np.ones(SHAPE)
    bad[1, 2] = -1
    with pytest.raises(DataError, match=rf"{form} is negative in 1 "):
        Normal(**{form: bad}).sigma(image)
    with pytest.raises(DataError, match=form):
        Normal(**{form: 0.0}).sigma(image)
    with pytest.raises(DataError, match=form):
        Normal(**{form: np.nan}).sigma(image)
    with pytest.raises(DataError, match="shape"):
        Normal(**{form: np.ones((3, 3))}).sigma(image)
    # In a masked pixel anything goes.
    image.mask[1, 2] = 0
    assert np.isinf(Normal(**{form: bad}).sigma(image)[1, 2])


@pytest.mark.parametrize(("form", "bad"), [("sigma", np.nan), ("sigma", np.inf), ("weight", 0.0), ("variance", np.nan)])
def test_levels_without_information(form, bad):
    level = np.ones(SHAPE)
    level[1, 2] = bad
    found = Normal(**{form: level}).sigma(read(VALUES))
    assert np.isinf(found[1, 2])
    assert np.isfinite(found).sum() == found.size - 1


@pytest.mark.parametrize("form", ["sigma", "variance"])
def test_zero_levels_are_refused(form):
    level = np.ones(SHAPE)
    level[1, 2] = 0
    with pytest.raises(DataError, match="zero in 1"):
        Normal(**{form: level}).sigma(read(VALUES))
