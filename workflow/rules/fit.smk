# One posterior per target and model.


rule fit:
    input:
        # The target's own files: a newer one fits this target again, and no other.
        lambda wildcards: SURVEY.inputs(wildcards.target),
    output:
        posterior=f"{FIT}/posterior.h5",
        images=[f"{FIT}/model.fits"] if SURVEY.config.outputs.model_images else [],
    log:
        f"{FOLDER}/logs/fit/{{target}}/{{model}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/fit/{{target}}/{{model}}.tsv"
    retries: 2
    conda:
        "../envs/socca.yaml"
    threads: SURVEY.config.pool.cores
    resources:
        # What kills a fit (memory, a time limit, a lost node) is tried again, with more of both.
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        survey=survey_options,
        # The target's row, a digest of the settings that its posterior depends on, and the version of the package.
        depends=lambda wildcards: SURVEY.fit_params(wildcards.target, wildcards.model),
    shell:
        "socca fit {params.survey} --target {wildcards.target} --model {wildcards.model} --cores {threads} --log {log:q}"


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
