"""YAML as configs are written in: every value with its line, and nothing read in a way that its writer did not mean.

Keys are text as they stand: a target called ``NO`` or ``007`` is neither false nor 7. Repeated keys are refused. So is
what YAML 1.1 takes for something else than it looks like: dates, numbers that begin with 0, and numbers to base 60.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from socca.errors import ConfigError
from socca.utils.files import open_regular

#: How many values aliases may stand for, beyond those that are written: a small file must not fill the memory.
_MOST_ALIASED = 1_000_000
#: No number of a config is near that, and larger ones are no floating-point numbers.
_LARGEST = 10**300
_TAG = "tag:yaml.org,2002:"
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


class Document:
    """What a YAML file holds.

    Parameters
    ----------
    root : Node, optional
        As PyYAML composes it; None for an empty file.
    mistakes : list of str
        To which what is refused is added, each with its line.

    Attributes
    ----------
    data : object
        Mappings, lists, text, numbers, booleans and None.
    """

    def __init__(self, root: Node | None, mistakes: list[str]) -> None:
        self._root = root
        self._mistakes = mistakes
        self._made: dict[int, Any] = {}
        self.data = None if root is None else self._value(root)

    def line(self, path: Sequence[str | int]) -> int | None:
        """Return the line of a key, or of the innermost section around it that there is; None for the whole file.

        Parameters
        ----------
        path : sequence of str or int
            Keys of mappings and positions in lists, outermost first. Those that are not there are passed over.

        Returns
        -------
        int or None
            Counted from 1.
        """
        node, found = self._root, None
        for part in path:
            if isinstance(node, MappingNode):
                inner = {key.value: (key, value) for key, value in _pairs(node)}.get(str(part))
            elif isinstance(node, SequenceNode) and str(part).isdecimal() and int(part) < len(node.value):
                inner = (node.value[int(part)],) * 2
            else:
                inner = None
            if inner is not None:
                found, node = _line(inner[0]), inner[1]
        return found

    def _refuse(self, node: Node, message: str) -> None:
        self._mistakes.append(f"line {_line(node)}: {message}")

    def _value(self, node: Node) -> Any:
        """Return what a node holds; the same object for each alias of it."""
        if id(node) not in self._made:
            if isinstance(node, MappingNode):
                self._made[id(node)] = self._mapping(node)
            elif isinstance(node, SequenceNode):
                self._made[id(node)] = self._list(node)
            elif isinstance(node, ScalarNode):  # there are no others
                self._made[id(node)] = self._scalar(node)
        return self._made[id(node)]

    def _list(self, node: SequenceNode) -> list[Any]:
        if node.tag != f"{_TAG}seq":
            self._refuse_tag(node)
        return [self._value(inner) for inner in node.value]

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        if node.tag != f"{_TAG}map":
            self._refuse_tag(node)
        seen: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._refuse(key, "a key must be text, and is a list or a mapping")
                continue
            if _is_merge(key) and not all(isinstance(part, MappingNode) for part in _parts(value)):
                self._refuse(key, "'<<' takes the keys of another mapping, or of a list of them")
            if key.value in seen:
                self._refuse(key, f"the key {key.value!r} occurs twice; it is also in line {_line(seen[key.value])}")
            seen.setdefault(key.value, key)
        return {key.value: self._value(value) for key, value in _pairs(node)}

    def _scalar(self, node: ScalarNode) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind == "timestamp":
            self._refuse(node, f"{text} is a date to YAML: put it in quotes")
        elif kind in ("int", "float") and ":" in text:
            self._refuse(node, f"{text} is a number to base 60 to YAML: write decimal degrees, or put it in quotes")
        elif kind == "int" and _OCTAL.fullmatch(text):
            self._refuse(node, f"{text} begins with 0, which is octal to YAML: leave the 0 out, or put it in quotes")
        elif kind not in _SCALARS:
            self._refuse_tag(node)
        else:
            return self._plain(node, kind)
        return None

    def _plain(self, node: ScalarNode, kind: str) -> Any:
        """Return text, a number, a boolean or None."""
        try:
            value = _SCALARS[kind](yaml.constructor.SafeConstructor(), node)
        except (ValueError, KeyError, OverflowError, IndexError):  # int("many"), more digits than Python reads, …
            self._refuse(node, f"{_brief(node.value)} cannot be read as a number ({kind})")
            return None
        if isinstance(value, float) and value != value:
            self._refuse(node, f"{node.value} is no value that anything can have; leave the key out")
            return None
        if isinstance(value, int) and abs(value) > _LARGEST:
            self._refuse(node, f"{_brief(node.value)} is too large")
            return None
        return value

    def _refuse_tag(self, node: Node) -> None:
        self._refuse(node, f"the tag {node.tag.replace(_TAG, '!!')} has no meaning in a config: leave it out")


_SCALARS: dict[str, Callable[[yaml.constructor.SafeConstructor, ScalarNode], Any]] = {
    "str": yaml.constructor.SafeConstructor.construct_yaml_str,
    "int": yaml.constructor.SafeConstructor.construct_yaml_int,
    "float": yaml.constructor.SafeConstructor.construct_yaml_float,
    "bool": yaml.constructor.SafeConstructor.construct_yaml_bool,
    "null": yaml.constructor.SafeConstructor.construct_yaml_null,
}


def read_yaml(path: str | Path) -> Document:
    """Read a YAML file.

    Parameters
    ----------
    path : str or Path
        The file, in UTF-8.

    Returns
    -------
    Document
        Its content, with lines.

    Raises
    ------
    ConfigError
        If it cannot be read, is not YAML, or holds what a config cannot; each mistake with its line.
    """
    path = Path(path)
    try:
        with open_regular(path) as stream:
            content = stream.read()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: cannot be read: line {line}: 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None
    mistakes: list[str] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_aliases(root)
        document = Document(root, mistakes)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {_said(error, text)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: its lists and mappings are nested too deeply") from None
    if mistakes:
        raise ConfigError(f"{path}: is not valid YAML for a config:\n" + "\n".join(f"  {line}" for line in mistakes))
    return document


def _said(error: yaml.YAMLError, text: str) -> str:
    """Say in one line what PyYAML found, and where."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        return f"line {line}: the character {chr(int(error.character))!r} is not allowed"
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
    hint = ": indent with spaces, not tabs" if "'\\t'" in problem else ""
    context = getattr(error, "context", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return f"{where}{f'{context}, ' if context else ''}{' '.join(problem.split())}{hint}"


def _check_aliases(root: Node | None) -> None:
    """Refuse aliases that hold themselves, or that stand for more values than anyone has use for."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: Node) -> int:
        if id(node) in inside:
            raise ConfigError(f"line {_line(node)}: an alias within its own anchor")
        if id(node) not in sizes:
            inside.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _inner(node)))
            inside.discard(id(node))
        return sizes[id(node)]

    if root is not None and size(root) - len(sizes) > _MOST_ALIASED:
        raise ConfigError(f"its aliases stand for {size(root)} values: write them out, or fewer")


def _inner(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from (key, value)
    elif isinstance(node, SequenceNode):
        yield from node.value


def _pairs(node: MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
    """Yield keys and values; first those that are merged in with ``<<``, which later ones replace."""
    pairs = [(key, value) for key, value in node.value if isinstance(key, ScalarNode)]
    merged: dict[str, tuple[ScalarNode, Node]] = {}
    for part in (part for key, value in pairs if _is_merge(key) for part in _parts(value)):
        if isinstance(part, MappingNode):
            for name, pair in {key.value: (key, value) for key, value in _pairs(part)}.items():
                merged.setdefault(name, pair)  # of several mappings, the first one holds
    yield from merged.values()
    yield from ((key, value) for key, value in pairs if not _is_merge(key))


def _is_merge(key: ScalarNode) -> bool:
    return bool(key.tag == f"{_TAG}merge")


def _parts(node: Node) -> list[Node]:
    return list(node.value) if isinstance(node, SequenceNode) else [node]


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _brief(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)} characters)"
