"""The adaptive method: importance sampling where that is enough, nested sampling where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from socca.samplers.base import Draws, Sampler
from socca.samplers.checkpoint import Checkpoint, State
from socca.samplers.importance.run import ImportanceRun
from socca.samplers.options import MAPPING, number, whole, word

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers

log = logging.getLogger(__name__)

#: What takes over where importance sampling is not enough.
FALLBACKS = ("nautilus", "dynesty", "pocomc", "none")
#: Before the names of its state in checkpoints.
_PREFIX = "fallback_"


class Adaptive(Sampler):
    """Importance sampling around the maxima, which passes a posterior that it does not describe to a nested sampler.

    A search finds the maxima. Student densities around them are the first proposal; if need be it is improved in rounds
    of ``n_first`` draws, at the cost of these. A fit passes if the tail of its weights is light (k-hat of at most
    0.7), if ``n_eff`` of at most ``max_draws`` draws are effective, if the draws of all rounds agree on the evidence,
    and if every maximum that the search found is there. Otherwise ``fallback`` explores the posterior, with its own
    defaults and ``fallback_options``. The notes say which it was (``tier``) and why (``escalated``). With the fallback
    ``none`` such a fit has not converged.
    """

    name = "adaptive"
    requires: tuple[str, ...] = ("numpy", "scipy")
    defaults = {  # noqa: RUF012  (never changed)
        "n_eff": 2000,
        "n_prior": 400,
        "n_starts": 3,
        "n_first": 1000,
        "max_draws": 20_000,
        "maxiter": 200,
        "fallback": "nautilus",
        "fallback_options": None,
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
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        fallback = self.options["fallback"]
        own = {"progress": self.progress, **(self.options["fallback_options"] or {})}
        self._fallback = None if fallback == "none" else _sampler(fallback, own)
        if self._fallback is not None:
            self.requires = tuple(dict.fromkeys((*self.requires, *self._fallback.requires)))
            self.pickles = self._fallback.pickles

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        run = ImportanceRun(problem, pool, seed, self.options, checkpoint)
        draws, why = run.explore(self.progress_logger())
        if not why or self._fallback is None:
            return draws
        log.info("importance sampling is not enough (%s): %s goes on", "; ".join(why), self._fallback.name)
        deeper = self._fallback.explore(problem, pool, seed, _Nested(checkpoint, run.state()))
        gradients = int(draws.notes["n_gradients"]) + int(deeper.notes.get("n_gradients", 0))
        deeper.notes = {**draws.notes, **deeper.notes, "tier": self._fallback.name, "n_gradients": gradients}
        return deeper


def _sampler(method: str, options: dict[str, Any]) -> Sampler:
    from socca.samplers import get_sampler

    return get_sampler(method)(**options)


class _Nested(Checkpoint):
    """The checkpoint of what takes over, within that of the whole.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of the whole.
    own : mapping
        The whole's own state.
    """

    def __init__(self, checkpoint: Checkpoint, own: State) -> None:
        self._checkpoint, self._own = checkpoint, own
        kept = {
            key.removeprefix(_PREFIX): value
            for key, value in (checkpoint.state or {}).items()
            if key.startswith(_PREFIX)
        }
        self.state, self.spent = kept or None, checkpoint.spent

    def offer(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Keep a state, if it is time to; see `Checkpoint.offer`."""
        self._checkpoint.offer(
            lambda: {**self._own, **{_PREFIX + key: value for key, value in state().items()}}, last=last
        )
