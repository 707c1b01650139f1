"""Images from a target and the config."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from socca.data.cutout import cutout_part, part_like
from socca.data.fits import PartOf, Plane, read_cube, read_image, read_plane
from socca.data.fluxes import is_named, zero_point_of
from socca.data.frames import Frame
from socca.data.image import Image
from socca.data.masks import mask_part, read_mask
from socca.data.region_files import RegionFile
from socca.data.wcs import celestial_wcs, without_wcs
from socca.errors import ConfigError, DataError, ModelError, nearest
from socca.noise import REGISTRY as NOISE_REGISTRY
from socca.noise import NoiseModel
from socca.parameters.expressions import Node
from socca.survey.config.schema import Config
from socca.survey.config.sections import CutoutConfig
from socca.survey.config.values import Context, parse_value, scalar
from socca.survey.table_file import Angle
from socca.survey.targets import Target

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger(__name__)

#: Sizes of a pixel that may be given without a unit, arcsec. Below is what degrees would be (0.2 arcsec are 5.6e-5),
#: above what milliarcseconds would be.
PLAIN_PIXELS = (0.005, 360.0)


def read_file(kind: str, target: Target, config: Config, image: Plane | RegionFile | None = None) -> Plane | RegionFile:
    """Read one of a target's files, opening it once. Of an image, the part is read that is fitted.

    Parameters
    ----------
    kind : str
        What it is to the target: ``image``, ``psf``, ``mask``, ``regions``, ….
    target : Target
        The row of the table.
    config : Config
        Says which HDU.
    image : Plane, optional
        The target's image, read before: of maps and masks of its whole, only the same part is read.

    Returns
    -------
    Plane or RegionFile
        What is in it.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path, settings = target.files[kind], config.image
    if kind == "regions":
        return RegionFile.read(path)
    is_noise = target.noise is not None and kind == target.noise[0]
    hdu = target.hdus.get(kind, config.noise.hdu if is_noise else settings.hdu_of(kind))
    part = None
    if kind == "image":
        part = _cutout_part(target, config)
    elif kind != "psf" and isinstance(image, Plane) and image.window is not None and image.whole is not None:
        part = part_like(image.whole, image.window)
        if kind == "mask":
            part = mask_part(_wcs(image, config), image.whole, image.window)
    if kind == "mask":
        return read_mask(path, hdu, part=part, max_pixels=settings.max_pixels)
    return read_image(path, hdu, kind, part=part, max_pixels=settings.max_pixels)


def _wcs(image: Plane, config: Config) -> WCS | None:
    """Return the WCS of an image; that of one in the pixel frame is not looked at."""
    if config.image.frame == "pixel":
        return None
    return celestial_wcs(image.header, image.called("image"), image.tables, warn=False)


def build_image(target: Target, config: Config, given: Mapping[str, Plane | RegionFile] | None = None) -> Image:
    """Read the image of a target, with its PSF, masks and noise.

    Parameters
    ----------
    target : Target
        The row of the table.
    config : Config
        The config, the target's overrides merged in.
    given : mapping, optional
        Of its files those that were read already, by `read_file`. The others are read here, each once.

    Returns
    -------
    Image
        Ready to be fitted.

    Raises
    ------
    DataError, ConfigError
        If a file cannot be read or does not fit the others.
    """
    plane: Any = (given or {}).get("image") or read_file("image", target, config)

    def read(kind: str) -> Any:
        found = (given or {}).get(kind)
        return read_file(kind, target, config, plane) if found is None else found

    settings = config.image
    if settings.frame == "pixel":
        plane = replace(plane, header=without_wcs(plane.header), tables=None)
    else:
        plane = replace(plane)  # whose WCS is read once, and what is wrong in it told of each target
    scale = _pixel_scale(plane.wcs, target, config)
    noise = _noise(target, config, read)
    response, exposure = (read(kind) if kind in target.files else None for kind in ("response", "exposure"))
    image = Image(
        plane,
        response,
        exposure,
        noise,
        subgrid=settings.subgrid,
        pixel_scale=scale,
        max_pixels=settings.max_pixels,
    )
    image.zero_point = _zero_point(target, settings.zero_point, image)
    if "mask" in target.files:
        bits = settings.mask.bits
        image.addmask(read("mask"), good=settings.mask.good if bits is None else None, bits=bits)
    if "regions" in target.files:
        regions = read("regions")
        if not regions.recognised:
            raise DataError(f"regions: {regions.path} is no DS9 or CRTF region file; FITS masks go in the column mask")
        image.addmask(regions)
    if "segmentation" in target.files:
        if target.segment is None:
            raise ConfigError("segment: the target has no value in this column")
        image.keep_segment(read("segmentation"), target.segment)
    if "psf" in target.files:
        psf = settings.psf
        image.addpsf(
            read("psf"),
            normalize=psf.normalize,
            center=psf.center,
            oversample=psf.oversample,
            includes_pixel=psf.includes_pixel,
        )
    image.check_mask()
    return image


