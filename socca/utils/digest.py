"""What tells two things apart that would compile to different programs, or lead to different results.

The same in every process: nothing here depends on addresses, on the seed of hashes, or on the order of a set.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)


def digest(*things: Any) -> str:
    """Return a SHA-256 over all that `describe` tells of some things.

    Parameters
    ----------
    *things : object
        Anything; see `describe`.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(repr(describe(things)).encode()).hexdigest()


def describe(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Describe a thing by what it is and holds.

    Parameters
    ----------
    value : object
        Numbers, text, arrays and collections of them are described by their content; a dataclass by its fields; a
        function by its code, its defaults, what it closes over and the globals that it names, with the functions among
        these likewise (but a module's contents are not followed); any other object by what it holds. What an installed
        package defines is described by its name.
    within : tuple of int
        Identities of what the thing is part of, so that what holds itself has an end.

    Returns
    -------
    tuple or plain value
        Its `repr` is equal for things that are the same.
    """
    if isinstance(value, _PLAIN):
        return type(value).__name__, repr(value)
    if id(value) in within:
        return "again", len(within) - within.index(id(value))
    inner = functools.partial(describe, within=(*within, id(value)))
    kind = _name(type(value))
    if isinstance(value, types.ModuleType):
        return "module", value.__name__
    if isinstance(value, type):
        methods = {} if _is_installed(value) else {k: v for k, v in vars(value).items() if _is_method(v)}
        return "class", _name(value), inner(methods)
    if isinstance(value, Mapping):
        return kind, sorted((inner((key, held)) for key, held in value.items()), key=repr)
    if isinstance(value, set | frozenset):
        return "set", sorted(map(inner, value), key=repr)
    if isinstance(value, tuple | list):
        return kind, [inner(item) for item in value]
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        # A quantity has its unit besides, a masked array its mask.
        return kind, _describe_array(np.asarray(value), inner), inner(vars(value) if hasattr(value, "__dict__") else {})
    if dataclasses.is_dataclass(value):
        return kind, [(f.name, inner(getattr(value, f.name))) for f in dataclasses.fields(value)]
    if isinstance(value, functools.partial):
        return kind, inner((value.func, value.args, value.keywords))
    if isinstance(value, types.CodeType):
        return "code", value.co_code.hex(), inner((value.co_consts, value.co_names, value.co_varnames))
    if isinstance(value, types.MethodType):
        return "method", inner((value.__func__, value.__self__))
    if callable(value) and hasattr(value, "__qualname__") and _is_installed(value):
        return "function", _name(value)
    if isinstance(value, types.FunctionType):
        return "function", inner((value.__code__, value.__defaults__, value.__kwdefaults__, _refers_to(value)))
    if isinstance(value, staticmethod | classmethod) or hasattr(value, "__wrapped__"):
        return kind, inner(value.__wrapped__)
    held = getattr(value, "__dict__", None)
    # Of what is left, a repr is all there is; it must not hold an address.
    return kind, inner(type(value)), inner(held) if held else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _describe_array(array: np.ndarray, inner: Any) -> Any:
    if array.dtype.hasobject:
        return array.shape, inner(array.tolist())
    return array.shape, array.dtype.str, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _is_method(value: Any) -> bool:
    return isinstance(value, types.FunctionType | staticmethod | classmethod | property)


def _is_installed(thing: Any) -> bool:
    """Tell whether a package defines it: what it does is then said by its name and the package's version."""
    root = str(getattr(thing, "__module__", None) or "builtins").partition(".")[0]
    if root == "socca" or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _refers_to(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function closes over, and the globals that it or a function within it names."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closed_over = {name: _content(cell) for name, cell in cells}
    named = {name for code in _codes(function.__code__) for name in code.co_names}
    return {name: function.__globals__[name] for name in named if name in function.__globals__} | closed_over


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
