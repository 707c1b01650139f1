"""Figures of single fits, looked at as pixels."""

import matplotlib.image
import numpy as np
import pytest
from astropy.io import fits

from socca.errors import ConfigError
from socca.plotting.comparison import Planes, annuli, comparison_figure, normalisation, runs_of
from socca.plotting.image_record import FailedFit, ModelImages

SHAPE = (32, 40)


@pytest.fixture
def make(make_header):
    """Give a function that makes the images of a fit."""

    def made(*, sky=False, masked=True, misfit=0.0, **header):
        rng = np.random.default_rng(4)
        row, col = np.indices(SHAPE)
        radius = np.hypot(row - 16, (col - 18) / 1.5)
        parts = {"bulge": 200 * np.exp(-radius), "disk": 30 * np.exp(-radius / 4), "sky": np.full(SHAPE, 0.2)}
        model = sum(parts.values())
        sigma = np.sqrt(1 + model / 20)
        data = model + sigma * rng.standard_normal(SHAPE) + misfit * sigma
        mask = np.ones(SHAPE, dtype=np.uint8)
        if masked:
            mask[22:30, 4:14] = 0
            sigma[mask == 0], data[mask == 0] = np.inf, 1e4
        values = {"STATUS": "done", "TARGET": "galaxy_7", "MODELNAM": "bulge_disk", "CHI2RED": 1.01, "LOGZ": -512.3}
        wcs = make_header(SHAPE, rotation=25) if sky else fits.Header()
        wcs["BUNIT"] = "nJy"
        planes = [plane.astype(np.float32) for plane in (data, model, data - model, sigma)]
        components = [(label, plane.astype(np.float32)) for label, plane in parts.items()]
        return ModelImages(values | header, wcs, *planes, mask, components)

    return made


def pixels(path):
    return matplotlib.image.imread(path)[..., :3]


def panel(image, k):
    """Return the middle of the k-th of four panels."""
    height, width = 500, image.shape[1] // 4
    return image[100 : height - 150, k * width + 100 : (k + 1) * width - 40]


def hatched(image):
    """Return which pixels have the grey of what is masked."""
    return np.all(np.abs(image - 0.7) < 0.02, axis=-1)


@pytest.mark.parametrize("sky", [False, True])
def test_panels(make, tmp_path, sky):
    comparison_figure(make(sky=sky), tmp_path / "f.png")
    image = pixels(tmp_path / "f.png")
    assert image.shape == (500, 1700, 3)
    data, model, residual, profile = (panel(image, k) for k in range(4))
    # 80 of 1280 pixels are masked: grey in data and residual, not in the model.
    for grey in (data, residual):
        assert 0.01 < hatched(grey).mean() < 0.12
    assert hatched(model).mean() < 0.001
    # Data and model have the same colours, all of viridis; the data are noisy, the model is smooth.
    assert model.std() > 0.1
    assert np.abs(np.diff(data, axis=1)).mean() > 2 * np.abs(np.diff(model, axis=1)).mean()
    for drawn in (data, model):  # brightest at the same place
        yellow = np.argwhere(np.all(np.abs(drawn - [0.993, 0.906, 0.144]) < 0.03, axis=-1))
        assert len(yellow) > 20
        assert np.abs(yellow.mean(0) / drawn.shape[:2] - 0.5).max() < 0.15
    # The residuals are as often blue as red.
    red, blue = residual[..., 0] - residual[..., 2] > 0.1, residual[..., 2] - residual[..., 0] > 0.1
    assert 0.7 < red.mean() / blue.mean() < 1.4
    # The profile is lines on white.
    assert 0.7 < np.all(profile > 0.95, axis=-1).mean() < 0.99


def test_a_misfit_is_red(make, tmp_path):
    comparison_figure(make(misfit=2.0), tmp_path / "f.png")
    residual = panel(pixels(tmp_path / "f.png"), 2)
    red, blue = residual[..., 0] - residual[..., 2] > 0.1, residual[..., 2] - residual[..., 0] > 0.1
    assert red.mean() > 10 * blue.mean()


def test_nothing_masked_nothing_grey(make, tmp_path):
    comparison_figure(make(masked=False), tmp_path / "f.png")
    assert hatched(panel(pixels(tmp_path / "f.png"), 0)).mean() < 0.001


