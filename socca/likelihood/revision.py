"""Revision of the likelihood: raised when its values change, so that surveys are fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Raise it by one whenever a likelihood's values change on purpose: those of a component, of the quadrature, of the
#: convolution, of a noise model or of a prior, by more than rounding. Problems then have other digests, checkpoints of
#: before are refused, and surveys are fitted again. A faster program with the same values, or a new component, is no
#: reason to raise it.
LIKELIHOOD_REVISION = 1

#: Version -> revision, of the versions whose results state no revision. All others had older likelihoods.
_REVISION_OF = {"0.2.0": 1}
#: Revision -> how the last of these versions stated it.
_STATED_AS = {1: {"socca": "0.2.0"}}
#: Of all versions that are not listed.
_BEFORE = 0


def stated() -> dict[str, Any]:
    """Return how the revision is written where text is compared with text: by Snakemake, and in stamps of chunks.

    Snakemake keeps the parameters of a job as text, and takes another text for a reason to run the job again. Revision
    1 is therefore written as version 0.2.0 wrote it, which knew of no revisions; a survey that it finished stays
    finished.

    Returns
    -------
    dict
        ``likelihood``, or what 0.2.0 had in its place.
    """
    return dict(_STATED_AS.get(LIKELIHOOD_REVISION, {"likelihood": LIKELIHOOD_REVISION}))


def migrated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result says that it depends on, with the revision of its likelihood.

    Parameters
    ----------
    params : mapping
        As a result of any version records them: ``row, settings`` and ``likelihood``, or, up to 0.2.0, ``socca``: the
        version.

    Returns
    -------
    dict
        With ``likelihood`` in the place of ``socca``.
    """
    found = dict(params)
    version = found.pop("socca", None)
    if version is not None:
        found.setdefault("likelihood", _REVISION_OF.get(str(version), _BEFORE))
    return found
