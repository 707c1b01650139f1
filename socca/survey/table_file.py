"""Files of tables, in the formats that people save them in, read with astropy."""

from __future__ import annotations

import csv
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from socca.data.fits_headers import check_counts
from socca.data.streams import expanded
from socca.errors import ConfigError, DataError
from socca.utils.files import open_regular

#: Ending -> format, for those that are read.
FORMATS = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat"), "text"),
    ".ecsv": "ascii.ecsv",
    **dict.fromkeys((".fits", ".fit", ".fts", ".fz"), "fits"),
    **dict.fromkeys((".vot", ".votable", ".xml"), "votable"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
#: How files of a format begin, whatever their names end with.
_BEGINNINGS = {b"SIMPLE  =": "fits", b"# %ECSV": "ascii.ecsv", b"PAR1": "parquet", b"<?xml": "votable"}
_PACKED = (".gz", ".bz2", ".xz", ".zip")
#: The most bytes that a compressed table may expand to.
LARGEST = 2**30
#: What may stand between the cells of a text table; and blanks, where there is none of these.
_SEPARATORS = (",", ";", "\t", "|")


class Angle(float):
    """A number of radians, from a column that has an angle for its unit."""


def read_columns(path: Path, as_text: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Read a table.

    Parameters
    ----------
    path : Path
        A text table with one line of column names, whose cells are separated by commas, semicolons, tabs, bars or
        blanks; ECSV, FITS, VOTable or Parquet. Any may be compressed (``.gz``, ``.bz2``, ``.xz``, ``.zip``).
    as_text : sequence of str
        Columns of a text table in which names that look like numbers stay as they are written: 007 is not 7.

    Returns
    -------
    dict of list
        Column -> values, one for each row; None where there is none. Angles with a unit are `Angle`.

    Raises
    ------
    ConfigError
        If it cannot be read; a line of a text table with too few or too many cells is named.
    """
    *_, ending, packing = ["", "", *(suffix.lower() for suffix in path.suffixes)]
    if packing not in _PACKED:
        ending, packing = packing, ""
    try:
        with open_regular(path) as stream:
            # Files with other endings may be archives too, such as spreadsheets.
            packed = ending in FORMATS or packing
            unpacking = expanded(stream, LARGEST, str(path), "decompress it") if packed else nullcontext(stream)
            with unpacking as plain:
                if packing and plain is stream:
                    raise OSError(f"its name ends with {packing}, and it is not compressed")
                content = plain.read()
    except DataError as error:
        raise ConfigError(str(error)) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    kind = next((kind for start, kind in _BEGINNINGS.items() if content.startswith(start)), FORMATS.get(ending))
    if kind is None:
        named = f"a table that ends with {ending}" if ending else "a table without an ending"
        raise ConfigError(f"{path}: {named} is not read: save it as one of {', '.join(FORMATS)}")
    return _text_table(path, content, as_text) if kind == "text" else _binary_table(path, content, kind)


def _binary_table(path: Path, content: bytes, kind: str) -> dict[str, list[Any]]:
    from astropy.table import Table

    if kind == "parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{path}: Parquet needs pyarrow (pip install pyarrow); or save the table as CSV or FITS")
    options: dict[str, Any] = {"use_names_over_ids": True} if kind == "votable" else {}
    try:
        if kind == "fits":
            check_counts(BytesIO(content), str(path))
        with warnings.catch_warnings():
            if kind == "votable":
                warnings.simplefilter("ignore")  # hardly one of them keeps to its standard
            source = _decoded(path, content) if kind == "ascii.ecsv" else BytesIO(content)
            table = Table.read(source, format=kind, **options)
        return {str(name): _plain(table[name]) for name in table.colnames}
    except ConfigError:
        raise
    except DataError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:  # astropy's readers raise many kinds
        raise ConfigError(f"{path}: cannot be read as {kind.removeprefix('ascii.').upper()}: {error}") from error


def _plain(column: Any) -> list[Any]:
    """Return a column as Python values; masked ones and empty text become None, and angles in a unit `Angle`."""
    from astropy.table import Column
    from astropy.units import Quantity

    if not isinstance(column, Column | Quantity):  # coordinates and times: of no use here, but no mistake
        return [str(value) for value in column]
    unit = getattr(column, "unit", None)
    plain = np.ma.asarray(column)
    values = np.ma.getdata(plain).tolist()
    if plain.ndim != 1:  # arrays are of no use here
        return [None] * len(values)
    if unit is not None and unit.physical_type == "angle" and plain.dtype.kind in "iuf":
        values = [Angle(value * unit.to("rad")) for value in values]
    hidden = np.ma.getmaskarray(plain).tolist()
    missing = ("", b"")
    return [
        None if blank or value in missing else value.decode(errors="replace") if isinstance(value, bytes) else value
        for value, blank in zip(values, hidden, strict=True)
    ]


def _decoded(path: Path, content: bytes) -> str:
    """Return the text of a file, in UTF-8 or, as spreadsheets save it, in UTF-16 with its mark."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: is not UTF-8: save the table as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text_table(path: Path, content: bytes, as_text: Sequence[str]) -> dict[str, list[Any]]:
    from astropy.io import ascii as text_tables
    from astropy.utils.exceptions import AstropyWarning

    lines = _decoded(path, content).split("\n")
    try:
        first = _header(lines)
        kept = [line if k >= first and not line.startswith("#") else "" for k, line in enumerate(lines)]
        (_, header), *rows = _without_empty_columns(list(_rows(kept, _separator(lines[first]))))
        mistakes = list(_mistakes(header, first + 1, rows))
        if mistakes:
            raise ConfigError("\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}".replace(": \n", ":\n", 1)) from None
    if not rows:
        return {name: [] for name in header}
    converters = {name: [text_tables.convert_numpy(str)] for name in as_text}
    given = [_joined(header), *(_joined(row) for _, row in rows)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # numbers of objects may be too long for integers
            table = text_tables.read(given, format="csv", guess=False, converters=converters)
    except Exception as error:  # astropy's readers raise many kinds
        raise ConfigError(f"{path}: cannot be read as text: {error}") from error
    return {str(name): _plain(table[name]) for name in table.colnames}


def _mistakes(header: list[str], line: int, rows: list[tuple[int, list[str]]]) -> Iterator[str]:
    for name in dict.fromkeys(header):
        if not name:
            yield f"line {line}: column {header.index('') + 1} has no name"
        elif header.count(name) > 1:
            yield f"line {line}: column {name!r} occurs twice"
    for place, row in rows:
        if len(row) != len(header):
            yield f"line {place}: has {len(row)} cell(s), and the table has {len(header)} column(s)"


def _without_empty_columns(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out columns at the right that have neither a name nor a value, as spreadsheets save them."""
    while rows[0][1][-1:] == [""] and all(len(row) == len(rows[0][1]) and not row[-1] for _, row in rows):
        rows = [(line, row[:-1]) for line, row in rows]
    return rows


def _header(lines: list[str]) -> int:
    """Return which line has the names of the columns, after taking away the # that some tables have before them."""
    first = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is not None and "target" in _cells(lines[first]):
        return first
    for k in range(len(lines) if first is None else first):
        bare = lines[k].lstrip("# ")
        if lines[k].startswith("#") and {"target", "image"} <= set(_cells(bare)):
            lines[k] = bare
            return k
    if first is None:
        raise ConfigError("is empty")
    return first


def _cells(line: str) -> list[str]:
    return next(_rows([line], _separator(line)), (0, [""]))[1]


def _separator(header: str) -> str:
    """Return what stands between the cells of a header: what parts its needed columns, or else what occurs most."""
    for separator in (*_SEPARATORS, None):
        if {"target", "image"} <= {cell.strip(' "') for cell in header.split(separator)}:
            return separator or " "
    found = max(_SEPARATORS, key=header.count)
    return found if found in header else " "


def _rows(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text table that are not blank, each with the line at which it ends."""
    blanks = separator == " "
    given = [" ".join(line.split()) if blanks and '"' not in line else line for line in lines]
    reader = csv.reader((f"{line}\n" for line in given), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num}: cannot be read as text: {error}") from error


def _joined(cells: Sequence[str]) -> str:
    """Return a line of CSV."""
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
