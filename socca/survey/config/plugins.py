"""Plug-ins that a config names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from socca import models, noise, priors, samplers
from socca.survey.config.values import is_prior
from socca.utils.plugins import Plugin


def mentioned(data: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield what a config names of the families that may have plug-ins.

    Parameters
    ----------
    data : mapping
        A config, checked or not, or `Config.fit_settings` of it.
    where : str
        What places begin with.

    Yields
    ------
    place, family, name : str
        Such as ``models.sersic.components.galaxy``, ``component``, ``Sersic``. The name may be unknown.
    """
    for section, key, family in (("sampler", "method", "sampler"), ("noise", "kind", "noise")):
        inner = data.get(section)
        if isinstance(inner, Mapping) and isinstance(inner.get(key), str):
            yield f"{where}{section}", family, inner[key]
    for key in ("noise", "models", "model"):
        yield from _within(data.get(key), f"{where}{key}")
    overrides = data.get("overrides")
    if isinstance(overrides, Mapping):
        for target, own in overrides.items():
            if isinstance(own, Mapping):
                yield from mentioned(own, f"overrides.{target}.")


def _within(value: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Yield the components and priors of a section, at any depth."""
    if not isinstance(value, Mapping):
        return
    if is_prior(value):
        yield where, "prior", str(next(iter(value)))
        return
    if isinstance(value.get("type"), str):
        yield where, "component", value["type"]
    for key, inner in value.items():
        if key != "vertical":  # whose profiles are a family without plug-ins
            yield from _within(inner, f"{where}.{key}")
        elif isinstance(inner, Mapping):
            yield from _within({name: held for name, held in inner.items() if name != "type"}, f"{where}.{key}")


def plugins_by_place(data: Mapping[str, Any]) -> dict[str, list[Plugin]]:
    """Return the plug-ins that a config names, loaded, by the places where it does.

    Parameters
    ----------
    data : mapping
        As for `mentioned`.

    Returns
    -------
    dict of list
        Place -> the plug-ins that are named there. Places that name socca's own alone are left out.

    Raises
    ------
    PluginError
        If one cannot be loaded, or its name clashes with another's.
    """
    found: dict[str, list[Plugin]] = {}
    for place, family, name in mentioned(data):
        plugin = _ORIGINS[family](name)
        if plugin is not None:
            found.setdefault(place, []).append(plugin)
    return found


def plugins_of(data: Mapping[str, Any]) -> list[Plugin]:
    """Return the plug-ins that a config names, loaded, each once, in the order of families and names."""
    found = {plugin for plugins in plugins_by_place(data).values() for plugin in plugins}
    return sorted(found, key=lambda plugin: (plugin.family, plugin.name))


_ORIGINS = {
    "component": models.REGISTRY.origin,
    "prior": priors.REGISTRY.origin,
    "noise": noise.REGISTRY.origin,
    "sampler": samplers.origin,
}
