"""Headers whose WCS can be misread: right, or refused."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from socca.data import Image
from socca.data.image_state import image_from_state, image_state
from socca.errors import DataError
from socca.fitting.object_tree import Packer, Unpacker
from socca.utils.machine import machine_fault

SHAPE = (40, 41)
VALUES = np.random.default_rng(0).normal(0, 1, SHAPE).astype("f4")
CD = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")


@pytest.fixture
def header(make_header):
    return make_header(SHAPE, ra=150.0, dec=2.0, scale=0.1)


def sky_of(wcs, shape=SHAPE, start=(0, 0)):
    row, col = np.indices(shape)
    return np.array(wcs.all_pix2world(col + start[1], row + start[0], 0))


def sky_in(image):
    return np.array(image.frame._sky(*np.indices(image.shape)))


@pytest.fixture(params=["CPDIS", "D2IMDIS"])
def lookup(request, header, tmp_path):
    """A file as of HST: the distortion of its image is in tables of other HDUs. And its WCS, as astropy reads it."""
    name, parts = {"CPDIS": ("WCSDVARR", "DP"), "D2IMDIS": ("D2IMARR", "D2IM")}[request.param]
    for axis in (1, 2):
        header[f"{request.param}{axis}"] = "LOOKUP"
        for part in (f"EXTVER: {axis}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
            header.append(fits.Card.fromstring(f"{parts}{axis:<{8 - len(parts)}}= '{part}'"))
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(VALUES, header, name="SCI")]
    rng = np.random.default_rng(3)
    for version in (1, 2):
        table = fits.ImageHDU(rng.uniform(-2, 2, (8, 8)).astype("f4"), name=name, ver=version)
        for axis in (1, 2):
            table.header[f"CRPIX{axis}"], table.header[f"CRVAL{axis}"] = 1.0, 1.0
            table.header[f"CDELT{axis}"] = 6.0
        hdus.append(table)
    fits.HDUList(hdus).writeto(tmp_path / "flc.fits")
    with fits.open(tmp_path / "flc.fits") as opened:
        wanted = sky_of(WCS(opened["SCI"].header, opened))
    assert np.abs(wanted - sky_of(_undistorted(header))).max() > 1e-5
    return tmp_path / "flc.fits", wanted


def _undistorted(header):
    plain = fits.Header([card for card in header.cards if not card.keyword.startswith(("CPDIS", "DP", "D2IM"))])
    return WCS(plain)


def test_distortion_in_tables(lookup):
    path, wanted = lookup
    with fits.open(path) as opened:
        for source in (path, opened):
            np.testing.assert_allclose(sky_in(Image(source, img_idx="SCI")), wanted, rtol=0, atol=1e-12)
        with pytest.raises(DataError, match="give the whole file, as a path or an HDUList"):
            Image(opened["SCI"])


def test_distortion_in_tables_of_cutouts(lookup):
    path, wanted = lookup
    early = Image(path, center=(22, 17), csize=12)
    late = Image(path)
    late.cutout((22, 17), 12)
    again = Image(path, center=(20, 18), csize=24)
    again.cutout((22 - again.window[1].start, 17 - again.window[0].start), 12)
    for image in (early, late, again):
        assert image.window == late.window
        np.testing.assert_allclose(sky_in(image), wanted[:, *late.window], rtol=0, atol=1e-11)


def test_an_image_with_tables_comes_back_from_its_state(lookup):
    path, wanted = lookup
    whole, cut = Image(path), Image(path, center=(22, 17), csize=12)
    for image in (whole, cut):
        packer = Packer()
        text = json.dumps(packer.pack(image_state(image)))
        assert packer.pickles == []
        again = image_from_state(Unpacker(packer.arrays, [], False).unpack(json.loads(text)), image.noise)
        np.testing.assert_array_equal(sky_in(again), sky_in(image))
        again.cutout((6, 5), 8)
        image.cutout((6, 5), 8)
        np.testing.assert_array_equal(sky_in(again), sky_in(image))
    np.testing.assert_allclose(sky_in(whole), wanted[:, *whole.window], rtol=0, atol=1e-11)


def test_the_tables_of_a_mask(lookup):
    path, _ = lookup
    mask = np.ones(SHAPE)
    mask[10:14, 20:25] = 0
    with fits.open(path) as opened:
        opened["SCI"].data = mask
        opened.writeto(path.with_name("mask.fits"))
    image = Image(path, center=(20, 18), csize=24)
    image.addmask(path.with_name("mask.fits"))
    np.testing.assert_array_equal(image.mask, mask[image.window])


def test_sip_terms_without_the_suffix_are_left_out(header, caplog):
    wanted = sky_of(WCS(header))
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-4, "B_0_2": -3e-4, "A_1_1": 1e-4, "B_1_1": 1e-4})
    image = Image(fits.PrimaryHDU(VALUES, header))
    np.testing.assert_allclose(sky_in(image), wanted, rtol=0, atol=1e-12)
    assert [record.getMessage() for record in caplog.records] == [
        "image: its header has SIP terms, but CTYPE does not end with -SIP: they are left out"
    ]
    header["CTYPE1"] = "RA---TAN-SIP"
    with pytest.raises(DataError, match="only one of CTYPE1, CTYPE2 ends with -SIP"):
        Image(fits.PrimaryHDU(VALUES, header))


def test_pc_beside_cd(header):
    wanted = sky_of(WCS(header))
    header["PC1_1"], header["PC2_2"] = 1.0, 1.0
    with pytest.raises(DataError, match=r"two scales which differ, CD1_1, .* and PC1_1, PC2_2: remove one"):
        Image(fits.PrimaryHDU(VALUES, header))
    # What is there twice, as after header.update(wcs.to_header()), is one thing.
    header["CDELT1"], header["CDELT2"] = header["CD1_1"], header["CD2_2"]
    np.testing.assert_allclose(sky_in(Image(fits.PrimaryHDU(VALUES, header))), wanted, rtol=0, atol=1e-12)
    # An element of an axis that the image does not have decides nothing.
    del header["PC1_1"], header["PC2_2"], header["CDELT1"], header["CDELT2"]
    header["PC3_3"] = 1.0
    np.testing.assert_allclose(sky_in(Image(fits.PrimaryHDU(VALUES, header))), wanted, rtol=0, atol=1e-12)


def test_pixels_without_a_size_are_refused(header):
    for key in CD:
        del header[key]
    for extra in ({}, {"PC1_1": 0.0, "PC1_2": 1.0, "PC2_1": -1.0, "PC2_2": 0.0}):
        header.update(extra)
        with pytest.raises(DataError, match="gives its pixels no size"):
            Image(fits.PrimaryHDU(VALUES, header))
    header["CDELT1"] = -1e-4
    with pytest.raises(DataError, match="CDELT1 and no CDELT2"):
        Image(fits.PrimaryHDU(VALUES, header))
    header["CDELT2"] = 1e-4
    assert Image(fits.PrimaryHDU(VALUES, header)).frame.pixel_scale == pytest.approx(1e-4)
    # A matrix may scale as well as turn.
    del header["CDELT1"], header["CDELT2"]
    header.update({"PC1_1": -1e-4, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": 1e-4})
    assert Image(fits.PrimaryHDU(VALUES, header)).frame.pixel_scale == pytest.approx(1e-4)


@pytest.mark.parametrize("keys", [("CRVAL1", "CRVAL2"), ("CRPIX1", "CRPIX2"), ("CD1_1", "CD2_2")])
def test_text_that_is_a_number_is_read_as_such(header, tmp_path, caplog, keys):
    wanted = sky_of(WCS(header))
    for key in keys:
        header[key] = str(header[key])
    fits.PrimaryHDU(VALUES, header).writeto(tmp_path / "text.fits")
    np.testing.assert_allclose(sky_in(Image(tmp_path / "text.fits")), wanted, rtol=0, atol=1e-12)
    assert len(caplog.records) == 2
    for record, key in zip(caplog.records, keys, strict=True):
        assert f"text.fits: {key} is the text" in record.getMessage()
    image = Image(tmp_path / "text.fits", center=(20, 20), csize=11)
    np.testing.assert_allclose(sky_in(image), wanted[:, *image.window], rtol=0, atol=1e-12)


def test_text_that_is_no_number_is_refused(header, tmp_path):
    for key, value in (("CRVAL1", "10:00:00"), ("CD1_1", "small"), ("CRPIX2", True)):
        changed = header.copy()
        changed[key] = value
        fits.PrimaryHDU(VALUES, changed).writeto(tmp_path / "text.fits", overwrite=True)
        with pytest.raises(DataError, match=rf"text\.fits: {key} of its WCS is .*: a number is needed"):
            Image(tmp_path / "text.fits")
    header.append(fits.Card.fromstring("CRVAL1  ="), end=True)
    header.remove("CRVAL1")
    with pytest.raises(DataError, match="CRVAL1 of its WCS has no value"):
        Image(fits.PrimaryHDU(VALUES, header))


@pytest.mark.parametrize(
    "changes",
    [
        {"WCSAXES": 2_000_000_000},
        {"WCSAXESA": 2_000_000_000, "CTYPE1A": "LINEAR"},
        {"PC1_9999": 1.0},
        {"CRVAL999": 1.0},
        {"A_ORDER": 100_000, "B_ORDER": 2, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
    ],
)
def test_more_axes_or_orders_than_memory_are_no_fault_of_the_machine(header, changes):
    header.update(changes)
    with pytest.raises(DataError, match="its header is damaged") as caught:
        Image(fits.PrimaryHDU(VALUES, header))
    assert machine_fault(caught.value) == ""


def test_what_wcslib_runs_out_of_is_the_headers(header, monkeypatch):
    def lacks(*_, **__):
        raise MemoryError

    monkeypatch.setattr("astropy.wcs.WCS", lacks)
    with pytest.raises(DataError, match="cannot read its WCS: out of memory") as caught:
        Image(fits.PrimaryHDU(VALUES, header))
    assert machine_fault(caught.value) == ""


def test_equinox_with_the_letter_of_its_epoch(header):
    del header["RADESYS"]
    header["EQUINOX"] = "J2000"
    assert Image(fits.PrimaryHDU(VALUES, header)).wcs.wcs.equinox == 2000.0
    header["EQUINOX"] = "B1950.0"
    assert Image(fits.PrimaryHDU(VALUES, header)).wcs.wcs.radesys == "FK4"


def test_coordinates_in_a_table_are_refused(header):
    header["CTYPE1"], header["CTYPE2"] = "RA---TAB", "DEC--TAB"
    with pytest.raises(DataError, match="table of coordinates"):
        Image(fits.PrimaryHDU(VALUES, header))


def test_celestial_axes_that_are_not_the_images(header):
    slit = {"CTYPE1": "WAVE", "CTYPE2": "LINEAR", "CTYPE3": "RA---TAN", "CTYPE4": "DEC--TAN", "CRVAL3": 1.0}
    with pytest.raises(DataError, match="no celestial WCS"):
        Image(fits.PrimaryHDU(VALUES, fits.Header({**slit, "CRVAL4": 2.0, "CDELT3": 1e-4, "CDELT4": 1e-4})))
