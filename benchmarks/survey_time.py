"""Where the wall time of a finished survey went: `python -m benchmarks.survey_time config/demo.yaml`.

Reads what each posterior and Snakemake's benchmark of each job recorded, and prints one table: per model, the mean
seconds of a fit spent on start-up (Python and imports), reading, compiling (or fetching compiled programs from the
cache on disk), and sampling, of which the likelihood.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict

import numpy as np

from socca.posterior.storage import header_of, open_result
from socca.survey.survey import Survey

COLUMNS = ("job", "start-up", "reading", "compiling", "sampling", "likelihood", "rest")


def main(path: str) -> None:
    """Print the table of one survey."""
    survey = Survey.load(path)
    rows = defaultdict(list)
    for target, model, file in survey.results():
        with open_result(file) as result:
            header = header_of(result)
        if header.status != "done":
            continue
        timing = header.record.timing
        with (survey.config.folder / "benchmarks" / "fit" / target / f"{model}.tsv").open() as stream:
            job = float(next(csv.DictReader(stream, delimiter="\t"))["s"])
        compiling = timing.compilation
        sampling = max(timing.sampling - compiling, 0)
        start = job - timing.total
        rest = timing.total - timing.loading - timing.sampling
        rows[model].append([job, start, timing.loading, compiling, sampling, timing.likelihood, rest])
    print(f"{'model':<16}{'fits':>5}" + "".join(f"{c:>12}" for c in COLUMNS) + "   (mean seconds)")
    everything = []
    for model, values in rows.items():
        everything += values
        print(f"{model:<16}{len(values):>5}" + "".join(f"{v:>12.2f}" for v in np.mean(values, axis=0)))
    mean = np.mean(everything, axis=0)
    print(f"{'all':<16}{len(everything):>5}" + "".join(f"{v:>12.2f}" for v in mean))
    print(f"{'share of the job':<21}" + "".join(f"{v / mean[0]:>12.0%}" for v in mean))


if __name__ == "__main__":
    main(sys.argv[1])
