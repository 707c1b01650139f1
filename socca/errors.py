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


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names an unknown one may have meant.

    Parameters
    ----------
    name : str
        The name that was not found.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        ``"; did you mean 'x'?"`` or, without a close match, ``"; known: a, b, c"``.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; known: " + (", ".join(known) if known else "none")


def known_names(name: str, known: Iterable[str]) -> str:
    """List the known names, those that an unknown one may have meant first.

    Parameters
    ----------
    name : str
        The name that was not found.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        ``"; did you mean 'x'? known: x, a, b"``, or ``"; known: a, b, x"`` without a close match.
    """
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    listed = "known: " + (", ".join(dict.fromkeys([*close, *known])) or "none")
    return f"; did you mean {close[0]!r}? {listed}" if close else f"; {listed}"


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
