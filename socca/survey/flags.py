"""What a user should know of a fit, in a word. Decided when the catalogue is made, not when the fit is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socca.survey.config.sections import FlagsConfig


def flags_of(meta: Mapping[str, Any], limits: FlagsConfig | None = None) -> list[str]:
    """Return the flags of a fit.

    Parameters
    ----------
    meta : mapping
        What a posterior records of itself: ``fit`` (from `socca.plotting.model_images.goodness_of_fit`), ``converged``,
        and in ``notes`` what the search for maxima found.
    limits : FlagsConfig, optional
        When to flag; by default, as in a config that does not say.

    Returns
    -------
    list of str
        Any of ``poor_fit`` (the model does not describe the source), ``at_prior_edge`` (a prior cuts the posterior
        off), ``multimodal`` (the posterior has several maxima: its mean may lie between them),
        ``maximum_found_once`` (of several searches for the highest maximum, only one came to it: there may be others)
        and ``not_converged``.
    """
    if limits is None:
        from socca.survey.config.sections import FlagsConfig

        limits = FlagsConfig.model_validate({})
    fit = meta.get("fit", {})
    notes = meta.get("notes", {})
    shares = notes.get("maxima_shares") or [1.0]
    conditions = {
        "poor_fit": (fit.get("chi2_source") or 0) > limits.poor_fit,
        "at_prior_edge": (fit.get("edge_probability") or 0) > limits.prior_edge,
        "multimodal": 1 - max(shares) > limits.multimodal,
        "maximum_found_once": notes.get("searches", 0) > 1 and notes.get("searches_at_highest") == 1,
        "not_converged": not meta.get("converged", True),
    }
    return [name for name, found in conditions.items() if found]
