"""The config of a survey: one definition, from which the errors, the JSON schema and the reference page are made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from socca import noise as _noise
from socca.config_components import ModelConfig, Name, ScalarField, ValueField
from socca.config_components import Strict as _Strict
from socca.config_errors import explain
from socca.errors import ConfigError, nearest
from socca.values import is_prior


def _optional(section: type[BaseModel], description: str) -> Any:
    """Declare a section that may be left out: all its keys have defaults."""
    return Field(default_factory=section, description=description)


class SimulateConfig(_Strict):
    """Images made by the workflow itself, with their truth."""

    number: int = Field(12, ge=1, description="How many galaxies.")
    seed: int = Field(1, ge=0, description="Seed of the simulation.")


class PsfConfig(_Strict):
    """How point-spread functions are read."""

    hdu: int | str | None = Field(None, description="HDU of the PSF; by default the first with an image.")
    normalize: bool = Field(True, description="Divide by the sum.")
    center: Literal["centroid", "peak"] | None = Field(
        None, description="Shift this point of the PSF to the centre of its array, which is its reference point."
    )
    oversample: int = Field(
        1, ge=1, description="How many times finer than the image's the pixels of the PSF are, on each axis."
    )


class MaskConfig(_Strict):
    """How masks are read."""

    hdu: int | str | None = Field(None, description="HDU of the mask; by default the first with an image.")
    good: Literal["zero", "nonzero"] = Field("zero", description="Which values mark a pixel that is used.")


class MapConfig(_Strict):
    """How a map of the image's shape is read."""

    hdu: int | str | None = Field(None, description="HDU of the map; by default the first with an image.")


class CutoutConfig(_Strict):
    """The part of an image that is fitted; a part beyond the image is left off."""

    center: tuple[ScalarField, ScalarField] | None = Field(
        None, description="xc and yc, such as ['$ra', '$dec']; by default the centre of the image."
    )
    size: ScalarField = Field(description="Length of its sides, with a unit, such as '20 arcsec' or '64 pix'.")


class ImageConfig(_Strict):
    """How images are read."""

    hdu: int | str | None = Field(None, description="HDU of the image; by default the first with an image.")
    frame: Literal["auto", "sky", "pixel"] = Field(
        "auto", description="'sky' insists on a celestial WCS, 'pixel' ignores one, 'auto' uses it where there is one."
    )
    pixel_scale: ScalarField | None = Field(
        None, description="Size of a pixel in the pixel frame, such as '0.2 arcsec' or '$scale arcsec'."
    )
    subgrid: int = Field(1, ge=1, description="How many points per pixel and axis the model is evaluated at.")
    cutout: CutoutConfig | None = Field(
        None,
        description="Fit a part of each image only. In the pixel frame, positions then count from the centre of that "
        "part. Its maps, masks and region files may still be those of the whole image.",
    )
    psf: PsfConfig = _optional(PsfConfig, "Point-spread functions.")
    mask: MaskConfig = _optional(MaskConfig, "Masks.")
    response: MapConfig = _optional(MapConfig, "Response maps: they multiply the model before the PSF.")
    exposure: MapConfig = _optional(MapConfig, "Exposure maps: they multiply the model after the PSF.")


def _checked_noise(kind: str) -> str:
    if kind not in _noise.REGISTRY:
        raise ValueError(f"unknown noise model {kind!r}{nearest(kind, _noise.REGISTRY)}")
    return kind


#: Name of a noise model.
NoiseKind = Annotated[str, AfterValidator(_checked_noise), WithJsonSchema({"enum": list(_noise.REGISTRY)})]


