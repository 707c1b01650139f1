"""Kinds of doubts about the inputs of a fit: the flags that they give, and which of them end a survey's fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from socca.errors import DataError

#: Flag -> what it means; in the order in which a catalogue has them.
MEANINGS = {
    "constant_image": "all used pixels of the image have the same value",
    "off_image": "a component's position prior lies off the image",
    "target_masked": "the pixels within a component's position prior are masked",
    "wide_position": "a component's position prior is wider than the image",
    "pixel_scale": "the pixels of the image are larger than 0.1 degrees",
    "frame_not_icrs": "RA and Dec of the image are neither ICRS nor FK5 of J2000",
    "size_prior": "more than half of the prior of a length lies above twice the diagonal of the image",
    "angle_prior": "the prior of an angle is wider than the angle's period",
    "intensity_prior": "the prior of an intensity has nothing to do with the values of the image",
    "noise_level": "the noise map and the scatter of the pixels differ by a factor above 3",
    "psf_center": "the centroid of the PSF lies off the centre of its array",
    "psf_shape": "the PSF is negative, flat or looks like noise",
    "psf_scale": "the header of the PSF gives pixels of another size than the PSF is used with",
}


@dataclass(frozen=True)
class Doubt:
    """Something implausible about the inputs of a fit.

    Parameters
    ----------
    flag : str
        One of `MEANINGS`.
    message : str
        What, and what to do; one line.
    nonsense : bool
        Whether a result can only be nonsense: a survey then refuses to fit.
    about : str
        The file that it concerns, by what it is to the target, such as ``psf``.
    """

    flag: str
    message: str
    nonsense: bool = False
    about: str = "image"


def refuse_nonsense(doubts: Iterable[Doubt], path: str | Path) -> None:
    """Raise `DataError` if a fit can only give nonsense.

    Parameters
    ----------
    doubts : iterable of Doubt
        All of the fit's.
    path : str or Path
        The image, for the message.
    """
    found = [doubt.message for doubt in doubts if doubt.nonsense]
    if found:
        raise DataError(f"{'; '.join(found)} ({path})")


def messages(doubts: Iterable[Doubt]) -> dict[str, str]:
    """Return flag -> message; several of one flag are joined."""
    found: dict[str, str] = {}
    for doubt in doubts:
        found[doubt.flag] = f"{found[doubt.flag]}; {doubt.message}" if doubt.flag in found else doubt.message
    return found
