"""FITS files in their five roles to a target, and what is made of them."""

import gzip
import io

import numpy as np
from astropy.io import fits

from socca.survey.config.build_image import build_image
from socca.survey.config.build_model import build_problem
from socca.survey.config.schema import validate_config
from socca.survey.targets import Target
from tests.fuzz.mutations import mutated_bytes, mutated_cards

ROLES = ("image", "sigma", "mask", "segmentation", "psf")
SHAPE = (15, 16)
CONFIG = {
    "survey": "fuzz",
    "targets": "targets.csv",
    "image": {"pixel_scale": 0.2},
    "models": {
        "m": {
            "components": {
                "blob": {
                    "type": "Gaussian",
                    "position": {"within": "1 arcsec"},
                    "rs": {"loguniform": ["0.2 arcsec", "2 arcsec"]},
                    "Is": {"uniform": [0, 100]},
                },
                "sky": {"type": "Background", "a0": {"normal": [0, 1]}},
            }
        }
    },
}


def planes():
    """Return an array for each role."""
    rng = np.random.default_rng(3)
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = np.exp(-0.5 * ((row - 7) ** 2 + (col - 7.5) ** 2) / 4)
    segments = np.where(light > 0.3, 4, 0)
    segments[0, :3] = 2
    return {
        "image": (30 * light + rng.normal(size=SHAPE)).astype(np.float32),
        "sigma": rng.uniform(0.9, 1.1, SHAPE),
        "mask": (rng.random(SHAPE) < 0.05).astype(np.uint8),
        "segmentation": segments.astype(np.int16),
        "psf": light[3:12, 3:13].copy(),
    }


def packed(plane, rng):
    """Return an array as a FITS file: plain, with a WCS, scaled, in an extension, tiled or gzipped."""
    header = fits.Header()
    if rng.random() < 0.5:
        header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
        header.update({"CRPIX1": 8.0, "CRPIX2": 8.0, "CD1_1": -5.5e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 5.5e-5})
    how = rng.choice(["plain", "plain", "extension", "tiled", "gzipped", "scaled"])
    if how in ("plain", "gzipped"):
        hdus = fits.HDUList([fits.PrimaryHDU(plane, header)])
    elif how == "extension":
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane, header, name="SCI"), fits.ImageHDU(plane)])
    elif how == "tiled":
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(plane, header)])
    else:
        hdu = fits.PrimaryHDU(np.round(plane).astype(np.int16), header)
        hdu.header["BLANK"] = -32768
        hdus = fits.HDUList([hdu])
    stream = io.BytesIO()
    hdus.writeto(stream)
    return gzip.compress(stream.getvalue()) if how == "gzipped" else stream.getvalue()


def odd(plane, rng):
    """Return an array of another shape or type, or of odd numbers."""
    how = rng.integers(14)
    if how < 5:
        value = [np.nan, np.inf, -1.0, 0.0, 1e300][how]
        return np.where(rng.random(plane.shape) < rng.choice([0.1, 1.0]), value, plane)
    return [
        *(plane[:1, :1], plane[:, :1], plane[None], np.stack([plane, plane]), plane.ravel(), plane[:0]),
        *(np.tile(plane, (3, 3)), plane.T, plane.astype(rng.choice(["u1", "i2", "i4", "i8", "f4", ">f8"]))),
    ][how - 5]


class FitsRole:
    """One of the files of a target is mutated; the others are whole."""

    def __init__(self, role):
        self.role = role

    def prepare(self, folder):
        self.folder, self.planes = folder, planes()
        self.config = validate_config(CONFIG, "fuzz")
        self.files = {role: folder / f"{role}.fits" for role in ROLES}
        for role, plane in self.planes.items():
            fits.writeto(self.files[role], plane, overwrite=True)

    def __call__(self, rng):
        plane = self.planes[self.role]
        how = rng.choice(["bytes", "cards", "odd"])
        if how == "odd":
            with np.errstate(all="ignore"):
                plane = odd(plane, rng)
        content = packed(plane, rng) if how != "odd" else written(plane)
        if how != "odd":
            content = {"bytes": mutated_bytes, "cards": mutated_cards}[how](content, rng)
        path = self.folder / f"mutated_{self.role}.fits"
        path.write_bytes(content)
        files = {"image": self.files["image"], **({} if rng.random() < 0.5 else self.files), self.role: path}
        target = Target("t", files, 4 if "segmentation" in files else None)
        image = build_image(target, self.config)
        image.noise.prepare(image)
        used = np.asarray(image.mask) == 1
        assert image.data.ndim == 2
        assert used.shape == image.data.shape
        assert used.any()
        assert np.isfinite(image.data[used]).all()
        problem, _ = build_problem("m", target, self.config, image)
        assert problem.ndim == 5


def written(plane):
    """Return an array as a FITS file, of whatever shape it is."""
    stream = io.BytesIO()
    fits.PrimaryHDU(plane).writeto(stream)
    return stream.getvalue()
