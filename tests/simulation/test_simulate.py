"""The demo survey: complete, repeatable, and drawn as the contract says."""

import csv
import math
import subprocess
import sys

import galsim
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.integrate import dblquad
from scipy.special import gammaincinv

from socca import models
from socca.data import Image
from socca.data.fits import read_plane
from socca.errors import ConfigError
from socca.simulation import simulate

SEED = 5
FILES = ("image", "psf", "sigma", "mask", "segmentation")
FREE = {
    "sersic": {f"galaxy.{p}" for p in ("xc", "yc", "theta", "e", "re", "Ie", "ns")} | {"sky.a0"},
    "sersic_point": {f"galaxy.{p}" for p in ("xc", "yc", "theta", "e", "re", "Ie", "ns")} | {"nucleus.Ic", "sky.a0"},
    "bulge_disk": {f"bulge.{p}" for p in ("theta", "e", "re", "Ie", "ns")}
    | {f"disk.{p}" for p in ("xc", "yc", "theta", "e", "rs", "Is")}
    | {"sky.a0"},
}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    simulate.simulate(12, folder, SEED)
    return folder


@pytest.fixture(scope="module")
def scenes():
    return [simulate.scene(i, np.random.default_rng([SEED, i])) for i in range(12)]


def read_all(folder, row):
    return {what: read_plane(folder / row[what], what) for what in FILES}


def test_the_table_is_the_plan(survey):
    with (survey / "targets.csv").open() as stream:
        written = list(csv.DictReader(stream))
    planned = simulate.plan(12, survey)
    assert written == [{key: str(value) for key, value in row.items()} for row in planned]
    for name in simulate.RECIPES:
        same = [row for row in planned if row["models"] == name]
        assert len(same) == 4
        assert {math.isnan(row["ra"]) for row in same} == {True, False}
        assert all(math.isnan(row["ra"]) != math.isnan(row["pixel_scale"]) for row in same)


def test_a_target_depends_on_seed_and_index_alone(survey, tmp_path):
    simulate.simulate(2, tmp_path, SEED)
    for row in simulate.plan(2, tmp_path):
        for what in FILES:
            assert (tmp_path / row[what]).read_bytes() == (survey / row[what]).read_bytes()
    simulate.simulate(1, tmp_path, SEED + 1)
    other = read_plane(tmp_path / "sim_000_image.fits", "image")
    assert not np.array_equal(other, read_plane(survey / "sim_000_image.fits", "image"))
    assert not list(tmp_path.glob(".*")), "temporary files are left"


def test_truth_lists_the_free_parameters(survey, scenes):
    truth = Table.read(survey / "truth.ecsv")
    assert truth.colnames == ["target", "model", "parameter", "value", "unit"]
    assert np.all(np.isfinite(truth["value"]))
    truth["unit"] = np.ma.filled(truth["unit"], "")  # astropy reads an empty string as a missing one
    for row, found in zip(simulate.plan(12, survey), scenes, strict=True):
        mine = truth[truth["target"] == row["target"]]
        assert set(mine["model"]) == {row["models"]}
        assert sorted(mine["parameter"]) == sorted(FREE[row["models"]])
        for line in mine:
            component, name = line["parameter"].split(".")
            assert line["value"] == found.sources[component].values[name]
            kind = getattr(models, found.sources[component].kind)
            assert line["unit"] == kind.fields[name].unit
        theta = [line["value"] for line in mine if line["parameter"].endswith("theta")]
        assert all(0 <= value < math.pi for value in theta)


