"""Registry of a family: its members by name, from socca, scripts and plug-ins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from socca.errors import PluginError
from socca.utils.plugins import Plugin, find, offered
from socca.utils.tags import is_own, tag_member

T = TypeVar("T")

log = logging.getLogger(__name__)


class Registry(Mapping[str, type[T]]):
    """Members of a family by name.

    Looking a name up loads the plug-in of that name, if there is one. Going through the registry does not: it gives
    what is in it already.

    Parameters
    ----------
    family : str
        What the tags of its members begin with; of those in `socca.utils.plugins.GROUPS`, there are plug-ins.
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._members: dict[str, type[T]] = {}

    def add(self, name: str, kind: type[T]) -> None:
        """Make a class a member. A foreign one does not replace socca's own of the same name."""
        tag_member(kind, self.family, name)
        held = self._members.get(name)
        if held is None or is_own(kind) or not is_own(held):
            self._members[name] = kind

    @property
    def own(self) -> dict[str, type[T]]:
        """The members that are socca's own."""
        return {name: kind for name, kind in self._members.items() if is_own(kind)}

    def __getitem__(self, name: str) -> type[T]:
        if name in self._members:
            return self._members[name]
        plugin = find(self.family, name)
        if plugin is None:
            raise KeyError(name)
        loaded: Any = plugin.load()
        # A class of the family has registered itself.
        if self._members.get(name) is not loaded:
            raise PluginError(f"{plugin.kind} {name!r} of {plugin}: {loaded!r} is no {plugin.kind} of this name")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members or (isinstance(name, str) and find(self.family, name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def names(self) -> list[str]:
        """Return the names of all members, and of all plug-ins that are installed."""
        return list(dict.fromkeys([*self._members, *offered(self.family)]))

    def origin(self, name: str) -> Plugin | None:
        """Return the plug-in that a name stands for; None for socca's own, those of scripts, and unknown names.

        Raises
        ------
        PluginError
            If the plug-in cannot be loaded, or its name clashes with another's.
        """
        plugin = find(self.family, name, self.own)
        return plugin if plugin is not None and self[name] is plugin.load() else None

    def module_getattr(self, module: str) -> Callable[[str], type[T]]:
        """Return a ``__getattr__`` for a module: it gives plug-ins by their name in a config, or as a class."""

        def attribute(name: str) -> type[T]:
            if not name.startswith("_"):
                for same in offered(self.family).values():
                    if name in (same[0].name, same[0].entry.attr):
                        return self[same[0].name]
            raise AttributeError(f"module {module!r} has no attribute {name!r}")

        return attribute

    def plugins(self) -> list[str]:
        """Load all plug-ins of the family, and return their names.

        One that cannot be loaded, or whose name clashes with another's, is left out, with a warning in the log.
        """
        found = []
        for name in offered(self.family):
            try:
                if self.origin(name) is not None:
                    found.append(name)
            except PluginError as error:
                log.warning("%s", error)
        return found
