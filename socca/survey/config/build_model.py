"""Models and problems from a target and the config."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from socca.data.image import Image
from socca.data.light import measure_light
from socca.errors import ConfigError, ModelError, nearest
from socca.fitting.auto_priors import flat_position, priors_for
from socca.fitting.quantities import WHOLE, Expression
from socca.likelihood.parameter_vector import check_parts
from socca.likelihood.problem import Problem
from socca.models import Component, Model
from socca.survey.config.components import PositionConfig, new_component
from socca.survey.config.schema import Config
from socca.survey.config.values import Context, parse_value, scalar
from socca.survey.targets import Target


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

    made: dict[str, Component] = {}
    for label, settings in components.items():
        try:
            made[label] = new_component(settings, lambda raw: context.number(scalar(raw), "deg"))
        except (ConfigError, ModelError) as error:
            raise ConfigError(f"models.{name}.{label}: {error}") from error

    def full_name(user: str) -> str:
        # The name of a parameter may itself have a dot: disk.radial.re.
        label, parameter = user.split(".", 1) if "." in user else ("", user)
        if label not in made:
            raise ConfigError(f"{user!r}: no component {label!r}{nearest(label, made)}")
        known = made[label].fields
        if parameter not in known:
            raise ConfigError(f"{user!r}: {label} has no parameter {parameter!r}{nearest(parameter, known)}")
        return f"{ids[label]}_{parameter}"

    model = Model()
    light = measure_light(image) if config.models[name].priors == "auto" else None
    for label, settings in components.items():
        component, values = made[label], settings.values(made[label])
        for parameter, field in component.fields.items():
            raw = values.get(parameter)
            if raw is None:
                continue
            try:
                setattr(component, parameter, context.resolve(parse_value(raw), field.unit, full_name))
            except (ConfigError, ModelError) as error:
                raise ConfigError(f"models.{name}.{label}.{parameter}: {error}") from error
        where = f"models.{name}.{label}"
        _set_alternatives(component, settings, context, full_name, where)
        position = getattr(settings, "position", None)
        if position is not None:
            given = [key for key in component.position_names if values[key] is not None]
            if given:
                raise ConfigError(f"{where}: give position, or xc and yc, not both")
            if isinstance(position, PositionConfig):
                _place(component, position, context, image, where)
            else:
                other = made[position].position_names if position in made else ()
                _concentric(component, position, other or ("xc", "yc"), context, full_name, where)
        if light is not None:
            placed = component.position_names if position is not None else ()
            free = [key for key in component.fields if key not in {*settings.given(component), *placed}]
            for key, prior in priors_for(component, free, light, image).items():
                setattr(component, key, prior)
        unset = [key for key in component.fields if getattr(component, key) is None]
        if unset:
            hint = " (or a position)" if set(unset) & set(component.position_names) else ""
            raise ConfigError(f"{where}: no value for {', '.join(unset)}{hint}")
        model.addcomponent(component, positive=settings.positive, label=label)
    try:
        check_parts(model.components)
    except ModelError as error:
        message = str(error)
        for parameter, shown in model.labels.items():
            message = re.sub(rf"\b{re.escape(parameter)}\b", shown, message)
        raise ConfigError(f"models.{name}: {message}") from error
    return model


def _set_alternatives(component: Component, settings: Any, context: Context, full_name: Any, where: str) -> None:
    """Set the parameters that are given by other names, such as q for e."""
    for name, other in settings.alternatives(component).items():
        if other.parameter in settings.model_fields_set:
            raise ConfigError(f"{where}: give {name} or {other.parameter}, not both")
        try:
            setattr(component, name, context.resolve(parse_value(getattr(settings, name)), other.unit, full_name))
        except (ConfigError, ModelError) as error:
            raise ConfigError(f"{where}.{name}: {error}") from error


def _concentric(
    component: Component, label: str, names: Sequence[str], context: Context, full_name: Any, where: str
) -> None:
    """Tie a component's position to that of another one, whose parameters for it are called `names`."""
    try:
        for key, name in zip(component.position_names, names, strict=True):
            setattr(component, key, context.resolve(parse_value(f"{label}.{name}"), "deg", full_name))
    except ConfigError as error:
        raise ConfigError(f"{where}.position: {error}") from error


def _place(component: Component, position: PositionConfig, context: Context, image: Image, where: str) -> None:
    """Give a component's position a prior."""
    try:
        center = image.frame.center
        if position.center is not None:
            center = tuple(context.number(scalar(part), "deg") for part in position.center)  # type: ignore[assignment]
        half = context.number(scalar(position.within), "deg")
        if not half > 0:
            raise ConfigError(f"within must be positive, got {half}")
        for name, prior in zip(component.position_names, flat_position(center, half, image.frame), strict=True):
            setattr(component, name, prior)
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
    how = config.compilation
    return Problem(image, model, buckets=how.shape_buckets, precision=how.precision), model


def derived_expressions(config: Config) -> dict[str, Expression]:
    """Return the quantities of the user's own, by name.

    Raises
    ------
    ConfigError
        If one names a component that no model has.
    """
    components = {label for model in config.models.values() for label in model.components} | {*WHOLE, "noise"}
    found = {}
    for name, extra in config.derived.extra.items():
        node = scalar(extra.value)
        for other in sorted(node.names()):
            if other.split(".", 1)[0] not in components:
                raise ConfigError(f"derived.extra.{name}: no model has a component for {other!r}")
        found[name] = Expression(node, extra.unit, extra.description or str(extra.value))
    return found
