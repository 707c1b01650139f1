"""Model images: drawn once, the same in their file and in their figure."""

import numpy as np
import pytest
from astropy.io import fits

from socca.errors import DataError
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model
from socca.noise import Normal
from socca.plotting.comparison import comparison_figure
from socca.plotting.image_record import FailedFit, ModelImages, read_model_images
from socca.plotting.model_images import draw_model_images, write_failed_images
from socca.priors import uniform

SHAPE = (21, 24)
PLANES = ("data", "model", "residual", "sigma", "mask", "deviation")


@pytest.fixture(params=["sky", *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("pixels", "distorted"))])
def drawn(request, make_image, make_header):
    """Model images of a Gaussian and a background, with a pixel that is not finite and one that is masked."""
    data = 5 * np.random.default_rng(3).standard_normal(SHAPE)
    data[2, 3] = np.nan
    header = None
    if request.param != "pixels":
        header = make_header(SHAPE, rotation=20, sip=2.0 if request.param == "distorted" else 0.0)
        header["BUNIT"] = "nJy"
    image = make_image(data, header=header, noise=Normal(sigma=5.0))
    image.mask[10, 11] = 0
    xc, yc = image.frame.center
    model = Model(Gaussian(xc=xc, yc=yc, rs=0.6 / 3600, Is=uniform(0, 100)))
    model.addcomponent(Background(a0=1.0), label="sky")
    said = {"STATUS": "done", "TARGET": "g", "LOGZ": np.float64(-3.25), "CHI2SRC": None, "CHI2RED": np.nan}
    rows = np.linspace(20, 30, 5)[:, None]
    return draw_model_images(Problem(image, model), image, model, np.array([25.0]), said, rows)


def test_what_is_written_is_read(drawn, tmp_path):
    assert drawn.header == {"STATUS": "done", "TARGET": "g", "LOGZ": -3.25}
    assert not np.isfinite(drawn.sigma[[2, 10], [3, 11]]).any()
    drawn.write(tmp_path / "m.fits")
    found = read_model_images(tmp_path / "m.fits")
    assert isinstance(found, ModelImages)
    for name in PLANES:
        one, other = getattr(drawn, name), getattr(found, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert [label for label, _ in found.components] == ["comp_00", "sky"]
    for (_, one), (_, other) in zip(drawn.components, found.components, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.header.items() >= drawn.header.items()
    assert dict(found.plane_header).items() >= dict(drawn.plane_header).items()
    with fits.open(tmp_path / "m.fits") as hdus:
        names = ["PRIMARY", "DATA", "MODEL", "RESIDUAL", "SIGMA", "MASK", "MODEL_STD", "COMP_00", "SKY"]
        assert [hdu.name for hdu in hdus] == names


def test_the_figure_of_arrays_is_that_of_their_file(drawn, tmp_path):
    drawn.write(tmp_path / "m.fits")
    comparison_figure(drawn, tmp_path / "arrays.png", components=True)
    comparison_figure(read_model_images(tmp_path / "m.fits"), tmp_path / "file.png", components=True)
    assert (tmp_path / "arrays.png").read_bytes() == (tmp_path / "file.png").read_bytes()


def test_a_failed_fit(tmp_path):
    write_failed_images(tmp_path / "m.fits", {"STATUS": "failed", "MESSAGE": "no PSF\nat 3″", "TARGET": "g"})
    found = read_model_images(tmp_path / "m.fits")
    assert isinstance(found, FailedFit)
    assert found.header["MESSAGE"] == "no PSF at 3?"


def test_a_file_that_is_no_model(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_model_images(tmp_path / "nowhere.fits")
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    with pytest.raises(DataError, match="DATA"):
        read_model_images(tmp_path / "bare.fits")
