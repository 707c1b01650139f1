"""Reference page of the config, made from its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from socca import models, priors
from socca.samplers import METHODS, get_sampler
from socca.survey.config.components import COMPONENT_MODELS, DISK_VERTICAL, PositionConfig
from socca.survey.config.schema import Config

_HEAD = """# The config, key by key

<!-- Made by `socca schema --markdown`; a test keeps it in step. -->

A survey's config is a YAML file. Unknown keys are refused. Where a *value* is expected, any of these will do:

- a number: `4`, `1e-12`
- a number with a unit, where the parameter is an angle: `2 arcsec`, `40 deg`, `0.3 rad`, `3 pix`
- arithmetic with columns of the table of targets: `$ra + 1 arcsec`, `10 ** (-0.4 * $mag)`
- a tie to parameters of other components, by the names that you gave them: `disk.rs * 0.2`
- a prior, which makes the parameter free; its numbers are values too: `{uniform: [0, 180 deg]}`

Numbers without a unit are in the parameter's own: degrees on the sky, radians for `theta`, the image's unit for
intensities. Expressions know `+ - * / **`, parentheses, `pi`, and the functions FUNCTIONS.
Nothing in a config is ever run as code.

A config is YAML, in UTF-8. Keys are text as they stand. What YAML would silently read in another way than it looks is
refused, with the line: a key that occurs twice in one place, a number that begins with 0 (octal), `12:30:45` (a number
to base 60), a date that is not in quotes, and `.nan`. `yes`, `no`, `on` and `off` are true and false: as a text, such
as the name of a survey, they need quotes.

## The table of targets

The README lists the columns. The table is read in these formats, each of which may be compressed (`.gz`, `.bz2`,
`.xz`, `.zip`):

- text (`.csv`, `.txt`, `.tsv`, `.dat`) with one line of column names. Cells are separated by commas, semicolons, tabs,
  bars or blanks, whichever separate the names. Lines that begin with # are comments. Text is UTF-8, or UTF-16 with its
  byte order mark. A row with too few or too many cells is refused with its line;
- ECSV (`.ecsv`), FITS (`.fits`, `.fit`, `.fts`, `.fz`) and VOTable (`.vot`, `.votable`, `.xml`), whose columns of
  angles may have units;
- Parquet (`.parquet`, `.pq`), if pyarrow is installed.

A blank cell has no value. In a column of numbers, `N/A`, `NA`, `nan`, `null`, `none`, `-`, `--` and `...` have none
either. Where a fit needs such a value, or one that is a text among numbers, `socca check` finds its target, and the fit
fails; all other targets are fitted. Names of targets have 100 characters at most, and differ by more than case: on some
file systems, folders that differ by case only are one.
"""


_OPTIONS = """What `sampler.options` may hold: those below, and what the back end's own constructor and run take, by the
names in its manual, but for what socca itself gives them (likelihood, prior, pool, seed, files). `socca check` lists
them all after a misspelt one, and checks the type and range of each value."""


def config_reference() -> str:
    """Return the reference page.

    Returns
    -------
    str
        Markdown.
    """
    from socca.parameters.expressions import FUNCTIONS

    lines = [_HEAD.replace("FUNCTIONS", ", ".join(f"`{name}`" for name in sorted(FUNCTIONS)))]
    lines += ["## Priors", "", "| prior | numbers | |", "| --- | --- | --- |"]
    for name, prior in priors.REGISTRY.own.items():
        lines.append(f"| `{name}` | {', '.join(f'`{a}`' for a in prior.arguments)} | {_first_line(prior)} |")
    lines += ["", "## Top level", "", *_table(Config)]
    for name, section in _sections(Config):
        lines += [f"## `{name}`", "", _first_line(section), "", *_table(section)]
    lines += ["## Options of the samplers", "", _OPTIONS, "", "| method | | defaults here |", "| --- | --- | --- |"]
    for name in METHODS:
        sampler = get_sampler(name)
        defaults = ", ".join(f"`{key}: {_plain(value)}`" for key, value in sampler.defaults.items())
        lines.append(f"| `{name}` | {_first_line(sampler)} | {defaults} |")
    lines += ["", "## `position`", "", _first_line(PositionConfig), "", *_table(PositionConfig)]
    lines += ["## Components", "", "Each has a `type`, and a value for each of its parameters.", ""]
    for name, kind in models.REGISTRY.own.items():
        lines += [f"### {name}", "", _first_line(kind), "", *_table(COMPONENT_MODELS[name], skip=("type",))]
    lines += ["## Vertical profiles", "", "The `vertical` section of a disk.", ""]
    for name, section in DISK_VERTICAL.items():
        lines += [f"### {name}", "", _first_line(section), "", *_table(section, skip=("type",))]
    return "\n".join(lines).rstrip() + "\n"


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    for key, field in model.model_fields.items():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                name = f"{prefix}{key}" + (".<name>" if inner is not field.annotation and key == "models" else "")
                yield name, inner
                yield from _sections(inner, f"{name}.")


def _table(model: type[BaseModel], skip: tuple[str, ...] = ()) -> list[str]:
    rows = ["| key | default | |", "| --- | --- | --- |"]
    for key, field in model.model_fields.items():
        if key in skip:
            continue
        if field.is_required():
            default = "*needed*"
        elif field.default_factory is not None:
            default = ""
        else:
            default = _shown(field.default)
        rows.append(f"| `{key}` | {default} | {field.description or ''} |")
    return [*rows, ""]


def _plain(value: Any) -> str:
    """Return a default as YAML has it."""
    return json.dumps(value).strip('"')


def _shown(value: Any) -> str:
    return "" if value is None else f"`{value:.10g}`" if isinstance(value, float) else f"`{value}`"
