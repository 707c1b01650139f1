# One job per chunk of fits of one model, and one file with its posteriors: for surveys of thousands of targets.
#
# A chunk's file depends on the images of its targets through their sizes and times, which `SURVEY.state` looks up: were
# they listed as inputs, Snakemake would need minutes for a hundred thousand. The job fits what is not up to date.
from socca.chunks import Chunk

CHUNK = f"{FOLDER}/chunks/{{model}}/{{chunk}}"
POSTERIORS = [chunk.path(SURVEY.config.folder).as_posix() for chunk in SURVEY.chunks]
FIGURES = [path.removesuffix(".h5") + ".drawn.json" for path in POSTERIORS]
if SURVEY.config.outputs.model_images == "none":
    FIGURES = []


wildcard_constraints:
    chunk="[0-9]+of[0-9]+",
    model="[^/]+",


rule fit:
    input:
        # The images of a simulated survey are made first.
        str(SURVEY.config.table) if SIMULATED else [],
    output:
        # What it holds already is kept, and kept too if the job fails.
        update(f"{CHUNK}.h5"),
    log:
        f"{FOLDER}/logs/fit/{{model}}/{{chunk}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/fit/{{model}}/{{chunk}}.tsv"
    retries: TRIES - 1
    conda:
        "../envs/socca.yaml"
    threads: SURVEY.config.pool.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 2000 * threads * attempt,
        runtime=lambda wildcards, attempt: (30 + 2 * SURVEY.config.batch.chunk) * attempt,
        attempt=lambda wildcards, attempt: attempt,
    params:
        survey=survey_options,
        launcher=launcher,
        workers=workers,
        last=lambda wildcards, resources: "--last-try" if resources.attempt >= TRIES else "--not-last-try",
        state=lambda wildcards: SURVEY.state(Chunk.named(wildcards.model, wildcards.chunk)),
    shell:
        "{params.launcher}socca fit {params.survey} --model {wildcards.model} --chunk {wildcards.chunk} {params.workers} "
        "{params.last} --log {log:q}"


rule figure:
    input:
        f"{CHUNK}.h5",
    output:
        # Says what was drawn, and in which looks: model images and figures lie in a folder for each target.
        update(f"{CHUNK}.drawn.json"),
    log:
        f"{FOLDER}/logs/figure/{{model}}/{{chunk}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/figure/{{model}}/{{chunk}}.tsv"
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
        "socca draw {params.survey} --model {wildcards.model} --chunk {wildcards.chunk} --output {output:q} --log {log:q}"
