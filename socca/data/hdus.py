"""HDUs of FITS files: how they are named, and which one is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import DataError
from socca.utils.files import exists

if TYPE_CHECKING:
    from astropy.io import fits

#: What selects an HDU: its number, its name, or its name and version (EXTNAME and EXTVER).
HduIndex = int | str | tuple[str, int]

#: A file name with an HDU in brackets: ``file.fits[3]``, ``file.fits[SCI]``, ``file.fits[SCI,2]``.
_BRACKETS = re.compile(r"(?P<file>.+)\[\s*(?P<hdu>[^\[\]]*?)\s*\]", re.DOTALL)
#: A name and a version: ``SCI,2``.
_VERSION = re.compile(r"(?P<name>[^,]*[^,\s])\s*,\s*(?P<version>\d+)")


def split_hdu(path: str | Path) -> tuple[Path, HduIndex | None]:
    """Split the name of a file from the HDU in brackets behind it.

    Parameters
    ----------
    path : str or Path
        Such as ``file.fits``, ``file.fits[3]``, ``file.fits[SCI]`` or ``file.fits[SCI,2]``.

    Returns
    -------
    path : Path
        The file. One that exists by the whole name, brackets included, is that file.
    hdu : int, str, tuple or None
        The HDU; None without brackets.

    Raises
    ------
    DataError
        If the brackets are empty.
    """
    path = Path(path)
    found = _brackets(path)
    if found is None or exists(path):
        return path, None
    hdu = _in_brackets(found)
    if hdu is None:
        raise DataError(f"{path}: no HDU in the brackets: write a number or a name, such as file.fits[1]")
    return path.with_name(found["file"]), hdu


def named_hdu(path: str | Path) -> HduIndex | None:
    """Return the HDU in brackets behind the name of a file, whatever files there are; None without one."""
    found = _brackets(Path(path))
    return None if found is None else _in_brackets(found)


def _brackets(path: Path) -> re.Match[str] | None:
    return _BRACKETS.fullmatch(path.name) if path.name.endswith("]") else None


def _in_brackets(found: re.Match[str]) -> HduIndex | None:
    hdu = found["hdu"]
    if not hdu:
        return None
    return int(hdu) if hdu.isdecimal() else _with_version(hdu)


def _with_version(name: str) -> str | tuple[str, int]:
    found = _VERSION.fullmatch(name)
    return name if found is None else (found["name"], int(found["version"]))


def one_of(named: HduIndex | None, given: HduIndex | None, where: str) -> HduIndex | None:
    """Return the HDU of a file: the one in brackets behind its name, or the one given beside it.

    Parameters
    ----------
    named, given : int, str, tuple or None
        The two.
    where : str
        The file, for the error.

    Returns
    -------
    int, str, tuple or None
        The one that is not None.

    Raises
    ------
    DataError
        If both are given and differ.
    """
    if named is not None and given is not None and named != given:
        raise DataError(f"{where}: its name asks for HDU {named!r}, and HDU {given!r} is asked for beside it: give one")
    return given if named is None else named


def select_hdu(hdus: fits.HDUList, index: HduIndex | None, what: str, where: str) -> Any:
    """Return one image HDU of a list: the one asked for, or the first that holds an image. No pixels are read.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        An open file.
    index : int, str, tuple or None
        Number or name of the HDU, or its name and version; also ``"SCI,2"``.
    what, where : str
        For the error: what is read, and from which file.

    Returns
    -------
    astropy.io.fits HDU
        An HDU with an image of at least two axes.

    Raises
    ------
    DataError
        If there is none.
    """
    if index is None:
        for hdu in hdus:
            if _has_image(hdu):
                return hdu
        raise DataError(f"{what}: no HDU of {where} holds an image")
    hdu = _found(hdus, index)
    if hdu is None:
        there = ", ".join(f"{k} {hdu.name}".strip() for k, hdu in enumerate(hdus))
        raise DataError(f"{what}: {where} has no HDU {index!r} (it has {len(hdus)}: {there})")
    if not _has_image(hdu):
        raise DataError(f"{what}: HDU {index!r} of {where} holds no image")
    return hdu


def _found(hdus: fits.HDUList, index: HduIndex) -> Any:
    keys = [index]
    if isinstance(index, str):
        keys.append(_with_version(index))
    for key in keys:
        try:
            return hdus[key]
        except (KeyError, IndexError):
            continue
    return None


def _has_image(hdu: Any) -> bool:
    shape = tuple(getattr(hdu, "shape", ()) or ())
    return bool(hdu.is_image) and len(shape) >= 2 and all(shape)
