"""Unit cube for nested samplers and the like: the prior's, or the one that `Repartitioning` maps to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.samplers.base import Draws
from socca.samplers.cube.repartitioning import IdentityMap, Repartitioning
from socca.samplers.cube.repartitioning_check import (
    UNCOVERED,
    UNCOVERED_IN_RUN,
    bounds_on_share_beyond,
    quick_maxima,
    ratio_at_maxima,
    uncovered_share,
)

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint
    from socca.samplers.maxima.search import Maxima

log = logging.getLogger(__name__)

#: Below it lies what back ends that cannot deal with -inf put in its place.
_IMPOSSIBLE = -1e99


class UncoveredError(Exception):
    """A run found more of the posterior where its stretched cube is too thin than it may leave there.

    Parameters
    ----------
    share : float
        How much, at least.
    """

    def __init__(self, share: float) -> None:
        super().__init__(f"{share:.2g} of the posterior lie where the stretched cube is too thin")
        self.share = share


class UnitCube:
    """The unit cube of a problem, with a likelihood over it whose integral is the evidence.

    Parameters
    ----------
    problem : LogDensity
        What is explored.
    pool : Workers
        Evaluates the likelihood.
    seed : int
        Of the search for maxima.
    checkpoint : Checkpoint
        Where the maxima are known from, if the fit goes on.
    focus : bool
        Whether to stretch the cube around the maxima, if their Gaussians cover the posterior; see
        `socca.samplers.cube.repartitioning`.
    at_least : int
        Axes of the cube: those beyond the problem's parameters do nothing, and change nothing.

    Attributes
    ----------
    ndim : int
        Axes of the cube.
    kept : dict
        What a checkpoint must hold to make the same cube.
    """

    def __init__(
        self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint, *, focus: bool, at_least: int = 1
    ) -> None:
        self._problem, self._pool = problem, pool
        self.ndim = max(problem.ndim, at_least)
        self._map: Repartitioning | IdentityMap = IdentityMap()
        self._maxima: Maxima | None = None
        self._top = np.inf
        self._unfocused_in_run = False
        self.checkpoint_state: dict[str, Any] = {}
        if focus:
            self._try_focus(seed, checkpoint)

    @property
    def focused(self) -> bool:
        """Whether the cube is stretched around the maxima."""
        return isinstance(self._map, Repartitioning)

    @property
    def parted(self) -> bool:
        """Whether several maxima matter, and the cube is not focused on them: particles do not move between them."""
        return not self.focused and self._maxima is not None and not self._maxima.is_single

    @property
    def periodic(self) -> list[int]:
        """Axes that are a whole period of an angle, to be walked around without an edge."""
        # Repartitioning turns whole periods out of the way by itself.
        return [
            k
            for k, (prior, period) in enumerate(zip(self._problem.priors, self._problem.periods, strict=True))
            if prior.is_flat_over(period) and not self.focused
        ]

    def _try_focus(self, seed: int, checkpoint: Checkpoint) -> None:
        """Stretch the cube, unless that would hide a part of the posterior."""
        maxima = quick_maxima(self._problem, self._pool, seed, checkpoint)
        focus = Repartitioning(self._problem, maxima.found, maxima.masses)
        if checkpoint.state is not None:
            good, self._top = bool(checkpoint.state["focused"]), float(checkpoint.state["top"])
            self._unfocused_in_run = bool(checkpoint.state["unfocused_in_run"])
        else:
            self._top = ratio_at_maxima(self._problem, self._pool, focus, maxima)
            share = uncovered_share(self._problem, self._pool, np.random.default_rng([seed, 4]), focus, self._top)
            share = max(share, maxima.left_out)
            good = share <= UNCOVERED
            if not good:
                log.info("%.2g of the posterior may lie away from the Gaussians at its maxima: no focus", share)
        if good:
            self._map = focus
        self._maxima = maxima
        self._keep()

    def _keep(self) -> None:
        if self._maxima is not None:
            self.checkpoint_state = {
                **self._maxima.arrays(),
                "focused": np.asarray(self.focused),
                "top": np.asarray(self._top),
                "unfocused_in_run": np.asarray(self._unfocused_in_run),
            }

    def log_likelihood(self, w: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of points of the cube, shape (n, ndim) to (n,)."""
        v, log_density = self._map.to_prior(w[:, : self._problem.ndim])
        return self._pool.evaluate(self._problem.prior_transform(v)) - log_density

    def check_coverage(self, log_weights: np.ndarray, log_likelihood: np.ndarray, *, last: bool = True) -> None:
        """Compare what a run has found so far with what its stretched cube was made for.

        Parameters
        ----------
        log_weights, log_likelihood : ndarray, shape (n,)
            Weights of the points so far, not necessarily normalised, and what `log_likelihood` gave for them.
        last : bool
            Whether the run is over. Before that, what may be chance is let pass.

        Raises
        ------
        UncoveredError
            If too much lies where the cube is too thin.
        """
        possible = np.isfinite(log_weights) & (log_likelihood > _IMPOSSIBLE)
        if not self.focused or not possible.any():
            return
        low, high = bounds_on_share_beyond(log_weights[possible], log_likelihood[possible], self._top)
        if (high if last else low) > UNCOVERED_IN_RUN:
            raise UncoveredError(high if last else low)

    def explore_with_retry(self, explore: Callable[[bytes | None], Draws], kept: bytes | None) -> Draws:
        """Explore the cube, and once more from the start in the prior's cube if the stretched one hid something.

        Parameters
        ----------
        explore : callable
            Explores from a back end's own kept state, or from the start for None.
        kept : bytes, optional
            That state, from a checkpoint.

        Returns
        -------
        Draws
            What `explore` returned.
        """
        try:
            return explore(kept)
        except UncoveredError as why:
            self.unfocus(why)
        return explore(None)

    def unfocus(self, why: UncoveredError) -> None:
        """Return to the prior's cube."""
        log.info("%s: the run begins again without focus", why)
        self._map, self._unfocused_in_run = IdentityMap(), True
        self._keep()

    def draws(
        self,
        w: np.ndarray,
        log_weights: np.ndarray,
        log_likelihood: np.ndarray,
        *,
        converged: bool,
        notes: dict[str, Any],
        **rest: Any,
    ) -> Draws:
        """Map weighted points of the cube to parameters.

        Parameters
        ----------
        w : ndarray, shape (n, ndim)
            Points of the cube.
        log_weights, log_likelihood : ndarray, shape (n,)
            Weights, normalised here, and what `log_likelihood` gave. Points without weight are left out.
        converged : bool
            Whether the sampler met its own criterion.
        notes, **rest : object
            Further fields of the draws.

        Returns
        -------
        Draws
            In parameter space. They have not converged if a maximum that the search found is missing among them.
        """
        possible = (log_likelihood > _IMPOSSIBLE) & np.isfinite(log_weights)
        w, log_weights = w[possible], log_weights[possible]
        v, log_density = self._map.to_prior(w[:, : self._problem.ndim])
        log_weights = log_weights - np.logaddexp.reduce(log_weights)
        found = self._notes(v, np.exp(log_weights))
        return Draws(
            samples=self._problem.prior_transform(v),
            log_weights=log_weights,
            log_likelihood=log_likelihood[possible] + log_density,
            converged=converged and not found.get("maxima_missing", False),
            notes={**notes, **found},
            **rest,
        )

    def _notes(self, v: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
        """Return what a result says of maxima and focus; `v` are points of the prior's cube, shape (n, ndim)."""
        if self._maxima is None:
            return {"n_gradients": 0, "focused": False}
        notes = {
            **self._maxima.notes(),
            "n_gradients": self._maxima.n_gradients,
            "focused": self.focused,
            "unfocused_in_run": self._unfocused_in_run,
        }
        count = len(self._maxima.found)
        if count > 1:
            nearest = Repartitioning(self._problem, self._maxima.found).log_parts(v).argmax(axis=1)
            shares = np.bincount(nearest, weights, count)
            expected = self._maxima.masses
            notes["maxima"] = self._maxima.count(shares)
            notes["maxima_shares"] = [round(float(share), 4) for share in shares]
            notes["maxima_missing"] = self._maxima.any_missing(expected, shares)
        return notes
