"""Files of a catalogue: FITS, ECSV, VOTable and Parquet, each whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from astropy.table import Table

log = logging.getLogger(__name__)

#: Format -> ending of its files.
ENDINGS = {"fits": ".fits", "ecsv": ".ecsv", "votable": ".vot", "parquet": ".parquet"}
#: Columns of a FITS table, at most, and those that follow from others or are left out first.
_MOST, _SPARE = 999, ("_err_minus", "_err_plus", "_mean")
#: Rows that are turned into text at once.
_BLOCK = 10_000


def write_catalog(table: Table, stem: str | Path, formats: Iterable[str] = ("fits", "ecsv")) -> list[Path]:
    """Write a catalogue.

    Parameters
    ----------
    table : astropy.table.Table
        From `socca.survey.catalog.build_catalog`. FITS knows ASCII alone: other characters become ``?`` there.
    stem : str or Path
        Path of the files without their endings; existing ones are replaced.
    formats : iterable of str
        Some of `ENDINGS`.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigError
        If Parquet is asked for, and pyarrow is not installed.
    """
    writers = {"fits": _write_fits, "ecsv": _write_ecsv, "votable": _write_votable, "parquet": _write_parquet}
    paths = []
    for name in formats:
        path = Path(stem).with_name(Path(stem).name + ENDINGS[name])
        with atomic_path(path) as temporary:
            writers[name](table, temporary)
        paths.append(path)
    return paths


def _write_fits(table: Table, path: Path) -> None:
    """Write FITS, with descriptions as comments of the columns (TCOMM) and UCDs (TUCD)."""
    from astropy.io import fits
    from astropy.table import Table

    plain = Table(table, copy=False)
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            texts = [str(text).encode("ascii", "replace").decode() for text in table[name]]
            plain.replace_column(name, type(table[name])(texts, dtype=str, name=name))
    plain.meta = {}
    if len(plain.colnames) > _MOST:
        spare = [name for name in plain.colnames if name.endswith(_SPARE)]
        plain.remove_columns(spare)
        log.warning("%s: FITS has at most %d columns; without those that end with %s", path, _MOST, ", ".join(_SPARE))
    hdu = fits.table_to_hdu(plain)
    for number, name in enumerate(plain.colnames, 1):
        column = table[name]
        _card(hdu.header, f"TCOMM{number}", column.description)
        _card(hdu.header, f"TUCD{number}", (column.info.meta or {}).get("ucd"))
    for key, value in table.meta.items():
        _card(hdu.header, f"HIERARCH {key}", value)
    hdu.header["EXTNAME"] = "CATALOG"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def _card(header: Any, key: str, value: Any) -> None:
    if value not in (None, ""):
        header[key] = value if isinstance(value, int | float) else str(value).encode("ascii", "replace").decode()


def _write_ecsv(table: Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table[:0].write(stream, format="ascii.ecsv")
        for start in range(0, len(table), _BLOCK):
            cells = [_cells(table[name][start : start + _BLOCK]) for name in table.colnames]
            stream.writelines(" ".join(row) + "\n" for row in zip(*cells, strict=True))


def _cells(column: Any) -> list[str]:
    """Return a column as ECSV has it. Astropy's own writer takes a hundred times as long over many masked columns."""
    values = np.asarray(column).tolist()
    if column.dtype.kind == "U":
        values = [
            '"' + text.replace('"', '""') + '"' if not text or set(text) & set(" \"'#,") else text for text in values
        ]
    masked = np.ma.getmaskarray(column).tolist()
    return ['""' if blank else str(value) for value, blank in zip(values, masked, strict=True)]


def _write_votable(table: Table, path: Path) -> None:
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    file = from_table(table)
    for one in file.iter_fields_and_params():
        one.description = table[one.name].description
        if one.datatype == "bit":  # which STIL does not read in binary tables; astropy has no other for bool
            one.datatype, one.arraysize = "boolean", None
            one._setup({}, None)
        elif one.arraysize == "1":
            one.arraysize = "*"
            one._setup({}, None)
        elif one.datatype in ("short", "int", "long"):
            one.values.null = -1  # astropy 6 writes no blank without it
            one._setup({}, None)
    inner = file.get_first_table()
    inner.name = "catalog"
    for key, value in table.meta.items():
        name = key.replace(" ", "_")
        inner.infos.append(Info(ID=f"info_{name}", name=name, value=str(value)))
    file.to_xml(str(path), tabledata_format="binary2")


def _write_parquet(table: Table, path: Path) -> None:
    """Write Parquet; description, unit and UCD are metadata of each field, and blanks are nulls."""
    if find_spec("pyarrow") is None:
        raise ConfigError("catalog.formats: parquet needs pyarrow (pip install 'socca[parquet]')")
    import pyarrow as pa
    from pyarrow import parquet

    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        mask = np.ma.getmaskarray(column)
        values = np.asarray(column)
        values = values.astype(object) if values.dtype.kind == "U" else values
        array = pa.array(values, mask=mask)
        about = {
            "description": column.description or "",
            "unit": "" if column.unit is None else column.unit.to_string(),
            "ucd": (column.info.meta or {}).get("ucd", ""),
        }
        fields.append(pa.field(name, array.type, metadata={key: value for key, value in about.items() if value}))
        arrays.append(array)
    meta = {key: str(value) for key, value in table.meta.items()}
    parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=meta)), path)
