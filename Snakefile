# socca: one fit per image, gathered into a catalogue.
#
#   snakemake -j 2                                              the demo survey
#   snakemake -j 8 --config survey=config/kids.yaml targets=/data/kids/targets.csv
#
# The survey is described by a config of its own (see docs/config.md); Snakemake's `config` only says which one.
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"


if SURVEY.chunked:

    include: "workflow/rules/chunks.smk"

else:

    include: "workflow/rules/fit.smk"


include: "workflow/rules/gather.smk"


if SIMULATED:

    include: "workflow/rules/simulate.smk"


rule all:
    default_target: True
    input:
        posteriors,  # so that one that was deleted is made again
        CATALOG,
        AUDIT,
        figures,
        RECOVERY,
