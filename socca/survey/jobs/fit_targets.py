"""Fits of a survey's targets, one after another in one process. A failure affects its own target only."""

from __future__ import annotations

import enum
import functools
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from socca.errors import CheckpointError, MachineError, PoolError, TooLargeError, one_line
from socca.pool import chosen_kind
from socca.posterior.record import Failure, FitRecord, InputFile, Provenance, Timing
from socca.posterior.storage import save_failure
from socca.survey.freshness.input_files import described
from socca.survey.freshness.recorded_settings import keep_settings
from socca.survey.outputs import Outputs, own_outputs
from socca.utils.launcher import launched
from socca.utils.machine import machine_fault, raise_if_machine
from socca.utils.timestamps import utc_now
from socca.utils.xla import meter

if TYPE_CHECKING:
    from socca.posterior.posterior import Posterior
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


class FitStatus(enum.StrEnum):
    """How a fit ended."""

    #: There is a posterior.
    DONE = "done"
    #: Its data or config cannot be used.
    FAILED = "failed"
    #: It was ended because it took longer than ``batch.max_minutes``.
    TIMEOUT = "timeout"
    #: It was ended because it took more than ``batch.max_memory_mb``.
    MEMORY_LIMIT = "memory_limit"
    #: Its process died.
    WORKER_DIED = "worker_died"
    #: The disk, the memory or a limit of the machine stopped it; nothing is recorded.
    MACHINE_FAULT = "machine_fault"


@dataclass(frozen=True)
class Outcome:
    """How one fit went.

    Parameters
    ----------
    target, model : str
        Which fit.
    status : FitStatus
        How it ended.
    message : str
        One line: the result, or what went wrong.
    seconds : float
        Wall time.
    """

    target: str
    model: str
    status: FitStatus
    message: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.target} {self.model}: {self.status} in {self.seconds:.1f} s: {self.message}"


def is_shared(survey: Survey) -> bool:
    """Tell whether ranks of MPI share each fit."""
    return launched() is not None and chosen_kind(survey.config.pool.kind, survey.config.pool.cores) == "mpi"


def is_first(survey: Survey) -> bool:
    """Tell whether this process writes results: of ranks of MPI that share the fits, only the first one does."""
    launch = launched()
    return launch is None or launch.rank == 0 or not is_shared(survey)


def fit_all(
    survey: Survey, fits: Iterable[tuple[str, str]], outputs: Callable[[Survey, str, str], Outputs] = own_outputs
) -> Iterable[Outcome]:
    """Fit targets in turn; those of one shape and model share what is compiled.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    fits : iterable of (str, str)
        Targets and models.
    outputs : callable
        Where each fit writes.

    Yields
    ------
    Outcome
        After each fit. A fit that fails is recorded in its own output, with the traceback in the log; one that the
        machine stopped is not recorded, and `require_machine` raises an error for it.

    Raises
    ------
    PoolError
        If workers of the fit die.
    MachineError
        If the machine stops a fit that ranks of MPI share: they can only end together.
    """
    for target, model in fits:
        start = time.perf_counter()
        try:
            status, message = _fit_or_record(survey, target, model, outputs(survey, target, model))
        except PoolError:
            raise  # not the target's fault either: whoever runs this process may try again
        except Exception as error:
            message = machine_fault(error)
            if not message:
                raise
            log.exception("%s %s: the machine stopped the fit, of which nothing is recorded", target, model)
            if is_shared(survey):
                raise MachineError(f"{target} {model}: {message}") from error
            status = FitStatus.MACHINE_FAULT
        seconds = time.perf_counter() - start
        if status is FitStatus.DONE:
            log.info("%s %s: done in %.1f s: %s", target, model, seconds, message)
        yield Outcome(target, model, status, message, seconds)


def _fit_or_record(survey: Survey, target: str, model: str, place: Outputs) -> tuple[FitStatus, str]:
    """Fit one target, or record why that cannot be done. What the machine is to blame for is raised."""
    start, writes, files = time.perf_counter(), is_first(survey), dict[str, InputFile]()
    try:
        files = described(survey.files(target))
        return FitStatus.DONE, fit_one(survey, target, model, place, files, writes)
    except PoolError:
        raise
    except Exception as error:  # whatever is wrong with one target must not cost the others
        if machine_fault(error):
            raise
        message = one_line(error)
        log.exception("%s %s failed", target, model)
        if writes:
            seconds, capped = time.perf_counter() - start, dict[str, float]()
            if isinstance(error, TooLargeError):
                capped["max_pixels"] = survey.config.for_target(target).image.max_pixels
            record_failure(survey, target, model, place, files, message, seconds, capped=capped)
        return FitStatus.FAILED, message


def require_machine(outcomes: Iterable[Outcome]) -> None:
    """Raise a `MachineError` for the fits among some that the machine stopped."""
    stopped = [outcome for outcome in outcomes if outcome.status is FitStatus.MACHINE_FAULT]
    if stopped:
        names = ", ".join(outcome.target for outcome in stopped[:5]) + ("..." if len(stopped) > 5 else "")
        raise MachineError(
            f"{names}: {stopped[0].message}. {len(stopped)} fit(s) stopped by the machine, and not recorded as failed; "
            "all other results are kept. Put the machine right (disk space, access, memory), and run the same again"
        )


