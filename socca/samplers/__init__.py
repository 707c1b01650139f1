"""Samplers: one file for each back end, with the interface `Sampler`."""

from __future__ import annotations

from importlib import import_module

from socca.errors import ConfigError, PluginError, nearest
from socca.samplers.base import Draws, Sampler
from socca.utils.plugins import Plugin, find, offered

__all__ = ["METHODS", "Draws", "Sampler", "get_sampler", "origin"]

#: Method of socca's own -> where its class is; nothing is imported before it is used.
METHODS = {
    "nautilus": ("socca.samplers.nautilus", "Nautilus"),
    "dynesty": ("socca.samplers.dynesty", "Dynesty"),
    "pocomc": ("socca.samplers.pocomc", "Pocomc"),
    "emcee": ("socca.samplers.emcee", "Emcee"),
    "numpyro": ("socca.samplers.numpyro", "Numpyro"),
    "optimizer": ("socca.samplers.optimizer", "Optimizer"),
    "adaptive": ("socca.samplers.adaptive", "Adaptive"),
}


def get_sampler(method: str) -> type[Sampler]:
    """Return the sampler of a method.

    Parameters
    ----------
    method : str
        One of `METHODS`, or of a plug-in.

    Returns
    -------
    type
        A subclass of `Sampler`.

    Raises
    ------
    ConfigError
        If there is no such method; the message lists the known ones. A `PluginError` if it is a plug-in that cannot be
        loaded, or its name clashes with another's.
    """
    plugin = origin(method)
    if plugin is not None:
        loaded: type[Sampler] = plugin.load()
        return loaded
    if method not in METHODS:
        raise ConfigError(
            f"unknown method {method!r}{nearest(str(method), [*METHODS, *offered('sampler')], listed=True)}"
        )
    module, name = METHODS[method]
    found: type[Sampler] = getattr(import_module(module), name)
    return found


def origin(method: str) -> Plugin | None:
    """Return the plug-in that a method is of; None for socca's own, and for unknown ones.

    Parameters
    ----------
    method : str
        Its name.

    Returns
    -------
    Plugin or None
        Loaded, and looked at: it is a sampler of this name.

    Raises
    ------
    PluginError
        If it cannot be loaded, is no sampler of this name, or its name clashes with another's.
    """
    plugin = find("sampler", method, METHODS)
    if plugin is not None:
        loaded = plugin.load()
        named = isinstance(loaded, type) and issubclass(loaded, Sampler) and getattr(loaded, "name", None) == method
        if not named:
            raise PluginError(f"sampler {method!r} of {plugin}: {loaded!r} is no sampler of this name")
    return plugin
