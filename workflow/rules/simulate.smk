# The images of a simulated survey, with their truth.
from socca.simulation.simulate import IMAGES_VERSION


rule simulate:
    output:
        images=[in_results(file) for file in SURVEY.simulated_files()],
        table=in_results(SURVEY.config.table),
        truth=in_results(SURVEY.config.table.with_name("truth.ecsv")),
    log:
        f"{FOLDER}/logs/simulate.log",
    benchmark:
        f"{FOLDER}/benchmarks/simulate.tsv"
    conda:
        "../envs/socca.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        survey=survey_options,
        settings=SURVEY.config.simulate.model_dump(),
        images=IMAGES_VERSION,
    shell:
        "socca simulate {params.survey} --log {log:q}"


rule recovery:
    input:
        truth=rules.simulate.output.truth,
        posteriors=posteriors,
    output:
        RECOVERY,
    log:
        f"{FOLDER}/logs/recovery.log",
    benchmark:
        f"{FOLDER}/benchmarks/recovery.tsv"
    conda:
        "../envs/socca.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        survey=survey_options,
    shell:
        "socca recovery {params.survey} --log {log:q}"
