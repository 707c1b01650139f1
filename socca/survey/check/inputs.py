"""Check of a survey: all that is wrong with its inputs, or may be, before anything runs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING

from socca.errors import ConfigError, SoccaError, one_line
from socca.survey.check.findings import Finding, Severity, file_of, listening

if TYPE_CHECKING:
    from socca.data.fits import Plane
    from socca.data.image import Image
    from socca.data.region_files import RegionFile
    from socca.fitting.plausibility.doubts import Doubt
    from socca.models.model import Model
    from socca.samplers.base import Sampler
    from socca.survey.config.schema import Config
    from socca.survey.survey import Survey
    from socca.survey.targets import Target

__all__ = ["Finding", "Severity", "check_survey", "check_targets", "foreign_parts", "survey_findings"]


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
    """Read every input of every target, build every model, and tell what would fail or be flagged.

    Nothing is compiled or fitted; a small target takes two or three milliseconds. A file that several targets share is
    read once, and of models with the same structure one is compiled.

    Parameters
    ----------
    survey : Survey
        Config and targets.

    Yields
    ------
    Finding
        Problems: missing and unreadable files, all of a target at once; shapes that do not fit; masks that leave
        nothing; values, priors and ties that cannot be used; intensities that cannot be integrated out; unknown
        options of the sampler; inputs of which a fit can only be nonsense. Doubts: what is implausible
        (`socca.fitting.plausibility`). Warnings: what the fit's log would say.
    """
    found, complete = survey_findings(survey)
    yield from found
    if complete:
        yield from check_targets(survey)


def survey_findings(survey: Survey) -> tuple[list[Finding], bool]:
    """Return what is wrong with a survey whatever its targets are, and whether these can be checked."""
    from matplotlib import colormaps

    found = []
    _, error = _sampler_of(survey.config)
    if error is not None:
        found.append(Finding("", f"sampler: {error}"))
    if survey.config.outputs.figures != "none" and survey.config.plots.colormap not in colormaps:
        found.append(Finding("", f"plots.colormap: matplotlib has no {survey.config.plots.colormap!r}"))
    if survey.config.simulate is not None and not survey.config.table.is_file():
        return [*found, Finding("", "its images are not made yet: run socca simulate")], False
    return found, True


def check_targets(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with the targets of a survey, as `check_survey` does."""
    check = _Check(survey)
    for name in survey.targets:
        yield from dict.fromkeys(check.target(name))


class _Check:
    """What the check of one target leaves for those after it.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    """

    def __init__(self, survey: Survey) -> None:
        from socca.survey.check.model_cache import ModelCache
        from socca.survey.check.shared_files import SharedFiles

        self._survey = survey
        self._files, self._models = SharedFiles(survey), ModelCache()
        self._compiled: set[Hashable] = set()
        self._sampler, _ = _sampler_of(survey.config)

    def target(self, name: str) -> Iterator[Finding]:
        """Yield what is wrong with one target."""
        target = self._survey.target(name)
        try:
            config = self._survey.config.for_target(name)
        except ConfigError as error:
            yield Finding(name, one_line(error))
            return
        files: dict[str, Plane | RegionFile] = {}
        unreadable = False
        for kind, path in target.files.items():
            read = self._files.read(kind, target, config, files.get("image"))
            if read.error is not None:
                unreadable = True
                yield Finding(name, one_line(read.error), file=str(path))
            elif read.content is not None:
                files[kind] = read.content
            for message in read.warnings:
                yield Finding(name, message, Severity.WARNING, str(path))
        if unreadable:
            return
        with listening() as heard:
            found = list(self._fits(target, config, files))
        yield from found
        for message in heard:
            yield Finding(name, message, Severity.WARNING, file_of(message, target.files))

    def _fits(self, target: Target, config: Config, files: Mapping[str, Plane | RegionFile]) -> Iterator[Finding]:
        """Yield what is wrong with the fits of a target whose files were read."""
        from socca.fitting.plausibility import image_doubts, model_doubts
        from socca.fitting.plausibility.parts import parts_of_model
        from socca.survey.config.build_image import build_image

        sampler = self._sampler
        if config.sampler != self._survey.config.sampler:
            sampler, error = _sampler_of(config)
            if error is not None:
                yield Finding(target.name, f"sampler: {error}")
        try:
            image = build_image(target, config, files)
            noise = image.noise.prepare(image)
        except Exception as problem:
            yield _problem(problem, target, config)
            return
        for doubt in image_doubts(image):
            yield _doubtful(doubt, target)
        for model in self._survey.models_of(target):
            try:
                built = self._model(model, target, config, image, sampler)
                for doubt in model_doubts(image, parts_of_model(built, image.noise), noise):
                    yield _doubtful(doubt, target)
            except Exception as problem:
                yield _problem(problem, target, config)

    def _model(self, name: str, target: Target, config: Config, image: Image, sampler: Sampler | None) -> Model:
        """Build a model for a target, and compile it if none like it was; raises for all that is wrong with it."""
        from socca.likelihood.grid import grid_arrays, grid_shape
        from socca.likelihood.marginal import Marginal
        from socca.likelihood.parameter_vector import check_parts
        from socca.survey.check.model_cache import structure
        from socca.survey.config.build_model import build_problem

        (model, of_model), noise = self._models.build(name, target, config, image), image.noise
        noise.check_components(model.components)
        noise.id = "noise"
        check_parts([*model.components, noise])
        key = (name, of_model, structure([noise]), config.sampler.model_dump_json(), image.frame.on_sky)
        if key not in self._compiled:
            problem, _ = build_problem(name, target, config, image)
            explored = Marginal(problem) if config.sampler.marginalize else problem
            if sampler is not None:
                sampler.validate(explored.ndim, config.pool.cores)
            self._compiled.add(key)
        elif image.frame.on_sky:
            # All else that depends on the target alone was seen when the image was built.
            psf = None if image.psf is None else (image.psf.shape[0], image.psf.shape[1])
            padded = config.compilation.shape_buckets and noise.padded
            shape = image.shape, psf, image.psf_oversample, image.subgrid, padded, image.psf_includes_pixel
            grid_arrays(image.frame, grid_shape(*shape), image.shape)
        return model


def _sampler_of(config: Config) -> tuple[Sampler | None, SoccaError | None]:
    from socca.samplers import get_sampler

    try:
        return get_sampler(config.sampler.method)(**config.sampler.options), None
    except SoccaError as error:
        return None, error


def _problem(error: Exception, target: Target, config: Config) -> Finding:
    message = one_line(error)
    file = str(config.table) if isinstance(error, ConfigError) else file_of(message, target.files)
    return Finding(target.name, message, file=file)


def _doubtful(doubt: Doubt, target: Target) -> Finding:
    file = str(target.files.get(doubt.about, target.files["image"]))
    severity = Severity.PROBLEM if doubt.nonsense else Severity.DOUBT
    return Finding(target.name, doubt.message, severity, file, doubt.flag)
