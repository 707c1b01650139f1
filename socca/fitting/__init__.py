"""From a problem to its posterior: the interface for scripts, and what every sampler run shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socca.fitting.script import fitter, load

__all__ = ["fitter", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from socca.fitting import script

        return getattr(script, name)
    raise AttributeError(f"module 'socca.fitting' has no attribute {name!r}")
