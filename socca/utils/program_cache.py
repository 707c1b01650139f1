"""Care of the folder of compiled programs that JAX keeps.

JAX writes an entry in place and never replaces it: an entry that was cut off by a kill or a full disk would stay for
ever, and the program would be compiled anew in each process. Here, damaged entries are deleted before JAX looks at
them, so that the next program takes their place.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import zlib
from pathlib import Path

from socca.utils.files import atomic_path, open_regular, read_json

log = logging.getLogger(__name__)

#: Of a folder's entries: the file that keeps their digests.
DIGESTS = "digests.json"
_ENTRIES = "*-cache"
#: First bytes of what JAX compresses with, by what it does that with.
_ZSTD = b"\x28\xb5\x2f\xfd"
_PIECE = 2**20


def remove_damaged(folder: Path) -> list[str]:
    """Delete the entries of a cache of programs that are not as they were written.

    An entry that is seen for the first time is decompressed, which tells whether it is whole; its digest is kept, and
    compared from then on.

    Parameters
    ----------
    folder : Path
        The folder that JAX was given.

    Returns
    -------
    list of str
        Names of the entries that were deleted, each with a warning in the log.
    """
    known, found, removed = _digests(folder), dict[str, str](), []
    for path in sorted(folder.glob(_ENTRIES)):
        try:
            with open_regular(path) as stream:
                content = stream.read()
            digest = hashlib.sha256(content).hexdigest()
            if digest != known.get(path.name, digest):
                raise ValueError("it has changed since it was written")
            if path.name not in known:
                _decompress(content)
            found[path.name] = digest
        except FileNotFoundError:
            continue  # another process was first
        except (OSError, ValueError) as error:
            log.warning("%s is damaged, and its program is compiled anew: %s", path, error)
            try:
                path.unlink(missing_ok=True)
                removed.append(path.name)
            except OSError as problem:
                log.warning("%s cannot be deleted: %s", path, problem)
    if found != known:
        try:
            with atomic_path(folder / DIGESTS) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
        except OSError as error:
            log.debug("%s cannot be written: %s", folder / DIGESTS, error)
    return removed


def _digests(folder: Path) -> dict[str, str]:
    try:
        found = read_json(folder / DIGESTS)
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}


def _decompress(content: bytes) -> None:
    """Raise `ValueError` unless an entry can be decompressed to its end."""
    if content.startswith(_ZSTD):
        for name in ("compression.zstd", "zstandard"):
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            try:
                module.decompress(content)
            except Exception as error:  # each of the two modules has its own
                raise ValueError(str(error)) from error
            return
        return  # JAX could not read it either, and looks for another entry
    try:
        stream = zlib.decompressobj()
        stream.decompress(content, _PIECE)
        while stream.unconsumed_tail:
            stream.decompress(stream.unconsumed_tail, _PIECE)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof:
        raise ValueError("it ends too early")
