"""Table of targets, one row for each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from socca.errors import ConfigError, nearest

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
_NOISE_COLUMNS = ("sigma", "variance", "weight")
_RESERVED = ("target", *FILE_COLUMNS, "segment", "models")
_FITS = re.compile(r"\.(fits?|fz|fts)(\.gz)?$", re.IGNORECASE)
#: Names of targets become names of folders.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Angle(float):
    """A number of radians, from a column that has an angle for its unit."""


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
    row : str
        The row as it is in the table, as JSON: what a fit depends on.
    """

    name: str
    files: dict[str, Path]
    segment: int | None = None
    models: tuple[str, ...] = ()
    columns: dict[str, float] = field(default_factory=dict)
    row: str = ""

    @property
    def noise(self) -> tuple[str, Path] | None:
        """Which noise map there is, and its file."""
        return next(((key, self.files[key]) for key in _NOISE_COLUMNS if key in self.files), None)


def load_targets(path: str | Path, only: Container[str] | None = None) -> dict[str, Target]:
    """Read a table of targets.

    Parameters
    ----------
    path : str or Path
        CSV, ECSV or FITS.
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
    from astropy.table import Table

    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"table of targets: no such file: {path}")
    formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}
    options: dict[str, Any] = {"format": formats.get(path.suffix.lower(), "fits")}
    if path.suffix.lower() == ".csv":
        # Names that look like numbers stay as they are written: 007 is not 7.
        options["converters"] = {"target": [_keep_text()], "models": [_keep_text()]}
    try:
        table = Table.read(path, **options)
    except Exception as error:  # astropy's readers raise many kinds
        raise ConfigError(f"table of targets: cannot read {path}: {error}") from error
    columns = {name: _plain(table[name]) for name in table.colnames}
    return from_columns(columns, path.parent, str(path), only)


def _keep_text() -> Any:
    from astropy.io.ascii import convert_numpy

    return convert_numpy(str)


def _plain(column: Any) -> list[Any]:
    """Return a column as Python values; masked ones and empty text become None, and angles in a unit `Angle`."""
    unit = getattr(column, "unit", None)
    mask = np.ma.getmaskarray(np.ma.asarray(column)).tolist()
    values = np.ma.getdata(np.ma.asarray(column)).tolist()
    if unit is not None and unit.physical_type == "angle":
        values = [Angle(value * unit.to("rad")) for value in values]
    missing = ("", b"")
    return [
        None if hidden or value in missing else value.decode() if isinstance(value, bytes) else value
        for value, hidden in zip(values, mask, strict=True)
    ]


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
    # A typo in an optional column would silently drop it from every fit.
    for name in names:
        if name in _RESERVED or _numeric(columns[name]):
            continue
        close = nearest(name, _RESERVED)
        if close.startswith("; did you mean") or any(_FITS.search(str(value)) for value in columns[name]):
            raise ConfigError(f"{where}: unknown column {name!r}{close}")
    targets: dict[str, Target] = {}
    mistakes: list[str] = []
    place = _placed(folder)
    for k, raw in enumerate(zip(*columns.values(), strict=True)):
        if only is not None and str(raw[names.index("target")]) not in only:
            continue
        row = {name: value for name, value in zip(names, raw, strict=True) if value is not None}
        try:
            target = _target(row, place)
            if target.name in targets:
                raise ConfigError(f"target {target.name!r} occurs twice")
            targets[target.name] = target
        except ConfigError as error:
            mistakes.append(f"  row {k + 1}: {error}")
    if mistakes:
        raise ConfigError(f"{where}:\n" + "\n".join(mistakes))
    if not targets:
        raise ConfigError(f"{where}: has no rows")
    return targets


def _numeric(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values if value is not None)


def _target(row: dict[str, Any], place: Callable[[str], Path]) -> Target:
    name = str(row.get("target", ""))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"target {name!r}: names are letters, digits and ._+-, beginning with a letter or digit")
    for key in FILE_COLUMNS:
        if isinstance(row.get(key), int | float):
            raise ConfigError(f"{name}: {key} must be the path of a file, got the number {row[key]}")
    files = {key: place(str(row[key])) for key in FILE_COLUMNS if key in row}
    if "image" not in files:
        raise ConfigError(f"{name}: no image")
    noise = [key for key in _NOISE_COLUMNS if key in files]
    if len(noise) > 1:
        raise ConfigError(f"{name}: give one of {', '.join(noise)}")
    segment = row.get("segment")
    if (segment is None) != ("segmentation" not in files):
        raise ConfigError(f"{name}: segmentation and segment belong together")
    if segment is not None and not (isinstance(segment, int | float) and float(segment).is_integer()):
        raise ConfigError(f"{name}: segment must be a whole number, got {segment!r}")
    columns = {
        key: value if isinstance(value, Angle) else float(value)
        for key, value in row.items()
        if key not in _RESERVED and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Target(
        name=name,
        files=files,
        segment=None if segment is None else int(segment),
        models=tuple(str(row["models"]).replace(",", ";").replace(" ", "").split(";")) if "models" in row else (),
        columns=columns,
        # Numbers as floats: whether the others of their column are whole must not matter.
        row=json.dumps({key: _number_or_text(value) for key, value in row.items()}, sort_keys=True),
    )


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
