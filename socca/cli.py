"""The command line: each step of the workflow, to be run and debugged by hand too."""

from __future__ import annotations

import enum
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import socca
from socca.launch import leave

if TYPE_CHECKING:
    from socca.survey import Survey

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
    """Run the command line; errors of our own end it, and all ranks of MPI, with their message and exit status 2."""
    from socca.errors import SoccaError

    try:
        app()
    except Exception as error:
        if _logs_to_file():
            logging.getLogger("socca").exception("stopped")
        if not isinstance(error, SoccaError):
            raise
        typer.echo(f"socca: {error}", err=True)
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


def _start_logging(file: Path | None, level: int = logging.INFO) -> None:
    """Log to a file if one is given, to the terminal otherwise."""
    if file is None:
        handler: logging.Handler = logging.StreamHandler()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("socca").setLevel(level)
    logging.captureWarnings(True)


def _load(config: Path, targets: Path | None) -> Survey:
    from socca.survey import Survey

    return Survey.load(config, targets)


@app.command()
def check(config: ConfigOption, targets: TargetsOption = None) -> None:
    """Find everything that is wrong with a survey, before anything runs.

    Reads the config, the table and every file of every target. Exit status 1 if anything was found.
    """
    from socca.check import check_survey

    survey = _load(config, targets)
    found = 0
    for finding in check_survey(survey):
        found += 1
        typer.echo(f"{finding.target or 'survey'}: {finding.message}")
    if found:
        typer.echo(f"{found} problem(s) in {len(survey.targets)} target(s)")
        raise typer.Exit(1)
    typer.echo(f"{len(survey.targets)} target(s), {len(survey.fits())} fit(s): nothing wrong")


@app.command()
def simulate(config: ConfigOption, log: LogOption = None) -> None:
    """Make the images of a simulated survey, with their truth.

    What is made is said by the section `simulate` of the config.
    """
    from socca.errors import ConfigError
    from socca.simulate import simulate as make

    _start_logging(log)
    survey = _load(config, None)
    settings = survey.config.simulate
    if settings is None:
        raise ConfigError(f"{config}: has no section simulate")
    make(settings.number, survey.config.table.parent, settings.seed)
    typer.echo(f"{settings.number} galaxies in {survey.config.table.parent}")


@app.command()
def fit(
    config: ConfigOption,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="A target; may be repeated. Default: all.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="A model; may be repeated. Default: all.")] = None,
    targets: TargetsOption = None,
    pool: Annotated[
        PoolKind | None,
        typer.Option(help="Workers of one fit, instead of the config's: one process, several, or the ranks of mpirun."),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="Cores of one fit. Default: SLURM_CPUS_PER_TASK, where it is set, or the config's."),
    ] = None,
    log: LogOption = None,
) -> None:
    """Fit targets, one after another, and write posteriors and model images.

    A fit that fails is recorded in its output, and the exit status is still 0: one bad image costs only itself. Under
    mpirun or srun, all processes share each fit, and the first one writes.
    """
    # Before JAX loads: a fit uses the cores that it was given, through its pool, and no more.
    from socca.compilation import single_thread_environment

    os.environ.update(single_thread_environment())
    from socca.batch import fit_all, is_first
    from socca.compilation import use_persistent_cache

    survey = _with_pool(_load(config, targets), pool, cores)
    first = is_first(survey)
    _start_logging(log if first else None, logging.INFO if first else logging.WARNING)
    chosen = _chosen(survey, target, model)
    use_persistent_cache()
    for k, outcome in enumerate(fit_all(survey, chosen)):
        if not first:
            continue
        count = f"[{k + 1}/{len(chosen)}] " if len(chosen) > 1 else ""
        typer.echo(
            f"{count}{outcome.target} {outcome.model}: {outcome.status} in {outcome.seconds:.1f} s: {outcome.message}",
            err=True,
        )


