"""Files that one fit writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socca.survey.survey import Survey


@dataclass(frozen=True)
class Outputs:
    """Where one fit writes.

    Parameters
    ----------
    posterior : Path
        Its samples, or why there are none.
    checkpoint : Path
        Its state while it runs.
    images : Path, optional
        Its model images.
    """

    posterior: Path
    checkpoint: Path
    images: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether the result is there, and the model images if they are wanted."""
        return all(path.exists() for path in (self.posterior, self.images) if path is not None)


def own_outputs(survey: Survey, target: str, model: str) -> Outputs:
    """Return where a fit writes that is a job of its own."""
    path = survey.path(target, model, "posterior.h5")
    images = path.with_name("model.fits") if survey.config.outputs.model_images == "all" else None
    return Outputs(path, path.with_name("checkpoint.socca"), images)
