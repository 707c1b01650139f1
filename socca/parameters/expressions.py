"""Arithmetic written in a config: parsed into a small tree, never evaluated as code.

An expression is made of numbers, units (``2 arcsec``), columns of the table of targets (``$ra``), parameters of
other components (``disk.re``), ``+ - * / **``, parentheses and a few functions:

>>> from socca.parameters.expressions import parse
>>> tree = parse("max(disk.re * 0.2, 1 arcsec)")
>>> sorted(tree.names())
['disk.re']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from socca.errors import ConfigError, nearest
from socca.utils.lazy import special
from socca.utils.tags import tagged

#: Functions that an expression may call: name -> (name in NumPy and JAX, number of arguments).
FUNCTIONS: dict[str, tuple[str, int]] = {
    "abs": ("abs", 1),
    "acos": ("arccos", 1),
    "asin": ("arcsin", 1),
    "atan": ("arctan", 1),
    "atan2": ("arctan2", 2),
    "cos": ("cos", 1),
    "exp": ("exp", 1),
    "gamma": ("gamma", 1),
    "lgamma": ("gammaln", 1),
    "log": ("log", 1),
    "log10": ("log10", 1),
    "max": ("maximum", 2),
    "min": ("minimum", 2),
    "sin": ("sin", 1),
    "sqrt": ("sqrt", 1),
    "tan": ("tan", 1),
}
#: Those that are in the module of special functions beside NumPy, and JAX's.
_SPECIAL = frozenset({"gamma", "gammaln"})
_OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "true_divide", "**": "power"}
_CONSTANTS = {"pi": 3.141592653589793}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<column>\$[A-Za-z_]\w*)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<op>\*\*|[-+*/^(),]))"
)
_MAX_LENGTH = 1000
#: Far more than anyone writes, and far less than the recursion over a tree can take.
_MAX_DEPTH = 100


@tagged("spec/Node")
@dataclass(frozen=True)
class Node:
    """One node of a parsed expression.

    Parameters
    ----------
    kind : {'number', 'name', 'column', 'unit', 'constant', 'call'}
        What the node is. ``constant`` nodes are made by `bind_columns`.
    value : float, str or int
        The number, the name, the unit, the position of the constant, or the function's name in NumPy.
    args : tuple of Node
        Operands.
    """

    kind: str
    value: float | str | int
    args: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for arg in self.args:
            yield from arg.walk()

    def names(self) -> set[str]:
        """Return the parameters that the expression refers to."""
        return {str(n.value) for n in self.walk() if n.kind == "name"}

    def columns(self) -> set[str]:
        """Return the columns that the expression refers to, without their ``$``."""
        return {str(n.value) for n in self.walk() if n.kind == "column"}


def parse(text: str) -> Node:
    """Parse an expression.

    Parameters
    ----------
    text : str
        The expression.

    Returns
    -------
    Node
        The root of the tree.

    Raises
    ------
    ConfigError
        If the text is no expression; the message says where.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(f"expression of {len(text)} characters: the limit is {_MAX_LENGTH}")
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens(text))
        self.at = 0

    def _tokens(self, text: str) -> Iterator[tuple[str, str, int]]:
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                position += len(text[position:]) - len(text[position:].lstrip())
                raise self._error(f"unexpected {text[position]!r}", position)
            kind = match.lastgroup or ""
            yield kind, match.group(kind), match.start(kind)
            position = match.end()

    def _error(self, message: str, position: int) -> ConfigError:
        return ConfigError(f"cannot read expression {self.text!r}: {message} at character {position + 1}")

    def _peek(self) -> tuple[str, str, int]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "the end", len(self.text))

    def _next(self) -> tuple[str, str, int]:
        token = self._peek()
        self.at += 1
        return token

    def _accept(self, *ops: str) -> str | None:
        kind, value, _ = self._peek()
        if kind == "op" and value in ops:
            self.at += 1
            return value
        return None

    def _expect(self, op: str) -> None:
        if self._accept(op) is None:
            _, value, position = self._peek()
            raise self._error(f"expected {op!r}, found {value!r}", position)

    def parse(self) -> Node:
        too_deep = ConfigError(f"expression {self.text[:40]!r}… is nested too deeply: the limit is {_MAX_DEPTH} levels")
        try:
            node = self._sum()
        except RecursionError:
            raise too_deep from None
        kind, value, position = self._peek()
        if kind != "end":
            raise self._error(f"unexpected {value!r}", position)
        if _depth(node) > _MAX_DEPTH:
            raise too_deep
        return node

    def _binary(self, operand: Callable[[], Node], *ops: str) -> Node:
        node = operand()
        while (op := self._accept(*ops)) is not None:
            node = Node("call", _OPERATORS[op], (node, operand()))
        return node

    def _sum(self) -> Node:
        return self._binary(self._product, "+", "-")

    def _product(self) -> Node:
        return self._binary(self._signed, "*", "/")

    def _signed(self) -> Node:
        if self._accept("-"):
            return Node("call", "negative", (self._signed(),))
        if self._accept("+"):
            return self._signed()
        base = self._atom()
        if self._accept("**", "^"):
            _, _, position = self._peek()
            exponent = self._signed()
            # 10**2 arcsec is 10 to the power of 2 arcsec, which nobody means.
            if exponent.kind == "unit" or (exponent.value == "negative" and exponent.args[0].kind == "unit"):
                raise self._error("an exponent has no unit; put parentheses around what the unit is of", position)
            return Node("call", "power", (base, exponent))
        return base

    def _atom(self) -> Node:
        kind, value, position = self._next()
        if kind == "number":
            return self._with_unit(Node("number", float(value)))
        if kind == "column":
            return self._with_unit(Node("column", value[1:]))
        if kind == "name":
            if self._accept("("):
                return self._call(value, position)
            return Node("number", _CONSTANTS[value]) if value in _CONSTANTS else Node("name", value)
        if (kind, value) == ("op", "("):
            node = self._sum()
            self._expect(")")
            return self._with_unit(node)
        raise self._error(f"unexpected {value!r}", position)

    def _with_unit(self, node: Node) -> Node:
        kind, value, _ = self._peek()
        if kind == "name":
            self.at += 1
            return Node("unit", value, (node,))
        return node

    def _call(self, name: str, position: int) -> Node:
        if name not in FUNCTIONS:
            raise self._error(f"unknown function {name!r}{nearest(name, FUNCTIONS)}", position)
        args = [self._sum()]
        while self._accept(","):
            args.append(self._sum())
        self._expect(")")
        target, count = FUNCTIONS[name]
        if len(args) != count:
            raise self._error(f"{name} takes {count} argument(s), not {len(args)}", position)
        return Node("call", target, tuple(args))


