"""Units of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


class Units(Protocol):
    """Units of a catalogue. The section ``catalog`` of a config is one, and so is `DefaultUnits`."""

    @property
    def lengths(self) -> str:
        """Of lengths on the sky."""

    @property
    def angles(self) -> str:
        """Of position angles and inclinations."""


@dataclass(frozen=True)
class DefaultUnits:
    """The units of a config that does not say."""

    lengths: Literal["deg", "arcmin", "arcsec", "mas"] = "arcsec"
    angles: Literal["deg", "rad"] = "deg"


#: The units where none are given.
DEFAULTS = DefaultUnits()
