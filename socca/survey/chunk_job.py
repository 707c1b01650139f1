"""Job of a chunk: fits the targets that are not up to date, and gathers all results in one file.

While the job runs, each result is a file of its own in a folder beside the chunk's. A job that was killed finds there
what is done already, and the checkpoint of what was not.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from socca.errors import PoolError, PosteriorError
from socca.posterior.header import ResultHeader
from socca.posterior.storage import (
    ContainerHeaders,
    ResultLocation,
    check_result,
    open_result,
    read_container,
    write_container,
)
from socca.survey.fit_targets import Outcome, Outputs, fit_all
from socca.survey.freshness import reason_to_fit, size_and_time

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
    def alone(self) -> Iterator[None]:
        """Keep other processes from the chunk within this block.

        Raises
        ------
        PoolError
            If another one is at it.
        """
        import fcntl

        self._parts.mkdir(parents=True, exist_ok=True)
        path = self._parts / "lock"
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PoolError(f"{self.path}: another process is fitting this chunk") from None
            except OSError as error:  # file systems without locks
                log.debug("%s cannot be locked: %s", path, error)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # what is left are parts and checkpoints
                    self._parts.rmdir()

    def to_fit(self, again: Iterable[str] = ()) -> list[str]:
        """Return the targets to be fitted, largest first, with the reasons in the log.

        Parameters
        ----------
        again : iterable of str
            Fit these and no others, in any case; what there is of them in the job's folder is deleted.

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
            reason = ("asked for" if target in again else "") if again else self._reason(target)
            if reason:
                log.info("%s %s: to be fitted: %s", target, self.chunk.model, reason)
                found.append(target)
        return sorted(found, key=self._size, reverse=True)

    def finish(self, *, complete: bool = True) -> None:
        """Gather all results in the chunk's file, and delete what they were gathered from.

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
        write_container(self.path, places)
        for target in self.targets:
            (self._parts / f"{target}.h5").unlink(missing_ok=True)

    def fit(self, targets: Iterable[str]) -> Iterable[Outcome]:
        """Fit targets one after another in this process."""
        return fit_all(self.survey, [(target, self.chunk.model) for target in targets], self.outputs)

    def _reason(self, target: str) -> str:
        params = self.survey.fit_params(target, self.chunk.model)
        return reason_to_fit(self._record(target), self.survey.files(target), params, self.survey.config.batch.caps)

    def _size(self, target: str) -> int:
        state = size_and_time(self.survey.target(target).files["image"])
        return 0 if state is None else state[0]

    def _record(self, target: str) -> FitRecord | None:
        """Return the record of the latest result of a target; a damaged part is deleted."""
        part = self._parts / f"{target}.h5"
        record = part_record(part)
        if record is None:
            part.unlink(missing_ok=True)
        place = None if record else self._gathered(target)
        return record if place is None else self._known(place.path)[target].record

    def place(self, target: str) -> ResultLocation | None:
        """Return where the latest result of a target is."""
        part = self._parts / f"{target}.h5"
        return self._gathered(target) if part_record(part) is None else ResultLocation(part)

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
                log.warning("its fits are made again: %s", error)
                found = ContainerHeaders()
            for damage in found.damaged.values():
                log.warning("%s", damage)
            self._read[path] = found.intact
        return self._read[path]


def part_record(path: Path) -> FitRecord | None:
    """Return the record of a result that is not gathered yet; None if there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        with open_result(path) as group:
            return check_result(group).record
    except PosteriorError as error:
        log.warning("%s is left out: %s", path, error)
        return None
