"""Large files: no more is read than is needed, and no more than is allowed."""

import bz2
import contextlib
import functools
import gzip
import lzma
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from socca.data.fits import open_fits, read_image
from socca.errors import DataError
from socca.noise import Normal

SHAPE = (60, 70)
VALUES = np.random.default_rng(1).normal(size=SHAPE).astype("f4")
#: What is read of it: rows and columns of a cutout of 12 about (x, y) = (40, 21).
CUT, WINDOW = {"center": (40, 21), "csize": 12}, (slice(15, 27), slice(34, 46))


def written(path, kind, plane=VALUES, header=None):
    """Write a plane in one of the ways that it may come."""
    hdus = {
        "plain": lambda: [fits.PrimaryHDU(plane, header)],
        "extension": lambda: [fits.PrimaryHDU(), fits.ImageHDU(plane, header)],
        "axes": lambda: [fits.PrimaryHDU(plane[None, None], header)],
        "gzip": lambda: [fits.PrimaryHDU(plane, header)],
        "tiles": lambda: [fits.PrimaryHDU(), fits.CompImageHDU(plane, header, "", "GZIP_1", (7, 9), quantize_level=0)],
        "rows": lambda: [fits.PrimaryHDU(), fits.CompImageHDU(plane, header, "", "GZIP_1", quantize_level=0)],
    }[kind]()
    path = path.with_suffix(".fits.gz" if kind == "gzip" else ".fits")
    fits.HDUList(hdus).writeto(path)
    return path


