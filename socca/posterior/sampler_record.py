"""Record of a sampler's run: method, options, seed, and what the sampler says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from socca.posterior.record_mappings import read_part


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
    audit : dict
        Of ``adaptive``, if a nested sampler explored the posterior too: both evidences (``logz``, ``logz_err``,
        ``nested_logz``, ``nested_logz_err``), how far the two differ (``off_logz``, ``off_median``, ``off_deviation``)
        and what of it is more than scatter (``reasons``); else empty.
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
    audit: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, notes: Mapping[str, Any]) -> Notes:
        """Return the notes of `socca.samplers.Draws`, or of a file."""
        if "map" in notes:  # the name of `maximum` in early files
            notes = {"maximum": notes["map"], **notes}
            del notes["map"]
        return read_part(cls, notes, "notes")


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
