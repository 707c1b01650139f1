"""Interface of what samplers explore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from socca.priors import Prior


class LogDensity(Protocol):
    """A likelihood and a prior of some parameters: `Problem`, `Marginal`, or anything else with what follows."""

    @property
    def names(self) -> Sequence[str]:
        """Full names of the parameters."""

    @property
    def labels(self) -> Sequence[str]:
        """The user's names of them."""

    @property
    def ndim(self) -> int:
        """How many there are."""

    @property
    def priors(self) -> Sequence[Prior]:
        """Prior of each parameter."""

    @property
    def periods(self) -> Sequence[float | None]:
        """Period of each parameter; None where it is no angle."""

    @property
    def ellipses(self) -> Sequence[tuple[int, int]]:
        """Which parameters are position angle and ellipticity of one source, and free down to a round one."""

    def log_likelihood(self, theta: ArrayLike) -> np.ndarray:
        """Return the log-likelihood of each row, shape (n, ndim) to (n,); -inf where the model is impossible."""

    def log_likelihood_and_grad(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-likelihood of each row and its derivatives, shapes (n,) and (n, ndim)."""

    @property
    def has_information(self) -> bool:
        """Whether `log_likelihood_and_information` is there."""

    def log_likelihood_and_information(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the log-likelihood of each row, its derivatives, and the Fisher information.

        Shapes are (n,), (n, ndim) and (n, ndim, ndim). Where amplitudes are integrated out, value and derivatives are
        those at the best ones.
        """

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Return the log prior density of each row, shape (n, ndim) to (n,)."""

    def prior_transform(self, u: ArrayLike) -> np.ndarray:
        """Map points of the unit cube to parameters, shape (n, ndim) to (n, ndim)."""

    def traced(self) -> tuple[Callable[[Any, Any], Any], dict[str, Any]]:
        """Return the log posterior density of one row, for JAX to trace, and the arrays that it takes first."""

    def digest(self) -> str:
        """Return a SHA-256 over all that defines it: equal digests, equal posteriors."""
