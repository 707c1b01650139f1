"""Storage of results in HDF5.

A fit is a group with its samples, and attributes that say how it went. It is the root of a file of its own, or one of
the groups below ``fits`` of a container of many targets (`socca.posterior.container`).

Files have checksums: HDF5's own, of all that says where things are, and those of a fit, of its attributes and of its
samples. Files of earlier versions have none. `socca.posterior.hdf5` says what is refused of a file that is no result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.errors import PosteriorError
from socca.posterior.contents import GROUPS, contents_digest, read_contents, write_contents
from socca.posterior.hdf5 import check_dataset, member, read_array, read_number, read_text, reading, write_text
from socca.posterior.hdf5_files import open_file
from socca.posterior.header import ResultHeader, read_summary
from socca.posterior.record import FitRecord
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from socca.posterior.protocols import WeightedSamples

#: Written into every file; readers refuse what they do not know.
FORMAT = "socca-posterior"
CONTAINER_FORMAT = "socca-posteriors"
FORMAT_VERSION = 3
#: Scalars of a fit; those after the second are not in files of earlier versions.
_EVIDENCES = ("logz", "logz_err", "logz_prior", "logz_prior_err", "logz_data")
#: Of the file format of HDF5: the first one with checksums of all that says where things are.
_LIBRARY = ("v110", "v110")
#: What to do about a damaged file of one fit, and about a damaged fit of a container.
_DELETE, FIT_ANEW = "delete the file, and run the fit again", "run the survey again, which makes this fit anew"


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


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Any]:
    """Make an HDF5 file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; an existing one is replaced when the block ends without an error.

    Yields
    ------
    h5py.File
        What to write into.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=_LIBRARY, locking=False) as file:
        yield file


def save_posterior(path: str | Path, posterior: WeightedSamples, more: Callable[[Any], None] | None = None) -> None:
    """Write a posterior to a file of its own, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file; an existing one is replaced.
    posterior : Posterior
        The result.
    more : callable, optional
        Called with the open file, to write what else belongs into it.
    """
    with new_file(path) as file:
        _stamp(file, posterior.record)
        write_text(file, "summary", json.dumps(posterior.summary()))
        for key in _EVIDENCES:
            file.attrs[key] = getattr(posterior, key)
        write_contents(file, posterior)
        write_text(file, "sha256", _header_digest(file))
        write_text(file, "samples_sha256", contents_digest(read_contents(file)))
        if more is not None:
            more(file)


def save_failure(path: str | Path, record: FitRecord) -> None:
    """Record that a fit failed, in a file where its posterior would be.

    Parameters
    ----------
    path : str or Path
        The file.
    record : FitRecord
        With its `failure`.
    """
    with new_file(path) as file:
        _stamp(file, record)
        write_text(file, "sha256", _header_digest(file))


def _stamp(group: Any, record: FitRecord) -> None:
    """Write what every fit says of itself."""
    header = ResultHeader(record)
    group.attrs["format_version"] = FORMAT_VERSION
    texts = {"format": FORMAT, "status": header.status, "message": header.message}
    for key, text in {**texts, "meta": json.dumps(record.to_dict())}.items():
        write_text(group, key, text)


def _header_digest(group: Any) -> str:
    """Return the checksum of the attributes of a fit."""
    texts = [read_text(group, key) for key in ("status", "message", "meta", "summary") if key in group.attrs]
    numbers = [read_number(group, key).hex() for key in _EVIDENCES if key in group.attrs]
    return hashlib.sha256(json.dumps([texts, numbers]).encode()).hexdigest()


