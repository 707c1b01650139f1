"""The config of a survey: one definition, from which the errors, the JSON schema and the reference page are made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)

from socca import models as _models
from socca import priors
from socca.config_errors import explain
from socca.errors import ConfigError, nearest
from socca.values import parse_value, scalar


def _checked_value(raw: Any) -> Any:
    parse_value(raw)
    return raw


def _checked_scalar(raw: Any) -> Any:
    scalar(raw)
    return raw


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["number", "string"]}
_PRIOR_SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            name: {
                "anyOf": [
                    {
                        "type": "array",
                        "items": _SCALAR_SCHEMA,
                        "minItems": len(p.arguments),
                        "maxItems": len(p.arguments),
                    },
                    {"type": "object", "properties": dict.fromkeys(p.arguments, _SCALAR_SCHEMA)},
                ]
            }
        },
        "required": [name],
        "additionalProperties": False,
    }
    for name, p in priors.REGISTRY.items()
]
#: The value of a parameter.
ValueField = Annotated[
    Any, BeforeValidator(_checked_value), WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, *_PRIOR_SCHEMAS]})
]
#: A number or an expression.
ScalarField = Annotated[Any, BeforeValidator(_checked_scalar), WithJsonSchema(_SCALAR_SCHEMA)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class MaskConfig(_Strict):
    """How masks are read."""

    hdu: int | str | None = Field(None, description="HDU of the mask; by default the first with an image.")
    good: Literal["zero", "nonzero"] = Field("zero", description="Which values mark a pixel that is used.")


class ImageConfig(_Strict):
    """How images are read."""

    hdu: int | str | None = Field(None, description="HDU of the image; by default the first with an image.")
    frame: Literal["auto", "sky", "pixel"] = Field(
        "auto", description="'sky' insists on a celestial WCS, 'pixel' ignores one, 'auto' uses it where there is one."
    )
    pixel_scale: ScalarField | None = Field(
        None, description="Size of a pixel in the pixel frame, such as '0.2 arcsec' or '$scale arcsec'."
    )
    psf: PsfConfig = _optional(PsfConfig, "Point-spread functions.")
    mask: MaskConfig = _optional(MaskConfig, "Masks.")


class NoiseConfig(_Strict):
    """The noise model. Its level comes from the column sigma, variance or weight of the table of targets."""

    kind: Literal["normal"] = Field("normal", description="Independent Gaussian noise.")
    hdu: int | str | None = Field(None, description="HDU of the noise map; by default the first with an image.")
    level: ScalarField | None = Field(
        None, description="One standard deviation for all pixels, where the table names no map. Default: estimated."
    )


class SamplerConfig(_Strict):
    """The sampler."""

    method: str = Field("nautilus", description="nautilus or optimizer.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the sampler, such as n_live.")

    @field_validator("options")
    @classmethod
    def _numbers(cls, options: dict[str, Any]) -> dict[str, Any]:
        # YAML takes 1e-2, without a point, for text.
        return {key: _number_if_text(value) for key, value in options.items()}


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


class PositionConfig(_Strict):
    """A flat prior on a component's position, the same in sky and pixel frames."""

    center: tuple[ScalarField, ScalarField] | None = Field(
        None, description="xc and yc, such as ['$ra', '$dec']; by default the centre of the image."
    )
    within: ScalarField = Field(description="Half-width of the prior on each axis, such as '2 arcsec' or '5 pix'.")


def _number_if_text(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _component_model(name: str, kind: type[_models.Component]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        "type": (Literal[name], Field(description=(kind.__doc__ or "").strip().splitlines()[0])),
        "positive": (bool | None, Field(None, description="Rule out models in which it is negative anywhere.")),
    }
    if "xc" in kind.fields:
        position = Field(
            None, description="Prior of xc and yc, or the name of the component that it is concentric with."
        )
        fields["position"] = (PositionConfig | str | None, position)
    for key, parameter in kind.fields.items():
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        fields[key] = (ValueField, Field(parameter.default, description=f"{parameter.description}{unit}"))
    return create_model(name, __base__=_Strict, __doc__=kind.__doc__, **fields)


COMPONENT_MODELS = {name: _component_model(name, kind) for name, kind in _models.REGISTRY.items()}
#: One of these sections; which ones there are is known only here, at run time, so that to a type checker it is `Any`.
ComponentField: Any = Annotated[Union[tuple(COMPONENT_MODELS.values())], Field(discriminator="type")]  # noqa: UP007

_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
Name = Annotated[str, Field(pattern=_NAME)]


class ModelConfig(_Strict):
    """One model, fitted to each target that asks for it."""

    components: dict[Name, ComponentField] = Field(min_length=1, description="Name of your choice -> component.")


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
        }


_OVERRIDABLE = ("image", "noise", "models", "sampler")


def _merge(base: Any, extra: Any) -> Any:
    """Merge mappings key by key; a prior replaces a prior, and anything else replaces what was there."""
    if not isinstance(base, Mapping) or not isinstance(extra, Mapping) or set(extra) & set(priors.REGISTRY):
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
        lines = explain(error, Config, COMPONENT_MODELS)
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
