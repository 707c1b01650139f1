"""Typed records of a fit: sampler, timing, inputs, provenance and quality, and their form on disk.

A record is one mapping in JSON, whose keys have been the same since the first version. Only this module knows that
form: whoever makes or reads a result uses the attributes of `FitRecord`.

- A key that is missing, as in files of earlier versions, or null leaves its attribute at the default: nothing is known.
- A key that is not known here, as in files of later versions or in the notes of one sampler, is kept in ``extra`` and
  written again. A change that earlier code would misread has to raise the version of the whole file
  (`socca.posterior.storage.FORMAT_VERSION`), which earlier code refuses by name.
- A value of another kind is a `PosteriorError`: the file is damaged.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from socca.errors import PosteriorError
from socca.posterior.values import plain_hints, read_value

#: Version of the records that are written. Those of version 1 do not say so; 2 does, and is the same otherwise.
RECORD_VERSION = 2

_T = TypeVar("_T")


@dataclass(frozen=True)
class Timing:
    """Wall times of a fit, seconds; None where not known.

    Parameters
    ----------
    sampling, likelihood : float
        The sampler's, and of that the likelihood's.
    compilation, programs_compiled : float, int
        Time spent on compiling, and number of programs.
    loading, total : float
        Time spent on reading the data, and on everything, writing included. Of a survey's fits.
    extra : dict
        Keys that are not known here.
    """

    sampling: float | None = None
    likelihood: float | None = None
    compilation: float | None = None
    programs_compiled: int | None = None
    loading: float | None = None
    total: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Notes:
    """What a sampler says about its run.

    Parameters
    ----------
    maximum, covariance : list of float, shape (n,), and list of list, shape (n, n)
        Of ``optimizer``: the highest maximum, and the covariance of the Gaussian around it.
    maxima : int
        How many maxima matter.
    maxima_shares : list of float
        Share of the posterior at each maximum.
    maxima_missing : bool
        Whether the samples lack one of them.
    maxima_left_out : float
        Share of the posterior of maxima that were found beyond the number that is kept.
    searches, searches_at_highest : int
        How many searches for a maximum there were, and how many ended at the highest.
    n_gradients : int
        Gradients that the sampler took.
    focused : bool
        Whether the unit cube was stretched around the maxima to the end.
    marginalized : list of str
        Labels of the intensities that were integrated out.
    tier : str
        Of ``adaptive``: ``importance``, or the nested sampler that took over.
    escalated : list of str
        Why it took over, or was to.
    extra : dict
        What only one method says, by the sampler's own keys.
    """

    maximum: list[float] | None = None
    covariance: list[list[float]] | None = None
    maxima: int | None = None
    maxima_shares: list[float] = field(default_factory=list)
    maxima_missing: bool | None = None
    maxima_left_out: float | None = None
    searches: int | None = None
    searches_at_highest: int | None = None
    n_gradients: int | None = None
    focused: bool | None = None
    marginalized: list[str] = field(default_factory=list)
    tier: str | None = None
    escalated: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, notes: Mapping[str, Any]) -> Notes:
        """Return the notes of `socca.samplers.Draws`, or of a file."""
        if "map" in notes:  # the name of `maximum` in early files
            notes = {"maximum": notes["map"], **notes}
            del notes["map"]
        return _part(cls, notes, "notes")


@dataclass(frozen=True)
class SamplerRecord:
    """The sampler and its run.

    Parameters
    ----------
    method : str
        One of `socca.samplers.METHODS`.
    options : dict
        Those of the run, defaults of ours included.
    seed : int
        Of all random numbers.
    converged : bool
        Whether the sampler met its own criterion.
    n_calls : int
        Likelihoods evaluated.
    n_eff : float
        Effective number of samples.
    pool : str
        Kind of the pool.
    workers : int
        Size of the pool.
    notes : Notes
        What the sampler says about the run.
    """

    method: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    converged: bool | None = None
    n_calls: int | None = None
    n_eff: float | None = None
    pool: str = ""
    workers: int | None = None
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True)
class Provenance:
    """What a result was made from, by which versions, when and where.

    Parameters
    ----------
    problem_digest : str
        Of the compiled problem; see `socca.likelihood.problem.Problem.digest`.
    params : dict
        What a survey's fit depends on besides its files; see `socca.survey.survey.Survey.fit_params`.
    versions : dict of str
        Of Python, socca and what the result depends on.
    host : str
        Name of the machine.
    cpus : int
        Its processors.
    finished : str
        When the sampler ended, or the fit failed; UTC, as ISO 8601 writes it.
    """

    problem_digest: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    host: str = ""
    cpus: int | None = None
    finished: str = ""


@dataclass(frozen=True)
class ImageDescription:
    """The image that was fitted.

    Parameters
    ----------
    frame : {'sky', 'pixel', ''}
        Frame of the positions; empty where not known.
    bunit : str
        Unit of the image, as its header has it; empty where not known.
    n_pixels : int
        Number of used pixels.
    pixel_scale : float
        Size of a pixel, degrees.
    shape : tuple of int
        ``(ny, nx)``.
    extra : dict
        Keys that are not known here.
    """

    frame: str = ""
    bunit: str = ""
    n_pixels: int | None = None
    pixel_scale: float | None = None
    shape: tuple[int, ...] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitQuality:
    """Data and model compared at the posterior's best sample; None where not known.

    Parameters
    ----------
    chi2_red : float
        Chi-square over the used pixels, per degree of freedom.
    chi2_source : float
        Mean squared residual, in units of the noise, of the pixels where the source is brighter than the noise. None
        without such a pixel.
    n_source, n_used : int
        Number of these pixels, and of all used ones.
    max_log_likelihood : float
        The highest among the samples.
    edge_probability : float
        Probability in the outer percent of a prior, of the parameter for which it is highest.
    extra : dict
        Keys that are not known here.
    """

    chi2_red: float | None = None
    chi2_source: float | None = None
    n_source: int | None = None
    n_used: int | None = None
    max_log_likelihood: float | None = None
    edge_probability: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputFile:
    """A file that a fit read, as it was then.

    Parameters
    ----------
    path : str
        The file.
    sha256 : str
        Digest of its content; empty where it was not read.
    size, mtime_ns : int
        Its size, and its time of last change in nanoseconds; -1, which is that of no file, where not known.
    ctime_ns : int
        Time of the last change of its entry in the file system, likewise.
    reading : int
        Revision of the reader of FITS files; 0, that of results which do not say.
    extra : dict
        Keys that are not known here.
    """

    path: str = ""
    sha256: str = ""
    size: int = -1
    mtime_ns: int = -1
    ctime_ns: int = -1
    reading: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why there is no posterior.

    Parameters
    ----------
    message : str
        In one line.
    capped : dict of float
        The limit that the fit exceeded, by its key in the config: ``max_minutes``, ``max_memory_mb`` or ``max_pixels``.
    died : bool
        Whether the fit's process died.
    unreadable : bool
        Whether the machine did not let one of its files be read.
    """

    message: str = ""
    capped: dict[str, float] = field(default_factory=dict)
    died: bool = False
    unreadable: bool = False


