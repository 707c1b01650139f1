"""Config sections of components, made from the components themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model, model_validator

from socca import models, priors
from socca.data.fluxes import is_named
from socca.errors import ConfigError
from socca.models.bridge import Bridge, exposed_parameters
from socca.models.disk.vertical import REGISTRY as VERTICAL_PROFILES
from socca.models.radial.truncation import REGISTRY as TRUNCATIONS
from socca.models.radial.truncation import Truncation
from socca.parameters.parameterised import Parameter, Parameterised
from socca.parameters.units import ParameterUnit
from socca.survey.config.values import parse_value, scalar


def _checked_value(raw: Any) -> Any:
    parse_value(raw)
    return raw


def _checked_scalar(raw: Any) -> Any:
    scalar(raw)
    return raw


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["number", "string"]}


def prior_schema(name: str, prior: type[priors.Prior]) -> dict[str, Any]:
    """Return the JSON schema of a prior, as a config writes it."""
    numbers = [
        {
            "type": "array",
            "items": _SCALAR_SCHEMA,
            "minItems": len(prior.arguments) - len(prior.defaults),
            "maxItems": len(prior.arguments),
        },
        {"type": "object", "properties": dict.fromkeys(prior.arguments, _SCALAR_SCHEMA)},
    ]
    return {
        "type": "object",
        "properties": {name: {"anyOf": numbers}},
        "required": [name],
        "additionalProperties": False,
    }


class _ValueSchema:
    """The JSON schema of a value, made when it is asked for: priors of plug-ins come later."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [_SCALAR_SCHEMA, *itertools.starmap(prior_schema, priors.REGISTRY.items())]}


#: The value of a parameter.
ValueField = Annotated[Any, BeforeValidator(_checked_value), _ValueSchema()]
#: A number or an expression.
ScalarField = Annotated[Any, BeforeValidator(_checked_scalar), WithJsonSchema(_SCALAR_SCHEMA)]


def _checked_zero_point(raw: Any) -> Any:
    return raw if is_named(raw) else _checked_scalar(raw)


#: A number, an expression, or what `socca.data.fluxes.zero_point_of` knows by name.
ZeroPointField = Annotated[Any, BeforeValidator(_checked_zero_point), WithJsonSchema(_SCALAR_SCHEMA)]


def _not_truth(raw: Any) -> Any:
    """Refuse `yes` where a number is wanted: it is true to YAML, and true is 1 to Python."""
    if isinstance(raw, bool):
        raise ValueError(f"expected a number, and got {raw} (to YAML, yes and on are true, no and off are false)")
    return raw


def _checked_hdu(raw: Any) -> Any:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError(f"expected the number or the name of an HDU, got {raw!r}")
    return raw


#: A whole number, a number, and the HDU of a file: its number or name.
Whole = Annotated[int, BeforeValidator(_not_truth)]
Real = Annotated[float, BeforeValidator(_not_truth)]
Hdu = Annotated[int | str, BeforeValidator(_checked_hdu)]
#: A name that the user chooses.
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=100)]


class Strict(BaseModel):
    """A section of a config, which refuses unknown keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PositionConfig(Strict):
    """A flat prior on a component's position, the same in sky and pixel frames."""

    center: tuple[ScalarField, ScalarField] | None = Field(
        None, description="xc and yc, such as ['$ra', '$dec']; by default the centre of the image."
    )
    within: ScalarField = Field(description="Half-width of the prior on each axis, such as '2 arcsec' or '5 pix'.")


class ExtraConfig(Strict):
    """A parameter that a component does not have by itself."""

    value: ValueField = Field(None, description="Its value.")
    unit: ParameterUnit = Field("", description="deg, rad, image or empty.")
    description: str = Field("", description="One line.")


def _section_values(section: Any, fields: Mapping[str, Parameter]) -> Iterator[tuple[str, Any, bool]]:
    """Yield the parameters of a component, what its section says of each, and whether that was given."""
    for name in fields:
        part, _, parameter = name.rpartition(".")
        inner = getattr(section, part) if part else section
        custom = {**getattr(inner, "parameters", {}), **getattr(inner, "extra", {})}
        if parameter in custom:
            yield name, custom[parameter].value, custom[parameter].value is not None
        elif inner is not None:
            value = getattr(inner, parameter, None)
            yield name, value, value is not None and parameter in inner.model_fields_set


class ComponentSection(Strict):
    """What the sections of all components have in common."""

    def values(self, component: Parameterised) -> dict[str, Any]:
        """Return what is said of each parameter of the component, None where nothing is."""
        return {name: value for name, value, _ in _section_values(self, component.fields)}

    def given(self, component: Parameterised) -> set[str]:
        """Return which parameters of the component something is said of, be it their default."""
        found = {name for name, _, given in _section_values(self, component.fields) if given}
        return found | {other.parameter for name, other in self.alternatives(component).items()}

    def alternatives(self, component: Parameterised) -> dict[str, models.radial.base.Alternative]:
        """Return by which other names parameters of the component are given, such as q for e."""
        known = getattr(component, "alternatives", {})
        return {
            name: other
            for name, other in known.items()
            if name not in component.fields and getattr(self, name, None) is not None
        }


