"""Maps of response and exposure."""

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.errors import DataError
from socca.noise import Normal
from tests.data.small_image import SHAPE, VALUES, read

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
