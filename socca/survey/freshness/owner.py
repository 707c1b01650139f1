"""Owner of a folder of results: the config that they were made with. Two configs cannot share a folder."""

from __future__ import annotations

import json
from pathlib import Path

from socca.errors import ConfigError
from socca.survey.config.schema import Config
from socca.utils.files import atomic_path, read_json


def check_owner(config: Config, path: Path) -> None:
    """Refuse a config whose results would mix with those of another one.

    A config that is not there any more owns nothing; nor does one whose results were moved or copied to where they are.

    Parameters
    ----------
    config : Config
        The config.
    path : Path
        Its file.

    Raises
    ------
    ConfigError
        If another config writes into the same folder, naming both.
    """
    other = _other_owner(config, path)
    if other is not None:
        raise ConfigError(
            f"{path} and {other} write their results into the same folder, {config.folder}: give one of them another "
            f"name (survey) or another folder (output). If {other} writes elsewhere now, delete {_note(config)}"
        )


def claim(config: Config, path: Path) -> None:
    """Note that a folder of results is that of a config, once `check_owner` has not refused it."""
    content = json.dumps({"config": str(path.resolve()), "folder": str(config.folder.resolve())}, indent=1)
    note = _note(config)
    try:
        is_noted = read_json(note) == json.loads(content)
    except (OSError, ValueError):
        is_noted = False
    if not is_noted:
        with atomic_path(note) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _note(config: Config) -> Path:
    return config.folder / "config.json"


def _other_owner(config: Config, path: Path) -> Path | None:
    try:
        noted = read_json(_note(config))
        owner, folder = Path(noted["config"]), Path(noted["folder"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if owner == path.resolve() or folder != config.folder.resolve() or not owner.is_file():
        return None
    return owner
