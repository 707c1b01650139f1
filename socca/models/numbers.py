"""Profiles that take plain numbers too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from socca.utils.lazy import jax


def for_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of traced arrays take plain numbers, lists and arrays as well.

    Parameters
    ----------
    function : callable
        Of arrays that JAX traces, or of mappings of them.

    Returns
    -------
    callable
        While JAX traces it, `function`. Otherwise it is computed in double precision, and returns a NumPy array, or a
        number for numbers.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves = jax.tree.leaves((args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return function(*args, **kwargs)
        with jax.enable_x64(True):
            found = _compiled(function)(
                *map(_doubles, args), **{name: _doubles(value) for name, value in kwargs.items()}
            )
        return np.asarray(found)[()]

    return wrapper


def _doubles(value: Any) -> Any:
    return {key: _doubles(held) for key, held in value.items()} if isinstance(value, dict) else np.asarray(value, float)


@functools.lru_cache(maxsize=256)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function)
