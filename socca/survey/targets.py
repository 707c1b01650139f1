"""Table of targets, one row for each."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from socca.data.hdus import HduIndex, split_hdu
from socca.errors import ConfigError, DataError, nearest
from socca.survey.table_file import Angle, read_columns
from socca.utils.files import exists

#: Columns with files, relative to the folder of the table.
FILE_COLUMNS = (
    "image",
    "psf",
    "sigma",
    "variance",
    "weight",
    "mask",
    "regions",
    "segmentation",
    "response",
    "exposure",
)
#: Those that hold the noise, of which a row has one.
NOISE_COLUMNS = ("sigma", "variance", "weight")
_RESERVED = ("target", *FILE_COLUMNS, "segment", "models")
_FITS = re.compile(r"\.(fits?|fz|fts)(\.gz)?(\[[^\[\]]*\])?$", re.IGNORECASE)
#: Names of targets become names of folders.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
#: File systems allow 255 characters, and names of logs and temporary files are longer than those of targets.
_LONGEST_NAME = 100
#: What stands in a column of numbers for none, in lower case.
_BLANK = ("", "n/a", "na", "nan", "null", "none", "-", "--", "...")


class Missing(float):
    """NaN, in a column of numbers where a target has none.

    Parameters
    ----------
    cell : str
        What the table has there instead; empty for a blank cell.
    """

    cell: str

    def __new__(cls, cell: str = "") -> Missing:
        """Make one."""
        made = super().__new__(cls, "nan")
        made.cell = cell
        return made


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Parameters
    ----------
    name : str
        Name of the target.
    files : dict of Path
        Column -> file, for those that the row gives.
    segment : int or None
        The object's number in its segmentation map.
    models : tuple of str
        Models to fit; empty for all.
    columns : dict of float
        All other numeric columns; those with an angle for their unit as `Angle`.
    hdus : dict
        Column -> HDU, for the files with one in brackets behind their names.
    row : str
        The row as it is in the table, as JSON: what a fit depends on.
    """

    name: str
    files: dict[str, Path]
    segment: int | None = None
    models: tuple[str, ...] = ()
    columns: dict[str, float] = field(default_factory=dict)
    row: str = ""
    hdus: dict[str, HduIndex] = field(default_factory=dict)

    @property
    def noise(self) -> tuple[str, Path] | None:
        """Which noise map there is, and its file."""
        return next(((key, self.files[key]) for key in NOISE_COLUMNS if key in self.files), None)


def case_twins(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that differ by case only, and would share a folder where file systems ignore case."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield first, name


def load_targets(path: str | Path, only: Container[str] | None = None) -> dict[str, Target]:
    """Read a table of targets.

    Parameters
    ----------
    path : str or Path
        See `socca.survey.table_file.read_columns`.
    only : container of str, optional
        Names of targets; rows of others are not looked at.

    Returns
    -------
    dict of Target
        By name, in the order of the table.

    Raises
    ------
    ConfigError
        If the table cannot be read, lacks a column or a value, or names a target twice; every mistake is listed.
    """
    path = Path(path)
    if not exists(path):
        raise ConfigError(f"no such file: {path}")
    columns = read_columns(path, as_text=("target", "models"))
    return from_columns(columns, path.parent, str(path), only)


def from_columns(
    columns: dict[str, list[Any]], folder: Path, where: str, only: Container[str] | None = None
) -> dict[str, Target]:
    """Turn columns into targets.

    Parameters
    ----------
    columns : dict of list
        Column -> values; None where there is none.
    folder : Path
        What paths are relative to.
    where : str
        Named in errors.
    only : container of str, optional
        Names of targets; rows of others are not looked at.

    Returns
    -------
    dict of Target
        By name.

    Raises
    ------
    ConfigError
        As `load_targets`.
    """
    names = list(columns)
    for needed in ("target", "image"):
        if needed not in columns:
            raise ConfigError(f"{where}: column {needed!r} is needed{nearest(needed, names)}")
    numbers = {name: found for name in names if (found := _numbers(columns[name])) is not None}
    # A typo in an optional column would silently drop it from every fit.
    for name in names:
        if name in _RESERVED or (name in numbers and not any(map(_cell, numbers[name]))):
            continue
        known = _typed_for(name)
        if known or any(_FITS.search(str(value)) for value in columns[name]):
            hint = f"; did you mean {known!r}?" if known else nearest(name, _RESERVED)
            raise ConfigError(f"{where}: unknown column {name!r}{hint}")
    targets: dict[str, Target] = {}
    mistakes: list[str] = []
    place = _placed(folder)
    for k, raw in enumerate(zip(*columns.values(), strict=True)):
        if only is not None and str(raw[names.index("target")]) not in only:
            continue
        row = {name: value for name, value in zip(names, raw, strict=True) if value is not None}
        try:
            target = _target(row, place, {name: values[k] for name, values in numbers.items()})
            if target.name in targets:
                raise ConfigError(f"target {target.name!r} occurs twice")
            targets[target.name] = target
        except ConfigError as error:
            mistakes.append(f"  row {k + 1}: {error}")
    mistakes += [
        f"  targets {one!r} and {other!r} differ by case only: some file systems take them for one"
        for one, other in case_twins(targets)
    ]
    if mistakes:
        raise ConfigError(f"{where}:\n" + "\n".join(mistakes))
    if not targets:
        raise ConfigError(f"{where}: has no rows")
    return targets


def _numbers(values: list[Any]) -> list[float] | None:
    """Return a column as numbers, `Missing` where there are none; nothing if it is one of text."""
    if not all(isinstance(value, str | int | float) for value in values if value is not None):
        return None
    found = [_number(value) for value in values]
    text = all(isinstance(value, Missing) for value in found) and any(isinstance(value, str) for value in values)
    return None if text and any(map(_cell, found)) else found


def _number(value: str | float | None) -> float:
    if isinstance(value, bool):
        return Missing(str(value))
    if isinstance(value, str):
        text = value
        try:
            value = float(text)
        except ValueError:
            return Missing() if text.strip().lower() in _BLANK else Missing(text)
    if value is None or value != value:
        return Missing()
    return value if isinstance(value, Angle) else float(value)


def _cell(number: float) -> str:
    """Return what a column of numbers has in place of one that is no blank."""
    return number.cell if isinstance(number, Missing) else ""


def _typed_for(name: str) -> str:
    """Return the column that an unknown name is most likely a slip of, or nothing."""
    close = difflib.get_close_matches(name, _RESERVED, n=1, cutoff=0.82)
    return next(iter(close or (known for known in _RESERVED if _one_slip(name, known))), "")


def _one_slip(one: str, other: str) -> bool:
    """Tell whether two words differ by one letter, one left out, or two exchanged."""
    start = _n_shared(one, other)
    one, other = one[start:], other[start:]
    end = _n_shared(one[::-1], other[::-1])
    one, other = one[: len(one) - end], other[: len(other) - end]
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and one == other[::-1])


