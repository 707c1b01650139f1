"""Sphinx directive ``architecture``: the folders of socca, and which of them import which.

Everything is read when the pages are built: the layers from the import contract in ``pyproject.toml``, the imports from
the code (by grimp), and what a folder is from the docstring of its ``__init__``.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Sizes in the picture, in units of its coordinates.
WIDTH, HEIGHT, GAP, LANE, LETTERS = 240, 66, 24, 30, 38


@dataclass(frozen=True)
class Architecture:
    """The folders of the package, and the imports between them.

    Parameters
    ----------
    layers : tuple of tuple of str
        Folders (and modules beside them), top to bottom; those of one layer do not import each other.
    about : dict of str
        What each of them is: the first sentence of its docstring.
    imports : dict of set of str
        What each of them imports, but for the exceptions of the contract.
    exceptions : set of (str, str)
        Imports that the contract allows although they lead upwards.
    """

    layers: tuple[tuple[str, ...], ...]
    about: dict[str, str]
    imports: dict[str, set[str]]
    exceptions: set[tuple[str, str]]

    @classmethod
    def read(cls, root: Path = ROOT) -> Architecture:
        """Read contract, docstrings and imports of the package in `root`."""
        import grimp

        contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        contract = next(one for one in contracts if one["id"] == "direction")
        layers = tuple(tuple(name.strip() for name in layer.split("|")) for layer in contract["layers"])
        names = [name for layer in layers for name in layer]
        ignored = {tuple(part.strip() for part in line.split("->")) for line in contract["ignore_imports"]}
        graph = grimp.build_graph("socca", exclude_type_checking_imports=True, cache_dir=None)
        imports: dict[str, set[str]] = {name: set() for name in names}
        exceptions = set()
        for module in graph.modules:
            for imported in graph.find_modules_directly_imported_by(module):
                ends = [name.split(".")[1] if "." in name else "" for name in (module, imported)]
                if ends[0] == ends[1] or "" in ends:
                    continue
                if (module, imported) in ignored:
                    exceptions.add((ends[0], ends[1]))
                else:
                    imports[ends[0]].add(ends[1])
        return cls(layers, {name: first_sentence(root / "socca" / name) for name in names}, imports, exceptions)

    def reachable(self, name: str) -> set[str]:
        """Return what a folder imports, directly or through others."""
        return set().union(*({other} | self.reachable(other) for other in self.imports[name]))

    def shared(self) -> set[str]:
        """Return what three quarters of at least eight folders above import: no arrows are drawn to these."""
        found: set[str] = set()
        above: list[str] = []
        for layer in self.layers:
            for name in layer:
                users = sum(name in self.imports[other] for other in above)
                if len(above) >= 8 and 4 * users >= 3 * len(above):
                    found.add(name)
            above += layer
        return found

    def arrows(self) -> list[tuple[str, str]]:
        """Return the imports that are no consequence of others: without a way through a third folder."""
        shared = self.shared()
        return [
            (name, other)
            for name, imported in self.imports.items()
            for other in sorted(imported - shared)
            if not any(other in self.reachable(third) for third in imported - {other})
        ]


def first_sentence(path: Path) -> str:
    """Return the first sentence of the docstring of a module, or of a folder's ``__init__``."""
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    paragraph = (ast.get_docstring(ast.parse(source.read_text())) or "").split("\n\n")[0]
    return " ".join(paragraph.split())


def placed(architecture: Architecture) -> tuple[dict[Any, float], float]:
    """Return the horizontal position of each folder, and of each arrow in each layer that it passes; and the width.

    Folders and arrows of a layer are ordered by the mean position of where their arrows come from, and centred.
    """
    level = {name: k for k, layer in enumerate(architecture.layers) for name in layer}
    sources: dict[Any, list[Any]] = {name: [] for name in level}
    rows: list[list[Any]] = [list(layer) for layer in architecture.layers]
    for start, end in architecture.arrows():
        before: Any = start
        for k in range(level[start] + 1, level[end]):
            passing = (start, end, k)
            rows[k].append(passing)
            sources[passing] = [before]
            before = passing
        sources[end].append(before)
    at: dict[Any, float] = {}
    spans = []
    for row in rows:
        wanted = {item: [at[source] for source in sources[item]] for item in row}
        row.sort(key=lambda item: sum(wanted[item]) / len(wanted[item]) if wanted[item] else 0.0)
        sizes = [LANE if isinstance(item, tuple) else WIDTH + GAP for item in row]
        left = -sum(sizes) / 2
        for item, size in zip(row, sizes, strict=True):
            at[item] = left + size / 2
            left += size
        spans.append(sum(sizes))
    return at, max(spans)


