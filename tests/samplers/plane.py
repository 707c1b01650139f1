"""A plane in an image: what the tests of samplers know of it."""

import numpy as np

SHAPE, SIGMA = (8, 9), 0.8
PRIORS = {"a0": (0.2, 1.0), "a1x": (0.0, 2.0), "a1y": (-0.3, 0.5)}
#: Few networks and points: these problems are easy.
QUICK = {"n_live": 200, "n_networks": 0, "n_eff": 1000}


class Counting:
    """A problem that counts the rows for which its likelihood is computed."""

    def __init__(self, problem):
        self._problem = problem
        self.rows = self.gradients = 0

    def __getattr__(self, name):
        return getattr(self._problem, name)

    def log_likelihood(self, theta):
        self.rows += len(np.atleast_2d(theta))
        return self._problem.log_likelihood(theta)

    def log_likelihood_and_grad(self, theta):
        self.gradients += len(np.atleast_2d(theta))
        return self._problem.log_likelihood_and_grad(theta)
