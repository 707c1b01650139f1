# One job per target and model, each with a folder of its own.
#
# What Snakemake makes is a stamp, which holds the state of all that goes into the fit: its row, settings, sizes and times
# of its files. A stamp of another state says nothing, and its job is forced. The job then compares contents, and fits if
# there is a reason. (Were the images inputs and the posterior an output, a new image with an older time would be missed,
# and an old posterior would be lost whenever a job fails.)
FIT = f"{FOLDER}/fits/{{target}}/{{model}}"
COMPARISON = f"comparison.{SURVEY.config.plots.format}"


wildcard_constraints:
    target="[^/]+",
    model="[^/]+",


rule fit:
    input:
        # The images of a simulated survey are made first.
        in_results(SURVEY.config.table) if SIMULATED else [],
    output:
        f"{FIT}/fit.done",
    log:
        f"{FOLDER}/logs/fit/{{target}}/{{model}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/fit/{{target}}/{{model}}.tsv"
    retries: TRIES - 1
    conda:
        "../envs/socca.yaml"
    threads: SURVEY.config.pool.cores
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        attempt=attempt_number,
    params:
        survey=survey_options,
        launcher=launcher,
        workers=workers,
        retry=retry,
        last=last_try,
    shell:
        "{params.launcher}socca fit {params.survey} --target {wildcards.target} --model {wildcards.model} {params.workers} "
        "{params.last} {params.retry} --stamp {output:q} --log {log:q}"


rule figure:
    input:
        f"{FIT}/fit.done",
    output:
        f"{FIT}/{COMPARISON}",
    log:
        f"{FOLDER}/logs/figure/{{target}}/{{model}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/figure/{{target}}/{{model}}.tsv"
    conda:
        "../envs/socca.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        survey=survey_options,
        looks=SURVEY.config.plots.model_dump(),
    shell:
        "socca plot {params.survey} --log {log:q} {wildcards.target} {wildcards.model}"
