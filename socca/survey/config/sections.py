"""Sections of the config."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator, model_validator

from socca import noise as _noise
from socca.data.bit_planes import HIGHEST_BIT
from socca.data.hdus import HduIndex, split_hdu
from socca.data.pixels import MAX_PIXELS
from socca.errors import ConfigError, nearest
from socca.models.quantity import NAMES, USUAL
from socca.samplers import METHODS
from socca.survey.catalog_units import DEFAULTS as DEFAULT_UNITS
from socca.survey.config.components import Hdu, Name, Real, ScalarField, Strict, ValueField, Whole, ZeroPointField
from socca.survey.flags import DEFAULTS

#: The most bytes that a name of a file or folder may have; and a path, in whose folder others lie deeper: 4096 are too
#: many for Linux, and 1024 for macOS.
_LONGEST_NAME, _LONGEST_PATH = 255, 3000


def optional(section: type[BaseModel], description: str) -> Any:
    """Declare a section that may be left out: all its keys have defaults."""
    return Field(default_factory=section, description=description)


def expanded(text: str, where: str) -> str:
    """Expand ~ and $VARIABLES, as a shell would; a `ConfigError` if one is not set, or no file can have that path."""
    expanded = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111
    if "$" in expanded:
        raise ConfigError(f"{where}: {text}: the environment variable is not set")
    if expanded.startswith("~"):
        raise ConfigError(f"{where}: {text}: there is no such user; write ./{text} for a folder of this name")
    if "\0" in expanded:
        raise ConfigError(f"{where}: {text!r}: a path cannot hold the character 0")
    for name in Path(expanded).parts:
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise ConfigError(
                f"{where}: the name {name[:20]}… has {len(os.fsencode(name))} bytes: file systems allow {_LONGEST_NAME}"
            )
    if len(os.fsencode(expanded)) > _LONGEST_PATH:
        raise ConfigError(
            f"{where}: the path {expanded[:20]}… has {len(os.fsencode(expanded))} bytes: {_LONGEST_PATH} are allowed"
        )
    return expanded


class SimulateConfig(Strict):
    """Images made by the workflow itself, with their truth."""

    number: Whole = Field(12, ge=1, description="How many galaxies.")
    seed: Whole = Field(1, ge=0, description="Seed of the simulation.")


class PsfConfig(Strict):
    """How point-spread functions are read."""

    hdu: Hdu | None = Field(None, description="HDU of the PSF; by default the first with an image.")
    normalize: bool = Field(True, description="Divide by the sum.")
    center: Literal["centroid", "peak"] | None = Field(
        None, description="Shift this point of the PSF to the centre of its array, which is its reference point."
    )
    oversample: Whole = Field(
        1, ge=1, description="How many times finer than the image's the pixels of the PSF are, on each axis."
    )
    includes_pixel: bool = Field(
        True,
        description="Whether the PSF holds the image's pixel, as that measured on stars does. For optics alone, false.",
    )


class MaskConfig(Strict):
    """How masks are read."""

    hdu: Hdu | None = Field(None, description="HDU of the mask; by default the first with an image.")
    good: Literal["zero", "nonzero"] | None = Field(
        "zero", description="Which values mark a pixel that is used. null, as in overrides, takes a value back."
    )
    bits: list[Annotated[Whole, Field(ge=0, le=HIGHEST_BIT)]] | None = Field(
        None,
        min_length=1,
        description="Which bits of a mask of bit planes (data quality) are bad, instead of all that is not zero: 0 is "
        "the lowest bit, of value 1, and 5 has the value 32. All other bits are harmless.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, given: Any) -> Any:
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _good_or_bits(self) -> MaskConfig:
        if self.bits is not None and "good" in self.model_fields_set:
            raise ValueError("give good or bits, not both; null takes back the one that all other targets have")
        return self


class MapConfig(Strict):
    """How a map of the image's shape is read."""

    hdu: Hdu | None = Field(None, description="HDU of the map; by default the first with an image.")


class SegmentationConfig(Strict):
    """How segmentation maps are read."""

    hdu: Hdu | None = Field(None, description="HDU of the map; by default the first with an image.")


class CutoutConfig(Strict):
    """The part of an image that is fitted; a part beyond the image is left off."""

    center: tuple[ScalarField, ScalarField] | None = Field(
        None, description="xc and yc, such as ['$ra', '$dec']; by default the centre of the image."
    )
    size: ScalarField = Field(description="Length of its sides, with a unit, such as '20 arcsec' or '64 pix'.")


