"""Command line: each step of the workflow as a command."""

from __future__ import annotations

import enum
import functools
import logging
import os
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import socca
from socca.utils.launcher import leave
from socca.utils.logs import start_logging

if TYPE_CHECKING:
    from socca.survey.survey import Survey

app = typer.Typer(
    name="socca",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Posteriors and evidences of surface-brightness models, for one image or thousands.\n\n"
    "A survey is a config (YAML) and a table of targets. `snakemake` runs the steps below for all of it; each can be "
    "run by hand. Start with `socca check`.",
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Config of the survey (YAML).")]
TargetsOption = Annotated[
    Path | None, typer.Option("--targets", "-t", help="Table of targets, instead of the config's.")
]
LogOption = Annotated[Path | None, typer.Option("--log", help="Write the whole log to this file.")]


class PoolKind(enum.StrEnum):
    """Kinds of pools, as `socca.pool.KINDS`."""

    AUTO = "auto"
    SERIAL = "serial"
    LOKY = "loky"
    MPI = "mpi"


def main() -> None:
    """Run the command line; errors of our own end it, and all ranks of MPI, with their message and exit status 2.

    So do those of the machine, such as a full disk.
    """
    from socca.errors import SoccaError
    from socca.utils.machine import machine_fault

    try:
        app()
    except Exception as error:
        if _logs_to_file():
            logging.getLogger("socca").exception("stopped")
        fault = machine_fault(error)
        if not isinstance(error, SoccaError) and not fault:
            raise
        typer.echo(f"socca: {error if isinstance(error, SoccaError) else fault}", err=True)
        leave(2)


def _logs_to_file() -> bool:
    return any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"socca {socca.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


def _load(config: Path, targets: Path | None, only: Container[str] | None = None) -> Survey:
    from socca.survey.freshness.owner import check_owner
    from socca.survey.survey import Survey

    survey = Survey.load(config, targets, only)
    check_owner(survey.config, config)
    return survey


@app.command()
def check(
    config: ConfigOption,
    targets: TargetsOption = None,
    every: Annotated[
        bool, typer.Option("--every", help="Say every finding in full, also where many targets have the same.")
    ] = False,
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="Processes. Default: one, or for thousands of targets one per core, up to four."),
    ] = None,
) -> None:
    """Find everything that is wrong with a survey, or may be, before anything runs.

    Reads the config, the table and every file of every target. Finds problems (the fit would fail), doubts (it would
    be flagged) and warnings. Exit status 1 if there is a problem or a doubt. Says first which components, priors, noise
    models and samplers are not socca's own, and where they are from.
    """
    from socca.survey.check.findings import Report
    from socca.survey.check.inputs import foreign_parts
    from socca.survey.check.parallel import check_with_processes

    survey = _load(config, targets)
    for line in foreign_parts(survey):
        typer.echo(line)
    report = Report(every)
    for line in report.lines(check_with_processes(survey, config, targets, cores)):
        typer.echo(line)
    typer.echo(report.summary(len(survey.targets), len(survey.jobs())))
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def simulate(config: ConfigOption, log: LogOption = None) -> None:
    """Make the images of a simulated survey, with their truth.

    What is made is said by the section `simulate` of the config.
    """
    from socca.errors import ConfigError
    from socca.simulation.simulate import simulate as make
    from socca.survey.freshness.owner import claim

    start_logging(log)
    survey = _load(config, None)
    settings = survey.config.simulate
    if settings is None:
        raise ConfigError(f"{config}: has no section simulate")
    claim(survey.config, config)
    make(settings.number, survey.config.table.parent, settings.seed)
    typer.echo(f"{settings.number} galaxies in {survey.config.table.parent}")


