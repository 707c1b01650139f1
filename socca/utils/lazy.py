"""JAX modules that load when they are first used.

Type checkers see the modules themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class LazyModule:
    """A module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self.__dict__["__name__"] = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        self.__dict__[name] = value
        return value


if TYPE_CHECKING:
    import jax
    from jax import numpy as jnp
    from jax.scipy import special

    from socca.utils import fastmath
else:
    jax = LazyModule("jax")
    jnp = LazyModule("jax.numpy")
    special = LazyModule("jax.scipy.special")
    fastmath = LazyModule("socca.utils.fastmath")
