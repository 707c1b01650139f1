"""Images in problems: degenerate axes, changes after a problem was made, and interferometers."""

import numpy as np
import pytest
from astropy.io import fits

from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model, Point
from socca.noise import Normal, NormalRI
from socca.priors import uniform
from tests.data.gaussians import gaussian_psf, model_of


def test_a_degenerate_image(make_header, make_psf, pixel):
    from socca import fitter
    from socca.data import Image

    shape = (16, 17)
    data = np.random.default_rng(3).normal(1, 0.1, shape)
    header = make_header(shape)
    header["CTYPE3"], header["CRVAL3"], header["CRPIX3"], header["CDELT3"] = "FREQ", 1e9, 1.0, 1e6
    header["CTYPE4"], header["CRVAL4"], header["CRPIX4"], header["CDELT4"] = "STOKES", 1.0, 1.0, 1.0
    header["CD3_3"], header["CD4_4"] = 1e6, 1.0
    image = Image(fits.PrimaryHDU(data[None, None], header), noise=Normal(sigma=0.1))
    image.addpsf(make_psf((9, 9))[None, None])
    assert image.shape == shape
    assert image.psf.shape == (9, 9)
    ra, dec = image.wcs.all_pix2world(8.0, 7.5, 0)
    assert (float(ra), float(dec)) == pytest.approx((150, 2), abs=1e-9)
    model = model_of(Point(xc=float(ra), yc=float(dec), Ic=uniform(-1, 1)), Background(a0=uniform(0, 2)))
    fit = fitter(img=image, mod=model)
    posterior = fit.run(method="optimizer", seed=1, n_starts=1, n_samples=200)
    assert np.average(posterior.samples[:, 1], weights=posterior.weights) == pytest.approx(data.mean(), abs=0.05)


def test_changes_are_seen_by_the_next_problem(make_image, make_psf, pixel):
    data = np.random.default_rng(4).normal(1, 1, (16, 17))

    def make():
        maps = {name: np.ones(data.shape) for name in ("response", "exposure")}
        return make_image(data, psf=make_psf((9, 9)), noise=Normal(sigma=1.0), **maps)

    image, source = make(), Point(xc=0, yc=0, Ic=uniform(0, 2))
    model = Model(source)
    first = Problem(image, model)
    seen = {first.digest()}
    values = {float(first.log_likelihood([1.0])[0])}

    def look(what):
        problem = Problem(image, model)
        digest, value = problem.digest(), float(problem.log_likelihood([1.0])[0])
        assert digest not in seen, what
        assert value not in values, what
        seen.add(digest)
        values.add(value)

    source.xc = 0.5 * pixel
    look("fixed value")
    image.addpsf(make_psf((9, 9), sigma=1.2))
    look("PSF")
    image.addpsf(make_psf((9, 9), sigma=1.2), includes_pixel=False)
    look("whether the PSF holds the pixel")
    image.addmask(np.arange(data.size).reshape(data.shape) % 7 > 0)
    look("mask")
    image.noise = Normal(sigma=1.2)
    look("noise")
    image.data = image.data + 0.1
    look("data")
    image.response = np.linspace(0.5, 1, data.size).reshape(data.shape)
    look("response")
    image.exposure = np.linspace(1, 2, data.size).reshape(data.shape)
    look("exposure")
    # What was built before sees none of this.
    assert float(first.log_likelihood([1.0])[0]) in values
    assert first.digest() in seen


# Interferometers see the sky.


@pytest.mark.parametrize(
    ("shape", "beside"), [pytest.param((24, 25), True, marks=pytest.mark.thorough), ((25, 28), False)]
)
def test_points_are_on_the_sky_of_an_interferometer(make_image, pixel, shape, beside):
    beam = gaussian_psf((15, 15), 1.5)
    image = make_image(shape=shape, noise=NormalRI(sigma=0.1))
    image.addpsf(beam, normalize=False)
    model = Model(Point(xc=-2.3 * pixel, yc=0.6 * pixel, Ic=uniform(0, 9)))
    if beside:
        model.addcomponent(Gaussian(xc=pixel, yc=2 * pixel, rs=1.5 * pixel, Is=1.0))
    problem = Problem(image, model)
    with_, without = problem.render([4.0]), problem.render([0.0])
    point = with_.raw - without.raw
    # All phases of a point: on the frame, what rings beyond it is missing.
    assert point.sum() == pytest.approx(4.0, abs=0.1)
    row, col = np.unravel_index(point.argmax(), shape)
    assert abs(row - ((shape[0] - 1) / 2 + 0.6)) <= 0.5
    assert abs(col - ((shape[1] - 1) / 2 + 2.3)) <= 0.5
    # On a pixel's centre it is that pixel.
    whole = model_of(Point(xc=((shape[1] - 1) / 2 - 9) * pixel, yc=(7 - (shape[0] - 1) / 2) * pixel, Ic=uniform(0, 9)))
    raw = Problem(image, whole).render([4.0]).raw
    expected = np.zeros(shape)
    expected[7, 9] = 4
    np.testing.assert_allclose(raw, expected, atol=1e-9)
