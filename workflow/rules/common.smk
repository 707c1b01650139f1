# The survey, and the files that are made of it: everything is looked up here, once.
import functools
import shlex

from snakemake.exceptions import WorkflowError

from socca.errors import SoccaError
from socca.survey.survey import Survey


def load_survey(path, targets):
    """Read the survey's config and table; what is wrong with them ends the run with a message, not a traceback."""
    try:
        return Survey.load(path, targets)
    except SoccaError as error:
        raise WorkflowError(str(error)) from None


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


@functools.cache
def stamps():
    """Return the stamps of all chunks. Looked up when asked for: a job on a node has no need of the others'."""
    return [SURVEY.stamp(chunk).as_posix() for chunk in SURVEY.chunks]


def posteriors(wildcards):
    """Return what is there once all fits are up to date."""
    if SURVEY.chunked:
        return stamps()
    return [SURVEY.path(target, model, "posterior.h5").as_posix() for target, model in SURVEY.jobs()]


def figures(wildcards):
    """Return what is there once all is drawn that the config asks for."""
    if SURVEY.chunked:
        wanted = SURVEY.config.outputs.model_images != "none"
        return [path.removesuffix(".done") + ".drawn" for path in stamps()] if wanted else []
    wanted = SURVEY.config.outputs.figures != "none"
    return [SURVEY.figure(target, model).as_posix() for target, model in SURVEY.jobs()] if wanted else []


SURVEY_CONFIG = config.get("survey", "config/demo.yaml")
SURVEY = load_survey(SURVEY_CONFIG, config.get("targets"))
FOLDER = SURVEY.config.folder.as_posix()
SIMULATED = SURVEY.config.simulate is not None
#: How often a job is tried: what kills one (memory, a time limit, a lost node) is tried again, with more of both.
TRIES = 3
CATALOG = [f"{FOLDER}/catalog.fits", f"{FOLDER}/catalog.ecsv"]
RECOVERY = [f"{FOLDER}/recovery.ecsv", f"{FOLDER}/recovery_summary.ecsv", f"{FOLDER}/recovery.png"] if SIMULATED else []
