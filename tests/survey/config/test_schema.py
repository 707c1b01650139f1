"""The config: every mistake is named with its place, and what a fit depends on is what makes it run again."""

import copy
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from socca.errors import ConfigError
from socca.survey.check.inputs import Severity, check_survey
from socca.survey.config.schema import load_config, schema, validate_config
from socca.survey.freshness.owner import claim
from socca.survey.survey import Survey

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(3)
DISK = "models.galaxy.components.disk"


def change(data, place, value):
    """Set a key of a nested config; None removes it."""
    *path, last = place.split(".")
    for key in path:
        data = data.setdefault(key, {})
    if value is None:
        del data[last]
    else:
        data[last] = value


@pytest.fixture
def write_survey(tmp_path, monkeypatch, config_data, write_fits):
    """Give a function that writes a config, with changes, and two images; it returns the config's path."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_fits(tmp_path / f"{name}.fits", np.random.default_rng(1).normal(0, 1, (15, 15)))
    (tmp_path / "targets.csv").write_text("target,image,size\na,a.fits,2\nb,b.fits,3\n")

    def write(changes=None):
        data = copy.deepcopy(config_data)
        for place, value in (changes or {}).items():
            change(data, place, value)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(data))
        return tmp_path / "config.yaml"

    return write


BAD = [
    ("sampelr", {}, ["sampelr: unknown key", "'sampler'"]),
    ("plots.dpy", 3, ["plots.dpy: unknown key", "'dpi'"]),
    ("plots.dpi", "many", ["plots.dpi: "]),
    ("image.psf.normalise", True, ["image.psf.normalise: unknown key", "'normalize'"]),
    ("image.mask.good", "yes", ["image.mask.good: ", "'zero'", "'nonzero'"]),
    ("image.frame", "skye", ["image.frame: ", "'sky'"]),
    ("image.pixel_scale", "0.2 arcsex +", ["image.pixel_scale: "]),
    ("image.pixel_scale", True, ["image.pixel_scale: "]),
    ("pool.kind", "mpy", ["pool.kind: ", "mpi"]),
    ("pool", {"kind": "serial", "cores": 2}, ["pool: ", "one core, not 2"]),
    ("pool.cores", 0, ["pool.cores: "]),
    ("seed", -1, ["seed: "]),
    ("flags.poor_fit", -1, ["flags.poor_fit: "]),
    ("survey", None, ["survey: is needed"]),
    ("survey", "a/b", ["survey: ", "letters, digits and underscores"]),
    ("models", {}, ["models: ", "at least 1"]),
    ("models.2nd", {"components": {"sky": {"type": "Background"}}}, ["models.2nd", "beginning with a letter"]),
    ("models.galaxy.components.a-b", {"type": "Background"}, ["models.galaxy.components.a-b", "letters"]),
    ("models.galaxy.components", {}, ["models.galaxy.components: ", "at least 1"]),
    (f"{DISK}.rss", 1, [f"{DISK}.rss: unknown key", "'rs'"]),
    (f"{DISK}.type", "Exponentail", [f"{DISK}.type: unknown component 'Exponentail'", "'Exponential'"]),
    (f"{DISK}.type", "Galaxy", [f"{DISK}.type: unknown component 'Galaxy'", "Sersic"]),
    (f"{DISK}.type", None, [f"{DISK}: needs a type", "Sersic"]),
    (f"{DISK}.rs", {"unifrom": [1, 2]}, [f"{DISK}.rs: unknown prior 'unifrom'", "'uniform'"]),
    (f"{DISK}.rs", {"uniform": [1]}, [f"{DISK}.rs: uniform takes low, high"]),
    (f"{DISK}.rs", {"uniform": [1, 2, 3]}, [f"{DISK}.rs: uniform takes low, high"]),
    (f"{DISK}.rs", {"uniform": 1}, [f"{DISK}.rs: uniform takes low, high"]),
    (f"{DISK}.rs", {"uniform": {"low": 1, "hgih": 2}}, [f"{DISK}.rs: uniform has no argument 'hgih'", "'high'"]),
    (f"{DISK}.rs", {"uniform": {"low": 1}}, [f"{DISK}.rs: uniform takes low, high"]),
    (f"{DISK}.rs", {"uniform": [0, 1], "normal": [0, 1]}, [f"{DISK}.rs: a prior is one name"]),
    (f"{DISK}.rs", "1 +", [f"{DISK}.rs: cannot read expression '1 +'"]),
    (f"{DISK}.rs", "sinn(1)", [f"{DISK}.rs: ", "unknown function 'sinn'", "'sin'"]),
    (f"{DISK}.rs", "__import__('os')", [f"{DISK}.rs: "]),
    (f"{DISK}.rs", True, [f"{DISK}.rs: expected a number or an expression, got True"]),
    (f"{DISK}.rs", [1, 2], [f"{DISK}.rs: expected a number or an expression"]),
    (f"{DISK}.position", {"within": "1 arcsec", "centre": [0, 0]}, [f"{DISK}.position", "'center'"]),
    (f"{DISK}.position", {"center": [0], "within": 1}, [f"{DISK}.position"]),
    ("outputs.model_images", False, ["outputs.model_images"]),
]


@pytest.mark.parametrize(("place", "value", "said"), BAD, ids=lambda part: part if isinstance(part, str) else "")
def test_a_mistake_is_named_with_its_place(config_data, place, value, said):
    change(config_data, place, value)
    with pytest.raises(ConfigError) as caught:
        validate_config(config_data, "survey.yaml")
    assert all(part in str(caught.value) for part in ["survey.yaml:", *said])


@pytest.mark.parametrize("position", [{"within": "1 +"}, 3, {"withn": 1}])
def test_a_mistake_in_a_position_is_said_once_without_names_of_classes(config_data, position):
    change(config_data, f"{DISK}.position", position)
    with pytest.raises(ConfigError) as caught:
        validate_config(config_data, "survey.yaml")
    assert "PositionConfig" not in str(caught.value)
    assert ".str:" not in str(caught.value)


def test_several_mistakes_are_listed_at_once(config_data):
    places = {"sampelr": {}, "seed": -1, f"{DISK}.rss": 1, f"{DISK}.e": "1 +", "plots.dpi": 1}
    for place, value in places.items():
        change(config_data, place, value)
    with pytest.raises(ConfigError) as caught:
        validate_config(config_data, "survey.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "survey.yaml:"
    assert len(lines) == 1 + len(places)
    assert all(any(line.startswith(f"  {place}: ") for line in lines) for place in places)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_config_is_a_mapping(data):
    with pytest.raises(ConfigError, match="expected keys and values"):
        validate_config(data, "survey.yaml")


def test_yaml_that_wants_to_run_code_is_refused(tmp_path):
    proof = tmp_path / "proof"
    path = tmp_path / "config.yaml"
    path.write_text(f"survey: !!python/object/apply:os.system ['touch {proof}']\n")
    with pytest.raises(ConfigError, match="not valid YAML") as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "said"), [(b"survey: [", "not valid YAML"), (b"survey: \xff\xfe", "cannot be read"), (None, "cannot")]
)
def test_a_file_that_is_no_yaml_is_named(tmp_path, content, said):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("changes", [{"targets": None}, {"simulate": {"number": 1}}])
def test_images_are_either_given_or_simulated(write_survey, changes):
    with pytest.raises(ConfigError, match="either targets or simulate"):
        load_config(write_survey(changes))


def test_targets_are_relative_to_the_config_and_variables_expanded(write_survey, tmp_path, monkeypatch):
    path = write_survey({"targets": "$SOCCA_HERE/some/t.csv"})
    monkeypatch.delenv("SOCCA_HERE", raising=False)
    with pytest.raises(ConfigError, match=r"targets: \$SOCCA_HERE/some/t.csv: the environment variable is not set"):
        load_config(path)
    monkeypatch.setenv("SOCCA_HERE", "/data")
    assert load_config(path).table == Path("/data/some/t.csv")
    assert load_config(write_survey()).table == tmp_path / "targets.csv"
    assert load_config(write_survey(), "other.csv").table == Path("other.csv")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("x" * 256, r"output: the name x{20}… has 256 bytes: file systems allow 255"),
        ("here/" + "é" * 128, r"output: the name é{20}… has 256 bytes"),
        ("ab/" * 1001, r"output: the path (ab/){6}ab… has 3003 bytes: 3000 are allowed"),
        ("$SOCCA_HERE", r"output: the name y{20}… has 300 bytes"),
    ],
)
def test_a_folder_that_no_file_system_allows_is_refused(write_survey, tmp_path, monkeypatch, output, said):
    monkeypatch.setenv("SOCCA_HERE", "y" * 300)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(write_survey({"output": output}))
    assert str(tmp_path) in str(caught.value)


def test_the_longest_names_can_be_claimed(write_survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_survey({"output": "x" * 255})
    claim(load_config(path), path)
    assert (tmp_path / ("x" * 255) / "config.json").is_file()


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.slow  # half a minute, in a library
def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", ["demo.yaml", "kids.yaml"])
def test_shipped_configs_load_and_fit_the_schema(validator, name, monkeypatch, tmp_path):
    monkeypatch.setenv("SOCCA_TEST_DATA", str(tmp_path))
    config = load_config(ROOT / "config" / name)
    assert config.survey == name.removesuffix(".yaml")
    validator.validate(yaml.safe_load((ROOT / "config" / name).read_text()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("sampelr", {}),
        ("plots.dpy", 3),
        ("seed", -1),
        ("survey", "a b"),
        (f"{DISK}.rss", 1),
        (f"{DISK}.type", "Exponentail"),
        (f"{DISK}.rs", {"unifrom": [0, 1]}),
        (f"{DISK}.rs", {"uniform": [0, 1, 2]}),
    ],
)
def test_the_schema_rejects_typos(validator, config_data, place, value):
    validator.validate(config_data)
    change(config_data, place, value)
    assert not validator.is_valid(config_data)


def test_every_key_of_the_schema_is_described(validator):
    found = validator.schema
    sections = [found, *found["$defs"].values()]
    keys = {f"{s['title']}.{key}": entry for s in sections for key, entry in s["properties"].items()}
    # A section whose description is that of its class is shown there.
    assert [key for key, entry in keys.items() if not (entry.get("description") or entry.get("$ref"))] == []


def test_overrides_merge_key_by_key(config_data):
    config_data["overrides"] = {
        "a": {
            "sampler": {"options": {"n_starts": 2}},
            "models": {"galaxy": {"components": {"disk": {"e": 0.5, "theta": {"normal": [1, 0.1]}}}}},
            "image": {"mask": {"good": "nonzero"}},
        }
    }
    config = validate_config(config_data, "survey.yaml")
    own = config.for_target("a")
    assert own.sampler.method == "optimizer"
    assert own.sampler.options == {"n_draws": 100, "n_starts": 2}
    assert own.image.mask.good == "nonzero"
    assert own.image.pixel_scale == "0.2 arcsec"
    disk, plain = (c.models["galaxy"].components["disk"] for c in (own, config))
    assert disk.e == 0.5
    assert disk.theta == {"normal": [1, 0.1]}
    assert disk.model_copy(update={"e": plain.e, "theta": plain.theta}).model_dump() == plain.model_dump()
    assert config.for_target("b") is config


def test_overrides_touch_their_own_target_alone(write_survey):
    before = Survey.load(write_survey())
    after = Survey.load(write_survey({"overrides": {"a": {"sampler": {"options": {"n_draws": 50}}}}}))
    assert before.fit_params("a", "galaxy") != after.fit_params("a", "galaxy")
    assert before.fit_params("b", "galaxy") == after.fit_params("b", "galaxy")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"a": {"smapler": {}}}, ["overrides.a.smapler", "'sampler'"]),
        ({"a": {"seed": 3}}, ["overrides.a.seed", "cannot be overridden"]),
        ({"a": {"sampler": {"optoins": {}}}}, ["overrides of a", "sampler.optoins: unknown key", "'options'"]),
        ({"c": {"sampler": {}}}, ["overrides", "unknown target 'c'"]),
        ({"a": 3}, ["overrides.a"]),
    ],
)
def test_wrong_overrides_are_named(write_survey, overrides, said):
    with pytest.raises(ConfigError) as caught:
        Survey.load(write_survey({"overrides": overrides}))
    assert all(part in str(caught.value) for part in said)


@pytest.mark.parametrize(
    ("changes", "refit"),
    [
        ({"sampler.options.n_draws": 50}, True),
        ({"sampler.method": "nautilus"}, True),
        ({"seed": 7}, True),
        ({"image.pixel_scale": "0.3 arcsec"}, True),
        ({"image.mask.good": "nonzero"}, True),
        ({"noise.level": 2}, True),
        ({f"{DISK}.e": 0.31}, True),
        ({"models.other": {"components": {"sky": {"type": "Background", "a0": 1}}}}, False),
        ({"plots.dpi": 50}, False),
        ({"flags.poor_fit": 9}, False),
        ({"outputs.figures": False}, False),
        ({"pool": {"cores": 4}}, False),
        ({"output": "elsewhere"}, False),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_what_makes_a_fit_run_again(write_survey, changes, refit):
    before = Survey.load(write_survey()).fit_params("a", "galaxy")
    after = Survey.load(write_survey(changes)).fit_params("a", "galaxy")
    assert (before != after) == refit


@pytest.mark.parametrize("size", ["4", "2.5"])
def test_a_changed_row_makes_its_own_fit_run_again(write_survey, tmp_path, size):
    path = write_survey({f"{DISK}.e": "0.1 * $size"})
    before = Survey.load(path)
    (tmp_path / "targets.csv").write_text(f"target,image,size\na,a.fits,{size}\nb,b.fits,3\n")
    after = Survey.load(path)
    assert before.fit_params("a", "galaxy") != after.fit_params("a", "galaxy")
    assert before.fit_params("b", "galaxy") == after.fit_params("b", "galaxy")


def test_a_column_that_the_config_does_not_use_fits_nothing_again(write_survey, tmp_path):
    path = write_survey({f"{DISK}.e": "0.1 * $size"})
    before = Survey.load(path).fit_params("a", "galaxy")
    (tmp_path / "targets.csv").write_text("target,image,size,z\na,a.fits,2,0.1\nb,b.fits,3,\n")
    assert Survey.load(path).fit_params("a", "galaxy") == before


def test_seeds_differ_between_fits_and_stay_the_same(write_survey):
    path = write_survey()
    survey, again = Survey.load(path), Survey.load(path)
    assert survey.seed("a", "galaxy") == again.seed("a", "galaxy")
    assert len({survey.seed(t, m) for t in ("a", "b") for m in ("galaxy", "other")}) == 4


def test_an_unknown_model_in_the_table_is_named(write_survey, tmp_path):
    path = write_survey()
    (tmp_path / "targets.csv").write_text("target,image,models\na,a.fits,galaxi\n")
    with pytest.raises(ConfigError, match="a: unknown model 'galaxi'; did you mean 'galaxy'"):
        Survey.load(path)


def test_an_unknown_target_is_named(write_survey):
    with pytest.raises(ConfigError, match="unknown target 'c'; known: a, b"):
        Survey.load(write_survey()).target("c")


def test_check_finds_everything_in_one_pass(write_survey, write_fits, tmp_path):
    good = RNG.normal(0, 1, (15, 15))
    write_fits(tmp_path / "good.fits", good)
    write_fits(tmp_path / "psf.fits", np.ones((17, 17)))
    write_fits(tmp_path / "small.fits", np.zeros((14, 15)))
    write_fits(tmp_path / "ones.fits", np.ones((15, 15)))
    whole = (tmp_path / "good.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:3600])
    (tmp_path / "junk.fits").write_bytes(b"no FITS at all")
    path = write_survey({"sampler.options": {"n_drwas": 1}, f"{DISK}.e": "$flat"})
    (tmp_path / "targets.csv").write_text(
        "target,image,psf,mask,sigma,flat\n"
        "fine,good.fits,,,,0.1\n"
        "absent,no1.fits,no2.fits,,,0.1\n"
        "truncated,cut.fits,,,,0.1\n"
        "junk,junk.fits,,,,0.1\n"
        "bigpsf,good.fits,psf.fits,,,0.1\n"
        "badmask,good.fits,,small.fits,,0.1\n"
        "masked,good.fits,,ones.fits,,0.1\n"
        "badsigma,good.fits,,,small.fits,0.1\n"
        "blank,good.fits,,,,\n"
        "range,good.fits,,,,7\n"
    )
    findings = list(check_survey(Survey.load(path)))
    (warned,) = [finding for finding in findings if finding.severity is Severity.WARNING]
    assert (warned.target, Path(warned.file).name) == ("masked", "ones.fits")
    found = [(finding.target, finding.message) for finding in findings if finding is not warned]
    wanted = [
        ("", "n_drwas"),
        ("absent", "no1.fits"),
        ("absent", "no2.fits"),
        ("truncated", "cut.fits"),
        ("junk", "junk.fits"),
        ("bigpsf", "psf"),
        ("badmask", "mask"),
        ("masked", "all pixels are masked"),
        ("badsigma", "sigma: its shape is (14, 15)"),
        ("blank", "$flat"),
        ("range", "lies outside"),
    ]
    assert [target for target, _ in found] == [target for target, _ in wanted]
    assert all(said in message for (_, message), (_, said) in zip(found, wanted, strict=True))
    assert all("\n" not in message for _, message in found)


def test_a_mistake_of_every_target_is_said_once(write_survey, tmp_path, capsys):
    from socca.cli import app

    path = write_survey({"models.galaxy.components.bulge.ns": 50.0})
    with pytest.raises(SystemExit) as ended:
        app(["check", "--config", str(path)])
    assert ended.value.code == 1
    first, more, summary = capsys.readouterr().out.splitlines()
    file = f" ({tmp_path / 'targets.csv'})"
    assert first.startswith("a: ")
    assert first.endswith(file)
    assert "ns" in first
    assert more == f"1 more target(s) (b): {first.removeprefix('a: ').removesuffix(file)}"
    assert summary == "2 target(s), 2 fit(s): 2 with problems"
