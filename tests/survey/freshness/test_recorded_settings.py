"""Which keys of a config have changed since a fit."""

from socca.survey.freshness.recorded_settings import changed_keys, keep_settings

SETTINGS = {
    "seed": 1,
    "model": {"components": {"galaxy": {"ns": {"uniform": [0.5, 8]}, "re": 2.0}}},
    "sampler": {"method": "nautilus", "options": {}},
}


def changed(tmp_path, **changes):
    keep_settings(tmp_path, "abc", SETTINGS)
    return changed_keys(tmp_path, "abc", SETTINGS | changes, "sersic")


def test_keys_are_those_of_the_config(tmp_path):
    assert changed(tmp_path) == []
    galaxy = {"ns": {"normal": [4, 1]}, "re": 2.0, "e": 0.1}
    assert changed(tmp_path, seed=2, model={"components": {"galaxy": galaxy}}) == [
        "models.sersic.components.galaxy.e",
        "models.sersic.components.galaxy.ns",
        "seed",
    ]
    assert changed(tmp_path, sampler={"method": "nautilus", "options": {"n_live": 5}}) == ["sampler.options.n_live"]
    many = {"options": {f"k{n}": n for n in range(9)}, "method": "nautilus"}
    assert changed(tmp_path, sampler=many)[-1] == "and 5 more"


def test_settings_that_are_not_known_are_not_named(tmp_path):
    assert changed_keys(tmp_path, "abc", SETTINGS, "sersic") == []
    (tmp_path / "settings").mkdir()
    for text in (b"[1]", b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "settings" / "abc.json").write_bytes(text)
        assert changed_keys(tmp_path, "abc", SETTINGS, "sersic") == []
    # A result cannot make us read another file.
    (tmp_path / "other.json").write_text("{}")
    assert changed_keys(tmp_path, "../other", SETTINGS, "sersic") == []