class ImageConfig(Strict):
    """How images are read."""

    hdu: Hdu | None = Field(None, description="HDU of the image; by default the first with an image.")
    frame: Literal["auto", "sky", "pixel"] = Field(
        "auto", description="'sky' insists on a celestial WCS, 'pixel' ignores one, 'auto' uses it where there is one."
    )
    pixel_scale: ScalarField | None = Field(
        None, description="Size of a pixel in the pixel frame, such as '0.2 arcsec' or '$scale arcsec'; bare, arcsec."
    )
    zero_point: ZeroPointField | None = Field(
        None,
        description="For magnitudes: that of a source whose pixels sum to one, such as 27.0 or '$zp'; AB, where the "
        "unit of the images is one of flux density (nJy); or 'header:KEY', a card of the image's header. It changes no "
        "fit.",
    )
    subgrid: Whole = Field(
        1, ge=1, description="How many points per pixel and axis the model is evaluated at, where there is no PSF."
    )
    cutout: CutoutConfig | None = Field(
        None,
        description="Fit a part of each image only. In the pixel frame, positions then count from the centre of that "
        "part. Its maps, masks and region files may still be those of the whole image.",
    )
    max_pixels: Whole = Field(
        MAX_PIXELS,
        ge=1,
        description="The most pixels that are read of one file: of an image of which a cutout is fitted, the pixels of "
        "the cutout. A compressed file may expand to 16 bytes for each.",
    )
    psf: PsfConfig = optional(PsfConfig, "Point-spread functions.")
    mask: MaskConfig = optional(MaskConfig, "Masks.")
    segmentation: SegmentationConfig = optional(SegmentationConfig, "Segmentation maps.")
    response: MapConfig = optional(MapConfig, "Response maps: they multiply the model before the PSF.")
    exposure: MapConfig = optional(MapConfig, "Exposure maps: they multiply the model after the PSF.")

    def hdu_of(self, kind: str) -> HduIndex | None:
        """Return the HDU that is read of the image, or of one of its maps and masks; None without one."""
        return self.hdu if kind == "image" else getattr(getattr(self, kind, None), "hdu", None)


def _checked_noise(kind: str) -> str:
    if kind not in _noise.REGISTRY:
        raise ValueError(f"unknown noise model {kind!r}{nearest(kind, _noise.REGISTRY.names())}")
    return kind


