"""Posteriors: samples, statistics, files, criteria and exports."""

from socca.posterior.posterior import Posterior

__all__ = ["Posterior"]