def _zero_point(target: Target, given: Any, image: Image) -> float | None:
    """Return the zero point of a target's image, or None with a warning: no fit depends on it."""
    try:
        number = (
            given
            if given is None or is_named(given)
            else _number(Context(target.columns, None), given, "", "image.zero_point")
        )
        return zero_point_of(number, image.hdu.header, image.frame.pixel_scale)
    except (ConfigError, DataError) as error:
        log.warning("%s: there are no magnitudes: %s", target.name, error)
        return None


def _plain_arcsec(number: float) -> float:
    """Return a size of a pixel that has no unit, arcsec; `ConfigError` if it cannot be meant so."""
    if not PLAIN_PIXELS[0] <= number <= PLAIN_PIXELS[1]:
        raise ConfigError(
            f"image.pixel_scale: {number:g} has no unit, and is taken for arcsec. Write the unit, such as '0.2 arcsec'"
        )
    return number


def _pixel_scale(wcs: WCS | None, target: Target, config: Config) -> float | None:
    """Return the size of a target's pixels in arcsec; None if a WCS gives it."""
    settings = config.image
    if wcs is not None:
        return None
    if settings.frame == "sky":
        raise DataError(f"image: {target.files['image']} has no celestial WCS, and the config wants the sky frame")
    if settings.pixel_scale is None:
        raise ConfigError("image.pixel_scale is needed: the image has no celestial WCS")
    degrees = _number(Context(target.columns, None), settings.pixel_scale, "deg", "image.pixel_scale")
    # A plain number is arcsec, as for Image; with a unit it is converted.
    return degrees * 3600 if _has_unit(scalar(settings.pixel_scale), target) else _plain_arcsec(degrees)


def _cutout_part(target: Target, config: Config) -> PartOf | None:
    """Return what chooses the part of an image that the config asks for; None if that is all."""
    settings = config.image.cutout
    if settings is None:
        return None
    return cutout_part(
        lambda frame: _cutout(frame, settings, target),
        lambda wcs: _pixel_scale(wcs, target, config),
        sky=config.image.frame != "pixel",
    )


def _cutout(frame: Frame, settings: CutoutConfig, target: Target) -> tuple[tuple[float, float] | None, int]:
    """Return the centre (x, y) and the size that the config asks for, in pixels."""
    from astropy.wcs import NoConvergence

    context, center, where = Context(target.columns, frame.pixel_scale), None, "center"
    try:
        if settings.center is not None:
            xc, yc = (context.number(scalar(part), "deg") for part in settings.center)
            try:
                with warnings.catch_warnings():
                    # NaN, on the other side of the sky, is refused below.
                    warnings.simplefilter("ignore", RuntimeWarning)
                    row, col = frame.to_pixel(xc, yc)
            except NoConvergence:
                raise ConfigError(f"({xc:g}, {yc:g}) lies too far off the image") from None
            center = (float(col), float(row))
        where, size = "size", scalar(settings.size)
        side = context.number(size, "deg") / frame.pixel_scale
        if not _has_unit(size, target):
            raise ConfigError("it needs a unit, such as '20 arcsec' or '64 pix'")
    except ConfigError as error:
        raise ConfigError(f"image.cutout.{where}: {error}") from error
    return center, round(side)


def _number(context: Context, raw: Any, unit: str, where: str) -> float:
    try:
        return context.number(scalar(raw), unit)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _has_unit(node: Node, target: Target) -> bool:
    return any(part.kind == "unit" for part in node.walk()) or any(
        isinstance(target.columns.get(name), Angle) for name in node.columns()
    )


def _noise(target: Target, config: Config, read: Callable[[str], Any]) -> NoiseModel:
    settings, context = config.noise, Context(target.columns, None)
    kind = NOISE_REGISTRY[settings.kind]
    given: dict[str, Any] = {}
    if target.noise is not None and "level" in kind.takes:
        form, _ = target.noise
        given[form] = read(form).data
    elif settings.level is not None:
        given["sigma"] = _number(context, settings.level, "image", "noise.level")
    elif target.noise is not None:
        log.info("%s: %s noise does not use %s", target.name, settings.kind, target.noise[1])
    folder = config.table.parent
    for key, path in settings.files(folder).items():
        if key == "cube":
            given["cube"] = read_cube(path, settings.hdu_of(key, folder))
        else:
            given[kind.takes[key]] = read_plane(path, key, settings.hdu_of(key, folder), max_pixels=None)
    if settings.ftype is not None:
        given["ftype"] = settings.ftype
    noise = kind(**given)

    def full_name(user: str) -> str:
        label, _, parameter = user.rpartition(".")
        if label != "noise" or parameter not in kind.fields:
            known = [f"noise.{name}" for name in kind.fields]
            raise ConfigError(f"{user!r} is no parameter of the noise{nearest(user, known)}")
        return f"noise_{parameter}"

    for name, raw in settings.parameters.items():
        try:
            setattr(noise, name, context.resolve(parse_value(raw), kind.fields[name].unit, full_name))
        except (ConfigError, ModelError) as error:
            raise ConfigError(f"noise.parameters.{name}: {error}") from error
    return noise
