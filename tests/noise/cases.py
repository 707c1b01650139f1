"""One case for each noise model: how it is made, what it should say, and how its data are drawn."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy import stats

from socca.models.rendered import Rendered
from socca.noise import Normal, NormalCorrelated, NormalFourier, NormalRI, Poisson, StudentT

SHAPE = (6, 7)
SIZE = SHAPE[0] * SHAPE[1]
RNG = np.random.default_rng(21)
SIGMA = RNG.uniform(0.5, 2, SHAPE)
MASK = RNG.random(SHAPE) > 0.25
ROOT = RNG.normal(0, 1, (SIZE, SIZE))
COVARIANCE = ROOT @ ROOT.T / SIZE + 0.3 * np.eye(SIZE)
TEMPLATE = RNG.uniform(0.5, 3, SHAPE)
#: A window that is zero in masked pixels.
WINDOW = np.where(MASK, RNG.uniform(0.5, 1, SHAPE), 0)


def spectrum(shape, seed=5):
    """Return a power spectrum on the full plane, equal at opposite modes."""
    ny, nx = shape
    power = np.random.default_rng(seed).uniform(0.5, 3, shape)
    return (power + power[np.ix_(-np.arange(ny) % ny, -np.arange(nx) % nx)]) / 2


def circulant(power):
    """Return the covariance of all pixels of noise with a power spectrum on the full plane."""
    lags = np.fft.ifft2(power).real  # covariance at each shift
    rows, cols = np.indices(power.shape).reshape(2, -1)
    return lags[rows[:, None] - rows, cols[:, None] - cols]


def half(power):
    return power[:, : power.shape[1] // 2 + 1]


def multivariate(data, model, covariance):
    return stats.multivariate_normal(np.ravel(model), covariance).logpdf(np.ravel(data))


@dataclass(frozen=True)
class Case:
    """How one noise model is made, what it should say, and how its data are drawn."""

    make: Any
    #: (data, model, used, values) -> log-likelihood
    wanted: Any
    #: Values of its parameters that are not neutral.
    values: dict[str, float]
    #: (rng, model, values) -> data
    draw: Any


def normal_spread(values):
    return np.hypot(values.get("scale", 1) * SIGMA, values.get("floor", 0))


def correlated(rng, model, covariance, values):
    noise = rng.multivariate_normal(np.zeros(model.size), covariance, method="cholesky")
    return model + values.get("scale", 1) * noise.reshape(model.shape)


def fourier_wanted(data, model, used, values):
    # Without masked pixels, exact; with them, the Gaussian of the windowed residual, as documented.
    window = np.ones(SHAPE) if used.all() else WINDOW
    covariance = values.get("scale", 1) ** 2 * circulant(spectrum(SHAPE)) * np.mean(window**2)
    return multivariate(window * np.where(used, data - model, 0), np.zeros(SHAPE), covariance)


CASES = {
    "normal": Case(
        make=lambda used, **values: Normal(sigma=SIGMA, **values),
        wanted=lambda d, m, used, v: stats.norm.logpdf(d, m, normal_spread(v))[used].sum(),
        values={"scale": 1.3, "floor": 0.4},
        draw=lambda rng, m, v: rng.normal(m, normal_spread(v)),
    ),
    "studentt": Case(
        make=lambda used, **values: StudentT(wht=SIGMA**-2.0, **values),
        wanted=lambda d, m, used, v: stats.t.logpdf(d, v.get("nu", 4), m, v.get("scale", 1) * SIGMA)[used].sum(),
        values={"nu": 5.5, "scale": 0.7},
        draw=lambda rng, m, v: m + v.get("scale", 1) * SIGMA * rng.standard_t(v.get("nu", 4), m.shape),
    ),
    "poisson": Case(
        make=lambda used, **values: Poisson(**values),
        wanted=lambda d, m, used, v: stats.poisson.logpmf(d, m + v.get("background", 0))[used].sum(),
        values={"background": 1.7},
        draw=lambda rng, m, v: rng.poisson(m + v.get("background", 0)).astype(float),
    ),
    "normal_correlated": Case(
        make=lambda used, **values: NormalCorrelated(cov=COVARIANCE, **values),
        wanted=lambda d, m, used, v: multivariate(
            d[used], m[used], v.get("scale", 1) ** 2 * COVARIANCE[np.ix_(used.ravel(), used.ravel())]
        ),
        values={"scale": 1.2},
        draw=lambda rng, m, v: correlated(rng, m, COVARIANCE, v),
    ),
    "normal_fourier": Case(
        make=lambda used, **values: NormalFourier(
            cov=half(spectrum(SHAPE)), apod=None if used.all() else WINDOW, **values
        ),
        wanted=fourier_wanted,
        values={"scale": 1.2},
        draw=lambda rng, m, v: correlated(rng, m, circulant(spectrum(SHAPE)), v),
    ),
    "normal_ri": Case(
        make=lambda used, **values: NormalRI(SIGMA),
        wanted=lambda d, m, used, v: -0.5 * ((m - 2 * d) * (m / 2) / SIGMA**2)[used].sum(),
        values={},
        draw=lambda rng, m, v: rng.normal(m, SIGMA),
    ),
}


def drawn(total, xp=np):
    """Return a model: most of it seen through the PSF, the rest background; on the sky half of it."""
    return Rendered(total / 2, total, xp.zeros_like(total), False)


def evaluate(noise, image, total, arrays=None, **values):
    arrays = noise.prepare(image) if arrays is None else arrays
    with jax.enable_x64(True):
        return float(noise.log_likelihood(drawn(total), arrays, {**noise.values, **values}, noise.spec()))


HALF = half(spectrum(SHAPE))
