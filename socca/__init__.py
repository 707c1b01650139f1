"""Posteriors and evidences of surface-brightness models, for one image or thousands.

Nothing heavy is imported here: JAX, astropy and the samplers load when they are first used. Where a launcher of MPI
started several processes, this one is told to use one core before JAX loads, which reads it once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from socca.utils.launcher import limit_threads

__version__ = "0.2.0"

limit_threads()

#: Public names and the module (and attribute) that each of them lives in.
_PUBLIC: dict[str, tuple[str, str | None]] = {
    "data": ("socca.data", None),
    "models": ("socca.models", None),
    "noise": ("socca.noise", None),
    "priors": ("socca.priors", None),
    "pool": ("socca.pool", None),
    "samplers": ("socca.samplers", None),
    "fitter": ("socca.fitting.script", "fitter"),
    "load": ("socca.fitting.script", "load"),
    "auto_priors": ("socca.fitting.auto_priors", "auto_priors"),
    "zoo": ("socca.models", "zoo"),
    "Posterior": ("socca.posterior", "Posterior"),
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'socca' has no attribute {name!r}") from None
    loaded = import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return list(__all__)
