"""From a target and the config to the objects that are fitted."""

from __future__ import annotations

import math
import re
from typing import Any

from socca.config import Config, PositionConfig
from socca.data import Image, celestial_wcs, read_image
from socca.errors import ConfigError, DataError, ModelError, nearest
from socca.fits import read_plane
from socca.models import REGISTRY, Model
from socca.noise import Normal
from socca.parameters import compile_model
from socca.priors import uniform
from socca.problem import Problem
from socca.targets import Angle, Target
from socca.values import Context, parse_value, scalar


def build_image(target: Target, config: Config) -> Image:
    """Read the image of a target, with its PSF, masks and noise.

    Parameters
    ----------
    target : Target
        The row of the table.
    config : Config
        The config, the target's overrides merged in.

    Returns
    -------
    Image
        Ready to be fitted.

    Raises
    ------
    DataError, ConfigError
        If a file cannot be read or does not fit the others.
    """
    from astropy.io import fits

    settings = config.image
    data, header = read_image(target.files["image"], settings.hdu)
    if settings.frame == "pixel":
        header = fits.Header([card for card in header.cards if not card.keyword.startswith(("CTYPE", "WCSAXES"))])
    has_wcs = celestial_wcs(header) is not None
    if settings.frame == "sky" and not has_wcs:
        raise DataError(f"image: {target.files['image']} has no celestial WCS, and the config wants the sky frame")
    scale = None
    if not has_wcs:
        if settings.pixel_scale is None:
            raise ConfigError("image.pixel_scale is needed: the image has no celestial WCS")
        node, context = scalar(settings.pixel_scale), Context(target.columns, None)
        degrees = context.number(node, "deg")
        # A plain number is arcsec, as for Image; with a unit it is converted.
        has_unit = any(part.kind == "unit" for part in node.walk()) or any(
            isinstance(target.columns[name], Angle) for name in node.columns()
        )
        scale = degrees * 3600 if has_unit else degrees
    image = Image(fits.ImageHDU(data, header), noise=_noise(target, config), pixel_scale=scale)
    if "mask" in target.files:
        plane = read_plane(target.files["mask"], "mask", settings.mask.hdu)
        image.addmask(plane, good=settings.mask.good)
    if "segmentation" in target.files and target.segment is not None:
        image.keep_segment(target.files["segmentation"], target.segment)
    if "psf" in target.files:
        psf = settings.psf
        image.addpsf(target.files["psf"], normalize=psf.normalize, idx=psf.hdu, center=psf.center)
    image.check_mask()
    return image


def _noise(target: Target, config: Config) -> Normal:
    if target.noise is not None:
        form, path = target.noise
        return Normal(**{form: read_plane(path, form, config.noise.hdu)})
    if config.noise.level is not None:
        return Normal(sigma=Context(target.columns, None).number(scalar(config.noise.level), "image"))
    return Normal()


def build_model(name: str, target: Target, config: Config, image: Image) -> Model:
    """Build a model of the config for one target.

    Parameters
    ----------
    name : str
        Name of the model.
    target : Target
        Its columns are what ``$name`` refers to.
    config : Config
        The config, the target's overrides merged in.
    image : Image
        Gives the frame.

    Returns
    -------
    Model
        With the user's names of its components as labels.

    Raises
    ------
    ConfigError
        If a value cannot be understood; the message names component and parameter.
    """
    components = config.models[name].components
    context = Context(target.columns, image.frame.pixel_scale)
    ids = {label: f"comp_{k:02d}" for k, label in enumerate(components)}

    def full_name(user: str) -> str:
        label, _, parameter = user.rpartition(".")
        if label not in ids:
            raise ConfigError(f"{user!r}: no component {label!r}{nearest(label, ids)}")
        known = REGISTRY[components[label].type].fields
        if parameter not in known:
            raise ConfigError(f"{user!r}: {label} has no parameter {parameter!r}{nearest(parameter, known)}")
        return f"{ids[label]}_{parameter}"

    model = Model()
    for label, settings in components.items():
        component = REGISTRY[settings.type]()
        for parameter, field in component.fields.items():
            raw = getattr(settings, parameter)
            if raw is None:
                continue
            try:
                setattr(component, parameter, context.resolve(parse_value(raw), field.unit, full_name))
            except (ConfigError, ModelError) as error:
                raise ConfigError(f"models.{name}.{label}.{parameter}: {error}") from error
        position = getattr(settings, "position", None)
        if position is not None:
            _place(component, settings, context, image, full_name, f"models.{name}.{label}")
        unset = [key for key in component.fields if getattr(component, key) is None]
        if unset:
            hint = " (or a position)" if "xc" in unset or "yc" in unset else ""
            raise ConfigError(f"models.{name}.{label}: no value for {', '.join(unset)}{hint}")
        model.addcomponent(component, positive=settings.positive, label=label)
    try:
        compile_model(model.components)
    except ModelError as error:
        message = str(error)
        for parameter, shown in model.labels.items():
            message = re.sub(rf"\b{parameter}\b", shown, message)
        raise ConfigError(f"models.{name}: {message}") from error
    return model


def _place(component: Any, settings: Any, context: Context, image: Image, full_name: Any, where: str) -> None:
    """Set xc and yc from the config's position."""
    position = settings.position
    if settings.xc is not None or settings.yc is not None:
        raise ConfigError(f"{where}: give position, or xc and yc, not both")
    try:
        if not isinstance(position, PositionConfig):
            for key in ("xc", "yc"):
                setattr(component, key, context.resolve(parse_value(f"{position}.{key}"), "deg", full_name))
            return
        center = image.frame.center
        if position.center is not None:
            center = tuple(context.number(scalar(part), "deg") for part in position.center)  # type: ignore[assignment]
        half = context.number(scalar(position.within), "deg")
        if not half > 0:
            raise ConfigError(f"within must be positive, got {half}")
        # As far on the sky to the east as to the north, at every declination.
        stretch = 1 / math.cos(math.radians(center[1])) if image.frame.on_sky else 1.0
        wide = min(half * stretch, 180.0)  # near a pole: all around it, and no more than once
        component.xc = uniform(center[0] - wide, center[0] + wide)
        component.yc = uniform(center[1] - half, center[1] + half)
    except ConfigError as error:
        raise ConfigError(f"{where}.position: {error}") from error


def build_problem(name: str, target: Target, config: Config, image: Image) -> tuple[Problem, Model]:
    """Compile a model of the config on a target's image.

    Parameters
    ----------
    name : str
        Name of the model.
    target : Target
        The target.
    config : Config
        The config, the target's overrides merged in.
    image : Image
        From `build_image`.

    Returns
    -------
    problem : Problem
        The compiled problem.
    model : Model
        What it was compiled from.
    """
    model = build_model(name, target, config, image)
    return Problem(image, model), model
