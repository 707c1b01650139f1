"""Masks from region files."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from socca.data import Image
from socca.errors import DataError
from tests.data.circles import CIRCLE, CRTF, FILES, RING, SHAPE, X, Y, masked, plain


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["string", "path"])
def test_region_files(tmp_path, name, kind):
    path = tmp_path / name
    path.write_text(FILES[name])
    np.testing.assert_array_equal(masked(plain(), kind(path)), CIRCLE)


def test_excluded_regions_of_files(tmp_path):
    path = tmp_path / "ring.reg"
    for text in (
        "image\n-circle(11,13,4)\ncircle(11,13,6)\n",
        CRTF + "-circle[[10pix, 12pix], 4pix]\ncircle[[10pix, 12pix], 6pix]\n",
    ):
        path.write_text(text)
        np.testing.assert_array_equal(masked(plain(), path), RING & ~CIRCLE)
    # Each file frees its own pixels alone.
    other = tmp_path / "other.reg"
    other.write_text("image\ncircle(11,13,2)\n")
    wanted = (RING & ~CIRCLE) | (np.hypot(X - 10, Y - 12) < 2)
    np.testing.assert_array_equal(masked(plain(), [other, path]), wanted)


@pytest.mark.parametrize("frame", ["fk5", "icrs", "galactic"])
def test_sky_coordinates_in_files(tmp_path, sky, frame):
    image = sky(rotation=15)
    center = SkyCoord(*image.frame._sky(12, 10), unit="deg").transform_to(frame)
    numbers = f"{center.spherical.lon.deg:.9f},{center.spherical.lat.deg:.9f}"
    path = tmp_path / "sky.reg"
    path.write_text(f'{frame}\ncircle({numbers},0.81")\n')
    wanted = np.hypot(X - 10, Y - 12) < 4.05
    np.testing.assert_array_equal(masked(image, path), wanted)
    with pytest.raises(DataError, match=r"sky\.reg holds a CircleSkyRegion, and the image has no celestial WCS"):
        plain().addmask(path)


def test_files_without_regions_are_told(tmp_path, caplog):
    path = tmp_path / "empty.reg"
    path.write_text("# Region file format: DS9\nimage\n")
    assert not masked(plain(), path).any()
    assert "there is none in" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello world\n", '"hello" frame or shape is not a valid'),
        ("circle(11,13,4)\n", "A coordinate frame was not found"),
        ("image\ncircle(11,13)\n", "radius"),
        ("image\ncircle(a,13,4)\n", "could not convert"),
        ('image\ncircle(11,13,4")\n', "must not be in angular units"),
        ("image\ncircle(3,3,2)\npanda(11,13,0,90,1,3,5,1)\n", "panda"),
        ("detector\ncircle(11,13,4)\n", '"detector"'),
        (CRTF + "rubbish\n", "Not a valid CRTF line"),
        (CRTF + "circle[[10pix, 12pix]]\n", "circle"),
        (b"\xff\xfe\x00circle(", "decode"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, said):
    path = tmp_path / "broken.reg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"regions: cannot read .*broken\.reg: .*{said}") as caught:
        plain().addmask(path)
    assert "skipping" not in str(caught.value)


def test_other_files(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*missing\.reg"):
        plain().addmask(tmp_path / "missing.reg")
    with pytest.raises(DataError, match=r"mask: no such file: .*missing\.fits"):
        plain().addmask(tmp_path / "missing.fits")
    path = tmp_path / "a.crtf"
    path.write_text("image\ncircle(11,13,4)\n")
    with pytest.raises(DataError, match="begins with #CRTF"):
        plain().addmask(path)
    path = tmp_path / "note.txt"
    path.write_text("circles are round")
    with pytest.raises(DataError, match=r"mask: cannot read .*note\.txt"):
        plain().addmask(path)


def test_physical_coordinates_of_a_section_are_refused(tmp_path):
    path = tmp_path / "a.reg"
    path.write_text("physical\ncircle(11,13,4)\n")
    header = fits.Header({"LTV1": -100.0})
    with pytest.raises(DataError, match="physical"):
        Image(fits.PrimaryHDU(np.ones(SHAPE), header), pixel_scale=1, addmask={"regions": path})
