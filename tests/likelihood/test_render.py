"""Backgrounds, the parts of an image, and frames."""

import numpy as np
import pytest

from socca.data import Image
from socca.models import Background, Exponential, Model, Point, Sersic
from socca.noise import Normal
from tests.likelihood.drawing import draw, moments, offsets, render


def test_background(make_image, make_psf, pixel):
    shape = (20, 25)
    rng = np.random.default_rng(3)
    coefficients = {name: float(c) for name, c in zip(list(Background.fields)[1:], rng.normal(size=10), strict=True)}
    rs = 7 * pixel
    north, east = offsets(shape)
    x, y = east / 7, north / 7
    powers = [x**0, x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3]
    truth = sum(c * p for c, p in zip(coefficients.values(), powers, strict=True))
    assert list(coefficients) == ["a0", "a1x", "a1y", "a2xx", "a2xy", "a2yy", "a3xxx", "a3xxy", "a3xyy", "a3yyy"]
    for psf in (None, make_psf((9, 8), skewed=True)):
        out = render(make_image(shape=shape, psf=psf), Background(rs=rs, **coefficients))
        np.testing.assert_allclose(out.background, truth, rtol=1e-10, atol=1e-12)
        assert not np.any(out.raw)
        assert not np.any(out.sources)


def test_parts_and_sums(make_image, make_psf, pixel):
    image = make_image(shape=(40, 41), psf=make_psf((9, 9), skewed=True))
    sources = [
        Exponential(xc=pixel, yc=2 * pixel, rs=2 * pixel, Is=1.0),
        Point(xc=-5 * pixel, yc=3.3 * pixel, Ic=4.0),
        Background(a0=0.3),
    ]
    model = Model()
    for k, source in enumerate(sources):
        model.addcomponent(source, label=f"part{k}")
    whole = model.getmodel(image, [])
    parts = [model.getmodel(image, [], component=f"part{k}") for k in range(3)]
    np.testing.assert_allclose(whole.smoothed, sum(part.smoothed for part in parts), atol=1e-13)
    np.testing.assert_allclose(whole.sources, parts[0].smoothed + parts[1].smoothed, atol=1e-13)
    np.testing.assert_allclose(whole.background, 0.3)
    np.testing.assert_array_equal(whole.raw, parts[0].raw)
    np.testing.assert_allclose(model.getmap(image, convolve=True), whole.sources, rtol=0, atol=1e-14)
    # Not convolved, the point is there all the same: one pixel's worth of light at its place.
    sharp = model.getmap(image, convolve=False)
    np.testing.assert_allclose(sharp - whole.raw, sources[1].getmap(make_image(shape=(40, 41))), rtol=0, atol=1e-12)
    flux, mean, _ = moments(sources[1].getmap(image, convolve=False))
    assert flux == pytest.approx(4, rel=1e-12)
    assert mean == pytest.approx((19.5 + 3.3, 20 + 5), abs=1e-9)
    np.testing.assert_array_equal(model.getmap(image, convolve=True, addbackground=True), whole.smoothed)
    assert not whole.negative


def test_an_image_does_not_depend_on_the_size_of_its_pixels():
    # From 100 arcsec to 10 microarcsec, as seen by interferometers.
    maps = []
    for size in (100.0, 0.2, 1e-5):
        image, pixel = Image(np.zeros((15, 16)), pixel_scale=size, noise=Normal(sigma=1.0)), size / 3600
        where = {"xc": 0.0, "yc": 0.5 * pixel, "theta": 0.4, "e": 0.3}  # on a pixel's side
        maps.append(draw(image, Sersic(**where, re=0.7 * pixel, Ie=1.0, ns=4.0)))
    # By rounding, such a centre belongs to either pixel, and pixels far out to one rule of quadrature or the next.
    for other in (maps[0], maps[2]):
        np.testing.assert_allclose(other, maps[1], rtol=1e-5)


def test_sky_and_pixel_frames_agree(make_image, make_header, make_psf, pixel):
    shape, psf = (40, 41), make_psf((9, 8), skewed=True)
    flat = make_image(shape=shape, psf=psf)
    sky = make_image(shape=shape, psf=psf, header=make_header(shape, ra=0.0, dec=-70))
    maps = []
    for image in (flat, sky):
        placed = []
        for north, east in [(2.3, -4.1), (-6.2, 3.7)]:
            row, col = (shape[0] - 1) / 2 + north, (shape[1] - 1) / 2 - east
            if image is flat:
                placed.append({"xc": east * pixel, "yc": north * pixel})
            else:
                ra, dec = image.wcs.all_pix2world(col, row, 0)
                placed.append({"xc": float(ra), "yc": float(dec)})
        maps.append(
            draw(
                image,
                Sersic(**placed[0], re=4 * pixel, Ie=1.0, ns=1.5, e=0.4, theta=0.6),
                Point(**placed[1], Ic=10.0),
                Background(a0=0.1, a1x=0.2, a1y=-0.1),
                addbackground=True,
            )
        )
    # TAN on the field's own centre is the plane itself; the coordinates (degrees near 360) keep ten digits of a pixel.
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-7 * maps[0].max())
