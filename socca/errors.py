"""Exceptions that socca raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SoccaError(Exception):
    """Base class of every error that socca raises on purpose."""


class ConfigError(SoccaError, ValueError):
    """A config, a table of targets or an argument says something that cannot be used."""


class PluginError(ConfigError):
    """A plug-in cannot be loaded, or its name clashes with another's."""


class DataError(SoccaError, ValueError):
    """An image, PSF, mask or noise map cannot be read or does not fit the others."""


class TooLargeError(DataError):
    """A file has more pixels, or expands to more bytes, than ``max_pixels`` allows."""


class ModelError(SoccaError, ValueError):
    """A model is incomplete or contradicts itself."""


class PoolError(SoccaError, RuntimeError):
    """A pool of workers failed."""


class MachineError(SoccaError, RuntimeError):
    """The disk, the memory or a limit of the machine stopped the work. It says nothing about the data."""


class CheckpointError(SoccaError, RuntimeError):
    """A checkpoint is damaged or belongs to another problem."""


class PosteriorError(SoccaError, ValueError):
    """A file of results cannot be read, or holds no posterior."""


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """Say which known names an unknown one may have meant.

    Parameters
    ----------
    name : str
        The name that was not found.
    known : iterable of str
        The names that exist.
    listed : bool
        Whether to list them also where one of them is close: the closest ones come first.

    Returns
    -------
    str
        ``"; did you mean 'x'?"``, listed ``"; did you mean 'x'? known: x, a, b"``; without a close match
        ``"; known: a, b, x"``.
    """
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    all_names = "known: " + (", ".join(dict.fromkeys([*close, *known])) or "none")
    if not close:
        return f"; {all_names}"
    return f"; did you mean {close[0]!r}?" + (f" {all_names}" if listed else "")


def one_line(error: Exception | str) -> str:
    """Return what an error or a message says, in one line.

    Parameters
    ----------
    error : Exception or str
        An error that is not socca's own is told with its kind.

    Returns
    -------
    str
        Without line breaks.
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, SoccaError | str) else f"{type(error).__name__}: {text}"
