"""Configs as people write them: what YAML does behind one's back is refused with its line, or read as it looks."""

import os
import time

import pytest
import yaml

from socca.errors import ConfigError
from socca.survey.config.schema import load_config
from socca.survey.config.yaml_file import read_yaml

CONFIG = """survey: mine
targets: t.csv
image: {pixel_scale: 0.2 arcsec}
noise: {level: 1}
models:
  g:
    components:
      blob: {type: Gaussian, xc: 0, yc: 0, rs: 0.4 arcsec, Is: {uniform: [0, 200]}}
      sky: {type: Background, a0: {normal: [0, 1]}}
sampler: {method: optimizer, options: {n_draws: 20}}
"""


@pytest.fixture
def load(tmp_path):
    """Give a function that writes a config and loads it."""

    def write_and_load(text):
        (tmp_path / "mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return load_config(tmp_path / "mine.yaml")

    return write_and_load


def changed(old, new):
    assert old in CONFIG
    return CONFIG.replace(old, new)


@pytest.mark.parametrize(
    "text",
    [
        CONFIG,
        "\ufeff" + CONFIG,
        CONFIG.replace("\n", "\r\n"),
        "%YAML 1.1\n---\n" + CONFIG + "...\n",
        changed("{pixel_scale: 0.2 arcsec}", "&a {pixel_scale: &b 0.2 arcsec}") + "plots: {<<: {dpi: 50}}\n",
    ],
    ids=["plain", "mark", "lines", "document", "anchors"],
)  # fmt: skip
def test_what_is_right_is_read_as_by_yaml(load, tmp_path, text):
    config = load(text)
    assert config.survey == "mine"
    assert read_yaml(tmp_path / "mine.yaml").data == yaml.safe_load(text.removeprefix("\ufeff"))


def test_a_pipe_in_the_place_of_a_config_keeps_nothing_waiting(tmp_path):
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read: it is no regular file"):
        read_yaml(tmp_path / "config.yaml")


def test_merged_keys_keep_the_order_of_yaml(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {w: 0, <<: [*a, *b], x: 5}\nd: {<<: *b, y: {<<: *a}}\n"
    (tmp_path / "m.yaml").write_text(text)
    found, wanted = read_yaml(tmp_path / "m.yaml").data, yaml.safe_load(text)
    assert found == wanted
    if yaml.__version__ >= "6.0.2":  # earlier ones order merged keys in another way
        assert [list(found[key]) for key in "cd"] == [list(wanted[key]) for key in "cd"]


def test_keys_are_text_as_it_stands(load):
    """Norway is no falsehood, and 007 is not 7."""
    names = ["NO", "yes", "007", "1e3", "12:30", "2024-01-01", "~", "null", "0x10", "é"]
    config = load(CONFIG + "overrides:\n" + "".join(f"  {name}: {{noise: {{level: 2}}}}\n" for name in names))
    assert list(config.overrides) == names


def test_lines_of_keys(tmp_path):
    (tmp_path / "m.yaml").write_text("a: &x\n  b: 1\n  c:\n    - 1\n    - d: 2\ne:\n  <<: *x\n  b: 3\n")
    document = read_yaml(tmp_path / "m.yaml")
    places = [["a"], ["a", "b"], ["a", "c", 1, "d"], ["a", "c", "9"], ["e", "b"], ["e", "c"], ["q"], ["e", "q"], []]
    assert [document.line(place) for place in places] == [1, 2, 5, 3, 8, 3, None, 6, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONFIG + "survey: b\n", ["line 11: the key 'survey' occurs twice; it is also in line 1"]),
        (CONFIG + '"survey": b\n', ["line 11: the key 'survey' occurs twice"]),
        (changed("      sky:", "      blob: {type: Exponential}\n      sky:"), ["line 9: the key 'blob'", "in line 8"]),
        (changed("sampler:", "  g: {}\nsampler:"), ["line 10: the key 'g' occurs twice; it is also in line 6"]),
        (changed("{level: 1}", "{level: 1, level: 1}"), ["line 4: the key 'level' occurs twice"]),
        (CONFIG + "overrides:\n  T0: {noise: {level: 2}}\n  T0: {noise: {level: 3}}\n", ["line 13: the key 'T0'"]),
        (CONFIG + "plots: [{dpi: 1, dpi: 2}]\nnoise: {}\n", ["line 11: the key 'dpi'", "line 12: the key 'noise'"]),
        (CONFIG + "plots: {<<: {dpi: 1}, <<: {dpi: 2}}\n", ["line 11: the key '<<' occurs twice"]),
        (CONFIG + "plots: {<<: 3}\n", ["line 11: '<<' takes the keys of another mapping"]),
        (CONFIG + "plots: {[dpi]: 3}\n", ["line 11: a key must be text"]),
        (changed("level: 1", "level: " + "1" * 4400), ["line 4: ", "(4400 characters) cannot be read as a number"]),
        (changed("level: 1", "level: " + "1" * 400), ["line 4: ", "(400 characters) is too large"]),
        (changed("level: 1", "level: 0x" + "f" * 5000), ["line 4: ", "is too large"]),
        (changed("level: 1", "level: .nan"), ["line 4: .nan is no value"]),
        (changed("xc: 0", "xc: 12:30:45"), ["line 8: 12:30:45 is a number to base 60"]),
        (changed("xc: 0", "xc: -12:30:45.5"), ["line 8: -12:30:45.5 is a number to base 60"]),
        (changed("n_draws: 20", "n_draws: 020"), ["line 10: 020 begins with 0, which is octal to YAML"]),
        (CONFIG + "output: 2024-01-01\n", ["line 11: 2024-01-01 is a date to YAML: put it in quotes"]),
        (CONFIG + "output: 2024-13-45\n", ["line 11: 2024-13-45 is a date to YAML"]),
        (changed("level: 1", "level: !!int many"), ["line 4: many cannot be read as a number (int)"]),
        (changed("level: 1", "level: !!bool many"), ["line 4: many cannot be read"]),
        (CONFIG + "plots: !!python/object:os.system {}\n", ["line 11: the tag", "python/object:os.system has"]),
        (CONFIG + "output: !!binary aGVsbG8=\n", ["line 11: the tag !!binary has no meaning"]),
        (CONFIG + "output: !here x\n", ["line 11: the tag !here has no meaning"]),
        (CONFIG + "plots: !!set {a}\n", ["line 11: the tag !!set"]),
        (CONFIG + "plots: !!omap [a: 1]\n", ["line 11: the tag !!omap"]),
        (CONFIG.replace("  g:", "\tg:"), ["line 6, column 1", "indent with spaces, not tabs"]),
        (CONFIG + "plots: {\n", ["line 12, column 1"]),
        (CONFIG + "plots: *nowhere\n", ["line 11, column 8: found undefined alias 'nowhere'"]),
        (CONFIG + "---\n" + CONFIG, ["line 11, column 1", "found another document"]),
        (CONFIG + "# \x07\n", [r"line 11: the character '\x07' is not allowed"]),
        (CONFIG + "# é\n\n".encode().decode() + "\0", [r"line 13: the character '\x00'"]),
        (CONFIG + "plots: &a {b: *a}\n", ["line 11: an alias within its own anchor"]),
        (CONFIG + "plots: &a [*a]\n", ["line 11: an alias within its own anchor"]),
        (CONFIG + "plots: &a\n  <<: *a\n", ["line 11: an alias within its own anchor"]),
        (CONFIG + "plots: " + "[" * 3000 + "]" * 3000, ["nested too deeply"]),
        (CONFIG + "plots: " + "{a: " * 3000 + "1" + "}" * 3000, ["nested too deeply"]),
        (CONFIG.encode("utf-16"), ["line 1: 0xff is not UTF-8: save the file as UTF-8"]),
        ((CONFIG + "# é").encode("latin-1"), ["line 11: 0xe9 is not UTF-8"]),
        ("", ["is empty"]),
        ("# nothing\n\n", ["is empty"]),
        ("- survey\n", ["expected keys and values, got list"]),
        ("survey", ["expected keys and values, got str"]),
    ],
)  # fmt: skip
def test_what_yaml_would_make_something_else_of_is_refused_with_its_line(load, text, said):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert "/mine.yaml: " in str(caught.value)
    assert all(part in str(caught.value) for part in said), str(caught.value)


