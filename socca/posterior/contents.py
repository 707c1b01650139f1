"""Samples of a fit in its group of an HDF5 file, and what belongs to them: names, units, tied and fixed parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.posterior.hdf5 import member, read_array, read_number, read_text, read_texts, write_text, write_texts
from socca.posterior.quantities import GROUP as QUANTITY_GROUP
from socca.posterior.quantities import read_quantities, write_quantities
from socca.posterior.values import read_value

if TYPE_CHECKING:
    from socca.posterior.protocols import WeightedSamples

#: Datasets of texts, one for each free parameter, and of numbers, one or more for each sample.
TEXTS = ("names", "labels", "units")
SAMPLES = ("samples", "log_weights", "log_likelihood", "log_prior")
#: What `fitter.dump` writes besides the samples: image and model. A result is whole with it and without.
FIT_GROUP = "fit"
#: Groups within that of a fit.
GROUPS = ("derived", "fixed", QUANTITY_GROUP, FIT_GROUP)


def write_contents(group: Any, posterior: WeightedSamples) -> None:
    """Write the samples of a fit, and what belongs to them.

    Parameters
    ----------
    group : h5py.Group
        Of the fit.
    posterior : Posterior
        The result.
    """
    for key in TEXTS:
        write_texts(group, key, getattr(posterior, key))
    group["periods"] = np.array([np.nan if p is None else p for p in posterior.periods])
    for key in SAMPLES:
        group.create_dataset(key, data=getattr(posterior, key), compression="gzip", shuffle=True)
    derived = group.create_group("derived")
    for label, values in posterior.derived.items():
        derived.create_dataset(label, data=values, compression="gzip", shuffle=True)
        write_text(derived[label], "unit", posterior.derived_units.get(label, ""))
        derived[label].attrs["period"] = posterior.derived_periods.get(label, np.nan)
    fixed = group.create_group("fixed")
    for label, value in posterior.fixed.items():
        fixed.attrs[label] = value
    write_text(group, "descriptions", json.dumps(posterior.descriptions))
    write_quantities(group, posterior.quantities)


def contents_digest(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what `read_contents` returns, in hexadecimal."""
    digest = hashlib.sha256()
    for key in (*TEXTS, "periods", "derived_units", "derived_periods", "fixed"):
        digest.update(json.dumps([key, fields[key]], sort_keys=True).encode())
    for key, values in sorted({**{key: fields[key] for key in SAMPLES}, **fields["derived"]}.items()):
        digest.update(json.dumps([key, values.shape]).encode())
        digest.update(np.ascontiguousarray(values, "<f8").tobytes())
    return digest.hexdigest()


def read_contents(group: Any) -> dict[str, Any]:
    """Read the samples of a fit, and what belongs to them.

    Parameters
    ----------
    group : h5py.Group
        Of the fit.

    Returns
    -------
    dict
        Fields of `socca.posterior.Posterior`, by name.

    Raises
    ------
    KeyError, ValueError, OSError
        If a part is not there, does not fit the others, or is damaged.
    """
    import h5py

    names = read_texts(group, "names")
    samples = read_array(group, "samples", (None, len(names)))
    found: dict[str, Any] = {
        **{key: read_texts(group, key, len(names)) for key in TEXTS},
        **{key: read_array(group, key, (len(samples),)) for key in SAMPLES[1:]},
        "samples": samples,
    }
    periods = read_array(group, "periods")
    if len(periods) not in (0, len(names)):
        raise ValueError(f"'periods' has the shape {periods.shape}, expected ({len(names)})")
    derived = member(group, "derived", h5py.Group)
    tied = {label: read_array(derived, label, (len(samples),)) for label in derived}
    angles = {label: read_number(derived[label], "period") for label in tied}
    fixed = member(group, "fixed", h5py.Group)
    described = json.loads(read_text(group, "descriptions")) if "descriptions" in group.attrs else {}
    return {
        **found,
        "periods": [None if np.isnan(period) else float(period) for period in periods],
        "derived": tied,
        "derived_units": {label: read_text(derived[label], "unit") for label in tied},
        "derived_periods": {label: period for label, period in angles.items() if not math.isnan(period)},
        "fixed": {label: read_number(fixed, label) for label in fixed.attrs},
        "descriptions": read_value(dict[str, str], described),
        "quantities": read_quantities(group, len(samples)),
    }
