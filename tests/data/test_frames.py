import jax
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from socca.data import Image
from socca.data.frames import PixelFrame, SkyFrame, project
from socca.errors import DataError
from socca.likelihood.grid import BORDER, coordinates, grid_arrays, grid_shape, grid_size
from socca.likelihood.render import locate

EVEN, ODD = (24, 30), (25, 31)

#: Keywords of `make_header`. Declinations, RA across 0, rotations, mirrored, distorted, far reference points.
FIELDS = {
    "equator": {"ra": 180, "dec": 0},
    "across 0": {"ra": 359.9999, "dec": 20, "offset": (3, -5)},
    "zero": {"ra": 0.0, "dec": -10},
    "north": {"ra": 45, "dec": 60},
    "south": {"ra": 200, "dec": -60, "rotation": 25},
    "near the pole": {"ra": 10, "dec": 89},
    "near the other pole": {"ra": 300, "dec": -89, "rotation": 160},
    "rotated": {"ra": 150, "dec": 2, "rotation": 37},
    "mirrored": {"ra": 150, "dec": 2, "rotation": -70, "mirrored": True},
    "coarse": {"ra": 1, "dec": 70, "scale": 30, "offset": (400, -300), "rotation": 12},
    "sip": {"ra": 150, "dec": 2, "sip": 2.0, "offset": (60, -80), "rotation": 20},
}
fields = pytest.mark.parametrize("field", FIELDS)
shapes = pytest.mark.parametrize("shape", [EVEN, ODD], ids=["even", "odd"])


@pytest.fixture
def header(make_header, field, shape):
    return make_header(shape, **FIELDS[field])


