# The survey, and the files that are made of it: everything is looked up here, once.
import shlex

from snakemake.exceptions import WorkflowError

import socca
from socca.errors import SoccaError
from socca.survey import Survey


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


SURVEY_CONFIG = config.get("survey", "config/demo.yaml")
SURVEY = load_survey(SURVEY_CONFIG, config.get("targets"))
FOLDER = SURVEY.config.folder.as_posix()
FIT = f"{FOLDER}/fits/{{target}}/{{model}}"
FITS = SURVEY.fits()
SIMULATED = SURVEY.config.simulate is not None

COMPARISON = f"comparison.{SURVEY.config.plots.format}"
POSTERIORS = [SURVEY.path(target, model, "posterior.h5").as_posix() for target, model in FITS]
FIGURES = [SURVEY.path(target, model, COMPARISON).as_posix() for target, model in FITS]
if not SURVEY.config.outputs.figures:
    FIGURES = []
CATALOG = [f"{FOLDER}/catalog.fits", f"{FOLDER}/catalog.ecsv"]
RECOVERY = [f"{FOLDER}/recovery.ecsv", f"{FOLDER}/recovery_summary.ecsv", f"{FOLDER}/recovery.png"] if SIMULATED else []


wildcard_constraints:
    target="[^/]+",
    model="[^/]+",
