"""What samplers of a unit cube explore: the prior's cube, or the one stretched by `Focus`, in batches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.samplers.base import Draws
from socca.samplers.focus import UNCOVERED, Focus, Unfocused, uncovered
from socca.samplers.maximum import quick_maximum

if TYPE_CHECKING:
    from socca.checkpoint import Checkpoint
    from socca.pool import Pool
    from socca.problem import Problem

log = logging.getLogger(__name__)

#: Below it lies what back ends that cannot deal with -inf put in its place.
_IMPOSSIBLE = -1e99


class Cube:
    """The unit cube of a problem, with a likelihood over it whose integral is the evidence.

    Parameters
    ----------
    problem : Problem
        What is explored.
    pool : Pool
        Evaluates the likelihood.
    seed : int
        Of the search for the maximum.
    checkpoint : Checkpoint
        Where the maximum is known from, if the fit goes on.
    focus : bool
        Whether to stretch the cube around the maximum, if its Gaussian covers the posterior; see
        `socca.samplers.focus`.
    at_least : int
        Axes of the cube: those beyond the problem's parameters do nothing, and change nothing.

    Attributes
    ----------
    ndim : int
        Axes of the cube.
    periodic : list of int
        Axes that are a whole period of an angle, to be walked around without an edge.
    kept : dict
        What a checkpoint must hold to make the same cube.
    """

    def __init__(
        self, problem: Problem, pool: Pool, seed: int, checkpoint: Checkpoint, *, focus: bool, at_least: int = 1
    ) -> None:
        self._problem, self._pool = problem, pool
        self.ndim = max(problem.ndim, at_least)
        self._map: Focus | Unfocused = Unfocused()
        self._n_gradients = 0
        self.kept: dict[str, Any] = {}
        if focus:
            self._try_focus(seed, checkpoint)
        # Focus turns whole periods out of the way by itself.
        self.periodic = [
            k
            for k, (prior, period) in enumerate(zip(problem.priors, problem.periods, strict=True))
            if prior.is_flat_over(period) and not self.focused
        ]

    @property
    def focused(self) -> bool:
        """Whether the cube is stretched around the maximum."""
        return isinstance(self._map, Focus)

    def _try_focus(self, seed: int, checkpoint: Checkpoint) -> None:
        """Stretch the cube, unless that would hide a part of the posterior."""
        maximum = quick_maximum(self._problem, self._pool, seed, checkpoint)
        focus = Focus(self._problem, maximum)
        if checkpoint.state is not None:
            good = bool(checkpoint.state["focused"])
        else:
            share = uncovered(self._problem, self._pool, np.random.default_rng([seed, 4]), focus, maximum)
            good = share <= UNCOVERED
            if not good:
                log.info("%.2g of the posterior lie away from its maximum's Gaussian: no focus", share)
        if good:
            self._map = focus
        self._n_gradients = maximum.n_gradients
        self.kept = {**maximum.arrays(), "focused": np.asarray(good)}

    def log_likelihood(self, w: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of points of the cube, shape (n, ndim) to (n,)."""
        v, log_density = self._map.to_prior(w[:, : self._problem.ndim])
        return self._pool.evaluate(self._problem.prior_transform(v)) - log_density

    def draws(
        self, w: np.ndarray, log_weights: np.ndarray, log_likelihood: np.ndarray, *, notes: dict[str, Any], **rest: Any
    ) -> Draws:
        """Map weighted points of the cube to parameters.

        Parameters
        ----------
        w : ndarray, shape (n, ndim)
            Points of the cube.
        log_weights, log_likelihood : ndarray, shape (n,)
            Weights, normalised here, and what `log_likelihood` gave. Points without weight are left out.
        notes, **rest : object
            Further fields of the draws.

        Returns
        -------
        Draws
            In parameter space.
        """
        possible = (log_likelihood > _IMPOSSIBLE) & np.isfinite(log_weights)
        w, log_weights = w[possible], log_weights[possible]
        v, log_density = self._map.to_prior(w[:, : self._problem.ndim])
        return Draws(
            samples=self._problem.prior_transform(v),
            log_weights=log_weights - np.logaddexp.reduce(log_weights),
            log_likelihood=log_likelihood[possible] + log_density,
            notes={**notes, "n_gradients": self._n_gradients, "focused": self.focused},
            **rest,
        )
