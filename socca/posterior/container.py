"""Containers: one HDF5 file with the results of many targets.

Each fit is a group below ``fits``, as `socca.posterior.storage` writes it. The container also keeps the attributes of
all of them in one place, ``records``: a catalogue of a whole survey reads that and no sample.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.hdf5 import copy_group, read_array, reading, write_text
from socca.posterior.header import ResultHeader
from socca.posterior.storage import (
    CONTAINER_FORMAT,
    FIT_ANEW,
    FORMAT_VERSION,
    ResultLocation,
    check_result,
    fit_of,
    new_file,
    open_result,
    open_results,
    reading_fit,
)
from socca.posterior.values import read_value

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContainerHeaders:
    """What a container says of its fits.

    Parameters
    ----------
    intact : dict of ResultHeader
        By target.
    damaged : dict of PosteriorError
        Of the others, what is wrong with them, by target.
    """

    intact: dict[str, ResultHeader] = field(default_factory=dict)
    damaged: dict[str, PosteriorError] = field(default_factory=dict)


def read_container(path: str | Path, *, whole: bool = False) -> ContainerHeaders:
    """Return what each fit of a container says of itself, as far as it is not damaged.

    Parameters
    ----------
    path : str or Path
        The container.
    whole : bool
        Whether to read the fits from end to end too: a fit with a damaged sample is then a damaged one.

    Returns
    -------
    ContainerHeaders
        By target; empty if there is no such file.

    Raises
    ------
    PosteriorError
        If the container is damaged as a whole, or of another kind.
    """
    if not Path(path).exists():
        return ContainerHeaders()
    found = ContainerHeaders()
    with open_results(path, CONTAINER_FORMAT) as file:
        with reading(str(path), "run the survey again, which makes these fits anew"):
            text = read_array(file, "records", kinds="u").tobytes()
            entries = read_value(dict[str, Any], json.loads(text))
        for target, entry in entries.items():
            try:
                with reading(f"{path}: fit of {target}", FIT_ANEW):
                    header = ResultHeader.from_dict(read_value(dict[str, Any], entry))
                if whole:
                    check_result(fit_of(file, target))
                found.intact[target] = header
            except PosteriorError as error:
                found.damaged[target] = error
    return found


def read_headers(path: str | Path) -> dict[str, ResultHeader]:
    """Return what each fit of a container says of itself, by target; empty if there is no such file.

    Parameters
    ----------
    path : str or Path
        The container.

    Returns
    -------
    dict of ResultHeader
        As `header_of` returns them. Damaged ones are left out, with a warning in the log that names them.

    Raises
    ------
    PosteriorError
        If the container is damaged as a whole, or of another kind.
    """
    found = read_container(path)
    for error in found.damaged.values():
        log.warning("%s", error)
    return found.intact


def write_container(path: str | Path, places: Mapping[str, ResultLocation]) -> None:
    """Gather fits into one container, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The container; it may be among the files that are read, and is replaced.
    places : mapping of str to ResultLocation
        Where the fit of each target is now.

    Raises
    ------
    PosteriorError
        If one of them cannot be read.
    """
    records: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(new_file(path))
        file.attrs["format_version"] = FORMAT_VERSION
        write_text(file, "format", CONTAINER_FORMAT)
        fits = file.create_group("fits")
        opened: dict[Path, Any] = {}
        for name, place in places.items():
            if place.target is None:
                with open_result(place.path) as group:
                    records[name] = _copied(group, fits, name)
            else:
                if place.path not in opened:
                    opened[place.path] = stack.enter_context(open_results(place.path, CONTAINER_FORMAT))
                records[name] = _copied(fit_of(opened[place.path], place.target), fits, name)
        text = np.frombuffer(json.dumps(records).encode(), dtype=np.uint8)
        file.create_dataset("records", data=text, compression="gzip")


def _copied(group: Any, fits: Any, name: str) -> dict[str, Any]:
    """Copy a fit, and return the entry of the container that says what it is."""
    header = check_result(group)
    with reading_fit(group):
        copy_group(group["/"] if group.name == "/" else group, fits, name)
        return header.to_dict()
