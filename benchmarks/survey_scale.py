"""What surveys of many targets cost besides fitting them.

    python -m benchmarks.survey_scale scale [1000 10000 100000]
    python -m benchmarks.survey_scale fits
    python -m benchmarks.survey_scale survey [1000] [250]

`scale` makes tables and tiny images of so many targets, in chunks of 50, and measures Snakemake with a stand-in for
``socca`` that makes the files and fits nothing: a dry run of all of it, the whole run, a run with nothing to do, a run
after one image has changed (dry); then the real ``socca catalog`` and ``socca status`` on containers with a record for
each target. Seconds and the highest memory of each process.

`fits` runs a chunk of 50 real fits (a Sersic profile and a sky on 64 x 64 pixels, with a PSF) in one process on a core
and in two, and says what a fit takes besides sampling, and how many targets a minute there are; and how many times the
work of one process two can do on this machine, which others may be using.

`survey` fits 1,000 galaxies that galsim draws (those of `benchmarks.pulls`, a Sersic profile and a sky, 8 free
parameters) by ``adaptive``, through Snakemake on two cores in chunks of 250, catalogue included: the time, where it
went, how many fits passed, and how often intervals hold the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits

from socca.posterior.container import read_headers
from socca.posterior.storage import CONTAINER_FORMAT, FORMAT_VERSION
from socca.survey.survey import Survey

ROOT = Path(__file__).parents[1]
STAND_IN = """#!/bin/sh
# Instead of socca: makes the files that a rule is to make.
while [ $# -gt 0 ]; do
    case "$1" in --model) model=$2;; --chunk) chunk=$2;; --stamp) stamp=$2;; fit|catalog) rule=$1;; esac
    shift
done
case $rule in
    fit) : > results/big/chunks/$model/$chunk.h5; : > $stamp;;
    catalog) for file in catalog catalog_targets; do : > results/big/$file.fits; : > results/big/$file.ecsv; done;;
