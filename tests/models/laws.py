# ruff: noqa: N803  (the names of the parameters)
"""Formulas of the radial profiles, written down independently, and components with random numbers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.special import betaln, gammaincinv

ARCSEC = 1 / 3600
PLACE = {"xc": 0.0, "yc": 0.0}


def brightness(component, dx, dy, **changed):
    """Evaluate a component whose parameters are all numbers."""
    with jax.enable_x64(True):
        values = {name: jnp.asarray(value) for name, value in (component.values | changed).items()}
        found = jax.jit(
            lambda dx, dy, values: type(component).brightness(dx, dy, values, component.spec(), 1e-9 * jnp.eye(2))
        )(jnp.asarray(dx), jnp.asarray(dy), values)
        return np.asarray(found)


def projected(x, alpha, beta, gamma):
    """Integrate the spherical profile of gNFW along the line of sight, relative to the centre."""

    def integrand(t):
        log = np.log(x) + np.logaddexp(t, -t) - np.log(2)
        return np.exp((1 - gamma) * log + (gamma - beta) / alpha * np.logaddexp(0, alpha * log))

    turn = max(1.0, -np.log(x))
    cuts = [0, max(0.5, turn - 3), turn, turn + 3, turn + 60 / (beta - 1)]
    total = sum(quad(integrand, *ends, epsabs=0, epsrel=1e-10, limit=200)[0] for ends in itertools.pairwise(cuts))
    return alpha * total / np.exp(betaln((1 - gamma) / alpha, (beta - 1) / alpha))


def polynomial(r, rs, first, others, rc):
    return np.exp(-r / rs) * (first + sum(c * (r / rc) ** k for k, c in enumerate(others, 1)))


LAWS = {
    "Sersic": lambda r, re, Ie, ns: Ie * np.exp(-gammaincinv(2 * ns, 0.5) * ((r / re) ** (1 / ns) - 1)),
    "Gaussian": lambda r, rs, Is: Is * np.exp(-((r / rs) ** 2) / 2),
    "Exponential": lambda r, rs, Is: Is * np.exp(-r / rs),
    "PolyExponential": lambda r, rs, Is, c1, c2, c3, c4, rc: Is * polynomial(r, rs, 1, (c1, c2, c3, c4), rc),
    "PolyExpoRefact": lambda r, rs, Is, I1, I2, I3, I4, rc: polynomial(r, rs, Is, (I1, I2, I3, I4), rc),
    "ModExponential": lambda r, rs, Is, rm, alpha: Is * np.exp(-r / rs) * (1 + r / rm) ** alpha,
    "Beta": lambda r, rc, Ic, alpha, beta: Ic * (1 + (r / rc) ** alpha) ** -beta,
    "gNFW": lambda r, rc, Ic, alpha, beta, gamma: (
        Ic * np.array([projected(x, alpha, beta, gamma) for x in np.ravel(r / rc)]).reshape(np.shape(r))
    ),
    "Power": lambda r, rc, Ic, alpha: Ic * (r / rc) ** -alpha,
    "TopHat": lambda r, rc, Ic: Ic * (r < rc),
}


def numbers(component, rng):
    """Return random numbers for all parameters of a component but its position."""
    found = {}
    for name, field in component.fields.items():
        upper = min(field.upper, component.upper_limits.get(name, (np.inf,))[0])
        if name.split(".")[-1] in ("xc", "yc"):
            found[name] = 0.0
        elif field.unit == "deg":
            found[name] = rng.uniform(1, 3) * ARCSEC
        elif field.unit == "image":
            found[name] = rng.uniform(0.5, 2)
        elif np.isfinite(upper - field.lower):
            found[name] = field.lower + rng.uniform(0.1, 0.4) * (upper - field.lower)
        else:
            found[name] = (field.default or 0.3) * rng.uniform(0.8, 1.2)
    return found


BRIDGE = PLACE | {"rs": 5 * ARCSEC, "Is": 2.0, "theta": 0.6, "e": 0.4}
