"""Noise of dirty images of interferometers."""

import jax
import numpy as np
import pytest

from socca.errors import DataError, ModelError
from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.models.rendered import Rendered
from socca.noise import NormalRI
from tests.noise.cases import SHAPE, SIZE, TEMPLATE, spectrum


def test_dirty_image_is_compared_as_its_visibilities_would_be(prepared):
    rng = np.random.default_rng(9)
    weights = spectrum(SHAPE) * (spectrum(SHAPE, 7) > 1.2)  # some modes are not measured
    sky = TEMPLATE
    visibilities = np.fft.fft2(sky + rng.normal(0, 1, SHAPE))
    residual = weights * (np.abs(visibilities - np.fft.fft2(sky)) ** 2 - np.abs(visibilities) ** 2)
    total = weights.sum()
    dirty = np.fft.ifft2(weights * visibilities).real * SIZE / total
    beamed = np.fft.ifft2(weights * np.fft.fft2(sky)).real * SIZE / total
    noise, image = prepared("normal_ri", data=dirty)
    noise = NormalRI(sigma=total**-0.5)
    found = noise.log_likelihood(Rendered(sky, beamed, 0 * sky, False), noise.prepare(image), {}, noise.spec())
    assert found == pytest.approx(-0.5 * residual.sum(), rel=1e-5)  # single precision
    with jax.enable_x64(True):
        exact = noise.log_likelihood(Rendered(sky, beamed, 0 * sky, False), noise.prepare(image), {}, noise.spec())
    assert exact == pytest.approx(-0.5 * residual.sum(), rel=1e-11)


def test_interferometers_see_no_background(make_image, make_psf):
    image = make_image(TEMPLATE, noise=NormalRI(1.0))
    image.addpsf(make_psf((5, 5)) * 5, normalize=False)
    with pytest.raises(ModelError, match=r"NormalRI: comp_00: .*background"):
        Problem(image, Model(Background(a0=1.0)))


def test_a_normalised_beam_is_refused(make_image, make_psf):
    with pytest.raises(DataError, match=r"peak.*normalize=False"):
        NormalRI(1.0).prepare(make_image(np.ones(SHAPE), psf=make_psf((5, 5), sigma=1.3)))


@pytest.mark.parametrize("how", [{"includes_pixel": False}, {"oversample": 3}])
def test_a_beam_that_is_averaged_over_pixels_is_refused(make_image, make_psf, how):
    image = make_image(np.ones(SHAPE))
    image.addpsf(make_psf((3, 3)) * 5, normalize=False, **how)
    with pytest.raises(DataError, match=r"NormalRI: .*give the beam on the image's pixels, with includes_pixel=True"):
        NormalRI(1.0).prepare(image)
