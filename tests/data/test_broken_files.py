"""Files that cannot be used."""

import gc
import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from socca.errors import DataError
from tests.data.small_image import VALUES, read


def refuse(path):
    """Read a broken file; that it is closed again is another test's matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
            read(path)
        gc.collect()


def write_image(path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((60, 60)))]).writeto(path)
    return path.read_bytes()


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1, 0.0])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "broken.fits"
    content = write_image(path)
    path.write_bytes(content[: int(len(content) * keep)])
    refuse(path)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_truncated_gzip(tmp_path, keep):
    path = tmp_path / "broken.fits.gz"
    content = gzip.compress(write_image(tmp_path / "plain.fits"))
    path.write_bytes(content[: int(len(content) * keep)])
    refuse(path)


@pytest.mark.parametrize("zeros", [0.3, 0.5, 0.8])
def test_corrupt_gzip(tmp_path, zeros):
    path = tmp_path / "broken.fits.gz"
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=(60, 60))).writeto(tmp_path / "plain.fits")
    content = bytearray(gzip.compress((tmp_path / "plain.fits").read_bytes()))
    at = int(len(content) * zeros)
    content[at : at + 50] = bytes(50)
    path.write_bytes(content)
    refuse(path)


@pytest.mark.parametrize("at", [5760 + 2880 + 40, -3000])
def test_corrupt_tiles(tmp_path, at):
    path = tmp_path / "broken.fits"
    values = np.random.default_rng(1).integers(0, 1000, (60, 60)).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(path)
    content = bytearray(path.read_bytes())
    content[at : at + 400] = np.random.default_rng(2).bytes(400)
    path.write_bytes(content)
    refuse(path)


def test_broken_files_are_closed(tmp_path):
    path = tmp_path / "broken.fits"
    content = write_image(path)
    path.write_bytes(content[: len(content) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(DataError) as kept:
            read(path)
        # While the error is kept, as a table of failed targets keeps it, the file must not stay open.
        still = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.resolve() == path]
        del kept
        gc.collect()
    assert still == []


def test_truncated_tile_compressed(tmp_path):
    path = tmp_path / "broken.fits"
    values = np.random.default_rng(1).integers(0, 1000, (60, 60)).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])
    refuse(path)


def test_other_files(tmp_path):
    for name, content in [("text.fits", b"not FITS at all"), ("noise.fits", bytes(range(256)) * 30)]:
        (tmp_path / name).write_bytes(content)
        refuse(tmp_path / name)
    refuse(tmp_path / "missing.fits")
    with pytest.raises(DataError, match=tmp_path.name):
        read(tmp_path)


def test_table_only_file(tmp_path):
    path = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])]).writeto(path)
    with pytest.raises(DataError, match=r"table\.fits"):
        read(path)


def test_psf_and_mask_files_are_named(tmp_path):
    image = read(VALUES)
    with pytest.raises(DataError, match=r"psf.*nowhere\.fits"):
        image.addpsf(tmp_path / "nowhere.fits")
    with pytest.raises(DataError, match=r"mask.*nowhere\.fits"):
        image.addmask(tmp_path / "nowhere.fits")
