"""Distributions of scipy's kind to compare priors with, and the integral of a density."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats


class Split:
    """A split normal distribution, from scipy's two halves."""

    def __init__(self, loc, losig, hisig):
        self.loc, self.low, self.high = loc, stats.norm(loc, losig), stats.norm(loc, hisig)
        self.share = losig / (losig + hisig)

    def pdf(self, x):
        return 2 * np.where(x < self.loc, self.share * self.low.pdf(x), (1 - self.share) * self.high.pdf(x))

    def logpdf(self, x):
        return np.log(self.pdf(x))

    def cdf(self, x):
        above = 1 - 2 * (1 - self.share) * self.high.sf(x)
        return np.where(x < self.loc, 2 * self.share * self.low.cdf(x), above)

    def ppf(self, u):
        u = np.asarray(u)
        below = self.low.ppf(np.minimum(u / self.share, 1) / 2)
        return np.where(u < self.share, below, self.high.isf(np.minimum((1 - u) / (1 - self.share), 1) / 2))

    def support(self):
        return -math.inf, math.inf


class Power:
    """A power law x**index between bounds, as the textbook has it; index = -1 is scipy's loguniform."""

    def __init__(self, low, high, index):
        self.low, self.high, self.k = low, high, index + 1
        self.norm = high**self.k - low**self.k

    def pdf(self, x):
        return self.k * x ** (self.k - 1) / self.norm

    def logpdf(self, x):
        return np.log(self.pdf(x))

    def cdf(self, x):
        return (np.clip(x, self.low, self.high) ** self.k - self.low**self.k) / self.norm

    def ppf(self, u):
        return (self.low**self.k + np.asarray(u) * self.norm) ** (1 / self.k)

    def support(self):
        return self.low, self.high


def truncated(loc, scale, low, high):
    return stats.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)


U = np.concatenate([[1e-9, 1e-6], np.linspace(0.001, 0.999, 37), [1 - 1e-6, 1 - 1e-9]])


def width_of(reference):
    return float(reference.ppf(0.84) - reference.ppf(0.16))


def check_integral(prior):
    """The density integrates to the cdf, piece by piece between quantiles."""
    tail = np.logspace(-6, -2, 5)
    edges = prior.icdf(np.concatenate([tail, np.linspace(0.1, 0.9, 5), 1 - tail[::-1]]))
    # Closer to a bound at which the density diverges, rounding in the value moves it by more than quad tolerates.
    for bound in prior.support:
        edges = edges[np.abs(edges - bound) > 1e-9 * abs(bound)] if math.isfinite(bound) else edges
    total = 0.0
    for start, end in itertools.pairwise(edges):
        part, error = integrate.quad(lambda x: math.exp(prior.log_prob(x)), start, end, epsabs=1e-11, epsrel=1e-10)
        assert error < 1e-9
        total += part
        assert total == pytest.approx(float(prior.cdf(end) - prior.cdf(edges[0])), abs=1e-9)
    return total
