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
import os
import stat
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from socca.utils.files import atomic_path, open_regular, read_json

log = logging.getLogger(__name__)

#: Of a folder's entries: the file that keeps their digests.
DIGESTS = "digests.json"
_ENTRIES = "*-cache"
#: First bytes of what JAX compresses with, by what it does that with.
_ZSTD = b"\x28\xb5\x2f\xfd"
_PIECE = 2**20
#: Entries of the last minute are not looked at, and the content of others once a day; s.
_YOUNG, _DAY = 60.0, 86400.0


def remove_damaged(folder: Path) -> list[str]:
    """Delete the entries of a cache of programs that are not as they were written.

    An entry that is seen for the first time is decompressed, which tells whether it is whole. Its digest is kept, and
    compared when its size or time have changed, or a day after it was compared last. Entries of the last minute are
    left alone, for another process may be writing them. So are those that the machine cannot read now.

    Parameters
    ----------
    folder : Path
        The folder that JAX was given.

    Returns
    -------
    list of str
        Names of the entries that were deleted, each with a warning in the log.
    """
    known, found, removed, now = _checked(folder), dict[str, _Checked](), [], time.time()
    for path in sorted(folder.glob(_ENTRIES)):
        before = known.get(path.name)
        try:
            state = path.stat()
            if abs(now - state.st_mtime) < _YOUNG and stat.S_ISREG(state.st_mode):
                continue  # what is known of a former entry says nothing about it
            if before is not None and before.holds(state, now):
                found[path.name] = before
            else:
                found[path.name] = _check(path, before, now)
        except FileNotFoundError:
            continue  # another process was first
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error)
            if before is not None:
                found[path.name] = before
        except ValueError as error:
            log.warning("%s is damaged, and its program is compiled anew: %s", path, error)
            try:
                path.unlink(missing_ok=True)
                removed.append(path.name)
            except OSError as problem:
                log.warning("%s cannot be deleted: %s", path, problem)
    if found != known:
        try:
            with atomic_path(folder / DIGESTS) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")  # tuples as lists
        except OSError as error:
            log.debug("%s cannot be written: %s", folder / DIGESTS, error)
    return removed


class _Checked(NamedTuple):
    """What is known of an entry.

    Parameters
    ----------
    sha256 : str
        Of its content.
    size, modified : int
        Its bytes, and when it was written, ns.
    when : float
        When its content was compared last, s.
    """

    sha256: str
    size: int
    modified: int
    when: float

    def holds(self, state: os.stat_result, now: float) -> bool:
        """Tell whether its content need not be compared again."""
        return (self.size, self.modified) == (state.st_size, state.st_mtime_ns) and 0 <= now - self.when < _DAY


def _check(path: Path, before: _Checked | None, now: float) -> _Checked:
    """Read an entry, and return what is known of it then; `ValueError` if it is damaged."""
    if not path.is_file():
        raise ValueError("it is no regular file")
    with open_regular(path) as stream:
        content, state = stream.read(), os.fstat(stream.fileno())
    found = _Checked(hashlib.sha256(content).hexdigest(), state.st_size, state.st_mtime_ns, now)
    if before is None:
        _decompress(content)
    elif found.sha256 != before.sha256:
        raise ValueError("it has changed since it was written")
    return found


def _checked(folder: Path) -> dict[str, _Checked]:
    """Return what is known of the entries; those of which a damaged file says something else are new."""
    try:
        found = read_json(folder / DIGESTS)
    except (OSError, ValueError):
        return {}
    return {
        str(name): _Checked(*entry)
        for name, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, list) and [type(part) for part in entry] in ([str, int, int, float], [str, int, int, int])
    }


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
