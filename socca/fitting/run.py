"""One fit, from a compiled problem to a posterior with its record, for scripts and surveys."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from socca.fitting.goodness_of_fit import describe_image, goodness_of_fit
from socca.fitting.null_evidence import add_evidences
from socca.fitting.plausibility import find_doubts
from socca.fitting.plausibility.doubts import messages
from socca.fitting.plausibility.parts import parts_of_problem
from socca.fitting.quantities import Expression, check_expressions, quantities_of
from socca.fitting.sample import sample
from socca.utils.machine import raise_if_machine

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.fitting.plausibility.doubts import Doubt
    from socca.likelihood.problem import Problem
    from socca.posterior.posterior import Posterior
    from socca.samplers import Draws

log = logging.getLogger(__name__)


def run_fit(
    problem: Problem,
    image: Image,
    method: str = "nautilus",
    *,
    seed: int,
    getzprior: bool = False,
    complete: bool = True,
    doubts: Sequence[Doubt] | None = None,
    quantities: Sequence[str] | None = None,
    expressions: Mapping[str, Expression] | None = None,
    **running: Any,
) -> tuple[Posterior, Draws]:
    """Explore the posterior of a problem, and compare the result with the data.

    Parameters
    ----------
    problem : Problem
        What is explored.
    image : Image
        The data that the problem was compiled from.
    method : str
        One of `socca.samplers.METHODS`.
    seed : int
        Of all random numbers.
    getzprior : bool
        Whether to draw from the prior to find on which share of it the model is possible.
    complete : bool
        Whether to add evidences, goodness of fit, the description of the image, what is implausible about the inputs,
        and the derived quantities. Of the ranks of MPI that share a fit, those that do not use its result need none.
    doubts : sequence of Doubt, optional
        What is implausible about the inputs, if that is known already; by default it is found here.
    quantities : sequence of str, optional
        Names of the derived quantities; by default all. See `socca.fitting.quantities.NAMES`.
    expressions : mapping of Expression, optional
        Quantities of the user's own, by name.
    **running : object
        Workers, checkpoint and options of the sampler; see `socca.fitting.sample.sample`.

    Returns
    -------
    posterior : Posterior
        The result, with its record.
    draws : Draws
        What the back end gave.

    Raises
    ------
    SoccaError
        As `socca.fitting.sample.sample`.
    """
    said: dict[str, str] = {}
    check_expressions(expressions or {}, problem)
    if complete:
        found = find_doubts(image, parts_of_problem(problem), problem.arrays["noise"]) if doubts is None else doubts
        said = messages(found)
    for flag, message in said.items():
        log.warning("%s: %s", flag, message)
    posterior, draws = sample(problem, method, seed=seed, **running)
    if complete:
        add_evidences(posterior, problem, getzprior=getzprior, seed=seed)
        quality = goodness_of_fit(problem, image, posterior)
        described = describe_image(image, quality.n_used)
        posterior.record = replace(posterior.record, quality=quality, image=described, doubts=said)
        try:
            posterior.quantities = quantities_of(problem, posterior.samples, described, quantities, expressions)
        except Exception as error:  # what is sampled is not to be lost
            raise_if_machine(error)
            log.warning("no quantities are derived: %s: %s", type(error).__name__, error)
    return posterior, draws
