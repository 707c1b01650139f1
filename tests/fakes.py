"""Problems with known answers, for tests of what explores them."""

import importlib.util
import math
from types import SimpleNamespace

import numpy as np
import pytest

from socca.likelihood.problem import Problem
from socca.models import Background, Model, Sersic
from socca.noise import Normal
from socca.priors import normal, uniform
from socca.samplers import METHODS

#: All samplers; those whose back end is an extra are skipped where it is not installed.
INSTALLED = [
    pytest.param(
        method,
        marks=pytest.mark.skipif(
            method == "pocomc" and importlib.util.find_spec("pocomc") is None, reason="needs socca[pocomc]"
        ),
    )
    for method in METHODS
]


class Numpy:
    """A problem written in NumPy, of which the samplers see what they see of a compiled one."""

    def __init__(self, log_likelihood, priors, periods=None, ellipses=()):
        self._log_likelihood = log_likelihood
        self.ellipses = ellipses
        self.has_information = False
        self.priors = priors
        self.ndim = len(priors)
        self.names = self.labels = [f"p{k}" for k in range(self.ndim)]
        self.periods = periods or [None] * self.ndim

    def log_likelihood(self, theta):
        return self._log_likelihood(np.atleast_2d(theta))

    def log_likelihood_and_grad(self, theta):
        theta = np.atleast_2d(theta)
        step = 1e-6 * np.eye(self.ndim)
        with np.errstate(invalid="ignore"):  # differences of infinities
            sides = [self._log_likelihood(theta + s) - self._log_likelihood(theta - s) for s in step]
        return self._log_likelihood(theta), np.stack(sides, axis=1) / 2e-6

    def log_prior(self, theta):
        return sum(prior.log_prob(x) for prior, x in zip(self.priors, np.atleast_2d(theta).T, strict=True))

    def prior_transform(self, u):
        return np.stack([p.icdf(x) for p, x in zip(self.priors, np.atleast_2d(u).T, strict=True)], axis=1)


def gaussian(theta, loc, scale):
    """Return the log density of independent normal numbers, shape (n,)."""
    z = (theta - loc) / scale
    return -0.5 * np.sum(z**2, axis=1) - np.sum(np.log(scale * np.ones(len(loc)))) - 0.5 * len(loc) * np.log(2 * np.pi)


#: Powers of east and north of a `Background`'s coefficients, by name.
TERMS = {
    **{"a0": (0, 0), "a1x": (1, 0), "a1y": (0, 1), "a2xx": (2, 0), "a2xy": (1, 1), "a2yy": (0, 2)},
    **{"a3xxx": (3, 0), "a3xxy": (2, 1), "a3xyy": (1, 2), "a3yyy": (0, 3)},
}
SHAPE, SIGMA, PIXEL = (8, 9), 0.8, 0.2


def linear_image(make_image, ndim, seed=5):
    """Return the problem of a polynomial in an image, and evidence, mean and covariance by linear algebra."""
    names = list(TERMS)[:ndim]
    rng = np.random.default_rng([seed, ndim])
    loc, scale = rng.normal(0, 0.3, ndim), rng.uniform(0.5, 2.0, ndim)
    data = rng.normal(0.5, SIGMA, SHAPE)
    priors = {name: normal(*numbers) for name, *numbers in zip(names, loc, scale, strict=True)}
    problem = Problem(make_image(data, noise=Normal(sigma=SIGMA)), Model(Background(**priors)))
    row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    x, y = -PIXEL * col.ravel(), PIXEL * row.ravel()  # arcsec to the east and north; rs is 1 arcsec
    design = np.stack([x**p * y**q for p, q in (TERMS[name] for name in names)], axis=1)
    covariance = np.linalg.inv(design.T @ design / SIGMA**2 + np.diag(scale**-2.0))
    mean = covariance @ (design.T @ data.ravel() / SIGMA**2 + loc / scale**2)
    marginal = SIGMA**2 * np.eye(data.size) + design @ np.diag(scale**2) @ design.T
    off = data.ravel() - design @ loc
    _, logdet = np.linalg.slogdet(2 * np.pi * marginal)
    logz = -0.5 * (off @ np.linalg.solve(marginal, off) + logdet)
    return SimpleNamespace(problem=problem, logz=float(logz), mean=mean, covariance=covariance)


