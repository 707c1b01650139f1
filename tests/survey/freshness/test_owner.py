"""Two configs cannot share a folder of results."""

import shutil

import pytest
import yaml

from socca.errors import ConfigError
from socca.survey.config.schema import load_config
from socca.survey.freshness.owner import check_owner, claim


@pytest.fixture
def make_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(name, **changes):
        settings = {
            "survey": "mine",
            "targets": "t.csv",
            "models": {"sky": {"components": {"sky": {"type": "Background", "a0": 1}}}},
        } | changes
        path = tmp_path / name
        path.write_text(yaml.safe_dump(settings))
        return load_config(path), path

    return make


def test_another_config_of_the_same_name_is_refused(make_config):
    first, second = make_config("one.yaml"), make_config("two.yaml", seed=2)
    check_owner(*first)
    claim(*first)
    check_owner(*first)
    with pytest.raises(ConfigError, match=r"two\.yaml and .*one\.yaml write their results into the same folder"):
        check_owner(*second)
    check_owner(*make_config("three.yaml", output="elsewhere"))
    # What is renamed is the same survey.
    first[1].unlink()
    check_owner(*second)
    claim(*second)
    with pytest.raises(ConfigError, match=r"one\.yaml and .*two\.yaml"):
        check_owner(*make_config("one.yaml"))


def test_results_that_were_copied_are_those_of_the_config_beside_them(make_config, tmp_path, monkeypatch):
    config, path = make_config("one.yaml")
    claim(config, path)
    shutil.copytree(tmp_path / "results", tmp_path / "clone" / "results")
    shutil.copy(path, tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "clone")
    check_owner(config, tmp_path / "clone" / "one.yaml")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"config": 3, "folder": 4}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_note_says_nothing(make_config, text):
    config, path = make_config("one.yaml")
    claim(config, path)
    (config.folder / "config.json").write_bytes(text)
    check_owner(*make_config("two.yaml"))
    claim(config, path)
    with pytest.raises(ConfigError):
        check_owner(*make_config("two.yaml"))