def _n_shared(one: str, other: str) -> int:
    """Return how many letters two words share at their start."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a target."""
    return _NAME.fullmatch(text) is not None


def _target(row: dict[str, Any], place: Callable[[str], Path], numbers: dict[str, float]) -> Target:
    name = str(row.get("target", ""))
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"target {name[:20]}…: its name has {len(name)} characters: {_LONGEST_NAME} are allowed")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"target {name!r}: names are letters, digits and ._+-, beginning with a letter or digit")
    for key in FILE_COLUMNS:
        if isinstance(row.get(key), int | float):
            raise ConfigError(f"{name}: {key} must be the path of a file, got the number {row[key]}")
        if "\0" in str(row.get(key, "")):
            raise ConfigError(f"{name}: {key}: a path cannot hold the character 0")
    files, hdus = _files(row, place)
    if "image" not in files:
        raise ConfigError(f"{name}: no image")
    noise = [key for key in NOISE_COLUMNS if key in files]
    if len(noise) > 1:
        raise ConfigError(f"{name}: give one of {', '.join(noise)}")
    return Target(
        name=name,
        files=files,
        segment=_segment(name, row, "segmentation" in files, numbers),
        models=_models(name, str(row["models"])) if "models" in row else (),
        columns={key: value for key, value in numbers.items() if key not in _RESERVED},
        # Numbers as floats: whether the others of their column are whole must not matter.
        row=json.dumps({key: _number_or_text(value) for key, value in row.items()}, sort_keys=True),
        hdus=hdus,
    )


def _segment(name: str, row: dict[str, Any], has_map: bool, numbers: dict[str, float]) -> int | None:
    """Return the number of a target's object; None where its cell is blank, which its own fit complains of."""
    value = numbers.get("segment")
    if isinstance(value, Missing) and not value.cell:
        return None
    if ("segment" in row) != has_map:
        raise ConfigError(f"{name}: segmentation and segment belong together")
    if not has_map:
        return None
    if value is None or not value.is_integer():
        raise ConfigError(f"{name}: segment must be a whole number, got {row['segment']!r}")
    return int(value)


def _models(name: str, cell: str) -> tuple[str, ...]:
    found = tuple(cell.replace(",", ";").replace(" ", "").split(";"))
    for model in found:
        if not model:
            raise ConfigError(f"{name}: models: {cell!r} has a separator too many")
        if found.count(model) > 1:
            raise ConfigError(f"{name}: models: {model!r} occurs twice")
    return found


def _files(row: dict[str, Any], place: Callable[[str], Path]) -> tuple[dict[str, Path], dict[str, HduIndex]]:
    """Return the files of a row, and the HDUs in brackets behind their names."""
    files: dict[str, Path] = {}
    hdus: dict[str, HduIndex] = {}
    for key in FILE_COLUMNS:
        if key not in row:
            continue
        try:
            files[key], hdu = split_hdu(place(str(row[key])))
        except DataError as error:
            raise ConfigError(f"{row['target']}: {key}: {error}") from error
        if hdu is not None:
            hdus[key] = hdu
    return files, hdus


def _number_or_text(value: Any) -> float | str:
    return float(value) if isinstance(value, int | float) else str(value)


def _placed(folder: Path) -> Callable[[str], Path]:
    """Give a function that turns a path of the table into one as Snakemake names it.

    Below the working directory that is relative to it; elsewhere it is absolute.
    """
    near = _relative(folder)

    def place(text: str) -> Path:
        # What pathlib joins as well, at a tenth of the time.
        return near / text if not text.startswith("/") and ".." not in text else _relative(folder / text)

    return place


def _relative(path: Path) -> Path:
    """Give paths below the working directory relative to it, as Snakemake names them."""
    absolute = os.path.abspath(path)  # noqa: PTH100  (links are kept as they are)
    relative = os.path.relpath(absolute)
    return Path(absolute if relative.startswith("..") else relative)
