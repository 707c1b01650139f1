"""Job of a chunk: fits the targets that are not up to date, and gathers all results in one file.

While the job runs, each result is a file of its own in a folder beside the chunk's. A job that was killed finds there
what is done already, and the checkpoint of what was not.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from socca.errors import PosteriorError
from socca.posterior.container import ContainerHeaders, read_container, write_container
from socca.posterior.header import ResultHeader
from socca.posterior.storage import ResultLocation
from socca.survey.freshness.input_files import file_state
from socca.survey.freshness.records import read_record
from socca.survey.jobs.fit_targets import Outcome, fit_all
from socca.survey.jobs.locks import exclusive_lock
from socca.survey.outputs import Outputs
from socca.utils.machine import raise_if_machine

if TYPE_CHECKING:
    from pathlib import Path

    from socca.posterior.record import FitRecord
    from socca.survey.chunks import Chunk
    from socca.survey.survey import Survey

log = logging.getLogger(__name__)


class ChunkJob:
    """The fits of one chunk.

    Parameters
    ----------
    survey : Survey
        Config and targets, of which only those of the chunk need be there.
    chunk : Chunk
        Which chunk.
    """

    def __init__(self, survey: Survey, chunk: Chunk) -> None:
        self.survey, self.chunk = survey, chunk
        self.targets = survey.members(chunk)
        self.path = chunk.path(survey.config.folder)
        self._parts = chunk.parts(self.path)
        self._former_counts = chunk.former_counts(survey.config.folder)
        self._read: dict[Path, dict[str, ResultHeader]] = {}

    def outputs(self, survey: Survey, target: str, model: str) -> Outputs:
        """Return where a fit writes while the job runs, for `fit_all`."""
        return Outputs(self._parts / f"{target}.h5", self._parts / f"{target}.socca")

    @contextlib.contextmanager
    def exclusive_lock(self) -> Iterator[None]:
        """Keep other processes from the chunk within this block; see `socca.survey.jobs.locks.exclusive_lock`."""
        try:
            with exclusive_lock(self._parts / "lock", str(self.path)):
                yield
        finally:
            with contextlib.suppress(OSError):  # what is left are parts and checkpoints
                self._parts.rmdir()

    @property
    def begun(self) -> bool:
        """Whether an earlier job has left results that are not gathered, or checkpoints."""
        return self._parts.is_dir()

    def to_fit(self, again: Iterable[str] = (), *, failed: bool = False) -> list[str]:
        """Return the targets to be fitted, largest first, with the reasons in the log.

        Parameters
        ----------
        again : iterable of str
            Fit these and no others, in any case; what there is of them in the job's folder is deleted.
        failed : bool
            Whether to try those again that failed.

        Returns
        -------
        list of str
            Names. The largest images come first: at the end, no long fit then keeps the other workers waiting.
        """
        again = set(again)
        for target in again.intersection(self.targets):
            for path in (self._parts / f"{target}.h5", self._parts / f"{target}.socca"):
                path.unlink(missing_ok=True)
        found = []
        for target in self.targets:
            reason = ("asked for" if target in again else "") if again else self.reason(target, failed=failed)
            if reason:
                log.info("%s %s: to be fitted: %s", target, self.chunk.model, reason)
                found.append(target)
        return sorted(found, key=self._size, reverse=True)

    def finish(self, *, complete: bool = True) -> None:
        """Gather all results in the chunk's file, and delete what they were gathered from.

        A file that holds just these results already is left as it is, and so is its stamp.

        Parameters
        ----------
        complete : bool
            Whether every target must have a result.

        Raises
        ------
        PosteriorError
            If one has none.
        """
        places = {target: place for target in self.targets if (place := self.place(target)) is not None}
        missing = [target for target in self.targets if target not in places]
        if missing and complete:
            raise PosteriorError(f"{self.path}: not fitted: {', '.join(missing[:5])}")
        is_gathered = list(self._known(self.path)) == list(places)
        if not (is_gathered and all(place.path == self.path for place in places.values())):
            write_container(self.path, places)  # which is on the disk before the parts are deleted
        for target in self.targets:
            (self._parts / f"{target}.h5").unlink(missing_ok=True)

    def fit(self, targets: Iterable[str]) -> Iterable[Outcome]:
        """Fit targets one after another in this process."""
        return fit_all(self.survey, [(target, self.chunk.model) for target in targets], self.outputs)

    def reason(self, target: str, *, failed: bool = False) -> str:
        """Say why a target has to be fitted, or nothing; `failed` is a reason too, if it is asked for."""
        return self.survey.reason_to_fit(target, self.chunk.model, self.record(target), failed=failed)

    def _size(self, target: str) -> int:
        state = file_state(self.survey.target(target).files["image"])
        return 0 if state is None else state.size

    def record(self, target: str) -> FitRecord | None:
        """Return the record of the latest result of a target; None without one, or with a damaged one."""
        found = read_record(self._parts / f"{target}.h5")
        place = None if found else self._gathered(target)
        return found if place is None else self._known(place.path)[target].record

    def place(self, target: str) -> ResultLocation | None:
        """Return where the latest result of a target is."""
        part = self._parts / f"{target}.h5"
        return self._gathered(target) if read_record(part) is None else ResultLocation(part)

    def _gathered(self, target: str) -> ResultLocation | None:
        if target in self._known(self.path):
            return ResultLocation(self.path, target)
        former = self.chunk.former(self.survey.config.folder, target, self._former_counts)
        return next((ResultLocation(path, target) for path in former if target in self._known(path)), None)

    def _known(self, path: Path) -> dict[str, ResultHeader]:
        if path not in self._read:
            try:
                found = read_container(path, whole=True)
            except PosteriorError as error:
                raise_if_machine(error)  # or all would be fitted again
                log.warning("its fits are made again: %s", error)
                found = ContainerHeaders()
            for damage in found.damaged.values():
                raise_if_machine(damage)
                log.warning("%s", damage)
            self._read[path] = found.intact
        return self._read[path]
