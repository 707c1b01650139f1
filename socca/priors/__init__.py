"""Prior distributions: one family a class, all of them in the parameter's own (linear) space.

A family is a set of pure functions of the value and of the distribution's numbers. The family is part of a compiled
problem's structure; its numbers are arguments, so that targets with other numbers share one program.

Distributions of numpyro can be used too, in Python: see `from_numpyro`.
"""

from socca.parameters.ties import boundto
from socca.priors.base import REGISTRY, Family, Prior
from socca.priors.beta_gamma_student import beta, gamma, studentt
from socca.priors.gaussians import halfnormal, normal, splitnormal, truncnormal
from socca.priors.powers import logpowerlaw, loguniform, powerlaw, uniform
from socca.priors.wrapped import Distribution, as_prior, from_numpyro

__all__ = [
    "REGISTRY",
    "Distribution",
    "Family",
    "Prior",
    "as_prior",
    "beta",
    "boundto",
    "from_numpyro",
    "gamma",
    "halfnormal",
    "logpowerlaw",
    "loguniform",
    "normal",
    "powerlaw",
    "splitnormal",
    "studentt",
    "truncnormal",
    "uniform",
]


__getattr__ = REGISTRY.module_getattr(__name__)
