"""A set of posteriors that are hard to explore: several maxima, curved ridges, and edges of priors.

Each is the problem of a small image without a PSF. Lengths are in pixels here; the noise has a deviation of 1. Evidence
and moments are in ``reference/posteriors.json``, by adaptive quadrature of the same likelihood
(``reference/make_posteriors.py``).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from socca.data import Image
from socca.likelihood.problem import Problem
from socca.models import Background, Beta, Gaussian, Model, Sersic
from socca.noise import Normal
from socca.priors import loguniform, normal, uniform

#: Size of a pixel, degrees.
PIXEL = 0.2 / 3600
REFERENCE = Path(__file__).parent / "reference" / "posteriors.json"

#: Options of samplers, where not their defaults.
OPTIONS = {
    "nautilus": {},
    "adaptive": {"fallback": "none"},
    "dynesty": {"nlive": 300},
    "pocomc": {"n_active": 128, "n_effective": 256, "n_total": 2000, "n_evidence": 2000, "flow": "nsf3"},
    "emcee": {"max_steps": 20_000},
    "numpyro": {"num_chains": 2, "num_warmup": 300, "num_samples": 1000},
}

#: Name -> (kind, function that makes the problem).
CASES = {}


def case(kind):
    """Register a function that makes a problem."""

    def add(function):
        CASES[function.__name__] = (kind, function)
        return function

    return add


def px(low, high):
    """Return a flat prior of a length between two numbers of pixels."""
    return uniform(low * PIXEL, high * PIXEL)


def logpx(low, high):
    """Return a flat prior of a length's logarithm between two numbers of pixels."""
    return loguniform(low * PIXEL, high * PIXEL)


def sky(n):
    """Return coordinates of pixels to the east and north, in pixels from the centre."""
    row, col = np.mgrid[:n, :n] - (n - 1) / 2
    return -col, row


def light(n, x0, y0, size, peak, e=0.0, theta=0.0):
    """Return a Gaussian on n x n pixels; sizes and places in pixels, east and north."""
    x, y = sky(n)
    x, y = x - x0, y - y0
    along = x * math.sin(theta) + y * math.cos(theta)
    across = x * math.cos(theta) - y * math.sin(theta)
    return peak * np.exp(-0.5 * (along**2 + (across / (1 - e)) ** 2) / size**2)


def noise(n, seed):
    """Return white noise of deviation 1."""
    return np.random.default_rng([19, seed]).normal(size=(n, n))


def problem(data, *components):
    """Return the problem of an image and some components."""
    model = Model()
    for component in components:
        model.addcomponent(component)
    return Problem(Image(np.asarray(data), noise=Normal(sigma=1.0), pixel_scale=0.2), model)


# several maxima


@case("maxima")
def two_equal():
    data = light(17, -5, 0, 1.2, 6) + light(17, 5, 0, 1.2, 6)
    return problem(data, Gaussian(xc=px(-8, 8), yc=0, rs=1.2 * PIXEL, Is=uniform(0, 20)))


@case("maxima")
def two_unequal():
    data = light(17, -5, 0, 1.2, 7.25) + light(17, 5, 0, 1.2, 7) + 0.3 * noise(17, 1)
    return problem(data, Gaussian(xc=px(-8, 8), yc=0, rs=1.2 * PIXEL, Is=uniform(0, 20)))


@case("maxima")
def two_in_the_plane():
    data = light(17, -4, 3, 1.2, 8) + light(17, 5, -2, 1.2, 8)
    return problem(data, Gaussian(xc=px(-8, 8), yc=px(-8, 8), rs=1.2 * PIXEL, Is=uniform(0, 20)))


@case("maxima")
def two_sizes_free():
    data = light(15, -4, 0, 1.0, 9) + light(15, 4, 0, 1.6, 5.62)
    return problem(data, Gaussian(xc=px(-7, 7), yc=0, rs=logpx(0.5, 5), Is=uniform(0, 30)))


@case("maxima")
def compact_and_extended():
    data = light(25, 6, 0, 0.7, 21.09) + light(25, -5, 0, 3.0, 5)
    return problem(data, Gaussian(xc=px(-10, 10), yc=0, rs=logpx(0.5, 5), Is=uniform(0, 60)))


