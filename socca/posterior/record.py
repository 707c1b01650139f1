"""Typed records of a fit: sampler, timing, inputs, provenance and quality, and their form on disk.

A record is one mapping in JSON, whose keys have been the same since the first version. Only this module and
`socca.posterior.sampler_record` know them: whoever makes or reads a result uses the attributes of `FitRecord`.

- A key that is missing, as in files of earlier versions, or null leaves its attribute at the default: nothing is known.
- A key that is not known here, as in files of later versions or in the notes of one sampler, is kept in ``extra`` and
  written again. A change that earlier code would misread has to raise the version of the whole file
  (`socca.posterior.storage.FORMAT_VERSION`), which earlier code refuses by name.
- A value of another kind is a `PosteriorError`: the file is damaged.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from socca.posterior.record_mappings import all_values, known_values, mapping_at, read_part, read_plain, take_values
from socca.posterior.sampler_record import Notes, SamplerRecord

#: Version of the records that are written. Those of version 1 do not say so. 2 does, and is the same otherwise; 3 has
#: the zero point of the image, and more about the quality.
RECORD_VERSION = 3


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
class Provenance:
    """What a result was made from, by which versions, when and where.

    Parameters
    ----------
    problem_digest : str
        Of the compiled problem; see `socca.likelihood.problem.Problem.digest`.
    params : dict
        What a survey's fit depends on besides its files; see `socca.survey.survey.Survey.fit_params`.
    derived : str
        Digest of what the derived quantities depend on besides the samples; see `Survey.derived_settings`.
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
    derived: str = ""
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
    zero_point : float
        Magnitude of a source whose pixels sum to one.
    extra : dict
        Keys that are not known here.
    """

    frame: str = ""
    bunit: str = ""
    n_pixels: int | None = None
    pixel_scale: float | None = None
    shape: tuple[int, ...] | None = None
    zero_point: float | None = None
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
    edge_parameter : str
        That parameter's label.
    residual_correlation : float
        Correlation of the residuals of neighbouring pixels of the source, for noise without correlations.
    light_outside : float
        Share of the model's light that lies outside of the image.
    extra : dict
        Keys that are not known here.
    """

    chi2_red: float | None = None
    chi2_source: float | None = None
    n_source: int | None = None
    n_used: int | None = None
    max_log_likelihood: float | None = None
    edge_probability: float | None = None
    edge_parameter: str | None = None
    residual_correlation: float | None = None
    light_outside: float | None = None
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
        left = dict(mapping_at(meta, "record"))
        version = read_plain(int, left.pop("record_version", 1), "record_version")
        notes, files = left.pop("notes", None) or {}, mapping_at(left.pop("files", None) or {}, "files")
        parts = {name: read_part(kind, left.pop(key, None), key) for name, (key, kind) in _NESTED.items()}
        failure = take_values(Failure, left)
        return cls(
            **take_values(cls, left),
            sampler=SamplerRecord(
                **take_values(SamplerRecord, left), notes=Notes.from_dict(mapping_at(notes, "notes"))
            ),
            provenance=Provenance(**take_values(Provenance, left)),
            **parts,
            files={role: read_part(InputFile, entry, f"files.{role}") for role, entry in files.items()},
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
            "notes": {**known_values(self.sampler.notes), **self.sampler.notes.extra},
            "timing": {**known_values(self.timing), **self.timing.extra},
            "image": _without_unknown(all_values(self.image)),
            "fit": _without_unknown(all_values(self.quality)),
            "files": {role: {**known_values(file), **file.extra} for role, file in self.files.items()},
        }
        found = {
            "record_version": RECORD_VERSION,
            **known_values(self),
            **known_values(self.sampler),
            **known_values(self.provenance),
            **{key: part for key, part in parts.items() if part},
            **({} if self.failure is None else known_values(self.failure)),
            **self.extra,
        }
        return copy.deepcopy(found)


#: Keys of these mappings that came later, and are left out where nothing is known; the others are null then.
_LATER = ("zero_point", "edge_parameter", "residual_correlation", "light_outside")


def _without_unknown(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None or key not in _LATER}


#: Attributes of a record that are mappings of their own on disk: key and class.
_NESTED: dict[str, tuple[str, Callable[..., Any]]] = {
    "timing": ("timing", Timing),
    "image": ("image", ImageDescription),
    "quality": ("fit", FitQuality),
}
