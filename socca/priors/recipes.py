"""Recipes of numpyro distributions: their static structure apart from their numbers.

JAX's own flattening of a pytree would not do: numpyro orders the fields of a distribution differently in each process,
and these recipes are hashed into checkpoints and sent to workers. Numbers that a distribution computed when it was made
may also have no more than single precision.
"""

from __future__ import annotations

import inspect
import math
import operator
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from socca.utils.tags import tagged

#: What a distribution's method raises where it has no formula, or needs a package that is not installed.
MISSING = (NotImplementedError, ImportError, AttributeError, TypeError)


class Recipe(Protocol):
    """The static, hashable part of an object; the numbers are drawn from an iterator, in order."""

    def build(self, numbers: Iterator[Any]) -> Any:
        """Return the object with these numbers."""

    def show(self, numbers: Iterator[float] | None) -> str:
        """Describe the object, or with None all of its static part."""


@tagged("prior/numpyro.number")
@dataclass(frozen=True)
class _Number:
    """The place of a number, or of an array of them."""

    shape: tuple[int, ...]

    def build(self, numbers: Iterator[Any]) -> Any:
        import jax.numpy as jnp

        flat = [next(numbers) for _ in range(math.prod(self.shape))]
        return jnp.stack(flat).reshape(self.shape) if self.shape else flat[0]

    def show(self, numbers: Iterator[float] | None) -> str:
        if numbers is None:
            return f"array{list(self.shape)}" if self.shape else "number"
        flat = [f"{next(numbers):g}" for _ in range(math.prod(self.shape))]
        return f"[{', '.join(flat)}]" if self.shape else flat[0]


@tagged("prior/numpyro.constant")
@dataclass(frozen=True)
class _Constant:
    """What has no number."""

    value: Any

    def build(self, numbers: Iterator[Any]) -> Any:
        return self.value

    def show(self, numbers: Iterator[float] | None) -> str:
        return repr(self.value)


@tagged("prior/numpyro.sequence")
@dataclass(frozen=True)
class _Sequence:
    """A list or a tuple."""

    kind: type
    parts: tuple[Recipe, ...]

    def build(self, numbers: Iterator[Any]) -> Any:
        return self.kind(part.build(numbers) for part in self.parts)

    def show(self, numbers: Iterator[float] | None) -> str:
        return f"[{', '.join(part.show(numbers) for part in self.parts)}]"


@tagged("prior/numpyro.call")
@dataclass(frozen=True)
class _Call:
    """A distribution as a call of its class, so that all it computes of its arguments has their precision."""

    kind: type
    parts: tuple[tuple[str, Recipe], ...]

    def build(self, numbers: Iterator[Any]) -> Any:
        return self.kind(**{name: part.build(numbers) for name, part in self.parts})

    def show(self, numbers: Iterator[float] | None) -> str:
        return f"{self.kind.__name__}({', '.join(f'{name}={part.show(numbers)}' for name, part in self.parts)})"


@tagged("prior/numpyro.state")
@dataclass(frozen=True)
class _State:
    """A distribution, a transform or a constraint by its fields, where its class cannot be called with them."""

    kind: Any
    parts: tuple[tuple[str, Recipe], ...]
    constants: tuple[tuple[str, Any], ...]

    def build(self, numbers: Iterator[Any]) -> Any:
        fields = {name: part.build(numbers) for name, part in self.parts}
        constants = dict(self.constants)
        if not hasattr(self.kind, "gather_pytree_data_fields"):
            return self.kind.tree_unflatten((tuple(fields), constants), tuple(fields.values()))
        return self.kind.tree_unflatten(
            tuple(constants[name] for name in self.kind.gather_pytree_aux_fields()),
            tuple(fields[name] for name in self.kind.gather_pytree_data_fields()),
        )

    def show(self, numbers: Iterator[float] | None) -> str:
        inner = [f"{name}={part.show(numbers)}" for name, part in self.parts]
        if numbers is None:
            inner += [f"{name}={value!r}" for name, value in self.constants]
        return f"{self.kind.__name__}({', '.join(inner)})"


def is_distribution(value: Any) -> bool:
    """Tell a numpyro distribution; whoever made one has imported numpyro."""
    kind = getattr(sys.modules.get("numpyro.distributions"), "Distribution", None)
    return kind is not None and isinstance(value, kind)


class Splitter:
    """Splits a distribution.

    Parameters
    ----------
    value : numpyro.distributions.Distribution
        The distribution.

    Attributes
    ----------
    recipe : Recipe
        What is static.
    numbers : list of float
        Its numbers.
    names : list of str
        What they are called.

    Raises
    ------
    TypeError
        If a part of it is neither static nor a number.
    """

    def __init__(self, value: Any) -> None:
        self.numbers: list[float] = []
        self.names: list[str] = []
        self.recipe = self._split(value, "")
        hash(self.recipe)

    def _split(self, value: Any, path: str) -> Recipe:
        if is_distribution(value):
            start = len(self.numbers)
            try:
                called = self._call(value, path)
                if _is_same(called.build(iter(self.numbers[start:])), value):
                    return called
            except MISSING:
                pass
            del self.numbers[start:], self.names[start:]
            return self._state(value, path)
        if isinstance(value, list | tuple):
            parts = [self._split(item, f"{path}[{k}]") for k, item in enumerate(value)]
            return _Sequence(type(value), tuple(parts))
        if value is None or isinstance(value, bool | str):
            return _Constant(value)
        if hasattr(value, "tree_flatten"):
            return self._state(value, path)
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{path} is no number, but {value!r}")
        self.numbers += array.astype(float).ravel().tolist()
        self.names += [f"{path}{list(index)}" for index in np.ndindex(*array.shape)] if array.shape else [path]
        return _Number(array.shape)

    def _call(self, distribution: Any, path: str) -> _Call:
        parts = []
        for argument in inspect.signature(type(distribution).__init__).parameters.values():
            if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
                raise TypeError(f"{type(distribution).__name__} takes any number of arguments")
            if argument.name not in ("self", "validate_args"):
                value = getattr(distribution, argument.name)
                parts.append((argument.name, self._split(value, _join(path, argument.name))))
        return _Call(type(distribution), tuple(parts))

    def _state(self, value: Any, path: str) -> _State:
        kind = type(value)
        if is_distribution(value):
            fields = {name: value.__dict__.get(name) for name in sorted(kind.gather_pytree_data_fields())}
            constants = {name: value.__dict__.get(name) for name in sorted(kind.gather_pytree_aux_fields())}
        else:
            inner, (names, constants) = value.tree_flatten()
            fields = dict(zip(names, inner, strict=True))
        parts = tuple((name, self._split(field, _join(path, name))) for name, field in fields.items())
        return _State(kind, parts, tuple(constants.items()))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_same(one: Any, other: Any) -> bool:
    import jax

    leaves, structure = jax.tree_util.tree_flatten(one)
    other_leaves, other_structure = jax.tree_util.tree_flatten(other)
    pairs = zip(leaves, other_leaves, strict=False)
    # Loose: what a distribution keeps may have single precision.
    return bool(operator.eq(structure, other_structure)) and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-5) for a, b in pairs
    )
