"""Posterior of one fit: weighted samples, evidence and record."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from socca.models.quantity import USUAL
from socca.posterior.quantities import QuantitySamples
from socca.posterior.record import FitRecord
from socca.utils.statistics import INTERVAL, around, unwrapped, weighted_quantiles

if TYPE_CHECKING:
    from astropy.table import QTable

    from socca.plotting.corner import PosteriorPlots


#: Share of the posterior on which a quantity must exist to be summarised.
_LEAST_SHARE = 0.5


class ReadOnlyDict(dict[str, Any]):
    """A dict that refuses changes, which nobody would see. Copies of it are plain dicts."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("meta is a copy of the record: assign a new one to posterior.record (dataclasses.replace)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


@dataclass(eq=False, repr=False)
class Posterior:
    """Weighted samples of the free parameters, the evidence, and how they came about.

    Parameters
    ----------
    names, labels, units : list of str
        Full names of the free parameters (``comp_00_re``), the user's (``bulge.re``), and units.
    samples : ndarray, shape (n, ndim)
        Points.
    log_weights : ndarray, shape (n,)
        Normalised: their exponentials sum to one.
    log_likelihood, log_prior : ndarray, shape (n,)
        At these points.
    logz, logz_err : float
        Log-evidence and its standard error.
    periods : list of float or None
        Period of each parameter that is an angle.
    derived : dict of ndarray, shape (n,)
        The tied parameters, by label.
    derived_units, derived_periods : dict
        Their units, and the periods of those that are angles.
    fixed : dict of float
        The fixed parameters, by label.
    quantities : dict of QuantitySamples
        What follows from the parameters, such as ``bulge.flux`` and ``bulge.mag``; see `socca.fitting.quantities`.
    descriptions : dict of str
        What parameters are, by label.
    record : FitRecord
        Method, options, seed, versions, digests, timing, goodness of fit.
    logz_prior, logz_prior_err : float
        Log of the share of the prior on which the model is possible, and its standard error; NaN where nobody asked.
    logz_data : float
        Log-evidence of the null model (noise only); NaN where it is not known.
    """

    names: list[str]
    labels: list[str]
    units: list[str]
    samples: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    log_prior: np.ndarray
    logz: float
    logz_err: float
    periods: list[float | None] = field(default_factory=list)
    derived: dict[str, np.ndarray] = field(default_factory=dict)
    derived_units: dict[str, str] = field(default_factory=dict)
    derived_periods: dict[str, float] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    quantities: dict[str, QuantitySamples] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    record: FitRecord = field(default_factory=FitRecord)
    logz_prior: float = math.nan
    logz_prior_err: float = math.nan
    logz_data: float = math.nan

    def __repr__(self) -> str:
        by = f" by {self.record.sampler.method}" if self.record.sampler.method else ""
        evidence = f", ln Z = {self.logz:.2f} +- {self.logz_err:.2f}" if math.isfinite(self.logz) else ""
        return f"<Posterior of {', '.join(self.labels)}{by}: {len(self.samples)} samples{evidence}>"

    @property
    def meta(self) -> ReadOnlyDict:
        """The record as files hold it, plain values by key, for scripts; it cannot be changed."""
        return ReadOnlyDict(self.record.to_dict())

    @property
    def weights(self) -> np.ndarray:
        """Normalised weights, shape (n,)."""
        return np.exp(self.log_weights)

    @property
    def n_eff(self) -> float:
        """Effective number of samples (Kish): ``1 / sum(w^2)``."""
        return float(1 / np.sum(self.weights**2))

    @property
    def best_index(self) -> int:
        """Which sample has the highest posterior density."""
        return int(np.argmax(np.nan_to_num(self.log_likelihood + self.log_prior, nan=-np.inf)))

    @property
    def best(self) -> np.ndarray:
        """The sample of highest posterior density, shape (ndim,)."""
        return np.asarray(self.samples[self.best_index])

    def median(self) -> np.ndarray:
        """Return the median of each free parameter, shape (ndim,)."""
        return np.array([row["median"] for row in self.summary()[: len(self.names)]])

    def equal_weights(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw samples of equal weight.

        Parameters
        ----------
        n : int
            How many.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray, shape (n, ndim)
            Samples, by systematic resampling.
        """
        return np.asarray(self.samples[self.resampled(n, rng)])

    def resampled(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return which samples `equal_weights` draws, shape (n,): a sample may occur several times."""
        positions = (rng.random() + np.arange(n)) / n
        cumulative = np.cumsum(self.weights)
        picked = np.searchsorted(cumulative / cumulative[-1], positions)
        return rng.permutation(np.minimum(picked, len(self.samples) - 1))

    def columns(self) -> list[tuple[str, str, np.ndarray]]:
        """Return label, unit and values, shape (n,), of free and tied parameters; angles around their circular mean."""
        found = [
            (label, unit, self.samples[:, k], self.periods[k] if self.periods else None)
            for k, (label, unit) in enumerate(zip(self.labels, self.units, strict=True))
        ]
        found += [
            (label, self.derived_units.get(label, ""), x, self.derived_periods.get(label))
            for label, x in self.derived.items()
        ]
        return [
            (label, unit, x if period is None else unwrapped(x, self.weights, period))
            for label, unit, x, period in found
        ]

    def parameters(self) -> str:
        """Return a table of the posterior: median, both errors, and the best sample, one line each.

        It has the parameters and, of the derived quantities, those of `socca.models.quantity.USUAL`.
        """
        rows = []
        hidden = {label for label in self.quantities if label.rsplit(".", 1)[-1] not in USUAL}
        for row in self.summary():
            if row["label"] in hidden:
                continue
            # As many digits as tell the value from its neighbours: a declination may need ten.
            above, below = row["upper"] - row["median"], row["median"] - row["lower"]
            relative = abs(row["median"]) / max(above, below, 1e-12 * abs(row["median"]), 1e-300)
            digits = max(6, math.ceil(math.log10(relative)) + 2 if relative > 0 else 0)
            rows.append(
                f"{row['label']:<20} {row['median']:>16.{digits}g} +{above:<11.3g} -{below:<11.3g} "
                f"{row['best']:>16.{digits}g} {row['unit']}"
            )
        head = f"{'parameter':<20} {'median':>16} {'upper':<12} {'lower':<12} {'best':>16} unit"
        return "\n".join([head, *rows])

    def bmc(self, verbose: bool = True) -> tuple[float, float, float, float]:
        """Compare the model with the null model (noise only).

        Parameters
        ----------
        verbose : bool
            Whether to write the result to standard output too.

        Returns
        -------
        tuple of float
            ``(lnBF, sigma_eff, lnBF_deboosted, sigma_eff_deboosted)``, see `socca.posterior.criteria.bayes_factor`; the
            last two are NaN unless the fit was run with ``getzprior=True``.
        """
        from socca.posterior.criteria import bayes_factor

        found = bayes_factor(self.logz, self.logz_data, self.logz_prior)
        if verbose:
            lines = [f"{'ln Bayes factor':<24}{found[0]:>14.3f}   {found[1]:>9.2f} sigma"]
            if not math.isnan(self.logz_prior):
                lines.append(f"{'within possible prior':<24}{found[2]:>14.3f}   {found[3]:>9.2f} sigma")
            sys.stdout.write("\n".join(lines) + "\n")
        return found

    def aic(self) -> float:
        """Return Akaike's information criterion; see `socca.posterior.criteria.aic`."""
        from socca.posterior.criteria import aic

        return aic(self)

    def bic(self) -> float:
        """Return Schwarz's information criterion; see `socca.posterior.criteria.bic`."""
        from socca.posterior.criteria import bic

        return bic(self)

    def k_hat(self) -> float:
        """Return the tail of the importance weights; see `socca.posterior.criteria.k_hat`."""
        from socca.posterior.criteria import k_hat

        return k_hat(self)

    def to_table(self) -> QTable:
        """Return the samples as an astropy table with units; see `socca.posterior.exports.to_table`."""
        from socca.posterior.exports import to_table

        return to_table(self)

    def to_arviz(self, *, n_draws: int = 1000, seed: int = 1) -> Any:
        """Return samples of equal weight as ArviZ has them; see `socca.posterior.exports.to_arviz`."""
        from socca.posterior.exports import to_arviz

        return to_arviz(self, n_draws=n_draws, seed=seed)

    @property
    def plot(self) -> PosteriorPlots:
        """Figures: ``plot.corner(name)`` and ``plot.trace(name)``."""
        from socca.plotting.corner import PosteriorPlots

        return PosteriorPlots(self)

    def summary(self) -> list[dict[str, Any]]:
        """Summarise free and tied parameters, and after them the derived quantities.

        Returns
        -------
        list of dict
            ``label, unit, mean, std, median, lower, upper, best`` each; ``lower`` and ``upper`` hold the central
            68.3 per cent. Angles are first unwrapped around their circular mean, so that a posterior across their
            period's end is not torn apart. Where it is known, ``description`` says what it is; quantities have a
            ``ucd`` too. Those that do not exist for some samples are summarised over the others; if these have less
            than half of the weight, all numbers are NaN.
        """
        rows: list[dict[str, Any]] = []
        for label, unit, x in self.columns():
            about = {"description": self.descriptions[label]} if label in self.descriptions else {}
            rows.append({"label": label, "unit": unit, **self._summarised(x, None), **about})
        for label, one in self.quantities.items():
            about = {"description": one.description, "ucd": one.ucd}
            rows.append({"label": label, "unit": one.unit, **self._summarised(one.values, one.period), **about})
        return rows

    def _summarised(self, x: np.ndarray, period: float | None) -> dict[str, float]:
        """Return the numbers of a row of `summary`."""
        weights, some = self.weights, np.isfinite(x)
        best = float(x[self.best_index])
        if not some.all():
            share = float(weights[some].sum())
            if share < _LEAST_SHARE:
                return dict.fromkeys(("mean", "std", "median", "lower", "upper", "best"), math.nan)
            x, weights = x[some], weights[some] / share
        if period is not None:
            x = unwrapped(x, weights, period)
            best = float(around(float(weights @ x), np.array([best]), period)[0])
        mean = float(np.sum(weights * x))
        std = math.sqrt(max(0.0, float(np.sum(weights * (x - mean) ** 2))))
        lower, median, upper = weighted_quantiles(x, weights, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
        return {"mean": mean, "std": std, "median": median, "lower": lower, "upper": upper, "best": best}

    def save(self, path: str | Path) -> None:
        """Write everything to an HDF5 file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced.
        """
        from socca.posterior.storage import save_posterior

        save_posterior(path, self)

    @classmethod
    def load(cls, path: str | Path, target: str | None = None) -> Self:
        """Read a file that `save` wrote, or one posterior of a container.

        Parameters
        ----------
        path : str or Path
            The file.
        target : str, optional
            Whose posterior, where the file holds those of many targets.

        Returns
        -------
        Posterior
            What was saved.

        Raises
        ------
        PosteriorError
            If the file is damaged, of another kind, lacks the target, or records a failed fit.
        """
        from socca.posterior.storage import open_result, posterior_fields

        with open_result(path, target) as group:
            return cls(**posterior_fields(group))
