"""JAX for the modules that describe models: reading a config needs these descriptions, and no JAX."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """A module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self.__dict__["__name__"] = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        self.__dict__[name] = value
        return value


jax: Any = LazyModule("jax")
jnp: Any = LazyModule("jax.numpy")
special: Any = LazyModule("jax.scipy.special")
fastmath: Any = LazyModule("socca.utils.fastmath")
