"""Check of a survey: all that is wrong with its inputs, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from socca.errors import SoccaError

if TYPE_CHECKING:
    from socca.survey.survey import Survey


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Parameters
    ----------
    target : str
        Where; empty if it concerns the whole survey.
    message : str
        What, and what to do.
    """

    target: str
    message: str


def foreign_parts(survey: Survey) -> Iterator[str]:
    """Yield a line for each component, prior, noise model and sampler of a survey that is of a plug-in.

    Parameters
    ----------
    survey : Survey
        Config and targets.

    Yields
    ------
    str
        Where it is in the config, and the distribution, version and entry point that it is from.
    """
    from socca.survey.config.plugins import plugins_by_place

    found = plugins_by_place(survey.config.model_dump(mode="json", exclude_unset=True))
    for place, plugins in found.items():
        for plugin in plugins:
            yield f"{place}: {plugin.kind} {plugin.name} is from {plugin}"


def check_survey(survey: Survey) -> Iterator[Finding]:
    """Read every input of every target, build every model, and tell what would fail.

    Nothing is compiled or fitted; a target takes some milliseconds.

    Parameters
    ----------
    survey : Survey
        Config and targets.

    Yields
    ------
    Finding
        One per mistake: missing and unreadable files, all of a target at once; shapes that do not fit; masks that leave
        nothing; values, priors and ties that cannot be used; intensities that cannot be integrated out; unknown
        options of the sampler.
    """
    from matplotlib import colormaps

    from socca.samplers import get_sampler

    try:
        get_sampler(survey.config.sampler.method)(**survey.config.sampler.options)
    except SoccaError as error:
        yield Finding("", f"sampler: {error}")
    if survey.config.outputs.figures != "none" and survey.config.plots.colormap not in colormaps:
        yield Finding("", f"plots.colormap: matplotlib has no {survey.config.plots.colormap!r}")
    if survey.config.simulate is not None and not survey.config.table.is_file():
        yield Finding("", "its images are not made yet: run socca simulate")
        return
    for name in survey.targets:
        yield from _check_target(survey, name)


def _check_target(survey: Survey, name: str) -> Iterator[Finding]:
    from socca.data.region_files import RegionFile
    from socca.likelihood.marginal import Marginal
    from socca.samplers import get_sampler
    from socca.survey.config.build import build_image, build_problem, read_file

    target, config = survey.target(name), survey.config.for_target(name)
    files: dict[str, Any] = {}
    unreadable = []
    for kind in target.files:
        try:
            files[kind] = read_file(kind, target, config, files.get("image"))
            if isinstance(found := files[kind], RegionFile):
                found.regions(physical=True)
        except Exception as error:  # one bad file must not hide what is wrong with the others
            unreadable.append(Finding(name, _one_line(error)))
    if unreadable:
        yield from unreadable
        return
    sampler = None
    try:
        sampler = get_sampler(config.sampler.method)(**config.sampler.options)
    except SoccaError as error:
        if config.sampler != survey.config.sampler:
            yield Finding(name, f"sampler: {error}")
    try:
        image = build_image(target, config, files)
        image.noise.prepare(image)
    except Exception as error:
        yield Finding(name, _one_line(error))
        return
    for model in survey.models_of(target):
        try:
            problem, _ = build_problem(model, target, config, image)
            explored = Marginal(problem) if config.sampler.marginalize else problem
            if sampler is not None:
                sampler.validate(explored.ndim, config.pool.cores)
        except Exception as error:
            yield Finding(name, _one_line(error))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, SoccaError) else f"{type(error).__name__}: {text}"
