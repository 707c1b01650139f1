"""Demo survey: simulated galaxies with known parameters.

Nothing of socca's forward model is used, so that a fit of these images tests it: `socca.simulation.light` draws the
sources. The PSF that is written is what a star shows: it has the pixel in it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError
from socca.simulation.light import PIXEL, Psf, Source, render, sersic_flux
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["IMAGES_VERSION", "RECIPES", "Psf", "Scene", "Source", "plan", "render", "scene", "simulate"]

#: The version of socca since which the images are the same. Give it the next version whenever they change: Snakemake
#: then makes them again.
IMAGES_VERSION = "0.2.0"
#: Scatter of catalogue positions, degrees.
CATALOGUE_ERROR = 0.1 / 3600
#: Rows and columns of images with and without a WCS.
SKY_SHAPE, STAMP_SHAPE = (72, 72), (71, 75)
#: Of every twelve targets: which has which peculiarity.
CYCLE = 12
EVEN_PSF, BIG_ENDIAN, COMPRESSED, INTEGER, HAS_NAN = 4, 3, 6, 8, 9
#: A neighbour's segment reaches to where its light falls to this many sigma of the sky.
SEGMENT_EDGE = 0.02
#: RA and Dec of the first sky targets: on both sides of RA = 0, far north, far south.
FIELDS = {0: (0.0003, -1.2), 2: (214.87, 60.4), 4: (61.3, -45.2)}
UNITS = {"theta": "rad", "e": "", "ns": "", **dict.fromkeys(("Ie", "Is", "Ic", "a0"), "image")}


def _sersic(
    rng: np.random.Generator, at: dict[str, float], flux: float, ns: tuple, re: tuple, e: tuple, tied: bool = False
) -> Source:
    """Draw a Sersic profile of a given flux; ranges are (low, high), radii in pixels."""
    values = {**at, "theta": rng.uniform(0, math.pi), "e": rng.uniform(*e), "re": rng.uniform(*re) * PIXEL}
    values["ns"] = rng.uniform(*ns)
    values["Ie"] = flux / sersic_flux(values["re"], values["e"], values["ns"])
    return Source("Sersic", values, tied)


def _draw_sersic(rng: np.random.Generator, at: dict[str, float]) -> dict[str, Source]:
    # The wings of a steep profile reach far: it must be smaller, or the frame would show no sky.
    ns = rng.uniform(1, 4.5)
    return {"galaxy": _sersic(rng, at, 1.0, ns=(ns, ns), re=(4, 9 - 0.9 * (ns - 1)), e=(0.15, 0.6))}


def _draw_sersic_point(rng: np.random.Generator, at: dict[str, float]) -> dict[str, Source]:
    ns, point = rng.uniform(0.8, 2), rng.uniform(0.05, 0.3)
    galaxy = _sersic(rng, at, 1.0, ns=(ns, ns), re=(6, 10 - 2 * (ns - 0.8)), e=(0.15, 0.6))
    return {"galaxy": galaxy, "nucleus": Source("Point", {**at, "Ic": point}, tied=True)}


def _draw_bulge_disk(rng: np.random.Generator, at: dict[str, float]) -> dict[str, Source]:
    bulge = rng.uniform(0.25, 0.5)
    disk = {**at, "theta": rng.uniform(0, math.pi), "e": rng.uniform(0.2, 0.5), "rs": rng.uniform(6, 9) * PIXEL}
    disk["Is"] = (1 - bulge) / (2 * math.pi * (disk["rs"] / PIXEL) ** 2 * (1 - disk["e"]))
    sersic = _sersic(rng, at, bulge, ns=(1.5, 3), re=(2.5, 4), e=(0.15, 0.35), tied=True)
    return {"bulge": sersic, "disk": Source("Exponential", disk)}


#: Name of the model that fits it -> draws the galaxy's components from a random generator and the position
#: ``dict(xc=, yc=)``, with a total flux of 1. Each image also has a constant ``sky``.
RECIPES: dict[str, Callable[[np.random.Generator, dict[str, float]], dict[str, Source]]] = {
    "sersic": _draw_sersic,
    "sersic_point": _draw_sersic_point,
    "bulge_disk": _draw_bulge_disk,
}


@dataclass(frozen=True)
class Scene:
    """A target as it is, before noise and defects. The noise of the sky is 1."""

    sources: dict[str, Source]  #: the target's components and ``sky``
    psf: Psf
    wcs: WCS | None  #: None in the pixel frame
    light: np.ndarray  #: the target, convolved
    neighbours: list[np.ndarray]  #: the light of each of them
    sigma: np.ndarray  #: standard deviation of the noise

    @property
    def model(self) -> np.ndarray:
        """What a perfect fit finds: the target and its sky."""
        return self.light + self.sources["sky"].values["a0"]


def _position(index: int) -> tuple[float, float]:
    """Return RA and Dec of a target in the catalogue, NaN in the pixel frame."""
    if index % 2:
        return math.nan, math.nan
    return FIELDS.get(index, (round(137.508 * index % 360, 6), round((23.7 * index) % 100 - 50, 6)))


def _wcs(index: int) -> WCS | None:
    """Return the WCS of a target: a rotated tile whose tangent point lies elsewhere, as survey images have it."""
    if index % 2:
        return None
    from astropy.wcs import WCS

    (ra, dec), angle = _position(index), math.radians(17 + 53 * index)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.radesys = ["RA---TAN", "DEC--TAN"], ["deg", "deg"], "ICRS"
    wcs.wcs.crval = [(ra - 0.25) % 360, dec + 0.2]
    wcs.wcs.cd = PIXEL * np.array([[-math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    # Put the catalogue position near the middle of the frame.
    wanted = [(SKY_SHAPE[1] - 1) / 2 + 0.3 + index % 5 - 2, (SKY_SHAPE[0] - 1) / 2 - 0.4 + index % 3]
    wcs.wcs.crpix = wanted - wcs.all_world2pix([[ra, dec]], 1)[0] + 1
    return wcs


def plan(number: int, folder: Path) -> list[dict[str, Any]]:
    """Say which targets `simulate` makes, without drawing them.

    Parameters
    ----------
    number : int
        How many.
    folder : Path
        Where the table of targets is to lie. Paths in it are relative to this folder.

    Returns
    -------
    list of dict
        The rows of ``targets.csv``. In the pixel frame `ra` and `dec` are NaN; with a WCS, `pixel_scale` (arcsec) is.
    """
    if number < 1:
        raise ConfigError(f"simulate: number must be at least 1, got {number}")
    rows, models = [], list(RECIPES)
    for index in range(number):
        row: dict[str, Any] = {"target": f"sim_{index:03d}"}
        for what in ("image", "psf", "sigma", "mask", "segmentation"):
            row[what] = f"{row['target']}_{what}.fits"
        row |= {"segment": 1, "models": models[index % len(models)]}
        row["ra"], row["dec"] = _position(index)
        row["pixel_scale"] = 0.2 if index % 2 else math.nan
        rows.append(row)
    return rows


def scene(index: int, rng: np.random.Generator) -> Scene:
    """Draw a target: its number decides recipe, frame and size of the PSF, ``default_rng([seed, index])`` the rest."""
    wcs, size = _wcs(index), 24 if index % CYCLE == EVEN_PSF else 25
    shape = STAMP_SHAPE if wcs is None else SKY_SHAPE
    psf = Psf(rng.uniform(3.5, 4), rng.uniform(0.02, 0.1), rng.uniform(0, math.pi), size)
    if wcs is None:
        at = dict(zip(("xc", "yc"), rng.uniform(-1.5, 1.5, 2) * PIXEL, strict=True))
    else:
        ra, dec = _position(index)
        error = rng.normal(0, CATALOGUE_ERROR, 2)
        at = {"xc": ra - error[0] / math.cos(math.radians(dec)), "yc": dec - error[1]}
    drawn = list(RECIPES.values())[index % len(RECIPES)](rng, at)
    light = np.sum([render(source, shape, wcs, psf) for source in drawn.values()], axis=0)
    # The peak that has the wanted signal-to-noise ratio: peak = ratio * sqrt(1 + peak / gain).
    gain, ratio = rng.uniform(40, 80), rng.uniform(80, 150)
    scale = (ratio**2 / gain + math.sqrt(ratio**4 / gain**2 + 4 * ratio**2)) / 2 / light.max()
    sources = {
        name: Source(s.kind, {k: v * scale if UNITS.get(k) == "image" else v for k, v in s.values.items()}, s.tied)
        for name, s in drawn.items()
    }
    sources["sky"] = Source("Background", {"a0": rng.normal(0, 0.3)})
    light = light * scale
    neighbours = _neighbours(rng, shape, psf)
    return Scene(sources, psf, wcs, light, neighbours, np.sqrt(1 + (light + sum(neighbours)) / gain))


def _neighbours(rng: np.random.Generator, shape: tuple[int, int], psf: Psf) -> list[np.ndarray]:
    """Draw one or two compact galaxies near the edge of the frame; positions need no WCS."""
    images, first = [], rng.uniform(0, 2 * math.pi)
    for k in range(rng.integers(1, 3)):
        angle, reach = first + k * rng.uniform(2, 4), np.array(shape) / 2 - 6
        y, x = np.clip(rng.uniform(27, 34) * np.array([math.sin(angle), math.cos(angle)]), -reach, reach) * PIXEL
        source = _sersic(rng, {"xc": x, "yc": y}, 1.0, ns=(0.6, 1.2), re=(1, 2), e=(0.1, 0.5))
        image = np.clip(render(source, shape, None, psf), 0, None)
        images.append(image / image.max() * rng.uniform(15, 40))
    return images


def _defects(rng: np.random.Generator, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image with bad pixels and cosmic rays, and the mask of them (1 = bad)."""
    ny, nx = image.shape
    mask = np.zeros(image.shape, dtype=np.uint8)
    column = rng.choice([k for k in range(nx) if abs(k - nx // 2) > 5])
    mask[rng.integers(0, ny // 2) :, column] = 1
    mask[rng.integers(0, ny, 6), rng.integers(0, nx, 6)] = 1
    for _ in range(3):
        start, angle = rng.uniform(0.2, 0.8, 2) * image.shape, rng.uniform(0, 2 * math.pi)
        steps = np.arange(0, rng.uniform(4, 12), 0.5)
        mask[tuple(np.round(start[:, None] + np.outer([math.sin(angle), math.cos(angle)], steps)).astype(int))] = 1
    mask[ny // 2 - 4 : ny // 2 + 5, nx // 2 - 4 : nx // 2 + 5] = 0
    return np.where(mask > 0, rng.uniform(-2000, 5000, image.shape), image), mask


def _image_hdu(image: np.ndarray, wcs: WCS | None, kind: int) -> Any:
    """Store an image in one of the ways in which surveys do."""
    from astropy.io import fits

    header = fits.Header() if wcs is None else wcs.to_header()
    for card in list(header):  # astropy writes PC and CDELT (of 1); surveys write CD
        if card.startswith("PC"):
            header.rename_keyword(card, card.replace("PC", "CD"))
        elif card.startswith("CDELT"):
            del header[card]
    if kind == COMPRESSED:
        return fits.CompImageHDU(image.astype(np.float32), header, compression_type="GZIP_2", quantize_level=0)
    hdu = fits.PrimaryHDU(image.astype(">f4") if kind == BIG_ENDIAN else image, header)
    if kind == INTEGER:
        hdu.scale("int32", bscale=1e-5, bzero=0.0)
    return hdu


def simulate(number: int, folder: Path, seed: int) -> None:
    """Write a survey: FITS files, ``targets.csv`` and ``truth.ecsv``.

    Parameters
    ----------
    number : int
        How many targets. A target does not depend on how many others there are.
    folder : Path
        Where to; made if missing.
    seed : int
        Seed of all randomness, not negative.
    """
    from astropy.io import fits
    from astropy.table import Table

    if seed < 0:
        raise ConfigError(f"simulate: seed must not be negative, got {seed}")
    folder = Path(folder)
    rows = plan(number, folder)
    truth = []
    for index, row in enumerate(rows):
        rng = np.random.default_rng([seed, index])
        found = scene(index, rng)
        image = found.model + sum(found.neighbours) + found.sigma * rng.standard_normal(found.sigma.shape)
        image, mask = _defects(rng, image)
        if index % CYCLE == HAS_NAN:
            image[rng.integers(0, 12, 5), rng.integers(0, 12, 5)] = np.nan
        segments = (found.light > 1).astype(np.int32)
        for other, light in enumerate(found.neighbours, start=2):
            segments[light > SEGMENT_EDGE] = other
        planes = {
            "image": _image_hdu(image, found.wcs, index % CYCLE),
            "psf": fits.PrimaryHDU(found.psf.stamp() * rng.uniform(0.7, 1.5)),
            "sigma": fits.PrimaryHDU(found.sigma),
            "mask": fits.PrimaryHDU(mask),
            "segmentation": fits.PrimaryHDU(segments),
        }
        for what, hdu in planes.items():
            with atomic_path(folder / row[what]) as temporary:
                hdu.writeto(temporary, overwrite=True)
        truth += [
            (row["target"], row["models"], f"{name}.{p}", source.values[p], UNITS.get(p, "deg"))
            for name, source in found.sources.items()
            for p in source.values
            if not (source.tied and p in ("xc", "yc"))
        ]
    with atomic_path(folder / "truth.ecsv") as temporary:
        names = ("target", "model", "parameter", "value", "unit")
        Table(rows=truth, names=names).write(temporary, format="ascii.ecsv", overwrite=True)
    # Last: who finds the table finds all the rest.
    with atomic_path(folder / "targets.csv") as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