@app.command()
def fit(
    config: ConfigOption,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="A target; may be repeated. Default: all.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="A model; may be repeated. Default: all.")] = None,
    chunk: Annotated[
        str | None, typer.Option(help="Of a survey in chunks, the one of this name, such as 007of128.")
    ] = None,
    targets: TargetsOption = None,
    pool: Annotated[
        PoolKind | None,
        typer.Option(help="Workers of one fit, instead of the config's: one process, several, or the ranks of mpirun."),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="Cores of one fit. Default: SLURM_CPUS_PER_TASK, where it is set, or the config's."),
    ] = None,
    last_try: Annotated[
        bool,
        typer.Option(
            "--last-try/--not-last-try",
            help="Whether a fit whose process dies (of memory, most often), or one of whose files cannot be read, has "
            "failed; or else the whole job has, to be tried again with more.",
        ),
    ] = True,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed",
            help="Try the fits again that are recorded as failed: these alone, or, in a survey in chunks or with "
            "--stamp, with all else that is not up to date.",
        ),
    ] = False,
    stamp: Annotated[
        Path | None,
        typer.Option(
            help="Write this file once the chunk, or the one fit, is up to date. What is so already is left alone."
        ),
    ] = None,
    log: LogOption = None,
) -> None:
    """Fit what is not up to date, one target after another, and write posteriors and model images.

    A target that --target names is fitted in any case. A fit that fails is recorded in its output, and the exit status
    is still 0: a failure affects its own target only. What the machine stops (a full disk, a file that may not be
    read, too little memory) is not recorded; the exit status is then 2, and the next run tries it again.

    Under mpirun or srun, all processes share each fit, and the first one writes. In a survey in chunks, as many targets
    as there are cores are fitted at once; if --target names some, nothing else of their chunks is fitted.
    """
    # Before JAX loads: a fit uses the cores that it was given, through its pool, and no more.
    from socca.utils.xla import single_thread_environment

    os.environ.update(single_thread_environment())
    from socca.errors import ConfigError
    from socca.survey.chunks import Members
    from socca.survey.freshness.owner import claim
    from socca.survey.freshness.stamps import write_chunk_stamp
    from socca.survey.jobs.chosen import chosen_fits, failed_fits, one_chunk, start_fit_log
    from socca.survey.jobs.fit_command import fit_chunks, fit_separately
    from socca.survey.jobs.fit_targets import is_first

    one = one_chunk(model, chunk)
    survey = _load(config, targets, None if one is None else Members(one)).with_pool(pool, cores)
    first = is_first(survey)
    if one is not None and not survey.chunked:
        raise ConfigError(f"{config}: is no survey in chunks: batch.chunk is 1")
    chosen = chosen_fits(survey, target, model)
    if stamp is not None and one is None and len(chosen) > 1:
        raise ConfigError("--stamp is of one fit or chunk: name its --target and --model, or its --chunk")
    if first:
        claim(survey.config, config)
    start_fit_log(log if first else None, survey, chosen, one)
    if survey.chunked:
        chunks = survey.chunks_of(chosen) if one is None else [one]
        outcomes = fit_chunks(
            survey, config, targets, chunks, again=target or (), failed=failed, last_try=last_try, log=log
        )
    else:
        if failed and stamp is None:
            chosen = failed_fits(survey, chosen)
        again = target or () if stamp is None else ()
        outcomes = fit_separately(
            survey, config, targets, chosen, again=again, failed=failed, last_try=last_try, stamp=stamp, log=log
        )
    for outcome in outcomes:
        if first:
            typer.echo(str(outcome), err=True)
    if stamp is not None and one is not None and first:
        write_chunk_stamp(stamp, one)


@app.command()
def catalog(
    config: ConfigOption,
    targets: TargetsOption = None,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Write catalog_so_far.fits and so on instead, while the survey runs.")
    ] = False,
    log: LogOption = None,
) -> None:
    """Gather the fits into one catalogue, and the audits of the adaptive method into audit.ecsv.

    The catalogue has one row for each target and model, and catalog_targets one for each target, of its best model.
    Takes what is there at any time: missing and failed fits are rows that say so.
    """
    from socca.survey.audit_table import audit_line, audit_table, write_audit
    from socca.survey.catalog import best_of, catalog_of, gather
    from socca.survey.catalog_files import write_catalog
    from socca.survey.catalog_meta import carried_columns, flag_outdated, table_meta

    start_logging(log)
    survey = _load(config, targets)
    fits, rows = gather(survey.results(), survey.config.flags, survey.stale)
    outdated = flag_outdated(survey, fits, rows)
    wanted = survey.config.catalog
    table = catalog_of(fits, rows, wanted, carried_columns(survey, fits))
    table.meta.update(table_meta(survey))
    ending = "_so_far" if so_far else ""
    path, *_ = write_catalog(table, survey.config.folder / f"catalog{ending}", wanted.formats)
    write_catalog(best_of(table), survey.config.folder / f"catalog_targets{ending}", wanted.formats)
    if survey.config.audited:
        audit = audit_table(fits, rows)
        write_audit(audit, path.with_name(f"audit{ending}.ecsv"))
        typer.echo(audit_line(audit))
    if outdated:
        typer.echo(f"{outdated} fit(s) have other derived quantities than the config asks for: run socca derive")
    done = sum(str(status) == "done" for status in table["status"])
    typer.echo(f"{path}: {len(table)} fit(s), {done} done, {len(table) - done} failed, missing or out of date")


@app.command()
def derive(
    config: ConfigOption,
    target: Annotated[list[str] | None, typer.Option(help="Of these targets; by default of all.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Of these models; by default of all.")] = None,
    targets: TargetsOption = None,
    log: LogOption = None,
) -> None:
    """Derive fluxes, magnitudes and radii of finished fits anew, from their samples, as the config says now.

    Nothing is fitted. Do so after a change of image.zero_point or derived.quantities, and make the catalogue anew.
    """
    from socca.survey.jobs.chosen import chosen_fits
    from socca.survey.jobs.derive import derive as derive_fits
    from socca.utils.xla import single_thread_environment, use_persistent_cache

    os.environ.update(single_thread_environment())
    start_logging(log)
    survey = _load(config, targets)
    use_persistent_cache()
    chosen = chosen_fits(survey, target or [], model or [])
    number = sum(1 for _ in derive_fits(survey, chosen))
    typer.echo(f"{number} of {len(chosen)} fit(s) have their quantities anew; now run: socca catalog --config {config}")


