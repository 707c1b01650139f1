"""Job of a single fit, with files of its own: fits the target if it is not up to date."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from socca.posterior.storage import ResultLocation
from socca.survey.freshness.records import read_record
from socca.survey.jobs.chunk_products import draw_images
from socca.survey.jobs.fit_targets import Outcome, fit_all, say_failed
from socca.survey.jobs.locks import exclusive_lock
from socca.survey.outputs import own_outputs

if TYPE_CHECKING:
    from socca.posterior.record import FitRecord
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


class SingleJob:
    """The fit of one target with one model.

    Parameters
    ----------
    survey : Survey
        Config and targets.
    target, model : str
        Which fit.
    """

    def __init__(self, survey: Survey, target: str, model: str) -> None:
        self.survey, self.target, self.model = survey, target, model
        self.outputs = own_outputs(survey, target, model)

    @property
    def begun(self) -> bool:
        """Whether an earlier job has left a checkpoint."""
        return self.outputs.checkpoint.exists()

    def exclusive_lock(self) -> AbstractContextManager[None]:
        """Keep other processes from the fit within this block; see `socca.survey.jobs.locks.exclusive_lock`."""
        return exclusive_lock(self.outputs.posterior.with_name("lock"), f"{self.target} {self.model}")

    def record(self) -> FitRecord | None:
        """Return the record of its result; None without one, or with a damaged one."""
        return read_record(self.outputs.posterior)

    def reason(self, *, failed: bool = False) -> str:
        """Say why the target has to be fitted, or nothing; `failed` is a reason too, if it is asked for."""
        return self.survey.reason_to_fit(self.target, self.model, self.record(), failed=failed)

    def fit(self, targets: Iterable[str] | None = None) -> Iterable[Outcome]:
        """Fit the target in this process; `targets`, as of `ChunkJob.fit`, can be no other."""
        return fit_all(self.survey, [(target, self.model) for target in targets or (self.target,)])

    @property
    def complete(self) -> bool:
        """Whether its result is there, and the model images that the config asks for."""
        return self.outputs.complete

    def draw(self) -> None:
        """Draw the model images if they are wanted and not there, though nothing has to be fitted."""
        images = self.outputs.images
        record = None if images is None or images.exists() else self.record()
        if images is None or record is None:
            return
        log.info("%s %s: is up to date; its model images are drawn", self.target, self.model)
        if record.failure is None:
            draw_images(self.survey, self.target, self.model, ResultLocation(self.outputs.posterior))
        else:
            say_failed(images, record)