@case("maxima")
def compact_holds_more():
    data = light(25, 6, 0, 0.7, 22.9) + light(25, -5, 0, 3.0, 5)
    return problem(data, Gaussian(xc=px(-10, 10), yc=0, rs=logpx(0.5, 5), Is=uniform(0, 60)))


@case("maxima")
def extended_holds_more():
    data = light(25, 6, 0, 0.7, 19.5) + light(25, -5, 0, 3.0, 5)
    return problem(data, Gaussian(xc=px(-10, 10), yc=0, rs=logpx(0.5, 5), Is=uniform(0, 60)))


@case("maxima")
def three_in_a_row():
    data = light(21, -7, 0, 1.0, 6) + light(21, 0, 0, 1.0, 6.1) + light(21, 7, 0, 1.0, 6)
    return problem(data, Gaussian(xc=px(-10, 10), yc=0, rs=PIXEL, Is=uniform(0, 20)))


@case("maxima")
def four_corners():
    data = sum(light(17, i, j, 1.2, 6) for i in (-4, 4) for j in (-4, 4))
    return problem(data, Gaussian(xc=px(-8, 8), yc=px(-8, 8), rs=1.2 * PIXEL, Is=6.0))


@case("maxima")
def five_unequal():
    places = [(-5, -5, 7.0), (5, -4, 7.2), (-4, 5, 7.1), (5, 5, 6.9), (0, 0, 7.15)]
    data = sum(light(19, i, j, 1.2, peak) for i, j, peak in places)
    return problem(data, Gaussian(xc=px(-9, 9), yc=px(-9, 9), rs=1.2 * PIXEL, Is=7.0))


@case("maxima")
def swapped_sources():
    data = light(17, -4, 0, 1.2, 5) + light(17, 4, 0, 1.2, 5)
    shape = {"yc": 0, "rs": 1.2 * PIXEL, "Is": 5.0}
    return problem(data, Gaussian(xc=px(-8, 8), **shape), Gaussian(xc=px(-8, 8), **shape))


@case("maxima")
def swapped_unequal():
    """Sources whose intensities differ a little: exchanged, they fit nearly as well."""
    data = light(17, -4, 0, 1.2, 5.1) + light(17, 4, 0, 1.2, 4.7)
    shape = {"yc": 0, "rs": 1.2 * PIXEL}
    return problem(data, Gaussian(xc=px(-8, 8), Is=5.0, **shape), Gaussian(xc=px(-8, 8), Is=4.7, **shape))


@case("maxima")
def swapped_sizes():
    """Bulge and disk around one centre, with one prior for both sizes."""
    data = light(17, 0, 0, 1.0, 8) + light(17, 0, 0, 3.5, 6)
    return problem(
        data,
        Gaussian(xc=0, yc=0, rs=logpx(0.5, 8), Is=uniform(0, 30)),
        Gaussian(xc=0, yc=0, rs=logpx(0.5, 8), Is=7.0),
    )


@case("maxima")
def angle_twice_around():
    data = light(15, 0, 0, 3, 3, 0.5, 0.7)
    return problem(data, Gaussian(xc=0, yc=0, rs=3 * PIXEL, Is=3.0, e=uniform(0, 0.9), theta=uniform(0, 2 * math.pi)))


@case("maxima")
def cross():
    data = light(17, 0, 0, 4, 3, 0.7, 0.4) + light(17, 0, 0, 4, 3, 0.7, 0.4 + math.pi / 2)
    return problem(data, Gaussian(xc=0, yc=0, rs=4 * PIXEL, Is=uniform(0, 10), e=0.7, theta=uniform(0, math.pi)))


@case("maxima")
def star_of_three():
    data = sum(light(17, 0, 0, 4.5, 4, 0.8, 0.1 + k * math.pi / 3) for k in range(3))
    return problem(data, Gaussian(xc=0, yc=0, rs=4.5 * PIXEL, Is=uniform(0, 12), e=0.8, theta=uniform(0, math.pi)))


@case("maxima")
def mirrored_by_a_tie():
    """The place to the east is the square of that to the north: two places, one to the north and one to the south."""
    data = light(17, 4, 0, 2.5, 4)
    source = Gaussian(xc=lambda comp_00_yc: comp_00_yc**2 / (4 * PIXEL), yc=px(-7, 7), rs=2.5 * PIXEL)
    source.Is = uniform(0, 12)
    return problem(data, source)


