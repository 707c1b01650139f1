"""Cost and accuracy of the adaptive method, beside nautilus and pyimfit's bootstrap, galaxy by galaxy in one run.

The galaxies are drawn by galsim, PSF and pixel included, on 64 x 64 pixels with noise of 1 and a sky: in turn a Sersic
profile (8 free parameters), one with a point source in its middle (9), and a bulge on an exponential disk (12). Their
signal-to-noise ratios are 5 to 500, and their half-light diameters 0.3 to 10 times the full width at half maximum of
the PSF. For each of them the table has

- the time of a fit by `adaptive`, from the image to the posterior with its evidence, its likelihoods, and that time in
  units of 2 N_eff likelihoods in batches, timed in the same minute;
- how far an audit of it (nautilus on the cube of the prior) differs: ln Z in combined errors, and the largest
  differences of medians, and of standard deviations, in the latter;
- the time of a fit by `nautilus` with its defaults;
- for single profiles, the time of pyimfit's least-squares fit and 200 bootstraps, which has no evidence (`pip install
  pyimfit`).

All programs are compiled before. Run it, in parts if need be: what `results.jsonl` holds already is not done again.

    python -m benchmarks.adaptive results.jsonl [--start 0] [--number 20] [--peers audit,nautilus,pyimfit]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socca.utils.xla import SINGLE_THREAD

os.environ.update(SINGLE_THREAD)  # before JAX and BLAS load

import galsim
import numpy as np

from benchmarks.galaxies import point, sersic, sersic_flux, star
from socca.data import Image
from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Exponential, Model, Point, Sersic
from socca.noise import Normal
from socca.posterior.posterior import Posterior
from socca.priors import boundto, loguniform, normal, uniform

PIXEL, SIZE, SIGMA, STAMP = 0.2 / 3600, 64, 1.0, 47
FWHM = 3.5
PSF = galsim.Moffat(beta=3.5, fwhm=FWHM)
KINDS = ("sersic", "sersic_point", "bulge_disk")
RATIOS, DIAMETERS = (5.0, 500.0), (0.3, 10.0)
#: Rows of the batches that are timed, and rounds, of which the fastest counts.
ROWS, ROUNDS = 256, 5
BOOTSTRAPS = 200


def problem_of(kind: str, data: np.ndarray) -> Problem:
    """Return the problem of an image; all of one kind have the same priors, and one program."""
    image = Image(data, pixel_scale=3600 * PIXEL, noise=Normal(sigma=SIGMA))
    image.addpsf(star(PSF, STAMP))
    position = {name: uniform(-2 * PIXEL, 2 * PIXEL) for name in ("xc", "yc")}
    angle, model = uniform(0, np.pi), Model()
    if kind == "bulge_disk":
        disk = Exponential(
            **position, theta=angle, e=uniform(0, 0.9), rs=loguniform(0.3 * PIXEL, 15 * PIXEL), Is=loguniform(1e-2, 1e3)
        )
        bulge = Sersic(
            theta=angle, e=uniform(0, 0.9), re=loguniform(0.2 * PIXEL, 10 * PIXEL), Ie=loguniform(1e-2, 1e3),
            ns=uniform(0.5, 6),
        )  # fmt: skip
        bulge.xc, bulge.yc = boundto(disk, "xc"), boundto(disk, "yc")
        parts = {"disk": disk, "bulge": bulge}
    else:
        galaxy = Sersic(
            **position, theta=angle, e=uniform(0, 0.9), re=loguniform(0.3 * PIXEL, 30 * PIXEL),
            Ie=loguniform(1e-2, 1e3), ns=uniform(0.5, 6),
        )  # fmt: skip
        parts = {"galaxy": galaxy}
        if kind == "sersic_point":
            nucleus = Point(Ic=loguniform(1, 1e5))
            nucleus.xc, nucleus.yc = boundto(galaxy, "xc"), boundto(galaxy, "yc")
            parts["nucleus"] = nucleus
    for label, component in {**parts, "sky": Background(a0=normal(0, 1))}.items():
        model.addcomponent(component, label=label)
    return Problem(image, model)


def galaxy(index: int) -> tuple[str, dict[str, float], np.ndarray, float]:
    """Return kind, main profile, image with noise, and signal-to-noise ratio of a galaxy."""
    kind = KINDS[index % len(KINDS)]
    rng = np.random.default_rng([1863, index])
    ratio = float(np.exp(rng.uniform(*np.log(RATIOS))))
    re = float(np.exp(rng.uniform(*np.log(DIAMETERS)))) * FWHM / 2
    place = {"xc": float(rng.uniform(-1, 1)), "yc": float(rng.uniform(-1, 1))}

    def profile(re: float, ns: float, flux: float) -> dict[str, float]:
        e = float(rng.uniform(0.05, 0.7))
        one = {**place, "theta": float(rng.uniform(0, np.pi)), "e": e, "re": re, "ns": ns}
        return {**one, "Ie": flux / float(sersic_flux(np.float64(re), np.float64(e), np.float64(ns)))}

    share = float(rng.uniform(0.1, 0.6))
    if kind == "bulge_disk":
        main = profile(re, 1.0, 1 - share)
        other = sersic(profile(re * float(rng.uniform(0.15, 0.5)), float(rng.uniform(1, 4.5)), share), PSF, SIZE)
    elif kind == "sersic_point":
        main = profile(re, float(rng.uniform(0.6, 4)), 1 - share)
        other = point({**place, "flux": share}, PSF, SIZE)
    else:
        main, other = profile(re, float(rng.uniform(0.6, 5)), 1.0), 0.0
    light = sersic(main, PSF, SIZE) + other
    scale = ratio * SIGMA / math.sqrt(np.sum(light**2))
    data = scale * light + rng.normal(0, 0.5) + rng.normal(scale=SIGMA, size=light.shape)
    return kind, {**main, "Ie": scale * main["Ie"]}, data, ratio


def likelihood_seconds(problem: Problem) -> float:
    """Return the time of one likelihood in a batch."""
    theta = problem.prior_transform(np.random.default_rng(1).random((ROWS, problem.ndim)))
    fastest = math.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        problem.log_likelihood(theta)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest / ROWS


def fitted(problem: Problem, method: str, seed: int, **options: Any) -> tuple[float, Posterior]:
    """Fit an image; return the seconds that it took, and the posterior."""
    start = time.perf_counter()
    posterior, _ = sample(problem, method, seed=seed, **options)
    return time.perf_counter() - start, posterior


def imfit_seconds(data: np.ndarray, truth: dict[str, float]) -> float:
    """Return the time of pyimfit's fit of a profile and a sky, from the truth, and its bootstraps."""
    import pyimfit

    description = pyimfit.SimpleModelDescription()
    middle = (SIZE + 1) / 2
    description.x0.setValue(middle - truth["xc"], [middle - 2, middle + 2])
    description.y0.setValue(middle + truth["yc"], [middle - 2, middle + 2])
    function = pyimfit.make_imfit_function("Sersic")
    angle = math.degrees(truth["theta"]) % 180
    function.PA.setValue(angle, [angle - 90, angle + 90])
    bounds = {"ell": (0, 0.9), "n": (0.5, 6), "I_e": (1e-2, 1e3), "r_e": (0.3, 30)}
    for ours, theirs in (("e", "ell"), ("ns", "n"), ("Ie", "I_e"), ("re", "r_e")):
        low, high = bounds[theirs]
        getattr(function, theirs).setValue(min(max(truth[ours], low), high), [low, high])
    sky = pyimfit.make_imfit_function("FlatSky")
    sky.I_sky.setValue(0.0, [-5, 5])
    description.addFunction(function)
    description.addFunction(sky)
    start = time.perf_counter()
    fitter = pyimfit.Imfit(description, psf=star(PSF, STAMP), maxThreads=1)
    fitter.loadData(data, error=np.full(data.shape, SIGMA), error_type="sigma")
    fitter.doFit()
    fitter.runBootstrap(BOOTSTRAPS, seed=1)
    return time.perf_counter() - start


