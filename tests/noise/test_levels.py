"""Noise with a level for each pixel: Gaussian, and Student's t."""

import numpy as np
import pytest
from scipy import integrate

from socca.noise import Normal, StudentT
from tests.noise.cases import SHAPE, SIGMA, TEMPLATE, drawn, evaluate


@pytest.mark.parametrize("values", [{}, {"scale": 1.4}, {"scale": 0.7, "floor": 1.1}])
@pytest.mark.parametrize("kind", ["normal", "studentt"])
def test_density_of_one_pixel_integrates_to_one(prepared, kind, values):
    values = {("nu" if key == "floor" and kind == "studentt" else key): value for key, value in values.items()}
    alone = np.zeros(SHAPE, bool)
    alone[2, 3] = True
    noise, image = prepared(kind, used=alone, **values)
    arrays = noise.prepare(image)

    def density(value):
        return np.exp(evaluate(noise, image, TEMPLATE, arrays._replace(data=np.where(alone, value, 0))))

    center, reach = TEMPLATE[2, 3], 12 * SIGMA[2, 3]
    if kind == "normal":
        total, error = integrate.quad(density, center - reach, center + reach, epsabs=1e-9)
    else:
        total, error = integrate.quad(density, -np.inf, np.inf, epsabs=1e-7)
    # What quad says of itself; beyond twelve sigma (seven of the widest) a Gaussian holds 1e-12.
    assert total == pytest.approx(1, abs=max(10 * error, 1e-9))


def test_many_degrees_of_freedom_are_normal(prepared):
    _, image = prepared("normal")
    wanted = evaluate(Normal(sigma=SIGMA), image, TEMPLATE)
    # The difference falls as 1 / nu; at the bound, the gamma functions cost 1e-9 per pixel.
    assert evaluate(StudentT(sigma=SIGMA, nu=1e6), image, TEMPLATE) == pytest.approx(wanted, abs=1e-3)


def test_sigma_of_few_degrees_of_freedom(prepared):
    noise, image = prepared("studentt", nu=1.0)
    sigma = noise.sigma_at(drawn(TEMPLATE), noise.prepare(image), noise.values)
    np.testing.assert_allclose(sigma, np.sqrt(3) * SIGMA)
