"""The adaptive method: importance sampling where that is enough, nested sampling where it is not."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ModelError
from socca.likelihood.marginal import Marginal
from socca.likelihood.problem import Problem
from socca.samplers.base import Draws, Sampler, completed
from socca.samplers.checkpoint import Checkpoint, State
from socca.samplers.importance.audit import compared, is_chosen
from socca.samplers.importance.rounds import effective_number, tail_shape
from socca.samplers.importance.run import MOST_TAIL, ImportanceRun
from socca.samplers.options import MAPPING, number, whole, word

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers

log = logging.getLogger(__name__)

#: What takes over where importance sampling is not enough.
FALLBACKS = ("nautilus", "dynesty", "pocomc", "none")
#: Share of the effective draws that their amplitudes must leave, and with which no more are drawn to make up for it.
_SPOILT, _ENOUGH = 0.2, 0.95
#: Notes about the draws of importance sampling, of no meaning for others.
_OF_DRAWS = ("maxima", "maxima_shares", "maxima_missing", "tail", "rounds", "effective_share")
#: Before the names in checkpoints of the states of what takes over, and of what audits.
_FALLBACK, _AUDIT = "fallback_", "audit_"


class Adaptive(Sampler):
    """Importance sampling around the maxima, which passes a posterior that it does not describe to a nested sampler.

    A search finds the maxima. Student densities around them are the first proposal, which is improved in rounds of
    ``n_first`` draws and more. A fit passes if the tail of its weights is light (k-hat of at most 0.7), if ``n_eff``
    draws are effective (or 80 % of that, once ``max_draws`` are spent), if the draws of all rounds agree on the
    evidence, and if every maximum that the search found is there. Otherwise ``fallback`` explores the posterior, with
    ``fallback_options``; nautilus by default without focus and with one network. The notes say which it was (``tier``)
    and why (``escalated``). With the fallback ``none`` such a fit has not converged.

    A share ``audit`` of the fits that pass, chosen by their seeds, is explored by nautilus too, from the prior alone.
    The notes say how far the two differ (``audit``). Where that is more than scatter, the result is that of nautilus,
    as if the fit had not passed.
    """

    name = "adaptive"
    state_version = 3
    afterwards = frozenset({"audit"})
    requires: tuple[str, ...] = ("numpy", "scipy")
    defaults = {  # noqa: RUF012  (never changed)
        "n_eff": 2000,
        "n_prior": 400,
        "n_starts": 8,
        "n_first": 500,
        "max_draws": 40_000,
        "maxiter": 200,
        "fallback": "nautilus",
        "fallback_options": None,
        "audit": 0.0,
    }
    allowed = {  # noqa: RUF012  (never changed)
        "n_eff": number(1),
        "n_prior": whole(10),
        "n_starts": whole(1),
        "n_first": whole(50),
        "max_draws": whole(100),
        "maxiter": whole(1),
        "fallback": word(*FALLBACKS),
        "fallback_options": MAPPING | None,
        "audit": number(0, 1),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        fallback = self.options["fallback"]
        # From the prior alone: what the rounds do not describe, a map by the maxima does not either, and the search may
        # not lead an audit astray. Of more networks, training takes most of the time.
        alone = {"progress": self.progress, "focus": False, "n_networks": 1}
        own = {"progress": self.progress, **(alone if fallback == "nautilus" else {})}
        own |= self.options["fallback_options"] or {}
        self._fallback = None if fallback == "none" else _sampler(fallback, own)
        self._auditor = _sampler("nautilus", alone) if self.options["audit"] > 0 else None
        for other in (self._fallback, self._auditor):
            if other is not None:
                self.requires = tuple(dict.fromkeys((*self.requires, *other.requires)))
                self.pickles = self.pickles or other.pickles
        # The last problem, and what is left of it without amplitudes.
        self._shape: tuple[LogDensity, Marginal | None] | None = None

    def _shape_of(self, problem: LogDensity) -> Marginal | None:
        """Return the problem without its amplitudes, whatever their priors; None where there are none."""
        if self._shape is None or self._shape[0] is not problem:
            shape = None
            if isinstance(problem, Problem) and problem.has_information:
                with contextlib.suppress(ModelError):
                    shape = Marginal(problem, any_prior=True)
                    shape.remember()
            self._shape = (problem, shape)
        return self._shape[1]

    def likelihood(self, problem: LogDensity) -> Callable[[np.ndarray], np.ndarray]:
        """Return the likelihood of rows of all parameters, and of rows without amplitudes."""
        shape = self._shape_of(problem)
        return problem.log_likelihood if shape is None else _Both(problem, shape)

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        shape = self._shape_of(problem)
        kept = _KeepingOthers(checkpoint)
        run = ImportanceRun(problem if shape is None else shape, pool, seed, self.options, kept)
        progress, n_eff = self.progress_logger(), float(self.options["n_eff"])
        draws, why = run.explore(progress, n_eff)
        spoilt: list[str] = []
        if shape is not None:
            try:
                complete, spoilt, kept_share = _completed(draws, shape, np.random.default_rng([seed, 7]))
                if not why and not spoilt and kept_share < _ENOUGH:
                    draws, why = run.explore(progress, n_eff / kept_share)
                    complete, spoilt, _ = _completed(draws, shape, np.random.default_rng([seed, 7]))
                draws = complete
            except ModelError as error:
                if self._fallback is None:
                    raise
                spoilt = [str(error)]
            shape.remember(False)
            why += spoilt
            draws.notes = {**draws.notes, "escalated": why}
        if not why and self._auditor is not None and is_chosen(self.options["audit"], seed):
            within = _Within(checkpoint, run.state(), _AUDIT)
            return _audited(self._auditor, draws, problem, shape, pool, seed, within)
        if not why or self._fallback is None:
            return draws
        log.info("importance sampling is not enough (%s): %s goes on", "; ".join(why), self._fallback.name)
        nested = _Within(checkpoint, run.state(), _FALLBACK)
        # The fallback goes on without intensities too, unless it is their priors that spoil the weights.
        apart = None if spoilt else shape
        deeper = self._fallback.explore(problem if apart is None else apart, pool, seed, nested)
        notes = {**draws.notes, **deeper.notes, "tier": self._fallback.name}
        notes["n_gradients"] = int(draws.notes["n_gradients"]) + int(deeper.notes.get("n_gradients", 0))
        notes.pop("marginalized", None)
        if apart is not None:
            deeper, spoilt, _ = _completed(deeper, apart, np.random.default_rng([seed, 8]))
            notes |= {"marginalized": apart.linear_labels, "escalated": [*why, *spoilt]}
        deeper.notes = notes
        return deeper


def _audited(
    auditor: Sampler,
    draws: Draws,
    problem: LogDensity,
    shape: Marginal | None,
    pool: Workers,
    seed: int,
    checkpoint: Checkpoint,
) -> Draws:
    """Explore the posterior of a pass once more; return its draws, or the others where the two differ."""
    log.info("importance sampling is enough, and is audited: %s explores the same posterior", auditor.name)
    nested = auditor.explore(problem if shape is None else shape, pool, seed, checkpoint)
    if shape is not None:
        nested, _, _ = _completed(nested, shape, np.random.default_rng([seed, 9]))
    found = compared(draws, nested, problem.labels, problem.periods)
    draws.notes = {**draws.notes, "audit": found.notes()}
    if not found.reasons:
        return draws
    why = [f"audit: {reason}" for reason in found.reasons]
    log.warning("the audit does not agree: %s", "; ".join(found.reasons))
    kept = {key: value for key, value in draws.notes.items() if key not in _OF_DRAWS}
    notes = {**kept, **nested.notes, "tier": auditor.name, "escalated": why}
    notes["n_gradients"] = int(draws.notes["n_gradients"]) + int(nested.notes.get("n_gradients", 0))
    return dataclasses.replace(nested, notes=notes)


def _completed(draws: Draws, shape: Marginal, rng: np.random.Generator) -> tuple[Draws, list[str], float]:
    """Return draws with amplitudes, what their priors have spoilt, and the share of effective draws that they leave.

    Draws of which something is spoilt have not converged.
    """
    names = ", ".join(shape.linear_labels)
    before = effective_number(draws.log_weights)
    found = completed(draws, shape, rng)
    share = effective_number(found.log_weights) / max(before, 1.0)
    tail = tail_shape(found.log_weights)
    spoilt = []
    if share < _SPOILT:
        spoilt.append(f"priors of {names} leave {share:.0%} of the effective draws")
    if tail_shape(draws.log_weights) <= MOST_TAIL < tail:
        spoilt.append(f"k-hat is {tail:.2f} with {names}")
    n_eff = None if found.n_eff is None else found.n_eff * min(share, 1.0)
    return dataclasses.replace(found, n_eff=n_eff, converged=found.converged and not spoilt), spoilt, share


class _Both:
    """The likelihood of a problem, and of what is left without its amplitudes: rows tell which, by their length.

    Parameters
    ----------
    whole : LogDensity
        The problem.
    shape : Marginal
        Without its amplitudes.
    """

    def __init__(self, whole: LogDensity, shape: Marginal) -> None:
        self._whole, self._shape = whole, shape

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of each row."""
        is_shape = np.shape(theta)[-1] == self._shape.ndim
        return self._shape.log_likelihood(theta) if is_shape else self._whole.log_likelihood(theta)


