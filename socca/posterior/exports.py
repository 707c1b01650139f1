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
    """Return the module `arviz`, of version 0.x or 1.

    Returns
    -------
    module
        Version 0.23 announces version 1 by a warning, once a day; this warning is suppressed.

    Raises
    ------
    ConfigError
        If ArviZ is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import arviz
    except ImportError as error:
        raise ConfigError(f"arviz is not installed ({error}): pip install 'socca[arviz]'") from error
    return arviz


def pareto_smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Pareto-smoothed importance weights (Vehtari et al. 2024, J. Mach. Learn. Res. 25, 72), by ArviZ.

    Parameters
    ----------
    log_weights : ndarray, shape (..., draws)
        Logarithms of the importance weights.

    Returns
    -------
    log_weights : ndarray, shape (..., draws)
        The smoothed weights, normalised along the last axis.
    k_hat : ndarray, shape (...)
        Shape of the tail of the weights. ArviZ 0.x and ArviZ 1 differ by about 0.01 for 1000 draws.

    Raises
    ------
    ConfigError
        If ArviZ is not installed.
    """
    arviz = load_arviz()
    if _is_version_1(arviz):
        from arviz_stats.base import array_stats

        # ArviZ 1 takes log-likelihoods, of which the log weights of a leave-one-out estimate are the negative.
        smoothed, tails = array_stats.psislw(-log_weights)
    else:
        smoothed, tails = arviz.psislw(np.array(log_weights))  # it may write into what it is given
    return np.asarray(smoothed), np.asarray(tails)


def _is_version_1(arviz: Any) -> bool:
    """Tell whether ArviZ has the interface of version 1.

    Not by `InferenceData`: version 1 still has that name, and warns of its use.
    """
    return not hasattr(arviz, "psislw")


def to_arviz(posterior: WeightedSamples, *, n_draws: int = 1000, seed: int = 1) -> Any:
    """Return samples of equal weight as ArviZ has them.

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
    arviz.InferenceData or xarray.DataTree
        A ``DataTree`` with ArviZ 1. One chain. ``posterior``: free and tied parameters by label, with their units as
        attributes; ``sample_stats``: ``lp``, the log posterior density but for the evidence, and
        ``log_likelihood_total``, that of all pixels. Evidences are attributes of ``posterior``.

    Raises
    ------
    ConfigError
        If ArviZ is not installed, or `n_draws` is not positive.
    """
    arviz = load_arviz()
    if n_draws < 1:
        raise ConfigError(f"n_draws must be at least 1, got {n_draws}")
    picked = np.arange(len(posterior.samples))
    if np.ptp(posterior.log_weights) > 0:
        picked = posterior.resampled(n_draws, np.random.default_rng([int(seed), 4]))
    likelihood, prior = posterior.log_likelihood[picked], posterior.log_prior[picked]
    attrs = {key: getattr(posterior, key) for key in _SCALARS} | {"inference_library": "socca"}
    samples = {label: values[picked][None] for label, _, values in posterior.columns()}
    stats = {"lp": (likelihood + prior)[None], "log_likelihood_total": likelihood[None]}
    if _is_version_1(arviz):
        groups = {"posterior": samples, "sample_stats": stats}
        found = arviz.from_dict(groups, attrs={"posterior": attrs})
    else:
        found = arviz.from_dict(posterior=samples, sample_stats=stats, posterior_attrs=attrs)
        found.posterior = found.posterior[list(samples)]  # sorted by name where dm-tree is installed
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
