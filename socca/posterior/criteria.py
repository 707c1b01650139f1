"""Model comparison: Bayes factors, information criteria, and diagnostics of importance weights.

AIC, BIC and `Elpd.ic` are on the scale of the deviance, where less is better.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, PosteriorError
from socca.posterior.exports import load_arviz, pareto_smoothed

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.posterior.protocols import WeightedSamples

log = logging.getLogger(__name__)

#: Above it, importance weights have too heavy a tail (Vehtari et al. 2024).
BAD_K = 0.7
#: Logarithms of weights that differ by less are equal: rounding.
_ALIKE = 1e-6


@dataclass(frozen=True)
class Elpd:
    """How well a fit would predict another image of the same scene: expected log predictive density, over all pixels.

    Parameters
    ----------
    elpd, se : float
        The estimate, and its standard error from the scatter between pixels.
    p_eff : float
        Effective number of parameters.
    pointwise : ndarray, shape (pixels,)
        The share of each used pixel. Two models of one image are compared pixel by pixel: the standard error of the
        difference is ``sqrt(pixels) * std(a.pointwise - b.pointwise)``, far below those of the two.
    k_hat : ndarray, shape (pixels,), or None
        Of LOO: the shape of the tail of each pixel's importance weights. Above 0.7, its share is unreliable.
    """

    elpd: float
    se: float
    p_eff: float
    pointwise: np.ndarray
    k_hat: np.ndarray | None = None

    @property
    def ic(self) -> float:
        """``-2 elpd``, on the scale of AIC."""
        return -2 * self.elpd

    @property
    def n_bad(self) -> int:
        """Number of pixels with a `k_hat` above 0.7."""
        return 0 if self.k_hat is None else int(np.sum(self.k_hat > BAD_K))


def bayes_factor(logz: float, logz_data: float, logz_prior: float = math.nan) -> tuple[float, float, float, float]:
    """Compare an evidence with that of the null model (noise only).

    Parameters
    ----------
    logz, logz_data, logz_prior : float
        See `socca.posterior.Posterior`.

    Returns
    -------
    tuple of float
        ``lnBF = logz - logz_data``; ``sigma_eff = sign(lnBF) sqrt(2 |lnBF|)``, twice the logarithm of a Bayes factor
        being on the scale of a chi-square (Kass & Raftery 1995, J. Am. Stat. Assoc. 90, 773, section 3.2); and both
        for the prior normalised to one on what is possible, ``lnBF - logz_prior``, NaN where that is not known.
    """
    raw = logz - logz_data
    deboosted = raw - logz_prior
    return raw, _sigma(raw), deboosted, _sigma(deboosted)


def _sigma(log_ratio: float) -> float:
    return math.copysign(math.sqrt(2 * abs(log_ratio)), log_ratio)


def aic(posterior: WeightedSamples) -> float:
    """Return Akaike's criterion, ``2 k - 2 ln L`` (Akaike 1974, IEEE Trans. Autom. Control 19, 716).

    Parameters
    ----------
    posterior : Posterior
        The highest likelihood among its samples stands for the maximum; it falls short of it by a fraction of one for
        a few thousand samples of several parameters, and is the maximum itself for ``optimizer`` with flat priors.

    Returns
    -------
    float
        With k free parameters.
    """
    return 2 * len(posterior.names) - 2 * float(np.max(posterior.log_likelihood))


def bic(posterior: WeightedSamples) -> float:
    """Return Schwarz's criterion, ``k ln n - 2 ln L`` (Schwarz 1978, Ann. Stat. 6, 461).

    Parameters
    ----------
    posterior : Posterior
        As for `aic`; its ``record.n_data`` is n, the number of used pixels.

    Returns
    -------
    float
        With k free parameters.

    Raises
    ------
    PosteriorError
        If the number of pixels is not recorded, as in files of earlier versions.
    """
    n = posterior.record.n_data
    if n is None:
        raise PosteriorError("bic: the result does not say how many pixels were used: fit again")
    return len(posterior.names) * math.log(n) - 2 * float(np.max(posterior.log_likelihood))


def k_hat(posterior: WeightedSamples) -> float:
    """Return the shape of the generalised Pareto tail of the samples' importance weights (Vehtari et al. 2024).

    Below 0.5 means and evidence are as good as the effective number of samples says; above 0.7 they hang on a few
    samples, whatever that number is (J. Mach. Learn. Res. 25, 72).

    Parameters
    ----------
    posterior : Posterior
        Of ``optimizer``, the weights are those that would make its Gaussian the posterior: this is the test of the
        Laplace approximation. Of other samplers they are the samples' own.

    Returns
    -------
    float
        NaN if all samples weigh the same, as those of Markov chains do: there are no importance weights; -inf if the
        Laplace approximation is exact. NaN too for ``optimizer`` with ``marginalize``.

    Raises
    ------
    ConfigError
        If ArviZ is not installed.
    """
    notes = posterior.record.sampler.notes
    log_weights = posterior.log_weights
    # With intensities integrated out, the density of the others alone is not kept.
    laplace = notes.maximum is not None and notes.covariance is not None and not notes.marginalized
    if laplace:
        # The first sample is the maximum, not a draw.
        log_posterior = (posterior.log_likelihood + posterior.log_prior)[1:]
        gaussian = _gaussian(posterior.samples[1:], np.array(notes.maximum), np.array(notes.covariance))
        log_weights = log_posterior - gaussian
    log_weights = log_weights[log_weights > -np.inf]
    if np.ptp(log_weights) < _ALIKE:
        return -math.inf if laplace else math.nan
    return float(pareto_smoothed(log_weights)[1])


def _gaussian(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the log density of a Gaussian, but for its constant."""
    scale = np.sqrt(np.diag(covariance))
    factor = np.linalg.cholesky(covariance / scale[:, None] / scale)
    return -0.5 * np.sum(np.linalg.solve(factor, ((x - mean) / scale).T) ** 2, axis=0)


