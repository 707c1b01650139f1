"""Error messages for users, from the errors that pydantic finds in a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from reprlib import repr as brief
from typing import Any

from pydantic import BaseModel, ValidationError

from socca.errors import nearest

#: From the keys of a place in a config, outermost first, to its line; None where that is not known.
Line = Callable[[Sequence[str | int]], int | None]
#: What else YAML makes of a word than text.
_NOT_TEXT = {bool: "true or false (so are yes, no, on and off)", int: "a number", float: "a number"}


def at_line(line: int | None) -> str:
    """Return how a message begins that is about a line; empty where that is not known."""
    return "" if line is None else f"line {line}: "


def explain(error: ValidationError, root: type[BaseModel], line: Line = lambda path: None) -> list[str]:
    """Say what is wrong, where, and what was perhaps meant.

    Parameters
    ----------
    error : ValidationError
        What was found.
    root : type
        The model of the whole config.
    line : callable, optional
        Where a key is.

    Returns
    -------
    list of str
        One line per mistake.
    """
    problems = [dict(problem) for problem in error.errors()]
    return [_line(problem, root, line) for problem in problems if not _other_alternative(problem)]


def _other_alternative(problem: dict[str, Any]) -> bool:
    """Tell whether a mistake is only that a section is not the other thing that its key may hold, or the reverse."""
    last = problem["loc"][-1:]
    if last == ("str",):
        return isinstance(problem["input"], Mapping)
    return last == ("PositionConfig",) and not isinstance(problem["input"], Mapping)


def _line(problem: dict[str, Any], root: type[BaseModel], line: Line) -> str:
    path = [str(part) for part in problem["loc"]]
    keys = _shown_path(path, root)
    shown = at_line(line(keys)) + (".".join(keys) or "config")
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = [key for section in _sections(path[:-1], root) for key in section.model_fields]
        return f"{shown}: unknown key{nearest(path[-1], known)}"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"{shown}: expected keys and values, got {brief(problem['input'])}"
    if kind == "missing":
        return f"{shown}: is needed"
    if kind == "union_tag_invalid":
        given = str(problem["ctx"]["tag"])
        what = "profile" if _shown_path(path, root)[-1] in ("radial", "vertical", "parallel") else "component"
        return f"{shown}.type: unknown {what} {given!r}{nearest(given, _types(path, root))}"
    if kind == "union_tag_not_found":
        return f"{shown}: needs a type, one of {', '.join(_types(path, root))}"
    if kind == "string_pattern_mismatch":
        return f"{shown}: names are letters, digits and underscores, beginning with a letter"
    if kind == "string_type" and type(problem["input"]) in _NOT_TEXT:
        made = _NOT_TEXT[type(problem["input"])]
        return f"{shown}: expected text, and {problem['input']} is {made} to YAML: put it in quotes"
    return f"{shown}: {message}"


def _type(section: type[BaseModel]) -> str | None:
    """Return the type that a section is for, if it is one of several."""
    field = section.model_fields.get("type")
    return None if field is None else str(field.annotation.__args__[0])  # type: ignore[union-attr]


def _types(path: list[str], root: type[BaseModel]) -> list[str]:
    return [str(_type(section)) for section in _sections(path, root)]


def _shown_path(path: list[str], root: type[BaseModel]) -> list[str]:
    """Leave out which alternative of a union was tried, which is pydantic's affair and not the user's."""
    hidden = {"PositionConfig", "str", "[key]"}
    return [part for k, part in enumerate(path) if part not in hidden and not _chosen(_sections(path[:k], root), part)]


def _chosen(sections: list[type[BaseModel]], part: str) -> list[type[BaseModel]]:
    """Return the section that a part of a path picks out of several by its type."""
    return [section for section in sections if len(sections) > 1 and _type(section) == part]


def _sections(path: list[str], root: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the sections that a place of the config may hold."""
    found = [root]
    for part in path:
        chosen = _chosen(found, part)
        if chosen:
            found = chosen
            continue
        fields = [section.model_fields[part] for section in found if part in section.model_fields]
        if fields:
            found = [inner for field in fields for inner in _within(field.annotation)]
    return found


def _within(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that an annotation holds, through optional, mapping and union types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _within(inner)]
