"""Schema of the config: the source of its errors, its JSON schema and its reference page."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError, create_model, field_validator, model_validator

from socca import models, noise, priors
from socca.errors import ConfigError, nearest
from socca.survey.config.components import ModelConfig, Name, Strict, Whole, model_section
from socca.survey.config.errors import Line, at_line, explain
from socca.survey.config.plugins import plugins_of
from socca.survey.config.sections import (
    BatchConfig,
    CatalogConfig,
    CompilationConfig,
    DerivedConfig,
    FlagsConfig,
    ImageConfig,
    NoiseConfig,
    OutputsConfig,
    PlotsConfig,
    PoolConfig,
    SamplerConfig,
    SimulateConfig,
    expanded,
    optional,
)
from socca.survey.config.values import is_prior
from socca.survey.targets import case_twins


class Config(Strict):
    """The config of a survey."""

    survey: Name = Field(description="Name of the survey.")
    targets: str | None = Field(
        None,
        description="Table of targets (text, ECSV, FITS, VOTable or Parquet), relative to the folder of this config; "
        "~ and $VARIABLES are expanded. A simulated survey writes its own, <output>/images/targets.csv.",
    )
    output: str | None = Field(
        None,
        description="Folder of the results, relative to the working directory; ~ and $VARIABLES are expanded. "
        "By default results/<survey>.",
    )
    seed: Whole = Field(1, ge=0, description="Seed; each fit derives its own from it and its name.")
    simulate: SimulateConfig | None = Field(None, description="Make the images (and the table) first.")
    image: ImageConfig = optional(ImageConfig, "How images are read.")
    noise: NoiseConfig = optional(NoiseConfig, "The noise model.")
    models: dict[Name, ModelConfig] = Field(min_length=1, description="Name of your choice -> model.")
    sampler: SamplerConfig = optional(SamplerConfig, "The sampler.")
    compilation: CompilationConfig = optional(CompilationConfig, "How the likelihood is compiled.")
    pool: PoolConfig = optional(PoolConfig, "Workers within one fit.")
    batch: BatchConfig = optional(BatchConfig, "Fits that share a job.")
    outputs: OutputsConfig = optional(OutputsConfig, "What is written for each target.")
    derived: DerivedConfig = optional(DerivedConfig, "What is derived from the samples.")
    plots: PlotsConfig = optional(PlotsConfig, "Style of the figures.")
    catalog: CatalogConfig = optional(CatalogConfig, "The catalogue.")
    flags: FlagsConfig = optional(FlagsConfig, "When a fit is flagged.")
    overrides: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Target -> what is different for it: any of image, noise, models, sampler, merged key by key.",
    )

    #: Target -> the sections that are different for it.
    _sections: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    @field_validator("models")
    @classmethod
    def _have_folders_of_their_own(cls, models: dict[str, Any]) -> dict[str, Any]:
        for one, other in case_twins(models):
            raise ValueError(f"{one!r} and {other!r} differ by case only: some file systems take them for one")
        return models

    @model_validator(mode="after")
    def _flagged_is_known_after_the_fit(self) -> Config:
        if self.batch.chunk == 1 and "flagged" in (self.outputs.model_images, self.outputs.figures):
            raise ValueError("outputs of flagged fits only need batch.chunk of 2 at least; here, all or none")
        return self

    @model_validator(mode="after")
    def _intensities_can_be_integrated_out(self) -> Config:
        if self.sampler.marginalize and not noise.REGISTRY[self.noise.kind].gaussian:
            able = ", ".join(name for name, kind in noise.REGISTRY.items() if kind.gaussian)
            raise ValueError(f"sampler.marginalize needs Gaussian noise ({able}), and noise.kind is {self.noise.kind}")
        return self

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return Path(expanded(self.output, "output") if self.output else f"results/{self.survey}")

    @property
    def table(self) -> Path:
        """The table of targets."""
        return self.folder / "images" / "targets.csv" if self.simulate else Path(self.targets or "")

    @property
    def audited(self) -> bool:
        """Whether some of the fits are audited."""
        return any(one.sampler.audited for one in (self, *map(self.for_target, self.overrides)))

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
            merged = validate_config(_merge(data, extra), f"overrides of {target}")
            self._sections[target] = {key: getattr(merged, key) for key in extra}
        return self.model_copy(update=self._sections[target])

    def fit_settings(self, target: str, model: str) -> dict[str, Any]:
        """Return all settings that the posterior of a target and model depends on, JSON-serialisable.

        Their digest decides whether a fit is up to date. A new key is left out here while it has its default, or every
        finished survey is fitted again. Checkpoints change no result; audits do where they disagree, and finished fits
        stay as they are.
        """
        own = self.for_target(target)
        return {
            "seed": own.seed,
            "image": _image_settings(own.image),
            "noise": own.noise.model_dump(mode="json"),
            "model": _model_settings(own.models[model]),
            "sampler": own.sampler.model_dump(mode="json", exclude={"checkpoint", "audit"}),
            "compilation": own.compilation.model_dump(mode="json"),
        }


def _model_settings(model: ModelConfig) -> dict[str, Any]:
    """Return the settings of a model, without the keys that came later where they have their defaults.

    With automatic priors, it matters what is given, be it a default.
    """
    found = model.model_dump(mode="json")
    for component in found["components"].values():
        for name in models.Radial.alternatives:
            if component.get(name, 0) is None:
                del component[name]
    if found["priors"] is None:
        del found["priors"]
    else:
        found["given"] = model.model_dump(mode="json", exclude_unset=True)["components"]
    return found


def _image_settings(image: ImageConfig) -> dict[str, Any]:
    """Return the settings of images, without the keys that came later where they have their defaults.

    And without the limit of their sizes and the zero point, which change no fit.
    """
    found, default = (config.model_dump(mode="json") for config in (image, ImageConfig.model_validate({})))
    del found["max_pixels"], found["zero_point"]
    for place in (("segmentation",), ("mask", "bits")):
        inner, usual = found, default
        for section in place[:-1]:
            inner, usual = inner[section], usual[section]
        if inner[place[-1]] == usual[place[-1]]:
            del inner[place[-1]]
    return found


@functools.lru_cache(maxsize=32)
def config_class(plugins: tuple[str, ...] = ()) -> type[Config]:
    """Return what a config is, if its components may also be plug-ins.

    Parameters
    ----------
    plugins : tuple of str
        Names of the components.

    Returns
    -------
    type
        `Config`, or a subclass of it.
    """
    if not plugins:
        return Config
    about = Config.model_fields["models"].description
    section: Any = dict[Name, model_section(plugins)]  # type: ignore[misc]
    return create_model(
        "Config",
        __base__=Config,
        __doc__=Config.__doc__,
        models=(section, Field(min_length=1, description=about)),
    )


_OVERRIDABLE = ("image", "noise", "models", "sampler")


def _merge(base: Any, extra: Any) -> Any:
    """Merge mappings key by key; a prior replaces a prior, and anything else replaces what was there."""
    if not isinstance(base, Mapping) or not isinstance(extra, Mapping) or is_prior(extra):
        return extra
    return {**base, **{key: _merge(base.get(key), value) for key, value in extra.items()}}


def validate_config(data: Any, where: str, line: Line = lambda path: None) -> Config:
    """Check a config.

    Parameters
    ----------
    data : object
        What the YAML holds.
    where : str
        Named in the error.
    line : callable, optional
        From the keys of a place, outermost first, to its line in the file; None where that is not known.

    Returns
    -------
    Config
        The config.

    Raises
    ------
    ConfigError
        With every mistake, one a line, each with its place and, for an unknown key, the nearest known one.
    """
    if data is None:
        raise ConfigError(f"{where}: is empty: expected keys and values")
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected keys and values, got {type(data).__name__}")
    kind = Config
    try:
        components = (plugin.name for plugin in plugins_of(data) if plugin.family == "component")
        kind = config_class(tuple(components))
        config = kind.model_validate(data)
    except ValidationError as error:
        lines = explain(error, kind, line)
        raise ConfigError(f"{where}:\n" + "\n".join(f"  {line}" for line in lines)) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    for target in config.overrides:
        try:
            config.for_target(target)
        except ConfigError as error:
            raise ConfigError(f"{where}: {at_line(line(('overrides', target)))}{error}") from None
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
    from socca.survey.config.yaml_file import read_yaml

    path = Path(path)
    document = read_yaml(path)
    config = validate_config(document.data, str(path), document.line)
    mistakes = []
    if targets is None and config.targets is not None:
        try:
            targets = path.parent / expanded(config.targets, "targets")
        except ConfigError as error:
            mistakes.append(f"{at_line(document.line(['targets']))}{error}")
    mistakes += _unusable_paths(config, document.line)
    if mistakes:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
    if (targets is None) == (config.simulate is None):
        raise ConfigError(f"{path}: give either targets or simulate")
    return config if targets is None else config.model_copy(update={"targets": str(targets)})


def _unusable_paths(config: Config, line: Line) -> Iterator[str]:
    """Yield what is wrong with the paths of a config, but for its table's: now, and not when a fit asks for one."""
    try:
        config.folder  # noqa: B018
    except ConfigError as error:
        yield f"{at_line(line(['output']))}{error}"
    for above, own in ([], config), *((["overrides", name], config.for_target(name)) for name in config.overrides):
        try:
            own.noise.files(Path())
        except ConfigError as error:
            yield f"{at_line(line([*above, 'noise']))}{'.'.join([*above, ''])}{error}"


def schema() -> dict[str, Any]:
    """Return the JSON schema of a config, in which the plug-ins that are installed are known too."""
    for registry in (noise.REGISTRY, priors.REGISTRY):
        registry.plugins()  # which are in the registry from then on
    kind = config_class(tuple(models.REGISTRY.plugins()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.model_json_schema()}


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return a short digest of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