def waic(problem: Problem, posterior: WeightedSamples, *, n_draws: int = 1000, seed: int = 1) -> Elpd:
    """Return the widely applicable information criterion (Watanabe 2010, J. Mach. Learn. Res. 11, 3571).

    ``elpd = sum_i (ln mean_s p(d_i | theta_s) - var_s ln p(d_i | theta_s))``, i being the used pixels and s the samples
    (Gelman, Hwang & Vehtari 2014, Stat. Comput. 24, 997).

    Parameters
    ----------
    problem : Problem
        What was fitted.
    posterior : Posterior
        Its result.
    n_draws : int
        Samples of equal weight that are drawn from it. More than its effective number add nothing.
    seed : int
        Of this draw.

    Returns
    -------
    Elpd
        The estimate.

    Raises
    ------
    DataError
        If the noise correlates pixels.
    """

    def terms(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, None]:
        expected = _log_mean(values)
        return expected, expected - np.var(values, axis=0, ddof=1), None

    return _over_pixels(problem, posterior, n_draws, seed, terms)


def loo(problem: Problem, posterior: WeightedSamples, *, n_draws: int = 1000, seed: int = 1) -> Elpd:
    """Return the leave-one-out predictive density, each pixel predicted by all others.

    By Pareto-smoothed importance sampling (Vehtari, Gelman & Gabry 2017, Stat. Comput. 27, 1413), of which ArviZ fits
    the tails: about a millisecond per pixel.

    Parameters
    ----------
    problem, posterior, n_draws, seed
        As for `waic`.

    Returns
    -------
    Elpd
        With `Elpd.k_hat` of each pixel.

    Raises
    ------
    ConfigError
        If ArviZ is not installed.
    DataError
        If the noise correlates pixels.
    """
    load_arviz()  # without it, fail before the pixels' likelihoods are computed

    def terms(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        log_weights, tails = pareto_smoothed(-values.T)
        shares = np.logaddexp.reduce(log_weights.T + values, axis=0)
        return _log_mean(values), shares, np.atleast_1d(tails)

    return _over_pixels(problem, posterior, n_draws, seed, terms)


def _over_pixels(
    problem: Problem,
    posterior: WeightedSamples,
    n_draws: int,
    seed: int,
    terms: Callable[[np.ndarray], tuple[Any, Any, Any]],
) -> Elpd:
    """Gather the terms of blocks of pixels: log of the mean density, share of the elpd, and shape of the tail."""
    from socca.posterior.pixelwise import log_likelihoods

    if n_draws < 2:
        raise ConfigError(f"n_draws must be at least 2, got {n_draws}")
    if n_draws > posterior.n_eff:
        log.warning("%d draws of a posterior of %.0f effective samples: some are alike", n_draws, posterior.n_eff)
    rows = posterior.equal_weights(n_draws, np.random.default_rng([int(seed), 3]))
    blocks = [terms(values) for values in log_likelihoods(problem, rows) if values.size]
    density, shares = (np.concatenate([block[k] for block in blocks]) for k in (0, 1))
    tails = None if blocks[0][2] is None else np.concatenate([block[2] for block in blocks])
    return Elpd(
        elpd=float(shares.sum()),
        se=float(math.sqrt(shares.size) * np.std(shares)),
        p_eff=float((density - shares).sum()),
        pointwise=shares,
        k_hat=tails,
    )


def _log_mean(values: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(values, axis=0) - math.log(len(values))