def fit_one(
    survey: Survey, target: str, model: str, outputs: Outputs, files: Mapping[str, InputFile], writes: bool = True
) -> str:
    """Fit one target with one model, and write its posterior and model images.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    outputs : Outputs
        Where it writes.
    files : mapping of InputFile
        What it reads, as described before it did.
    writes : bool
        Whether this process writes files; of the ranks of MPI that share a fit, only one should.

    Returns
    -------
    str
        One line about the result.

    Raises
    ------
    SoccaError
        If the target's data or config cannot be used.
    """
    # Imported here, so that `socca --help` and Snakemake's start do without JAX.
    from socca.fitting.plausibility import find_doubts
    from socca.fitting.plausibility.doubts import refuse_nonsense
    from socca.fitting.plausibility.parts import parts_of_model
    from socca.fitting.run import run_fit
    from socca.plotting.model_images import image_header, write_model_images
    from socca.survey.config.build_image import build_image
    from socca.survey.config.build_model import build_problem, derived_expressions
    from socca.survey.flags import flags_of

    start, compiled = time.perf_counter(), meter().reading()
    row, config = survey.target(target), survey.config.for_target(target)
    log.info("%s %s: reading %s", target, model, row.files["image"])
    image = build_image(row, config)
    problem, labelled = build_problem(model, row, config, image)
    doubts = find_doubts(image, parts_of_model(labelled, image.noise), problem.arrays["noise"])
    refuse_nonsense(doubts, row.files["image"])
    loading = time.perf_counter() - start
    log.info(
        "%s %s: %d x %d pixels, %d free parameters, %s",
        target, model, *image.shape, problem.ndim, config.sampler.method,
    )  # fmt: skip
    run = functools.partial(
        run_fit,
        problem,
        image,
        config.sampler.method,
        seed=survey.seed(target, model),
        ncores=config.pool.cores,
        pool_kind=config.pool.kind,
        marginalize=config.sampler.marginalize,
        checkpoint=outputs.checkpoint if config.sampler.checkpoint else None,
        complete=writes,
        doubts=doubts,
        quantities=config.derived.quantities,
        expressions=derived_expressions(config),
        **config.sampler.run_options,
    )
    try:
        posterior, _ = run()
    except CheckpointError as error:
        raise_if_machine(error)
        # The file is the workflow's own, left by a run of another config or version, or by a full disk.
        log.warning("%s %s: starting afresh: %s", target, model, error)
        posterior, _ = run(resume=False)
    if not writes:
        return _evidence(posterior)
    provenance = replace(
        posterior.record.provenance, params=survey.fit_params(target, model), derived=survey.derived_settings(target)
    )
    posterior.record = replace(posterior.record, target=target, model=model, files=dict(files), provenance=provenance)
    if outputs.images is not None:
        write_model_images(outputs.images, problem, image, labelled, posterior.best, image_header(posterior))
    now = meter().reading()
    timing = replace(
        posterior.record.timing,
        loading=round(loading, 3),
        compilation=round(now[1] - compiled[1], 3),
        programs_compiled=now[0] - compiled[0],
        total=round(time.perf_counter() - start, 3),
    )
    posterior.record = replace(posterior.record, timing=timing)
    _keep_settings(survey, target, model)
    posterior.save(outputs.posterior)
    outputs.checkpoint.unlink(missing_ok=True)
    flagged = "".join(f", {flag}" for flag in flags_of(posterior.record, survey.config.flags))
    chi2 = posterior.record.quality.chi2_source
    return f"{_evidence(posterior)}, chi2 of the source {'none' if chi2 is None else f'{chi2:.2f}'}{flagged}"


def _evidence(posterior: Posterior) -> str:
    error = "" if math.isnan(posterior.logz_err) else f" +- {posterior.logz_err:.2f}"
    return "no evidence" if math.isnan(posterior.logz) else f"ln Z = {posterior.logz:.2f}{error}"


def record_failure(
    survey: Survey,
    target: str,
    model: str,
    outputs: Outputs,
    files: Mapping[str, InputFile],
    message: str,
    seconds: float,
    *,
    capped: Mapping[str, float] | None = None,
    died: bool = False,
    unreadable: bool = False,
) -> None:
    """Write, where a fit's results would be, why there are none.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    outputs : Outputs
        Where it writes.
    files : mapping of InputFile
        What it read, as described before it did: a file that has changed meanwhile is a reason to fit again.
    message : str
        What went wrong.
    seconds : float
        Wall time until then.
    capped : mapping of float, optional
        The limit that it exceeded, by its key in the config.
    died : bool
        Whether its process died.
    unreadable : bool
        Whether one of its files could not be read.
    """
    message = one_line(message)
    record = FitRecord(
        target=target,
        model=model,
        provenance=Provenance(params=survey.fit_params(target, model), finished=utc_now()),
        timing=Timing(total=round(seconds, 3)),
        files=dict(files),
        failure=Failure(message, capped=dict(capped or {}), died=died, unreadable=unreadable),
    )
    _keep_settings(survey, target, model)
    if outputs.images is not None:
        say_failed(outputs.images, record)
    save_failure(outputs.posterior, record)


def say_failed(images: Path, record: FitRecord) -> None:
    """Write, where a fit's model images would be, that it failed."""
    from socca.plotting.model_images import write_failed_images

    message = "" if record.failure is None else record.failure.message
    header = {"STATUS": "failed", "MESSAGE": message, "TARGET": record.target, "MODELNAM": record.model}
    write_failed_images(images, header)


def _keep_settings(survey: Survey, target: str, model: str) -> None:
    digest = str(survey.fit_params(target, model)["settings"])
    keep_settings(survey.config.folder, digest, survey.config.fit_settings(target, model))