def test_everything_masked_or_constant_is_still_drawn(make, tmp_path):
    images = make()
    images.mask[:] = 0
    comparison_figure(images, tmp_path / "f.png")
    assert hatched(panel(pixels(tmp_path / "f.png"), 0)).mean() > 0.3
    images.mask[:] = 1
    images.sigma[:] = 1
    for plane in (images.data, images.model, images.residual):
        plane[:] = 0
    comparison_figure(images, tmp_path / "f.png")


def test_components_have_panels(make, tmp_path):
    comparison_figure(make(), tmp_path / "f.png", components=True)
    image = pixels(tmp_path / "f.png")
    assert image.shape[0] > 900
    bulge, disk, sky = (panel(image[470:], k) for k in range(3))
    assert bulge.std(axis=(0, 1)).max() > 0.05
    assert disk.std(axis=(0, 1)).max() > 0.05
    assert sky.std(axis=(0, 1)).max() < 0.02
    assert np.abs(bulge - disk).max() > 0.3


@pytest.mark.parametrize("stretch", ["asinh", "linear", "log", "sqrt"])
def test_stretch(make, stretch):
    fit = Planes(make())
    norm = normalisation(fit, 99.0, stretch)
    assert (norm.vmin, norm.vmax) == pytest.approx(np.percentile(fit.data[fit.used], [1, 99]))
    middle = float(norm((norm.vmin + norm.vmax) / 2))
    assert middle == pytest.approx(0.5) if stretch == "linear" else middle > 0.6


def test_options_of_look(make, tmp_path):
    images = make()
    for name, options in {"a": {}, "b": {"colormap": "gray"}, "c": {"stretch": "linear"}, "d": {"dpi": 50}}.items():
        comparison_figure(images, tmp_path / f"{name}.png", **options)
    a, b, c, d = (pixels(tmp_path / f"{name}.png") for name in "abcd")
    assert d.shape == (250, 850, 3)
    assert np.ptp(panel(b, 1), axis=-1).max() < 0.01
    assert panel(c, 1).mean() < panel(a, 1).mean()
    comparison_figure(images, tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stretch": "asin"}, "stretch: there is no 'asin'; did you mean 'asinh'"),
        ({"percentile": 40}, r"percentile must lie in \(50, 100\], got 40"),
        ({"colormap": "viridiss"}, "colormap: there is no 'viridiss'; did you mean 'viridis'"),
    ],
)
def test_options_that_are_refused(make, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        comparison_figure(make(), tmp_path / "f.png", **options)


def test_unknown_format_leaves_nothing(make, tmp_path):
    with pytest.raises(ConfigError, match="xyz"):
        comparison_figure(make(), tmp_path / "f.xyz")
    assert list(tmp_path.iterdir()) == []


def test_failed_fit_shows_its_message(tmp_path):
    def draw(name, message):
        header = {"STATUS": "failed", "TARGET": "g", "MODELNAM": "m", "MESSAGE": message}
        comparison_figure(FailedFit(header), tmp_path / f"{name}.png")
        image = pixels(tmp_path / f"{name}.png")
        assert image.shape == (320, 640, 3)
        dark = np.argwhere(image.max(-1) < 0.5)
        assert dark[:, 1].max() < 620  # wrapped, not cut off
        return len(dark)

    # $ and _ would be mathematics to matplotlib.
    short, long = draw("short", "no PSF: $psf_a_b"), draw("long", "the image is truncated, so it is not fitted. " * 9)
    assert long > 3 * short > 30


def test_pieces(make):
    mask = np.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=bool)
    assert runs_of(mask) == [(0, 1, 2), (0, 4, 1), (2, 0, 5)]
    edges = annuli(40)
    assert edges[-1] >= 40
    assert np.all(np.diff(np.diff(edges)[1:]) >= -1e-12)
    fit = Planes(make(sky=True))
    assert fit.scale == pytest.approx(0.2, rel=1e-6)
    assert Planes(make(PIXSCALE=0.3)).scale == 0.3
    assert list(fit.components) == ["bulge", "disk", "sky"]
    assert "reduced χ² = 1.010" in fit.title