def _with_pool(survey: Survey, kind: PoolKind | None, cores: int | None) -> Survey:
    """Return the survey with the pool that was asked for, or that the allocation has the cores for."""
    from dataclasses import replace

    from socca.pool import chosen_kind
    from socca.samplers import get_sampler

    config = survey.config
    sampler = get_sampler(config.sampler.method)
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if cores is None and given.isdecimal() and sampler.parallel and kind != "serial":
        cores = max(1, int(given))
    elif cores is None:
        cores = 1 if kind == "serial" else config.pool.cores
    pool = config.pool.model_copy(update={"kind": str(kind or config.pool.kind), "cores": cores})
    sampler.validate_pool(chosen_kind(pool.kind, pool.cores))
    return replace(survey, config=config.model_copy(update={"pool": pool}))


def _chosen(survey: Survey, targets: list[str] | None, models: list[str] | None) -> list[tuple[str, str]]:
    from socca.errors import ConfigError, nearest

    for name in targets or ():
        survey.target(name)
    for name in models or ():
        if name not in survey.config.models:
            raise ConfigError(f"unknown model {name!r}{nearest(name, survey.config.models)}")
    wanted = [
        (target, model)
        for target, model in survey.fits()
        if (not targets or target in targets) and (not models or model in models)
    ]
    if not wanted:
        raise ConfigError("no target is fitted with that model: see the column models of the table")
    return wanted


@app.command()
def catalog(config: ConfigOption, targets: TargetsOption = None, log: LogOption = None) -> None:
    """Gather the fits into one catalogue, FITS and ECSV.

    Takes what is there at any time: missing and failed fits are rows that say so.
    """
    from socca.catalog import build_catalog, write_catalog

    _start_logging(log)
    survey = _load(config, targets)
    table = build_catalog(survey.results(), survey.config.flags)
    folder = survey.config.folder
    write_catalog(table, folder / "catalog.fits", folder / "catalog.ecsv")
    done = sum(str(status) == "done" for status in table["status"])
    typer.echo(f"{folder / 'catalog.fits'}: {len(table)} fit(s), {done} done, {len(table) - done} failed or missing")


@app.command()
def status(config: ConfigOption, targets: TargetsOption = None) -> None:
    """Tell how far a survey is, from its files alone."""
    from collections import Counter

    from socca.catalog import survey_status

    survey = _load(config, targets)
    rows = survey_status(survey.results())
    for row in rows:
        if row["status"] == "failed":
            typer.echo(f"{row['target']} {row['model']}: failed: {row['message']}")
    counts = Counter(row["status"] for row in rows)
    parts = [f"{counts.get(key, 0)} {key}" for key in ("done", "failed", "pending")]
    typer.echo(f"{survey.config.survey}: {len(rows)} fit(s): {', '.join(parts)}")


@app.command()
def plot(config: ConfigOption, target: str, model: str, targets: TargetsOption = None, log: LogOption = None) -> None:
    """Draw the comparison figure of one fit: data, model, residual."""
    from socca.plotting import comparison_figure

    _start_logging(log)
    survey = _load(config, targets)
    survey.target(target)
    looks = survey.config.plots.model_dump(exclude={"format"})
    output = survey.path(target, model, f"comparison.{survey.config.plots.format}")
    comparison_figure(survey.path(target, model, "model.fits"), output, **looks)


@app.command()
def recovery(config: ConfigOption, log: LogOption = None) -> None:
    """Compare the posteriors of a simulated survey with the truth: pulls and coverage."""
    from astropy.table import Table

    from socca.errors import ConfigError
    from socca.fits import atomic_path
    from socca.recovery import format_summary, recovery_figure, recovery_summary, recovery_table

    _start_logging(log)
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
        from socca.reference import config_reference

        typer.echo(config_reference(), nl=False)
        return
    from socca.config import schema as build

    typer.echo(json.dumps(build(), indent=2))


if __name__ == "__main__":
    main()