def test_the_files_hold_the_scene(survey, scenes):
    chi2, pixels = 0.0, 0
    for index, (row, found) in enumerate(zip(simulate.plan(12, survey), scenes, strict=True)):
        planes = read_all(survey, row)
        shape = (71, 75) if index % 2 else (72, 72)
        assert all(planes[what].shape == shape for what in FILES if what != "psf")
        assert planes["psf"].shape == ((24, 24) if index == simulate.EVEN_PSF else (25, 25))
        assert abs(planes["psf"].sum() - 1) > 1e-3, "the PSF is to be normalised by its user"
        np.testing.assert_array_equal(planes["sigma"], found.sigma)
        bad = planes["mask"] > 0
        assert 10 < bad.sum() < 0.05 * bad.size
        assert np.isnan(planes["image"][~bad]).any() == (index == simulate.HAS_NAN)
        expected = found.model + sum(found.neighbours)
        off = ((planes["image"] - expected) / found.sigma)[~bad & np.isfinite(planes["image"])]
        assert np.abs(off).max() < 5.5
        chi2, pixels = chi2 + np.sum(off**2), pixels + off.size
        # What neighbours leave where they are not masked is far below the noise of any parameter.
        segments = planes["segmentation"]
        assert set(np.unique(segments)) == set(range(len(found.neighbours) + 2))
        left = sum(found.neighbours)[segments <= 1]
        assert np.sum(left**2) < 0.1
        assert np.all(found.light[segments == 1] > 1)
        center = np.unravel_index(found.light.argmax(), shape)
        assert segments[center] == 1
        assert not bad[center]
        assert 50 < found.light.max() / found.sigma[center] < 200
    assert abs(chi2 / pixels - 1) < 5 * math.sqrt(2 / pixels)


def test_the_ways_of_storing_images(survey):
    def stored(index):
        return fits.open(survey / f"sim_{index:03d}_image.fits", do_not_scale_image_data=True)

    with stored(simulate.COMPRESSED) as hdus:
        assert isinstance(hdus[1], fits.CompImageHDU)
        assert "CD1_1" in hdus[1].header
    with stored(simulate.INTEGER) as hdus:
        assert hdus[0].header["BITPIX"] == 32
        assert hdus[0].header["BSCALE"] <= 1e-4
    with stored(simulate.BIG_ENDIAN) as hdus:
        assert hdus[0].header["BITPIX"] == -32
        assert hdus[0].data.dtype == np.dtype(">f4")
    with stored(1) as hdus:
        assert not any(card.startswith(("CTYPE", "CRVAL", "CD")) for card in hdus[0].header)
    skies = [fits.getheader(survey / f"sim_{i:03d}_image.fits") for i in (0, 2, 4)]
    assert len({round(math.atan2(h["CD1_2"], h["CD2_2"]), 3) for h in skies}) == 3
    assert not any(card.startswith(("PC", "CDELT")) for card in skies[0])
    ra, _ = WCS(skies[0]).wcs_pix2world([0, 71], [35, 35], 0)
    assert {value > 180 for value in ra} == {True, False}, "the first field lies on both sides of RA = 0"


@pytest.mark.parametrize("index", range(0, 12, 2))
def test_catalogue_positions_are_nearly_true(survey, scenes, index):
    row, found = simulate.plan(12, survey)[index], scenes[index]
    source = found.sources["disk" if "disk" in found.sources else "galaxy"]
    true = SkyCoord(source.values["xc"], source.values["yc"], unit="deg")
    assert 0 < true.separation(SkyCoord(row["ra"], row["dec"], unit="deg")).arcsec < 0.5


@pytest.mark.parametrize(("ns", "e"), [(0.7, 0.3), (1.0, 0.6), (4.0, 0.2)])
def test_a_large_frame_holds_the_closed_form_flux(ns, e):
    # Half-light radii of 2 and, for the steep profile, 0.2 pixels: there all depends on the central pixels.
    re = (0.2 if ns > 2 else 2) * simulate.PIXEL
    source = simulate.Source("Sersic", {"xc": 1e-5, "yc": -2e-5, "theta": 0.6, "e": e, "re": re, "Ie": 3.0, "ns": ns})
    image = simulate.render(source, (101, 99))
    assert image.sum() == pytest.approx(3 * simulate.sersic_flux(re, e, ns), rel=1e-3 if ns > 2 else 1e-5)


