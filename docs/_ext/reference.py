"""API reference: tables made from the registries, and cross references in docstrings.

Directives, for Markdown pages:

- ``components``, ``noise-models``, ``priors``, ``samplers``: everything that is registered, with its parameters or
  options, so that a new member of a family has its place on the page by itself;
- ``truncations``, ``vertical-profiles``: the parts of radial profiles and disks;
- ``command-line``: what ``socca COMMAND --help`` prints.

The tables of parameters are appended to the docstrings of the classes.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

#: Public path -> paths under which docstrings and code name the same object.
ALIASES = {
    "socca.posterior.Posterior": "socca.Posterior",
    "socca.models.zoo": "socca.zoo",
}

PARAMETERS = ["parameter", "unit", "range", "default", "meaning"]
#: Stands for a colon while napoleon is at work.
HIDDEN = "\ue000"
OPTIONS = ["option", "default", "range"]


def bound(value: float) -> str:
    """Return the end of a range as tables show it: multiples of pi by name."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    turns = value / math.pi
    if value and abs(turns - round(2 * turns) / 2) < 1e-12:
        return {0.5: "π/2", 1.0: "π", 2.0: "2π"}.get(turns, f"{turns:g}π")
    return f"{value:g}"


def allowed(field: Any) -> str:
    """Return the range of a parameter, and its period if it is an angle that comes back to itself."""
    if math.isinf(field.lower) and math.isinf(field.upper):
        text = "any"
    elif field.is_length and math.isinf(field.upper):
        text = "> 0"
    elif math.isinf(field.upper):
        text = f"≥ {bound(field.lower)}"
    elif math.isinf(field.lower):
        text = f"≤ {bound(field.upper)}"
    else:
        text = f"{bound(field.lower)} to {bound(field.upper)}"
    return text + (f", period {bound(field.period)}" if field.period else "")


def parameter_rows(fields: Mapping[str, Any], upper_limits: Mapping[str, tuple[float, str]]) -> Iterable[list[str]]:
    """Return the rows of a table of parameters: name, unit, range, default, meaning."""
    for name, field in fields.items():
        default = "" if field.default is None else f"``{field.default:.6g}``"
        limits = upper_limits.get(name)
        within = allowed(field) if limits is None else f"{bound(field.lower)} to below {bound(limits[0])}"
        yield [f"``{name}``", field.unit, within, default, escaped(field.description)]


def option_rows(sampler: Any) -> Iterable[list[str]]:
    """Return the rows of a table of a sampler's own options and of those with another default than the back end."""
    for name, value in sampler.defaults.items():
        yield [f"``{name}``", f"``{value!r}``", str(sampler.allowed_values(name))]


def other_options(sampler: Any) -> list[str]:
    """Return paragraphs that name the other options of a back end, and other names of them, if it is installed."""
    try:
        others = [f"``{key}``" for key in sampler.known_options() if key not in sampler.defaults]
    except ImportError:
        return []
    names = [f"``{alias}`` for ``{option}``" for alias, option in sampler.aliases.items()]
    unused = [f"``{key}``" for key in sampler.without_effect]
    lines = [f"Further options: {', '.join(others)}.", ""] if others else []
    lines += [f"Other names: {', '.join(names)}.", ""] if names else []
    return lines + ([f"Without effect: {', '.join(unused)}.", ""] if unused else [])


def escaped(text: str) -> str:
    """Return text that stands for itself in reStructuredText."""
    return "".join("\\" + letter if letter in "*`|_\\" else letter for letter in text)


