"""Samplers: one file for each back end, with the interface `Sampler`."""

from __future__ import annotations

from importlib import import_module

from socca.errors import ConfigError, nearest
from socca.samplers.base import Draws, Sampler

__all__ = ["METHODS", "Draws", "Sampler", "get_sampler"]

#: Method -> where its class is; nothing is imported before it is used.
METHODS = {
    "nautilus": ("socca.samplers.nautilus", "Nautilus"),
    "dynesty": ("socca.samplers.dynesty", "Dynesty"),
    "pocomc": ("socca.samplers.pocomc", "Pocomc"),
    "emcee": ("socca.samplers.emcee", "Emcee"),
    "numpyro": ("socca.samplers.numpyro", "Numpyro"),
    "optimizer": ("socca.samplers.optimizer", "Optimizer"),
}


def get_sampler(method: str) -> type[Sampler]:
    """Return the sampler of a method.

    Parameters
    ----------
    method : str
        One of `METHODS`.

    Returns
    -------
    type
        A subclass of `Sampler`.

    Raises
    ------
    ConfigError
        If there is no such method; the message lists the known ones.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}{nearest(method, METHODS)} (known: {', '.join(METHODS)})")
    module, name = METHODS[method]
    found: type[Sampler] = getattr(import_module(module), name)
    return found
