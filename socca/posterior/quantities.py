"""Samples of derived quantities, such as fluxes and radii, and their form in HDF5."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from socca.posterior.hdf5 import member, read_array, read_number, read_text, write_text
from socca.posterior.values import read_value

#: Group of a fit's file; its checksum is an attribute of it.
GROUP = "quantities"
_CHECKSUM = "sha256"


@dataclass(frozen=True, eq=False)
class QuantitySamples:
    """A quantity that follows from the parameters, for each sample.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN where it does not exist, such as the magnitude of a negative flux.
    unit : str
        As astropy writes it; ``image`` stands for the unit of the image.
    description : str
        One line.
    ucd : str
        Unified content descriptor.
    period : float or None
        The quantity is an angle that comes back to itself after this.
    """

    values: np.ndarray
    unit: str = ""
    description: str = ""
    ucd: str = ""
    period: float | None = None


def write_quantities(group: Any, quantities: Mapping[str, QuantitySamples]) -> None:
    """Write the quantities of a fit into its group, in single precision; those that are there are replaced."""
    if GROUP in group:
        del group[GROUP]
    if not quantities:
        return
    holder = group.create_group(GROUP)
    for number, one in enumerate(quantities.values()):
        name = str(number)  # labels may be no names for HDF5
        holder.create_dataset(name, data=np.asarray(one.values, np.float32), compression="gzip", shuffle=True)
        for key in ("unit", "description", "ucd"):
            write_text(holder[name], key, getattr(one, key))
        holder[name].attrs["period"] = math.nan if one.period is None else one.period
    write_text(holder, "labels", json.dumps(list(quantities)))
    write_text(holder, _CHECKSUM, _digest(_read(holder, None)))


def read_quantities(group: Any, number: int) -> dict[str, QuantitySamples]:
    """Read the quantities of a fit from its group.

    Parameters
    ----------
    group : h5py.Group
        Of the fit.
    number : int
        Of its samples.

    Returns
    -------
    dict of QuantitySamples
        By label; empty where there are none.

    Raises
    ------
    KeyError, ValueError, OSError
        If they are damaged.
    """
    import h5py

    if GROUP not in group:
        return {}
    holder = member(group, GROUP, h5py.Group)
    found = _read(holder, number)
    if read_text(holder, _CHECKSUM) != _digest(found):
        raise ValueError("its quantities do not match their checksum")
    return found


def _read(holder: Any, number: int | None) -> dict[str, QuantitySamples]:
    labels = read_value(list[str], json.loads(read_text(holder, "labels")))
    if len(labels) != len(holder) or len(set(labels)) != len(labels):
        raise ValueError("its quantities are not those that it names")
    found = {}
    for place, label in enumerate(labels):
        name = str(place)
        values = read_array(holder, name, (number,)).astype(float)
        texts = {key: read_text(holder[name], key) for key in ("unit", "description", "ucd")}
        period = read_number(holder[name], "period")
        found[label] = QuantitySamples(values, **texts, period=None if math.isnan(period) else period)
    return found


def _digest(quantities: Mapping[str, QuantitySamples]) -> str:
    digest = hashlib.sha256()
    for label, one in quantities.items():
        digest.update(json.dumps([label, one.unit, one.description, one.ucd, one.period, len(one.values)]).encode())
        digest.update(np.ascontiguousarray(one.values, "<f4").tobytes())
    return digest.hexdigest()
