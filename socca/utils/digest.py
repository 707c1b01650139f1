"""Digests: equal for problems that share a program and a result, in every process.

The same in every process: nothing here depends on addresses, on the seed of hashes, or on the order of a set. And the
same after a file or a class of socca has moved: what socca defines is named by its tag (`socca.utils.tags`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import re
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from socca.utils.lazy import LazyModule
from socca.utils.tags import is_own, tag_of

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class UntaggedWarning(UserWarning):
    """A class of socca without a tag is part of a digest, which is another one once the class has moved."""


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
        Numbers, text, arrays and collections of them are described by their content; a dataclass by those of its
        fields that count in comparisons; a function by its code, its defaults, what it closes over and the globals that
        it names, with the functions among these likewise (but a module's contents are not followed); a class by its
        bases, its methods and its constants; any other object by what it holds. What an installed package defines is
        described by its name; what socca defines by its tag, or, of a function without one, by what it does. A class of
        socca without a tag is described by its name, with an `UntaggedWarning`.
    within : tuple of int
        Identities of what the thing is part of, so that what holds itself has an end.

    Returns
    -------
    tuple or plain value
        Its `repr` is equal for things that are the same.
    """
    if isinstance(value, np.generic):
        return type(value).__name__, repr(value.item())  # without its type, which NumPy shows since version 2
    if isinstance(value, _PLAIN):
        return type(value).__name__, repr(value)
    if id(value) in within:
        return "again", len(within) - within.index(id(value))
    inner = functools.partial(describe, within=(*within, id(value)))
    if isinstance(value, types.ModuleType | LazyModule):
        return "module", tag_of(value) or value.__name__
    if isinstance(value, type):
        return "class", kind_name(value), () if is_own(value) or _is_installed(value) else inner(_content_of(value))
    kind = kind_name(type(value))
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
        return kind, [(f.name, inner(getattr(value, f.name))) for f in dataclasses.fields(value) if f.compare]
    if isinstance(value, functools.partial):
        return kind, inner((value.func, value.args, value.keywords))
    if isinstance(value, types.CodeType):
        return "code", value.co_code.hex(), inner((value.co_consts, value.co_names, value.co_varnames))
    if isinstance(value, types.MethodType):
        return "method", inner((value.__func__, value.__self__))
    if callable(value) and tag_of(value):
        return "function", tag_of(value)
    if callable(value) and hasattr(value, "__qualname__") and _is_installed(value):
        return "function", _name(value)
    if isinstance(value, logging.Logger):
        return "logger", value.name  # it holds all others
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


def kind_name(kind: type) -> str:
    """Return what a class is called in digests: its tag, or module and name.

    Parameters
    ----------
    kind : type
        The class.

    Returns
    -------
    str
        For a class of socca without a tag, module and name with an `UntaggedWarning`.
    """
    tag = tag_of(kind)
    if tag is None and is_own(kind) and issubclass(kind, BaseException):
        return f"error/{kind.__name__}"  # which no result depends on
    if tag is None and is_own(kind):
        warnings.warn(
            f"{_name(kind)} has no tag and is part of a digest: once it is moved, checkpoints with it are refused",
            UntaggedWarning,
            stacklevel=2,
        )
    return tag or _name(kind)


def _content_of(kind: type) -> dict[str, Any]:
    """Return what a class does: its bases, its methods, and those of its attributes that cannot change."""
    held = {key: value for key, value in vars(kind).items() if _is_method(value) or _is_constant(key, value)}
    return {"__bases__": kind.__bases__, **held}


def _is_method(value: Any) -> bool:
    return isinstance(value, types.FunctionType | staticmethod | classmethod | property)


def _is_constant(key: str, value: Any) -> bool:
    return not key.startswith("__") and isinstance(value, (*_PLAIN, tuple, frozenset))


def _is_installed(thing: Any) -> bool:
    """Tell whether another package defines it: what it does is then said by its name and the package's version."""
    root = str(getattr(thing, "__module__", None) or "builtins").partition(".")[0]
    if is_own(thing):
        return False
    if root in sys.stdlib_module_names:
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
