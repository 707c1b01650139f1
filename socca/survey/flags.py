"""Quality flags. They are decided when the catalogue is made, not when the fit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from socca.fitting.plausibility.doubts import MEANINGS

if TYPE_CHECKING:
    from socca.posterior.record import FitRecord


class Thresholds(Protocol):
    """When a fit is flagged. The section ``flags`` of a config is one, and so is `DefaultThresholds`."""

    @property
    def poor_fit(self) -> float:
        """Highest mean squared residual of the source's pixels, in units of the noise, without ``poor_fit``."""

    @property
    def prior_edge(self) -> float:
        """Highest probability in the outer percent of a prior without ``at_prior_edge``."""

    @property
    def multimodal(self) -> float:
        """Highest share of the posterior at other maxima than the largest without ``multimodal``."""


@dataclass(frozen=True)
class DefaultThresholds:
    """The thresholds of a config that does not say."""

    poor_fit: float = 1.5
    prior_edge: float = 0.05
    multimodal: float = 0.01


#: The thresholds where none are given.
DEFAULTS = DefaultThresholds()


def flags_of(record: FitRecord, thresholds: Thresholds = DEFAULTS) -> list[str]:
    """Return the flags of a fit.

    Parameters
    ----------
    record : FitRecord
        Of a posterior.
    thresholds : Thresholds, optional
        When to flag.

    Returns
    -------
    list of str
        Any of ``poor_fit`` (the model does not describe the source), ``at_prior_edge`` (a prior cuts the posterior
        off), ``multimodal`` (the posterior has several maxima: its mean may lie between them),
        ``maximum_found_once`` (of several searches for the highest maximum, only one came to it: there may be others),
        ``escalated`` (importance sampling was not enough, and a nested sampler took over) and ``not_converged``; and
        those of implausible inputs, in `socca.fitting.plausibility.doubts.MEANINGS`.
    """
    quality, notes = record.quality, record.sampler.notes
    conditions = {
        "poor_fit": (quality.chi2_source or 0) > thresholds.poor_fit,
        "at_prior_edge": (quality.edge_probability or 0) > thresholds.prior_edge,
        "multimodal": 1 - max(notes.maxima_shares, default=1.0) > thresholds.multimodal,
        "maximum_found_once": (notes.searches or 0) > 1 and notes.searches_at_highest == 1,
        "escalated": notes.tier not in (None, "importance"),
        "not_converged": record.sampler.converged is False,
    }
    return [name for name, found in conditions.items() if found] + [name for name in MEANINGS if name in record.doubts]
