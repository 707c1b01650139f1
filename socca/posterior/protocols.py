"""Interface of a posterior, for functions that need only its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from socca.posterior.quantities import QuantitySamples
    from socca.posterior.record import FitRecord


class WeightedSamples(Protocol):
    """Weighted samples with their evidence and record, as `socca.posterior.Posterior` has them."""

    names: list[str]
    labels: list[str]
    units: list[str]
    samples: np.ndarray
    log_weights: np.ndarray
    log_likelihood: np.ndarray
    log_prior: np.ndarray
    logz: float
    logz_err: float
    periods: list[float | None]
    derived: dict[str, np.ndarray]
    derived_units: dict[str, str]
    derived_periods: dict[str, float]
    fixed: dict[str, float]
    quantities: dict[str, QuantitySamples]
    descriptions: dict[str, str]
    record: FitRecord
    logz_prior: float
    logz_prior_err: float
    logz_data: float

    @property
    def weights(self) -> np.ndarray:
        """Normalised weights, shape (n,)."""

    @property
    def n_eff(self) -> float:
        """Effective number of samples."""

    @property
    def best(self) -> np.ndarray:
        """The sample of highest posterior density, shape (ndim,)."""

    def equal_weights(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw samples of equal weight, shape (n, ndim)."""

    def resampled(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return which samples `equal_weights` draws, shape (n,)."""

    def columns(self) -> list[tuple[str, str, np.ndarray]]:
        """Return label, unit and values, shape (n,), of free and tied parameters."""

    def summary(self) -> list[dict[str, Any]]:
        """Summarise free and tied parameters, and derived quantities."""