def _sampler(method: str, options: dict[str, Any]) -> Sampler:
    from socca.samplers import get_sampler

    return get_sampler(method)(**options)


def _part(checkpoint: Checkpoint, prefix: str) -> State:
    """Return what the state of an earlier run has of one of the other samplers, by its names there."""
    return {key: value for key, value in (checkpoint.state or {}).items() if key.startswith(prefix)}


class _KeepingOthers(Checkpoint):
    """The checkpoint of the whole, in which the states of other samplers of an earlier run stay.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of the whole.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.state, self.spent = checkpoint.state, checkpoint.spent
        self._kept = {**_part(checkpoint, _FALLBACK), **_part(checkpoint, _AUDIT)}

    def offer(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Keep a state, if it is time to; see `Checkpoint.offer`."""
        self._checkpoint.offer(lambda: {**self._kept, **state()}, last=last)


class _Within(Checkpoint):
    """The checkpoint of another sampler, within that of the whole.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of the whole.
    own : mapping
        The whole's own state.
    prefix : str
        Before the names of the other sampler's state.
    """

    def __init__(self, checkpoint: Checkpoint, own: State, prefix: str) -> None:
        self._checkpoint, self._own, self._prefix = checkpoint, own, prefix
        kept = {key.removeprefix(prefix): value for key, value in _part(checkpoint, prefix).items()}
        self.state, self.spent = kept or None, checkpoint.spent

    def offer(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Keep a state, if it is time to; see `Checkpoint.offer`."""
        self._checkpoint.offer(
            lambda: {**self._own, **{self._prefix + key: value for key, value in state().items()}}, last=last
        )
