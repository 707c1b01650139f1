"""Chunks: groups of targets that share a job and a file.

At survey scale a job is a chunk: fits of one model, run by one process, whose posteriors lie in one file. Which chunk a
target is in depends on its name and on the number of chunks alone, and that number is a power of two: rows that come,
go or move in the table change no other target's chunk, until there are twice as many. Fits are then taken over from the
files of the former chunks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from socca.errors import ConfigError

_NAME = re.compile(r"(\d+)of(\d+)")


@dataclass(frozen=True)
class Chunk:
    """A chunk of the fits of one model.

    Parameters
    ----------
    model : str
        The model.
    number, count : int
        Which of how many, from 0.
    """

    model: str
    number: int
    count: int

    @property
    def name(self) -> str:
        """Such as ``007of128``."""
        return f"{self.number:0{len(str(self.count))}d}of{self.count}"

    @classmethod
    def named(cls, model: str, name: str) -> Self:
        """Return the chunk of that name; anything else is a `ConfigError`."""
        match = _NAME.fullmatch(name)
        if match is None or not int(match[1]) < int(match[2]):
            raise ConfigError(f"chunk {name!r}: names look like 007of128")
        return cls(model, int(match[1]), int(match[2]))

    def path(self, folder: Path) -> Path:
        """Return the file of its posteriors, for results that lie in `folder`."""
        return folder / "chunks" / self.model / f"{self.name}.h5"

    def stamp(self, folder: Path, state: str) -> Path:
        """Return the file which says that the chunk's posteriors are those of a state of its inputs."""
        return self.path(folder).with_name(f"{self.name}-{state}.done")

    def remove_stamps(self, folder: Path, *, keep: str | None = None) -> None:
        """Delete the files which say that the chunk is up to date (``.done``), or drawn, but those of one stem."""
        for stamp in self.path(folder).parent.glob(f"{self.name}-*.*"):
            if stamp.stem != keep:
                stamp.unlink(missing_ok=True)

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the chunk whose file that is."""
        return cls.named(path.parent.name, path.stem)

    @staticmethod
    def parts(path: Path) -> Path:
        """Return the folder in which results lie before they are in a chunk's file."""
        return path.with_suffix(".parts")

    def former_counts(self, folder: Path) -> list[int]:
        """Return into how many chunks the model's fits were divided before, as far as files of it are left."""
        found = {
            int(match[2]) for path in self.path(folder).parent.glob("*of*.h5") if (match := _NAME.fullmatch(path.stem))
        }
        return sorted(found - {self.count, 0})

    def former(self, folder: Path, target: str, counts: Iterable[int]) -> list[Path]:
        """Return files of former chunks that may hold a target's fit, the latest first; `counts` of `former_counts`."""
        paths = (Chunk(self.model, number_of(target, count), count).path(folder) for count in counts)
        return sorted((path for path in paths if path.exists()), key=lambda path: path.stat().st_mtime, reverse=True)


@dataclass(frozen=True)
class Members:
    """The names that a chunk may hold: ``name in Members(chunk)``."""

    chunk: Chunk

    def __contains__(self, name: object) -> bool:
        return number_of(str(name), self.chunk.count) == self.chunk.number


def number_of(target: str, count: int) -> int:
    """Return which of so many chunks a target is in."""
    return int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big") % count


def divided(model: str, targets: Iterable[str], size: int) -> dict[Chunk, list[str]]:
    """Divide the targets of one model into chunks.

    Parameters
    ----------
    model : str
        The model.
    targets : iterable of str
        Names.
    size : int
        How many fits a chunk has on average, at most; single ones have somewhat more.

    Returns
    -------
    dict of list
        The targets of each chunk, in their order; chunks without any are left out.
    """
    targets = list(targets)
    count = 1
    while count * size < len(targets):
        count *= 2
    chunks: dict[Chunk, list[str]] = {}
    for target in targets:
        chunks.setdefault(Chunk(model, number_of(target, count), count), []).append(target)
    return dict(sorted(chunks.items(), key=lambda item: item[0].number))
