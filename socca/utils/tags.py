"""Tags: names of classes and functions in digests, which stay when a file or class moves.

A tag is a family and a name, such as ``component/Sersic`` or ``spec/ModelSpec``, and belongs to one thing alone.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_PACKAGE = __name__.partition(".")[0]
_TAGS: dict[str, Any] = {}


def tagged(tag: str) -> Callable[[T], T]:
    """Return a decorator that gives a class or a function its tag.

    Parameters
    ----------
    tag : str
        Such as ``spec/ModelSpec``. Once released, it is never changed, and never given to another thing.

    Returns
    -------
    callable
        Returns the class or function itself.

    Raises
    ------
    ValueError
        If another thing has this tag.
    """

    def decorate(thing: T) -> T:
        held = _TAGS.setdefault(tag, thing)
        if held is not thing and _place(held) != _place(thing):  # the same place: a module that was loaded again
            raise ValueError(f"the tag {tag!r} of {_place(thing)} belongs to {_place(held)}")
        _TAGS[tag] = thing
        if isinstance(thing, type) and vars(thing).get("digest_tag") != tag:
            type.__setattr__(thing, "digest_tag", tag)
        elif not isinstance(thing, type):
            thing.digest_tag = tag  # type: ignore[attr-defined]
        return thing

    return decorate


def tag_member(kind: type, family: str, name: str) -> None:
    """Tag a class of a family, and the functions that it defines, if it is socca's own.

    Parameters
    ----------
    kind : type
        The class. What its body says of itself, ``digest_tag = "component/Old"``, comes first: so a class can be
        renamed and keep its tag.
    family, name : str
        The family, and the class's name in it.
    """
    if not is_own(kind):
        return
    tag = str(vars(kind).get("digest_tag") or f"{family}/{name}")
    tagged(tag)(kind)
    for key, value in vars(kind).items():
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if isinstance(function, types.FunctionType) and function.__qualname__ == f"{kind.__qualname__}.{key}":
            tagged(f"{tag}.{key}")(function)


def tag_of(thing: Any) -> str | None:
    """Return the tag of a class, a function or a module; None if it has none. A subclass does not inherit it."""
    found = vars(thing).get("digest_tag") if isinstance(thing, type) else getattr(thing, "digest_tag", None)
    return found if isinstance(found, str) else None


def is_own(thing: Any) -> bool:
    """Tell whether socca itself defines a class or a function."""
    return str(getattr(thing, "__module__", None)).partition(".")[0] == _PACKAGE


def tags() -> Iterator[tuple[str, Any]]:
    """Yield every tag that is in use in this process, and the thing that has it."""
    yield from _TAGS.items()


def _place(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