def compared(index: int, peers: Sequence[str]) -> dict[str, Any]:
    """Fit a galaxy with the adaptive method and its peers."""
    kind, truth, data, ratio = galaxy(index)
    one = likelihood_seconds(problem_of(kind, data))
    seconds, posterior = fitted(problem_of(kind, data), "adaptive", index + 1)
    record = posterior.record.sampler
    found: dict[str, Any] = {
        "index": index,
        "kind": kind,
        "ratio": ratio,
        "re": truth["re"],
        "likelihood": one,
        "adaptive": seconds,
        "calls": record.n_calls,
        "n_eff": record.n_eff,
        "converged": record.converged,
        "tier": record.notes.tier,
        "why": record.notes.escalated,
        "in_budgets": seconds / (2 * record.n_eff * one),
        "logz_err": posterior.logz_err,
    }
    if "audit" in peers and record.notes.tier == "importance":
        both, other = fitted(problem_of(kind, data), "adaptive", index + 1, audit=1.0)
        audit = other.record.sampler.notes.audit
        found |= {"audit": both - seconds, "audit_calls": other.record.sampler.n_calls - record.n_calls}
        found |= {"logz": audit["off_logz"], "median": audit["off_median"], "deviation": audit["off_deviation"]}
        found["reasons"] = audit["reasons"]
    if "nautilus" in peers:
        found["nautilus"], other = fitted(problem_of(kind, data), "nautilus", index + 1)
        found |= {"nautilus_calls": other.record.sampler.n_calls, "nautilus_logz_err": other.logz_err}
    if "pyimfit" in peers and kind == "sersic":
        found["pyimfit"] = imfit_seconds(data, truth)
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return a table of all galaxies, and what it says of each kind."""
    lines = [
        "| galaxy | kind | S/N | tier | calls | adaptive, s | in 2 N_eff likelihoods | nautilus, s | ratio "
        "| pyimfit, s | ln Z, errors | medians | deviations |",
        "|" + " --- |" * 13,
    ]
    for one in sorted(found, key=lambda one: int(one["index"])):
        cells = [
            *(str(one["index"]), one["kind"], f"{one['ratio']:.0f}", one["tier"], str(one["calls"])),
            *(f"{one['adaptive']:.2f}", f"{one['in_budgets']:.2f}"),
            *(f"{one['nautilus']:.1f}" if "nautilus" in one else "",),
            *(f"{one['nautilus'] / one['adaptive']:.1f}" if "nautilus" in one else "",),
            *(f"{one['pyimfit']:.1f}" if "pyimfit" in one else "",),
            *(f"{one[key]:+.2f}" if key in one else "" for key in ("logz", "median", "deviation")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| kind | S/N | galaxies | passed | calls | adaptive, s | in budgets | nautilus, s | pyimfit, s |"]
    lines.append("|" + " --- |" * 9)
    for kind in KINDS:
        for low, high in ((5, 15), (15, 50), (50, 500)):
            own = [one for one in found if one["kind"] == kind and low <= one["ratio"] < high]
            if not own:
                continue
            passed = [one for one in own if one["tier"] == "importance"]
            medians = [
                f"{np.median(values):.3g}" if (values := [one[key] for one in chosen if key in one]) else ""
                for chosen, key in (
                    *((passed, key) for key in ("calls", "adaptive", "in_budgets")),
                    *((own, key) for key in ("nautilus", "pyimfit")),
                )
            ]
            cells = [kind, f"{low} to {high}", str(len(own)), f"{len(passed) / len(own):.0%}", *medians]
            lines.append("| " + " | ".join(cells) + " |")
    both = [one for one in found if "logz" in one and one["tier"] == "importance"]
    if both:
        near = np.mean([abs(one["logz"]) < 3 for one in both])
        medians, deviations = (np.mean([one[key] < 0.15 for one in both]) for key in ("median", "deviation"))
        lines.append(
            f"\n{len(both)} passes with an audit: ln Z within 3 combined errors in {near:.1%}; all medians within "
            f"0.15 deviations in {medians:.1%}; all deviations within 15 % in {deviations:.1%}; beyond scatter: "
            f"{[(one['index'], one['reasons']) for one in both if one['reasons']]}"
        )
    return "\n".join(lines)


def main() -> None:
    """Fit what is left to fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--peers", default="audit,nautilus,pyimfit")
    given = parser.parse_args()
    peers = given.peers.split(",")
    done = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    skip = {one["index"] for one in done}
    left = [index for index in range(given.start, given.number) if index not in skip]
    for index in {KINDS[index % len(KINDS)]: index for index in left}.values():
        problem = problem_of(*galaxy(index)[::2])
        problem.log_likelihood_and_grad(problem.prior_transform(np.full((1, problem.ndim), 0.5)))
        fitted(problem, "adaptive", 1, max_draws=1000, fallback="none")
    with given.results.open("a") as file:
        for index in left:
            done.append(compared(index, peers))
            print(json.dumps(done[-1]), file=file, flush=True)
    print(table(done))


if __name__ == "__main__":
    main()