esac
"""


def config(sampler: dict, components: dict) -> dict:
    """Return a survey in chunks of 50."""
    return {
        "survey": "big",
        "targets": "targets.csv",
        "image": {"pixel_scale": "0.2 arcsec"},
        "models": {"galaxy": {"components": components}},
        "sampler": sampler,
        "batch": {"chunk": 50},
        "outputs": {"model_images": "none", "figures": "none"},
    }


def measured(command: list[str], folder: Path, path: str | None = None) -> tuple[float, float, str]:
    """Run a command in a folder; return seconds, megabytes and what it wrote."""
    environment = {**os.environ, "PATH": f"{path or Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if status:
        raise SystemExit(text)
    return seconds, usage.ru_maxrss / 1024, text


def many_targets(folder: Path, number: int) -> None:
    """Write a table and its images, all of the same few bytes."""
    (folder / "images").mkdir(parents=True)
    fits.writeto(folder / "one.fits", np.ones((4, 4), dtype=np.float32))
    content = (folder / "one.fits").read_bytes()
    names = [f"t{k:06d}" for k in range(number)]
    for name in names:
        (folder / "images" / f"{name}.fits").write_bytes(content)
    rows = (f"{name},images/{name}.fits,{18 + k % 50 / 10}" for k, name in enumerate(names))
    (folder / "targets.csv").write_text("target,image,mag\n" + "\n".join(rows) + "\n")
    sky = {"sky": {"type": "Background", "a0": {"normal": [0, 1]}}}
    (folder / "survey.yaml").write_text(yaml.safe_dump(config({"method": "optimizer"}, sky)))


def record(survey: Survey, target: str) -> dict:
    """Return a record as large as those of real fits."""
    quantities = dict.fromkeys(("mean", "std", "median", "lower", "upper", "best"), 1.234567890123)
    names = ("xc", "yc", "theta", "e", "re", "Ie", "ns", "a0")
    return {
        "status": "done",
        "message": "",
        "summary": [{"label": f"galaxy.{name}", "unit": "deg", **quantities} for name in names],
        "logz": -1.0,
        "logz_err": 0.1,
        "n_eff": 1000.0,
        "meta": {
            "target": target,
            "finished": "2026-01-01T00:00:00Z",
            "params": survey.fit_params(target, "galaxy"),
            "image": {"frame": "pixel", "bunit": "", "n_pixels": 16},
            "fit": {"chi2_red": 1.0, "chi2_source": 1.0},
            "timing": {"total": 1.0},
            "notes": {"filler": "x" * 1500},
        },
    }


def write_records(folder: Path) -> None:
    """Write containers without samples, for what reads records alone."""
    import h5py

    os.chdir(folder)
    survey = Survey.load("survey.yaml")
    for chunk, targets in survey.chunks.items():
        path = chunk.path(survey.config.folder)
        with h5py.File(path, "w") as file:
            file.attrs.update({"format": CONTAINER_FORMAT, "format_version": FORMAT_VERSION})
            text = json.dumps({target: record(survey, target) for target in targets}).encode()
            file.create_dataset("records", data=np.frombuffer(text, np.uint8), compression="gzip")


def scale(numbers: list[int]) -> None:
    """Print what surveys of so many targets cost."""
    print("| targets | jobs | | seconds | MB |\n| --- | --- | --- | --- | --- |")
    for number in numbers:
        folder = Path(tempfile.mkdtemp(prefix="socca-scale-"))
        try:
            _scale(folder, number)
        finally:
            shutil.rmtree(folder)


def _scale(folder: Path, number: int) -> None:
    many_targets(folder, number)
    stand_in = folder / "bin"
    stand_in.mkdir()
    (stand_in / "socca").write_text(STAND_IN)
    (stand_in / "socca").chmod(0o755)
    snakemake = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--quiet", "all"),
        *("--workflow-profile", str(ROOT / "profiles" / "default"), "--config", "survey=survey.yaml"),
    ]
    jobs = ""

    def line(what: str, command: list[str], path: str | None = None) -> None:
        seconds, memory, _ = measured(command, folder, path)
        print(f"| {number:,} | {jobs} | {what} | {seconds:.1f} | {memory:.0f} |", flush=True)

    count = subprocess.run(
        [*snakemake[:-2], "--dry-run", "--quiet", "rules", "--config", "survey=survey.yaml"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"fit\s+(\d+)", count.stdout)
    jobs = found[1] if found else "?"
    line("dry run, nothing done yet", [*snakemake, "--dry-run"])
    line("whole run, fits stubbed", snakemake, str(stand_in))
    line("nothing to do", snakemake, str(stand_in))
    fits.writeto(folder / "images" / "t000007.fits", np.zeros((4, 4)), overwrite=True)
    line("dry run, one image changed", [*snakemake, "--dry-run"])
    write_records(folder)
    socca = str(Path(sys.executable).parent / "socca")
    line("socca catalog", [socca, "catalog", "--config", "survey.yaml"])
    line("socca status", [socca, "status", "--config", "survey.yaml"])


def galaxies(folder: Path, number: int) -> None:
    """Write images of exponential disks seen through a Gaussian PSF, and their survey."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:64, :64] - 31.5
    psf = np.exp(-(x**2 + y**2)[20:45, 20:45] / 2 / 1.5**2)
    fits.writeto(folder / "psf.fits", psf)
    rows = []
    for k in range(number):
        rng = np.random.default_rng(k)
        light = rng.uniform(20, 60) * np.exp(-np.hypot(x - rng.normal(), y / rng.uniform(0.5, 1)) / rng.uniform(3, 6))
        fits.writeto(folder / f"t{k:03d}.fits", light + rng.normal(size=(64, 64)))
        rows.append(f"t{k:03d},t{k:03d}.fits,psf.fits")
    (folder / "targets.csv").write_text("target,image,psf\n" + "\n".join(rows) + "\n")
    galaxy = {
        "type": "Sersic",
        "position": {"within": "1 arcsec"},
        "theta": {"uniform": [0, "180 deg"]},
        "e": {"uniform": [0, 0.9]},
        "re": {"loguniform": ["0.2 arcsec", "5 arcsec"]},
        "Ie": {"loguniform": [0.1, 1000]},
        "ns": {"uniform": [0.5, 8]},
    }
    survey = config(
        {"method": "nautilus", "options": {"n_live": 100, "n_eff": 200}},
        {"galaxy": galaxy, "sky": {"type": "Background", "a0": {"normal": [0, 1]}}},
    )
    (folder / "survey.yaml").write_text(yaml.safe_dump(survey | {"noise": {"level": 1}}))


def gain_of_two_processes() -> float:
    """Return how many times the work of one process two do, side by side: as many as this machine lets them."""
    work = [sys.executable, "-c", "for k in range(60_000_000): pass"]

    def seconds(count: int) -> float:
        start = time.perf_counter()
        for process in [subprocess.Popen(work) for _ in range(count)]:
            process.wait()
        return time.perf_counter() - start

    alone, together, after = seconds(1), seconds(2), seconds(1)
    return (alone + after) / together


def real_fits(number: int) -> None:
    """Print what a fit of a chunk takes besides sampling, and the gain of a second worker."""
    folder = Path(tempfile.mkdtemp(prefix="socca-fits-"))
    try:
        rates = {}
        galaxies(folder, number)
        socca = str(Path(sys.executable).parent / "socca")
        command = [socca, "fit", "--config", "survey.yaml", "--log", "log.txt"]
        measured([*command, "--cores", "1", "--target", "t000"], folder)  # which fills the cache
        gains = [gain_of_two_processes()]
        for cores in (1, 2):
            shutil.rmtree(folder / "results")
            seconds, _, _ = measured([*command, "--cores", str(cores)], folder)
            (container,) = (folder / "results").rglob("*.h5")
            timings = [entry.record.timing for entry in read_headers(container).values()]
            sampling = sum(timing.sampling - timing.compilation for timing in timings)
            rates[cores] = 60 * number / seconds
            print(
                f"{cores} worker(s): {seconds:.0f} s for {number} fits, {rates[cores]:.1f} a minute; "
                f"{(cores * seconds - sampling) / number:.2f} s of a worker's time per fit besides sampling "
                f"({sampling / number:.2f} s)",
                flush=True,
            )
            gains.append(gain_of_two_processes())
        print("two processes on this machine, before, between and after:", ", ".join(f"{g:.2f}" for g in gains))
        print(f"two workers: {rates[2] / rates[1]:.2f} times the targets a minute of one")
    finally:
        shutil.rmtree(folder)


