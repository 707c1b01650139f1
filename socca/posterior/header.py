"""Header of a result: what it says of itself, without its samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from socca.errors import PosteriorError
from socca.posterior.record import FitRecord
from socca.posterior.values import read_value

#: Numbers and texts of each entry of a summary.
_SUMMARY = {
    **dict.fromkeys(("label", "unit"), str),
    **dict.fromkeys(("mean", "std", "median", "lower", "upper", "best"), float),
}


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
            status = entry["status"]
            if status not in ("done", "failed"):
                raise ValueError(f"its status is {status!r}")
            if status == "failed":
                return cls(FitRecord.from_dict(entry["meta"], read_value(str, entry["message"])))
            numbers = {key: read_value(float, entry[key]) for key in ("logz", "logz_err", "n_eff")}
            return cls(FitRecord.from_dict(entry["meta"]), read_summary(entry["summary"]), **numbers)
        except KeyError as error:
            raise PosteriorError(f"its record lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise PosteriorError(f"its record: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the header as an entry of a container: plain values."""
        entry = {"status": self.status, "message": self.message, "meta": self.record.to_dict()}
        if self.record.failure is not None:
            return entry
        return {**entry, "summary": self.summary, "logz": self.logz, "logz_err": self.logz_err, "n_eff": self.n_eff}


def read_summary(found: Any) -> list[dict[str, Any]]:
    """Return the summary of a fit from JSON; `ValueError` or `KeyError` if an entry lacks what it needs."""
    rows = read_value(list[dict[str, Any]], found)
    return [{**row, **{key: read_value(kind, row[key]) for key, kind in _SUMMARY.items()}} for row in rows]