def gnomonic(reference):
    """Return astropy's own TAN projection about a point, in degrees, x to the east."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = reference, [1, 1], [1, 1]
    return wcs


def mesh(shape):
    return np.meshgrid(*[np.linspace(-20, n + 19, 9) for n in shape], indexing="ij")


@fields
@shapes
def test_plane_is_the_gnomonic_projection(header, shape):
    wcs = WCS(header)
    frame = SkyFrame(shape, wcs)
    middle = [(shape[1] - 1) / 2, (shape[0] - 1) / 2]
    center = wcs.all_pix2world(*middle, 0)
    assert frame.reference == pytest.approx([float(c) for c in center], abs=1e-12)
    assert frame.center == frame.reference
    rows, cols = mesh(shape)
    sky = wcs.all_pix2world(cols, rows, 0)
    wanted = gnomonic(frame.reference).all_world2pix(*sky, 0)
    # Degrees. wcslib's own trigonometry in degrees rounds at 1e-13 of a radian.
    for got, want in zip(frame.plane(rows, cols), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=2e-11)


@fields
@shapes
def test_distances_and_angles_are_skycoords(header, shape):
    frame = SkyFrame(shape, WCS(header))
    rows, cols = mesh(shape)
    points = SkyCoord(*WCS(header).all_pix2world(cols, rows, 0), unit="deg")
    center = SkyCoord(*frame.reference, unit="deg")
    x, y = frame.to_plane(points.ra.deg, points.dec.deg)
    r = np.degrees(np.tan(center.separation(points).rad))
    angle = center.position_angle(points)
    np.testing.assert_allclose(x, r * np.sin(angle), rtol=1e-9, atol=2e-11)
    np.testing.assert_allclose(y, r * np.cos(angle), rtol=1e-9, atol=2e-11)


@fields
@shapes
def test_to_pixel_inverts(header, shape):
    frame = SkyFrame(shape, WCS(header))
    rows, cols = mesh(shape)
    got = frame.to_pixel(*WCS(header).all_pix2world(cols, rows, 0))
    # astropy's iteration for SIP stops at 1e-4 pixels, and does much better on these; near the poles RA loses digits.
    np.testing.assert_allclose(got[0], rows, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got[1], cols, rtol=0, atol=1e-4)


@fields
@shapes
def test_pixel_scale(header, shape):
    wcs = WCS(header)
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    corners = wcs.all_pix2world(middle + np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]]), 0)
    points = SkyCoord(corners, unit="deg")
    sides = [points[0].separation(points[1]), points[2].separation(points[3])]
    turn = points[0].position_angle(points[1]) - points[2].position_angle(points[3])
    area = sides[0].deg * sides[1].deg * float(abs(np.sin(turn.rad)))
    # Angles between pixels of 0.2 arcsec have about nine digits left.
    assert SkyFrame(shape, wcs).pixel_scale == pytest.approx(np.sqrt(area), rel=1e-6)


#: One program for every field of a shape.
find_all = jax.jit(jax.vmap(locate, in_axes=(None, 0, 0)))


@fields
@shapes
@pytest.mark.parametrize("psf", [None, (9, 8)], ids=["no psf", "psf"])
def test_locate(header, shape, psf):
    frame = SkyFrame(shape, WCS(header))
    grid = grid_shape(shape, psf)
    arrays = {k: v for k, v in grid_arrays(frame, grid).items() if k in ("x", "y", "inverse")}
    rng = np.random.default_rng(2)
    rows, cols = [rng.uniform(-0.49, n - 0.51, 50) for n in grid.full]
    ra, dec = WCS(header).all_pix2world(cols - grid.pad[1], rows - grid.pad[0], 0)
    with jax.enable_x64(True):
        row, col, jacobian = find_all(arrays, *frame.to_plane(ra, dec))
    # One linear step from the nearest pixel: the curvature of SIP leaves 1e-5 pixels over half a pixel.
    np.testing.assert_allclose(row, rows, rtol=0, atol=1e-4)
    np.testing.assert_allclose(col, cols, rtol=0, atol=1e-4)
    step = 0.5
    numeric = np.array(
        [
            np.subtract(
                frame.plane(rows - grid.pad[0] + dr, cols - grid.pad[1] + dc),
                frame.plane(rows - grid.pad[0] - dr, cols - grid.pad[1] - dc),
            )
            for dr, dc in [(step, 0), (0, step)]
        ]
    )
    scale = frame.pixel_scale
    # Taken at the nearest pixel: distortion changes it by 1e-3 from there.
    np.testing.assert_allclose(np.asarray(jacobian).transpose(2, 1, 0), numeric, rtol=0, atol=2e-3 * scale)


def test_locate_far_outside(make_header):
    frame = SkyFrame(ODD, WCS(make_header(ODD, sip=2.0, rotation=20)))
    arrays = grid_arrays(frame, grid_shape(ODD, None))
    with jax.enable_x64(True):
        row, col, _ = locate(arrays, 0.0, 100 * frame.pixel_scale)
        assert np.isfinite(row)
        assert np.hypot(row - 12, col - 15) > 50


@shapes
def test_pixel_frame(shape):
    scale = 0.2 / 3600
    frame = PixelFrame(shape, scale)
    middle = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    assert frame.plane(*middle) == pytest.approx((0, 0), abs=1e-15)
    # East is to the left, north up.
    assert frame.plane(middle[0] + 2, middle[1] + 3) == pytest.approx((-3 * scale, 2 * scale), rel=1e-12)
    assert frame.to_pixel(3 * scale, 2 * scale) == pytest.approx((middle[0] + 2, middle[1] - 3), rel=1e-12)
    assert frame.center == (0.0, 0.0)
    assert frame.pixel_scale == scale
    rows, cols = mesh(shape)
    np.testing.assert_allclose(frame.to_pixel(*frame.plane(rows, cols)), [rows, cols], atol=1e-10)
    np.testing.assert_array_equal(frame.to_plane(1e-4, 2e-4), [1e-4, 2e-4])


@shapes
@pytest.mark.parametrize("psf", [None, (9, 8), (1, 1)])
def test_grid_arrays_cover_the_padded_frame(shape, psf):
    grid = grid_shape(shape, psf)
    frame = PixelFrame(shape, 1.0)
    arrays = grid_arrays(frame, grid)
    for axis in (0, 1):
        reach = 0 if psf is None else psf[axis] // 2
        assert grid.pad[axis] == reach
        assert grid.full[axis] >= shape[axis] + 2 * reach
        assert grid_size(arrays)[axis] == grid.full[axis] + 2 * BORDER
    x, y = coordinates(arrays)
    first = frame.to_pixel(x[0, 0], y[0, 0])
    assert first == pytest.approx((-BORDER - grid.pad[0], -BORDER - grid.pad[1]))
    # The inverse takes degrees to pixels (row, col): north is +row, east is -col.
    np.testing.assert_allclose(arrays["inverse"], [[0, 1], [-1, 0]], atol=1e-12)


def test_declination_before_right_ascension(make_header):
    # A transposed image, its first axis declination, is legal FITS: the positions must not be swapped.
    header = make_header(ODD, ra=150, dec=2, rotation=37)
    swapped = header.copy()
    for key in ("CTYPE", "CRVAL", "CUNIT"):
        swapped[f"{key}1"], swapped[f"{key}2"] = header[f"{key}2"], header[f"{key}1"]
    for j in (1, 2):
        swapped[f"CD1_{j}"], swapped[f"CD2_{j}"] = header[f"CD2_{j}"], header[f"CD1_{j}"]
    plain, other = (Image(fits.PrimaryHDU(np.zeros(ODD), h)).frame for h in (header, swapped))
    assert other.reference == pytest.approx(plain.reference, abs=1e-10)
    np.testing.assert_allclose(other.plane(3, 4), plain.plane(3, 4), atol=1e-10)
    np.testing.assert_allclose(other.to_pixel(150.0003, 2.0002), plain.to_pixel(150.0003, 2.0002), atol=1e-5)


def test_pc_matrix_is_the_cd_matrix(make_header):
    header = make_header(ODD, dec=50, rotation=33)
    other = header.copy()
    for i in (1, 2):
        other[f"CDELT{i}"] = 2e-5
        for j in (1, 2):
            other[f"PC{i}_{j}"] = header[f"CD{i}_{j}"] / 2e-5
            del other[f"CD{i}_{j}"]
    one, two = (SkyFrame(ODD, WCS(h)) for h in (header, other))
    np.testing.assert_allclose(one.plane(*mesh(ODD)), two.plane(*mesh(ODD)), atol=1e-12)


def test_centre_off_the_sky(make_header):
    header = make_header(ODD, scale=3600 * 5.0, offset=(0, 60))
    header["CTYPE1"], header["CTYPE2"] = "RA---SIN", "DEC--SIN"
    with pytest.raises(DataError, match="centre"):
        SkyFrame(ODD, WCS(header))


def test_rows_north_of_the_centre(make_header):
    # By hand: at declination 60, one arcsec of offset to the east is two arcsec of RA.
    frame = SkyFrame(ODD, WCS(make_header(ODD, ra=0, dec=60, scale=1.0)))
    x, _ = frame.to_plane(2 / 3600, 60)
    assert float(x) == pytest.approx(1 / 3600, rel=1e-4)
    rows, cols = frame.to_pixel(2 / 3600, 60 + 3 / 3600)
    assert (float(rows), float(cols)) == pytest.approx((12 + 3, 15 - 1), abs=1e-3)
    assert (SkyCoord(0 * u.deg, 60 * u.deg).separation(SkyCoord(2 * u.arcsec, 60 * u.deg))).arcsec == pytest.approx(
        1, rel=1e-4
    )


@pytest.mark.parametrize(("ra", "dec", "seen"), [(189, 0, True), (191, 0, False), (280, 0, False), (100, 95, False)])
def test_nothing_beyond_the_horizon(ra, dec, seen):
    # 90 degrees away or more, the gnomonic projection would mirror the other side of the sky into the field.
    reference = np.array([100.0, 0.0])
    with jax.enable_x64(True):
        for xp in (np, jax.numpy):
            assert np.all(np.isfinite(project(xp.float64(ra), xp.float64(dec), True, reference, xp))) == seen
        slope = jax.grad(lambda x: project(x, 1.0, True, reference, jax.numpy)[0])(100.5)
    assert np.isfinite(slope)