def test_pixels_hold_integrals():
    re, e, theta, ns = 4.0, 0.4, 0.8, 3.0
    values = {"xc": -0.3 * simulate.PIXEL, "yc": 0.2 * simulate.PIXEL, "theta": theta, "e": e, "ns": ns}
    image = simulate.render(simulate.Source("Sersic", {**values, "re": re * simulate.PIXEL, "Ie": 1.0}), (9, 9))
    b = gammaincinv(2 * ns, 0.5)

    def brightness(north, east):
        major = north * math.cos(theta) + east * math.sin(theta)
        minor = (east * math.cos(theta) - north * math.sin(theta)) / (1 - e)
        return math.exp(-b * ((math.hypot(major, minor) / re) ** (1 / ns) - 1))

    for row, col in [(4, 3), (5, 4), (2, 6)]:
        north, east = row - 4 - 0.2, -(col - 4) + 0.3
        exact, _ = dblquad(brightness, east - 0.5, east + 0.5, north - 0.5, north + 0.5, epsabs=1e-7)
        assert image[row, col] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("index", [0, 1, 2, 4])
def test_moments_show_position_and_orientation(index):
    wcs, shape = simulate._wcs(index), (121, 121)
    if wcs is None:
        xc, yc = 2 * simulate.PIXEL, -3 * simulate.PIXEL
        row, col = 60 - 3, 60 - 2
    else:
        wcs.wcs.crpix = wcs.wcs.crpix + 24  # the same sky, in the middle of a larger frame
        xc, yc = simulate._position(index)
        col, row = map(float, wcs.world_to_pixel(SkyCoord(xc, yc, unit="deg")))
    values = {"xc": xc, "yc": yc, "theta": 0.7, "e": 0.5, "re": 6 * simulate.PIXEL, "Ie": 1.0, "ns": 0.6}
    image = simulate.render(simulate.Source("Sersic", values), shape, wcs)
    rows, cols = np.indices(shape)
    weight = image / image.sum()
    center = np.array([np.sum(weight * rows), np.sum(weight * cols)])
    assert center == pytest.approx([row, col], abs=1e-3)
    # The direction of the major axis on the pixels, from second moments; then on the sky, from astropy.
    dr, dc = rows - center[0], cols - center[1]
    moments = [[np.sum(weight * a * b) for b in (dr, dc)] for a in (dr, dc)]
    sizes, axes = np.linalg.eigh(moments)
    assert math.sqrt(sizes[0] / sizes[1]) == pytest.approx(0.5, abs=3e-3)
    end = center + 5 * axes[:, 1]
    if wcs is None:
        angle = math.atan2(-(end[1] - center[1]), end[0] - center[0])
    else:
        ends = [wcs.pixel_to_world(point[1], point[0]) for point in (center, end)]
        angle = ends[0].position_angle(ends[1]).rad
    assert (angle - 0.7 + math.pi / 2) % math.pi - math.pi / 2 == pytest.approx(0, abs=1e-3)


# Of galsim, whose light has no cells: positions, angles, PSF and pixel.


@pytest.mark.parametrize(("kind", "ns", "size"), [("Sersic", 4.0, 3.0), ("Sersic", 1.0, 0.2), ("Exponential", 1, 2.0)])
def test_galsim_draws_the_same_light(kind, ns, size):
    # The stamp ends far outside, where a Moffat profile has fallen to 1e-7.
    psf, shape, scale = simulate.Psf(3.6, 0.1, 0.5, 81), (37, 41), simulate.PIXEL
    values = {"xc": -0.3 * scale, "yc": 0.2 * scale, "theta": 0.7, "e": 0.4}
    if kind == "Sersic":
        values |= {"re": size * scale, "Ie": 1.0, "ns": ns}
        flux = simulate.sersic_flux(size * scale, 0.4, ns)
        theirs = galsim.Sersic(n=ns, half_light_radius=size * math.sqrt(0.6), flux=flux)
    else:
        values |= {"rs": size * scale, "Is": 1.0}
        theirs = galsim.Exponential(scale_radius=size * math.sqrt(0.6), flux=2 * math.pi * size**2 * 0.6)
    found = simulate.render(simulate.Source(kind, values), shape, None, psf)
    expected = by_galsim(theirs.shear(q=0.6, beta=(0.7 + math.pi / 2) * galsim.radians), shape)
    # What galsim leaves out with these settings. Light on whole pixels would be wrong by 0.05 for the compact source.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


