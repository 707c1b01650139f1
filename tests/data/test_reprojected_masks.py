"""Masks on pixels of their own, which are laid on the image."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from socca.errors import DataError
from tests.data.circles import CIRCLE, SHAPE, X, Y, masked, plain


def nearest(image, mask_wcs, mask):
    """Look each pixel's centre up in a mask; True where it is excluded, and whether that is sure."""
    ra, dec = image.frame._sky(Y, X)
    cols, rows = mask_wcs.all_world2pix(ra, dec, 0)
    row, col = np.round(rows).astype(int), np.round(cols).astype(int)
    on = (row >= 0) & (row < mask.shape[0]) & (col >= 0) & (col < mask.shape[1])
    found = on & (mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(col, 0, mask.shape[1] - 1)] == 0)
    return found, np.maximum(np.abs(rows - row), np.abs(cols - col)) < 0.5 - 1e-5


@pytest.mark.parametrize(
    ("shape", "where"),
    [
        ((50, 60), {}),
        (SHAPE, {"rotation": 50.0}),
        ((20, 15), {"rotation": 10.0, "scale": 0.35}),
        ((90, 80), {"rotation": 10.0, "scale": 0.1, "mirrored": True}),
        (SHAPE, {"offset": (1.3, -4.2)}),
        (SHAPE, {"sip": 20.0}),
        ((12, 9), {}),
    ],
    ids=["larger", "turned", "coarser", "finer", "moved", "distorted", "smaller"],
)
@pytest.mark.parametrize("source", ["hdu", "path", "hdulist"])
def test_masks_are_laid_on_the_image(sky, make_header, tmp_path, shape, where, source):
    mask = (np.random.default_rng(4).uniform(size=shape) > 0.4).astype(float)
    header = make_header(shape, **where)
    image = sky(rotation=5.0, sip=1.0)
    hdu = fits.PrimaryHDU(mask, header)
    hdu.writeto(tmp_path / "mask.fits")
    given = {"hdu": hdu, "path": tmp_path / "mask.fits", "hdulist": fits.HDUList([fits.PrimaryHDU(), hdu])}[source]
    if source == "hdulist":
        given[1] = fits.ImageHDU(mask, header)
    found = masked(image, given)
    wanted, sure = nearest(image, WCS(header), mask)
    np.testing.assert_array_equal(found[sure], wanted[sure])
    assert wanted.any()
    assert sure.sum() > 0.9 * sure.size


def test_values_of_masks_that_are_laid_on_the_image(sky, make_header):
    shape = (45, 50)
    mask = np.zeros(shape)
    mask[20:24, 22:30], mask[30, 30] = 7, np.nan
    hdu = fits.PrimaryHDU(mask, make_header(shape))
    # By whole pixels: (45 - 31) / 2 rows, (50 - 37) / 2 columns and a half, which the offset takes away.
    hdu.header["CRPIX1"] -= 0.5
    part = mask[7:38, 6:43]
    np.testing.assert_array_equal(masked(sky(), hdu, good="zero"), part != 0)
    np.testing.assert_array_equal(masked(sky(), hdu, good="nonzero"), ~(part > 0))


def test_a_mask_with_the_images_own_wcs_is_used_as_it_is(sky, make_header, monkeypatch):
    monkeypatch.setattr("socca.data.masks.reprojected", None)
    mask = np.random.default_rng(4).uniform(size=SHAPE) > 0.4
    for where in ({}, {"sip": 3.0, "rotation": 20}):
        header = make_header(SHAPE, **where)
        header["CRVAL1"] += 1e-7
        np.testing.assert_array_equal(masked(sky(**where), fits.PrimaryHDU(mask.astype("u1"), header)), ~mask)
        image = sky(**where)
        image.cutout((20, 13), 9)
        np.testing.assert_array_equal(masked(image, fits.PrimaryHDU(mask.astype("u1"), header)), ~mask[image.window])
    # Without a WCS on either side there is only the shape to go by.
    np.testing.assert_array_equal(masked(sky(), fits.PrimaryHDU(mask.astype("u1"))), ~mask)
    np.testing.assert_array_equal(masked(plain(), fits.PrimaryHDU(mask.astype("u1"), make_header(SHAPE))), ~mask)


def test_masks_in_other_sky_frames(sky):
    image = sky(rotation=20)
    header = image.wcs.to_header()
    center = SkyCoord(150, 2, unit="deg").galactic
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    header["CRVAL1"], header["CRVAL2"] = center.l.deg, center.b.deg
    for key in ("RADESYS", "LONPOLE", "LATPOLE"):
        header.remove(key, ignore_missing=True)
    mask = np.random.default_rng(4).uniform(size=SHAPE) > 0.4
    found = masked(image, fits.PrimaryHDU(mask.astype("u1"), header))
    sky_ = SkyCoord(*image.frame._sky(Y, X), unit="deg").galactic
    cols, rows = WCS(header).all_world2pix(sky_.l.deg, sky_.b.deg, 0)
    row, col = np.round(rows).astype(int), np.round(cols).astype(int)
    on = (row >= 0) & (row < SHAPE[0]) & (col >= 0) & (col < SHAPE[1])
    sure = np.maximum(np.abs(rows - row), np.abs(cols - col)) < 0.499
    wanted = np.zeros(SHAPE, bool)
    wanted[on] = ~mask[row[on], col[on]]
    np.testing.assert_array_equal(found[sure], wanted[sure])


