"""Derived quantities of finished fits, made anew from their samples."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from socca.errors import ModelError, SoccaError
from socca.posterior.container import read_headers, write_container
from socca.posterior.storage import ResultLocation
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.locks import exclusive_lock
from socca.utils.machine import raise_if_machine

if TYPE_CHECKING:
    from socca.posterior.posterior import Posterior
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


def derive(survey: Survey, fits: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Derive the quantities of finished fits anew, as the config wants them, and keep them with their samples.

    Nothing is fitted. A fit without a result, or one that has failed, is left out. One whose quantities cannot be
    derived keeps those that it has, with a warning in the log.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    fits : iterable of (str, str)
        Targets and models.

    Yields
    ------
    target, model : str
        Of each that is done.

    Raises
    ------
    PoolError
        If another process fits one of them now.
    MachineError
        If the machine does not let a file be read or written.
    """
    chosen = set(fits)
    if survey.chunked:
        for chunk in survey.chunks_of(chosen):
            job = ChunkJob(survey, chunk)
            with job.exclusive_lock(), tempfile.TemporaryDirectory(dir=job.path.parent) as folder:
                places = {target: ResultLocation(job.path, target) for target in read_headers(job.path)}
                made = []
                for target, place in places.items():
                    found = _derived(survey, target, chunk.model, place) if (target, chunk.model) in chosen else None
                    if found is not None:
                        made.append(target)
                        places[target] = ResultLocation(Path(folder) / f"{target}.h5")
                        found.save(places[target].path)
                if made:
                    write_container(job.path, places)
            yield from ((target, chunk.model) for target in made)
        return
    for target, model, place in survey.results():
        if (target, model) not in chosen or not place.path.exists():
            continue
        with exclusive_lock(place.path.with_name("lock"), str(place.path)):
            found = _derived(survey, target, model, place)
            if found is not None:
                found.save(place.path)
        if found is not None:
            yield target, model


def _derived(survey: Survey, target: str, model: str, place: ResultLocation) -> Posterior | None:
    """Return a posterior with its quantities as the config wants them; None where there is none, or none of these."""
    from socca.fitting.quantities import quantities_of
    from socca.posterior.posterior import Posterior
    from socca.posterior.storage import header_of, open_result
    from socca.survey.config.build_image import build_image
    from socca.survey.config.build_model import build_problem

    try:
        with open_result(*place) as group:
            if header_of(group).record.failure is not None:
                return None
        posterior = Posterior.load(*place)
        row, config = survey.target(target), survey.config.for_target(target)
        image = build_image(row, config)
        problem, _ = build_problem(model, row, config, image)
        if problem.names != posterior.names:
            raise ModelError("its model has other parameters than the config has now: fit it again")
    except SoccaError as error:
        raise_if_machine(error)
        log.warning("%s %s: its quantities stay as they are: %s", target, model, error)
        return None
    described = replace(posterior.record.image, zero_point=image.zero_point)
    posterior.record = replace(posterior.record, image=described)
    posterior.quantities = quantities_of(problem, posterior.samples, described, config.derived.quantities)
    return posterior
