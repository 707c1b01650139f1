"""Noise with a covariance of pixels."""

import logging

import jax
import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Background, Model
from socca.noise import NormalCorrelated
from socca.priors import uniform
from tests.noise.cases import COVARIANCE, MASK, SHAPE, SIZE, TEMPLATE, evaluate, multivariate


def test_correlated_noise_of_one_pixel_integrates_to_one(prepared):
    used = np.zeros(SHAPE, bool)
    used[2, 3] = True
    noise, image = prepared("normal_correlated", used=used, scale=1.5)
    arrays = noise.prepare(image)
    spread = 1.5 * np.sqrt(COVARIANCE[2 * SHAPE[1] + 3, 2 * SHAPE[1] + 3])
    steps = np.arange(-8, 8.25, 0.5)
    total = sum(
        np.exp(evaluate(noise, image, TEMPLATE, arrays._replace(data=np.where(used, TEMPLATE + step * spread, 0))))
        for step in steps
    )
    # The sum of a Gaussian at steps of sigma / 2 differs from its integral by exp(-79), its tails by 1e-15.
    assert total * 0.5 * spread == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("form", ["cov", "icov"])
def test_covariance_of_the_used_pixels_alone(prepared, make_image, form):
    used = MASK.ravel()
    cut = COVARIANCE[np.ix_(used, used)]
    _, image = prepared("normal_correlated", used=MASK)
    wanted = multivariate(image.data[MASK], TEMPLATE[MASK], cut)
    noise = NormalCorrelated(**{form: cut if form == "cov" else np.linalg.inv(cut)})
    assert evaluate(noise, image, TEMPLATE) == pytest.approx(wanted, rel=1e-10)


def test_masked_pixels_are_marginalised_out_of_an_inverse_covariance(prepared):
    _, image = prepared("normal_correlated", used=MASK)
    inverse = np.linalg.inv(COVARIANCE)
    used = MASK.ravel()
    wanted = multivariate(image.data[MASK], TEMPLATE[MASK], COVARIANCE[np.ix_(used, used)])
    cut = multivariate(image.data[MASK], TEMPLATE[MASK], np.linalg.inv(inverse[np.ix_(used, used)]))
    found = evaluate(NormalCorrelated(icov=inverse), image, TEMPLATE)
    assert found == pytest.approx(wanted, rel=1e-10)
    assert abs(found - cut) > 1


def test_covariance_of_realisations(prepared, caplog):
    rng = np.random.default_rng(5)
    cube = rng.multivariate_normal(np.full(SIZE, 3.0), COVARIANCE, 150).reshape(-1, *SHAPE)
    cube[:, ~MASK] = np.nan
    _, image = prepared("normal_correlated", used=MASK)
    flat = cube[:, MASK]
    centered = flat - flat.mean(0)
    covariance = centered.T @ centered / (len(flat) - 1)
    wanted = multivariate(image.data[MASK], TEMPLATE[MASK], covariance)
    with caplog.at_level(logging.INFO):
        found = evaluate(NormalCorrelated(cube=cube), image, TEMPLATE)
    assert found == pytest.approx(wanted, rel=1e-9)
    assert f"150 realisations of {MASK.sum()} pixels" in caplog.text


def test_correlated_images_with_other_masks_share_a_program(make_image):
    model = Model(Background(a0=uniform(0, 1)))
    problems = []
    for mask in (MASK, ~MASK):
        image = make_image(TEMPLATE, noise=NormalCorrelated(cov=COVARIANCE), addmask={"regions": mask})
        problems.append(Problem(image, model))
    one, other = problems
    assert one.spec == other.spec
    assert jax.tree.map(np.shape, one.arrays) == jax.tree.map(np.shape, other.arrays)