def drawing(architecture: Architecture) -> str:
    """Return the picture as SVG, in the colours of the page that it is part of."""
    at, width = placed(architecture)
    level = {name: k for k, layer in enumerate(architecture.layers) for name in layer}
    step = HEIGHT + 34
    height = step * len(architecture.layers) - 34

    def point(item: Any, k: int, side: float) -> str:
        return f"{at[item] + width / 2:.0f} {k * step + side * HEIGHT:.0f}"

    shapes = []
    for start, end in architecture.arrows():
        before = point(start, level[start], 1)
        path = f"M {before}"
        for k in range(level[start] + 1, level[end]):
            top, bottom = (point((start, end, k), k, side) for side in (0, 1))
            path += f"{curve(before, top)} L {bottom}"
            before = bottom
        path += curve(before, point(end, level[end], 0))
        shapes.append(f'<path d="{path}" marker-end="url(#tip)"/>')
    for start, end in sorted(architecture.exceptions):
        x, x_end = (at[name] + width / 2 + 0.4 * WIDTH for name in (start, end))
        y, y_end = level[start] * step, level[end] * step + HEIGHT
        bend = 60 + 12 * abs(level[start] - level[end])
        shapes.append(
            f'<path d="M {x:.0f} {y} C {x + bend:.0f} {y - 50} {x_end + bend:.0f} {y_end + 50} {x_end:.0f} {y_end}" '
            'stroke-dasharray="5 4" marker-end="url(#tip)"/>'
        )
    boxes = [box(name, text, at[name] + width / 2, level[name] * step) for name, text in architecture.about.items()]
    return (
        f'<svg viewBox="-2 -2 {width + 4:.0f} {height + 4:.0f}" role="img" aria-label="Folders of socca and their '
        'imports" style="width: 100%; height: auto; font-family: inherit" xmlns="http://www.w3.org/2000/svg">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M 0 0 L 8 4 L 0 8 z" fill="currentColor"/></marker></defs>'
        f'<g fill="none" stroke="currentColor" stroke-opacity="0.6">{"".join(shapes)}</g>{"".join(boxes)}</svg>'
    )


def curve(start: str, end: str) -> str:
    """Return a curve that leaves downwards and arrives downwards."""
    (x, y), (x_end, y_end) = (map(float, text.split()) for text in (start, end))
    middle = (y + y_end) / 2
    return f" C {x:.0f} {middle:.0f} {x_end:.0f} {middle:.0f} {x_end:.0f} {y_end:.0f}"


def box(name: str, text: str, x: float, y: float) -> str:
    """Return a box with a name and what it is, centred at `x` and hanging from `y`."""
    lines = textwrap.wrap(text.rstrip(".").replace("`", ""), LETTERS, max_lines=3, placeholder=" …")
    spans = "".join(f'<tspan x="{x:.0f}" dy="13">{escape(line)}</tspan>' for line in lines)
    return (
        f'<rect x="{x - WIDTH / 2:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="currentColor" '
        'fill-opacity="0.06" stroke="currentColor" stroke-opacity="0.6"/>'
        f'<text x="{x:.0f}" y="{y + 17:.0f}" text-anchor="middle" fill="currentColor" font-size="14" '
        f'font-weight="bold">{escape(name)}</text>'
        f'<text x="{x:.0f}" y="{y + 20:.0f}" text-anchor="middle" fill="currentColor" font-size="11">{spans}</text>'
    )


def table(architecture: Architecture) -> Iterable[str]:
    """Return the lines of a table of folders, in Markdown."""
    yield from ("| folder | what it is | imports |", "| --- | --- | --- |")
    order = [name for layer in architecture.layers for name in layer]
    for name in order:
        imported = ", ".join(f"`{other}`" for other in order if other in architecture.imports[name])
        yield f"| `{name}` | {architecture.about[name]} | {imported} |"


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.util.docutils import SphinxDirective

    class ArchitectureDirective(SphinxDirective):
        """The picture, and the table."""

        def run(self) -> list[nodes.Node]:
            architecture = Architecture.read()
            found = nodes.container()
            self.state.nested_parse(StringList(list(table(architecture)), "architecture"), 0, found)
            return [nodes.raw("", drawing(architecture), format="html"), found]

    app.add_directive("architecture", ArchitectureDirective)
    return {"version": "1", "parallel_read_safe": True}