def _described(parameter: Parameter) -> str:
    return f"{parameter.description}{f' [{parameter.unit}]' if parameter.unit else ''}"


def _parameter_fields(fields: Mapping[str, Parameter]) -> dict[str, Any]:
    return {name: (ValueField, Field(known.default, description=_described(known))) for name, known in fields.items()}


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _law_fields(kind: type[models.Radial]) -> dict[str, Any]:
    """Return the keys that any radial profile has besides its parameters: its truncation, and its formula."""
    names = ", ".join(TRUNCATIONS)
    fields: dict[str, Any] = {
        "truncation": (
            Literal[(True, False, *TRUNCATIONS)] | None,
            Field(None, description=f"Cut it off around rt: one of {names}; true is the first."),
        ),
        **{
            name: (ValueField, Field(None, description=f"{_described(known)}, if it is truncated"))
            for name, known in Truncation.fields.items()
        },
    }
    if issubclass(kind, models.CustomProfile):
        fields["profile"] = (str, Field(description="An expression in r and the parameters: 'I0 * exp(-r / rs)'."))
        fields["parameters"] = (dict[Name, ExtraConfig], Field(description="Name -> parameter of the profile."))
    return fields


class _LawSection(ComponentSection):
    @model_validator(mode="after")
    def _fits_itself(self) -> _LawSection:
        given: Any = self
        if not given.truncation:
            for name in Truncation.fields:
                if getattr(given, name) is not None:
                    raise ValueError(f"{name} is given, but no truncation")
        if hasattr(given, "profile"):
            radial_law(given)
        return self


def radial_law(section: Any) -> models.Radial:
    """Make the radial profile that a section describes, without values."""
    kind = models.REGISTRY[section.type]
    # In configs, true stands for the first of them; in scripts for `HyperTangent`.
    truncation = next(iter(TRUNCATIONS)) if section.truncation is True else section.truncation
    if issubclass(kind, models.CustomProfile):
        about = {name: {"unit": p.unit, "description": p.description} for name, p in section.parameters.items()}
        return kind(about, section.profile, truncation=truncation)
    return kind(truncation=truncation)  # type: ignore[return-value]


def _union(sections: dict[str, type[BaseModel]]) -> Any:
    # Which ones there are is known only at run time, so that to a type checker it is `Any`.
    return Annotated[Union[tuple(sections.values())], Field(discriminator="type")]  # noqa: UP007


def _part_section(kind: type[Parameterised], owner: str, left_out: tuple[str, ...] = ()) -> type[BaseModel]:
    fields: dict[str, Any] = {"type": (Literal[kind.__name__], Field(description=_first_line(kind)))}
    base: type[BaseModel] = ComponentSection
    if issubclass(kind, models.Radial):
        fields |= _law_fields(kind)
        base = _LawSection
    fields |= _parameter_fields({name: known for name, known in kind.fields.items() if name not in left_out})
    return create_model(f"{owner}{kind.__name__}", __base__=base, __doc__=kind.__doc__, **fields)


#: Type of a vertical profile of a disk -> its section.
DISK_VERTICAL = {name: _part_section(kind, "Vertical") for name, kind in VERTICAL_PROFILES.items()}


def _bridge_part(kind: type[models.Radial]) -> type[BaseModel]:
    if issubclass(kind, models.CustomProfile):
        return _part_section(kind, "Bridge", tuple(models.Radial.fields))
    return _part_section(kind, "Bridge", tuple(set(kind.fields) - set(exposed_parameters(kind()))))


@dataclass(frozen=True)
class _Profiles:
    """The sections of the radial profiles within a disk and within a bridge, by type."""

    disk: dict[str, type[BaseModel]]
    bridge: dict[str, type[BaseModel]]

    @property
    def names(self) -> str:
        return ", ".join(self.disk)


def _part_fields(kind: type[models.Component], profiles: _Profiles) -> dict[str, Any]:
    """Return the keys of what a component is made of."""
    if issubclass(kind, models.Disk):
        plain = kind()
        return {
            "radial": (
                _union(profiles.disk),
                Field(description=f"The profile in the plane: a section of type {profiles.names}."),
            ),
            "vertical": (
                _union(DISK_VERTICAL),
                Field(description=f"The profile of the height: a section of type {', '.join(VERTICAL_PROFILES)}."),
            ),
            "losdepth": (
                ScalarField,
                Field("10 arcsec", description="How far the line of sight is integrated to both sides."),
            ),
            "losbins": (Whole, Field(plain.losbins, ge=16, le=10_000, description="Points on each line of sight.")),
        }
    if issubclass(kind, Bridge):
        across, along = kind.default_profiles()
        return {
            name: (
                _union(profiles.bridge) | None,
                Field(
                    None,
                    description=f"The profile {where}: a section of type {profiles.names}. "
                    f"Default: {type(default).__name__}.",
                ),
            )
            for name, where, default in (("radial", "across", across), ("parallel", "along", along))
        }
    return {}


