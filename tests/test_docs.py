"""Pages that are made from code are in step with it."""

from pathlib import Path

from socca.reference import config_reference

ROOT = Path(__file__).parents[1]


def test_config_reference_is_in_step():
    page = (ROOT / "docs" / "config.md").read_text()
    assert page == config_reference(), "run `socca schema --markdown > docs/config.md`"


def test_versions_agree():
    import socca

    assert f'version = "{socca.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"version: {socca.__version__}" in (ROOT / "CITATION.cff").read_text()
