"""Speed of the likelihood: `python -m benchmarks.likelihood [--sizes 64,128,256,512]`, on one core.

For square images with a PSF of 25 x 25 pixels: milliseconds per likelihood of one Sersic profile with seven free
parameters (alone, and in a batch of 64), per gradient, with a second profile, in single precision, and all 64 images
of the batch side by side (`jax.vmap`) instead of one after another; of one bare real Fourier transform and back at the
same padded size; and of pyimfit's fit statistic (`pip install pyimfit`), on the same problem. All are measured in turn
in one run, the best of several rounds each; compare within a run only.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable

from socca.utils.xla import single_thread_environment

os.environ.update(single_thread_environment())  # before JAX loads
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np

from socca.data import Image
from socca.likelihood.compiled import programs
from socca.likelihood.problem import Problem
from socca.models import Model, Sersic
from socca.noise import Normal
from socca.priors import loguniform, uniform
from socca.utils.xla import meter

PIXEL, PSF, BATCH = 0.2 / 3600, 25, 64


def gaussian_psf() -> np.ndarray:
    """Return the PSF, of 4 pixels full width at half maximum."""
    row, col = np.indices((PSF, PSF)) - (PSF - 1) / 2
    psf = np.exp(-0.5 * (row**2 + col**2) / 1.7**2)
    return psf / psf.sum()


def problem(size: int, components: int = 1, precision: str = "float64") -> Problem:
    """Return the problem: noise as data, and broad priors."""
    data = np.random.default_rng(0).normal(size=(size, size))
    image = Image(data, noise=Normal(sigma=1.0), pixel_scale=PIXEL * 3600)
    image.addpsf(gaussian_psf())
    model = Model()
    for _ in range(components):
        model.addcomponent(
            Sersic(
                xc=uniform(-3 * PIXEL, 3 * PIXEL),
                yc=uniform(-3 * PIXEL, 3 * PIXEL),
                theta=uniform(0, np.pi),
                e=uniform(0, 0.8),
                re=loguniform(2 * PIXEL, size / 8 * PIXEL),
                Ie=loguniform(0.1, 10),
                ns=uniform(0.5, 6),
            )
        )
    return Problem(image, model, precision=precision)


def draws(problem: Problem, number: int) -> np.ndarray:
    """Return points of the prior."""
    return problem.prior_transform(np.random.default_rng(1).random((number, problem.ndim)))


def batched(function: Callable, rows: np.ndarray) -> tuple[Callable, int]:
    """Return what is timed, and how many evaluations it makes."""
    return (lambda: function(rows)), len(rows)


def fourier(problem: Problem) -> tuple[Callable, int]:
    """Return Fourier transforms of the padded image and back, one after another."""
    full = problem.spec.scene.grid.full
    with jax.enable_x64(True):
        image = jnp.asarray(np.random.default_rng(2).random(full))

        def there_and_back(image: jax.Array, count: int) -> jax.Array:
            return jax.lax.fori_loop(0, count, lambda _, a: jnp.fft.irfft2(jnp.fft.rfft2(a), s=full), image)

        compiled = jax.jit(there_and_back)

    def call() -> None:
        with jax.enable_x64(True):
            jax.block_until_ready(compiled(image, BATCH))

    return call, BATCH


def side_by_side(problem: Problem, rows: np.ndarray) -> tuple[Callable, int]:
    """Return the likelihoods of all rows by `jax.vmap`."""
    compiled = jax.jit(jax.vmap(programs(problem.spec).one, in_axes=(None, 0)))

    def call() -> None:
        with jax.enable_x64(True):
            jax.block_until_ready(compiled(problem.on_device, rows))

    return call, len(rows)


def imfit(problem: Problem, size: int, rows: np.ndarray) -> tuple[Callable, int] | None:
    """Return pyimfit's fit statistic for the same parameters; None where it is not installed."""
    try:
        import pyimfit
    except ImportError:
        return None
    description = pyimfit.SimpleModelDescription()
    description.x0.setValue(size / 2, [1, size])
    description.y0.setValue(size / 2, [1, size])
    description.addFunction(pyimfit.make_imfit_function("Sersic"))
    fitter = pyimfit.Imfit(description, psf=gaussian_psf(), maxThreads=1)
    data = np.asarray(problem.arrays["noise"].data).copy()
    fitter.loadData(data, error=np.ones_like(data), error_type="sigma")
    named = {name.removeprefix("comp_00_"): column for name, column in zip(problem.names, rows.T, strict=True)}
    middle = (size + 1) / 2
    # X0, Y0 (from 1), PA in degrees from +y, ellipticity, n, I_e, r_e in pixels.
    table = np.column_stack(
        [
            middle - named["xc"] / PIXEL,
            middle + named["yc"] / PIXEL,
            np.degrees(named["theta"]),
            *(named[name] for name in ("e", "ns", "Ie")),
            named["re"] / PIXEL,
        ]
    )
    ours = problem.log_likelihood(rows)
    theirs = np.array([fitter.computeFitStatistic(row) for row in table])
    ours = -2 * (ours + 0.5 * data.size * np.log(2 * np.pi))
    print(f"    chi-square here and in pyimfit: median relative difference {np.median(np.abs(ours / theirs - 1)):.1e}")

    def call() -> None:
        for row in table:
            fitter.computeFitStatistic(row)

    return call, len(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="64,128,256,512")
    parser.add_argument("--rounds", type=int, default=9, help="rounds at least")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of rounds at least")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for size in map(int, options.sizes.split(",")):
        one, two, single = problem(size), problem(size, 2), problem(size, precision="float32")
        print(f"{size} x {size}, transforms of {one.spec.scene.grid.full}")
        for name, function in (("value", one.log_likelihood), ("gradient", one.log_likelihood_and_grad)):
            row = draws(one, 1)
            before = meter().reading()
            function(row)
            after = meter().reading()
            print(f"    compiling the {name}: {after[1] - before[1]:.1f} s ({after[0] - before[0]} programs)")
        rows = draws(one, BATCH)
        timed = {
            "FFT": fourier(one),
            "batch of 64": batched(one.log_likelihood, rows),
            "batch of 1": batched(one.log_likelihood, rows[:1]),
            "gradient": batched(one.log_likelihood_and_grad, rows[:16]),
            "two profiles": batched(two.log_likelihood, draws(two, BATCH)),
            "float32": batched(single.log_likelihood, rows),
            "vmap of 64": side_by_side(one, rows) if size <= 256 else None,
            "pyimfit": imfit(one, size, rows[:4]),
        }
        found = {name: np.inf for name, what in timed.items() if what}
        started, rounds = time.perf_counter(), 0
        while rounds < options.rounds or time.perf_counter() - started < options.seconds:
            rounds += 1
            for name in found:
                call, number = timed[name]  # type: ignore[misc]
                start = time.perf_counter()
                call()
                found[name] = min(found[name], (time.perf_counter() - start) / number)
        value = found["batch of 64"]
        print(f"    {'':<14}{'ms':>10}{'/ FFT':>10}{'/ value':>10}")
        for name, seconds in found.items():
            print(f"    {name:<14}{1e3 * seconds:>10.3f}{seconds / found['FFT']:>10.2f}{seconds / value:>10.2f}")


if __name__ == "__main__":
    main()