@app.command()
def flags(bits: Annotated[int | None, typer.Argument(min=0, help="Integer of a catalogue.")] = None) -> None:
    """List the quality flags, or those that an integer of the catalogue stands for."""
    from socca.survey.flags import FLAGS, names_of

    for name in FLAGS if bits is None else names_of(bits):
        flag = FLAGS[name]
        typer.echo(f"{flag.bit:>3}  {name:<20} {flag.severity:<8} {flag.description}")


@app.command()
def status(config: ConfigOption, targets: TargetsOption = None) -> None:
    """Tell how far a survey is, running or not, from its files alone.

    A result whose image, row or config has changed since is stale. If Snakemake was killed, says so, and which fits
    still run.
    """
    from socca.survey.freshness.stamps import is_fit_stamped
    from socca.survey.jobs.heartbeat import leftovers
    from socca.survey.status import summary_line, survey_status

    survey = _load(config, targets)
    settled = functools.partial(is_fit_stamped, survey)
    found = survey_status(survey.results(), survey.config.folder, survey.stale, settled)
    for target, model, message in found.failures:
        typer.echo(f"{target} {model}: failed: {message}")
    if found.failures:
        typer.echo(f"Their logs are in {survey.config.folder / 'logs' / 'fit'}.")
    for line in leftovers(survey.config.folder, Path()):
        typer.echo(line)
    typer.echo(summary_line(survey.config.survey, found.counts, found.rate))


@app.command()
def plot(config: ConfigOption, target: str, model: str, targets: TargetsOption = None, log: LogOption = None) -> None:
    """Draw the comparison figure of one fit: data, model, residual."""
    from socca.survey.jobs.chunk_products import draw_figure

    start_logging(log)
    survey = _load(config, targets)
    survey.target(target)
    draw_figure(survey, target, model)


@app.command()
def draw(
    config: ConfigOption,
    model: Annotated[str, typer.Option(help="The model.")],
    chunk: Annotated[str, typer.Option(help="The chunk of its fits, such as 007of128.")],
    targets: TargetsOption = None,
    log: LogOption = None,
) -> None:
    """Write model images and figures of a chunk of fits, of all or of the flagged ones, as the config asks."""
    from socca.survey.chunks import Chunk, Members
    from socca.survey.jobs.chunk_products import draw_chunk
    from socca.utils.xla import single_thread_environment, use_persistent_cache

    os.environ.update(single_thread_environment())
    start_logging(log)
    one = Chunk.named(model, chunk)
    survey = _load(config, targets, Members(one))
    use_persistent_cache()
    typer.echo(f"{model} {chunk}: {draw_chunk(survey, one)} fit(s) drawn", err=True)


@app.command()
def extract(config: ConfigOption, target: str, model: str, output: Path, targets: TargetsOption = None) -> None:
    """Copy one posterior out of the file of its chunk, into a file of its own."""
    from socca.errors import PosteriorError
    from socca.posterior.posterior import Posterior
    from socca.posterior.storage import ResultLocation
    from socca.survey.jobs.chosen import chosen_fits
    from socca.survey.jobs.chunk_job import ChunkJob

    survey = _load(config, targets)
    survey.target(target)
    chosen_fits(survey, [target], [model])  # which says what is wrong
    place: ResultLocation | None = ResultLocation(survey.path(target, model, "posterior.h5"))
    if survey.chunked:
        (chunk,) = survey.chunks_of([(target, model)])
        place = ChunkJob(survey, chunk).place(target)
    if place is None:
        raise PosteriorError(f"{target} {model}: is not fitted yet")
    Posterior.load(*place).save(output)


@app.command()
def recovery(config: ConfigOption, log: LogOption = None) -> None:
    """Compare the posteriors of a simulated survey with the truth: pulls and coverage."""
    from astropy.table import Table

    from socca.errors import ConfigError
    from socca.simulation.recovery import format_summary, recovery_figure, recovery_summary, recovery_table
    from socca.utils.files import atomic_path

    start_logging(log)
    survey = _load(config, None)
    if not survey.config.table.with_name("truth.ecsv").is_file():
        raise ConfigError(f"{config}: there is no truth to compare with: {survey.config.table.with_name('truth.ecsv')}")
    truth = Table.read(survey.config.table.with_name("truth.ecsv"), format="ascii.ecsv")
    table = recovery_table(truth, survey.results())
    summary = recovery_summary(table)
    folder = survey.config.folder
    for name, content in (("recovery.ecsv", table), ("recovery_summary.ecsv", summary)):
        with atomic_path(folder / name) as temporary:
            content.write(temporary, format="ascii.ecsv", overwrite=True)
    recovery_figure(table, folder / "recovery.png")
    typer.echo(format_summary(summary))


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference page instead.")] = False,
) -> None:
    """Print the JSON schema of a config, for editors that check as you type."""
    import json

    if markdown:
        from socca.survey.config.reference import config_reference

        typer.echo(config_reference(), nl=False)
        return
    from socca.survey.config.schema import schema as build

    typer.echo(json.dumps(build(), indent=2))


if __name__ == "__main__":
    main()
