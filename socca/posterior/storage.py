"""Storage of results in HDF5: single files, and containers of many targets.

A fit is a group with its samples, and attributes that say how it went. It is the root of a file of its own, or one of
the groups below ``fits`` of a container, which also keeps the attributes of all of them in one place: a catalogue of a
whole survey reads that and no sample.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.record import FitRecord
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from socca.posterior.protocols import WeightedSamples

#: Written into every file; readers refuse what they do not know.
FORMAT = "socca-posterior"
CONTAINER_FORMAT = "socca-posteriors"
FORMAT_VERSION = 1
#: Scalars of a fit; those after the second are not in files of earlier versions.
_EVIDENCES = ("logz", "logz_err", "logz_prior", "logz_prior_err", "logz_data")
_TEXTS = ("names", "labels", "units")
_SAMPLES = ("samples", "log_weights", "log_likelihood", "log_prior")


class ResultLocation(NamedTuple):
    """Where the result of one fit is.

    Parameters
    ----------
    path : Path
        A file of its own, or a container.
    target : str, optional
        Which fit of the container.
    """

    path: Path
    target: str | None = None


@dataclass(frozen=True)
class ResultHeader:
    """What a result says of itself, without its samples.

    Parameters
    ----------
    record : FitRecord
        How it came about.
    summary : list of dict
        See `socca.posterior.Posterior.summary`; empty for a failure, as all below is NaN.
    logz, logz_err : float
        Log-evidence and its standard error.
    n_eff : float
        Effective number of samples.
    """

    record: FitRecord
    summary: list[dict[str, Any]] = field(default_factory=list)
    logz: float = math.nan
    logz_err: float = math.nan
    n_eff: float = math.nan

    @property
    def status(self) -> Literal["done", "failed"]:
        """How the fit ended."""
        return "done" if self.record.failure is None else "failed"

    @property
    def message(self) -> str:
        """Why the fit failed; empty if it has not."""
        return "" if self.record.failure is None else self.record.failure.message

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> ResultHeader:
        """Return the header that an entry of a container holds; `PosteriorError` if it is damaged."""
        try:
            if entry["status"] != "done":
                return cls(FitRecord.from_dict(entry["meta"], str(entry["message"])))
            numbers = {key: float(entry[key]) for key in ("logz", "logz_err", "n_eff")}
            return cls(FitRecord.from_dict(entry["meta"]), list(entry["summary"]), **numbers)
        except (KeyError, TypeError) as error:
            raise PosteriorError(f"a record lacks {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the header as an entry of a container: plain values."""
        entry = {"status": self.status, "message": self.message, "meta": self.record.to_dict()}
        if self.record.failure is not None:
            return entry
        return {**entry, "summary": self.summary, "logz": self.logz, "logz_err": self.logz_err, "n_eff": self.n_eff}


def save_posterior(path: str | Path, posterior: WeightedSamples) -> None:
    """Write a posterior to a file of its own, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; an existing one is replaced.
    posterior : Posterior
        The result.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        _stamp(file, posterior.record)
        file.attrs["summary"] = json.dumps(posterior.summary())
        for key in _EVIDENCES:
            file.attrs[key] = getattr(posterior, key)
        text = h5py.string_dtype()
        for key in _TEXTS:
            file.create_dataset(key, data=np.array(getattr(posterior, key), dtype=object), dtype=text)
        file["periods"] = np.array([np.nan if p is None else p for p in posterior.periods])
        for key in _SAMPLES:
            file.create_dataset(key, data=getattr(posterior, key), compression="gzip", shuffle=True)
        derived = file.create_group("derived")
        for label, values in posterior.derived.items():
            derived.create_dataset(label, data=values, compression="gzip", shuffle=True)
            derived[label].attrs["unit"] = posterior.derived_units.get(label, "")
            derived[label].attrs["period"] = posterior.derived_periods.get(label, np.nan)
        fixed = file.create_group("fixed")
        for label, value in posterior.fixed.items():
            fixed.attrs[label] = value


def save_failure(path: str | Path, record: FitRecord) -> None:
    """Record that a fit failed, in a file where its posterior would be.

    Parameters
    ----------
    path : str or Path
        The file.
    record : FitRecord
        With its `failure`.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        _stamp(file, record)


def _stamp(group: Any, record: FitRecord) -> None:
    """Write what every fit says of itself."""
    header = ResultHeader(record)
    group.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION})
    group.attrs.update({"status": header.status, "message": header.message})
    group.attrs["meta"] = json.dumps(record.to_dict())


def posterior_fields(group: Any) -> dict[str, Any]:
    """Return the fields of a `Posterior`, as its group holds them."""
    derived = dict(group["derived"].items())
    periods = {label: float(data.attrs["period"]) for label, data in derived.items()}
    return {
        **{key: [value.decode() for value in group[key][()]] for key in _TEXTS},
        **{key: group[key][()] for key in _SAMPLES},
        **{key: float(group.attrs[key]) for key in _EVIDENCES[:2]},
        **{key: float(group.attrs.get(key, math.nan)) for key in _EVIDENCES[2:]},
        "periods": [None if np.isnan(p) else float(p) for p in group["periods"][()]],
        "derived": {label: data[()] for label, data in derived.items()},
        "derived_units": {label: str(data.attrs["unit"]) for label, data in derived.items()},
        "derived_periods": {label: period for label, period in periods.items() if not np.isnan(period)},
        "fixed": {label: float(value) for label, value in group["fixed"].attrs.items()},
        "record": FitRecord.from_dict(json.loads(group.attrs["meta"])),
    }