@dataclass(frozen=True)
class FitRecord:
    """How a result came about. Parts that are not known are empty.

    Parameters
    ----------
    target, model : str
        Which fit of a survey.
    n_data : int
        Number of pixels (of modes, for noise in Fourier space) that the model was compared with.
    doubts : dict of str
        What is implausible about the inputs: a message for each flag of `socca.fitting.plausibility.doubts`.
    sampler : SamplerRecord
        The sampler and its run.
    provenance : Provenance
        Versions, host, date, and what the fit depends on.
    timing : Timing
        Wall times.
    image : ImageDescription
        The image.
    quality : FitQuality
        Goodness of fit.
    files : dict of InputFile
        The files that the fit read, by what they are to it, such as ``image``.
    failure : Failure, optional
        Why there is no posterior; None if there is one.
    version : int
        Version of the record that was read.
    extra : dict
        Keys that are not known here.
    """

    target: str = ""
    model: str = ""
    n_data: int | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    sampler: SamplerRecord = field(default_factory=SamplerRecord)
    provenance: Provenance = field(default_factory=Provenance)
    timing: Timing = field(default_factory=Timing)
    image: ImageDescription = field(default_factory=ImageDescription)
    quality: FitQuality = field(default_factory=FitQuality)
    files: dict[str, InputFile] = field(default_factory=dict)
    failure: Failure | None = None
    version: int = RECORD_VERSION
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, meta: Mapping[str, Any], failed: str | None = None) -> FitRecord:
        """Return the record that a mapping holds.

        Parameters
        ----------
        meta : mapping
            From `to_dict`, of this version or another.
        failed : str, optional
            The message of a fit that failed, which files keep beside the mapping.

        Returns
        -------
        FitRecord
            The record.

        Raises
        ------
        PosteriorError
            If it is no mapping, or a value in it is of another kind.
        """
        left = dict(_mapping(meta, "record"))
        version = _read(int, left.pop("record_version", 1), "record_version")
        notes, files = left.pop("notes", None) or {}, _mapping(left.pop("files", None) or {}, "files")
        parts = {name: _part(kind, left.pop(key, None), key) for name, (key, kind) in _NESTED.items()}
        failure = _flat(Failure, left)
        return cls(
            **_flat(cls, left),
            sampler=SamplerRecord(**_flat(SamplerRecord, left), notes=Notes.from_dict(_mapping(notes, "notes"))),
            provenance=Provenance(**_flat(Provenance, left)),
            **parts,
            files={role: _part(InputFile, entry, f"files.{role}") for role, entry in files.items()},
            failure=None if failed is None else Failure(failed, **failure),
            version=version,
            extra=left,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a mapping of plain values: the form on disk.

        Returns
        -------
        dict
            Of version `RECORD_VERSION`, without what is not known, and without the message of a failure.
        """
        parts = {
            "notes": {**_known(self.sampler.notes), **self.sampler.notes.extra},
            "timing": {**_known(self.timing), **self.timing.extra},
            "image": _whole(self.image),
            "fit": _whole(self.quality),
            "files": {role: {**_known(file), **file.extra} for role, file in self.files.items()},
        }
        found = {
            "record_version": RECORD_VERSION,
            **_known(self),
            **_known(self.sampler),
            **_known(self.provenance),
            **{key: part for key, part in parts.items() if part},
            **({} if self.failure is None else _known(self.failure)),
            **self.extra,
        }
        return copy.deepcopy(found)


#: Attributes of a record that are mappings of their own on disk: key and class.
_NESTED: dict[str, tuple[str, Callable[..., Any]]] = {
    "timing": ("timing", Timing),
    "image": ("image", ImageDescription),
    "quality": ("fit", FitQuality),
}


#: Attributes that have no key of their name, or one that is read apart.
_APART = ("extra", "files", "message", "version")


@functools.cache
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    """Return the type that each key of a part is declared with."""
    return {name: hint for name, hint in plain_hints(kind).items() if name not in _APART}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict | Mapping):
        raise PosteriorError(f"{where}: expected a mapping, got {type(value).__name__}")
    return value


def _read(hint: Any, value: Any, where: str) -> Any:
    try:
        return read_value(hint, value)
    except ValueError as error:
        raise PosteriorError(f"{where}: {error}") from error


def _flat(kind: Callable[..., Any], left: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Take the values of a part out of the mapping that it shares with others."""
    found = {}
    for key, hint in _hints(kind).items():
        value = left.pop(key, None)
        if value is not None:  # most are of the right kind: surveys have many records
            found[key] = value if type(value) is hint else _read(hint, value, where + key)
    return found


def _part(kind: Callable[..., _T], found: Any, where: str) -> _T:
    """Return a part that is a mapping of its own."""
    left = dict(_mapping({} if found is None else found, where))
    values = _flat(kind, left, f"{where}.")
    return kind(**values, extra=left)


def _known(part: Any) -> dict[str, Any]:
    """Return the values of a part that are not its defaults."""
    kind: Callable[..., Any] = type(part)
    return {key: value for key in _hints(kind) if (value := getattr(part, key)) != getattr(_blank(kind), key)}


def _whole(part: Any) -> dict[str, Any]:
    """Return all values of a part, None included; nothing if none of them is known."""
    kind: Callable[..., Any] = type(part)
    if part == _blank(kind):
        return {}
    values = {key: getattr(part, key) for key in _hints(kind)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()} | part.extra


@functools.cache
def _blank(kind: Callable[..., Any]) -> Any:
    return kind()
