"""Pixels, frames, noise levels and priors against the image."""

import numpy as np
import pytest

from socca.models import Point
from socca.noise import Normal, StudentT
from socca.priors import loguniform, normal, truncnormal, uniform


def test_constant_images(flags):
    assert flags(data=np.full((31, 31), 4.0)) == [("constant_image", True)]
    almost = np.full((31, 31), 4.0)
    almost[3, 4] = 5.0
    assert ("constant_image", True) not in flags(data=almost)


@pytest.mark.parametrize(("scale", "found"), [(60.0, []), (3600.0, ["pixel_scale"])])
def test_pixels_of_degrees(flags, make_header, sky_galaxy, scale, found):
    half = 5 * scale / 3600
    model = sky_galaxy(re=uniform(0, 10 * scale / 3600))
    model.components[0].xc, model.components[0].yc = uniform(150 - half, 150 + half), uniform(2 - half, 2 + half)
    assert [flag for flag, _ in flags(model, header=make_header(scale=scale))] == found


@pytest.mark.parametrize(
    ("system", "found"),
    [
        ({"RADESYS": "ICRS"}, []),
        ({"RADESYS": "FK5", "EQUINOX": 2000.0}, []),
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, ["frame_not_icrs"]),
        ({"RADESYS": "FK4", "EQUINOX": 1950.0}, ["frame_not_icrs"]),
        ({"EQUINOX": 1950.0}, ["frame_not_icrs"]),
        ({}, []),
    ],
    ids=str,
)
def test_systems_of_coordinates(flags, make_header, sky_galaxy, system, found):
    header = make_header()
    del header["RADESYS"]
    header.update(system)
    assert [flag for flag, _ in flags(sky_galaxy(), header=header)] == found


@pytest.mark.parametrize(
    ("re", "found"),
    [
        (uniform(0.2, 20), True),  # arcsec are meant
        (loguniform(0.2, 20), True),
        (0.5, True),
        (truncnormal(2.0, 1.0, 0.0, 10.0), True),
        (uniform(0, 60 / 3600), True),  # on an image of 6.2 arcsec
        (uniform(0, 30 / 3600), False),
        (loguniform(0.01 / 3600, 600 / 3600), False),
        (1 / 3600, False),
    ],
)
def test_sizes(flags, galaxy, re, found):
    assert flags(galaxy(re=re)) == ([("size_prior", False)] if found else [])


@pytest.mark.parametrize(
    ("theta", "found"),
    [
        (uniform(0, 180), True),
        (uniform(-np.pi / 2, np.pi / 2), False),
        (uniform(0, 2 * np.pi), True),
        (normal(0.7, 0.2), False),
        (45.0, True),
        (-3.0, False),
    ],
)
def test_angles(flags, galaxy, theta, found):
    assert flags(galaxy(theta=theta)) == ([("angle_prior", False)] if found else [])


@pytest.mark.parametrize(
    ("prior", "unit", "found"),
    [
        (loguniform(0.1, 1000), 1.0, False),
        (loguniform(0.1, 1000), 1e-12, True),  # a flux in maggies, a prior in counts
        (loguniform(1e-13, 1e-8), 1.0, True),
        (loguniform(1e-13, 1e-8), 1e-12, False),
        (loguniform(1e-3, 1e6), 1.0, False),
        (uniform(-5, 5), 1.0, False),
    ],
)
def test_intensities(flags, galaxy, light, prior, unit, found):
    model = galaxy(Ie=prior)
    model.components[1].a0 = normal(0, unit)
    got = flags(model, light * unit, noise=Normal(sigma=unit))
    assert got == ([("intensity_prior", False)] if found else [])


def test_the_intensity_of_a_point_is_its_flux(flags, galaxy, make_psf, light):
    psf = make_psf((25, 25), sigma=4.0)  # whose peak has a hundredth of the flux
    model = galaxy()
    model.addcomponent(Point(xc=0.0, yc=0.0, Ic=uniform(2e5, 1e6)))
    assert flags(model, psf=psf) == []
    model.components[-1].Ic = uniform(2e7, 1e8)
    assert flags(model, psf=psf) == [("intensity_prior", False)]


def test_exposure_and_response_are_divided_out(flags, galaxy, light):
    maps = {"exposure": np.full(light.shape, 1e6), "noise": Normal(sigma=1.0)}
    assert flags(galaxy(Ie=loguniform(1e-7, 1e-3)), **maps) == []
    assert flags(galaxy(Ie=loguniform(1, 1e6)), **maps) == [("intensity_prior", False)]


@pytest.mark.parametrize(
    ("noise", "found"),
    [
        ({"sigma": np.ones}, None),
        ({"variance": np.ones}, None),
        ({"sigma": lambda shape: np.full(shape, 2.0)}, None),
        ({"sigma": lambda shape: np.full(shape, 4.5)}, False),
        ({"sigma": lambda shape: np.full(shape, 0.25)}, False),
        ({"weight": lambda shape: np.full(shape, 1e-4)}, True),
    ],
    ids=["right", "variance", "a factor 2", "too high", "too low", "above the whole range"],
)
@pytest.mark.parametrize("kind", [Normal, StudentT])
def test_noise_maps(flags, light, noise, found, kind):
    ((form, plane),) = noise.items()
    got = flags(noise=kind(**{form: plane(light.shape)}))
    assert got == ([] if found is None else [("noise_level", found)])


def test_a_sigma_that_was_given_as_another_map(make_image, light, galaxy):
    from socca.fitting.plausibility.parts import parts_of_model
    from socca.fitting.plausibility.values import noise_doubts

    for given, meant in (({"variance": 1e-3}, "sigma"), ({"weight": 1e-3}, "sigma"), ({"sigma": 1e-6}, "variance")):
        image = make_image(light * 1e-3, noise=Normal(**given))
        (doubt,) = noise_doubts(image, parts_of_model(galaxy(), image.noise), image.noise.prepare(image))
        assert f"as a {meant} it would agree" in doubt.message
        assert doubt.about == next(iter(given))


def test_noise_that_is_rescaled_or_estimated_is_not_compared(flags):
    assert flags(noise=Normal(sigma=0.01, scale=loguniform(0.1, 1000))) == []
    assert flags(noise=Normal(sigma=0.01, floor=uniform(0, 10))) == []
    assert flags(noise=Normal()) == []


def test_what_a_source_and_correlations_do_to_the_scatter(flags, light):
    """A source that fills the image adds to the scatter, and correlated noise takes from that of neighbours."""
    from scipy.ndimage import gaussian_filter

    y, x = np.mgrid[:31, :31] - 15
    rng = np.random.default_rng(2)
    everywhere = 1e4 * np.exp(-np.hypot(x, y) / 12) + rng.normal(size=(31, 31))
    assert flags(data=everywhere) == []
    smooth = gaussian_filter(rng.normal(size=(200, 200)), 2.0)
    assert flags(data=smooth / smooth.std(), shape=smooth.shape) == []
    counts = rng.poisson(0.05, (31, 31)).astype(float)  # most of them none
    assert flags(data=counts, noise=Normal(sigma=np.sqrt(0.05))) == []
