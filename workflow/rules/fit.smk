# One job per target and model, each with a folder of its own.
FIT = f"{FOLDER}/fits/{{target}}/{{model}}"
COMPARISON = f"comparison.{SURVEY.config.plots.format}"


wildcard_constraints:
    target="[^/]+",
    model="[^/]+",


rule fit:
    input:
        # The target's own files: a newer one fits this target again, and no other.
        inputs,
    output:
        posterior=f"{FIT}/posterior.h5",
        images=[f"{FIT}/model.fits"] if SURVEY.config.outputs.model_images == "all" else [],
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
    params:
        survey=survey_options,
        launcher=launcher,
        workers=workers,
        # The target's row, a digest of the settings that its posterior depends on, and the revision of the likelihood.
        depends=lambda wildcards: SURVEY.stated_params(wildcards.target, wildcards.model),
    shell:
        "{params.launcher}socca fit {params.survey} --target {wildcards.target} --model {wildcards.model} {params.workers} "
        "--log {log:q}"


rule figure:
    input:
        f"{FIT}/model.fits",
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