def _component_section(name: str, kind: type[models.Component], profiles: _Profiles) -> type[BaseModel]:
    fields: dict[str, Any] = {
        "type": (Literal[name], Field(description=_first_line(kind))),
        "positive": (bool | None, Field(None, description="Rule out models in which it is negative anywhere.")),
        "extra": (
            dict[Name, ExtraConfig],
            Field(default_factory=dict, description="Name -> further parameter, for others to be tied to."),
        ),
    }
    if kind.position_names:
        position = Field(
            None, description="Prior of xc and yc, or the name of the component that it is concentric with."
        )
        fields["position"] = (PositionConfig | str | None, position)
    base: type[BaseModel] = ComponentSection
    if issubclass(kind, models.Radial):
        fields |= _law_fields(kind)
        fields |= {
            name: (ValueField, Field(None, description=other.description))
            for name, other in kind.alternatives.items()
            if name not in kind.fields
        }
        base = _LawSection
    fields |= _part_fields(kind, profiles) | _parameter_fields(kind.fields)
    return create_model(name, __base__=base, __doc__=kind.__doc__, **fields)


def component_sections(kinds: Mapping[str, type[models.Component]]) -> dict[str, type[BaseModel]]:
    """Return the section of each type of component, in which radial profiles may be those of these types."""
    radial = {name: kind for name, kind in kinds.items() if issubclass(kind, models.Radial)}
    profiles = _Profiles(
        {name: _part_section(kind, "DiskRadial") for name, kind in radial.items()},
        {name: _bridge_part(kind) for name, kind in radial.items()},
    )
    return {name: _component_section(name, kind, profiles) for name, kind in kinds.items()}


#: Type of a component -> its section.
COMPONENT_MODELS = component_sections(models.REGISTRY)


def _components_field() -> Any:
    return Field(min_length=1, description="Name of your choice -> component.")


class ModelConfig(Strict):
    """One model, fitted to each target that asks for it."""

    components: dict[Name, _union(COMPONENT_MODELS)] = _components_field()  # type: ignore[valid-type]
    priors: Literal["auto"] | None = Field(
        None,
        description="auto: parameters that are not given have wide priors that the image suggests; see "
        "[the page about priors](priors.md).",
    )


def model_section(plugins: Iterable[str]) -> type[ModelConfig]:
    """Return the section of a model whose components may also be these plug-ins.

    Parameters
    ----------
    plugins : iterable of str
        Their names.

    Returns
    -------
    type
        A subclass of `ModelConfig`.
    """
    kinds = {**models.REGISTRY, **{name: models.REGISTRY[name] for name in plugins}}
    components: Any = dict[Name, _union(component_sections(kinds))]  # type: ignore[misc]
    return create_model(
        "ModelConfig", __base__=ModelConfig, __doc__=ModelConfig.__doc__, components=(components, _components_field())
    )


def new_component(section: Any, degrees: Any) -> models.Component:
    """Make the component that a section describes, without values of its parameters.

    Parameters
    ----------
    section : ComponentSection
        The section.
    degrees : callable
        From an angle as the config has it to degrees.

    Returns
    -------
    Component
        With its parts and extra parameters; these have the value zero.

    Raises
    ------
    ConfigError, ModelError
        If it contradicts itself.
    """
    kind: Any = models.REGISTRY[section.type]
    if issubclass(kind, models.Radial):
        component: Any = radial_law(section)
    elif issubclass(kind, models.Disk):
        try:
            depth = degrees(section.losdepth)
        except ConfigError as error:
            raise ConfigError(f"losdepth: {error}") from error
        vertical = VERTICAL_PROFILES[section.vertical.type]()
        component = kind(radial_law(section.radial), vertical, losdepth=depth, losbins=section.losbins)
    elif issubclass(kind, Bridge):
        parts = {name: getattr(section, name) for name in ("radial", "parallel")}
        component = kind(**{name: None if part is None else radial_law(part) for name, part in parts.items()})
        for name, part in parts.items():
            for key, about in getattr(part, "parameters", {}).items():
                if about.value is not None and f"{name}.{key}" not in component.fields:
                    raise ConfigError(f"{name}.parameters.{key}: the bridge sets scale and amplitude itself")
    else:
        component = kind()
    for name, about in section.extra.items():
        if about.value is None:
            raise ConfigError(f"extra.{name}: no value")
        component.addparameter(name, 0.0, about.unit, about.description)
    return component
