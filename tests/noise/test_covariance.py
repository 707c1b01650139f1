"""What noise with a covariance is made of: files, HDUs, and parts of what describes a whole frame."""

import numpy as np
import pytest

from socca.noise import Normal, NormalCorrelated, NormalFourier
from tests.noise.cases import COVARIANCE, MASK, SHAPE, SIGMA, SIZE, TEMPLATE, WINDOW, evaluate, half, spectrum


@pytest.mark.parametrize("make", [NormalCorrelated, NormalFourier])
def test_covariances_come_from_files_and_hdus(tmp_path, make_image, make):
    from astropy.io import fits

    cov = COVARIANCE if make is NormalCorrelated else half(spectrum(SHAPE))
    cube = np.random.default_rng(6).normal(0, 1, (SIZE + 20, *SHAPE))
    image = make_image(TEMPLATE)
    for form, values in (("cov", cov), ("cube", cube)):
        wanted = evaluate(make(**{form: values}), image, TEMPLATE / 2)
        path = tmp_path / f"{form}.fits"
        fits.PrimaryHDU(values).writeto(path)
        for source in (path, str(path), fits.ImageHDU(values), fits.HDUList([fits.PrimaryHDU(values)])):
            assert evaluate(make(**{form: source}), image, TEMPLATE / 2) == wanted


def test_cutouts_take_their_part_of_what_was_given_for_the_whole(make_image):
    rng = np.random.default_rng(16)
    data = rng.poisson(5.0, SHAPE).astype(float)
    cube = rng.normal(0, 1, (99, *SHAPE))
    image = make_image(data)
    image.cutout((3, 3), (4, 5))
    window = image.window
    kept = np.arange(SIZE).reshape(SHAPE)[window].ravel()
    small = make_image(data[window])
    model = TEMPLATE[window]
    inverse = np.linalg.inv(COVARIANCE)
    pairs = [
        (Normal(sigma=SIGMA), Normal(sigma=SIGMA[window])),
        (NormalCorrelated(cov=COVARIANCE), NormalCorrelated(cov=COVARIANCE[np.ix_(kept, kept)])),
        (NormalCorrelated(icov=inverse), NormalCorrelated(cov=COVARIANCE[np.ix_(kept, kept)])),
        (NormalCorrelated(cube=cube), NormalCorrelated(cube=cube[:, *window])),
        (NormalFourier(cube=cube, apod=WINDOW), NormalFourier(cube=cube[:, *window], apod=WINDOW[window])),
    ]
    for given, wanted in pairs:
        if isinstance(given, NormalFourier):
            image.mask[:] = small.mask[:] = MASK[window]
        # An inverse of an inverse differs by rounding.
        assert evaluate(given, image, model) == pytest.approx(evaluate(wanted, small, model), rel=1e-9)
