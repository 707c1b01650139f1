"""Plug-ins: components, priors, noise models and samplers of other installed packages, found by their entry points.

Nothing is looked for before a name is asked for, and no plug-in is imported before its own name is.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterator
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from socca.errors import PluginError
from socca.utils.tags import is_own

#: Family -> group of entry points.
GROUPS = {
    "component": "socca.components",
    "prior": "socca.priors",
    "noise": "socca.noise",
    "sampler": "socca.samplers",
}
_NAMES = {"noise": "noise model"}


@dataclass(frozen=True)
class Plugin:
    """A member of a family that another package offers.

    Parameters
    ----------
    family : str
        One of `GROUPS`.
    entry : EntryPoint
        Where it is.
    distribution, version : str
        Who offers it.
    """

    family: str
    entry: EntryPoint
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.release} ({self.entry.group}: {self.entry.name} = {self.entry.value})"

    @property
    def name(self) -> str:
        """What it is called in a config."""
        return self.entry.name

    @property
    def kind(self) -> str:
        """What it is, in words: component, prior, noise model or sampler."""
        return _NAMES.get(self.family, self.family)

    @property
    def release(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import what the entry point names.

        Raises
        ------
        PluginError
            If that fails, for whatever reason; the message names distribution and entry point.
        """
        try:
            return self.entry.load()
        except Exception as error:  # whatever another package's import raises
            raise PluginError(
                f"{self.kind} {self.name!r} of {self}: cannot be loaded: {type(error).__name__}: {error}"
            ) from error


@functools.cache
def offered(family: str) -> dict[str, tuple[Plugin, ...]]:
    """Return the plug-ins of a family by name: more than one where packages clash. Looked up once in a process."""
    found: dict[str, tuple[Plugin, ...]] = {}
    if family not in GROUPS:
        return found
    for entry in sorted(entry_points(group=GROUPS[family]), key=lambda entry: (entry.name, entry.value)):
        dist = entry.dist
        name, version = ("an unknown distribution", "") if dist is None else (dist.name, dist.version)
        found[entry.name] = (*found.get(entry.name, ()), Plugin(family, entry, name, version))
    return found


def find(family: str, name: str, own: Container[str] = ()) -> Plugin | None:
    """Return the plug-in of that name, or None.

    Parameters
    ----------
    family : str
        One of `GROUPS`; any other family has no plug-ins.
    name : str
        Its name.
    own : container of str
        Names of socca's own members of the family.

    Returns
    -------
    Plugin or None
        Not loaded.

    Raises
    ------
    PluginError
        If the name is one of socca's own, or several packages offer it; the message names all of them.
    """
    found = offered(family).get(name, ())
    if not found:
        return None
    if name in own:
        raise PluginError(
            f"{found[0].kind} {name!r} of {found[0]} has the name of one of socca's own: its package must call it "
            "something else"
        )
    if len(found) > 1:
        raise PluginError(
            f"{found[0].kind} {name!r} is offered by {' and by '.join(map(str, found))}: uninstall all of these "
            "packages but one"
        )
    return found[0]


def origin_of(kind: type) -> Plugin | None:
    """Return the plug-in that a class is, or that it is a subclass of; None for all other classes."""
    for base in kind.__mro__:
        if not is_own(base) and base.__module__ != "builtins":
            for family in GROUPS:
                for same in offered(family).values():
                    for plugin in same:
                        # Only those are loaded that may be this class.
                        if plugin.entry.attr.rpartition(".")[2] == base.__name__ and plugin.load() is base:
                            return plugin
    return None


def plugins_in(*things: Any) -> list[Plugin]:
    """Return the plug-ins whose classes a spec holds, each once.

    Parameters
    ----------
    *things : object
        Classes, dataclasses, and tuples of them, nested to any depth.

    Returns
    -------
    list of Plugin
        In the order of their names.
    """
    found = {plugin for kind in _classes(things) if (plugin := origin_of(kind)) is not None}
    return sorted(found, key=lambda plugin: (plugin.family, plugin.name))


def _classes(value: Any) -> Iterator[type]:
    if isinstance(value, type):
        yield value
    elif isinstance(value, tuple):
        for inner in value:
            yield from _classes(inner)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _classes(getattr(value, field.name))