@pytest.mark.parametrize("sip", [0.0, 3.0])
@pytest.mark.parametrize("where", [{"ra": 151}, {"ra": 330, "dec": -2}, {"ra": 10, "dec": -80}])
def test_a_mask_of_another_place_is_told(sky, make_header, caplog, where, sip):
    hdu = fits.PrimaryHDU(np.zeros((40, 41)), make_header((40, 41), sip=sip, **where))
    assert not masked(sky(sip=sip), hdu).any()
    assert "covers no pixel" in caplog.text


def test_a_mask_of_the_images_shape_with_the_wcs_of_another_place_is_refused(sky, make_header, tmp_path):
    header = make_header(SHAPE)
    header["CRPIX1"], header["CRPIX2"] = 4021.0, -2000.0  # those of the tile that it was cut out of
    fits.PrimaryHDU(np.zeros(SHAPE), header).writeto(tmp_path / "stale.fits")
    image = sky()
    with pytest.raises(DataError, match=r"mask: .*stale\.fits: it has the shape of the image, and its WCS"):
        image.addmask(tmp_path / "stale.fits")
    assert image.mask.all()
    # One that overlaps is laid where it is.
    header["CRPIX1"], header["CRPIX2"] = 19.0 + 5, 16.0
    found = masked(sky(), fits.PrimaryHDU(np.zeros(SHAPE), header))
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(37) < 32, SHAPE))


def test_a_mask_that_reaches_part_of_the_whole_image_is_laid_on_any_cutout(sky, make_header, caplog):
    """One of the same detector, pointed elsewhere, need not reach the target: before the cutout and after it."""
    moved = fits.PrimaryHDU(np.zeros(SHAPE), make_header(SHAPE, offset=(0, -20)))
    small = fits.PrimaryHDU(np.zeros((9, 9)), make_header((9, 9)))
    for hdu in (moved, small):
        image = sky()
        image.addmask(hdu)
        assert not image.mask.all()
        caplog.clear()
        for steps in (("addmask", "cutout"), ("cutout", "addmask")):
            image = sky()
            for step in steps:
                getattr(image, step)(*{"addmask": (hdu,), "cutout": ((4, 4), 9)}[step])
            assert image.mask.all()
        assert "covers no pixel" in caplog.text
    # That of another place is refused for the cutout too.
    image = sky()
    image.cutout((4, 4), 9)
    with pytest.raises(DataError, match="it has the shape of the image, and its WCS puts it elsewhere"):
        image.addmask(fits.PrimaryHDU(np.zeros((9, 9)), make_header((9, 9), ra=151)))


def test_a_mask_of_a_sky_that_the_images_does_not_know(sky, make_header):
    """Such as that of a planet."""
    header = make_header((9, 9))
    header["CTYPE1"], header["CTYPE2"] = "MALN-TAN", "MALT-TAN"
    del header["RADESYS"]
    with pytest.raises(DataError, match="mask: its WCS cannot be compared with the image's"):
        sky().addmask(fits.PrimaryHDU(np.ones((9, 9)), header))


def test_masks_that_cannot_be_placed(sky, make_header):
    with pytest.raises(DataError, match=r"mask: its shape is \(5, 5\), the image's \(31, 37\)"):
        sky().addmask(fits.PrimaryHDU(np.ones((5, 5))))
    with pytest.raises(DataError, match=r"mask: its shape is \(5, 5\)"):
        plain().addmask(fits.PrimaryHDU(np.ones((5, 5)), make_header((5, 5))))
    header = make_header(SHAPE)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        header[key] = 1e-5
    with pytest.raises(DataError, match=r"mask: .*WCS"):
        sky().addmask(fits.PrimaryHDU(np.ones(SHAPE), header))


@pytest.mark.parametrize("shape", [(1, *SHAPE), (1, 1, *SHAPE)])
def test_degenerate_axes(sky, make_header, shape):
    header = make_header(SHAPE)
    for axis, kind in [(3, "FREQ"), (4, "STOKES")][: len(shape) - 2]:
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, 1.0, 1.0
        header[f"CD{axis}_{axis}"] = 1.0
    mask = ~CIRCLE.astype(bool)
    found = masked(sky(), fits.PrimaryHDU(mask.astype("u1").reshape(shape), header))
    np.testing.assert_array_equal(found, CIRCLE)
