"""Quality flags: bits of an integer. They are decided when the catalogue is made, not when the fit is.

A bit keeps its meaning for ever; a new flag takes the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from socca.fitting.plausibility.doubts import MEANINGS

if TYPE_CHECKING:
    from socca.posterior.record import FitRecord


class Thresholds(Protocol):
    """When a fit is flagged. The section ``flags`` of a config is one, and so is `DefaultThresholds`."""

    @property
    def poor_fit(self) -> float:
        """Highest mean squared residual of the source's pixels, in units of the noise, without ``poor_fit``."""

    @property
    def chi2_low(self) -> float:
        """Lowest reduced chi-square of all used pixels without ``chi2_low``."""

    @property
    def prior_edge(self) -> float:
        """Highest probability in the outer percent of a prior without ``at_prior_edge``."""

    @property
    def multimodal(self) -> float:
        """Highest share of the posterior at other maxima than the largest without ``multimodal``."""

    @property
    def few_samples(self) -> float:
        """Lowest effective number of samples without ``few_samples``."""

    @property
    def residual_structure(self) -> float:
        """Highest correlation of neighbouring residuals of the source without ``residual_structure``."""

    @property
    def light_outside(self) -> float:
        """Highest share of the model's light outside of the image without ``light_outside``."""


@dataclass(frozen=True)
class DefaultThresholds:
    """The thresholds of a config that does not say."""

    poor_fit: float = 1.5
    chi2_low: float = 0.7
    prior_edge: float = 0.05
    multimodal: float = 0.01
    few_samples: float = 200.0
    residual_structure: float = 0.2
    light_outside: float = 0.5


#: The thresholds where none are given.
DEFAULTS = DefaultThresholds()
#: Tail of the weights of importance sampling from which on errors are unreliable (Vehtari et al. 2024).
_MOST_TAIL = 0.7
#: A correlation of residuals is one from so many of its standard errors on; so is a low chi-square.
_SIGMAS = 5.0


@dataclass(frozen=True)
class Flag:
    """A quality flag.

    Parameters
    ----------
    bit : int
        Its number: the flag is ``2 ** bit`` of the integer.
    severity : {'note', 'warning', 'bad'}
        Whether the result is right all the same, is to be looked at, or is not to be used.
    description : str
        One line.
    found : callable
        Tells from a record and thresholds whether the flag is raised.
    """

    bit: int
    severity: Literal["note", "warning", "bad"]
    description: str
    found: Callable[[FitRecord, Thresholds], bool]


def _many(record: FitRecord, correlation: float | None, least: float) -> bool:
    """Tell whether a correlation of the source's residuals is above a threshold, and more than scatter."""
    number = record.quality.n_source or 0
    return correlation is not None and correlation > max(least, _SIGMAS / math.sqrt(max(number, 1)))


def _chi2_low(record: FitRecord, least: float) -> bool:
    value, number = record.quality.chi2_red, record.quality.n_used or 0
    return value is not None and value < min(least, 1 - _SIGMAS * math.sqrt(2 / max(number, 1)))


