"""The table of targets: CSV, ECSV and FITS read alike, and every mistake is listed with its row."""

import json
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from socca.errors import ConfigError
from socca.survey.table_file import Angle
from socca.survey.targets import load_targets


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Give a function that writes a table as CSV text and reads it."""
    monkeypatch.chdir(tmp_path)

    def read(text, name="tables/targets.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return load_targets(path)

    return read


def test_a_row(write, tmp_path):
    found = write(
        "target,image,psf,sigma,mask,segmentation,segment,models,ra,n,band\n"
        "one,i.fits,../p.fits,/abs/s.fits,m.fits,g.fits,12,sersic;bulge_disk,1.5,3,r\n"
        "two,i2.fits,,,,,,,,,\n"
    )
    one, two = found.values()
    assert list(found) == ["one", "two"]
    assert one.files == {
        "image": Path("tables/i.fits"),
        "psf": Path("p.fits"),
        "sigma": Path("/abs/s.fits"),
        "mask": Path("tables/m.fits"),
        "segmentation": Path("tables/g.fits"),
    }
    assert one.noise == ("sigma", Path("/abs/s.fits"))
    assert one.segment == 12
    assert one.models == ("sersic", "bulge_disk")
    assert one.columns == {"ra": 1.5, "n": 3.0}
    assert json.loads(one.row)["band"] == "r"
    assert two.files == {"image": Path("tables/i2.fits")}
    assert (two.noise, two.segment, two.models) == (None, None, ())
    assert set(two.columns) == {"ra", "n"}
    assert np.isnan(list(two.columns.values())).all()
    assert json.loads(two.row) == {"target": "two", "image": "i2.fits"}


def test_files_outside_the_working_directory_have_absolute_paths(write, tmp_path, monkeypatch):
    write("target,image\na,i.fits\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_targets(tmp_path / "tables/targets.csv")["a"].files["image"] == tmp_path / "tables/i.fits"


def test_names_that_look_like_numbers_stay_as_written(write):
    assert list(write("target,image\n007,i.fits\n1e3,i.fits\n")) == ["007", "1e3"]


def test_models_are_split_at_semicolons_commas_and_without_blanks(write):
    found = write('target,image,models\na,i.fits,"x, y"\nb,i.fits,x; y\nc,i.fits,007\nd,i.fits,\n')
    assert [t.models for t in found.values()] == [("x", "y"), ("x", "y"), ("007",), ()]


@pytest.fixture
def table():
    table = Table({"target": ["a", "b"], "image": ["a.fits", "b.fits"], "count": [1, 2], "flux": [1.0, 2.5]})
    table["ra"] = [3600.0, 7200.0] * u.arcsec
    table["pa"] = MaskedColumn([1.0, np.pi], mask=[True, False], unit="rad")
    return table


@pytest.mark.parametrize("name", ["t.ecsv", "t.fits", "t.csv"])
def test_formats_agree(table, tmp_path, name):
    if name.endswith("csv") and not name.endswith("ecsv"):
        table["ra"], table["pa"] = table["ra"].to("deg").value, np.ma.asarray(table["pa"]) * 180 / np.pi
    table.write(tmp_path / name, format="ascii.csv" if name == "t.csv" else None)
    found = load_targets(tmp_path / name)
    assert list(found) == ["a", "b"]
    assert found["a"].files["image"].name == "a.fits"
    # Angles with a unit are kept in radians, to be converted to the unit of what they are used for.
    turn = 1 if name == "t.csv" else np.pi / 180
    wanted = {"count": 2, "flux": 2.5, "ra": 2 * turn, "pa": 180 * turn}
    assert found["b"].columns == pytest.approx(wanted, rel=1e-12)
    assert isinstance(found["b"].columns["pa"], Angle) is (name != "t.csv")


@pytest.mark.parametrize(
    "name",
    [
        "t.ecsv",
        "t.fits",
    ],
)
def test_a_masked_angle_is_no_value(table, tmp_path, name):
    table.write(tmp_path / name)
    assert np.isnan(load_targets(tmp_path / name)["a"].columns.get("pa", np.nan))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targte,image\na,i.fits\n", "column 'target' is needed; did you mean 'targte'"),
        ("target,imag\na,i.fits\n", "column 'image' is needed; did you mean 'imag'"),
        ("target,image,psff\na,i.fits,p.fits\n", "unknown column 'psff'; did you mean 'psf'"),
        ("target,image,modles\na,i.fits,x\n", "unknown column 'modles'; did you mean 'models'"),
        ("target,image\n", "has no rows"),
        ("target,image\na,i.fits\na,j.fits\n", "row 2: target 'a' occurs twice"),
        ("target,image\na,\n", "row 1: a: no image"),
        ("target,image\n,i.fits\n", "row 1: target"),
        ("target,image\na/b,i.fits\n", "row 1: target 'a/b': names are"),
        ("target,image\n..,i.fits\n", r"row 1: target '\.\.': names are"),
        ("target,image\na b,i.fits\n", "row 1: target 'a b': names are"),
        ("target,image,sigma,weight\na,i.fits,s.fits,w.fits\n", "row 1: a: give one of sigma, weight"),
        ("target,image,segment\na,i.fits,3\n", "row 1: a: segmentation and segment belong together"),
        ("target,image,segmentation\na,i.fits,s.fits\n", "row 1: a: segmentation and segment belong together"),
        ("target,image,segmentation,segment\na,i.fits,s.fits,3.5\n", "row 1: a: segment must be a whole number"),
        ("target,image,models\na,i.fits,x;x\n", "row 1: a: models: 'x' occurs twice"),
        ("target,image,models\na,i.fits,x;\n", "row 1: a: models: 'x;' has a separator too many"),
        ("target,image\nNGC1,i.fits\nngc1,j.fits\n", "'NGC1' and 'ngc1' differ by case only"),
        (f"target,image\n{'a' * 101},i.fits\n", "row 1: target aaaa.*: its name has 101 characters"),
        ("target,image\na,i\0.fits\n", "row 1: a: image: a path cannot hold the character 0"),
    ],
)
def test_mistakes_are_named(write, text, said):
    with pytest.raises(ConfigError, match=said):
        write(text)


@pytest.mark.parametrize("segment", ["x", "inf", "4.5"])
def test_a_segment_that_is_no_number_is_named(write, segment):
    with pytest.raises(ConfigError, match="row 1: a: "):
        write(f"target,image,segmentation,segment\na,i.fits,s.fits,{segment}\n")


@pytest.mark.parametrize("segment", ["", "nan", "N/A"])
def test_a_segment_that_is_left_out_is_a_matter_of_its_own_target(write, segment):
    one, other = write(f"target,image,segmentation,segment\na,i,s,{segment}\nb,i,s,4\n").values()
    assert (one.segment, other.segment) == (None, 4)


def test_columns_of_text_may_have_names_like_those_of_socca(write):
    found = write("target,image,mode,mag\na,i.fits,deep,17\nb,i.fits,wide,N/A\n")
    assert json.loads(found["a"].row)["mode"] == "deep"


@pytest.mark.parametrize(
    "name", ["sgima", "sigam", "sigm", "ssigma", "sigmo", "modles", "model", "respnse", "expposure"]
)
def test_slips_are_refused_in_columns_of_text(write, name):
    with pytest.raises(ConfigError, match=f"unknown column '{name}'; did you mean"):
        write(f"target,image,{name}\na,i.fits,x\n")


def test_rows_are_kept_as_before(write):
    """What a fit depends on is the row: another text of it, and users' surveys are fitted again."""
    found = write(
        "target,image,id,z,t,big,e,note\n"
        'a, i.fits ,007,0.1,True,123456789012345678901234,1e3,"x, ""y"""\n'
        "b,j.fits,8,N/A,False,5,,\n"
    )
    assert found["a"].row == (
        '{"big": "123456789012345678901234", "e": 1000.0, "id": 7.0, "image": "i.fits", "note": "x, \\"y\\"", '
        '"t": "True", "target": "a", "z": "0.1"}'
    )
    assert found["b"].row == '{"big": "5", "id": 8.0, "image": "j.fits", "t": "False", "target": "b", "z": "N/A"}'


def test_every_mistake_is_listed(write):
    with pytest.raises(ConfigError) as caught:
        write("target,image,sigma,variance\na,i.fits,s,v\nb,,,\na b,i.fits,,\nfine,i.fits,,\nfine,i.fits,,\n")
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        f"row {k}" for k in (1, 2, 3, 5)
    ]


def test_a_missing_or_damaged_table_is_named(write, tmp_path):
    with pytest.raises(ConfigError, match=r"no such file: .*absent\.csv"):
        load_targets(tmp_path / "absent.csv")
    for name in ("t.fits", "t.ecsv", "t.csv"):
        with pytest.raises(ConfigError, match=rf"{name}"):
            write('"', name)