class _NoiseSchema:
    """The JSON schema of a noise model's name, made when it is asked for: those of plug-ins come later."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"enum": list(_noise.REGISTRY)}


#: Name of a noise model.
NoiseKind = Annotated[str, AfterValidator(_checked_noise), _NoiseSchema()]


class NoiseConfig(Strict):
    """The noise model. Its level comes from the column sigma, variance or weight of the table of targets."""

    kind: NoiseKind = Field("normal", description=f"One of {', '.join(_noise.REGISTRY)}.")
    hdu: Hdu | None = Field(
        None, description="HDU of the noise map, covariance or cube; by default the first with an image."
    )
    level: ScalarField | None = Field(
        None,
        description="One standard deviation for all pixels, where the table names no map. Default: estimated from the "
        "scatter of all used pixels (which is too much where the source fills the image).",
    )
    covariance: str | None = Field(
        None,
        description="File with the covariance of the pixels (normal_correlated) or the power spectrum "
        "(normal_fourier), for all targets. It and the files below are relative to the folder of the table of targets; "
        "~ and $VARIABLES are expanded.",
    )
    inverse_covariance: str | None = Field(None, description="File with the inverse of that, instead of it.")
    cube: str | None = Field(None, description="File with realisations of the noise to estimate it from, instead.")
    apodization: str | None = Field(None, description="File with the window of normal_fourier, zero where masked.")
    ftype: Literal["real", "full"] | None = Field(
        None, description="Modes of the power spectrum: those of a real transform (the default) or the full plane."
    )
    parameters: dict[str, ValueField] = Field(
        default_factory=dict,
        description="Values of the noise's own parameters, as those of components: scale, floor, nu, background.",
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> NoiseConfig:
        kind = _noise.REGISTRY[self.kind]
        for key in ("level", *_NOISE_FILES, "ftype"):
            if getattr(self, key) is not None and key not in kind.takes:
                raise ValueError(f"{self.kind} has no use for {key!r}; it takes {', '.join(kind.takes) or 'none'}")
        alternatives = [key for key in _NOISE_FILES[:3] if key in kind.takes]
        given = [key for key in alternatives if getattr(self, key) is not None]
        if alternatives and len(given) != 1:
            raise ValueError(f"{self.kind} needs one of {', '.join(alternatives)}; got {', '.join(given) or 'none'}")
        for name in self.parameters:
            if name not in kind.fields:
                raise ValueError(f"{self.kind} has no parameter {name!r}{nearest(name, kind.fields)}")
        return self

    def files(self, folder: Path) -> dict[str, Path]:
        """Return key -> file of those that are given, relative ones in `folder`."""
        return {key: path for key, (path, _) in self._split(folder).items()}

    def hdu_of(self, key: str, folder: Path) -> HduIndex | None:
        """Return the HDU of one of the files: the one in brackets behind its name, or `hdu`."""
        named = self._split(folder)[key][1]
        # The window has no key of its own for its HDU.
        return self.hdu if named is None and key != "apodization" else named

    def _split(self, folder: Path) -> dict[str, tuple[Path, HduIndex | None]]:
        given = {key: getattr(self, key) for key in _NOISE_FILES}
        return {
            key: split_hdu(folder / expanded(text, f"noise.{key}")) for key, text in given.items() if text is not None
        }


#: Keys of the noise that hold files; the first three are one or the other.
_NOISE_FILES = ("covariance", "inverse_covariance", "cube", "apodization")


class SamplerConfig(Strict):
    """The sampler."""

    method: str = Field("nautilus", description=f"One of {', '.join(METHODS)}.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the sampler, such as n_live: see below."
    )
    marginalize: bool = Field(
        False,
        description="Integrate intensities with a normal or uniform prior out of the likelihood, and draw them after.",
    )
    checkpoint: bool = Field(
        True,
        description="Keep the state of each fit beside its results while it runs, so that one that was killed goes on "
        "where it was.",
    )
    audit: Real = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the fits by adaptive that nautilus explores too, from the prior alone; audit.ecsv says "
        "how far the two differ. A larger share audits fits that are made from then on.",
    )

    @property
    def audited(self) -> bool:
        """Whether some of the fits are audited."""
        return self.method == "adaptive" and self.audit > 0

    @property
    def run_options(self) -> dict[str, Any]:
        """Options of the sampler, the share that is audited among them."""
        return {**self.options, "audit": self.audit} if self.audited else self.options

    @model_validator(mode="after")
    def _audit_is_a_key_of_its_own(self) -> SamplerConfig:
        if "audit" in self.options:
            raise ValueError("options.audit: write it without options, as sampler.audit")
        return self

    @field_validator("options")
    @classmethod
    def _numbers(cls, options: dict[str, Any]) -> dict[str, Any]:
        # YAML takes 1e-2, without a point, for text.
        return {key: _number_if_text(value) for key, value in options.items()}


class CompilationConfig(Strict):
    """How the likelihood is compiled."""

    shape_buckets: bool = Field(
        True,
        description="Pad images with masked pixels to one of a few sizes, so that stamps of many sizes share programs.",
    )
    precision: Literal["float64", "float32"] = Field("float64", description="Of what is computed per pixel.")


class PoolConfig(Strict):
    """Workers within one fit."""

    kind: Literal["auto", "serial", "loky", "mpi"] = Field(
        "auto",
        description="auto: the ranks of MPI where mpirun or srun started several, else processes (loky) for several "
        "cores.",
    )
    cores: Whole = Field(1, ge=1, description="Cores of one fit, of no meaning to MPI.")

    @model_validator(mode="after")
    def _one_core_if_serial(self) -> PoolConfig:
        if self.kind == "serial" and self.cores > 1:
            raise ValueError(f"a serial pool has one core, not {self.cores}")
        return self


class BatchConfig(Strict):
    """Fits that share a job, and what one of them may take. None of it changes a result."""

    chunk: Whole = Field(
        1,
        ge=1,
        description="How many fits of one model share a job and a file of posteriors, on average at most. With 1, each "
        "fit is a job with a folder of its own; with thousands of targets, 50 or so.",
    )
    max_minutes: Real | None = Field(
        None, gt=0, description="Wall time of one fit, after which it has failed. Not where ranks of MPI share it."
    )
    max_memory_mb: Real | None = Field(
        None,
        gt=0,
        description="Memory of the process of one fit, beyond which it has failed. Not where ranks of MPI share it.",
    )

    @property
    def caps(self) -> dict[str, float | None]:
        """What one fit may take, by key."""
        return {"max_minutes": self.max_minutes, "max_memory_mb": self.max_memory_mb}


def _wanted(value: Any) -> Any:
    return {True: "all", False: "none"}.get(value, value) if isinstance(value, bool) else value


#: For which fits something is written.
Wanted = Annotated[Literal["all", "flagged", "none"], BeforeValidator(_wanted)]


class OutputsConfig(Strict):
    """What is written for each target, besides its posterior: for all, for flagged fits (of chunks only), or none."""

    model_images: Wanted = Field("all", description="FITS file with data, model, residual, components and mask.")
    figures: Wanted = Field("all", description="Comparison figure.")

    @model_validator(mode="after")
    def _figures_need_images(self) -> OutputsConfig:
        levels = ("none", "flagged", "all")
        if levels.index(self.figures) > levels.index(self.model_images):
            raise ValueError(
                f"outputs.figures ({self.figures}) are drawn from outputs.model_images ({self.model_images}): ask for "
                "as many of these, or for no figures"
            )
        return self


def _wanted_quantities(raw: Any) -> Any:
    names = list(NAMES) if raw == "all" else [raw] if isinstance(raw, str) else raw
    for name in names if isinstance(names, list | tuple) else ():
        if name not in NAMES:
            raise ValueError(f"there is no quantity {name!r}{nearest(str(name), NAMES)}; there are: {', '.join(NAMES)}")
    return names


class DerivedExtraConfig(Strict):
    """A quantity of your own. Parameters are in degrees, radians and the unit of the image."""

    value: ScalarField = Field(description="An expression of parameters and quantities: '1 - galaxy.e'.")
    unit: str = Field("", description="Its unit, for the catalogue.")
    description: str = Field("", description="One line.")


def _short_form(raw: Any) -> Any:
    return {"value": raw} if isinstance(raw, str | int | float) else raw


class DerivedConfig(Strict):
    """What is derived from the samples of each fit, and kept with them. A change fits nothing: see `socca derive`."""

    quantities: Annotated[tuple[str, ...], BeforeValidator(_wanted_quantities)] = Field(
        USUAL, description="Of each component; or all. Magnitudes need image.zero_point."
    )
    extra: dict[Name, Annotated[DerivedExtraConfig, BeforeValidator(_short_form)]] = Field(
        default_factory=dict,
        description="Name -> an expression of parameters and quantities, such as '1 - galaxy.e', or a section with "
        "value, unit and description.",
    )


class PlotsConfig(Strict):
    """Style of the figures. A change draws figures again, and fits nothing."""

    format: Literal["png", "pdf"] = Field("png", description="File format.")
    colormap: str = Field("viridis", description="A colour map of matplotlib.")
    percentile: Real = Field(99.5, gt=50, le=100, description="Percentile of the data that is shown brightest.")
    stretch: Literal["asinh", "linear", "log"] = Field("asinh", description="Stretch of the brightness.")
    dpi: Whole = Field(100, ge=20, le=1000, description="Resolution.")


class CatalogConfig(Strict):
    """What the catalogue has, and in which units. A change makes it anew, and fits nothing."""

    lengths: Literal["deg", "arcmin", "arcsec", "mas"] = Field(
        DEFAULT_UNITS.lengths, description="Unit of lengths on the sky; RA and Dec are degrees."
    )
    angles: Literal["deg", "rad"] = Field(DEFAULT_UNITS.angles, description="Unit of position angles.")
    columns: tuple[str, ...] = Field(
        (), description="Columns of the table of targets that are carried over, such as [ra, dec, z]."
    )
    formats: tuple[Literal["fits", "ecsv", "votable", "parquet"], ...] = Field(
        ("fits", "ecsv"), min_length=1, description="Files that are written; Parquet needs pyarrow."
    )

    @field_validator("formats")
    @classmethod
    def _pyarrow(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        if "parquet" in formats and find_spec("pyarrow") is None:
            raise ValueError("parquet needs pyarrow: pip install 'socca[parquet]'")
        return formats


class FlagsConfig(Strict):
    """When a fit is flagged in the catalogue."""

    poor_fit: Real = Field(
        DEFAULTS.poor_fit,
        gt=0,
        description="Flag 'poor_fit' above this reduced chi-square of the pixels where the source is seen.",
    )
    chi2_low: Real = Field(
        DEFAULTS.chi2_low,
        ge=0,
        lt=1,
        description="Flag 'chi2_low' below this reduced chi-square of all used pixels, if that is no chance.",
    )
    prior_edge: Real = Field(
        DEFAULTS.prior_edge,
        gt=0,
        lt=1,
        description="Flag 'at_prior_edge' if more probability lies in the outer percent of a prior.",
    )
    multimodal: Real = Field(
        DEFAULTS.multimodal,
        gt=0,
        lt=1,
        description="Flag 'multimodal' if more of the posterior lies at other maxima than the one with the most.",
    )
    few_samples: Real = Field(
        DEFAULTS.few_samples, ge=0, description="Flag 'few_samples' if fewer samples are effective."
    )
    residual_structure: Real = Field(
        DEFAULTS.residual_structure,
        gt=0,
        description="Flag 'residual_structure' above this correlation of neighbouring residuals of the source, if that "
        "is no chance.",
    )
    light_outside: Real = Field(
        DEFAULTS.light_outside,
        gt=0,
        description="Flag 'light_outside' if a larger share of the model's light lies outside of the image.",
    )


def _number_if_text(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