@contextlib.contextmanager
def open_result(path: str | Path, target: str | None = None) -> Iterator[Any]:
    """Open the result of one fit, done or failed, for reading.

    Parameters
    ----------
    path : str or Path
        A file of one fit, or a container.
    target : str, optional
        Whose fit, in a container.

    Yields
    ------
    h5py.Group
        Its samples, and attributes that `header_of` reads.

    Raises
    ------
    PosteriorError
        If it is missing, damaged or of another kind, or a container from which no target, or one that it lacks, is
        asked.
    """
    with _opened(path, FORMAT if target is None else CONTAINER_FORMAT) as file:
        if target is None:
            yield file
            return
        if target not in file["fits"]:
            raise PosteriorError(f"{path}: has no fit of {target!r}")
        yield file["fits"][target]


@contextlib.contextmanager
def _opened(path: str | Path, wanted: str) -> Iterator[Any]:
    import h5py

    try:
        file = h5py.File(path, "r", locking=False)  # files are replaced whole: nothing to lock
    except FileNotFoundError:
        raise PosteriorError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise PosteriorError(f"{path}: cannot be read: {error}") from error
    with file:
        found = file.attrs.get("format")
        attributes = ("status", "message", "meta") if wanted == FORMAT else ()
        if found in (FORMAT, CONTAINER_FORMAT) and found != wanted:
            hint = "holds many fits: say of which target" if found == CONTAINER_FORMAT else "holds a single fit"
            raise PosteriorError(f"{path}: {hint}")
        if found != wanted or not all(key in file.attrs for key in ("format_version", *attributes)):
            raise PosteriorError(f"{path}: is no result of socca")
        version = int(file.attrs["format_version"])
        if version > FORMAT_VERSION:
            raise PosteriorError(
                f"{path}: format {version} is newer than this version of socca reads ({FORMAT_VERSION})"
            )
        yield file


def header_of(group: Any) -> ResultHeader:
    """Return what a fit says of itself, without its samples.

    Parameters
    ----------
    group : h5py.Group
        From `open_result`.

    Returns
    -------
    ResultHeader
        Its record; of a fit that is done also summary and evidence.

    Raises
    ------
    PosteriorError
        If it is damaged.
    """
    attrs = group.attrs
    try:
        meta = json.loads(attrs["meta"])
        if str(attrs["status"]) != "done":
            return ResultHeader(FitRecord.from_dict(meta, str(attrs["message"])))
        record = FitRecord.from_dict(meta)
        n_eff = record.sampler.n_eff
        return ResultHeader(
            record,
            json.loads(attrs["summary"]),
            float(attrs["logz"]),
            float(attrs["logz_err"]),
            float(1 / np.sum(np.exp(2 * group["log_weights"][()]))) if n_eff is None else n_eff,
        )
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise PosteriorError(f"{group.file.filename}: is damaged: {error}") from error


def read_headers(path: str | Path) -> dict[str, ResultHeader]:
    """Return what each fit of a container says of itself, by target; empty if there is no such file.

    Parameters
    ----------
    path : str or Path
        The container.

    Returns
    -------
    dict of ResultHeader
        As `header_of` returns them.

    Raises
    ------
    PosteriorError
        If it is damaged or of another kind.
    """
    if not Path(path).exists():
        return {}
    try:
        with _opened(path, CONTAINER_FORMAT) as file:
            entries: dict[str, dict[str, Any]] = json.loads(file["records"][()].tobytes())
        return {target: ResultHeader.from_dict(entry) for target, entry in entries.items()}
    except (KeyError, OSError, ValueError, AttributeError, RuntimeError) as error:
        raise PosteriorError(f"{path}: is damaged: {error}") from error


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
    import h5py

    records: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        file = stack.enter_context(h5py.File(temporary, "w", locking=False))
        file.attrs.update({"format": CONTAINER_FORMAT, "format_version": FORMAT_VERSION})
        fits = file.create_group("fits")
        opened: dict[Path, Any] = {}
        for name, place in places.items():
            if place.target is None:
                with open_result(place.path) as group:
                    fits.copy(group["/"], name)
                    records[name] = header_of(group).to_dict()
            else:
                if place.path not in opened:
                    opened[place.path] = stack.enter_context(_opened(place.path, CONTAINER_FORMAT))
                fits.copy(opened[place.path]["fits"][place.target], name)
                records[name] = header_of(fits[name]).to_dict()
        text = np.frombuffer(json.dumps(records).encode(), dtype=np.uint8)
        file.create_dataset("records", data=text, compression="gzip")
