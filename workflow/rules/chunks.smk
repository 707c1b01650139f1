# One job per chunk of fits of one model, and one file with its posteriors: for surveys of thousands of targets.
#
# The job updates the chunk's file in place, fitting what is not up to date. What Snakemake makes is a stamp, empty, which
# is named for the state of all that goes into the chunk: rows, settings, sizes and times of the images. Another state is
# another stamp, still to be made. (Were the images listed as inputs, Snakemake would need minutes for a hundred thousand;
# and were the chunk's file an output, it would be lost whenever a job fails.)
CHUNK = f"{FOLDER}/chunks/{{model}}/{{chunk}}"


wildcard_constraints:
    chunk="[0-9]+of[0-9]+",
    model="[^/]+",
    state="[0-9a-f]+",


rule fit:
    input:
        # The images of a simulated survey are made first.
        in_results(SURVEY.config.table) if SIMULATED else [],
    output:
        f"{CHUNK}-{{state}}.done",
    log:
        f"{FOLDER}/logs/fit/{{model}}/{{chunk}}-{{state}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/fit/{{model}}/{{chunk}}-{{state}}.tsv"
    retries: TRIES - 1
    conda:
        "../envs/socca.yaml"
    threads: SURVEY.config.pool.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 2000 * threads * attempt,
        runtime=lambda wildcards, attempt: (30 + 2 * SURVEY.config.batch.chunk) * attempt,
        attempt=attempt_number,
    params:
        survey=survey_options,
        launcher=launcher,
        workers=workers,
        retry=retry,
        last=last_try,
    shell:
        "{params.launcher}socca fit {params.survey} --model {wildcards.model} --chunk {wildcards.chunk} {params.workers} "
        "{params.last} {params.retry} --stamp {output:q} --log {log:q}"


rule figure:
    input:
        f"{CHUNK}-{{state}}.done",
    output:
        # A stamp too: model images and figures lie in a folder for each target.
        touch(f"{CHUNK}-{{state}}.drawn"),
    log:
        f"{FOLDER}/logs/figure/{{model}}/{{chunk}}-{{state}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/figure/{{model}}/{{chunk}}-{{state}}.tsv"
    conda:
        "../envs/socca.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        survey=survey_options,
        looks=SURVEY.config.plots.model_dump(),
        wanted=SURVEY.config.outputs.model_dump(),
        flags=SURVEY.config.flags.model_dump(),
    shell:
        "socca draw {params.survey} --model {wildcards.model} --chunk {wildcards.chunk} --log {log:q}"
