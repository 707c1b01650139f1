"""Single precision against double."""

import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model, Point, Sersic
from socca.priors import loguniform, normal, uniform
from tests.data.gaussians import centroid, model_of


@pytest.mark.slow  # six programs of one galaxy
def test_single_precision(make_image, make_header, make_psf, pixel):
    shape, x0, y0 = (64, 64), 150.0, 2.0
    header = make_header(shape, ra=x0, dec=y0, rotation=30)
    components = (
        Sersic(
            xc=uniform(x0 - 3 * pixel, x0 + 3 * pixel),
            yc=uniform(y0 - 3 * pixel, y0 + 3 * pixel),
            re=loguniform(8 * pixel, 16 * pixel),
            Ie=uniform(15, 30),
            ns=uniform(0.7, 3),
            e=uniform(0, 0.7),
            theta=uniform(0, np.pi),
        ),
        Point(xc=x0 + 6.3 * pixel, yc=y0 - 4.7 * pixel, Ic=uniform(50, 200)),
        Background(a0=normal(0, 1)),
    )
    psf = make_psf((13, 13), sigma=1.4, skewed=True)
    image = make_image(shape=shape, header=header, psf=psf)
    blank = Problem(image, model_of(*components))
    rng = np.random.default_rng(6)
    truth = blank.prior_transform(rng.uniform(0.3, 0.7, blank.ndim))[0]
    mean = blank.render(truth).total
    assert np.sort(mean.ravel())[-400] > 20  # sigma is one; within the source
    data = mean + rng.normal(size=shape)
    image = make_image(data, header=header, psf=psf)
    double, single = (Problem(image, model_of(*components), precision=p) for p in ("float64", "float32"))
    assert double.digest() != single.digest()
    # Around the truth, as a sampler that has found it sees it, and over the prior.
    widths = np.abs(double.prior_transform(np.full(7 + 2, 0.52))[0] - double.prior_transform(np.full(7 + 2, 0.48))[0])
    theta = truth + 0.1 * widths * rng.normal(size=(20, double.ndim))
    one, two = double.log_likelihood(theta), single.log_likelihood(theta)
    # Measured: 0.003.
    assert np.abs(one - two).max() < 0.05
    far = double.prior_transform(rng.uniform(0.05, 0.95, (20, double.ndim)))
    # Where the sum of squares is 1e6, the error is in proportion: 4e-7 measured.
    np.testing.assert_allclose(single.log_likelihood(far), double.log_likelihood(far), rtol=2e-6, atol=0.05)
    value, gradient = single.log_likelihood_and_grad(theta[:3])
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(value))
    # By differences in double precision, which need no other program.
    steps = 1e-3 * widths
    moved = theta[:3, None, None] + np.array([1, -1])[:, None, None] * np.diag(steps)
    there = double.log_likelihood(moved.reshape(-1, double.ndim)).reshape(3, 2, double.ndim)
    numeric = (there[:, 0] - there[:, 1]) / 2e-3
    np.testing.assert_allclose(gradient * widths, numeric, rtol=1e-2, atol=0.1)
    drawn = single.render(truth)
    assert {part.dtype for part in (drawn.raw, drawn.smoothed, drawn.background)} == {np.dtype(np.float32)}
    reference = double.render(truth)
    np.testing.assert_allclose(drawn.total, reference.total, rtol=0, atol=1e-5 * reference.total.max())


def test_positions_in_single_precision(make_image, make_header, pixel):
    # In single precision, 150 degrees are right to a third of a pixel.
    shape = (31, 31)
    image = make_image(shape=shape, header=make_header(shape, ra=150.0, dec=2.0))
    model = Model(
        Gaussian(xc=uniform(149, 151), yc=uniform(1, 3), rs=2 * pixel, Is=1.0),
    )
    problem = Problem(image, model, precision="float32")
    for row, col in [(15.0, 15.0), (14.303, 16.711), (16.0001, 14.9)]:
        ra, dec = image.wcs.all_pix2world(col, row, 0)
        drawn = problem.render([float(ra), float(dec)])
        _, *at = centroid(drawn.raw.astype(float))
        assert at == pytest.approx([row, col], abs=1e-3)