class NoiseConfig(_Strict):
    """The noise model. Its level comes from the column sigma, variance or weight of the table of targets."""

    kind: NoiseKind = Field("normal", description=f"One of {', '.join(_noise.REGISTRY)}.")
    hdu: int | str | None = Field(
        None, description="HDU of the noise map, covariance or cube; by default the first with an image."
    )
    level: ScalarField | None = Field(
        None, description="One standard deviation for all pixels, where the table names no map. Default: estimated."
    )
    covariance: str | None = Field(
        None,
        description="File with the covariance of the pixels (normal_correlated) or the power spectrum "
        "(normal_fourier), for all targets. It and the files below are relative to the folder of the table of targets; "
        "~ and $VARIABLES are expanded.",
    )
    inverse_covariance: str | None = Field(None, description="File with the inverse of that, instead of it.")
    cube: str | None = Field(None, description="File with realisations of the noise to estimate it from, instead.")
    apodization: str | None = Field(None, description="File with the window of normal_fourier, zero where masked.")
    ftype: Literal["real", "full"] | None = Field(
        None, description="Modes of the power spectrum: those of a real transform (the default) or the full plane."
    )
    parameters: dict[str, ValueField] = Field(
        default_factory=dict,
        description="Values of the noise's own parameters, as those of components: scale, floor, nu, background.",
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> NoiseConfig:
        kind = _noise.REGISTRY[self.kind]
        for key in ("level", *_NOISE_FILES, "ftype"):
            if getattr(self, key) is not None and key not in kind.takes:
                raise ValueError(f"{self.kind} has no use for {key!r}; it takes {', '.join(kind.takes) or 'none'}")
        alternatives = [key for key in _NOISE_FILES[:3] if key in kind.takes]
        given = [key for key in alternatives if getattr(self, key) is not None]
        if alternatives and len(given) != 1:
            raise ValueError(f"{self.kind} needs one of {', '.join(alternatives)}; got {', '.join(given) or 'none'}")
        for name in self.parameters:
            if name not in kind.fields:
                raise ValueError(f"{self.kind} has no parameter {name!r}{nearest(name, kind.fields)}")
        return self

    def files(self, folder: Path) -> dict[str, Path]:
        """Return key -> file of those that are given, relative ones in `folder`."""
        given = {key: getattr(self, key) for key in _NOISE_FILES}
        return {key: folder / _expanded(text, f"noise.{key}") for key, text in given.items() if text is not None}


#: Keys of the noise that hold files; the first three are one or the other.
_NOISE_FILES = ("covariance", "inverse_covariance", "cube", "apodization")


class SamplerConfig(_Strict):
    """The sampler."""

    method: str = Field("nautilus", description="nautilus or optimizer.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the sampler, such as n_live.")
    marginalize: bool = Field(
        False,
        description="Integrate intensities with a normal or uniform prior out of the likelihood, and draw them after.",
    )

    @field_validator("options")
    @classmethod
    def _numbers(cls, options: dict[str, Any]) -> dict[str, Any]:
        # YAML takes 1e-2, without a point, for text.
        return {key: _number_if_text(value) for key, value in options.items()}


class CompilationConfig(_Strict):
    """How the likelihood is compiled."""

    shape_buckets: bool = Field(
        True,
        description="Pad images with masked pixels to one of a few sizes, so that stamps of many sizes share programs.",
    )
    precision: Literal["float64", "float32"] = Field("float64", description="Of what is computed per pixel.")


class PoolConfig(_Strict):
    """Workers within one fit."""

    cores: int = Field(1, ge=1, description="Cores of one fit; more than one makes a pool of processes (loky).")


class OutputsConfig(_Strict):
    """What is written for each target, besides its posterior."""

    model_images: bool = Field(True, description="FITS file with data, model, residual, components and mask.")
    figures: bool = Field(True, description="Comparison figure.")


class PlotsConfig(_Strict):
    """Looks of the figures. Changing these makes figures anew, and fits nothing."""

    format: Literal["png", "pdf"] = Field("png", description="File format.")
    colormap: str = Field("viridis", description="A colour map of matplotlib.")
    percentile: float = Field(99.5, gt=50, le=100, description="Percentile of the data that is shown brightest.")
    stretch: Literal["asinh", "linear", "log"] = Field("asinh", description="Stretch of the brightness.")
    dpi: int = Field(100, ge=20, le=1000, description="Resolution.")


class FlagsConfig(_Strict):
    """When a fit is flagged in the catalogue."""

    poor_fit: float = Field(
        1.5, gt=0, description="Flag 'poor_fit' above this reduced chi-square of the pixels where the source is seen."
    )
    prior_edge: float = Field(
        0.05, gt=0, lt=1, description="Flag 'at_prior_edge' if more probability lies in the outer percent of a prior."
    )


def _number_if_text(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


class Config(_Strict):
    """The config of a survey."""

    survey: Name = Field(description="Name of the survey.")
    targets: str | None = Field(
        None,
        description="Table of targets (CSV, ECSV or FITS), relative to the folder of this config; ~ and $VARIABLES are "
        "expanded. A simulated survey writes its own, <output>/images/targets.csv.",
    )
    output: str | None = Field(
        None,
        description="Folder of the results, relative to the working directory; ~ and $VARIABLES are expanded. "
        "By default results/<survey>.",
    )
    seed: int = Field(1, ge=0, description="Seed; each fit derives its own from it and its name.")
    simulate: SimulateConfig | None = Field(None, description="Make the images (and the table) first.")
    image: ImageConfig = _optional(ImageConfig, "How images are read.")
    noise: NoiseConfig = _optional(NoiseConfig, "The noise model.")
    models: dict[Name, ModelConfig] = Field(min_length=1, description="Name of your choice -> model.")
    sampler: SamplerConfig = _optional(SamplerConfig, "The sampler.")
    compilation: CompilationConfig = _optional(CompilationConfig, "How the likelihood is compiled.")
    pool: PoolConfig = _optional(PoolConfig, "Workers within one fit.")
    outputs: OutputsConfig = _optional(OutputsConfig, "What is written for each target.")
    plots: PlotsConfig = _optional(PlotsConfig, "Looks of the figures.")
    flags: FlagsConfig = _optional(FlagsConfig, "When a fit is flagged.")
    overrides: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Target -> what is different for it: any of image, noise, models, sampler, merged key by key.",
    )

    #: Target -> the sections that are different for it.
    _sections: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _figures_need_images(self) -> Config:
        if self.outputs.figures and not self.outputs.model_images:
            raise ValueError("outputs.figures are drawn from the model images: set outputs.model_images, or no figures")
        return self

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return Path(_expanded(self.output, "output") if self.output else f"results/{self.survey}")

    @property
    def table(self) -> Path:
        """The table of targets."""
        return self.folder / "images" / "targets.csv" if self.simulate else Path(self.targets or "")

    def for_target(self, target: str) -> Config:
        """Return the config with the overrides of one target merged in.

        Parameters
        ----------
        target : str
            Name of the target.

        Returns
        -------
        Config
            This config itself where the target has no overrides.

        Raises
        ------
        ConfigError
            If the overrides are wrong.
        """
        if target not in self.overrides:
            return self
        if target not in self._sections:
            extra = self.overrides[target]
            for key in extra:
                if key not in _OVERRIDABLE:
                    raise ConfigError(f"overrides.{target}.{key}: cannot be overridden{nearest(key, _OVERRIDABLE)}")
            # Without the overrides themselves: what they are merged into must not ask for them again.
            data = self.model_dump(mode="json", exclude_unset=True, exclude={"overrides"})
            merged = validate_config(_merge(data, extra), f"config, overrides of {target}")
            self._sections[target] = {key: getattr(merged, key) for key in extra}
        return self.model_copy(update=self._sections[target])

    def fit_settings(self, target: str, model: str) -> dict[str, Any]:
        """Return all settings that the posterior of a target and model depends on, JSON-serialisable."""
        own = self.for_target(target)
        return {
            "seed": own.seed,
            "image": own.image.model_dump(mode="json"),
            "noise": own.noise.model_dump(mode="json"),
            "model": own.models[model].model_dump(mode="json"),
            "sampler": own.sampler.model_dump(mode="json"),
            "compilation": own.compilation.model_dump(mode="json"),
        }


_OVERRIDABLE = ("image", "noise", "models", "sampler")


def _merge(base: Any, extra: Any) -> Any:
    """Merge mappings key by key; a prior replaces a prior, and anything else replaces what was there."""
    if not isinstance(base, Mapping) or not isinstance(extra, Mapping) or is_prior(extra):
        return extra
    return {**base, **{key: _merge(base.get(key), value) for key, value in extra.items()}}


def validate_config(data: Any, where: str) -> Config:
    """Check a config.

    Parameters
    ----------
    data : object
        What the YAML holds.
    where : str
        Named in the error.

    Returns
    -------
    Config
        The config.

    Raises
    ------
    ConfigError
        With every mistake, one a line, each with its place and, for an unknown key, the nearest known one.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected keys and values, got {type(data).__name__}")
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        lines = explain(error, Config)
        raise ConfigError(f"{where}:\n" + "\n".join(f"  {line}" for line in lines)) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    for target in config.overrides:
        config.for_target(target)
    return config


def load_config(path: str | Path, targets: str | Path | None = None) -> Config:
    """Read a config.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    targets : str or Path, optional
        Use this table of targets instead of the config's.

    Returns
    -------
    Config
        The config, its table of targets relative to the working directory.

    Raises
    ------
    ConfigError
        If it cannot be read or is wrong.
    """
    import yaml

    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    config = validate_config(data, str(path))
    if targets is None and config.targets is not None:
        targets = path.parent / _expanded(config.targets, f"{path}: targets")
    if (targets is None) == (config.simulate is None):
        raise ConfigError(f"{path}: give either targets or simulate")
    return config if targets is None else config.model_copy(update={"targets": str(targets)})


def _expanded(text: str, where: str) -> str:
    """Expand ~ and $VARIABLES, as a shell would."""
    expanded = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111
    if "$" in expanded:
        raise ConfigError(f"{where}: {text}: the environment variable is not set")
    return expanded


def schema() -> dict[str, Any]:
    """Return the JSON schema of a config."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return a short digest of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