def drawn_galaxies(folder: Path, number: int, chunk: int) -> list[dict[str, float]]:
    """Write galaxies that galsim draws, and their survey; return their parameters, lengths in pixels."""
    from benchmarks import pulls
    from benchmarks.galaxies import star

    folder.mkdir(parents=True, exist_ok=True)
    fits.writeto(folder / "psf.fits", star(pulls.PSF, pulls.STAMP))
    empty = pulls.problem_of(np.zeros((pulls.SIZE, pulls.SIZE)))
    rows, truths = [], []
    for k in range(number):
        rng = np.random.default_rng([1935, k])
        truth, light, _ = pulls.draw(empty, rng)
        fits.writeto(folder / f"t{k:05d}.fits", (light + rng.normal(size=light.shape)).astype(np.float32))
        rows.append(f"t{k:05d},t{k:05d}.fits,psf.fits")
        truths.append(truth)
    (folder / "targets.csv").write_text("target,image,psf\n" + "\n".join(rows) + "\n")
    galaxy = {
        "type": "Sersic",
        "position": {"within": "2 pix"},
        "theta": {"uniform": [0, "180 deg"]},
        "e": {"uniform": [0, 0.8]},
        "re": {"loguniform": ["2 pix", "8 pix"]},
        "Ie": {"loguniform": [0.2, 60]},
        "ns": {"uniform": [0.6, 5]},
    }
    components = {"galaxy": galaxy, "sky": {"type": "Background", "a0": {"normal": [0, 1]}}}
    survey = config({"method": "adaptive"}, components) | {"noise": {"level": 1}, "batch": {"chunk": chunk}}
    (folder / "survey.yaml").write_text(yaml.safe_dump(survey))
    return truths


def whole_survey(number: int, chunk: int) -> None:
    """Print what a survey by the adaptive method takes through Snakemake, and what it finds."""
    from astropy.table import Table

    folder = Path(tempfile.mkdtemp(prefix="socca-survey-"))
    try:
        truths = drawn_galaxies(folder, number, chunk)
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"),
            *("--quiet", "all", "--workflow-profile", str(ROOT / "profiles" / "default")),
            *("--config", "survey=survey.yaml"),
        ]
        seconds, _, _ = measured(command, folder)
        results = folder / "results" / "big"
        timings, notes = [], []
        for container in sorted(results.rglob("chunks/*/*.h5")):
            for header in read_headers(container).values():
                timings.append(header.record.timing)
                notes.append(header.record.sampler)
        total = sum(timing.total for timing in timings)
        compiling = sum(timing.compilation for timing in timings)
        loading = sum(timing.loading for timing in timings)
        likelihood = sum(timing.likelihood for timing in timings)
        calls = np.array([one.n_calls for one in notes])
        passed = np.mean([one.notes.tier == "importance" for one in notes])
        print(f"{number} targets in {seconds:.0f} s ({seconds / 60:.1f} min): {number / seconds:.2f} a second")
        print(
            f"of 2 x {seconds:.0f} s: fits {total / 2 / seconds:.0%}, likelihood {likelihood / 2 / seconds:.0%}, "
            f"compiling {compiling / 2 / seconds:.1%}, reading {loading / 2 / seconds:.1%}, the rest outside of fits"
        )
        print(f"passed {passed:.1%}; median {np.median(calls):.0f} likelihoods, mean {calls.mean():.0f}")
        table = Table.read(results / "catalog.ecsv")
        print({str(status): int(np.sum(table["status"] == status)) for status in set(table["status"])})
        inside = [
            float(row["galaxy_ns_lower"]) <= truths[int(str(row["target"])[1:])]["ns"] <= float(row["galaxy_ns_upper"])
            for row in table
            if row["status"] == "done"
        ]
        print(f"68 % intervals of the index hold the truth in {np.mean(inside):.1%} of fits")
        audit = Table.read(results / "audit.ecsv")
        print(f"audited {len(audit)}, agreeing {int(np.sum(audit['agrees']))}")
        if len(audit):
            print(audit)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scale", "fits", "survey"])
    parser.add_argument("numbers", type=int, nargs="*")
    given = parser.parse_args()
    if given.what == "scale":
        scale(given.numbers or [1000, 10_000, 100_000])
    elif given.what == "survey":
        whole_survey(*(given.numbers or [1000, 250]))
    else:
        real_fits(given.numbers[0] if given.numbers else 50)


if __name__ == "__main__":
    main()