@pytest.mark.parametrize("width", ["[{}]", "{{a: {0}}}"])
def test_aliases_that_stand_for_billions_of_values_are_refused_at_once(load, width):
    """Each level is nine times the one above: some kilobytes of text, which nothing could hold once written out."""
    text, before = "l0: &l0 x\n", "l0"
    for k in range(1, 10):
        parts = ", ".join(f"k{i}: *{before}" if width.startswith("{") else f"*{before}" for i in range(9))
        text += f"l{k}: &l{k} {'{' + parts + '}' if width.startswith('{') else '[' + parts + ']'}\n"
        before = f"l{k}"
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"its aliases stand for [0-9]+ values"):
        load(text + CONFIG)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("survey: mine", "survey: no", "line 1: survey: expected text, and False is true or false (so are yes, no"),
        ("survey: mine", "survey: 2024", "line 1: survey: expected text, and 2024 is a number to YAML: put it"),
        ("survey: mine", "survey: é", "line 1: survey: names are letters"),
        ("survey: mine", f"survey: {'a' * 101}", "line 1: survey: "),
        ("level: 1", "levle: 1", "line 4: noise.levle: unknown key; did you mean 'level'"),
        ("Gaussian", "Gausian", "line 8: models.g.components.blob.type: unknown component 'Gausian'"),
        ("[0, 200]", "[0, 1 +]", "line 8: models.g.components.blob.Is: cannot read expression"),
        ("[0, 200]", "[]", "line 8: models.g.components.blob.Is: uniform takes low, high; got []"),
        ("  g:", "  g: &x 3\n  h:", "line 6: models.g: expected keys and values, got 3"),
        ("  g:", "  G: {components: {s: {type: Background}}}\n  g:", "line 5: models: 'G' and 'g' differ by case only"),
        ("{level: 1}", "yes", "line 4: noise: expected keys and values, got True"),
        ("0.2 arcsec}", "0.2 arcsec, hdu: 2.5}", "line 3: image.hdu: expected the number or the name of an HDU, g"),
        ("0.2 arcsec}", "0.2 arcsec, hdu: yes}", "line 3: image.hdu: expected the number or the name of an HDU, g"),
        ("0.2 arcsec}", "0.2 arcsec, subgrid: on}", "line 3: image.subgrid: expected a number, and got True"),
        ("0.2 arcsec", "0.2 arcsec, cutout: [1]", "line 3: image.cutout: expected keys and values, got [1]"),
        ("survey: mine", "seed: yes\nsurvey: mine", "line 1: seed: expected a number, and got True"),
        ("survey: mine", "seed: 2.5\nsurvey: mine", "line 1: seed: "),
        ("survey: mine", "batch: {chunk: 2, max_minutes: yes}\nsurvey: mine", "line 1: batch.max_minutes: expected"),
        ("targets: t.csv", "targets: $NOT_SET_ANYWHERE/t.csv", "line 2: targets: $NOT_SET_ANYWHERE/t.csv: the env"),
        ("survey: mine", "output: ${NOT_SET}/x\nsurvey: mine", "line 1: output: ${NOT_SET}/x: the env"),
        ("survey: mine", "output: ~nobody_here/x\nsurvey: mine", "line 1: output: ~nobody_here/x: there is no"),
        ("survey: mine", 'output: "a\\0b"\nsurvey: mine', "line 1: output: 'a\\x00b': a path cannot hold"),
        ("{level: 1}", "{kind: normal_correlated, covariance: $NO_C/x}", "line 4: noise.covariance: $NO_C/x: the env"),
        (
            "survey: mine",
            "overrides: {T0: {noise: {kind: normal_fourier, level: null, cube: $NO_C}}}\nsurvey: mine",
            "line 1: overrides.T0.noise.cube: $NO_C: the environment variable",
        ),
        ("survey: mine", "overrides: {T0: {noise: 3}}\nsurvey: mine", "line 1: overrides of T0:\n  noise: expected"),
        ("survey: mine", "overrides: {T0: {nois: 3}}\nsurvey: mine", "line 1: overrides.T0.nois: cannot be overridden"),
        ("survey: mine", "overrides: {T0: [1]}\nsurvey: mine", "line 1: overrides.T0: expected keys and v"),
    ],
)  # fmt: skip
def test_mistakes_have_file_line_and_key(load, old, new, said):
    with pytest.raises(ConfigError) as caught:
        load(changed(old, new))
    assert "/mine.yaml:" in str(caught.value)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


def test_two_mistakes_of_paths_are_both_said(load):
    with pytest.raises(ConfigError) as caught:
        load(changed("t.csv", "$NO_A/t.csv") + "output: $NO_B\n")
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == ["line 2", "line 11"]