KINDS = ["plain", "extension", "axes", "gzip", "tiles", "rows"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cutout_reads_its_part(tmp_path, kind, make_header):
    header = make_header(SHAPE, rotation=20, sip=2.0)
    path = written(tmp_path / "image", kind, header=header)
    whole = read_image(path)
    np.testing.assert_array_equal(whole.data, VALUES)
    early, late = Image(path, **CUT), Image(path)
    late.cutout(CUT["center"], CUT["csize"])
    assert early.window == late.window == WINDOW
    assert early.original_shape == late.original_shape == SHAPE
    np.testing.assert_array_equal(early.data, VALUES[WINDOW])
    np.testing.assert_array_equal(early.hdu.data, late.hdu.data)
    assert early.frame.center == late.frame.center
    assert early.frame.pixel_scale == late.frame.pixel_scale
    found = read_image(path, part=lambda shape, header, tables: WINDOW)
    assert (found.window, found.whole, found.data.shape) == (WINDOW, SHAPE, (12, 12))


@pytest.mark.parametrize("kind", KINDS)
def test_its_maps_and_masks_are_read_in_part_too(tmp_path, kind, make_header):
    rng = np.random.default_rng(2)
    header = make_header(SHAPE, rotation=20)
    planes = {name: rng.uniform(1, 2, SHAPE).astype("f4") for name in ("response", "exposure", "sigma")}
    planes["mask"] = (rng.uniform(size=SHAPE) > 0.5).astype("f4")
    planes["segments"] = np.floor(planes["exposure"] * 2) - 2
    files = {name: written(tmp_path / name, kind, plane, header) for name, plane in planes.items()}
    image = Image(
        fits.PrimaryHDU(VALUES, header),
        files["response"],
        files["exposure"],
        Normal(sigma=files["sigma"]),
        addmask={"regions": files["mask"]},
        **CUT,
    )
    for name in ("response", "exposure"):
        np.testing.assert_array_equal(getattr(image, name), planes[name][WINDOW])
    np.testing.assert_array_equal(image.mask, planes["mask"][WINDOW])
    used = image.mask > 0
    np.testing.assert_array_equal(image.noise.sigma(image)[used], planes["sigma"][WINDOW][used])
    image.keep_segment(files["segments"], 1)
    np.testing.assert_array_equal(image.mask > 0, used & (planes["segments"][WINDOW] <= 1))


def test_a_mask_of_the_same_shape_elsewhere_is_read_whole(tmp_path, make_header):
    mask = (np.random.default_rng(2).uniform(size=SHAPE) > 0.5).astype("f4")
    path = written(tmp_path / "mask", "plain", mask, make_header(SHAPE, offset=(3, -4)))
    image = Image(fits.PrimaryHDU(VALUES, make_header(SHAPE)), addmask={"regions": path}, **CUT)
    rows, cols = WINDOW
    np.testing.assert_array_equal(image.mask, mask[rows.start + 3 : rows.stop + 3, cols.start - 4 : cols.stop - 4])


@pytest.mark.parametrize("kind", KINDS)
def test_more_pixels_than_the_limit(tmp_path, kind):
    path = written(tmp_path / "image", kind)
    with pytest.raises(
        DataError, match=r"image\.fits.* has 70 x 60.* pixels.* the limit is 4.2e\+03: fit a cutout, or"
    ):
        Image(path, pixel_scale=0.2, max_pixels=4199)
    assert Image(path, pixel_scale=0.2, max_pixels=4200).shape == SHAPE
    # Of a cutout, its own pixels count; of tiles, those that have to be decompressed.
    needed = {"tiles": 2 * 7 * 3 * 9, "rows": 12 * 70}.get(kind, 144)
    assert Image(path, pixel_scale=0.2, max_pixels=needed, **CUT).shape == (12, 12)
    with pytest.raises(DataError, match=rf"of which {needed} have to be read for the cutout"):
        Image(path, pixel_scale=0.2, max_pixels=needed - 1, **CUT)
    few = {"pixel_scale": 0.2, "max_pixels": 4199}
    for given in ({"exposure": path}, {"addmask": {"regions": path}}):
        with pytest.raises(DataError, match=r"image\.fits.* the limit is 4.2e\+03"):
            Image(VALUES, **few, **given)
    image = Image(VALUES, **few, noise=Normal(sigma=path))
    with pytest.raises(DataError, match=r"sigma: .*image\.fits.* the limit is 4.2e\+03"):
        image.noise.sigma(image)


MEGA = 1 << 20


def bomb(path, rows, pack=gzip.open):
    """Write a compressed file that expands to many more zeros than it has bytes."""
    header = fits.PrimaryHDU(np.zeros((1, 2880), "u1")).header
    header["NAXIS2"] = rows
    with pack(path, "wb") as stream:
        stream.write(header.tostring().encode())
        for _ in range(rows // 1000):
            stream.write(bytes(2880 * 1000))
    return path


@contextlib.contextmanager
def zip_open(path, mode, method=zipfile.ZIP_DEFLATED):
    """Open the only file of an archive for writing."""
    with zipfile.ZipFile(path, mode[0], method) as archive, archive.open("image.fits", "w") as stream:
        yield stream


PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zip": zip_open}


def measure(code, *arguments):
    """Run code in a process of its own, and return by how much it raises the peak of its memory there, bytes."""
    head = """
        import resource, sys, warnings
        import numpy as np
        from astropy.io import fits
        from astropy.wcs import WCS
        import regions, reproject
        from socca.data import Image
        from socca.errors import DataError
        from socca.noise import Normal
        import socca.data.masks
        # What is imported late, and compressed tiles, once before.
        small = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((20, 20), 'f4'))])
        small.writeto(sys.argv[1] + ".small", overwrite=True)
        Image(sys.argv[1] + ".small", pixel_scale=1, center=(9, 9), csize=5)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    """
    tail = "print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))"
    program = textwrap.dedent(head) + textwrap.dedent(code) + tail
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("ending", PACKED)
def test_a_compressed_file_that_expands_without_an_end(tmp_path, ending):
    path = bomb(tmp_path / f"bomb.fits{ending}", 20000, PACKED[ending])
    assert path.stat().st_size < MEGA // 4
    with (
        pytest.raises(DataError, match=rf"bomb\.fits\{ending} expands to more than 0\.0336 GB: decompress it, or"),
        open_fits(path, "image", limit=32 * MEGA),
    ):
        pass
    with open_fits(path, "image", limit=60 * MEGA) as hdus:
        assert hdus[0].shape == (20000, 2880)


@pytest.mark.parametrize("ending", PACKED)
def test_the_headers_of_compressed_files_are_looked_at(tmp_path, ending):
    with PACKED[ending](tmp_path / "a.fits", "wb") as stream:
        header = fits.PrimaryHDU(np.zeros((1, 2880), "u1")).header.tostring()
        stream.write(header.replace(f"{2:>20}", f"{10**9:>20}", 1).encode())
    with pytest.raises(DataError, match=r"a\.fits: its header is damaged: NAXIS is 1000000000"):
        read_image(tmp_path / "a.fits")


def test_other_compressions_are_refused_by_name(tmp_path):
    content = written(tmp_path / "plain", "plain").read_bytes()
    path = tmp_path / "a.fits"
    path.write_bytes(bz2.compress(gzip.compress(content)))
    with pytest.raises(DataError, match=r"a\.fits is compressed twice: decompress it"):
        read_image(path)
    path.write_bytes(b"\x1f\x9d" + content)
    with pytest.raises(DataError, match=r"a\.fits: files that compress made \(\.Z\) are not read"):
        read_image(path)
    bomb(path, 1000, functools.partial(zip_open, method=zipfile.ZIP_BZIP2))
    with pytest.raises(DataError, match=r"a\.fits: its archive is compressed by another method than deflate"):
        read_image(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", content)
        archive.writestr("b", content)
    with pytest.raises(DataError, match=r"a\.fits: it is an archive of 2 files, and one is expected"):
        read_image(path)


def test_the_memory_of_cutouts(tmp_path):
    # 36 MB in the file, and 72 as doubles.
    plane = np.zeros((3000, 3000), "f4")
    plane[1480:1520, 1480:1520] = np.random.default_rng(1).normal(size=(40, 40))
    paths = [tmp_path / name for name in ("plain.fits", "tiles.fits", "packed.fits.gz", "bomb.fits.gz")]
    fits.PrimaryHDU(plane).writeto(paths[0])
    tiles = fits.CompImageHDU(plane, None, "", "GZIP_1", (250, 250), quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(paths[1])
    paths[2].write_bytes(gzip.compress(paths[0].read_bytes(), 1))
    bomb(paths[3], 60000)
    code = """
        for path in sys.argv[1:4]:
            image = Image(
                path, pixel_scale=0.2, center=(1499.5, 1499.5), csize=40, exposure=None, noise=Normal(sigma=path)
            )
            assert image.data.std() > 0.9
            image.addmask(path, good="nonzero")
            assert (image.read(path, "sigma") == image.hdu.data).all()
        try:
            Image(sys.argv[4], pixel_scale=0.2)
            raise SystemExit("it was read")
        except DataError:
            pass
    """
    # What is decompressed is in memory up to 32 MiB, twice for a moment.
    assert measure(code, *map(str, paths)) < 72 * MEGA
