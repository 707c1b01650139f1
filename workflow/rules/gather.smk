# All fits in one catalogue.


rule catalog:
    input:
        POSTERIORS,
    output:
        CATALOG,
    log:
        f"{FOLDER}/logs/catalog.log",
    benchmark:
        f"{FOLDER}/benchmarks/catalog.tsv"
    conda:
        "../envs/socca.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        survey=survey_options,
        flags=SURVEY.config.flags.model_dump(),
    shell:
        "socca catalog {params.survey} --log {log:q}"
