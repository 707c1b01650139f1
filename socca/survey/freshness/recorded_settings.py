"""Settings that fits were made with, kept beside the results: they say which key of a config has changed.

A result records the digest of its settings. Whether it is up to date is decided by that digest alone; the file named
for it, ``settings/<digest>.json``, is for the message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from socca.survey.config.values import is_prior
from socca.utils.files import atomic_path, read_json

#: Most keys that a message names.
_MOST = 4


def keep_settings(folder: Path, digest: str, settings: Mapping[str, Any]) -> None:
    """Keep the settings of a fit, unless they are kept already.

    Parameters
    ----------
    folder : Path
        Of the survey's results.
    digest : str
        Of the settings.
    settings : mapping
        As of `Config.fit_settings`.
    """
    path = _path(folder, digest)
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")


def changed_keys(folder: Path, digest: str, settings: Mapping[str, Any], model: str) -> list[str]:
    """Return the keys in which settings differ from those of a digest.

    Parameters
    ----------
    folder : Path
        Of the survey's results.
    digest : str
        Of the earlier settings.
    settings : mapping
        Those of now.
    model : str
        Name of the model, for keys as the config has them: ``models.sersic.components.galaxy.ns``.

    Returns
    -------
    list of str
        Some of them, if there are many; empty if the earlier settings are not known.
    """
    if not (digest.isalnum() and digest.isascii()):
        return []
    try:
        before = read_json(_path(folder, digest))
    except (OSError, ValueError):
        return []
    if not isinstance(before, dict):
        return []
    now = json.loads(json.dumps(settings))
    found = [f"models.{model}{key[5:]}" if key.startswith("model.") else key for key in _differing(before, now)]
    return found if len(found) <= _MOST else [*found[:_MOST], f"and {len(found) - _MOST} more"]


def _path(folder: Path, digest: str) -> Path:
    return folder / "settings" / f"{digest}.json"


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key in sorted(before.keys() | now.keys()):
        a, b = before.get(key), now.get(key)
        if a == b:
            continue
        sections = isinstance(a, Mapping) and isinstance(b, Mapping) and not (is_prior(a) or is_prior(b))
        if sections:
            yield from _differing(a or {}, b or {}, f"{above}{key}.")
        else:
            yield f"{above}{key}"