#: The flag of derived quantities that are not those of the config.
OUTDATED = "quantities_outdated"
#: Bits of what is implausible about the inputs.
_DOUBTS = {
    "constant_image": 12,
    "off_image": 13,
    "target_masked": 14,
    "wide_position": 15,
    "pixel_scale": 16,
    "frame_not_icrs": 17,
    "size_prior": 18,
    "angle_prior": 19,
    "intensity_prior": 20,
    "noise_level": 21,
    "psf_center": 22,
    "psf_shape": 23,
    "psf_scale": 24,
}
#: Name -> flag.
FLAGS: dict[str, Flag] = {
    "failed": Flag(0, "bad", "there is no result: the fit failed", lambda record, at: record.failure is not None),
    "capped": Flag(
        1,
        "bad",
        "the fit took more time, memory or pixels than the config allows",
        lambda record, at: record.failure is not None and bool(record.failure.capped),
    ),
    "not_converged": Flag(
        2, "bad", "the sampler stopped before it converged", lambda record, at: record.sampler.converged is False
    ),
    "poor_fit": Flag(
        3,
        "bad",
        "the model does not describe the source: its errors are too small",
        lambda record, at: (record.quality.chi2_source or 0) > at.poor_fit,
    ),
    "chi2_low": Flag(
        4,
        "warning",
        "residuals are smaller than the noise: errors are too large",
        lambda record, at: _chi2_low(record, at.chi2_low),
    ),
    "source_not_seen": Flag(
        5, "warning", "no pixel in which the model is above the noise", lambda record, at: record.quality.n_source == 0
    ),
    "at_prior_edge": Flag(
        6,
        "warning",
        "a prior cuts the posterior off",
        lambda record, at: (record.quality.edge_probability or 0) > at.prior_edge,
    ),
    "multimodal": Flag(
        7,
        "warning",
        "the posterior has several maxima: its mean may lie between them",
        lambda record, at: 1 - max(record.sampler.notes.maxima_shares, default=1.0) > at.multimodal,
    ),
    "maximum_found_once": Flag(
        8,
        "warning",
        "of several searches for the highest maximum, only one came to it: there may be others",
        lambda record, at: (record.sampler.notes.searches or 0) > 1 and record.sampler.notes.searches_at_highest == 1,
    ),
    "escalated": Flag(
        9,
        "note",
        "importance sampling was not enough, and a nested sampler took over",
        lambda record, at: record.sampler.notes.tier not in (None, "importance"),
    ),
    "few_samples": Flag(
        10,
        "warning",
        "few samples are effective: medians and intervals are rough",
        lambda record, at: _effective(record) < at.few_samples,
    ),
    "heavy_tail": Flag(
        11,
        "warning",
        "the weights of importance sampling have a heavy tail: evidence and errors are unreliable",
        lambda record, at: _tail(record) > _MOST_TAIL,
    ),
    **{
        name: Flag(bit, "warning", MEANINGS[name], lambda record, at, name=name: name in record.doubts)  # type: ignore[misc]
        for name, bit in _DOUBTS.items()
    },
    "residual_structure": Flag(
        25,
        "warning",
        "neighbouring residuals of the source are alike: the model lacks a part of it",
        lambda record, at: _many(record, record.quality.residual_correlation, at.residual_structure),
    ),
    "light_outside": Flag(
        26,
        "warning",
        "much of the model's light lies outside of the image: its flux and size are extrapolated",
        lambda record, at: (record.quality.light_outside or 0) > at.light_outside,
    ),
    # It depends on the config of now, so that the catalogue raises it.
    OUTDATED: Flag(
        27,
        "warning",
        "the config asks for other derived quantities than there are: run socca derive",
        lambda record, at: False,
    ),
}


def _effective(record: FitRecord) -> float:
    """Return the effective number of samples; infinity for an optimizer, which draws as many as it is told to."""
    number = record.sampler.n_eff
    return math.inf if number is None or record.sampler.method == "optimizer" else number


def _tail(record: FitRecord) -> float:
    if record.sampler.notes.tier != "importance":
        return 0.0
    return float(record.sampler.notes.extra.get("tail") or 0.0)


def flags_of(record: FitRecord, thresholds: Thresholds = DEFAULTS) -> list[str]:
    """Return the flags of a fit.

    Parameters
    ----------
    record : FitRecord
        Of a posterior, or of a failure.
    thresholds : Thresholds, optional
        When to flag.

    Returns
    -------
    list of str
        Names of `FLAGS`, in the order of their bits.
    """
    return [name for name, flag in FLAGS.items() if flag.found(record, thresholds)]


def bits_of(names: Iterable[str]) -> int:
    """Return the integer of flags."""
    return sum(2 ** FLAGS[name].bit for name in set(names))


def names_of(bits: int) -> list[str]:
    """Return the flags of an integer: the inverse of `bits_of`."""
    return [name for name, flag in FLAGS.items() if bits >> flag.bit & 1]
