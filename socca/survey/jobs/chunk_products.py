"""Model images and figures of the fits of a chunk."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import PosteriorError, SoccaError
from socca.posterior.container import read_headers
from socca.posterior.header import ResultHeader
from socca.posterior.storage import ResultLocation
from socca.survey.flags import flags_of
from socca.survey.targets import is_name
from socca.utils.files import atomic_path, read_json
from socca.utils.machine import raise_if_machine

if TYPE_CHECKING:
    from socca.plotting.image_record import ModelImages
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


def draw_chunk(survey: Survey, chunk: Chunk) -> int:
    """Draw what the config asks for, as far as it is not there already.

    A file beside the chunk's says what was drawn, of which fits and in which style; what an earlier one has and is not
    wanted any more is deleted.

    Parameters
    ----------
    survey : Survey
        Config and targets, of which only those of the chunk need be there.
    chunk : Chunk
        Which chunk.

    Returns
    -------
    int
        Number of fits for which something is kept. One that cannot be drawn is a warning in the log.

    Raises
    ------
    PosteriorError
        If the chunk's file cannot be read.
    MachineError
        If the machine does not let a file be read or written.
    """
    headers = read_headers(chunk.path(survey.config.folder))
    if not headers:
        raise PosteriorError(f"{chunk.path(survey.config.folder)}: is not there")
    manifest = chunk.path(survey.config.folder).with_suffix(".drawn.json")
    before = _earlier(manifest)
    style = survey.config.plots.model_dump()
    kept: dict[str, dict[str, Any]] = {}
    for target, header in headers.items():
        wanted = _wanted(survey, header)
        if wanted["images"] and target in survey.targets:
            finished = header.record.provenance.finished
            old = before["fits"].get(target, {})
            try:
                images = None
                if old.get("finished") != finished or not survey.path(target, chunk.model, "model.fits").exists():
                    place = ResultLocation(chunk.path(survey.config.folder), target)
                    images, old = draw_images(survey, target, chunk.model, place), {}
                drawn = old.get("figure") and style == before["style"]
                drawn = drawn and survey.figure(target, chunk.model).exists()
                if wanted["figure"] and not drawn:
                    draw_figure(survey, target, chunk.model, images)
            except (SoccaError, OSError, ValueError) as error:
                raise_if_machine(error)
                log.warning("%s %s: cannot be drawn: %s", target, chunk.model, error)
                continue
            kept[target] = {"finished": finished, "figure": wanted["figure"]}
    for target, old in before["fits"].items():
        figure = survey.figure(target, chunk.model).with_suffix(f".{before['style'].get('format', '')}")
        if old.get("figure") and (not kept.get(target, {}).get("figure") or figure.suffix[1:] != style["format"]):
            figure.unlink(missing_ok=True)
        if target not in kept:
            survey.path(target, chunk.model, "model.fits").unlink(missing_ok=True)
    with atomic_path(manifest) as temporary:
        temporary.write_text(json.dumps({"style": style, "fits": kept}, indent=1), encoding="utf-8")
    return len(kept)


def _wanted(survey: Survey, header: ResultHeader) -> dict[str, bool]:
    outputs, done = survey.config.outputs, header.status == "done"
    flagged = done and bool(flags_of(header.record, survey.config.flags))
    levels = {"all": done, "flagged": flagged, "none": False}
    return {"images": levels[outputs.model_images], "figure": levels[outputs.figures]}


def _earlier(manifest: Path) -> dict[str, Any]:
    """Return what the file says that lists what was drawn; nothing where it is not there, or damaged.

    Files are deleted by it, so that only what this package would write is believed: formats of figures, and names of
    targets, which are no paths.
    """
    try:
        found = read_json(manifest)
        # Up to 0.2.0, the style was called looks.
        style, fits = found.get("style", found.get("looks", {})), found.get("fits", {})
        if not re.fullmatch(r"\w*", style.get("format", "")):
            raise ValueError("its format is none")
        known = {target: old for target, old in fits.items() if is_name(target) and isinstance(old, dict)}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        if manifest.exists():
            log.warning("%s is damaged, and is made anew: %s", manifest, error)
        return {"style": {}, "fits": {}}
    return {"style": style, "fits": known}


def draw_images(survey: Survey, target: str, model: str, place: ResultLocation) -> ModelImages:
    """Draw the model images of one fit, whose posterior is in some place, write them to their file, and return them."""
    from socca.plotting.model_images import draw_model_images, image_header
    from socca.posterior.posterior import Posterior
    from socca.survey.config.build_image import build_image
    from socca.survey.config.build_model import build_problem

    row, config = survey.target(target), survey.config.for_target(target)
    image = build_image(row, config)
    problem, labelled = build_problem(model, row, config, image)
    posterior = Posterior.load(*place)
    images = draw_model_images(problem, image, labelled, posterior.best, image_header(posterior))
    images.write(survey.path(target, model, "model.fits"))
    return images


def draw_figure(survey: Survey, target: str, model: str, images: ModelImages | None = None) -> None:
    """Draw the comparison figure of one fit, in the style of the config.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    images : ModelImages, optional
        Its model images, where they are at hand; by default they are read from their file.

    Raises
    ------
    DataError
        If that file cannot be read.
    """
    from socca.plotting.comparison import comparison_figure
    from socca.plotting.image_record import read_model_images

    style = survey.config.plots.model_dump(exclude={"format"})
    shown = read_model_images(survey.path(target, model, "model.fits")) if images is None else images
    comparison_figure(shown, survey.figure(target, model), **style)