@case("maxima")
def needle_and_haystack():
    """A compact source of hardly any volume, an extended one, and both coordinates free."""
    data = light(21, 5, 3, 0.6, 26) + light(21, -4, -3, 2.5, 6)
    return problem(data, Gaussian(xc=px(-9, 9), yc=px(-9, 9), rs=logpx(0.4, 4), Is=uniform(0, 60)))


@case("maxima")
def peaks_of_noise():
    return problem(noise(17, 2), Gaussian(xc=px(-8, 8), yc=px(-8, 8), rs=1.2 * PIXEL, Is=normal(0, 5)))


@case("maxima")
def faint_among_noise():
    data = light(17, 3, -2, 1.2, 2.0) + noise(17, 3)
    return problem(data, Gaussian(xc=px(-8, 8), yc=px(-8, 8), rs=1.2 * PIXEL, Is=uniform(0, 10)))


# rings and curved ridges


def ring(n, radius, size, peak):
    """Return an evenly bright ring."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return sum(light(n, radius * math.cos(a), radius * math.sin(a), size, peak) for a in angles)


@case("curved")
def source_on_a_ring():
    return problem(ring(17, 5, 1.2, 0.8), Gaussian(xc=px(-8, 8), yc=px(-8, 8), rs=1.2 * PIXEL, Is=6.0))


@case("curved")
def source_on_half_a_ring():
    data = ring(17, 5, 1.2, 0.8) * (1 / (1 + np.exp(-sky(17)[0])))
    return problem(data, Gaussian(xc=px(-8, 8), yc=px(-8, 8), rs=1.2 * PIXEL, Is=uniform(0, 12)))


@case("curved")
def faint_sersic():
    data = light(17, 0, 0, 2.0, 2.5) + noise(17, 4)
    return problem(data, Sersic(xc=0, yc=0, re=px(0.5, 8), Ie=uniform(0, 8), ns=uniform(0.5, 6)))


@case("curved")
def brighter_sersic():
    data = light(17, 0, 0, 2.0, 8) + 4 * np.exp(-np.hypot(*sky(17)) / 2) + noise(17, 5)
    return problem(data, Sersic(xc=0, yc=0, re=px(0.5, 8), Ie=uniform(0, 30), ns=uniform(0.5, 6)))


@case("curved")
def banana():
    data = light(21, 0, 0, 4, 2.0)
    source = Gaussian(yc=px(-7, 7))
    source.addparameter("bend", px(-9, 9), "deg", "where it crosses the axis")
    source.xc = lambda comp_00_yc, comp_00_bend: comp_00_bend + comp_00_yc**2 / (3 * PIXEL)
    source.rs, source.Is = 4 * PIXEL, 2.0
    return problem(data, source)


@case("curved")
def unresolved():
    """Smaller than a pixel: only the flux is known."""
    data = light(13, 0, 0, 0.4, 60)
    return problem(data, Gaussian(xc=0, yc=0, rs=logpx(0.05, 2), Is=loguniform(1, 1e5)))


@case("curved")
def two_share_the_flux():
    data = light(15, 0, 0, 1.5, 6)
    shape = {"yc": 0, "rs": 1.5 * PIXEL}
    return problem(
        data, Gaussian(xc=-0.1 * PIXEL, Is=uniform(0, 8), **shape), Gaussian(xc=0.1 * PIXEL, Is=uniform(0, 8), **shape)
    )


@case("curved")
def beta_model():
    data = 3 * (1 + (np.hypot(*sky(17)) / 3) ** 2) ** -1.0 + 0.5 * noise(17, 6)
    return problem(data, Beta(xc=0, yc=0, rc=px(0.5, 12), Ic=uniform(0, 12), beta=uniform(0.2, 3)))


@case("curved")
def source_and_sky():
    data = light(13, 0, 0, 3.5, 2) + 1 + 0.7 * noise(13, 7)
    return problem(data, Gaussian(xc=0, yc=0, rs=px(0.5, 20), Is=uniform(0, 20)), Background(a0=uniform(-15, 15)))


# edges of priors, and directions without any slope


@case("edge")
def beyond_its_prior():
    data = light(15, 4, 0, 1.5, 5)
    return problem(data, Gaussian(xc=px(-6, 3.5), yc=px(-6, 6), rs=1.5 * PIXEL, Is=5.0))


@case("edge")
def nothing_there():
    return problem(0 * noise(15, 8), Gaussian(xc=px(-7, 7), yc=px(-7, 7), rs=1.5 * PIXEL, Is=uniform(0, 5)))


@case("edge")
def steeper_than_allowed():
    data = 30 * np.exp(-4 * np.maximum(np.hypot(*sky(17)), 0.4) ** 0.35) * 20 + 0.5 * noise(17, 9)
    return problem(data, Sersic(xc=0, yc=0, re=px(0.5, 12), Ie=uniform(0, 40), ns=uniform(0.5, 1.5)))


@case("edge")
def smaller_than_allowed():
    data = light(13, 0, 0, 0.5, 25)
    return problem(data, Gaussian(xc=0, yc=px(-5, 5), rs=px(0.7, 5), Is=uniform(0, 40)))


@case("edge")
def round_source():
    data = light(15, 0, 0, 2.5, 3)
    return problem(data, Gaussian(xc=0, yc=0, rs=2.5 * PIXEL, Is=3.0, e=uniform(0, 0.9), theta=uniform(0, math.pi)))


@case("edge")
def angle_without_meaning():
    data = light(15, 0, 0, 2, 5)
    return problem(data, Gaussian(xc=0, yc=0, rs=2 * PIXEL, Is=uniform(0, 15), e=0.0, theta=uniform(0, math.pi)))


@case("edge")
def angle_at_its_end():
    data = light(15, 0, 0, 3, 4, 0.5, 0.02)
    return problem(data, Gaussian(xc=0, yc=0, rs=3 * PIXEL, Is=uniform(0, 12), e=0.5, theta=uniform(0, math.pi)))


@case("edge")
def corner():
    data = light(15, 4, 4, 1.5, 5)
    return problem(data, Gaussian(xc=px(-6, 3.6), yc=px(-6, 3.6), rs=1.5 * PIXEL, Is=uniform(0, 4.5)))


def functions(case):
    """Return names and functions of the samples, shape (n, ndim) to (n,), whose means are compared.

    An angle on its whole period has its cosine and sine: a mean of its own would depend on where the period begins.
    """
    found = {}
    for k, (label, prior, period) in enumerate(zip(case.labels, case.priors, case.periods, strict=True)):
        low, high = prior.support
        if period is not None and math.isclose((high - low) % period, 0, abs_tol=1e-9):
            wave = 2 * math.pi / (high - low)
            found[f"cos {label}"] = lambda theta, k=k, wave=wave: np.cos(wave * theta[:, k])
            found[f"sin {label}"] = lambda theta, k=k, wave=wave: np.sin(wave * theta[:, k])
        else:
            found[label] = lambda theta, k=k: theta[:, k]
    return found


@dataclass(frozen=True)
class Known:
    """Evidence, and mean and deviation of each of `functions`, with the errors of the first two."""

    logz: float
    logz_err: float
    mean: dict[str, float]
    deviation: dict[str, float]
    mean_err: dict[str, float]


def reference():
    """Return what is known, by name."""
    return {name: Known(**found) for name, found in json.loads(REFERENCE.read_text()).items()}


def summary(case, draws):
    """Return what is compared of a sampler's draws, JSON-serialisable: evidence, means and effective samples."""
    weights = np.exp(draws.log_weights)
    return {
        "logz": draws.logz,
        "logz_err": draws.logz_err,
        "n_eff": draws.n_eff or float(1 / np.sum(weights**2)),
        "mean": {name: float(weights @ function(draws.samples)) for name, function in functions(case).items()},
    }


def deviations(known, found):
    """Return by how many of its stated errors a sampler is off: of ln Z, if it gives one, and of each mean.

    The stated error of a mean is the posterior's deviation over the root of the effective number of samples.

    Parameters
    ----------
    known : Known
        The right answers.
    found : dict
        From `summary`.

    Returns
    -------
    dict of float
        By ``ln Z`` and the names of `functions`.
    """
    off = {}
    if math.isfinite(found["logz"]):
        off["ln Z"] = (found["logz"] - known.logz) / math.hypot(found["logz_err"], known.logz_err)
    for name, mean in found["mean"].items():
        error = math.hypot(known.deviation[name] / math.sqrt(found["n_eff"]), known.mean_err[name])
        off[name] = (mean - known.mean[name]) / error
    return off
