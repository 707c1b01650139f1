"""Export of posteriors to astropy tables and ArviZ."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.units import UnitBase

    from socca.posterior.protocols import WeightedSamples

#: Scalars that go with the samples.
_SCALARS = ("logz", "logz_err", "logz_prior", "logz_data")


def load_arviz() -> Any:
    """Return arviz.

    Returns
    -------
    module
        It is loaded here, without its notice, once a day, that another version is to come.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import arviz
    except ImportError as error:
        raise ConfigError(f"arviz is not installed ({error}): pip install 'socca[arviz]'") from error
    return arviz


def to_arviz(posterior: WeightedSamples, *, n_draws: int = 1000, seed: int = 1) -> Any:
    """Return samples of equal weight for arviz.

    Parameters
    ----------
    posterior : Posterior
        Weighted samples; if they all weigh the same they are taken as they are.
    n_draws : int
        How many are drawn otherwise.
    seed : int
        Of this draw.

    Returns
    -------
    arviz.InferenceData
        One chain. ``posterior``: free and tied parameters by label, with their units as attributes;
        ``sample_stats``: ``lp``, the log posterior density but for the evidence, and ``log_likelihood_total``, that of
        all pixels; evidences are attributes.

    Raises
    ------
    ConfigError
        If arviz is not installed, or `n_draws` is not positive.
    """
    arviz = load_arviz()
    if n_draws < 1:
        raise ConfigError(f"n_draws must be at least 1, got {n_draws}")
    picked = np.arange(len(posterior.samples))
    if np.ptp(posterior.log_weights) > 0:
        picked = posterior.resampled(n_draws, np.random.default_rng([int(seed), 4]))
    likelihood, prior = posterior.log_likelihood[picked], posterior.log_prior[picked]
    attrs = {key: getattr(posterior, key) for key in _SCALARS} | {"inference_library": "socca"}
    found = arviz.from_dict(
        posterior={label: values[picked][None] for label, _, values in posterior.columns()},
        sample_stats={"lp": (likelihood + prior)[None], "log_likelihood_total": likelihood[None]},
        posterior_attrs=attrs,
    )
    for label, unit, _ in posterior.columns():
        found.posterior[label].attrs["unit"] = image_unit(posterior) if unit == "image" else unit
    return found


def to_table(posterior: WeightedSamples) -> QTable:
    """Return all samples and their weights as a table of quantities.

    Parameters
    ----------
    posterior : Posterior
        The result.

    Returns
    -------
    astropy.table.QTable
        A column for each free and tied parameter, by label, and ``weight``, ``log_likelihood`` and ``log_prior``.
        Intensities are in the unit of the image, where astropy knows it; its own text is in the column's description.
        The fixed parameters, the evidences and all of the record are in the table's ``meta``.
    """
    from astropy.table import QTable
    from astropy.units import Quantity

    table = QTable()
    bunit = image_unit(posterior)
    for label, unit, values in posterior.columns():
        known = _unit(bunit if unit == "image" else unit)
        table[label] = values if known is None else Quantity(values, known)
        if unit == "image":
            table[label].info.description = f"in the unit of the image: {bunit or 'not known'}"
    for name in ("log_likelihood", "log_prior"):
        table[name] = getattr(posterior, name)
    table["weight"] = posterior.weights
    scalars = {key: getattr(posterior, key) for key in _SCALARS}
    table.meta = {**scalars, "fixed": dict(posterior.fixed), **posterior.record.to_dict()}
    return table


def image_unit(posterior: WeightedSamples) -> str:
    """Return the unit of the image that was fitted, as its header has it; nothing where that is not known."""
    return posterior.record.image.bunit


def _unit(text: str) -> UnitBase | None:
    """Return a unit that astropy knows, or None."""
    from astropy.units import Unit

    try:
        return Unit(text) if text else None
    except ValueError:
        return None