def faint_source(make_image, make_psf):
    """Return a Sersic profile that is hardly above the noise, whose posterior is curved, and a sky.

    Evidence, mean and covariance are by Gauss-Legendre quadrature over radius and index, and linear algebra over
    intensity and sky, whose priors end 5 standard deviations away or more.
    """
    pixel, sigma, galaxy, psf = PIXEL / 3600, 2.0, {"xc": 0.0, "yc": 0.0, "e": 0.3, "theta": 0.7}, make_psf(sigma=1.4)
    priors = {"re": uniform(pixel, 6 * pixel), "Ie": uniform(0, 1000), "ns": uniform(0.5, 4), "a0": uniform(0, 10)}
    model = Model(Sersic(**galaxy, **{name: priors[name] for name in ("re", "Ie", "ns")}))
    model.addcomponent(Background(a0=priors["a0"]))
    light = Sersic(**galaxy, re=3 * pixel, Ie=20.0, ns=1.5).getmap(make_image(shape=(24, 24), psf=psf), convolve=True)
    data = light + 2.0 + np.random.default_rng(22).normal(scale=sigma, size=light.shape)
    problem = Problem(make_image(data, noise=Normal(sigma=sigma), psf=psf), model)
    order = [name.split("_")[-1] for name in problem.names]
    nodes, node_weights = np.polynomial.legendre.leggauss(40)
    nodes, node_weights = 0.5 + 0.5 * nodes, 0.5 * node_weights
    logs, means, covariances = [], [], []
    for u, u_weight in zip(nodes, node_weights, strict=True):
        for v, v_weight in zip(nodes, node_weights, strict=True):
            values = {"re": float(priors["re"].icdf(u)), "Ie": 1.0, "ns": float(priors["ns"].icdf(v)), "a0": 0.0}
            shape = problem.render(np.array([values[name] for name in order])).total.ravel()
            design = np.stack([shape, np.ones_like(shape)], axis=1)
            inner = sigma**2 * np.linalg.inv(design.T @ design)
            best = inner @ design.T @ data.ravel() / sigma**2
            chi2 = np.sum((data.ravel() - design @ best) ** 2) / sigma**2
            norm = data.size * math.log(2 * math.pi * sigma**2) - np.linalg.slogdet(2 * np.pi * inner)[1]
            logs.append(-0.5 * (chi2 + norm) - math.log(1000 * 10) + math.log(u_weight * v_weight))
            values |= {"Ie": best[0], "a0": best[1]}
            means.append([values[name] for name in order])
            covariances.append(np.zeros((4, 4)))
            where = [order.index("Ie"), order.index("a0")]
            covariances[-1][np.ix_(where, where)] = inner
    logz = np.logaddexp.reduce(logs)
    weights, means = np.exp(logs - logz), np.array(means)
    mean = weights @ means
    off = means - mean
    covariance = (off * weights[:, None]).T @ off + np.tensordot(weights, covariances, 1)
    return SimpleNamespace(problem=problem, logz=float(logz), mean=mean, covariance=covariance)


def _by_quadrature(log_likelihood, low, high):
    """Return a problem in a square with a flat prior, and evidence, mean and covariance by the midpoint rule."""
    n = 1500
    x = low + (high - low) * (np.arange(n) + 0.5) / n
    plane = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    height = np.exp(log_likelihood(plane))
    mean = height @ plane / height.sum()
    off = plane - mean
    covariance = (off * height[:, None]).T @ off / height.sum()
    problem = Numpy(log_likelihood, [uniform(low, high)] * 2)
    return SimpleNamespace(problem=problem, logz=math.log(height.mean()), mean=mean, covariance=covariance)


def two_modes():
    """A narrow mode, high, at which a search ends, and a wide one that holds most of the mass."""
    modes = [(np.array([0.2, 0.3]), 0.03, 0.3), (np.array([0.65, 0.6]), 0.1, 0.7)]
    return _by_quadrature(
        lambda theta: np.logaddexp(*[gaussian(theta, loc, scale) + math.log(mass) for loc, scale, mass in modes]), 0, 1
    )


def banana():
    """A curved ridge: the second parameter follows the square of the first."""
    return _by_quadrature(
        lambda theta: -0.5 * ((theta[:, 0] / 0.5) ** 2 + ((theta[:, 1] - 2 * theta[:, 0] ** 2) / 0.1) ** 2), -3, 3
    )


def plateaus():
    """A hill with a flat top on flat ground: many points have exactly the same likelihood."""
    return _by_quadrature(lambda theta: np.clip(gaussian(theta, np.array([0.5, 0.5]), 0.07), -8.0, -0.7), 0, 1)


def partly_impossible():
    """A Gaussian with everything beyond a line forbidden, which cuts it off half a standard deviation from its top."""

    def log_likelihood(theta):
        return np.where(theta.sum(axis=1) < 1.05, gaussian(theta, np.array([0.5, 0.5]), 0.07), -np.inf)

    return _by_quadrature(log_likelihood, 0, 1)
