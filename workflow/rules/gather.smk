# All fits in one catalogue.


rule catalog:
    input:
        posteriors,
    output:
        CATALOG,
        AUDIT,
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
        catalog=SURVEY.config.catalog.model_dump(),
        order=SURVEY.order,
    shell:
        "socca catalog {params.survey} --log {log:q}"


# The catalogue of what is there, at any time: `snakemake catalog_so_far`. Fits that are not done are rows that say so.
rule catalog_so_far:
    log:
        f"{FOLDER}/logs/catalog_so_far.log",
    localrule: True
    conda:
        "../envs/socca.yaml"
    params:
        survey=survey_options,
    shell:
        "socca catalog {params.survey} --so-far --log {log:q}"
