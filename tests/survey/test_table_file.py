"""Tables in the formats, encodings and separators that people save them in."""

import bz2
import gzip
import importlib.util
import io
import lzma
import math
import os
import zipfile

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from socca.errors import ConfigError
from socca.survey.table_file import Angle, read_columns
from socca.survey.targets import load_targets

TEXT = "target,image,n\nT0,a b.fits,1.5\n007,b.fits,\n"
WANTED = {"target": ["T0", "007"], "image": ["a b.fits", "b.fits"], "n": [1.5, None]}


@pytest.fixture
def read(tmp_path):
    """Give a function that writes a table and reads it."""

    def write_and_read(content, name="t.csv"):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return read_columns(tmp_path / name, as_text=("target",))

    return write_and_read


@pytest.mark.parametrize("ending", [".csv", ".txt", ".tsv", ".dat", ".CSV"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_told_from_the_names_of_the_columns(read, ending, separator):
    assert read(TEXT.replace(",", separator), f"t{ending}") == WANTED


def test_cells_between_blanks(read):
    text = "target  image n\tmag\n\nT0 'a.fits'  3\t4\n  007 \"b c.fits\" 5 6\n"
    assert read(text.replace("'", ""), "t.dat") == {
        "target": ["T0", "007"], "image": ["a.fits", "b c.fits"], "n": [3, 5], "mag": [4, 6]
    }  # fmt: skip


@pytest.mark.parametrize("start", ["# made by hand\n#\n", "\n\n", "# target,image,n\n#, x\n"])
def test_comments_and_blank_lines_are_passed_over(read, start):
    assert read(start + TEXT.replace("\n007", "\n\n# none\n007") + "\n\n") == WANTED


def test_names_of_columns_may_stand_in_a_comment(read):
    assert read("# by hand\n# " + TEXT) == WANTED


@pytest.mark.parametrize("line", ["\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_of_spreadsheets(read, line, encoding):
    named = TEXT.replace("b.fits", "é.fits")
    assert read(named.replace("\n", line).encode(encoding))["image"] == ["a é.fits", "é.fits"]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_tables(read, ending, pack):
    assert read(pack(TEXT.encode()), f"my.new.csv{ending}") == WANTED
    with pytest.raises(ConfigError, match=rf"t\.csv\{ending}: cannot be read"):
        read(b"something else", f"t.csv{ending}")


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t", content)
    return stream.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zipped])
def test_a_packed_table_that_expands_without_an_end_is_refused(read, pack, monkeypatch):
    monkeypatch.setattr("socca.survey.table_file.LARGEST", 2**20)
    for name in ("t.csv.gz", "t.fits"):  # whatever its name is
        with pytest.raises(ConfigError, match=rf"{name} expands to more than 0\.00105 GB: decompress it"):
            read(pack(TEXT.encode() + b"\n" * 2**21), name)


def test_a_pipe_in_the_place_of_a_table_keeps_nothing_waiting(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match=r"t\.csv: cannot be read: it is no regular file"):
        read_columns(tmp_path / "t.csv")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_table_with_billions_of_columns_is_refused(read, tmp_path, pack):
    Table({"target": ["T0"], "image": ["a.fits"]}).write(tmp_path / "plain.fits")
    content = (tmp_path / "plain.fits").read_bytes()
    harmful = content.replace(f"TFIELDS = {2:>20}".encode(), f"TFIELDS = {4 * 10**9:>20}".encode())
    assert harmful != content
    with pytest.raises(ConfigError, match=r"t\.fits: its header is damaged: TFIELDS is 4000000000"):
        read(pack(harmful), "t.fits")


def test_empty_columns_and_rows_of_spreadsheets_are_left_out(read):
    assert read("target,image,n,,\nT0,a b.fits,1.5,,\n,,,,\n007,b.fits,,,\n,,,,\n") == WANTED


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "votable") for name in ("t.vot", "t.xml", "t.vot.gz")),
        *((name, "ascii.ecsv") for name in ("t.ecsv", "t.ecsv.gz", "t.txt")),
        *((name, "fits") for name in ("t.fits", "t.fits.gz", "t", "t.csv")),
    ],
)
def test_formats_of_astropy(tmp_path, name, kind):
    """What a file begins with tells more than what its name ends with."""
    table = Table({"target": ["T0", "007"], "image": ["a.fits", "b.fits"], "n": [1, 2], "array": np.ones((2, 3))})
    table["pa"] = MaskedColumn([math.pi, 1.0], mask=[False, True], unit="rad")
    table["ra"] = [3600.0, 7200.0] * u.arcsec
    table.write(tmp_path / "plain", format=kind)
    content = (tmp_path / "plain").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = read_columns(tmp_path / name)
    assert found["target"] == ["T0", "007"]
    assert found["n"] == [1, 2]
    assert found["pa"] == [math.pi, None]
    assert isinstance(found["pa"][0], Angle)
    assert found["ra"] == pytest.approx([math.radians(1), math.radians(2)], rel=1e-15)
    assert found["array"] == [None, None]


def test_parquet(tmp_path):
    if importlib.util.find_spec("pyarrow") is None:
        (tmp_path / "t.parquet").write_bytes(b"PAR1")
        with pytest.raises(ConfigError, match=r"t\.parquet: Parquet needs pyarrow \(pip install pyarrow\); or save"):
            read_columns(tmp_path / "t.parquet")
    else:
        Table({"target": ["T0"], "image": ["a.fits"]}).write(tmp_path / "t.parquet")
        assert read_columns(tmp_path / "t.parquet") == {"target": ["T0"], "image": ["a.fits"]}


def test_columns_that_hold_no_numbers_and_no_text_are_no_mistake(tmp_path):
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    table = Table({"target": ["T0"], "image": ["a.fits"], "text": ["x"]})
    table["when"], table["where"] = Time(["2024-01-01"]), SkyCoord([1.0], [2.0], unit="deg")
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    assert load_targets(tmp_path / "t.ecsv")["T0"].columns == {}


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (TEXT + "T2,c\n\nT3,d,1,2\n", "t.csv", ["line 4: has 2 cell(s), and the table has 3 col", "line 6: has 4"]),
        ("# x\ntarget image\nT0\n", "t.dat", ["line 3: has 1 cell(s)"]),
        ('target,image,note\nT0,a,"two\nlines"\nT1,b\n', "t.csv", ["line 4: has 2"]),
        ("target,image,image\nT0,a,b\n", "t.csv", ["line 1: column 'image' occurs twice"]),
        ("target,image,\nT0,a,b\n", "t.csv", ["line 1: column 3 has no name"]),
        ('target,image\nT0,"a\n', "t.csv", ["line 3: cannot be read as text"]),
        ("", "t.csv", ["is empty"]),
        ("\n# nothing\n", "t.csv", ["is empty"]),
        ("target,image\nT0,é.fits\n".encode("latin-1"), "t.csv", ["line 2: is not UTF-8"]),
        (b"PK\3\4", "t.xlsx", ["a table that ends with .xlsx is not read: save it as one of .csv, "]),
        (TEXT, "targets", ["a table without an ending is not read"]),
        ("<?xml version='1.0'?><a/>", "t.vot", ["cannot be read as VOTABLE"]),
        (TEXT, "t.fits", ["cannot be read as FITS"]),
        (b"SIMPLE  =", "t.csv", ["cannot be read as FITS"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_line(read, content, name, said):
    with pytest.raises(ConfigError) as caught:
        read(content, name)
    assert f"/{name}:" in str(caught.value)
    assert all(part in str(caught.value) for part in said)
