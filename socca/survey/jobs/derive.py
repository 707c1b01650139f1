"""Derived quantities of finished fits, made anew from their samples."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from socca.errors import ModelError, SoccaError
from socca.posterior.container import write_container
from socca.posterior.storage import ResultLocation
from socca.survey.freshness.stamps import (
    chunk_stamp,
    fit_stamp,
    is_chunk_stamped,
    is_fit_stamped,
    write_chunk_stamp,
    write_fit_stamp,
)
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.locks import exclusive_lock
from socca.utils.machine import raise_if_machine

if TYPE_CHECKING:
    from socca.posterior.posterior import Posterior
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


def derive(survey: Survey, fits: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Derive the quantities of finished fits anew, as the config wants them, and keep them with their samples.

    Nothing is fitted. A fit without a result, or one that has failed, is left out. One that is out of date, or whose
    quantities cannot be derived, keeps those that it has, with a warning in the log.

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
            with ChunkJob(survey, chunk).exclusive_lock():
                made = _derive_chunk(survey, chunk, {target for target, model in chosen if model == chunk.model})
            yield from ((target, chunk.model) for target in made)
        return
    for target, model, place in survey.results():
        if (target, model) not in chosen or not place.path.exists():
            continue
        with exclusive_lock(place.path.with_name("lock"), f"{target} {model}"):
            found = _derived(survey, target, model, place)
            if found is not None:
                stamped = is_fit_stamped(survey, target, model)
                found.save(place.path)
                if stamped:  # the fit is as much up to date as it was
                    write_fit_stamp(fit_stamp(survey, target, model), survey, target, model)
        if found is not None:
            yield target, model


def _derive_chunk(survey: Survey, chunk: Chunk, chosen: set[str]) -> list[str]:
    """Derive the quantities of the chosen targets of a chunk, and write its file anew; return their names."""
    job = ChunkJob(survey, chunk)
    places = {target: place for target in job.targets if (place := job.place(target)) is not None}
    with tempfile.TemporaryDirectory(dir=job.path.parent) as folder:
        made = []
        for target in chosen.intersection(places):
            found = _derived(survey, target, chunk.model, places[target])
            if found is not None:
                made.append(target)
                places[target] = ResultLocation(Path(folder) / f"{target}.h5")
                found.save(places[target].path)
        if made:
            stamped = is_chunk_stamped(survey, chunk)
            write_container(job.path, places)
            if stamped:  # the chunk is as much up to date as it was
                write_chunk_stamp(chunk_stamp(survey, chunk), chunk)
    return made


def _derived(survey: Survey, target: str, model: str, place: ResultLocation) -> Posterior | None:
    """Return a posterior with its quantities as the config wants them; None where there is none, or none of these."""
    from socca.fitting.quantities import quantities_of
    from socca.posterior.posterior import Posterior
    from socca.posterior.storage import header_of, open_result
    from socca.survey.config.build_image import build_image
    from socca.survey.config.build_model import build_problem, derived_expressions

    try:
        with open_result(*place) as group:
            header = header_of(group)
        if header.record.failure is not None:
            return None
        if stale := survey.stale(target, model, header.record):
            raise ModelError(f"it is out of date: {stale}")
        posterior = Posterior.load(*place)
        row, config = survey.target(target), survey.config.for_target(target)
        image = build_image(row, config)
        problem, _ = build_problem(model, row, config, image)
        described = replace(posterior.record.image, zero_point=image.zero_point)
        wanted = config.derived.quantities, derived_expressions(config)
        posterior.quantities = quantities_of(problem, posterior.samples, described, *wanted)
    except SoccaError as error:
        raise_if_machine(error)
        log.warning("%s %s: its quantities stay as they are: %s", target, model, error)
        return None
    provenance = replace(posterior.record.provenance, derived=survey.derived_settings(target))
    posterior.record = replace(posterior.record, image=described, provenance=provenance)
    return posterior