def list_table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return a table as lines of reStructuredText; without rows, nothing."""
    rows = list(rows)
    if not rows:
        return []
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    for row in (header, *rows):
        lines += [f"   {'* -' if not k else '  -'} {cell}".rstrip() for k, cell in enumerate(row)]
    return [*lines, ""]


def described(module: str, kind: type) -> list[str]:
    """Return the lines of reStructuredText that describe a class, and what it has beyond its family."""
    lines = [f".. autoclass:: {module or kind.__module__}.{kind.__name__}", "   :no-members:", ""]
    inherited = {name for base in kind.__mro__[1:] for name in vars(base)}
    for name, member in vars(kind).items():
        own = inspect.isfunction(member) or isinstance(member, property)
        if own and not name.startswith("_") and name not in inherited and inspect.getdoc(member):
            directive = "autoproperty" if isinstance(member, property) else "automethod"
            lines += [f"   .. {directive}:: {name}", ""]
    return lines


def registered(family: str) -> Iterable[tuple[str, type]]:
    """Return all members of a family, in the order of their registry, and the module that makes them public."""
    from socca import models, noise, priors, samplers
    from socca.models.disk import vertical
    from socca.models.radial import truncation

    registries: dict[str, tuple[str, Iterable[type]]] = {
        "components": ("socca.models", models.REGISTRY.values()),
        "noise-models": ("socca.noise", noise.REGISTRY.values()),
        "priors": ("socca.priors", priors.REGISTRY.values()),
        "truncations": ("socca.models.radial.truncation", truncation.REGISTRY.values()),
        "vertical-profiles": ("socca.models.disk", vertical.REGISTRY.values()),
        "samplers": ("", [samplers.get_sampler(method) for method in samplers.METHODS]),
    }
    module, kinds = registries[family]
    return [(module, kind) for kind in kinds]


def append_tables(app: Any, what: str, name: str, kind: Any, options: Any, lines: list[str]) -> None:
    """Append the table of parameters, numbers or options to the docstring of a class; an event of autodoc."""
    if what != "class" or not isinstance(kind, type):
        return
    from socca.models.radial.truncation import Truncation
    from socca.parameters.parameterised import Parameterised
    from socca.priors import Prior
    from socca.samplers import Sampler

    if issubclass(kind, Parameterised | Truncation):
        limits = kind.upper_limits if issubclass(kind, Parameterised) else {}
        table = list_table(PARAMETERS, parameter_rows(all_fields(kind), limits))
        if key := getattr(kind, "name", None):
            table = [f"Name in a config: ``{key}``.", "", *table]
    elif issubclass(kind, Sampler) and kind is not Sampler:
        table = [f"Name: ``{kind.name}``.", "", *list_table(OPTIONS, option_rows(kind)), *other_options(kind)]
    elif issubclass(kind, Prior) and kind.defaults:
        table = ["Defaults: " + ", ".join(f"``{key} = {value:g}``" for key, value in kind.defaults.items()) + ".", ""]
    else:
        return
    lines += ["", *table]


def keep_colons(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Hide colons in the docstrings of properties: napoleon would take what is before one for a type."""
    if what == "property":
        lines[:] = [line.replace(":", HIDDEN) for line in lines]


def restore_colons(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Undo `keep_colons`, after napoleon."""
    if what == "property":
        lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def all_fields(kind: Any) -> Mapping[str, Any]:
    """Return the parameters of a component; of one that is made of parts, with those of its default parts."""
    try:
        return kind().fields
    except Exception:  # one that cannot be made without arguments
        return kind.fields


def help_of_commands() -> Iterable[tuple[str, str]]:
    """Return each command, and its help as the terminal shows it."""
    import os

    from typer.main import get_command
    from typer.testing import CliRunner

    from socca.cli import app

    os.environ.update(COLUMNS="100", TERMINAL_WIDTH="100", NO_COLOR="1", TERM="dumb")
    runner = CliRunner()
    for name in (None, *get_command(app).commands):
        arguments = ["--help"] if name is None else [name, "--help"]
        result = runner.invoke(app, arguments, prog_name="socca")
        if result.exit_code:
            raise RuntimeError(f"socca {' '.join(arguments)}: {result.output}")
        yield name or "", result.output.strip()


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Find what a name in backticks means, where Sphinx does not; an event of Sphinx.

    Names in the docstrings may be arguments, values or names of other modules: these stay as they are. A path into
    socca must lead somewhere.
    """
    if node.get("refdomain") != "py":
        return None
    from docutils import nodes

    target = node["reftarget"]
    domain = env.get_domain("py")
    for alias, path in ALIASES.items():
        if target == alias or target.startswith(alias + "."):
            node["reftarget"] = path + target.removeprefix(alias)
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node, contnode
            )
    # A name without its path, of something on another page.
    endings = [name for name in domain.objects if name.endswith("." + target)] if "." not in target else []
    if len(endings) == 1 and target[0].isupper():
        node["reftarget"] = endings[0]
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", endings[0], node, contnode)
    if target.startswith("socca.") and not exists(target):
        return None  # and Sphinx warns
    return nodes.literal("", target) if node["reftype"] == "obj" else contnode


def exists(path: str) -> bool:
    """Tell whether a path leads to a module, or to something in one."""
    parts = path.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            if isinstance(found, type) and part in inspect.signature(found).parameters:
                return True  # an attribute of instances
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def setup(app: Any) -> dict[str, Any]:
    """Register directives and events."""
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.util.docutils import SphinxDirective

    class FamilyDirective(SphinxDirective):
        """Everything that is registered under the name of the directive."""

        def run(self) -> list[nodes.Node]:
            lines = ["```{eval-rst}"]
            for module, kind in registered(self.name):
                lines += described(module, kind)
            found = nodes.container()
            self.state.nested_parse(StringList([*lines, "```"], "registry"), 0, found)
            return found.children

    class CommandLine(SphinxDirective):
        """The help of each command."""

        def run(self) -> list[nodes.Node]:
            lines: list[str] = []
            for name, text in help_of_commands():
                lines += [f"## `socca {name}`" if name else "## `socca`", "", "```text", *text.splitlines(), "```", ""]
            found = nodes.section()
            self.state.nested_parse(StringList(lines, "help"), 0, found, match_titles=True)
            return found.children

    for name in ("components", "noise-models", "priors", "samplers", "truncations", "vertical-profiles"):
        app.add_directive(name, FamilyDirective)
    app.add_directive("command-line", CommandLine)
    # napoleon has the priority 500.
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", restore_colons, priority=600)
    app.connect("autodoc-process-docstring", append_tables, priority=900)
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True}
