"""Columns of the catalogue: their names, units, descriptions and UCDs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.survey.catalog_units import Units
from socca.survey.result_rows import NUMBERS, Entry

if TYPE_CHECKING:
    from astropy.units import UnitBase

#: Suffix of a column -> what it is, and its UCD, around that of the parameter.
STATISTICS: dict[str, tuple[str, str]] = {
    "": ("median", "{};stat.median"),
    "_lower": ("16th percentile", "{};stat.percentile"),
    "_upper": ("84th percentile", "{};stat.percentile"),
    "_err_minus": ("median minus 16th percentile", "stat.error;{}"),
    "_err_plus": ("84th percentile minus median", "stat.error;{}"),
    "_mean": ("mean", "{};stat.mean"),
    "_std": ("standard deviation", "stat.stdev;{}"),
    "_best": ("value in the sample of highest posterior density", "{}"),
}


class About(NamedTuple):
    """What a column is.

    Attributes
    ----------
    description, ucd, unit : str
        One line; the unified content descriptor (IVOA); the unit as astropy reads it.
    """

    description: str
    ucd: str
    unit: str = ""


#: Columns before the parameters.
FIRST = {
    "target": About("name of the target", "meta.id;meta.main"),
    "model": About("name of the model", "meta.id;meta.modelled"),
    "status": About("done, stale, failed or missing", "meta.code.status"),
    "message": About("why it failed, or is out of date", "meta.note"),
    "flags": About("quality flags, bit by bit", "meta.code.qual"),
    "flag_names": About("names of these flags", "meta.code.qual"),
}
#: Columns after them.
LAST = {
    "logz": About("natural logarithm of the evidence", "stat.likelihood"),
    "logz_err": About("standard error of logz", "stat.error"),
    "log_bayes_factor": About("logz minus the highest logz of the target's models", "stat.likelihood;arith.diff"),
    "probability": About(
        "probability of the model among the target's, all being equally likely before", "stat.probability"
    ),
    "best_model": About("whether the model has the highest evidence of the target's", "meta.code"),
    "chi2_red": About("chi-square of all used pixels per degree of freedom", "stat.fit.chi2"),
    "chi2_source": About("mean squared residual, over the noise, where the source is seen", "stat.fit.chi2"),
    "error_factor": About(
        "factor on errors if the noise were as large as the residuals of the source", "stat.fit.param"
    ),
    "edge_parameter": About("parameter at the edge of its prior, if that is flagged", "meta.id"),
    "frame": About("frame of the positions: sky or pixel", "pos.frame"),
    "n_pixels": About("number of used pixels", "meta.number"),
    "zero_point": About("magnitude of a source whose pixels sum to one", "arith.zp", "mag"),
    "n_eff": About("effective number of samples", "meta.number"),
    "n_calls": About("number of likelihood evaluations", "meta.number"),
    "wall_time": About("duration of the fit", "time.duration", "s"),
    "converged": About("whether the sampler met its own criterion", "meta.code"),
    "tier": About("method that gave the result", "meta.id;meta.software"),
}


def columns_of(
    known: Sequence[Entry], numbers: np.ndarray, on_sky: bool, units: Units
) -> dict[str, tuple[np.ndarray, About]]:
    """Return the columns of one parameter.

    Parameters
    ----------
    known : sequence of Entry
        What rows say of it, all that differ.
    numbers : ndarray, shape (len(NUMBERS), n)
        Of each row; NaN where its model lacks the parameter.
    on_sky : bool
        Whether positions are RA and Dec, which stay in degrees.
    units : Units
        Units of the catalogue.

    Returns
    -------
    dict of (ndarray, About)
        Suffix of the name -> values, NaN where there is none, and what they are.
    """
    first = next((entry for entry in known if entry.description), known[0])
    spellings = {entry.unit for entry in known}
    unit = spellings.pop() if len(spellings) == 1 else ""
    factor, shown = _converted(first, unit, on_sky, units)
    values = dict(zip(NUMBERS, factor * numbers, strict=True))
    columns = {
        "": values["median"],
        "_lower": values["lower"],
        "_upper": values["upper"],
        "_err_minus": values["median"] - values["lower"],
        "_err_plus": values["upper"] - values["median"],
        "_mean": values["mean"],
        "_std": values["std"],
        "_best": values["best"],
    }
    ucd = first.ucd or _ucd(first.label, unit, on_sky)
    found = {}
    for suffix, (what, pattern) in STATISTICS.items():
        description = f"{first.description or first.label}: {what}"
        found[suffix] = (columns[suffix], About(description, _combined(pattern, ucd), shown))
    return found


def _combined(pattern: str, ucd: str) -> str:
    """Return the UCD of a statistic; one that is a statistic already gets no second one."""
    return ucd if "stat." in ucd and pattern.startswith("{};") else pattern.format(ucd)


def _converted(entry: Entry, unit: str, on_sky: bool, units: Units) -> tuple[float, str]:
    """Return what values are multiplied by, and the unit that they have then."""
    from astropy.units import Unit, UnitConversionError

    name = entry.label.rsplit(".", 1)[-1]
    if entry.ucd.startswith("pos.posAng") or unit == "rad":
        wanted = units.angles
    elif unit == "deg" and not (on_sky and name in ("xc", "yc")):
        wanted = units.lengths
    else:
        return 1.0, unit
    try:
        return float(Unit(unit).to(wanted)), wanted
    except (UnitConversionError, ValueError):  # rows differ in its unit
        return 1.0, unit


def _ucd(label: str, unit: str, on_sky: bool) -> str:
    """Return the UCD of a parameter."""
    name = label.rsplit(".", 1)[-1]
    if name in ("xc", "yc"):
        axis = ("ra", "x") if name == "xc" else ("dec", "y")
        return f"pos.eq.{axis[0]}" if on_sky else f"pos.cartesian.{axis[1]}"
    special = {"e": "src.ellipticity", "ns": "src.morph.param", "re": "phys.angSize.smajAxis"}
    by_unit = {"rad": "pos.posAng", "deg": "src.morph.scLength", "": "stat.fit.param"}
    return special.get(name) or by_unit.get(unit, "phot.flux.density")


def stem_of(label: str, taken: Iterable[str]) -> str:
    """Turn a label into the name of a column. Where that would be taken (FITS ignores case), keep the label."""
    known = {name.lower() for name in (*taken, *FIRST, *LAST)}
    for stem in (label.replace(".", "_"), label):
        if not any((stem + suffix).lower() in known for suffix in STATISTICS):
            return stem
    return stem_of(label + "_", taken)


def describe(column: Any, about: About) -> None:
    """Give a column its unit, description and UCD; a unit that FITS does not know goes into the description."""
    column.description = about.description
    known = _fits_unit(about.unit)
    if known is not None:
        column.unit = known
    elif about.unit:
        column.description = f"{about.description}; unit: {about.unit}"
    if about.ucd:
        column.info.meta = {"ucd": about.ucd}


def _fits_unit(unit: str) -> UnitBase | None:
    """Return a unit if it can be written to FITS and read back, without a warning."""
    from astropy.units import Unit

    if not unit:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            known = Unit(unit)
            return known if Unit(known.to_string("fits"), format="fits") == known else None
    except (ValueError, TypeError, Warning):
        return None
