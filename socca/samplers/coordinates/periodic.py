"""Parameters that are periodic: angles whose prior is a whole period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity


class PeriodicParameters:
    """Parameters whose prior is flat over one whole period: for a chain they have no edges.

    Parameters
    ----------
    problem : LogDensity
        Whose priors tell.

    Attributes
    ----------
    which : ndarray of bool, shape (ndim,)
        The parameters.
    """

    def __init__(self, problem: LogDensity) -> None:
        pairs = list(zip(problem.priors, problem.periods, strict=True))
        self.which = np.array([prior.is_flat_over(period) for prior, period in pairs], dtype=bool)
        self._low = np.array(
            [prior.support[0] if on else 0.0 for (prior, _), on in zip(pairs, self.which, strict=True)]
        )
        self._period = np.array([period if on else 1.0 for (_, period), on in zip(pairs, self.which, strict=True)])

    def wrap(self, theta: np.ndarray) -> np.ndarray:
        """Return parameters, shape (n, ndim), with these angles within their priors."""
        wrapped = self._low + (theta - self._low) % self._period
        return np.where(self.which, wrapped, theta)

    def nearest(self, theta: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Return parameters, shape (n, ndim), with these angles turned to within half a period of `center`'s."""
        return theta - self._turns(theta, center) * self._period

    def within(self, theta: np.ndarray, center: np.ndarray) -> np.ndarray:
        """Tell for each row, shape (n, ndim), whether these angles lie within half a period of `center`'s."""
        return ~np.any(self._turns(theta, center), axis=1)

    def _turns(self, theta: np.ndarray, center: np.ndarray) -> np.ndarray:
        return np.where(self.which, np.round((theta - center) / self._period), 0.0)