def test_galsim_draws_the_same_star():
    psf, shape, scale = simulate.Psf(3.6, 0.1, 0.5, 81), (37, 41), simulate.PIXEL
    source = simulate.Source("Point", {"xc": -0.3 * scale, "yc": 0.2 * scale, "Ic": 2.0})
    expected = by_galsim(None, shape)
    np.testing.assert_allclose(simulate.render(source, shape, None, psf), 2 * expected, atol=1e-4 * expected.max())


def by_galsim(light, shape):
    """Draw light, or a star, 0.3 pixels to the right and 0.2 up, through an elliptical Moffat PSF and the pixel."""
    psf = galsim.Moffat(beta=3.5, fwhm=3.6 * math.sqrt(0.9)).shear(q=0.9, beta=(math.pi / 2 - 0.5) * galsim.radians)
    seen = psf if light is None else galsim.Convolve([light, psf])
    seen = seen.withGSParams(folding_threshold=1e-3, maxk_threshold=1e-5).shift(0.3, 0.2)
    return seen.drawImage(nx=shape[1], ny=shape[0], scale=1.0, dtype=float).array


@pytest.mark.parametrize("size", [24, 25])
def test_the_psf_is_what_a_star_shows(size):
    psf = simulate.Psf(3.6, 0.1, 0.5, size)
    stamp = psf.stamp()
    assert stamp.shape == (size, size)
    assert stamp.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(stamp, stamp[::-1, ::-1], atol=1e-15)  # about the centre of the array
    star = simulate.render(simulate.Source("Point", {"xc": 0.0, "yc": 0.0, "Ic": 1.0}), (size, size), None, psf)
    np.testing.assert_allclose(stamp, star, rtol=1e-12)
    # The pixel is in it, once: an integral, and not the value at the centre.
    row, col = 11 - (size - 1) / 2, 13 - (size - 1) / 2
    lows, half = (col - 0.5, row - 0.5), size / 2
    over_pixel, whole = (
        dblquad(lambda y, x: psf.shape(y, x), x0, x1, y0, y1, epsabs=1e-6)[0]
        for x0, x1, y0, y1 in ((lows[0], lows[0] + 1, lows[1], lows[1] + 1), (-half, half, -half, half))
    )
    assert stamp[11, 13] == pytest.approx(over_pixel / whole, rel=1e-5)


@pytest.mark.parametrize("index", range(6))  # every recipe in every frame, and the even PSF
def test_socca_draws_the_same_image(survey, scenes, index):
    row, found = simulate.plan(12, survey)[index], scenes[index]
    scale = {} if math.isnan(row["pixel_scale"]) else {"pixel_scale": row["pixel_scale"]}
    image = Image(survey / row["image"], **scale)
    image.addpsf(survey / row["psf"])
    model = models.Model()
    for name, source in found.sources.items():
        model.addcomponent(getattr(models, source.kind)(**source.values), label=name)
    off = model.getmap(image, convolve=True, addbackground=True) - found.model
    # What the forward model promises, of the peak.
    assert np.abs(off).max() < 1e-3 * found.light.max()
    assert abs(off.sum()) < 1e-3 * found.light.sum()


def test_what_cannot_be_simulated(tmp_path):
    with pytest.raises(ConfigError, match="number must be at least 1, got 0"):
        simulate.simulate(0, tmp_path, 1)
    with pytest.raises(ConfigError, match="seed must not be negative, got -1"):
        simulate.simulate(1, tmp_path, -1)
    assert not list(tmp_path.iterdir())


def test_neither_jax_nor_astropy_is_imported_at_first():
    code = "import sys, socca.simulation.simulate; assert not {'jax', 'astropy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