def posterior_fields(group: Any) -> dict[str, Any]:
    """Return the fields of a `Posterior`, as its group holds them.

    Parameters
    ----------
    group : h5py.Group
        From `open_result`.

    Returns
    -------
    dict
        By the names of its attributes.

    Raises
    ------
    PosteriorError
        If it is damaged, or records a failed fit.
    """
    header = header_of(group)
    if header.record.failure is not None:
        raise PosteriorError(f"{_where(group)}: the fit failed: {header.message}")
    with reading_fit(group):
        found = read_contents(group)
        if "samples_sha256" in group.attrs and read_text(group, "samples_sha256") != contents_digest(found):
            raise ValueError("its samples do not match their checksum")
        weights = found["log_weights"]
        if not np.all(np.isfinite(found["samples"])) or not np.max(weights, initial=-np.inf) < np.inf:
            raise ValueError("samples or weights are not finite")
        if not np.any(weights > -np.inf):
            raise ValueError("no sample has any weight")
        return {
            **found,
            **{key: read_number(group, key) for key in _EVIDENCES[:2]},
            **{key: read_number(group, key) if key in group.attrs else math.nan for key in _EVIDENCES[2:]},
            "record": header.record,
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
    with open_results(path, FORMAT if target is None else CONTAINER_FORMAT) as file:
        yield file if target is None else fit_of(file, target)


def fit_of(file: Any, target: str) -> Any:
    """Return the group of a target's fit in an open container; `PosteriorError` if it is missing or damaged."""
    import h5py

    with reading(file.filename, FIT_ANEW):
        fits = member(file, "fits", h5py.Group)
        known = "/" not in target and target not in ("", ".") and target in fits
    if not known:
        raise PosteriorError(f"{file.filename}: has no fit of {target!r}")
    with reading(f"{file.filename}: fit of {target}", FIT_ANEW):
        return member(fits, target, h5py.Group)


@contextlib.contextmanager
def open_results(path: str | Path, wanted: str) -> Iterator[Any]:
    """Open a file of one kind for reading.

    Parameters
    ----------
    path : str or Path
        The file.
    wanted : str
        `FORMAT` or `CONTAINER_FORMAT`.

    Yields
    ------
    h5py.File
        The open file.

    Raises
    ------
    PosteriorError
        If it is missing, damaged, of another kind or of a later version.
    """
    with open_file(path) as file:
        with reading(str(path), _DELETE):
            found = read_text(file, "format") if "format" in file.attrs else ""
            attributes = ("status", "message", "meta") if wanted == FORMAT else ()
            complete = all(key in file.attrs for key in ("format_version", *attributes))
            version = read_number(file, "format_version") if complete else 0
        if found in (FORMAT, CONTAINER_FORMAT) and found != wanted:
            hint = "holds many fits: say of which target" if found == CONTAINER_FORMAT else "holds a single fit"
            raise PosteriorError(f"{path}: {hint}")
        if found != wanted or not complete:
            raise PosteriorError(f"{path}: is no result of socca, or a damaged one; {_DELETE}")
        if not version <= FORMAT_VERSION:
            raise PosteriorError(
                f"{path}: format {version:g} is newer than this version of socca reads ({FORMAT_VERSION})"
            )
        yield file


def _where(group: Any) -> str:
    """Return the file of a fit, and its target in a container."""
    return group.file.filename + ("" if group.name == "/" else f": fit of {group.name.rsplit('/')[-1]}")


def reading_fit(group: Any) -> contextlib.AbstractContextManager[None]:
    """Within this block, whatever stumbles over a fit becomes a `PosteriorError` that names it, and says what to do."""
    return reading(_where(group), _DELETE if group.name == "/" else FIT_ANEW)


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
    with reading_fit(group):
        if "sha256" in group.attrs and read_text(group, "sha256") != _header_digest(group):
            raise ValueError("its attributes do not match their checksum")
        meta, status = json.loads(read_text(group, "meta")), read_text(group, "status")
        if status == "failed":
            return ResultHeader(FitRecord.from_dict(meta, read_text(group, "message")))
        if status != "done":
            raise ValueError(f"its status is {status!r}")
        record = FitRecord.from_dict(meta)
        n_eff = record.sampler.n_eff
        return ResultHeader(
            record,
            read_summary(json.loads(read_text(group, "summary"))),
            read_number(group, "logz"),
            read_number(group, "logz_err"),
            float(1 / np.sum(np.exp(2 * read_array(group, "log_weights")))) if n_eff is None else n_eff,
        )


def check_result(group: Any) -> ResultHeader:
    """Read a result from end to end, and return what it says of itself.

    Parameters
    ----------
    group : h5py.Group
        From `open_result`.

    Returns
    -------
    ResultHeader
        As `header_of` returns it.

    Raises
    ------
    PosteriorError
        If any part of it is damaged, or it holds what no result does.
    """
    import h5py

    header = header_of(group)
    if header.record.failure is None:
        posterior_fields(group)
    with reading_fit(group):
        json.dumps(header.to_dict())  # which fails if it is nested too deeply
        for holder in (group, *(member(group, name, h5py.Group) for name in GROUPS if name in group)):
            for name in holder:
                if holder is not group or name not in GROUPS:
                    check_dataset(member(holder, name, h5py.Dataset), name)
    return header
