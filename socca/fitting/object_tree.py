"""Objects of socca as plain data and arrays, from which they are made again without running code from the file.

A tree is JSON. Classes and functions in it are those of socca that have a tag (`socca.utils.tags`), the few of
`KINDS`, and the distributions of numpyro. All else, such as a function from a script, is a pickle, and only opened on
request.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cloudpickle
import numpy as np
from astropy.io import fits

from socca.errors import PosteriorError
from socca.models import Model
from socca.parameters.ties import EqualTo, Tie
from socca.posterior.hdf5 import is_plain
from socca.utils.tags import tag_of, tags

#: Classes without a tag, by name.
KINDS: dict[str, type] = {"model/Model": Model, "model/Tie": Tie, "model/EqualTo": EqualTo}
#: Families of classes whose objects are made from the values of their attributes.
_FAMILIES = ("component", "model", "prior", "truncation", "vertical")
#: Kinds of arrays that a file keeps; others are pickles.
ARRAYS = "biufcU"
_COLLECTIONS: dict[str, Callable[..., Any]] = {"list": list, "tuple": tuple, "set": frozenset}


class Packer:
    """Turns objects into plain data.

    Attributes
    ----------
    arrays : list of ndarray
        Those that the plain data refer to.
    pickles : list of bytes
        Likewise.
    """

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.pickles: list[bytes] = []
        self._seen: dict[int, int] = {}
        self._held: list[Any] = []  # so that no identity is used twice

    def pack(self, value: Any) -> Any:
        """Return an object as plain data."""
        if value is None or isinstance(value, bool | str) or (type(value) is int):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, np.ndarray | np.generic) and is_plain(value.dtype, ARRAYS):
            self.arrays.append(np.asarray(value))
            return {"array": len(self.arrays) - 1}
        if isinstance(value, slice):
            return {"slice": [self.pack(x) for x in (value.start, value.stop, value.step)]}
        if isinstance(value, fits.Header):
            return {"header": value.tostring(sep="\n")}
        name = _name_of(value)
        if name is not None:
            return {"named": name}
        kind = _name_of(type(value))
        fields = None if kind is None else _fields(type(value))
        if fields is not None:
            return {"made": kind, "fields": {key: self.pack(getattr(value, key)) for key in fields}}
        for word, own in _COLLECTIONS.items():
            if type(value) is own:
                return {word: [self.pack(item) for item in value]}
        if type(value) is dict:
            return {"dict": [[self.pack(key), self.pack(item)] for key, item in value.items()]}
        if kind is not None and _has_family(kind) and hasattr(value, "__dict__"):
            return self._object(kind, value)
        self.pickles.append(cloudpickle.dumps(value))
        return {"pickle": len(self.pickles) - 1}

    def _object(self, kind: str, value: Any) -> Any:
        if id(value) in self._seen:
            return {"same": self._seen[id(value)]}
        number = self._seen[id(value)] = len(self._seen)
        self._held.append(value)
        return {"object": kind, "number": number, "state": {key: self.pack(held) for key, held in vars(value).items()}}


class Unpacker:
    """Makes objects from plain data.

    Parameters
    ----------
    arrays : sequence of ndarray
        What `Packer.arrays` was.
    pickles : sequence of bytes
        Likewise.
    allow_pickle : bool
        Whether to open pickles, which can run any code.
    """

    def __init__(self, arrays: Sequence[np.ndarray], pickles: Sequence[bytes], allow_pickle: bool) -> None:
        self._arrays, self._pickles, self._allowed = arrays, pickles, allow_pickle
        self._made: dict[int, Any] = {}
        self._named = dict(tags()) | KINDS

    def unpack(self, packed: Any) -> Any:
        """Return the object that plain data stand for; `PosteriorError` for a pickle, unless it is allowed."""
        if not isinstance(packed, Mapping):
            return packed
        if "object" in packed:
            if not _has_family(packed["object"]):
                raise PosteriorError(f"{packed['object']} is no component, prior or model")
            kind = self._class(packed["object"])
            made = self._made[packed["number"]] = kind.__new__(kind)
            made.__dict__.update({key: self.unpack(held) for key, held in packed["state"].items()})
            return made
        if "made" in packed:
            kind = self._class(packed["made"])
            if _fields(kind) is None:
                raise PosteriorError(f"{packed['made']} is no record, of which a file gives the fields")
            return kind(**{key: self.unpack(held) for key, held in packed["fields"].items()})
        ((word, content),) = packed.items()
        if word in _COLLECTIONS:
            return _COLLECTIONS[word](self.unpack(item) for item in content)
        if word == "dict":
            return {self.unpack(key): self.unpack(item) for key, item in content}
        if word == "slice":
            return slice(*(self.unpack(x) for x in content))
        if word == "pickle" and not self._allowed:
            raise PosteriorError(
                "model or image hold what only a pickle can, such as a function of a script: load(..., "
                "allow_pickle=True) reads it; do so only if you trust the file, for pickles can run any code"
            )
        read: dict[str, Callable[[Any], Any]] = {
            "float": float,
            "header": lambda text: fits.Header.fromstring(text, sep="\n"),
            "array": self._arrays.__getitem__,
            "named": self._thing,
            "same": self._made.__getitem__,
            "pickle": lambda number: cloudpickle.loads(self._pickles[number]),
        }
        return read[word](content)

    def _thing(self, name: str) -> Any:
        family, _, own = name.partition("/")
        if family == "numpyro":
            return _distributions()[own]
        return self._named[name]

    def _class(self, name: str) -> Any:
        found = self._thing(name)
        if not inspect.isclass(found):
            raise PosteriorError(f"{name} is no class")
        return found


def _name_of(thing: Any) -> str | None:
    """Return the name of a class or function in a tree; None if it has none, or is another kind of thing."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return None
    for name, kind in KINDS.items():
        if thing is kind:
            return name
    if str(thing.__module__).startswith("numpyro.distributions"):
        name = str(thing.__name__)
        return f"numpyro/{name}" if _distributions().get(name) is thing else None
    return tag_of(thing)


def _fields(kind: type) -> Sequence[str] | None:
    """Return the fields of a named tuple or a data class; None if a class is neither."""
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(kind._fields)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init]
    return None


def _has_family(name: str) -> bool:
    return name.partition("/")[0] in _FAMILIES


def _distributions() -> dict[str, Any]:
    """Return the distributions of numpyro by name."""
    import numpyro.distributions as dist

    return {
        name: kind for name, kind in vars(dist).items() if inspect.isclass(kind) and issubclass(kind, dist.Distribution)
    }
