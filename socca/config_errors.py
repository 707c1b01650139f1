"""What pydantic finds wrong with a config, in the words of whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from socca.errors import nearest


def explain(error: ValidationError, root: type[BaseModel], components: Mapping[str, type[BaseModel]]) -> list[str]:
    """Say what is wrong, where, and what was perhaps meant.

    Parameters
    ----------
    error : ValidationError
        What was found.
    root : type
        The model of the whole config.
    components : mapping
        Type of a component -> its model.

    Returns
    -------
    list of str
        One line per mistake.
    """
    problems = [dict(problem) for problem in error.errors()]
    return [_line(problem, root, components) for problem in problems if not _other_alternative(problem)]


def _other_alternative(problem: dict[str, Any]) -> bool:
    """Tell whether a mistake is only that a section is not the other thing that its key may hold, or the reverse."""
    last = problem["loc"][-1:]
    if last == ("str",):
        return isinstance(problem["input"], Mapping)
    return last == ("PositionConfig",) and not isinstance(problem["input"], Mapping)


def _line(problem: dict[str, Any], root: type[BaseModel], components: Mapping[str, type[BaseModel]]) -> str:
    path = [str(part) for part in problem["loc"]]
    # Which alternative of a union was tried is pydantic's affair, not the user's.
    hidden = {*components, "PositionConfig", "str", "[key]"}
    shown = ".".join(part for part in path if part not in hidden) or "config"
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{shown}: unknown key{nearest(path[-1], _known_keys(path[:-1], root, components))}"
    if kind == "missing":
        return f"{shown}: is needed"
    if kind == "union_tag_invalid":
        given = str(problem["ctx"]["tag"])
        return f"{shown}.type: unknown component {given!r}{nearest(given, components)}"
    if kind == "union_tag_not_found":
        return f"{shown}: needs a type, one of {', '.join(components)}"
    if kind == "string_pattern_mismatch":
        return f"{shown}: names are letters, digits and underscores, beginning with a letter"
    return f"{shown}: {message}"


def _known_keys(path: list[str], root: type[BaseModel], components: Mapping[str, type[BaseModel]]) -> list[str]:
    """Return the keys that the config may have at a place."""
    current: type[BaseModel] | None = root
    for part in path:
        if part in components:
            current = components[part]
            continue
        fields = current.model_fields if current is not None else {}
        if part in fields:
            current = _section(fields[part].annotation)
    return list(current.model_fields) if current is not None else []


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation holds, through optional and mapping types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section(inner)
        if found is not None:
            return found
    return None
