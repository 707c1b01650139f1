# The survey, and the files that are made of it: everything is looked up here, once.
import contextlib
import functools
import hashlib
import itertools
import os
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from socca.errors import SoccaError
from socca.survey.freshness.owner import check_owner
from socca.survey.freshness.stamps import jobs_to_run, stamp_of, stamps_of
from socca.survey.jobs.reasons import reasons_to_fit
from socca.survey.survey import Survey


def load_survey(path, targets):
    """Read the survey's config and table; what is wrong with them ends the run with a message, not a traceback."""
    try:
        survey = Survey.load(path, targets)
        check_owner(survey.config, Path(path))
        return survey
    except SoccaError as error:
        raise WorkflowError(str(error)) from None


def wanted_retry():
    """Return whether recorded failures are to be tried again."""
    wanted = config.get("retry", "")
    if wanted not in ("", "failed"):
        raise WorkflowError(f"--config retry={wanted}: only retry=failed is known")
    return wanted == "failed"


def survey_options(wildcards, threads):
    """Return what every socca command is told: which survey, and which table.

    As a function of `threads`, Snakemake takes this for derived: another spelling of a path is no reason to fit again.
    """
    options = ["--config", SURVEY_CONFIG]
    if "targets" in config:
        options += ["--targets", config["targets"]]
    return shlex.join(options)


def launcher(wildcards, resources):
    """Return what starts the ranks of a fit, where the profile asks for MPI: its command and the number of tasks.

    As a function of `resources`, Snakemake takes this for derived too: another profile is no reason to fit again.
    """
    return f"{resources.mpi} -n {resources.tasks} " if resources.get("mpi") else ""


def workers(wildcards, resources, threads):
    """Return which workers a fit has: the ranks of MPI, or as many processes as the job has cores."""
    return "--pool mpi" if resources.get("mpi") else f"--cores {threads}"


def without_braces(path):
    """Return a file or folder as Snakemake can name it: a link to it, if it has braces in its name.

    Snakemake takes what is in braces for a wildcard, also in what a function returns, and knows no way to write a brace.
    """
    if "{" not in path and "}" not in path:
        return path
    target = Path(path).absolute()
    link = Path(".snakemake", "links", hashlib.sha256(str(target).encode()).hexdigest()[:16])
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        with contextlib.suppress(FileExistsError):  # another process may have made it
            link.symlink_to(target)
        # A link made anew is no reason to do anything.
        os.utime(link, ns=(target.stat().st_mtime_ns,) * 2, follow_symlinks=False)
    return link.as_posix()


def results_folder():
    """Return the folder of the results as Snakemake names it; one with braces is made, for the link to it."""
    if "{" in RESULTS or "}" in RESULTS:
        Path(RESULTS).mkdir(parents=True, exist_ok=True)
    return without_braces(RESULTS)


def catalog_files():
    """Return the files of the catalogue, and of that of best models, in the formats that the config asks for."""
    from socca.survey.catalog_files import ENDINGS

    endings = [ENDINGS[name] for name in SURVEY.config.catalog.formats]
    return [f"{FOLDER}/{name}{ending}" for name in ("catalog", "catalog_targets") for ending in endings]


def in_results(path):
    """Return a file of the results as Snakemake names it."""
    return FOLDER + Path(path).as_posix().removeprefix(RESULTS)


def retry(wildcards, threads):
    """Return whether recorded failures are tried again; as a function of `threads`, Snakemake takes this for derived."""
    return "--failed" if RETRY else ""


def attempt_number(wildcards, attempt):
    """Return which try of a job this is, from 1, as a resource that its parameters can see."""
    return attempt


def last_try(wildcards, resources):
    """Return whether a job is tried for the last time: what stops a fit is then recorded, if it is its own."""
    return "--last-try" if resources.attempt >= TRIES else "--not-last-try"


@functools.cache
def stamps():
    """Return the stamps of all fits or chunks. Looked up when asked for: a job on a node has no need of the others'."""
    try:
        found = stamps_of(SURVEY)
        if workflow.is_main_process:
            jobs = jobs_to_run(SURVEY, retry=RETRY)
            force(stamp_of(SURVEY, job) for job in jobs)
            say_why(jobs)
    except SoccaError as error:
        raise WorkflowError(str(error)) from None
    return [in_results(stamp) for stamp in found]


def force(outdated):
    """Let the jobs of stamps run that are there and say nothing.

    As `--forcerun` does, but of the jobs that this run looks at alone. Nothing is deleted: not by a dry run, nor by a job
    on a node, which reads this file too.
    """
    workflow.dag.forcefiles.update(in_results(stamp) for stamp in outdated if stamp.exists())


def say_why(jobs):
    """Say why fits are done again, for some of them."""
    reasons = reasons_to_fit(SURVEY, jobs, retry=RETRY)
    for target, model, reason in itertools.islice(reasons, MOST_REASONS):
        logger.info(f"{target} {model}: to be fitted again: {reason}")
    if next(reasons, None) is not None:
        logger.info("... and so on: the logs of the jobs say which targets are fitted again, and why")


def posteriors(wildcards):
    """Return what is there once all fits are up to date."""
    return stamps()


def figures(wildcards):
    """Return what is there once all is drawn that the config asks for."""
    if SURVEY.chunked:
        wanted = SURVEY.config.outputs.model_images != "none"
        return [path.removesuffix(".done") + ".drawn" for path in stamps()] if wanted else []
    wanted = SURVEY.config.outputs.figures != "none"
    return [in_results(SURVEY.figure(target, model)) for target, model in SURVEY.jobs()] if wanted else []


SURVEY_CONFIG = config.get("survey", "config/demo.yaml")
SURVEY = load_survey(SURVEY_CONFIG, config.get("targets"))
RESULTS = SURVEY.config.folder.as_posix()
FOLDER = results_folder()
SIMULATED = SURVEY.config.simulate is not None
#: How often a job is tried: what kills one (memory, a time limit, a lost node) is tried again, with more of both.
TRIES = 3
#: `--config retry=failed`: fits that are recorded as failed are tried again.
RETRY = wanted_retry()
MOST_REASONS = 10
CATALOG = catalog_files()
AUDIT = [f"{FOLDER}/audit.ecsv"] if SURVEY.config.audited else []
RECOVERY = [f"{FOLDER}/recovery.ecsv", f"{FOLDER}/recovery_summary.ecsv", f"{FOLDER}/recovery.png"] if SIMULATED else []
