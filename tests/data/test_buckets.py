"""Programs that images of many sizes share."""

import numpy as np
import pytest

from socca.likelihood.grid import bucket
from socca.likelihood.problem import Problem
from socca.models import Background, Gaussian, Model, Point
from socca.noise import Normal, NormalCorrelated, Poisson, StudentT
from socca.priors import loguniform, uniform
from socca.utils.xla import meter
from tests.data.gaussians import model_of


def plain_scene(pixel, north=-6.0, east=2.5):
    """Return a point and a background, which compile at once; on 21 x 18 pixels, the point is on a pixel's centre."""
    return model_of(Point(xc=east * pixel, yc=north * pixel, Ic=uniform(1, 20)), Background(a0=uniform(1, 2)))


def free_scene(pixel):
    """Return an extended source besides."""
    model = plain_scene(pixel)
    model.addcomponent(
        Gaussian(
            xc=uniform(-2 * pixel, 2 * pixel),
            yc=0.3 * pixel,
            rs=loguniform(2 * pixel, 6 * pixel),
            Is=uniform(0.5, 3),
            e=0.3,
            theta=0.7,
        )
    )
    return model


def bucket_image(make_image, make_psf, shape, noise, psf=True, maps=True):
    rng = np.random.default_rng(sum(shape))
    data = rng.poisson(3.0, shape).astype(float)
    extra = {"response": rng.uniform(0.5, 1, shape), "exposure": rng.uniform(0.5, 1, shape)} if maps else {}
    mask = rng.random(shape) > 0.1
    kernel = make_psf((9, 11), sigma=1.3, skewed=True) if psf else None
    return make_image(data, psf=kernel, addmask={"regions": mask}, noise=noise, **extra)


def test_bucket_sizes():
    assert [bucket(n) for n in (1, 8, 9, 11, 13, 15, 17, 41, 45, 57, 64, 100, 113)] == [
        8, 8, 10, 12, 14, 16, 20, 48, 48, 64, 64, 112, 128,
    ]  # fmt: skip
    for n in range(8, 1000):
        assert n <= bucket(n) <= 1.25 * n
        assert bucket(bucket(n)) == bucket(n)


@pytest.mark.parametrize(
    ("noise", "psf"),
    [
        (Normal(sigma=0.5, scale=uniform(0.5, 2), floor=uniform(0.1, 1)), True),
        (StudentT(sigma=0.5, nu=uniform(2, 9), scale=1.3), False),
        (Poisson(background=0.3), True),
    ],
    ids=["normal", "studentt", "poisson"],
)
def test_buckets_change_nothing(make_image, make_psf, pixel, noise, psf):
    image = bucket_image(make_image, make_psf, (21, 18), noise, psf)
    # Of the noise, only what it looks at is padded: once with everything is enough.
    scene = free_scene(pixel) if noise.name == "normal" else plain_scene(pixel)
    own = Problem(image, scene)
    shared = Problem(image, scene, buckets=True)
    assert shared.spec.scene.grid.image == (24, 20)
    theta = own.prior_transform(np.random.default_rng(2).uniform(0.1, 0.9, (4, own.ndim)))
    np.testing.assert_allclose(shared.log_likelihood(theta), own.log_likelihood(theta), rtol=1e-9)
    np.testing.assert_array_equal(shared.log_prior(theta), own.log_prior(theta))
    if noise.name != "normal":
        return
    one, two = own.render(theta[0]), shared.render(theta[0])
    for part in ("raw", "smoothed", "background"):
        plane = getattr(two, part)
        assert plane.shape == image.shape
        np.testing.assert_allclose(plane, getattr(one, part), rtol=0, atol=1e-12 * one.total.max())
    for mine, other in zip(own.predict(theta[0]), shared.predict(theta[0]), strict=True):
        assert other.shape == image.shape
        np.testing.assert_allclose(other, mine, rtol=1e-11)


def test_buckets_and_points_between_pixels(make_image, make_psf, pixel):
    # Between pixels a point rings by its spectrum at the highest frequency, and how depends on the transform's length.
    image = bucket_image(make_image, make_psf, (21, 18), Normal(sigma=0.5))
    model = plain_scene(pixel, -6.1, 2.3)
    own, shared = Problem(image, model), Problem(image, model, buckets=True)
    theta = own.prior_transform(np.full(own.ndim, 0.5))
    # 1e-4 for a PSF that is cut at 3 sigma; at 5 sigma it is 1e-7.
    assert shared.log_likelihood(theta)[0] == pytest.approx(own.log_likelihood(theta)[0], abs=1e-3)


def test_sizes_share_a_program(make_image, make_psf, pixel):
    def make(shape, scene=plain_scene):
        image = bucket_image(make_image, make_psf, shape, Normal(sigma=0.5))
        return Problem(image, scene(pixel), buckets=True)

    def use(shape):
        problem = make(shape)
        theta = problem.prior_transform(np.full(problem.ndim, 0.5))
        drawn = problem.render(theta[0])
        return problem, problem.log_likelihood(theta)[0], drawn

    first, value, _ = use((41, 37))
    before, _ = meter().reading()
    second, other, drawn = use((45, 40))
    assert meter().reading()[0] == before
    assert first.spec == second.spec
    assert first.digest() != second.digest()
    assert value != other
    assert drawn.total.shape == (45, 40)
    # Equal specs have one program, whatever is in them.
    assert make((41, 37), free_scene).spec == make((45, 40), free_scene).spec
    assert make((49, 40)).spec != first.spec


def test_positive_looks_at_the_image_alone(make_image, pixel):
    # Positive everywhere on the image, and not on the pixels that were added to it.
    slope = Background(rs=pixel, a0=uniform(10.5, 12), a1x=0.0, a1y=-1.0, positive=True)
    image = make_image(shape=(21, 21))
    for buckets in (False, True):
        problem = Problem(image, Model(slope), buckets=buckets)
        drawn = problem.render([11.0])
        assert drawn.background.min() > 0
        assert not drawn.negative
        assert np.isfinite(problem.log_likelihood([11.0])[0])


def test_correlated_noise_has_no_buckets(make_image, pixel):
    image = make_image(shape=(9, 9), noise=NormalCorrelated(cov=np.eye(81)))
    model = Model(Background(a0=uniform(0, 1)))
    with_, without = Problem(image, model, buckets=True), Problem(image, model)
    assert with_.spec == without.spec
    assert with_.spec.scene.grid.image == (9, 9)
