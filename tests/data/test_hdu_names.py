"""The HDU of a file: in brackets behind its name, or beside it."""

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.data.fits import read_cube, read_image
from socca.data.hdus import split_hdu
from socca.errors import DataError
from socca.noise import Normal

SHAPE = (11, 13)


@pytest.fixture
def path(tmp_path):
    """A file of several images: each holds its number everywhere."""
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])])
    names = [("SCI", 1), ("ERR", 1), ("SCI", 2), ("DQ", 1)]
    hdus = [fits.ImageHDU(np.full(SHAPE, float(k)), name=name, ver=v) for k, (name, v) in enumerate(names, 1)]
    fits.HDUList([fits.PrimaryHDU(), *hdus, table]).writeto(tmp_path / "several.fits")
    return tmp_path / "several.fits"


@pytest.mark.parametrize(
    ("brackets", "number"),
    [("", 1), ("[1]", 1), ("[3]", 3), ("[SCI]", 1), ("[err]", 2), ("[SCI,2]", 3), ("[ SCI , 2 ]", 3), ("[DQ]", 4)],
)
@pytest.mark.parametrize("kind", [str, None], ids=["text", "path"])
def test_brackets(path, brackets, number, kind):
    named = path.with_name(path.name + brackets)
    assert read_image(kind(named) if kind else named).data[0, 0] == number


@pytest.mark.parametrize("index", [3, ("SCI", 2), "SCI,2"])
def test_beside_the_name(path, index):
    assert read_image(path, index).data[0, 0] == 3
    with fits.open(path) as hdus:
        assert read_image(hdus, index).data[0, 0] == 3
    assert read_image(f"{path}[SCI,2]", ("SCI", 2)).data[0, 0] == 3


def test_every_role(path, make_psf):
    fits.append(path, make_psf((5, 5)), fits.Header({"EXTNAME": "PSF"}))
    segments = np.zeros(SHAPE)
    segments[5, 6], segments[1, 1] = 4, 5
    fits.append(path, segments, fits.Header({"EXTNAME": "SEG"}))
    image = Image(
        f"{path}[SCI,2]",
        f"{path}[1]",
        f"{path}[ERR]",
        Normal(sigma=f"{path}[DQ]"),
        pixel_scale=0.2,
        addpsf={"img": f"{path}[PSF]"},
        addmask={"regions": f"{path}[SEG]", "good": "zero"},
    )
    found = [plane[0, 0] for plane in (image.data, image.response, image.exposure, image.noise.sigma(image))]
    assert found == [3, 1, 2, 4]
    np.testing.assert_allclose(image.psf, make_psf((5, 5)), rtol=1e-14)
    np.testing.assert_array_equal(image.mask == 0, segments != 0)
    image = Image(path, pixel_scale=0.2)
    image.keep_segment(f"{path}[SEG]", 4)
    np.testing.assert_array_equal(image.mask == 0, segments == 5)
    image = Image(path, pixel_scale=0.2)
    image.keep_segment(path, 4, idx="SEG")
    np.testing.assert_array_equal(image.mask == 0, segments == 5)
    fits.append(path, np.ones((2, *SHAPE)), fits.Header({"EXTNAME": "CUBE"}))
    assert read_cube(f"{path}[CUBE]").shape == (2, *SHAPE)


def test_what_is_not_there(path):
    with pytest.raises(DataError, match=r"several\.fits has no HDU 'WHT' \(it has 6: 0 PRIMARY, 1 SCI, 2 ERR, 3 SCI"):
        read_image(f"{path}[WHT]")
    with pytest.raises(DataError, match=r"has no HDU \('SCI', 3\)"):
        read_image(f"{path}[SCI,3]")
    with pytest.raises(DataError, match=r"HDU 5 of .* holds no image"):
        read_image(f"{path}[5]")
    with pytest.raises(DataError, match="no HDU in the brackets"):
        read_image(f"{path}[]")
    with pytest.raises(DataError, match="its name asks for HDU 'SCI', and HDU 2"):
        read_image(f"{path}[SCI]", 2)
    with pytest.raises(DataError, match=r"no such file: .*nowhere\.fits$"):
        read_image(path.with_name("nowhere.fits[1]"))


def test_a_file_whose_name_ends_in_brackets(path):
    literal = path.with_name("several.fits[SCI,2]")
    fits.PrimaryHDU(np.full(SHAPE, 77.0)).writeto(literal)
    assert read_image(literal).data[0, 0] == 77
    assert split_hdu(literal) == (literal, None)
    # And one with brackets elsewhere has no HDU in its name.
    other = path.with_name("a[1].fits")
    fits.PrimaryHDU(np.full(SHAPE, 78.0)).writeto(other)
    assert read_image(other).data[0, 0] == 78
    assert read_image(f"{other}[0]").data[0, 0] == 78
    assert split_hdu(f"{other}[0]") == (other, 0)