def _depth(root: Node) -> int:
    """Return the number of levels of a tree, without recursion."""
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [arg for node in level for arg in node.args]
    return depth


def evaluate(
    node: Node,
    xp: ModuleType,
    *,
    name: Callable[[str], Any] | None = None,
    column: Callable[[str], Any] | None = None,
    unit: Callable[[str], float] | None = None,
    constants: Any = (),
) -> Any:
    """Compute the value of an expression.

    Parameters
    ----------
    node : Node
        The expression.
    xp : module
        Where its functions come from: `numpy` or `jax.numpy`.
    name, column : callable, optional
        Give the value of a parameter or of a column.
    unit : callable, optional
        Gives the factor that turns a number in that unit into the unit wanted.
    constants : sequence, optional
        Values of the ``constant`` nodes.

    Returns
    -------
    float or array
        The value.

    Raises
    ------
    ConfigError
        If the expression holds a name, column or unit where none is allowed.
    """
    if node.kind == "number":
        return node.value
    if node.kind == "constant":
        return constants[node.value]
    if node.kind == "call":
        values = [evaluate(arg, xp, name=name, column=column, unit=unit, constants=constants) for arg in node.args]
        return _function(xp, str(node.value))(*values)
    lookup = {"name": name, "column": column, "unit": unit}[node.kind]
    if lookup is None:
        raise ConfigError(f"{node.kind} {node.value!r} cannot be used here")
    found = lookup(str(node.value))
    if node.kind == "unit":
        inner = evaluate(node.args[0], xp, name=name, column=column, unit=unit, constants=constants)
        return inner * found
    return found


def _function(xp: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of an array module by its name there."""
    if name not in _SPECIAL:
        return getattr(xp, name)
    if xp is np:
        from scipy import special as of_scipy

        return getattr(of_scipy, name)
    return getattr(special, name)


def bind_columns(
    node: Node, column: Callable[[str], float], unit: Callable[[str], float]
) -> tuple[Node, tuple[float, ...]]:
    """Replace columns and units by numbered constants.

    What differs between targets then is a vector of numbers, and the tree is the same for all of them.

    Parameters
    ----------
    node : Node
        The expression.
    column, unit : callable
        As for `evaluate`.

    Returns
    -------
    tree : Node
        The expression with ``constant`` nodes.
    constants : tuple of float
        Their values.
    """
    constants: list[float] = []

    def constant(value: float) -> Node:
        constants.append(float(value))
        return Node("constant", len(constants) - 1)

    def replace(part: Node) -> Node:
        if part.kind == "column":
            return constant(column(str(part.value)))
        if part.kind == "unit":  # the size of a pixel differs between targets
            return Node("call", "multiply", (replace(part.args[0]), constant(unit(str(part.value)))))
        return Node(part.kind, part.value, tuple(replace(arg) for arg in part.args))

    return replace(node), tuple(constants)
