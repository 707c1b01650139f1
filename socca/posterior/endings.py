"""How fits ended, read from their files at a tenth of the time that their records take."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.hdf5_files import check_file, has_old_texts
from socca.posterior.storage import FORMAT, FORMAT_VERSION


class Ending(NamedTuple):
    """How one fit ended.

    Parameters
    ----------
    status : {'done', 'failed'}
        Whether there is a posterior.
    message : str
        Why there is none; empty if there is one.
    finished : str
        When; UTC, as ISO 8601 writes it. Empty where the file does not say.
    """

    status: Literal["done", "failed"]
    message: str
    finished: str


def read_ending(path: str | Path) -> Ending | None:
    """Read how a fit ended.

    A survey has thousands of files, and h5py's own attributes take most of the time that it needs for them.

    Parameters
    ----------
    path : str or Path
        A file of one fit.

    Returns
    -------
    Ending or None
        None if it cannot be said: `socca.posterior.storage.open_result` and `header_of` know what is wrong.
    """
    from h5py import h5f, h5p

    try:
        check_file(path)
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_file_locking(False, True)  # files are replaced whole: nothing to lock
        file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, access)
    except (PosteriorError, OSError, RuntimeError):
        return None
    try:
        if _text(file, "format") != FORMAT or int(_value(file, "format_version")) > FORMAT_VERSION:
            return None
        status = _text(file, "status")
        if status not in ("done", "failed"):
            return None
        message = _text(file, "message") if status == "failed" else ""
        return Ending(cast(Any, status), message, str(json.loads(_text(file, "meta")).get("finished") or ""))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError):
        return None
    finally:
        file.close()


def _value(file: Any, name: str) -> Any:
    """Return an attribute of the root, a scalar; `ValueError` for a list, or a text in a heap without checksum."""
    from h5py import h5a

    attribute = h5a.open(file, name.encode())
    if attribute.shape != () or (attribute.dtype.hasobject and not has_old_texts(file)):
        raise ValueError(f"{name!r} is no number, and no text of fixed length")
    found = np.empty((), attribute.dtype)
    attribute.read(found)
    return found[()]


def _text(file: Any, name: str) -> str:
    found = _value(file, name)
    return found.decode() if isinstance(found, bytes) else str(found)
